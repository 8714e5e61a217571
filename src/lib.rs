//! The JimBot MCP service and its tools.

pub mod cli;
pub mod config;
pub mod logging;
pub mod simulate;
pub mod tail;
