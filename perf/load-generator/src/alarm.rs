//! Waking at the moment a send is due: `epoll_wait` counts in milliseconds, and rounds up.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// A timer that makes the poll return.
pub(crate) struct Alarm(OwnedFd);

impl Alarm {
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        SourceFd(&fd.as_raw_fd()).register(registry, token, Interest::READABLE)?;
        Ok(Self(fd))
    }

    /// Sets it for a time of the monotonic clock, nanoseconds.
    pub(crate) fn set(&self, due_mono_ns: u64) -> io::Result<()> {
        let it_value = Timespec {
            tv_sec: (due_mono_ns / 1_000_000_000).cast_signed(),
            // Zero would disarm it.
            tv_nsec: (due_mono_ns % 1_000_000_000).max(1).cast_signed(),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME, &once)?;
        Ok(())
    }
}
