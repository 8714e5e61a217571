//! Any sequence of operations on one connection: what is sent, when, in which pieces, and how it ends.
#![no_main]

#[path = "../../src/core/tests/wire/mod.rs"]
mod wire;

libfuzzer_sys::fuzz_target!(|data: &[u8]| wire::operate(data));
