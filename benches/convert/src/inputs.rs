//! What is converted: the canonical small event and whole state, with their keys in the order that
//! games send them, in another constant one, and in a new one for every object, and as Python prints
//! them; and batches of the triggers of one scored hand.

use jimbot_core::convert::BodyForm;
use jimbot_traffic::Clock;
use jimbot_traffic::workload::{Stream, Workload};

/// Bodies of one kind, converted one after another.
pub(crate) struct Input {
    pub(crate) name: &'static str,
    pub(crate) bodies: Vec<Vec<u8>>,
    pub(crate) form: BodyForm,
}

impl Input {
    /// Bodies of one event each.
    fn single(name: &'static str, bodies: Vec<Vec<u8>>) -> Self {
        Self { name, bodies, form: BodyForm::Events }
    }

    pub(crate) fn all() -> Vec<Self> {
        let mut random = fastrand::Rng::with_seed(9);
        let mut shuffled = |members: &mut Vec<String>| random.shuffle(members);
        let mut sorted = |members: &mut Vec<String>| members.sort();
        let small = bodies(Workload::Small, 64);
        let state = bodies(Workload::GameState, 64);
        vec![
            Self::single("small-random", reordered(&small, &mut shuffled)),
            Self::single("small-spaced", small.iter().map(|body| spaced(body)).collect()),
            Self::single("small", small),
            Self::single("state-random", reordered(&state, &mut shuffled)),
            Self::single("state-spaced", state.iter().map(|body| spaced(body)).collect()),
            Self::single("state-sorted", reordered(&state, &mut sorted)),
            Self::single("state", state),
            Self { name: "cascade", bodies: bodies(Workload::Cascade, 64), form: BodyForm::Batch },
        ]
    }
}

fn bodies(workload: Workload, count: usize) -> Vec<Vec<u8>> {
    let mut stream = Stream::new(workload, 3, Clock::EXAMPLE);
    (0..count).map(|_| stream.next_body().bytes).collect()
}

/// The same body with a space behind each comma and colon, as Python's `json.dumps` prints.
fn spaced(body: &[u8]) -> Vec<u8> {
    let (mut text, mut in_text) = (Vec::with_capacity(body.len() * 2), false);
    for (at, byte) in body.iter().enumerate() {
        text.push(*byte);
        match byte {
            b'"' if at == 0 || body[at - 1] != b'\\' => in_text = !in_text,
            b',' | b':' if !in_text => text.push(b' '),
            _ => {}
        }
    }
    text
}

/// The same bodies with the members of each object in the order that `arrange` gives them.
fn reordered(bodies: &[Vec<u8>], arrange: &mut dyn FnMut(&mut Vec<String>)) -> Vec<Vec<u8>> {
    let reorder = |body: &Vec<u8>| {
        let text = std::str::from_utf8(body).expect("canonical bodies are UTF-8");
        value(text, &mut 0, arrange).into_bytes()
    };
    bodies.iter().map(reorder).collect()
}

/// Copies the value at `at` of a text that is JSON without spaces.
fn value(text: &str, at: &mut usize, arrange: &mut dyn FnMut(&mut Vec<String>)) -> String {
    let bytes = text.as_bytes();
    match bytes[*at] {
        open @ (b'{' | b'[') => {
            let close = open + 2;
            let mut members = Vec::new();
            *at += 1;
            while bytes[*at] != close {
                let mut member = String::new();
                if open == b'{' {
                    member = value(text, at, arrange) + ":";
                    *at += 1;
                }
                members.push(member + &value(text, at, arrange));
                if bytes[*at] == b',' {
                    *at += 1;
                }
            }
            *at += 1;
            if open == b'{' {
                arrange(&mut members);
            }
            format!("{}{}{}", open as char, members.join(","), close as char)
        }
        b'"' => {
            let start = *at;
            *at += 1;
            while bytes[*at] != b'"' {
                *at += if bytes[*at] == b'\\' { 2 } else { 1 };
            }
            *at += 1;
            text[start..*at].to_owned()
        }
        _ => {
            let start = *at;
            while !b",:]}".contains(&bytes[*at]) {
                *at += 1;
            }
            text[start..*at].to_owned()
        }
    }
}
