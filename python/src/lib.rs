//! The native half of the Python package `jimbot`: `jimbot.mcp._native`.
use pyo3::prelude::*;
mod buffer;

/// The private native module; `jimbot.mcp` is its public face.
#[pymodule(gil_used = false)]
mod _native {
    #[pymodule_export]
    use crate::buffer::FrameBytes;
}
