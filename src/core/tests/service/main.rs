//! The whole service without I/O, driven through its public surface by clients made of bytes.

mod allocations;
mod bad_input;
#[path = "../../../../tests/bad_input/table.rs"]
mod bad_input_table;
mod batches;
mod bodies;
mod commands;
mod connections;
mod endpoints;
mod full_log;
mod golden;
mod harness;
mod memory;
mod restart;
mod sessions;
mod shutdown;
mod simulation;
mod websocket;
