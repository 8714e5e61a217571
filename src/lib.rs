//! The JimBot MCP service and its tools.

pub mod bus;
pub mod cli;
pub mod config;
pub mod forwarder;
pub mod journal;
pub mod logging;
pub mod reactor;
pub mod serve;
pub mod simulate;
pub mod tail;
