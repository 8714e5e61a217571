//! Which process something was opened in: a forked child has the objects, but none of the rights.

use pyo3::prelude::*;

use crate::errors;

/// The process that opened a reader.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pid: u32,
}

impl Process {
    pub(crate) fn current() -> Process {
        Process { pid: std::process::id() }
    }

    pub(crate) fn is_current(self) -> bool {
        self.pid == std::process::id()
    }

    /// Raises in another process. Before any lock is taken: one that a thread of the parent held stays locked.
    pub(crate) fn check(self) -> PyResult<()> {
        if self.is_current() { Ok(()) } else { Err(errors::wrong_process()) }
    }
}
