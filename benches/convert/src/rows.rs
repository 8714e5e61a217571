//! What is measured.

use std::hint::black_box;

use jimbot_core::convert::{BodyCursor, BodyForm, Context, Converter, Step};

use crate::inputs::Body;

/// One row of the table.
pub(crate) trait Row {
    fn run(&mut self, body: &Body, form: BodyForm);
}

/// The converter, as the service calls it.
pub(crate) struct Converting {
    converter: Converter,
    room: Vec<u8>,
    sequence: u64,
    hash: u64,
}

impl Converting {
    /// With so many bytes for lists that come again.
    pub(crate) fn new(span_bytes: usize) -> Self {
        let converter = Converter::with_span_bytes(span_bytes);
        Self { converter, room: vec![0; 1 << 20], sequence: 1, hash: 0 }
    }

    /// Share of the lists that had come before, whole and partly.
    pub(crate) fn known(&self) -> (f64, f64) {
        let counts = self.converter.span_counts();
        let all = (counts.hits + counts.partial + counts.misses).max(1) as f64;
        (counts.hits as f64 / all, counts.partial as f64 / all)
    }

    /// Events converted so far.
    pub(crate) fn events(&self) -> u64 {
        self.sequence - 1
    }

    /// Changes when what is written does.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}

impl Row for Converting {
    fn run(&mut self, body: &Body, form: BodyForm) {
        let context = Context {
            log_epoch: 0x0102_0304_0506_0708,
            sequence: self.sequence,
            receive_time_unix_ns: 1_795_327_244_123_456_789,
            session: 1,
            game_key: 2,
            sender: body.sender,
            lenient: true,
            ..Context::default()
        };
        let mut cursor = BodyCursor::new(form);
        loop {
            match self.converter.next(&mut cursor, &body.bytes, &context, &mut self.room) {
                Step::Event(event) => {
                    let last = black_box(&self.room[..event.element_len]).last().copied();
                    self.hash = self.hash.rotate_left(5)
                        ^ u64::from(last.unwrap_or(0))
                        ^ event.element_len as u64;
                    self.sequence += 1;
                }
                Step::Done(_) => return,
                other => panic!("{other:?}"),
            }
        }
    }
}

/// The fastest general parser, into its own tree.
#[derive(Default)]
pub(crate) struct Tree;

impl Row for Tree {
    fn run(&mut self, body: &Body, _form: BodyForm) {
        let tree: sonic_rs::Value = sonic_rs::from_slice(&body.bytes).expect("the input is JSON");
        black_box(&tree);
    }
}

/// A copy.
#[derive(Default)]
pub(crate) struct Copying {
    room: Vec<u8>,
}

impl Row for Copying {
    fn run(&mut self, body: &Body, _form: BodyForm) {
        self.room.clear();
        self.room.extend_from_slice(black_box(&body.bytes));
        black_box(&self.room);
    }
}
