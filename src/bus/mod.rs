//! The Event Bus: anyone publishes, anyone subscribes, at least once, on one machine or a cluster.
//!
//! `scan`, `topic`, `filter`, `publishers`, `cut` and `delivery` are machines over bytes and times, without I/O. `store`
//! keeps events: in memory, on the local disk, or in NATS JetStream. `publish`, `subscribe` and `history` are what can
//! be done with them; `grpc` and `rest` offer it to the network; `server` owns sockets and the thread.
//!
//! Events are never encoded again: what a publisher sends is looked into just far enough to route it, stored as it is, and
//! delivered as slices of that.

pub mod access;
pub mod client;
pub mod cut;
pub mod delivery;
pub mod filter;
mod grpc;
mod history;
pub mod publish;
pub mod publishers;
mod rest;
pub mod scan;
pub mod server;
pub mod store;
mod subscribe;
pub mod topic;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tonic::Status;

pub use history::{LIMIT_DEFAULT, LIMIT_MAX};
pub use server::{Config, Handle, StartError, StoreConfig, start};
use store::{Appended, Clock, Store};

/// Subscriptions at once.
pub const SUBSCRIPTIONS_MAX: usize = 4096;

/// A bus: a store, and who uses it.
pub(crate) struct Bus {
    store: Arc<dyn Store>,
    clock: Clock,
    /// Names of durables that have a subscriber now.
    held: Mutex<HashSet<String>>,
    subscriptions: AtomicUsize,
    counters: Counters,
    closing: watch::Receiver<bool>,
}

/// What the bus has done, for people and metrics.
#[derive(Debug, Default)]
pub struct Counters {
    stored: AtomicU64,
    duplicates: AtomicU64,
    rejected: AtomicU64,
    refused: AtomicU64,
    delivered: AtomicU64,
    redelivered: AtomicU64,
    given_up: AtomicU64,
}

impl Counters {
    fn published(&self, appended: &Appended, rejections: usize) {
        self.stored.fetch_add(appended.stored.into(), Ordering::Relaxed);
        self.duplicates.fetch_add(appended.duplicates.into(), Ordering::Relaxed);
        self.rejected.fetch_add(rejections as u64, Ordering::Relaxed);
    }

    fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    fn delivered(&self, events: usize) {
        self.delivered.fetch_add(events as u64, Ordering::Relaxed);
    }

    fn redelivered(&self, events: usize) {
        self.redelivered.fetch_add(events as u64, Ordering::Relaxed);
    }

    fn given_up(&self, events: usize) {
        self.given_up.fetch_add(events as u64, Ordering::Relaxed);
    }
}

impl Bus {
    fn new(store: Arc<dyn Store>, clock: Clock, closing: watch::Receiver<bool>) -> Bus {
        Bus {
            store,
            clock,
            held: Mutex::default(),
            subscriptions: AtomicUsize::new(0),
            counters: Counters::default(),
            closing,
        }
    }

    fn now_ns(&self) -> u64 {
        (self.clock)().mono_ns
    }

    /// Returns when the bus ends.
    async fn closing(&self) {
        let mut closing = self.closing.clone();
        // An end that is gone without a word is an end too.
        closing.wait_for(|closing| *closing).await.ok();
    }

    /// Takes the name of a durable: one subscriber at a time.
    fn hold(self: &Arc<Self>, name: &str) -> Result<Held, Status> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if !held.insert(name.to_owned()) {
            return Err(Status::already_exists(format!(
                "durable `{name}` has a subscriber; end that one, or take another name"
            )));
        }
        Ok(Held { bus: Arc::clone(self), name: name.to_owned() })
    }

    fn subscription_place(self: &Arc<Self>) -> Result<Place, Status> {
        if self.subscriptions.fetch_add(1, Ordering::AcqRel) >= SUBSCRIPTIONS_MAX {
            self.subscriptions.fetch_sub(1, Ordering::AcqRel);
            return Err(Status::resource_exhausted(format!(
                "the bus has {SUBSCRIPTIONS_MAX} subscriptions, which is all it takes"
            )));
        }
        Ok(Place(Arc::clone(self)))
    }
}

/// A durable's name, taken; free again when dropped.
struct Held {
    bus: Arc<Bus>,
    name: String,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.bus.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

/// A subscription's place among [`SUBSCRIPTIONS_MAX`].
struct Place(Arc<Bus>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.subscriptions.fetch_sub(1, Ordering::AcqRel);
    }
}
