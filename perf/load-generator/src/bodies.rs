//! Where bodies come from: a workload and a seed, a size, or a file.
//!
//! A workload file is text: a body a line, as a game could send it. Each event's `event_id` (36 characters) is
//! overwritten at each sending, and so is its `timestamp` where that has a fraction.

use std::io;
use std::ops::Range;
use std::path::Path;

use jimbot_traffic::Clock;
use jimbot_traffic::workload::{Body, Stream, Workload};
use serde_json::{Map, Value};

/// Bodies of a run, sent in turn: enough that caches do not hold one, few enough that the client's hold all.
pub const COUNT: usize = 64;
/// Of what `of_size` makes, so that large bodies do not fill the memory.
const BYTES_OF_ALL: usize = 8 << 20;
const ID_KEY: &str = r#""event_id":""#;
const ID_BYTES: usize = 36;

/// `count` bodies of the workload; the same seed gives the same bytes.
pub fn of(workload: Workload, seed: u64, count: usize) -> Vec<Body> {
    let mut stream = Stream::new(workload, seed, Clock::EXAMPLE);
    (0..count).map(|_| stream.next_body()).collect()
}

/// Bodies of one event each, of about so many bytes (at least 116): a state whose deck has as many cards as fit.
pub fn of_size(bytes: usize) -> Vec<Body> {
    let count = (BYTES_OF_ALL / bytes.max(1)).clamp(2, COUNT);
    (0..count).map(|number| sized(bytes, number)).collect()
}

/// Writes a workload file.
///
/// # Errors
/// When it can't be written.
pub fn save(path: &Path, bodies: &[Body]) -> io::Result<()> {
    let mut text = Vec::new();
    for body in bodies {
        text.extend_from_slice(&body.bytes);
        text.push(b'\n');
    }
    std::fs::write(path, &text).map_err(|error| {
        io::Error::new(error.kind(), format!("--save: can't write {}: {error}", path.display()))
    })
}

