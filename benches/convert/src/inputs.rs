//! What is converted: the canonical small event and whole state, with their keys in the order that
//! games send them, in another constant one, in a new one for every object, and as Python prints them;
//! batches of the triggers of one scored hand; and the states of games that run on, whose lists come
//! again.

use jimbot_core::convert::BodyForm;
use jimbot_core::limits;
use jimbot_traffic::Clock;
use jimbot_traffic::workload::{Stream, Workload};

/// Bodies of one kind, converted one after another.
pub(crate) struct Input {
    pub(crate) name: &'static str,
    pub(crate) bodies: Vec<Body>,
    pub(crate) form: BodyForm,
    /// Memory for lists that come again.
    pub(crate) span_bytes: usize,
    games: Games,
}

/// One body and a number for its sender.
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    pub(crate) sender: u64,
}

/// Where further bodies come from.
enum Games {
    /// The same bodies come again and again.
    None,
    /// Games that run on, of which each sends so many states in a row.
    Running(Vec<Stream>, usize),
    /// Each state is of a game that was not seen before; seed of the next one.
    New(u64),
}

/// Bodies made at once of games that run on.
const BODIES: usize = 64;

impl Input {
    /// Bodies of one event each, of which nothing is remembered.
    fn single(name: &'static str, bodies: Vec<Vec<u8>>) -> Self {
        Self::fixed(name, bodies, BodyForm::Events)
    }

    fn fixed(name: &'static str, bodies: Vec<Vec<u8>>, form: BodyForm) -> Self {
        let bodies = bodies.into_iter().map(|bytes| Body { bytes, sender: 0 }).collect();
        Self { name, bodies, form, span_bytes: 0, games: Games::None }
    }

    fn games(name: &'static str, games: Games) -> Self {
        let form = BodyForm::Events;
        Self { name, bodies: Vec::new(), form, span_bytes: limits::SPAN_BYTES, games }
    }

    /// This many games, each with its own cards, that send states in turn.
    fn running(name: &'static str, count: usize) -> Self {
        let stream = |seed| Stream::new(Workload::GameState, seed as u64, Clock::EXAMPLE);
        Self::games(name, Games::Running((0..count).map(stream).collect(), BODIES / count))
    }

    /// Lets games that run on do so: `bodies` are their next states.
    pub(crate) fn go_on(&mut self) {
        match &mut self.games {
            Games::None => {}
            Games::Running(streams, each) => {
                self.bodies.clear();
                for (sender, stream) in streams.iter_mut().enumerate() {
                    let state = || Body { bytes: stream.next_body().bytes, sender: sender as u64 };
                    self.bodies.extend(std::iter::repeat_with(state).take(*each));
                }
            }
            Games::New(seed) => {
                self.bodies.clear();
                for _ in 0..BODIES {
                    *seed += 1;
                    let mut game = Stream::new(Workload::GameState, *seed, Clock::EXAMPLE);
                    self.bodies.push(Body { bytes: game.next_body().bytes, sender: *seed });
                }
            }
        }
    }

    /// Makes `bodies` this many states of games that run on.
    pub(crate) fn make(&mut self, count: usize) {
        let mut made = Vec::new();
        while self.is_remembered() && made.len() < count {
            self.go_on();
            made.append(&mut self.bodies);
        }
        self.bodies.append(&mut made);
    }

    /// Whether lists of it come again.
    pub(crate) fn is_remembered(&self) -> bool {
        self.span_bytes != 0
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
            Self::fixed("cascade", bodies(Workload::Cascade, 64), BodyForm::Batch),
            Self::running("state-running", 1),
            Self::running("state-running-64", 64),
            Self::games("state-new", Games::New(1_000)),
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
