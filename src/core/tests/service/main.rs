//! The whole service without I/O, driven through its public surface by clients made of bytes.

mod allocations;
mod bad_input;
mod batches;
mod bodies;
mod commands;
mod connections;
mod endpoints;
mod full_log;
mod harness;
mod restart;
mod sessions;
mod shutdown;
mod simulation;
mod websocket;
