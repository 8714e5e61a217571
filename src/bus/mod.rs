//! The Event Bus: anyone publishes, anyone subscribes, at least once, on one machine or a cluster.

pub mod filter;
pub mod publishers;
pub mod scan;
pub mod store;
pub mod topic;
