//! The real binary, from outside: what people type, what games send, what they get.
//!
//! One file a subject; `support` starts services on logs of their own.

mod access;
#[path = "../bad_input/table.rs"]
mod bad_input_table;
mod bus_commands;
mod command_line;
mod crash;
mod floor;
mod full_log;
mod golden;
mod hostile;
mod left_behind;
mod lifecycle;
mod memory;
mod readers;
mod restart;
mod settings;
mod simulate_and_tail;
mod support;
mod threads;
mod unix_sockets;
