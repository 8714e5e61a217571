//! Random operations of one writer and several readers against a model that is a list of events.
//!
//! What the model holds them to: a reader is handed every event from its start on, in order and as it was written, except
//! for what it is told that it missed; reliable readers miss nothing as long as they are not detached; the log is full
//! only when a reliable reader stands in the way; a restart, clean or not, loses nothing that was stored.

mod common;

use std::collections::VecDeque;

use common::{Home, event_bytes, later, store, tiny};
use jimbot_shm::{
    Frame, FullPolicy, Guarantee, LogOptions, LogReader, LogWriter, Now, ReadError, ReaderOptions,
    Start,
};
use proptest::{prelude::*, test_runner::FileFailurePersistence};

const READERS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    /// Stores events of one length in the open frame, opening one if need be.
    Store {
        events: u32,
        length: usize,
    },
    Commit,
    /// The next frame for a reader.
    Next {
        reader: usize,
    },
    /// A reader reads on to the end.
    Drain {
        reader: usize,
    },
    /// Releases a frame that is out, by its place among them.
    Release {
        reader: usize,
        which: usize,
    },
    /// A reader goes, as if killed, and comes back by its name.
    Return {
        reader: usize,
    },
    /// The service ends and starts again.
    Restart {
        rotate: bool,
    },
    /// Time passes for the writer, and it looks at its readers.
    Check {
        seconds: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let reader = 0..READERS;
    prop_oneof![
        8 => (1..16u32, 0..400usize).prop_map(|(events, length)| Step::Store { events, length }),
        6 => Just(Step::Commit),
        8 => reader.clone().prop_map(|reader| Step::Next { reader }),
        2 => reader.clone().prop_map(|reader| Step::Drain { reader }),
        6 => (reader.clone(), 0..8usize).prop_map(|(reader, which)| Step::Release { reader, which }),
        1 => reader.prop_map(|reader| Step::Return { reader }),
        1 => (0..3u8).prop_map(|one| Step::Restart { rotate: one == 0 }),
        2 => (0..20u64).prop_map(|seconds| Step::Check { seconds }),
    ]
}

/// A reader, and what the model knows of it.
struct Modelled {
    name: String,
    guarantee: Guarantee,
    reader: Option<LogReader>,
    out: VecDeque<Frame>,
    /// Log (by its number) and sequence of the next event it is to be handed.
    log: usize,
    next: u64,
    /// Events of the log it is in that it has counted as missed, and is yet to be told of.
    untold: u64,
}

/// Every event that was stored, a log a list: the length of each.
struct World {
    home: Home,
    options: LogOptions,
    writer: Option<LogWriter>,
    logs: Vec<(u64, Vec<usize>)>,
    visible: usize,
    readers: Vec<Modelled>,
    now: Now,
    detached: bool,
}

impl World {
    fn new(full_policy: FullPolicy) -> World {
        let home = Home::new();
        let options = LogOptions { full_policy, ..tiny() };
        let writer = LogWriter::open(home.path(), &options).expect("open");
        let logs = vec![(writer.epoch(), Vec::new())];
        let mut world = World {
            home,
            now: options.now,
            options,
            writer: Some(writer),
            logs,
            visible: 0,
            readers: Vec::new(),
            detached: false,
        };
        for at in 0..READERS {
            let guarantee = if at % 2 == 0 { Guarantee::Reliable } else { Guarantee::Lossy };
            let name = format!("reader {at}");
            let reader = Some(world.join(&name, guarantee));
            let (out, log, next, untold) = (VecDeque::new(), 0, 1, 0);
            world.readers.push(Modelled { name, guarantee, reader, out, log, next, untold });
        }
        world
    }

    fn join(&self, name: &str, guarantee: Guarantee) -> LogReader {
        let options = ReaderOptions {
            name: name.into(),
            guarantee,
            start: Start::Earliest,
            ..ReaderOptions::default()
        };
        LogReader::open(self.home.path(), &options).expect("join")
    }

    fn writer(&mut self) -> &mut LogWriter {
        self.writer.as_mut().expect("running")
    }

