//! The settings of `serve`: one table of them, filled from defaults, a TOML file, the environment
//! and flags, in that order.
//!
//! | file | what it knows |
//! |---|---|
//! | `setting` | what a setting is: its names, its kind, how it is read and shown |
//! | `settings/` | the table itself, a file for each group |
//! | `value` | the texts that stand for addresses, sizes and choices |
//! | `layers` | where values come from, and which of them wins |
//! | `check` | what must be true of several settings together |
//! | `show` | `--print-config` |

mod check;
mod error;
mod layers;
mod setting;
mod settings;
mod show;
mod value;

use std::path::PathBuf;

use ipnet::IpNet;

pub use error::{ConfigError, Source};
pub use layers::{Loaded, Surroundings, default_files, load};
pub use setting::{Group, Kind, Setting};
pub use settings::{ENVIRONMENT_PREFIX, all as settings, shm_dir_from};
pub use show::print;
pub use value::{Bus, CommitMode, FullPolicy, ListenAddress, LogFormat};

/// Everything `serve` can be told, in the units of the field names.
#[derive(Clone, Debug, PartialEq)]
pub struct ServeConfig {
    /// Addresses to listen on; both protocols on each.
    pub listen: Vec<ListenAddress>,
    /// Connections the kernel queues for each listener before they are accepted.
    pub backlog: u32,

    /// File whose first line is the bearer token that peers outside `trusted_peers` must bring.
    pub token_file: Option<PathBuf>,
    /// Peers that need no token.
    pub trusted_peers: Vec<IpNet>,
    /// Names besides `localhost` and addresses that a `Host` header may carry.
    pub host_names: Vec<String>,
    /// Allows a listener beyond this host without a token.
    pub insecure: bool,
    /// Beginnings of `User-Agent`s that never get a 4xx for content.
    pub lenient_agents: Vec<String>,

    /// Directory of the shared-memory log.
    pub shm_dir: PathBuf,
    /// Size of the log's ring; `None` is 256 MiB, at most a quarter of what the directory has free.
    pub log_bytes: Option<u64>,
    /// Seals a log of another size or version that has unread frames, instead of refusing to start.
    pub rotate_log: bool,
    /// How long a dead reliable reader holds its frames.
    pub reader_lease_seconds: u64,
    /// What happens when a living reliable reader fills the log.
    pub full_policy: FullPolicy,

    /// When a batch is closed.
    pub mode: CommitMode,
    /// The longest an event may wait for its batch to close.
    pub window_ms: u64,
    /// Events in one batch.
    pub max_batch_events: u32,
    /// Bytes of events in one batch.
    pub max_batch_bytes: u32,

    /// CPU the hot thread is pinned to.
    pub cpu: Option<usize>,
    /// Polls without sleeping.
    pub busy_poll: bool,

    /// Open connections.
    pub max_connections: usize,
    /// Bytes of an HTTP body.
    pub max_body_bytes: usize,
    /// Bytes of a WebSocket message.
    pub max_message_bytes: usize,
    /// Bytes of a WebSocket frame.
    pub max_frame_bytes: usize,
    /// Bytes all connections together hold of what is not complete.
    pub max_buffer_bytes: usize,
    /// Bytes of lists that are remembered because they come again.
    pub max_span_bytes: usize,
    /// WebSocket frames a second and connection; 0 is no limit.
    pub max_messages_per_second: u32,

    /// From a request's first byte to the end of its head.
    pub head_timeout_ms: u64,
    /// The longest a body may take.
    pub body_timeout_ms: u64,
    /// The slowest a body may come.
    pub body_bytes_per_second: u64,
    /// The longest a peer may leave answers unread.
    pub write_timeout_ms: u64,
    /// How long a kept-alive connection may be idle.
    pub idle_timeout_seconds: u64,
    /// How often a WebSocket is pinged.
    pub ping_seconds: u64,
    /// Silence after which a WebSocket is closed.
    pub silence_seconds: u64,

    /// How long a command waits for its game.
    pub command_age_seconds: u64,
    /// How long a shutdown may take.
    pub drain_seconds: u64,

    /// Where batches are published beyond this host.
    pub bus: Bus,
    /// File with the bearer token of that bus: what an embedded one asks for, and what another's is sent.
    pub bus_token_file: Option<PathBuf>,

    /// Least severe log lines that are written.
    pub log_level: log::LevelFilter,
    /// How log lines look.
    pub log_format: LogFormat,
}

impl Default for ServeConfig {
    fn default() -> ServeConfig {
        settings::defaults()
    }
}
