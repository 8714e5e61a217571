//! The configuration in the terms of the core and the log.

use std::fs;
use std::io;

use jimbot_core::access::{Access, AccessConfig};
use jimbot_core::batching::Mode;
use jimbot_core::conn::ConnConfig;
use jimbot_core::service::ServiceConfig;
use jimbot_core::time::Now;
use jimbot_core::ws::WsConfig;
use jimbot_shm::LogOptions;
use rustix::rand::{GetRandomFlags, getrandom};

use super::ServeError;
use crate::config::{CommitMode, FullPolicy, ListenAddress, ServeConfig};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// What the service needs to know; `bound` are the addresses with their real ports.
pub(super) fn service(
    config: &ServeConfig,
    bound: &[ListenAddress],
) -> Result<ServiceConfig, ServeError> {
    let listeners = bound.iter().filter_map(|address| match address {
        ListenAddress::Tcp(address) => Some(*address),
        ListenAddress::Unix(_) => None,
    });
    let access = Access::new(AccessConfig {
        token: config.token_file.as_deref().map(read_token).transpose()?,
        trusted: config.trusted_peers.clone(),
        host_names: config.host_names.clone(),
        listeners: listeners.collect(),
    });
    let ping_after_ns = config.ping_seconds * SECOND;
    let ws = WsConfig {
        max_message_bytes: config.max_message_bytes,
        max_frame_bytes: config.max_frame_bytes,
        frames_per_second: u64::from(config.max_messages_per_second),
        ping_after_ns,
        pong_within_ns: (config.silence_seconds * SECOND).saturating_sub(ping_after_ns),
        ..WsConfig::default()
    };
    let connections = ConnConfig {
        max_body_bytes: config.max_body_bytes,
        lenient_agents: config.lenient_agents.clone(),
        head_ns: config.head_timeout_ms * MS,
        idle_ns: config.idle_timeout_seconds * SECOND,
        body_ns: config.body_timeout_ms * MS,
        body_bytes_per_second: config.body_bytes_per_second,
        buffer_bytes: config.max_buffer_bytes,
        output_stall_ns: config.write_timeout_ms * MS,
        ws,
        ..ConnConfig::default()
    };
    Ok(ServiceConfig {
        connections,
        max_connections: config.max_connections,
        batching: match config.mode {
            CommitMode::Adaptive => Mode::Adaptive,
            CommitMode::Window => Mode::Window,
        },
        window_ns: config.window_ms * MS,
        command_age_ns: config.command_age_seconds * SECOND,
        span_bytes: config.max_span_bytes,
        ..ServiceConfig::new(access)
    })
}

/// What the log needs to know.
pub(super) fn log(config: &ServeConfig, now: Now) -> io::Result<LogOptions> {
    let mut options = LogOptions {
        capacity: config.log_bytes.map(|bytes| bytes.next_multiple_of(4096)),
        max_batch_bytes: config.max_batch_bytes,
        max_batch_events: config.max_batch_events,
        reader_lease_ns: config.reader_lease_seconds * SECOND,
        full_policy: match config.full_policy {
            FullPolicy::Hold => jimbot_shm::FullPolicy::Hold,
            FullPolicy::Detach => jimbot_shm::FullPolicy::Detach,
        },
        rotate: config.rotate_log,
        epoch_seed: [0; 8],
        id_key: [0; 16],
        now: jimbot_shm::Now { mono_ns: now.mono_ns, unix_ns: now.unix_ns },
    };
    // An epoch of zero means none.
    while options.epoch_seed == [0; 8] {
        fill(&mut options.epoch_seed)?;
    }
    fill(&mut options.id_key)?;
    Ok(options)
}

fn fill(bytes: &mut [u8]) -> io::Result<()> {
    // Up to 256 bytes the kernel gives all or nothing.
    getrandom(bytes, GetRandomFlags::empty())?;
    Ok(())
}

fn read_token(path: &std::path::Path) -> Result<Vec<u8>, ServeError> {
    let text = fs::read_to_string(path).map_err(|error| {
        ServeError(format!(
            "token_file {} can't be read: {error}; name a file that this user may read with \
             --token-file",
            path.display()
        ))
    })?;
    let token = text.lines().next().unwrap_or_default().trim();
    if token.is_empty() {
        return Err(ServeError(format!(
            "token_file {} is empty; put a token into its first line, such as the output of \
             `openssl rand -hex 32`",
            path.display()
        )));
    }
    Ok(token.as_bytes().to_vec())
}
