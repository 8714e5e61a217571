//! WebSocket (RFC 6455) behind an HTTP upgrade: whole messages are taken where they lie in a connection's receive
//! buffer, everything else goes through tungstenite's context, driven over the connection's own buffers.
//!
//! | file | what it knows |
//! |---|---|
//! | `handshake` | which upgrade requests are valid, and the answer to one |
//! | `machine` | one WebSocket after its upgrade: messages, control frames, heartbeat, closing |
//! | `lying` | messages that lie whole in the received bytes |
//! | `pipe` | the in-memory stream the context reads from and writes to |
//! | `boundary` | where frames begin and end in the bytes given to the context |
//! | `rate` | how many frames a peer may send in a second |
//! | `close_code` | why a WebSocket is closed |

mod boundary;
mod close_code;
mod handshake;
mod lying;
mod machine;
mod pipe;
mod rate;

pub use close_code::CloseCode;
pub use machine::WsConfig;

pub(crate) use handshake::{accept, validate};
pub(crate) use machine::{Lying, Machine, Step, Wires, WsTimer};
