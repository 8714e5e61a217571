//! `jimbot-mcp durables`: who holds a place in an Event Bus, and how to end that.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use jimbot_proto::events::v1::DurableState;

use crate::bus::client;

/// List the durables of an Event Bus, or make it forget one.
///
/// A durable keeps its place over its subscriber's end: how far it has come, and what it was given
/// and has not acknowledged. One that nobody will take up again only shows as a lag that grows.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  jimbot-mcp durables                              name, lag, unacknowledged, connected
  jimbot-mcp durables --json                       a line of JSON each
  jimbot-mcp durables --delete trainer-7           it starts anew when it is taken again")]
pub(super) struct Durables {
    /// URL of the bus
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:50051")]
    bus: String,

    /// Forget the durable of this name and what it had acknowledged
    #[arg(long, value_name = "NAME", conflicts_with = "json")]
    delete: Option<String>,

    /// A line of JSON for each
    #[arg(long)]
    json: bool,

    /// Send the bearer token in this file
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Durables {
    pub(super) fn run(self) -> ExitCode {
        let options = match client::Options::new(self.bus, self.token_file.as_deref()) {
            Ok(options) => options,
            Err(reason) => return super::fail(reason, 2),
        };
        let done = match self.delete {
            Some(name) => client::delete_durable(&options, name.clone())
                .map(|()| format!("durable {name} is forgotten\n")),
            None => client::durables(&options)
                .map(|durables| if self.json { lines(&durables) } else { table(&durables) }),
        };
        match done {
            Ok(text) => super::answer(text.as_bytes()),
            Err(error) => super::fail(error, 1),
        }
    }
}

fn table(durables: &[DurableState]) -> String {
    if durables.is_empty() {
        return "no durables\n".to_owned();
    }
    let width = durables.iter().map(|durable| durable.name.len()).max().unwrap_or(0).max(7);
    let mut text =
        format!("{:width$}  {:>12}  {:>14}  connected\n", "durable", "lag", "unacknowledged");
    for DurableState { name, lag_events, unacked_events, connected, .. } in durables {
        let connected = if *connected { "yes" } else { "no" };
        let _ =
            writeln!(text, "{name:width$}  {lag_events:>12}  {unacked_events:>14}  {connected}");
    }
    text
}

fn lines(durables: &[DurableState]) -> String {
    durables.iter().fold(String::new(), |mut text, durable| {
        let line = serde_json::json!({
            "name": durable.name,
            "nextPosition": durable.next_position,
            "lagEvents": durable.lag_events,
            "unackedEvents": durable.unacked_events,
            "connected": durable.connected,
        });
        let _ = writeln!(text, "{line}");
        text
    })
}
