//! Load from outside: shares no code with the service, and sees only what a client sees.

mod alarm;
pub mod bodies;
pub mod client;
pub mod floor;
pub mod payload;
pub mod process;
pub mod report;
pub mod run;
pub mod schedule;
