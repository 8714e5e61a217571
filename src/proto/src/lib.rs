//! Rust bindings of the JimBot event schema, generated at build time.
