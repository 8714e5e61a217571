//! A forwarder and a bus in one process, without the service around them.

use std::io::BufRead;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jimbot_mcp::bus::store::{EmbeddedOptions, JetStreamOptions};
use jimbot_mcp::bus::{self, Config, StoreConfig};
use jimbot_mcp::forwarder;

use crate::Failure;
use crate::measure::now_ns;

/// Carry a log that is filled already into a bus: prints the bus's URL, starts the forwarder at a line on standard input,
/// prints when that was, and ends with standard input.
#[derive(Args)]
pub(crate) struct Carry {
    /// Directory of the log
    #[arg(long)]
    shm_dir: PathBuf,
    /// Directory for the bus's store and the forwarder's spill
    #[arg(long)]
    dir: PathBuf,
    /// `embedded`, `memory` or nats://HOST:PORT
    #[arg(long, default_value = "embedded")]
    store: String,
}

impl Carry {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let embedded = EmbeddedOptions::new(self.dir.join("bus"));
        let store = match self.store.as_str() {
            "embedded" => StoreConfig::Embedded(embedded),
            "memory" => StoreConfig::Memory(embedded.retention),
            servers => StoreConfig::JetStream(JetStreamOptions::new(servers)),
        };
        let bus = bus::start(Config { store, ..Config::embedded(&self.dir) })?;
        crate::print(&serde_json::json!({ "url": bus.url() }))?;
        let mut lines = std::io::stdin().lock().lines();
        if lines.next().transpose()?.is_none() {
            return Ok(());
        }
        let start_ns = now_ns();
        let config = forwarder::Config::new(&self.shm_dir, bus.url(), self.dir.join("spill"));
        let forwarder = forwarder::start(config)?;
        crate::print(&serde_json::json!({ "start_ns": start_ns }))?;
        for line in lines {
            line?;
        }
        let status = forwarder.status().snapshot();
        forwarder.stop(Duration::ZERO);
        bus.stop();
        crate::print(&serde_json::json!({
            "published": status.published,
            "duplicates": status.duplicates,
            "rejected": status.rejected,
            "failures": status.failures,
            "spilled": status.spilled,
        }))
    }
}
