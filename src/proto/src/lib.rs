//! Rust bindings of the JimBot event schema, generated at build time.
//!
//! `proto/` is the contract between games, service, Event Bus and every consumer. This crate gives its messages
//! ([`events::v1`]), its descriptor with all options ([`FILE_DESCRIPTOR_SET`]), and the table of event types that
//! converter, bus and documentation share ([`EVENT_TYPES`]). With the feature `services` it has the gRPC clients and
//! servers too. Fields that the schema marks `encoded` are `Bytes` here: the bus passes events on and encodes none.

/// The messages of `jimbot.events.v1`.
pub mod events {
    /// Version 1 of the event schema.
    #[allow(
        missing_docs,
        clippy::all,
        reason = "generated code; its documentation is the schema's comments"
    )]
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/jimbot.events.v1.rs"));
    }
}

/// The Resource Coordinator, package `jimbot`.
#[allow(
    missing_docs,
    clippy::all,
    reason = "generated code; its documentation is the schema's comments"
)]
pub mod coordinator {
    include!(concat!(env!("OUT_DIR"), "/jimbot.rs"));
}

mod types;

pub use types::{EVENT_TYPES, EventSpec, event_spec};

/// The schema as a serialised `google.protobuf.FileDescriptorSet`, imports and custom options included, comments not.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));
