//! The reader: waits, takes frames, passes over what no filter wants, and keeps an eye on pins.

use std::{
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use jimbot_shm::{
    Frame, Guarantee, IndexEntry, LogReader, ReadError, ReaderOptions, Start, Waited,
};
use pyo3::{
    exceptions::{PyBufferError, PyResourceWarning, PyTypeError, PyValueError},
    prelude::*,
};

use crate::{
    batch::{self, About, Batch},
    errors,
    filter::Filter,
    pin::{LogPin, Pin},
    process::Process,
};

/// A wait in the kernel is this long at most; then signals and pins are looked at.
const WAIT_SLICE: Duration = Duration::from_millis(250);
/// Frames passed over without a chosen event before signals and the time are looked at.
const PASSED_OVER_MAX: usize = 1024;
/// A pin as old as this is warned about.
const PIN_AGE_MAX: Duration = Duration::from_secs(5);
/// Pins of more than one part in so many of the log are warned about.
const PIN_SHARE: u64 = 4;

/// A reader of the log. Its methods may be called from any thread; the batch in hand is one for all of them.
#[pyclass(frozen, module = "jimbot.mcp._native")]
pub(crate) struct Reader {
    name: String,
    reliable: bool,
    process: Process,
    unfiltered: bool,
    /// Views alive of all frames of this reader.
    views: Arc<AtomicUsize>,
    /// Held for moments, and never while Python's code runs.
    state: Mutex<State>,
    turn: Turn,
}

struct State {
    /// `None` once closed.
    log: Option<LogReader>,
    hand: Option<Arc<Pin>>,
    filter: Filter,
    /// Events of frames that were overwritten while the filter looked at them.
    missed_in_filter: u64,
    warned_age: bool,
    warned_share: bool,
}

/// What a look at the log gave.
enum Taken {
    Batch(Batch),
    /// Nothing is there.
    End,
    /// Many frames had no chosen event, and there are more.
    More,
}

impl Reader {
    fn state(&self) -> MutexGuard<'_, State> {
        // Whole after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Releases the batch in hand, or leaves that to its last view.
    fn move_on(&self, py: Python<'_>) -> PyResult<()> {
        let hand = self.state().hand.take();
        match hand.map(|pin| pin.move_on()) {
            Some(Err(overwritten)) => errors::warn_overrun(py, overwritten),
            _ => Ok(()),
        }
    }

    /// The next batch that has a chosen event.
    fn take(&self) -> Result<Taken, TakeError> {
        let state = &mut *self.state();
        let mut index = Vec::new();
        let mut missed_before = 0;
        for _ in 0..PASSED_OVER_MAX {
            let log = state.log.as_mut().ok_or(TakeError::Closed)?;
            let missed = log.missed();
            let Some(frame) = log.try_next().map_err(TakeError::Read)? else {
                return Ok(Taken::End);
            };
            missed_before += log.missed() - missed;
            let chosen = match choose(&mut state.filter, log, &frame, &mut index) {
                Chosen::All => None,
                Chosen::Some(positions) => Some(positions),
                Chosen::None => {
                    // Nobody has looked at it: that it was overwritten meanwhile has no consequence.
                    let _ = frame.release();
                    continue;
                }
                Chosen::Overwritten => {
                    let events = u64::from(frame.header().event_count);
                    state.missed_in_filter += events;
                    missed_before += events;
                    continue;
                }
            };
            let header = *frame.header();
            let about = About::of(&header, frame.log_epoch(), missed_before);
            let length = batch::length(&header);
            let pin = LogPin::new(frame, length, self.process, self.views.clone());
            let pin = Arc::new(Pin::Log(pin));
            state.hand = Some(pin.clone());
            return Ok(Taken::Batch(Batch::new(pin, about, &header, chosen)));
        }
        Ok(Taken::More)
    }

    /// Sleeps in the kernel until there may be something new, for a slice at most.
    fn sleep(&self, limit: Duration) -> Result<Waited, TakeError> {
        let limit = limit.min(WAIT_SLICE);
        let Some(_turn) = self.turn.take(limit) else { return Ok(Waited::TimedOut) };
        let waiter = self.state().log.as_ref().ok_or(TakeError::Closed)?.waiter();
        waiter.wait(limit).map_err(TakeError::Read)
    }

    /// Warns, once each time that it comes to it, of pins that are old or large. The batch in hand is none.
    fn watch_pins(&self, py: Python<'_>) -> PyResult<()> {
        if self.views.load(Ordering::Relaxed) == 0 || !self.reliable {
            return Ok(());
        }
        let (bytes, age, old, large, capacity) = {
            let mut state = self.state();
            let Some(log) = &state.log else { return Ok(()) };
            let capacity = log.capacity();
            let (bytes, age) = log.pinned();
            let old = bytes > 0 && age > PIN_AGE_MAX;
            let large = bytes > capacity / PIN_SHARE;
            let old_news = old && !std::mem::replace(&mut state.warned_age, old);
            let large_news = large && !std::mem::replace(&mut state.warned_share, large);
            state.warned_age = old;
            state.warned_share = large;
            (bytes, age, old_news, large_news, capacity)
        };
        let name = &self.name;
        let advice = "drop the views, or keep batch.copy(): pinned batches hold the writer when the log is full";
        let class = py.get_type::<PyResourceWarning>();
        if old {
            let message = format!(
                "views of reader {name:?} have pinned for more than 5 s ({:.1} s) a batch of the log; {advice}",
                age.as_secs_f64()
            );
            errors::warn(py, &class, message)?;
        }
        if large {
            let share = bytes * 100 / capacity;
            let message = format!("views of reader {name:?} pin {share} % of the log; {advice}");
            errors::warn(py, &class, message)?;
        }
        Ok(())
    }
}

/// What the filter takes of a frame.
enum Chosen {
    All,
    /// Their positions in the index.
    Some(Box<[u32]>),
    None,
    /// The frame was overwritten before that could be told.
    Overwritten,
}

fn choose(
    filter: &mut Filter,
    log: &LogReader,
    frame: &Frame,
    index: &mut Vec<IndexEntry>,
) -> Chosen {
    if filter.is_open() {
        return Chosen::All;
    }
    if frame.copy_index_into(index).is_err() {
        return Chosen::Overwritten;
    }
    // The reader may have followed a rotated log to its successor.
    filter.set_id_key(log.id_key());
    let takes = |(position, entry)| filter.takes(entry).then_some(position);
    let positions: Box<[u32]> = (0u32..).zip(index.iter()).filter_map(takes).collect();
    match positions.len() {
        0 => Chosen::None,
        all if all == index.len() => Chosen::All,
        _ => Chosen::Some(positions),
    }
}

/// Why nothing could be taken.
enum TakeError {
    Closed,
    Read(ReadError),
}

impl TakeError {
    fn into_py(self, py: Python<'_>) -> PyErr {
        match self {
            TakeError::Closed => closed(),
            TakeError::Read(error) => errors::read(py, error),
        }
    }
}

fn closed() -> PyErr {
    PyValueError::new_err("this reader is closed")
}

#[pymethods]
impl Reader {
    #[new]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        name: String,
        reliable: bool,
        start: &Bound<'_, PyAny>,
        filter: &Filter,
        spin: f64,
    ) -> PyResult<Reader> {
        let guarantee = if reliable { Guarantee::Reliable } else { Guarantee::Lossy };
        let start = start_of(start)?;
        let spin = Duration::try_from_secs_f64(spin).unwrap_or(WAIT_SLICE);
        let options = ReaderOptions { name, guarantee, start, spin, ..ReaderOptions::default() };
        let log = py
            .detach(|| LogReader::open(&path, &options))
            .map_err(|error| errors::open(py, error))?;
        Ok(Reader {
            name: log.name().to_owned(),
            reliable,
            process: Process::current(),
            unfiltered: filter.is_open(),
            views: Arc::default(),
            state: Mutex::new(State {
                log: Some(log),
                hand: None,
                filter: filter.clone(),
                missed_in_filter: 0,
                warned_age: false,
                warned_share: false,
            }),
            turn: Turn::default(),
        })
    }

    /// The next batch; `None` when none came within `timeout` seconds (`None`: waits for ever).
    fn read(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<Batch>> {
        self.process.check()?;
        // A time beyond what the clock can tell is for ever.
        let end = timeout
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .and_then(|timeout| Instant::now().checked_add(timeout));
        self.move_on(py)?;
        loop {
            // A single look takes less time than to let go of the interpreter and to get it back.
            let taken = if self.unfiltered { self.take() } else { py.detach(|| self.take()) };
            let more = match taken.map_err(|error| error.into_py(py))? {
                Taken::Batch(batch) => return Ok(Some(batch)),
                Taken::End => false,
                Taken::More => true,
            };
            self.watch_pins(py)?;
            let left = end.map_or(WAIT_SLICE, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(None);
            }
            if !more {
                py.detach(|| self.sleep(left)).map_err(|error| error.into_py(py))?;
            }
            py.check_signals()?;
        }
    }

    /// Waits for something to read, for `timeout` seconds or a moment at most, and takes nothing: whether there may be.
    fn wait(&self, py: Python<'_>, timeout: f64) -> PyResult<bool> {
        self.process.check()?;
        let limit = Duration::try_from_secs_f64(timeout).unwrap_or(WAIT_SLICE);
        let waited = py.detach(|| self.sleep(limit)).map_err(|error| error.into_py(py))?;
        Ok(waited == Waited::Ready)
    }

    /// Raises `Overrun` when the batch in hand was overwritten after views of it were given out, and nobody has asked.
    fn check(&self) -> PyResult<()> {
        self.process.check()?;
        let hand = self.state().hand.clone();
        hand.map_or(Ok(()), |pin| pin.check_views())
    }

    /// Releases the batch in hand and gives the log back. Raises `BufferError` while views are alive.
    fn close(&self) -> PyResult<()> {
        self.process.check()?;
        let hand = self.state().hand.take();
        // What its views showed last is `check`'s to tell.
        let _ = hand.map(|pin| pin.move_on());
        let views = self.views.load(Ordering::Relaxed);
        if views > 0 {
            return Err(PyBufferError::new_err(format!(
                "{views} views of reader {:?} are alive (batch.index, batch.payload, and what was made of them): drop \
                 them and close again; batch.copy() is what stays",
                self.name
            )));
        }
        drop(self.state().log.take());
        Ok(())
    }

    /// Closes without releasing the batch in hand: a reader of this name gets it again. The log is given back when the
    /// last view has gone.
    fn abandon(&self) {
        // In a forked child there is nothing to give back, and another thread's lock may be held for ever.
        if self.process.is_current() {
            let (log, hand) = {
                let mut state = self.state();
                (state.log.take(), state.hand.take())
            };
            if let Some(pin) = hand {
                pin.abandon();
            }
            drop(log);
        }
    }

    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    /// Epoch of the log.
    #[getter]
    fn epoch(&self) -> PyResult<u64> {
        self.ask(|log, _| log.log_epoch())
    }

    /// Visible events that were not handed out.
    #[getter]
    fn lag(&self) -> PyResult<u64> {
        self.ask(|log, _| log.lag().events)
    }

    /// Events lost to it since it was opened.
    #[getter]
    fn missed(&self) -> PyResult<u64> {
        self.ask(|log, state| log.missed() - log.missed_earlier() + state.missed_in_filter)
    }
}

impl Reader {
    fn ask<T>(&self, question: impl FnOnce(&LogReader, &State) -> T) -> PyResult<T> {
        self.process.check()?;
        let state = self.state();
        let log = state.log.as_ref().ok_or_else(closed)?;
        Ok(question(log, &state))
    }
}

fn start_of(start: &Bound<'_, PyAny>) -> PyResult<Start> {
    if let Ok(word) = start.extract::<&str>() {
        return match word {
            "earliest" => Ok(Start::Earliest),
            "latest" => Ok(Start::Latest),
            _ => Err(PyValueError::new_err(format!(
                "start is 'latest', 'earliest' or a sequence, not {word:?}"
            ))),
        };
    }
    match start.extract::<i128>() {
        Ok(sequence) => u64::try_from(sequence).map(Start::Sequence).map_err(|_| {
            PyValueError::new_err(format!("a sequence is a number from 0, not {sequence}"))
        }),
        Err(_) => Err(PyTypeError::new_err(format!(
            "start is 'latest', 'earliest' or a sequence, not {}",
            start.repr()?
        ))),
    }
}

/// Threads of one reader sleep in the kernel one at a time: they share a bit in the log, which the first to wake clears.
#[derive(Default)]
struct Turn {
    state: Mutex<TurnState>,
    free: Condvar,
}

#[derive(Default)]
struct TurnState {
    taken: bool,
    /// Threads that wait for it. Telling nobody takes a system call too, at every end of a sleep.
    waiting: usize,
}

struct Taking<'a>(&'a Turn);

impl Turn {
    fn state(&self) -> MutexGuard<'_, TurnState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` when it did not come within `limit`.
    fn take(&self, limit: Duration) -> Option<Taking<'_>> {
        let mut state = self.state();
        if state.taken {
            state.waiting += 1;
            (state, _) = self
                .free
                .wait_timeout_while(state, limit, |state| state.taken)
                .unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        if std::mem::replace(&mut state.taken, true) { None } else { Some(Taking(self)) }
    }
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.taken = false;
        if state.waiting > 0 {
            self.0.free.notify_one();
        }
    }
}
