//! A wake-up for the loop with a resolution below the millisecond that `epoll_wait` counts in.
//!
//! Deadlines of the timer wheel live on a millisecond grid, but a wake that the log defers is due
//! some tens of microseconds later (`shm-protocol`: not before ten times the cost of the last).
//! Rounding those up to a millisecond would be the largest part of a reader's latency.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// One timerfd, armed for one absolute deadline at a time.
pub(super) struct Alarm {
    fd: OwnedFd,
    /// Deadline it is set for, so that an unchanged one costs no system call.
    armed_mono_ns: Option<u64>,
}

impl Alarm {
    /// Makes the alarm and registers it with the poll.
    ///
    /// # Errors
    /// When the kernel gives no descriptor.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let fd = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        SourceFd(&fd.as_raw_fd()).register(registry, token, Interest::READABLE)?;
        Ok(Self { fd, armed_mono_ns: None })
    }

    /// Makes the poll return at `deadline` (nanoseconds of the monotonic clock), not later.
    ///
    /// # Errors
    /// What `timerfd_settime` says.
    pub(super) fn arm(&mut self, deadline_mono_ns: u64) -> io::Result<()> {
        if self.armed_mono_ns == Some(deadline_mono_ns) {
            return Ok(());
        }
        let at = Timespec {
            tv_sec: (deadline_mono_ns / 1_000_000_000).cast_signed(),
            // Zero would disarm it; one nanosecond past the start of time is simply overdue.
            tv_nsec: (deadline_mono_ns % 1_000_000_000).max(1).cast_signed(),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: at };
        timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &once)?;
        self.armed_mono_ns = Some(deadline_mono_ns);
        Ok(())
    }

    /// Takes note that it rang. The count inside is not read: an edge-triggered poll reports the
    /// next expiry anyway, and setting the timer again clears it.
    pub(super) fn rang(&mut self) {
        self.armed_mono_ns = None;
    }
}
