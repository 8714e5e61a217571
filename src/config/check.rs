//! What must be true of several settings together.

use jimbot_core::limits::{LOG_FRAMES_MIN, max_frame_bytes};

use super::error::ConfigError;
use super::value::show_bytes;
use super::{Bus, ServeConfig};

pub(super) fn check(config: &ServeConfig) -> Result<(), ConfigError> {
    if let Some(open) = config.listen.iter().find(|address| !address.is_local())
        && config.token_file.is_none()
        && !config.insecure
    {
        return Err(ConfigError::Together {
            problem: format!(
                "listen = {:?} can be reached from other hosts, and there is no token_file",
                open.to_string()
            ),
            remedy:
                "give a --token-file, or --insecure if everyone there may send events and commands"
                    .to_owned(),
        });
    }
    if let Some(bytes) = config.log_bytes {
        let least =
            LOG_FRAMES_MIN * max_frame_bytes(config.max_batch_bytes, config.max_batch_events);
        if bytes < least {
            return Err(ConfigError::Together {
                problem: format!(
                    "log_bytes = {:?} is too small for batches of max_batch_bytes = {:?} and \
                     max_batch_events = {}",
                    show_bytes(bytes),
                    show_bytes(u64::from(config.max_batch_bytes)),
                    config.max_batch_events,
                ),
                remedy: format!("make it {least} or more, or the batches smaller"),
            });
        }
    }
    if config.silence_seconds <= config.ping_seconds {
        return Err(ConfigError::Together {
            problem: format!(
                "silence_seconds = {} would close a WebSocket before its ping after \
                 ping_seconds = {} can be answered",
                config.silence_seconds, config.ping_seconds,
            ),
            remedy: "make silence_seconds the larger of the two".to_owned(),
        });
    }
    if config.max_frame_bytes > config.max_message_bytes {
        return Err(ConfigError::Together {
            problem: format!(
                "max_frame_bytes = {:?} is larger than a message may be (max_message_bytes = {:?})",
                show_bytes(config.max_frame_bytes as u64),
                show_bytes(config.max_message_bytes as u64),
            ),
            remedy: "make max_frame_bytes smaller".to_owned(),
        });
    }
    if config.bus == Bus::None
        && let Some(path) = &config.bus_token_file
    {
        return Err(ConfigError::Together {
            problem: format!("bus_token_file = {path:?} is the token of a bus, and bus is none"),
            remedy: "name the bus with --bus, or leave bus_token_file out".to_owned(),
        });
    }
    if let Bus::Url(url) = &config.bus
        && url.contains(char::is_whitespace)
    {
        return Err(ConfigError::Together {
            problem: format!("bus = {url:?} is not a URL"),
            remedy: "write it as http://HOST:PORT".to_owned(),
        });
    }
    Ok(())
}
