//! The native half of the Python package `jimbot`: `jimbot.mcp._native`, a thin and safe hand on the log's reader.
//!
//! | file | what |
//! |---|---|
//! | `reader` | waiting, taking frames, filters, closing |
//! | `filter` | which events a reader asked for |
//! | `batch` | one frame: what it is, copies of it |
//! | `pin` | how many views of a frame are alive, and when it is released |
//! | `buffer` | the buffer protocol; the only `unsafe` here |
//! | `process` | forks |
//! | `errors` | the log's errors as Python's |

use pyo3::prelude::*;

mod batch;
mod buffer;
mod errors;
mod filter;
mod pin;
mod process;
mod reader;

/// The private native module; `jimbot.mcp` is its public face. Everything in it is safe to use from several threads at
/// once, with the interpreter's lock or without one.
#[pymodule(gil_used = false)]
mod _native {
    #[pymodule_export]
    use crate::{batch::Batch, buffer::FrameBytes, filter::Filter, reader::Reader};
}
