//! The shared-memory log: one writer, many readers, on one host.