    fn stored(&mut self) -> &mut Vec<usize> {
        &mut self.logs.last_mut().expect("one at least").1
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Store { events, length } => self.store(events, length),
            Step::Commit => {
                let now = self.now;
                let open = self.writer().open_events();
                let commit = self.writer().commit(now);
                assert_eq!(commit.map_or(0, |commit| commit.events), open);
                self.visible = self.stored().len();
            }
            Step::Next { reader } => {
                self.next(reader);
            }
            Step::Drain { reader } => while self.next(reader) {},
            Step::Release { reader, which } => {
                let modelled = &mut self.readers[reader];
                if !modelled.out.is_empty() {
                    let frame = modelled.out.remove(which % modelled.out.len()).expect("in range");
                    assert!(frame.release().is_ok() || self.detached);
                }
            }
            Step::Return { reader } => self.come_back(reader),
            Step::Restart { rotate } => self.restart(rotate),
            Step::Check { seconds } => {
                self.now = later(self.now, seconds);
                let now = self.now;
                self.writer().check_readers(now);
                self.detached |= self.writer().detached() > 0;
            }
        }
    }

    fn store(&mut self, events: u32, length: usize) {
        let now = self.now;
        for _ in 0..events {
            if self.writer().events_left() == 0 || self.writer().room().len() < length + 3 {
                self.writer().commit(now);
                self.visible = self.stored().len();
            }
            if let Err(full) = self.writer().begin(now) {
                let slot = full.slot;
                let holder =
                    self.writer().readers(now).into_iter().find(|reader| reader.slot == slot);
                let holder = holder.expect("in the table");
                assert!(holder.guarantee == Guarantee::Reliable && !holder.detached);
                return;
            }
            let sequence = store(self.writer(), length);
            self.stored().push(length);
            assert_eq!(sequence, self.stored().len() as u64);
        }
    }

    /// A reader takes its next frame; false when there is none.
    fn next(&mut self, index: usize) -> bool {
        let modelled = &mut self.readers[index];
        let reader = modelled.reader.as_mut().expect("joined");
        let before = reader.missed();
        let result = reader.try_next();
        let epoch = result
            .as_ref()
            .ok()
            .and_then(Option::as_ref)
            .map_or(reader.log_epoch(), Frame::log_epoch);
        let log = self.logs.iter().position(|(known, _)| *known == epoch).expect("a log there was");
        let mut skipped = 0;
        if log != modelled.log {
            assert!(log > modelled.log, "it never goes back");
            // It has read the one before to its end; logs in between were empty, or are gone and counted as missed.
            assert_eq!(modelled.next, self.logs[modelled.log].1.len() as u64 + 1);
            let between = &self.logs[modelled.log + 1..log];
            skipped = between.iter().map(|(_, lengths)| lengths.len() as u64).sum();
            (modelled.log, modelled.next) = (log, 1);
        }
        let gap = (reader.missed() - before).checked_sub(skipped).expect("what is gone is counted")
            + std::mem::take(&mut modelled.untold);
        match result {
            Ok(Some(frame)) => {
                if modelled.guarantee == Guarantee::Reliable {
                    assert_eq!((gap, skipped), (0, 0), "it is told of a gap by an error");
                }
                assert_eq!(frame.header().first_sequence, modelled.next + gap, "the gap is exact");
                let copy = frame.copy().expect("nobody writes meanwhile");
                let lengths = &self.logs[log].1;
                for (entry, bytes) in copy.events() {
                    assert_eq!(
                        bytes,
                        event_bytes(entry.sequence, lengths[entry.sequence as usize - 1])
                    );
                }
                modelled.next = copy.header.end_sequence();
                if modelled.guarantee == Guarantee::Reliable {
                    modelled.out.push_back(frame);
                }
                true
            }
            Ok(None) => {
                let last = log + 1 == self.logs.len();
                assert!(last, "it follows");
                assert_eq!(
                    (gap, modelled.next),
                    (0, self.visible as u64 + 1),
                    "all that is visible was handed out"
                );
                false
            }
            Err(ReadError::Detached { first_missed, missed }) => {
                assert!(self.detached && modelled.guarantee == Guarantee::Reliable);
                if skipped > 0 {
                    assert_eq!((first_missed, missed), (1, skipped));
                    modelled.untold = gap;
                } else {
                    assert_eq!((first_missed, missed), (modelled.next, gap));
                    modelled.next += gap;
                }
                true
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn come_back(&mut self, index: usize) {
        let (name, guarantee) = (self.readers[index].name.clone(), self.readers[index].guarantee);
        drop(self.readers[index].reader.take());
        self.readers[index].out.clear();
        let reader = self.join(&name, guarantee);
        let modelled = &mut self.readers[index];
        let epoch = reader.log_epoch();
        modelled.log =
            self.logs.iter().position(|(known, _)| *known == epoch).expect("a log there was");
        // What it had not released it is handed again. Whether that is where the model would begin, the checks that
        // follow from there tell; a gap it is told at its first call.
        let told = if guarantee == Guarantee::Reliable {
            reader.missed() - reader.missed_earlier()
        } else {
            0
        };
        modelled.next = reader.next_sequence();
        modelled.untold = 0;
        assert!(told == 0 || self.detached);
        modelled.reader = Some(reader);
        if told > 0 {
            let result = modelled.reader.as_mut().expect("joined").try_next();
            let next = modelled.next;
            assert!(
                matches!(result, Err(ReadError::Detached { first_missed, missed })
                    if missed == told && first_missed + missed == next),
                "{result:?}"
            );
        }
    }

    fn restart(&mut self, rotate: bool) {
        drop(self.writer.take());
        self.visible = self.stored().len();
        self.now = later(self.now, 1);
        let epoch_seed = (self.logs.len() as u64 + 1).to_le_bytes();
        let options = LogOptions { rotate, epoch_seed, now: self.now, ..self.options.clone() };
        let writer = match LogWriter::open(self.home.path(), &options) {
            Ok(writer) => writer,
            Err(error) if rotate => {
                assert!(matches!(error, jimbot_shm::OpenError::PredecessorInUse { .. }), "{error}");
                let options = LogOptions { rotate: false, ..options };
                LogWriter::open(self.home.path(), &options).expect("take over")
            }
            Err(error) => panic!("{error}"),
        };
        if writer.epoch() != self.logs.last().expect("one at least").0 {
            self.logs.push((writer.epoch(), Vec::new()));
            self.visible = 0;
        }
        assert_eq!(
            writer.next_sequence(),
            self.stored().len() as u64 + 1,
            "all that was stored is there"
        );
        self.writer = Some(writer);
    }

    /// At the end everybody has seen, or been told to have missed, everything.
    fn finish(&mut self) {
        let now = self.now;
        self.writer().commit(now);
        self.visible = self.stored().len();
        for index in 0..READERS {
            while self.next(index) {}
            let modelled = &self.readers[index];
            assert_eq!(modelled.reader.as_ref().expect("joined").lag().events, 0);
        }
    }
}

proptest! {
    // The seed of a failure goes into this file, and is tried first from then on.
    #![proptest_config(ProptestConfig {
        cases: 96,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/model.seeds"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn nobody_misses_an_event_unless_told(
        detach in any::<bool>(),
        steps in prop::collection::vec(step(), 1..250),
    ) {
        let mut world = World::new(if detach { FullPolicy::Detach } else { FullPolicy::Hold });
        for step in &steps {
            world.run(step);
        }
        world.finish();
    }
}

/// What the random operations found: after the second rotation the lossy readers are two logs behind.
#[test]
fn readers_two_rotations_behind_are_told_of_every_event() {
    let mut world = World::new(FullPolicy::Hold);
    let stored = Step::Store { events: 1, length: 0 };
    let rotated = Step::Restart { rotate: true };
    let reads = |reader| [Step::Drain { reader }, Step::Release { reader, which: 0 }];
    for _ in 0..3 {
        for step in [&stored, &rotated, &stored, &Step::Commit] {
            world.run(step);
        }
        // The reliable readers follow, so that the next rotation is not refused.
        for step in [reads(0), reads(0), reads(2), reads(2)].as_flattened() {
            world.run(step);
        }
    }
    assert_eq!(world.logs.len(), 4);
    world.finish();
}
