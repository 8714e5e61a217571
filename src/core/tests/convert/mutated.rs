//! Bodies that went wrong on the way: cut, changed, spliced. Nothing panics, nothing hangs, every
//! output parses whole, and the mod's events are never refused.

use jimbot_core::convert::{BodyCursor, BodyForm, Converter, Step};
use jimbot_proto::events::v1::{Event, event::Payload};
use jimbot_traffic::{Batch, Clock, Dialect, KeyOrder, samples};
use prost::Message as _;

use crate::harness::{context, convert_binary, convert_binary_as, convert_with};

/// `JIMBOT_SEED` replays a run; `JIMBOT_FUZZ` lengthens it.
pub(crate) fn seed() -> u64 {
    let seed = std::env::var("JIMBOT_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("JIMBOT_SEED={seed}");
    seed
}

pub(crate) fn rounds(usual: usize) -> usize {
    let factor = std::env::var("JIMBOT_FUZZ").ok().and_then(|text| text.parse().ok());
    usual * factor.unwrap_or(1)
}

fn corpus() -> Vec<Vec<u8>> {
    let mut corpus = Vec::new();
    for dialect in [Dialect::Mod, Dialect::WebSocket, Dialect::Script] {
        let events = samples::every_event(dialect, 5, KeyOrder::Constant(3));
        for chunk in events.chunks(7) {
            corpus.push(Batch::pack(chunk, "batch-1", Clock::EXAMPLE).body);
        }
        let odd = samples::every_oddity(dialect, 5);
        corpus.push(Batch::pack(&odd, "batch-2", Clock::EXAMPLE).body);
        corpus.extend(events.into_iter().chain(odd).map(|event| event.json));
    }
    corpus
}

const TOKENS: [&[u8]; 24] = [
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"inf",
    b"-nan",
    b"1e999",
    b"{}",
    b"\\ud800",
    b"\xff",
    b"\x00",
    b"\"events\":[",
    b"\"type\":\"GAME_STATE\"",
    b"\"payload\":{",
    b"\"changes\":[{}]",
    b"9007199254740993",
    b"\n",
    b"\"1\":",
    b"[[[[[[[[",
];

pub(crate) fn mutate(body: &mut Vec<u8>, random: &mut fastrand::Rng) {
    for _ in 0..random.usize(1..6) {
        if body.is_empty() {
            return;
        }
        let at = random.usize(..body.len());
        match random.u8(..7) {
            0 => body[at] = random.u8(..),
            1 => body[at] ^= 1 << random.u8(..8),
            2 => body.truncate(at),
            3 => {
                let token = TOKENS[random.usize(..TOKENS.len())];
                body.splice(at..at, token.iter().copied());
            }
            4 => {
                let end = (at + random.usize(..40)).min(body.len());
                body.drain(at..end);
            }
            5 => {
                let end = (at + random.usize(..200)).min(body.len());
                let part = body[at..end].to_vec();
                let to = random.usize(..=body.len());
                body.splice(to..to, part);
            }
            _ => {
                let token = TOKENS[random.usize(..TOKENS.len())];
                let end = (at + token.len()).min(body.len());
                body.splice(at..end, token.iter().copied());
            }
        }
    }
}

#[test]
fn no_change_of_bytes_makes_an_output_that_does_not_parse() {
    let corpus = corpus();
    let mut random = fastrand::Rng::with_seed(seed());
    let mut converter = Converter::new();
    for _ in 0..rounds(4_000) {
        let mut body = corpus[random.usize(..corpus.len())].clone();
        mutate(&mut body, &mut random);
        let forms = [BodyForm::Events, BodyForm::Batch, BodyForm::Message];
        let form = forms[random.usize(..3)];
        let lenient = random.bool();
        let cursor = BodyCursor::new(form);
        let outcome = convert_with(&mut converter, cursor, &context(lenient), &body);
        if lenient {
            assert!(outcome.refusals.is_empty(), "{:?}", String::from_utf8_lossy(&body));
        }
    }
}

#[test]
fn a_large_event_cut_anywhere_is_kept_as_it_came() {
    let event = samples::every_event(Dialect::Mod, 5, KeyOrder::Constant(3)).remove(0).json;
    let mut converter = Converter::new();
    for end in 1..event.len() {
        let body = &event[..end];
        let lenient =
            convert_with(&mut converter, BodyCursor::new(BodyForm::Events), &context(true), body);
        assert_eq!(lenient.events.len(), 1);
        let Some(Payload::Unreadable(unreadable)) = &lenient.events[0].event.payload else {
            panic!("cut at {end} it is no event");
        };
        assert_eq!(unreadable.raw, body);
        let strict =
            convert_with(&mut converter, BodyCursor::new(BodyForm::Events), &context(false), body);
        assert_eq!((strict.events.len(), strict.refusals.len()), (0, 1), "cut at {end}");
    }
}

#[test]
fn a_room_of_any_size_is_never_overrun() {
    let events = samples::every_event(Dialect::Mod, 6, KeyOrder::Random);
    let body = Batch::pack(&events[..6], "batch", Clock::EXAMPLE).body;
    let mut converter = Converter::new();
    let mut random = fastrand::Rng::with_seed(seed());
    let whole =
        convert_with(&mut converter, BodyCursor::new(BodyForm::Batch), &context(true), &body);
    for _ in 0..rounds(300) {
        let mut cursor = BodyCursor::new(BodyForm::Batch);
        let mut found = Vec::new();
        loop {
            let size = if random.bool() { random.usize(..2_000) } else { random.usize(..40_000) };
            let mut room = vec![0; size + 64];
            let mut context = context(true);
            context.sequence += found.len() as u64;
            match converter.next(&mut cursor, &body, &context, &mut room[..size]) {
                Step::Event(event) => {
                    let bytes = &room[event.event_offset..event.element_len];
                    found.push(Event::decode(bytes).expect("an event parses whole"));
                }
                Step::NoRoom => {}
                Step::Refused(refusal) => panic!("{refusal:?}"),
                Step::Done(_) => break,
            }
            assert_eq!(&room[size..], &[0; 64], "nothing is written behind the room");
        }
        let expected: Vec<_> = whole.events.iter().map(|got| got.event.clone()).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn binary_messages_of_any_bytes_are_taken_or_refused() {
    let mut random = fastrand::Rng::with_seed(seed());
    let mut converter = Converter::new();
    let mut elements = Vec::new();
    for body in corpus() {
        let outcome =
            convert_with(&mut converter, BodyCursor::new(BodyForm::Events), &context(true), &body);
        elements.extend(outcome.events.into_iter().map(|got| got.element));
    }
    for _ in 0..rounds(3_000) {
        let mut message = elements[random.usize(..elements.len())].clone();
        if random.bool() {
            message.extend_from_slice(&elements[random.usize(..elements.len())]);
        }
        mutate(&mut message, &mut random);
        convert_binary(&message);
        let got = convert_binary_as(true, &message);
        assert_eq!(got.refusals, [], "the mod is never refused: {message:?}");
        assert!(message.is_empty() || !got.events.is_empty(), "it is stored: {message:?}");
    }
}
