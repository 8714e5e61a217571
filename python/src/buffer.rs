//! The buffer protocol: how NumPy and `memoryview` look at a frame where it lies. The one place with `unsafe` here.
#![allow(unsafe_code, reason = "the buffer protocol hands out an address")]

use std::{ffi::c_int, sync::Arc};

use pyo3::{ffi, prelude::*};

use crate::pin::Pin;

/// The bytes of one frame, payload and index, as an object with a read-only buffer. Every export of it is a pin.
#[pyclass(frozen, module = "jimbot.mcp._native")]
pub(crate) struct FrameBytes {
    pin: Arc<Pin>,
}

impl FrameBytes {
    pub(crate) fn new(pin: Arc<Pin>) -> FrameBytes {
        FrameBytes { pin }
    }
}

#[pymethods]
impl FrameBytes {
    /// Fills `view`. Raises `BufferError` to who wants to write, `ValueError` when the batch was released.
    ///
    /// # Safety
    /// Called by the interpreter only: `view` points to a `Py_buffer` that is its own to be filled.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let pin = Arc::clone(&slf.get().pin);
        let bytes = pin.export()?;
        let length = bytes.length as ffi::Py_ssize_t;
        // SAFETY:
        // - `view` is valid by this function's contract; `slf` is a live object, of which the call takes a reference of
        //   its own into `view.obj`. The interpreter keeps that reference until it has called `__releasebuffer__`, so
        //   that `self.pin`, and with it the mapping or vector that `bytes.address` points into, outlives the view.
        // - `address` and `length` are those of one allocation or mapping that stays where it is while `Pin` lives (see
        //   `Pin::export`).
        // - The buffer is declared read-only (1), so that nobody writes through it; a request for a writable one is
        //   refused by the call itself.
        // - Another process may overwrite bytes of the log under a lossy reader's view. No Rust reference to them is
        //   made here or elsewhere in this crate; what reads them is the interpreter's C code, and it is told by
        //   `check()` whether what it read was whole.
        let filled = unsafe {
            ffi::PyBuffer_FillInfo(
                view,
                slf.as_ptr(),
                bytes.address.cast_mut().cast(),
                length,
                1,
                flags,
            )
        };
        if filled < 0 {
            pin.unexport();
            return Err(PyErr::fetch(slf.py()));
        }
        Ok(())
    }

    /// Counts an export down; the last one of a batch that was moved on from releases it.
    ///
    /// # Safety
    /// Called by the interpreter only, once for each buffer that was filled.
    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {
        self.pin.unexport();
    }
}