/// Reads a workload file.
///
/// # Errors
/// When it can't be read, holds nothing, or a line is not what can be sent; the message names it.
pub fn read(path: &Path) -> io::Result<Vec<Body>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let place = path.display();
        let hint = "--save writes such a file";
        io::Error::new(error.kind(), format!("--bodies: can't read {place}: {error}; {hint}"))
    })?;
    let bodies: Vec<Body> = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(at, line)| {
            parsed(line).map_err(|reason| {
                let place = format!("{}, line {}", path.display(), at + 1);
                io::Error::new(io::ErrorKind::InvalidData, format!("{place}: {reason}"))
            })
        })
        .collect::<io::Result<_>>()?;
    if bodies.is_empty() {
        let reason = format!("{} holds no body; --save writes such a file", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    Ok(bodies)
}

fn parsed(line: &str) -> Result<Body, String> {
    let fields: Map<String, Value> =
        serde_json::from_str(line).map_err(|error| format!("not a JSON object: {error}"))?;
    let events = match fields.get("events") {
        Some(Value::Array(events)) => events.len(),
        Some(_) => return Err("\"events\" is no list".to_owned()),
        None => 1,
    };
    let ids: Vec<Range<usize>> = line
        .match_indices(ID_KEY)
        .map(|(at, key)| at + key.len()..at + key.len() + ID_BYTES)
        .filter(|id| line.as_bytes().get(id.end) == Some(&b'"'))
        .collect();
    if ids.len() != events || events == 0 {
        return Err(format!(
            "{} of {events} events have an \"event_id\" of {ID_BYTES} characters; give each one, with no space behind \
             the colon: it is overwritten at each sending, since the service drops repeats",
            ids.len()
        ));
    }
    Ok(Body { bytes: line.as_bytes().to_vec(), ids, batch: fields.contains_key("events") })
}

fn sized(bytes: usize, number: usize) -> Body {
    const RANKS: [&str; 13] =
        ["2", "3", "4", "5", "6", "7", "8", "9", "10", "Jack", "Queen", "King", "Ace"];
    const SUITS: [&str; 4] = ["Hearts", "Diamonds", "Clubs", "Spades"];
    let tail = r#","timestamp":1000.500000000000,"event_id":"00000000-0000-4000-8000-000000000000","type":"GAME_STATE"}"#;
    let (open, close) = (r#"{"payload":{"deck":{"full_deck":["#, "]}}");
    let mut text = String::from(open);
    let mut position = 0;
    loop {
        // Bodies differ, as decks do.
        let card = position + 7 * number;
        let card = format!(
            r#"{{"id":"card_{card}","rank":"{}","position":{position},"seal":"none","enhancement":"none","edition":"none","suit":"{}"}}"#,
            RANKS[card % 13],
            SUITS[card / 13 % 4],
        );
        if text.len() + 1 + card.len() + close.len() + tail.len() > bytes {
            break;
        }
        if position > 0 {
            text.push(',');
        }
        text.push_str(&card);
        position += 1;
    }
    match position {
        0 => text = r#"{"payload":{}"#.to_owned(),
        _ => text.push_str(close),
    }
    text.push_str(tail);
    let id = text.rfind(ID_KEY).expect("the tail has an id") + ID_KEY.len();
    let ids = std::iter::once(id..id + ID_BYTES).collect();
    Body { bytes: text.into_bytes(), ids, batch: false }
}

#[cfg(test)]
mod tests {
    use super::{COUNT, of, of_size, parsed, read, save};
    use crate::payload::{Ids, Payload};
    use jimbot_traffic::workload::Workload;

    #[test]
    fn a_file_loses_what_was_saved_in_it() {
        let path = std::env::temp_dir().join(format!("jimbot-bodies-{}", std::process::id()));
        let made = Workload::ALL.map(|(name, workload)| (name, of(workload, 7, COUNT)));
        for (name, bodies) in made.into_iter().chain([("of a size", of_size(3_000))]) {
            save(&path, &bodies).unwrap();
            let found = read(&path).unwrap();
            assert_eq!(found.len(), bodies.len(), "{name}");
            for (one, other) in found.iter().zip(&bodies) {
                assert_eq!(one.bytes, other.bytes, "{name}");
                assert_eq!((&one.ids, one.batch), (&other.ids, other.batch), "{name}");
            }
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn the_same_seed_gives_other_bytes() {
        for (name, workload) in Workload::ALL {
            let bytes =
                |seed| of(workload, seed, 8).into_iter().map(|it| it.bytes).collect::<Vec<_>>();
            assert_eq!(bytes(3), bytes(3), "{name}");
        }
    }

    #[test]
    fn a_line_that_cannot_be_sent_is_taken() {
        let id = r#""event_id":"00000000-0000-4000-8000-000000000000""#;
        for (line, reason) in [
            ("[1]".to_owned(), "not a JSON object"),
            (r#"{"type":"HEARTBEAT"}"#.to_owned(), "0 of 1 events"),
            (r#"{"type":"HEARTBEAT","event_id":"short"}"#.to_owned(), "0 of 1 events"),
            (format!(r#"{{"events":[{{{id}}},{{}}]}}"#), "1 of 2 events"),
            (r#"{"events":[]}"#.to_owned(), "0 of 0 events"),
            (r#"{"events":7}"#.to_owned(), "is no list"),
        ] {
            let error = parsed(&line).unwrap_err();
            assert!(error.contains(reason), "{line}: {error}");
        }
        assert!(parsed(&format!("{{{id}}}")).is_ok());
    }

    #[test]
    fn events_of_a_size_have_it_and_are_json() {
        let mut ids = Ids::new(1);
        for (wanted, least) in [(100, 110), (1_000, 880), (100_000, 99_800)] {
            let mut payload = Payload::of_size(wanted, 86_400_516_669_667);
            let template = payload.next_template();
            assert_eq!(template.events(), 1);
            let text = template.fill(&mut ids, 86_400_516_669_667);
            serde_json::from_slice::<serde_json::Value>(text).expect("JSON");
            assert!((least..=wanted.max(120)).contains(&text.len()), "{wanted}: {}", text.len());
        }
    }
}
