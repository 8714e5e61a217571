//! The log's errors as Python's exceptions, which `jimbot.mcp.errors` defines.

use std::ffi::CString;

use jimbot_shm::{OpenError, Overrun as Overwritten, ReadError};
use pyo3::{
    exceptions::{PyMemoryError, PyOSError, PyPermissionError, PyValueError},
    prelude::*,
    sync::PyOnceLock,
    types::PyType,
};

/// An exception class of `jimbot.mcp.errors`, looked up once.
macro_rules! exception {
    ($function:ident, $name:literal) => {
        fn $function(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
            static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
            CLASS.import(py, "jimbot.mcp.errors", $name)
        }
    };
}

exception!(class_detached, "Detached");
exception!(class_log_format_error, "LogFormatError");
exception!(class_log_not_found, "LogNotFound");
exception!(class_overrun, "Overrun");
exception!(class_overrun_warning, "OverrunWarning");
exception!(class_reader_error, "ReaderError");
exception!(class_reader_name_in_use, "ReaderNameInUse");
exception!(class_wrong_process, "WrongProcess");

/// The exception that `class` makes of `arguments`; what keeps it from being made, if something does.
fn raise<'py, A>(class: PyResult<&Bound<'py, PyType>>, arguments: A) -> PyErr
where
    A: pyo3::call::PyCallArgs<'py>,
{
    match class.and_then(|class| class.call1(arguments)) {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

pub(crate) fn overrun(overwritten: Overwritten) -> PyErr {
    let first = overwritten.first_sequence;
    let events = u64::from(overwritten.events);
    Python::attach(|py| {
        raise(class_overrun(py), (overwritten.to_string(), events, first, first + events))
    })
}

/// Warns that a batch was overwritten while its views were in use.
pub(crate) fn warn_overrun(py: Python<'_>, overwritten: Overwritten) -> PyResult<()> {
    let class = class_overrun_warning(py)?.clone().into_any();
    warn(py, &class, format!("{overwritten}; batch.check() tells it where it can be handled"))
}

/// Warns the caller of the Python method that called in here.
pub(crate) fn warn(py: Python<'_>, class: &Bound<'_, PyAny>, message: String) -> PyResult<()> {
    PyErr::warn(py, class, &CString::new(message)?, 2)
}

pub(crate) fn wrong_process() -> PyErr {
    Python::attach(|py| raise(class_wrong_process(py), (ReadError::Forked.to_string(),)))
}

pub(crate) fn read(py: Python<'_>, error: ReadError) -> PyErr {
    let message = error.to_string();
    match error {
        ReadError::Forked => raise(class_wrong_process(py), (message,)),
        ReadError::Detached { first_missed, missed } => {
            raise(class_detached(py), (message, missed, first_missed, first_missed + missed))
        }
        ReadError::TakenOver => raise(class_reader_error(py), (message,)),
        ReadError::Damaged { .. } => raise(class_log_format_error(py), (message,)),
        ReadError::Successor(error) => open(py, *error),
        ReadError::Io(error) => error.into(),
    }
}

pub(crate) fn open(py: Python<'_>, error: OpenError) -> PyErr {
    let message = error.to_string();
    match error {
        OpenError::Missing { .. } | OpenError::NotInitialised { .. } => {
            raise(class_log_not_found(py), (message,))
        }
        OpenError::WrongVersion { .. }
        | OpenError::Truncated { .. }
        | OpenError::Foreign { .. }
        | OpenError::Damaged { .. } => raise(class_log_format_error(py), (message,)),
        OpenError::ReaderNameInUse { name, pid } => {
            raise(class_reader_name_in_use(py), (message, name, pid))
        }
        OpenError::UnsafeDirectory { .. } => PyPermissionError::new_err(message),
        OpenError::NoSpace { .. } => PyMemoryError::new_err(message),
        OpenError::Invalid { .. } => PyValueError::new_err(message),
        OpenError::Io { error, .. } => {
            PyOSError::new_err((error.raw_os_error().unwrap_or(0), message))
        }
        _ => raise(class_reader_error(py), (message,)),
    }
}
