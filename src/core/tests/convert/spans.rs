//! Lists that came before are copied: whatever comes in, the output is the one of a converter that remembers none.

use jimbot_core::convert::{BodyCursor, BodyForm, Converter, Step};
use jimbot_traffic::workload::{Stream, Workload};
use jimbot_traffic::{Batch, Clock, Dialect, Game, GameOptions, KeyOrder, VirtualClock, samples};

use crate::harness::{Outcome, context, convert_with};
use crate::mutated::{mutate, rounds, seed};

/// Memory for every list, for few, for one or two, and for none.
const BYTES: [usize; 4] = [16 << 20, 200_000, 20_000, 0];

/// Converters that remember lists, and one that does not.
struct Pair {
    remembering: Vec<Converter>,
    forgetful: Converter,
}

impl Pair {
    fn new() -> Self {
        Self {
            remembering: BYTES.map(Converter::with_span_bytes).into(),
            forgetful: Converter::with_span_bytes(0),
        }
    }

    /// Converts a body with all of them and compares everything that comes out.
    fn compare(&mut self, form: BodyForm, lenient: bool, sender: u64, body: &[u8]) -> Outcome {
        let context = jimbot_core::convert::Context { sender, ..context(lenient) };
        let expected = convert_with(&mut self.forgetful, BodyCursor::new(form), &context, body);
        for (converter, bytes) in self.remembering.iter_mut().zip(BYTES) {
            let got = convert_with(converter, BodyCursor::new(form), &context, body);
            let text = String::from_utf8_lossy(body);
            assert_eq!(got.refusals, expected.refusals, "{bytes}: {text}");
            assert_eq!(got.summary, expected.summary, "{bytes}: {text}");
            assert_eq!(got.events.len(), expected.events.len(), "{bytes}: {text}");
            for (got, expected) in got.events.iter().zip(&expected.events) {
                assert_eq!(got.element, expected.element, "{bytes}: {text}");
                assert_eq!(
                    format!("{:?}", got.facts),
                    format!("{:?}", expected.facts),
                    "{bytes}: {text}"
                );
            }
            assert!(
                converter.span_bytes() <= bytes + bytes / 8 + 512,
                "{} of {bytes}",
                converter.span_bytes()
            );
        }
        expected
    }

    fn hits(&self) -> u64 {
        self.remembering[0].span_counts().hits
    }
}

/// The bodies of some games, which take turns.
fn games(random: &mut fastrand::Rng, count: usize) -> Vec<(u64, Game, VirtualClock)> {
    let dialects = [Dialect::Mod, Dialect::WebSocket, Dialect::Script];
    (0..count)
        .map(|index| {
            let order = [KeyOrder::Listed, KeyOrder::Constant(index as u64), KeyOrder::Random];
            let game = Game::new(&GameOptions {
                seed: random.u64(..),
                dialect: dialects[index % 3],
                key_order: order[random.usize(..4).min(2)],
                ..GameOptions::default()
            });
            // Some share a sender.
            (index as u64 / 2, game, VirtualClock::starting_at(Clock::EXAMPLE))
        })
        .collect()
}

#[test]
fn games_that_take_turns_come_out_as_if_nothing_were_remembered() {
    let mut random = fastrand::Rng::with_seed(seed());
    let mut pair = Pair::new();
    let mut games = games(&mut random, 12);
    for _ in 0..rounds(1_500) {
        let index = random.usize(..games.len());
        let (sender, game, time) = &mut games[index];
        let event = game.next_event(time.now());
        time.advance(game.pause_ms());
        pair.compare(BodyForm::Events, random.bool(), *sender, &event.json);
    }
    assert!(pair.hits() > 100, "{}", pair.hits());
}

