//! Bodies to send: made before the run, so that a send only fills in ids and times.

use std::ops::Range;

use jimbot_traffic::workload::{Body, Workload};

use crate::bodies;

/// Significant digits of a time as games write it, with `%.14g`.
const TIME_DIGITS: usize = 14;
/// Digits behind the point of a millisecond that say nanoseconds.
const TIME_DECIMALS: usize = 6;

/// Bytes of a time in milliseconds around this one: nanoseconds without more zeros behind them than a
/// game would write, since a server reads each digit.
fn time_width(mono_ns: u64) -> usize {
    let whole = (mono_ns / 1_000_000).max(1).ilog10() as usize + 1;
    whole + 1 + TIME_DECIMALS.min(TIME_DIGITS.saturating_sub(whole).max(1))
}

/// One body with the places that differ from send to send.
pub struct Template {
    bytes: Vec<u8>,
    ids: Vec<Range<usize>>,
    times: Vec<Range<usize>>,
    /// Whether it goes to the batch endpoint.
    pub batch: bool,
}

impl Template {
    fn new(body: &Body, time_width: usize) -> Self {
        let mut template = Self {
            bytes: Vec::with_capacity(body.bytes.len() + 16 * body.ids.len()),
            ids: Vec::new(),
            times: Vec::new(),
            batch: body.batch,
        };
        let mut copied = 0;
        let mut ids = body.ids.iter().peekable();
        // An event's own time is the only one with a fraction (the batch's and the state's are
        // whole seconds or milliseconds), in any order with the event's id.
        for time in fractional_timestamps(&body.bytes) {
            while let Some(id) = ids.next_if(|id| id.start < time.start) {
                template.copy_id(&body.bytes, &mut copied, id);
            }
            template.bytes.extend_from_slice(&body.bytes[copied..time.start]);
            let start = template.bytes.len();
            template.bytes.resize(start + time_width, b'0');
            template.times.push(start..start + time_width);
            copied = time.end;
        }
        for id in ids {
            template.copy_id(&body.bytes, &mut copied, id);
        }
        template.bytes.extend_from_slice(&body.bytes[copied..]);
        template
    }

    fn copy_id(&mut self, from: &[u8], copied: &mut usize, id: &Range<usize>) {
        self.bytes.extend_from_slice(&from[*copied..id.start]);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&from[id.clone()]);
        self.ids.push(start..start + id.len());
        *copied = id.end;
    }

    /// Events in the body.
    pub fn events(&self) -> usize {
        self.ids.len()
    }

    /// Bytes of the body.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// The body with ids never used before and the time at which it was meant to be sent.
    pub fn fill(&mut self, ids: &mut Ids, intended_mono_ns: u64) -> &[u8] {
        for range in &self.ids {
            ids.write(&mut self.bytes[range.clone()]);
        }
        for range in &self.times {
            write_ms(&mut self.bytes[range.clone()], intended_mono_ns);
        }
        &self.bytes
    }
}

/// The bodies of a workload, sent in turn.
pub struct Payload {
    templates: Vec<Template>,
    next: usize,
}

impl Payload {
    /// `count` bodies of the workload, to be sent from about this time on.
    pub fn new(workload: Workload, seed: u64, count: usize, mono_ns: u64) -> Self {
        Self::of(&bodies::of(workload, seed, count), mono_ns)
    }

    /// Bodies of one event each, of about so many bytes (at least 116).
    pub fn of_size(bytes: usize, mono_ns: u64) -> Self {
        Self::of(&bodies::of_size(bytes), mono_ns)
    }

    /// These bodies, to be sent from about this time on.
    ///
    /// # Panics
    /// When there are none.
    pub fn of(bodies: &[Body], mono_ns: u64) -> Self {
        assert!(!bodies.is_empty(), "a run needs something to send");
        let width = time_width(mono_ns);
        Self { templates: bodies.iter().map(|body| Template::new(body, width)).collect(), next: 0 }
    }

