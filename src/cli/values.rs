//! Values that several subcommands take.

use std::time::Duration;

/// A time in seconds, with a fraction if need be.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "write a number of seconds")?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "write a number of seconds".to_owned())
}
