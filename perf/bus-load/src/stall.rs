//! Subscribers that stop reading.

use clap::Args;
use tokio::io::AsyncReadExt as _;

use crate::Failure;
use crate::subscribe::{connect, subscribe};

/// Subscribe many times from the oldest event on and read nothing: prints `{"ready":…}` when all stand, and ends with standard
/// input.
#[derive(Args)]
pub(crate) struct Stall {
    /// URL of the bus
    #[arg(long)]
    url: String,
    /// Subscriptions
    #[arg(long, default_value_t = 1000)]
    subscribers: usize,
    /// Subscriptions that share a connection
    #[arg(long, default_value_t = 10)]
    each: usize,
}

/// The smallest window that HTTP/2 starts with: what is not read stays with the bus and not here.
const WINDOW: u32 = 65_535;

impl Stall {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut held = Vec::with_capacity(self.subscribers);
        while held.len() < self.subscribers {
            // What one does not read must not keep the next from being answered.
            let all = WINDOW * (u32::try_from(self.each)? + 16);
            let channel = connect(&self.url, WINDOW, all).await?;
            for _ in 0..self.each.min(self.subscribers - held.len()) {
                held.push(subscribe(channel.clone(), true, None).await?);
            }
        }
        crate::print(&serde_json::json!({ "ready": held.len() }))?;
        let mut rest = Vec::new();
        tokio::io::stdin().read_to_end(&mut rest).await?;
        Ok(())
    }
}
