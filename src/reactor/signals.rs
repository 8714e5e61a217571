//! SIGTERM and SIGINT as readiness of a socket, so that the loop sees them in their turn.

use std::io::{self, Read};
use std::os::fd::AsFd;

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::{pipe, unregister};

/// The read end of the pipe that the signal handlers write to.
pub(super) struct Signals {
    pipe: UnixStream,
    registered: Vec<SigId>,
}

impl Signals {
    /// Takes over SIGTERM and SIGINT for this process until dropped.
    ///
    /// # Errors
    /// When a descriptor or a handler can't be had.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let (mut pipe, write) = UnixStream::pair()?;
        registry.register(&mut pipe, token, Interest::READABLE)?;
        let mut signals = Self { pipe, registered: Vec::with_capacity(2) };
        for signal in [SIGTERM, SIGINT] {
            // Each handler owns its own end.
            signals.registered.push(pipe::register(signal, write.as_fd().try_clone_to_owned()?)?);
        }
        Ok(signals)
    }

    /// Number of signals since the last call: the first asks for an orderly end, a second for an
    /// immediate one.
    pub(super) fn take(&mut self) -> usize {
        let mut bytes = [0; 16];
        let mut count = 0;
        while let Ok(read @ 1..) = self.pipe.read(&mut bytes) {
            count += read;
        }
        count
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            unregister(id);
        }
    }
}