#[test]
fn edited_states_come_out_as_if_nothing_were_remembered() {
    let mut random = fastrand::Rng::with_seed(seed());
    let mut pair = Pair::new();
    let mut states: Vec<Vec<u8>> = Vec::new();
    for dialect in [Dialect::Mod, Dialect::WebSocket, Dialect::Script] {
        for order in [KeyOrder::Listed, KeyOrder::Constant(3)] {
            let events = samples::every_event(dialect, 5, order);
            states.extend(
                events.into_iter().map(|event| event.json).filter(|json| json.len() > 1_000),
            );
        }
    }
    for _ in 0..rounds(1_500) {
        let index = random.usize(..states.len());
        let mut body = states[index].clone();
        let is_readable = match random.u8(..8) {
            // What is converted in between changes what is remembered.
            0..3 => true,
            3..6 => {
                edit(&mut body, &mut random);
                true
            }
            _ => {
                mutate(&mut body, &mut random);
                false
            }
        };
        let sender = random.u64(..2);
        pair.compare(BodyForm::Events, random.bool(), sender, &body);
        // What breaks a body stays an exception: nothing of a broken one is remembered, and no list of it found.
        if is_readable && random.u8(..10) == 0 {
            states[index] = body;
        }
    }
    let counts = pair.remembering[0].span_counts();
    assert!(counts.hits > 100 && counts.partial > 100, "{counts:?}");
    assert!(
        pair.remembering[2].span_counts().evicted > 10,
        "{:?}",
        pair.remembering[2].span_counts()
    );
}

/// Changes values and elements without breaking the JSON.
fn edit(body: &mut Vec<u8>, random: &mut fastrand::Rng) {
    const WORDS: [(&str, &str); 14] = [
        ("none", "gold"),
        ("none", "caf\u{e9}"),
        ("none", "\\u00e9\\ud800"),
        ("none", "\\n"),
        ("\"Hearts\"", "9007199254740993"),
        ("\"Hearts\"", "null"),
        ("\"Spades\"", "[1,{\"a\":[]}]"),
        ("\"rank\"", "\"unheard_of\""),
        ("\"suit\"", "\"rank\""),
        ("{\"id\"", "{ \"id\""),
        ("},{", "} , {"),
        ("},{", "},7,{"),
        ("},{", "},{},{"),
        ("1", "2"),
    ];
    for _ in 0..random.usize(1..4) {
        let (from, to) = WORDS[random.usize(..WORDS.len())];
        let places: Vec<usize> =
            memchr::memmem::find_iter(body.as_slice(), from.as_bytes()).collect();
        if !places.is_empty() {
            let at = places[random.usize(..places.len())];
            body.splice(at..at + from.len(), to.bytes());
        }
    }
}

#[test]
fn a_cut_list_is_not_taken_for_the_whole_one() {
    let mut pair = Pair::new();
    let state = Stream::new(Workload::GameState, 3, Clock::EXAMPLE).next_body().bytes;
    for _ in 0..3 {
        pair.compare(BodyForm::Events, true, 0, &state);
    }
    assert!(pair.hits() > 2);
    for end in (1..state.len()).step_by(13) {
        pair.compare(BodyForm::Events, true, 0, &state[..end]);
        pair.compare(BodyForm::Events, false, 0, &state[..end]);
    }
}

#[test]
fn batches_of_a_running_game_are_mostly_copied() {
    let mut pair = Pair::new();
    let mut stream = Stream::new(Workload::Batch50, 3, Clock::EXAMPLE);
    for _ in 0..60 {
        pair.compare(BodyForm::Batch, true, 0, &stream.next_body().bytes);
    }
    let counts = pair.remembering[0].span_counts();
    assert!(counts.hits > 10 * (counts.misses + counts.partial), "{counts:?}");
}

#[test]
fn a_list_is_kept_when_it_comes_again() {
    let mut converter = Converter::new();
    let mut stream = Stream::new(Workload::GameState, 3, Clock::EXAMPLE);
    let mut next = || {
        let body = stream.next_body().bytes;
        convert_with(&mut converter, BodyCursor::new(BodyForm::Events), &context(true), &body);
        converter.span_counts()
    };
    let first = next();
    assert_eq!((first.hits, first.partial), (0, 0));
    assert!(first.misses >= 4, "jokers, hand and the deck's two lists: {first:?}");
    assert_eq!(next().hits, 0, "now they are kept");
    assert_eq!(next().hits, first.misses, "now they are copied");
}

#[test]
fn a_changed_card_costs_one_card() {
    let mut converter = Converter::new();
    let mut convert = |body: &[u8]| {
        convert_with(&mut converter, BodyCursor::new(BodyForm::Events), &context(true), body);
        converter.span_counts()
    };
    let state = Stream::new(Workload::GameState, 3, Clock::EXAMPLE).next_body().bytes;
    for _ in 0..2 {
        convert(&state);
    }
    let before = convert(&state);
    let card = memchr::memmem::find(&state, b"\"full_deck\"").expect("a state has its deck");
    let at = card + memchr::memmem::find(&state[card..], b"\"none\"").expect("a plain card");
    let changed = [&state[..at], b"\"gold\"", &state[at + 6..]].concat();
    let after = convert(&changed);
    assert_eq!((after.partial, after.misses), (before.partial + 1, before.misses));
    let again = convert(&changed);
    assert_eq!((again.partial, again.misses), (after.partial, after.misses), "it is kept at once");
}

