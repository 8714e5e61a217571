//! What systemd is told: ready, stopping, and that the loop still turns.
//!
//! The watchdog is fed by the loop itself, never by a timer thread: a loop that hangs must be
//! noticed. Without `NOTIFY_SOCKET` in the environment every call here does nothing.

use sd_notify::NotifyState;

/// The service's line to its supervisor.
pub(super) struct Supervisor {
    /// Interval between two `WATCHDOG=1`, nanoseconds: half of what the supervisor allows.
    interval_ns: Option<u64>,
    next_mono_ns: u64,
}

impl Supervisor {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` as systemd sets them.
    pub(super) fn from_environment(now_mono_ns: u64) -> Self {
        let interval_ns = sd_notify::watchdog_enabled()
            .map(|allowed| u64::try_from(allowed.as_nanos() / 2).unwrap_or(u64::MAX));
        Self { interval_ns, next_mono_ns: now_mono_ns }
    }

    /// `READY=1`, with a line for `systemctl status`.
    pub(super) fn ready(&self, status: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// `STOPPING=1`.
    pub(super) fn stopping(&self) {
        tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
    }

    /// Feeds the watchdog when it is due; gives the next moment it is, if it is on.
    pub(super) fn beat(&mut self, now_mono_ns: u64) -> Option<u64> {
        let interval_ns = self.interval_ns?;
        if now_mono_ns >= self.next_mono_ns {
            tell(&[NotifyState::Watchdog]);
            self.next_mono_ns = now_mono_ns.saturating_add(interval_ns);
        }
        Some(self.next_mono_ns)
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("the supervisor could not be told {states:?}: {error}");
    }
}
