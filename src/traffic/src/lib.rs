//! What games in the field send, made up from a seed.
//!
//! A [`Game`] plays whole runs and speaks one of the three [`Dialect`]s: every event type, every
//! field and the number formatting of each, with the faults of real games switchable
//! ([`Quirks`]). [`Batcher`] packs events as the mod does, [`workload`] holds the canonical
//! workloads that measurements use, and [`samples`] holds one of everything for tests.
//!
//! The crate does no I/O and reads no clock: each event is stamped with the [`Clock`] that the
//! caller passes in, and the same seed, options and clocks give the same bytes.
//!
//! ```
//! use jimbot_traffic::{Clock, Game, GameOptions, VirtualClock};
//!
//! let mut game = Game::new(&GameOptions { seed: 7, ..GameOptions::default() });
//! let mut time = VirtualClock::starting_at(Clock::EXAMPLE);
//! for _ in 0..100 {
//!     let event = game.next_event(time.now());
//!     assert!(event.json.starts_with(b"{"));
//!     time.advance(game.pause_ms()); // the game's own rhythm; a load generator ignores it
//! }
//! ```

mod batch;
mod cards;
mod clock;
mod dialect;
mod encode;
mod game;
mod number;
mod quirks;
pub mod samples;
mod script;
mod state;
mod value;
pub mod workload;
mod world;

pub use batch::{Batch, Batcher, Request, connection_test_request, poll_request, post_headers};
pub use clock::{Clock, VirtualClock};
pub use dialect::Dialect;
pub use encode::KeyOrder;
pub use game::{Event, Game, GameOptions};
pub use number::write_number;
pub use quirks::{Oddity, Quirks};