#[test]
fn deeper_lists_are_not_taken_where_the_nesting_ends() {
    let list = format!("[{}]", vec![r#"{"rank":"Ace","x":[[[1]]]}"#; 20].join(","));
    let body = format!(r#"{{"type":"GAME_STATE","timestamp":1,"payload":{{"hand":{list}}}}}"#);
    let mut pair = Pair::new();
    for nesting_max in [64, 9, 8, 7, 6, 5, 4, 3, 64, 5, 8].into_iter().flat_map(|max| [max; 3]) {
        let context = jimbot_core::convert::Context { nesting_max, ..context(true) };
        let expected = convert_with(
            &mut pair.forgetful,
            BodyCursor::new(BodyForm::Events),
            &context,
            body.as_bytes(),
        );
        for converter in &mut pair.remembering {
            let got = convert_with(
                converter,
                BodyCursor::new(BodyForm::Events),
                &context,
                body.as_bytes(),
            );
            assert_eq!(got.events[0].element, expected.events[0].element, "{nesting_max}");
        }
    }
    assert!(pair.hits() > 8, "{}", pair.hits());
}

#[test]
fn what_a_list_leaves_beside_its_output_is_left_every_time() {
    // A rule that is only counted, one that is told, and a text that is repaired.
    for (value, marks) in [("\"odd\"", 0), ("-1", 1), ("\"\\ud800\"", 1)] {
        let key = if value == "-1" { "position" } else { "edition" };
        let card = format!(r#"{{"id":1,"rank":"Ace","suit":"Spades","{key}":{value}}}"#);
        let list = vec![card; 12].join(",");
        let body =
            format!(r#"{{"type":"GAME_STATE","timestamp":1,"payload":{{"hand":[{list}]}}}}"#);
        let mut pair = Pair::new();
        for _ in 0..4 {
            let outcome = pair.compare(BodyForm::Events, true, 0, body.as_bytes());
            let facts = &outcome.events[0].facts;
            assert!(facts.notes > 0 || facts.entry.flags != 0, "{value}: {facts:?}");
            assert_eq!(facts.entry.flags.count_ones(), marks, "{value}");
        }
    }
}

#[test]
fn a_room_of_any_size_is_never_overrun() {
    let mut stream = Stream::new(Workload::GameState, 3, Clock::EXAMPLE);
    let body = stream.next_body().bytes;
    let mut converter = Converter::new();
    let whole = (0..3)
        .map(|_| {
            convert_with(&mut converter, BodyCursor::new(BodyForm::Events), &context(true), &body)
        })
        .last()
        .expect("three of them");
    assert!(converter.span_counts().hits > 0);
    let element = &whole.events[0].element;
    for size in (0..element.len() + 40).step_by(7) {
        let mut room = vec![0; size + 64];
        let mut cursor = BodyCursor::new(BodyForm::Events);
        match converter.next(&mut cursor, &body, &context(true), &mut room[..size]) {
            Step::Event(event) => assert_eq!(&room[..event.element_len], element),
            Step::NoRoom => assert!(size < element.len() + 80, "{size}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(&room[size..], &[0; 64], "nothing is written behind the room");
    }
}

#[test]
fn batches_of_any_size_come_out_as_if_nothing_were_remembered() {
    let mut random = fastrand::Rng::with_seed(seed());
    let mut pair = Pair::new();
    let mut games = games(&mut random, 6);
    for _ in 0..rounds(60) {
        let mut events = Vec::new();
        let shares = random.bool();
        let mut index = random.usize(..games.len());
        for _ in 0..random.usize(1..30) {
            if shares {
                index = random.usize(..games.len());
            }
            let (_, game, time) = &mut games[index];
            events.push(game.next_event(time.now()));
            time.advance(game.pause_ms());
        }
        let mut body = Batch::pack(&events, "batch", Clock::EXAMPLE).body;
        if random.u8(..4) == 0 {
            mutate(&mut body, &mut random);
        }
        pair.compare(BodyForm::Batch, random.bool(), index as u64 % 2, &body);
    }
}
