//! What the log costs, as ratios to plain copies of the same bytes made in the same run.
//!
//! `cargo bench -p jimbot-shm` measures; under `cargo test` the inputs are tiny and only the results are checked. The check
//! sums at the end are of what was read back: they say that the work was done.

use std::{
    hint::black_box,
    path::PathBuf,
    time::{Duration, Instant},
};

use jimbot_shm::{
    FrameCopy, Guarantee, IndexEntry, LogOptions, LogReader, LogWriter, Now, ReaderOptions, Start,
};

/// Bytes of a small event with its tag and length.
const ELEMENT: usize = 190;
/// Events of a frame where frames are full.
const FRAME_EVENTS: usize = 64;

struct Size {
    /// Events of one measurement.
    events: usize,
    pairs: usize,
}

struct Log {
    writer: LogWriter,
    path: PathBuf,
}

impl Log {
    fn new(name: &str) -> Log {
        let path = PathBuf::from(format!("/dev/shm/jimbot-bench-{}-{name}", std::process::id()));
        let options = LogOptions {
            capacity: Some(32 << 20),
            max_batch_bytes: 1 << 16,
            max_batch_events: 1024,
            epoch_seed: [1; 8],
            now: Now::read(),
            ..LogOptions::default()
        };
        Log { writer: LogWriter::open(&path, &options).expect("open"), path }
    }

    fn reader(&self, guarantee: Guarantee) -> LogReader {
        let options = ReaderOptions {
            name: "bench".into(),
            guarantee,
            start: Start::Latest,
            ..ReaderOptions::default()
        };
        LogReader::open(&self.path, &options).expect("join")
    }

    fn store(&mut self, element: &[u8]) {
        self.writer.room()[..element.len()].copy_from_slice(element);
        self.writer.append(element.len(), 3, &IndexEntry::default());
    }

    fn write(&mut self, events: usize, per_frame: usize, element: &[u8]) {
        let now = Now::default();
        for _ in 0..events / per_frame {
            self.writer.begin(now).expect("room");
            for _ in 0..per_frame {
                self.store(element);
            }
            self.writer.commit(now);
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// The same bytes into memory of the same size, with an index entry beside each.
struct Floor {
    ring: Vec<u8>,
    at: usize,
}

impl Floor {
    fn new() -> Floor {
        Floor { ring: vec![1; 32 << 20], at: 0 }
    }

    fn write(&mut self, events: usize, element: &[u8]) {
        for _ in 0..events {
            if self.at + element.len() + 64 > self.ring.len() {
                self.at = 0;
            }
            self.ring[self.at..][..element.len()].copy_from_slice(black_box(element));
            self.at += element.len();
            self.ring[self.at..][..64].copy_from_slice(black_box(&[0; 64]));
            self.at += 64;
        }
    }

    fn read(&mut self, frames: usize, bytes: usize, out: &mut Vec<u8>) {
        for _ in 0..frames {
            if self.at + bytes > self.ring.len() {
                self.at = 0;
            }
            out.clear();
            out.extend_from_slice(black_box(&self.ring[self.at..][..bytes]));
            self.at += bytes;
        }
    }
}

fn time(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}

/// Runs both in turn, and prints the median of each and of their ratios, with the middle half of the ratios.
fn compare(
    name: &str,
    size: &Size,
    per: usize,
    mut work: impl FnMut() -> Duration,
    mut floor: impl FnMut() -> Duration,
) {
    let mut pairs: Vec<(f64, f64)> = Vec::new();
    for _ in 0..size.pairs {
        let (work, floor) = (work(), floor());
        let each = |duration: Duration| duration.as_nanos() as f64 / per as f64;
        pairs.push((each(work), each(floor)));
    }
    let quartiles = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        let at = |part: f64| values[((values.len() - 1) as f64 * part) as usize];
        (at(0.25), at(0.5), at(0.75))
    };
    let (_, work, _) = quartiles(pairs.iter().map(|pair| pair.0).collect());
    let (_, floor, _) = quartiles(pairs.iter().map(|pair| pair.1).collect());
    let (low, ratio, high) = quartiles(pairs.iter().map(|pair| pair.0 / pair.1).collect());
    println!(
        "{name:<44} {work:>9.1} ns  floor {floor:>9.1} ns  ratio {ratio:>6.2} ({low:.2} to {high:.2})"
    );
}

fn main() {
    let measuring = std::env::args().any(|argument| argument == "--bench");
    let size = if measuring {
        Size { events: 64 * 2000, pairs: 31 }
    } else {
        Size { events: 64 * 4, pairs: 3 }
    };
    let element = [7u8; ELEMENT];
    let mut floor = Floor::new();

    let mut log = Log::new("append");
    let mut work = || time(|| log.write(size.events, FRAME_EVENTS, &element));
    compare("append, 64 a frame, an event", &size, size.events, &mut work, || {
        time(|| floor.write(size.events, &element))
    });
    let frames = size.events / FRAME_EVENTS;
    let mut work = || time(|| log.write(frames, 1, &element));
    compare("begin, append, commit, an event a frame", &size, frames, &mut work, || {
        time(|| floor.write(frames, &element))
    });
    drop(log);

    let payload = FRAME_EVENTS * ELEMENT;
    let bytes = payload + FRAME_EVENTS * 64;
    let (mut out, mut copy) = (Vec::new(), FrameCopy::default());
    let (mut events, mut sum) = (0u64, 0u64);
    for (name, guarantee, copies) in [
        ("next and copy, lossy, a frame of 64", Guarantee::Lossy, true),
        ("next and release, reliable, a frame of 64", Guarantee::Reliable, false),
    ] {
        let mut log = Log::new("read");
        let mut reader = log.reader(guarantee);
        // As many frames at a time as the ring holds twice over.
        let frames = frames.min(800);
        compare(
            name,
            &size,
            frames,
            || {
                log.write(frames * FRAME_EVENTS, FRAME_EVENTS, &element);
                time(|| {
                    while let Some(frame) = reader.try_next().expect("read") {
                        events += u64::from(frame.header().event_count);
                        if copies {
                            frame.copy_into(&mut copy).expect("whole");
                            sum += u64::from(copy.payload[payload - 1]);
                        }
                        frame.release().expect("whole");
                    }
                })
            },
            || time(|| floor.read(frames, bytes, &mut out)),
        );
        assert_eq!(reader.missed(), 0);
    }
    let rounds = size.pairs * frames.min(800);
    assert_eq!((events, sum), ((2 * rounds * FRAME_EVENTS) as u64, 7 * rounds as u64));
    println!("read back: {events} events, last bytes {sum}");
}
