//! The Event Bus: anyone publishes, anyone subscribes, at least once, on one machine or a cluster.
//!
//! `scan`, `topic`, `filter`, `publishers`, `cut` and `delivery` are machines over bytes and times, without I/O. `store`
//! keeps events: in memory, on the local disk, or in NATS JetStream. `publish`, `subscribe` and `history` are what can
//! be done with them; `grpc` and `rest` offer it to the network; `server` owns sockets and the thread.
//!
//! Events are never encoded again: what a publisher sends is looked into just far enough to route it, stored as it is, and
//! delivered as slices of that.

pub mod access;
pub mod budget;
pub mod client;
pub mod cut;
pub mod delivery;
pub mod filter;
mod grpc;
mod history;
pub mod metrics;
pub mod publish;
pub mod publishers;
mod rest;
pub mod scan;
pub mod server;
pub mod store;
mod subscribe;
pub mod topic;

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tonic::Status;

use budget::Budget;
pub use history::{LIMIT_DEFAULT, LIMIT_MAX};
use metrics::{Counters, Figures, Standing};
pub use server::{Config, Handle, StartError, StoreConfig, start};
use store::{Clock, Cursor, Store};

/// How long a look at the metrics waits for the store.
const DURABLES_WAIT: Duration = Duration::from_secs(2);
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
    /// Memory of what is on its way to subscribers.
    budget: Arc<Budget>,
    /// Memory of what publishers have under way.
    publishing: Arc<Budget>,
    closing: watch::Receiver<bool>,
}

impl Bus {
    fn new(store: Arc<dyn Store>, clock: Clock, closing: watch::Receiver<bool>) -> Bus {
        Bus {
            store,
            clock,
            held: Mutex::default(),
            subscriptions: AtomicUsize::new(0),
            counters: Counters::default(),
            budget: Arc::default(),
            publishing: Arc::default(),
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

    fn is_held(&self, name: &str) -> bool {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// All durables by name, and whether each has a subscriber.
    async fn durables(&self) -> Result<Vec<(String, Cursor, bool)>, store::StoreError> {
        let mut durables: Vec<_> = self
            .store
            .cursors()
            .await?
            .into_iter()
            .map(|(name, cursor)| {
                let held = self.is_held(&name);
                (name, cursor, held)
            })
            .collect();
        durables.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(durables)
    }

    /// The text of `/metrics`. A store that can't be reached leaves its durables out.
    async fn metrics(&self) -> String {
        let durables = tokio::time::timeout(DURABLES_WAIT, self.durables()).await;
        self.counters.render(&Standing {
            extent: self.store.extent(),
            subscriptions: self.subscriptions.load(Ordering::Relaxed),
            delivery_bytes: self.budget.used(),
            publishing_bytes: self.publishing.used(),
            flushes: self.store.flushes(),
            durables: durables.ok().and_then(Result::ok),
        })
    }

    fn figures(&self) -> Figures {
        self.counters.figures(self.store.extent(), self.subscriptions.load(Ordering::Relaxed))
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
