//! Log lines, written by a thread of their own: whoever logs never waits for a terminal or a disk.
//!
//! Lines go through a bounded queue. When it is full they are dropped and counted, and the next
//! line that is written tells how many are missing.

mod line;

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Once};
use std::thread;
use std::time::{Duration, SystemTime};

use log::{LevelFilter, Log, Metadata, Record};

use crate::config::LogFormat;
use line::Line;

/// Lines that wait to be written: a second of a very chatty service.
const QUEUE_LINES: usize = 1024;

enum Entry {
    Line(Line),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

/// The way to what has been logged so far.
#[derive(Clone)]
pub struct Logging {
    queue: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
}

impl Logging {
    /// How many lines were dropped because the queue was full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until everything logged so far is written, at most `patience`. For the end of the
    /// process; never call it from the hot thread before that.
    pub fn flush(&self, patience: Duration) {
        let (done, written) = mpsc::sync_channel(1);
        if self.queue.try_send(Entry::Flush(done)).is_ok() {
            // Out of patience or the writer gone: nothing more can be done for these lines.
            let _ = written.recv_timeout(patience);
        }
    }

    /// Lines of `level` and worse go to `output`, written by a new thread named `log`.
    fn start(format: LogFormat, mut output: impl Write + Send + 'static) -> Logging {
        let (queue, lines) = mpsc::sync_channel(QUEUE_LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let logging = Logging { queue, dropped: Arc::clone(&dropped) };
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_lines(&lines, &dropped, format, &mut output))
            .expect("a thread can be started");
        logging
    }
}

/// Sends everything logged with the `log` macros to standard error. Only the first call in a
/// process has an effect on where lines go.
pub fn install(level: LevelFilter, format: LogFormat) -> Logging {
    static INSTALL: Once = Once::new();
    let logging = Logging::start(format, std::io::stderr());
    INSTALL.call_once(|| {
        log::set_boxed_logger(Box::new(logging.clone())).expect("no other logger is installed");
    });
    log::set_max_level(level);
    logging
}

impl Log for Logging {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = Line::new(SystemTime::now(), record);
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Entry::Line(line)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

fn write_lines(
    lines: &Receiver<Entry>,
    dropped: &AtomicU64,
    format: LogFormat,
    output: &mut impl Write,
) {
    let mut told = 0;
    while let Ok(entry) = lines.recv() {
        let missing = dropped.load(Ordering::Relaxed);
        if missing > told {
            let gap = Line::about_dropped(SystemTime::now(), missing - told);
            told = missing;
            write_text(output, &gap.text(format));
        }
        match entry {
            Entry::Line(line) => write_text(output, &line.text(format)),
            // The asker may have run out of patience.
            Entry::Flush(done) => drop(done.try_send(())),
        }
    }
}

/// A standard error that is closed or full takes no log lines, and there is no other place to
/// complain to.
fn write_text(output: &mut impl Write, text: &str) {
    let _ = output.write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn log_to(logging: &Logging, text: &str) {
        log::set_max_level(LevelFilter::Info);
        let arguments = format_args!("{text}");
        logging.log(&Record::builder().level(log::Level::Warn).args(arguments).build());
    }

    #[test]
    fn lines_arrive_in_order() {
        let paper = Paper::default();
        let logging = Logging::start(LogFormat::Text, paper.clone());
        log_to(&logging, "first");
        log_to(&logging, "second");
        logging.flush(Duration::from_secs(60));
        let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        let words: Vec<&str> = text.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
        assert_eq!(words, ["first", "second"]);
    }

    #[test]
    fn a_writer_that_stands_still_costs_lines_and_not_time() {
        let paper = Paper::default();
        let logging = Logging::start(LogFormat::Json, paper.clone());
        let held = paper.0.lock().unwrap();
        for _ in 0..QUEUE_LINES + 500 {
            log_to(&logging, "again");
        }
        assert!(logging.dropped() >= 499, "{}", logging.dropped());
        drop(held);
        // The queue has room again as soon as the writer took one line.
        while paper.0.lock().unwrap().is_empty() {
            thread::yield_now();
        }
        logging.flush(Duration::from_secs(60));
        let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("log lines were dropped"), "{text}");
    }
}
