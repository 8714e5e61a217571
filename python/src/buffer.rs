//! x
#![allow(unsafe_code)]
use pyo3::prelude::*;
/// x
#[pyclass(frozen)]
pub(crate) struct FrameBytes {}