    /// Events in a body, on average.
    pub fn mean_events(&self) -> f64 {
        let events: usize = self.templates.iter().map(Template::events).sum();
        events as f64 / self.templates.len() as f64
    }

    /// The next body in turn.
    pub fn next_template(&mut self) -> &mut Template {
        self.next = (self.next + 1) % self.templates.len();
        &mut self.templates[self.next]
    }
}

/// Ids that look like UUIDs and never recur within or between runs.
pub struct Ids {
    run: u64,
    count: u64,
}

impl Ids {
    /// Ids of the run named by 64 bits that no other run has.
    pub fn new(run: u64) -> Self {
        Self { run, count: 0 }
    }

    fn write(&mut self, place: &mut [u8]) {
        self.count += 1;
        let digits = (u128::from(self.run) << 64) | u128::from(self.count);
        let mut shift = 128;
        for (at, byte) in place.iter_mut().enumerate() {
            if matches!(at, 8 | 13 | 18 | 23) {
                *byte = b'-';
                continue;
            }
            shift -= 4;
            *byte = b"0123456789abcdef"[(digits >> shift) as usize & 15];
        }
    }
}

fn fractional_timestamps(text: &[u8]) -> Vec<Range<usize>> {
    const KEY: &[u8] = b"\"timestamp\":";
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(position) = text[at..].windows(KEY.len()).position(|window| window == KEY) {
        let start = at + position + KEY.len();
        let length = text[start..]
            .iter()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'.'))
            .unwrap_or(text.len() - start);
        if text[start..start + length].contains(&b'.') {
            found.push(start..start + length);
        }
        at = start + length;
    }
    found
}

fn write_ms(place: &mut [u8], mono_ns: u64) {
    use std::io::Write;
    let mut text = [b'0'; 32];
    // What the number leaves untouched stays zero digits of the fraction.
    write!(&mut text[..], "{}.{:06}", mono_ns / 1_000_000, mono_ns % 1_000_000)
        .expect("20 digits and a fraction fit in 32 bytes");
    place.copy_from_slice(&text[..place.len()]);
}

#[cfg(test)]
mod tests {
    use super::{Ids, Payload, time_width, write_ms};
    use jimbot_traffic::workload::Workload;

    #[test]
    fn every_send_has_ids_and_a_time_of_its_own() {
        for (name, workload) in Workload::ALL {
            let mut payload = Payload::new(workload, 1, 4, 1_000_000_000);
            let mut ids = Ids::new(0xfeed_0000);
            let mut seen = std::collections::HashSet::new();
            for round in 0..8 {
                let template = payload.next_template();
                let events = template.events();
                let text = template.fill(&mut ids, 1_000_000_000 + round).to_vec();
                let text = String::from_utf8(text).unwrap();
                let fresh = text
                    .match_indices("00000000-feed-0000-")
                    .filter(|(at, _)| seen.insert(text[*at..at + 36].to_owned()))
                    .count();
                assert_eq!(fresh, events, "{name}: {text}");
                assert!(
                    text.matches(&format!("1000.00000{round}")).count() >= events,
                    "{name}: {text}"
                );
            }
        }
    }

    #[test]
    fn times_have_as_many_digits_as_games_write() {
        assert_eq!(time_width(86_400_516_669_667), "86400516.669667".len());
        assert_eq!(time_width(1_000_000_000), "1000.000000".len());
        assert_eq!(time_width(1_234_567_890_123_456), "1234567890.1234".len());
        assert_eq!(time_width(0), "0.000000".len());
    }

    #[test]
    fn times_keep_their_width_when_a_digit_is_gained() {
        let mut place = [0; 18];
        write_ms(&mut place, 999_999_999_999);
        assert_eq!(&place, b"999999.99999900000");
        write_ms(&mut place, 1_000_000_000_001);
        assert_eq!(&place, b"1000000.0000010000");
    }
}
