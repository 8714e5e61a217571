//! The Event Bus through its public surface: its stores, its server, its clients, and what goes wrong.

mod conformance;
mod damage;
mod documents;
mod faults;
mod forwarder;
mod killed_service;
mod nats;
mod server;
mod support;
