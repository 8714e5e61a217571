//! A frame in Python's hands: how many views of it are alive, and when it may be released.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use jimbot_shm::{Frame, Overrun};
use pyo3::{exceptions::PyValueError, prelude::*};

use crate::{errors, process::Process};

/// A batch's bytes (payload, padding, index) and what has become of them. Shared by the batch and the objects that
/// export its buffer.
#[derive(Debug)]
pub(crate) enum Pin {
    /// In the log. Views of it are pins.
    Log(LogPin),
    /// In memory of its own.
    Own(Box<[u8]>),
}

/// A frame of the log.
#[derive(Debug)]
pub(crate) struct LogPin {
    overrun: Overrun,
    length: usize,
    process: Process,
    /// Views alive of all frames of this reader.
    views: Arc<AtomicUsize>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The frame, which keeps the log mapped and its slot taken; none once it is released.
    frame: Option<Frame>,
    exports: usize,
    stage: Stage,
    /// A view was given out, and nobody has asked since whether what it showed was whole.
    unchecked: bool,
    /// It had been overwritten when it was released.
    overrun: bool,
}

/// How far the reader is with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    InHand,
    /// Iteration has moved on: the last view to go releases the frame.
    MovedOn,
    /// The reader was given up with the frame in hand: the last view to go lets go of it, and it counts as unread.
    Abandoned,
}

/// Address and length of bytes that stay where they are for as long as an export is counted.
pub(crate) struct Place {
    pub(crate) address: *const u8,
    pub(crate) length: usize,
}

impl Pin {
    /// Counts one view more, and says where it looks. Raises when the batch was released: another frame may lie there.
    pub(crate) fn export(&self) -> PyResult<Place> {
        match self {
            Pin::Own(bytes) => Ok(Place { address: bytes.as_ptr(), length: bytes.len() }),
            Pin::Log(pin) => pin.export(),
        }
    }

    /// Counts one view less.
    pub(crate) fn unexport(&self) {
        if let Pin::Log(pin) = self {
            pin.unexport();
        }
    }

    /// Whether everything that views have shown until now was right.
    pub(crate) fn check(&self) -> PyResult<()> {
        match self {
            Pin::Own(_) => Ok(()),
            Pin::Log(pin) => pin.check(),
        }
    }

    /// As [`check`](Pin::check), if views were given out and nobody has asked since.
    pub(crate) fn check_views(&self) -> PyResult<()> {
        match self {
            Pin::Log(pin) if pin.state().unchecked => pin.check(),
            _ => Ok(()),
        }
    }

    /// Iteration has moved on from this frame, or the reader is being closed.
    ///
    /// # Errors
    /// When the frame was overwritten after views of it were given out, and nobody has asked since.
    pub(crate) fn move_on(&self) -> Result<(), Overrun> {
        match self {
            Pin::Own(_) => Ok(()),
            Pin::Log(pin) => pin.move_on(),
        }
    }

    /// The reader is given up with this frame in hand.
    pub(crate) fn abandon(&self) {
        if let Pin::Log(pin) = self {
            let mut state = pin.state();
            state.stage = Stage::Abandoned;
            state.let_go_if_done();
        }
    }
}

impl LogPin {
    /// `length` is that of payload, padding and index together.
    pub(crate) fn new(
        frame: Frame,
        length: usize,
        process: Process,
        views: Arc<AtomicUsize>,
    ) -> LogPin {
        let header = frame.header();
        let overrun = Overrun { first_sequence: header.first_sequence, events: header.event_count };
        let state = State {
            frame: Some(frame),
            exports: 0,
            stage: Stage::InHand,
            unchecked: false,
            overrun: false,
        };
        LogPin { overrun, length, process, views, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whole after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The frame. Raises when it was released, and in another process than the reader's.
    pub(crate) fn frame(&self) -> PyResult<Frame> {
        self.process.check()?;
        self.state().frame.clone().ok_or_else(released)
    }

    fn export(&self) -> PyResult<Place> {
        self.process.check()?;
        let mut state = self.state();
        let address = state.frame.as_ref().ok_or_else(released)?.payload_pointer();
        state.exports += 1;
        state.unchecked = true;
        self.views.fetch_add(1, Ordering::Relaxed);
        Ok(Place { address, length: self.length })
    }

    fn unexport(&self) {
        let mut state = self.state();
        state.exports -= 1;
        self.views.fetch_sub(1, Ordering::Relaxed);
        state.let_go_if_done();
    }

    fn move_on(&self) -> Result<(), Overrun> {
        let mut state = self.state();
        state.stage = Stage::MovedOn;
        let whole = state.whole();
        state.let_go_if_done();
        if std::mem::take(&mut state.unchecked) && !whole { Err(self.overrun) } else { Ok(()) }
    }

    fn check(&self) -> PyResult<()> {
        self.process.check()?;
        let mut state = self.state();
        state.unchecked = false;
        if state.whole() { Ok(()) } else { Err(errors::overrun(self.overrun)) }
    }
}

impl State {
    fn whole(&self) -> bool {
        self.frame.as_ref().map_or(!self.overrun, |frame| frame.check().is_ok())
    }

    fn let_go_if_done(&mut self) {
        if self.stage == Stage::InHand || self.exports > 0 {
            return;
        }
        if let Some(frame) = self.frame.take() {
            self.overrun = frame.check().is_err();
            if self.stage == Stage::MovedOn {
                // Fails for a reader that was detached, when the frame was overwritten: `check` goes on to tell.
                self.overrun |= frame.release().is_err();
            }
        }
    }
}

fn released() -> PyErr {
    PyValueError::new_err(
        "this batch was released when iteration moved on: look at it before, or keep batch.copy()",
    )
}
