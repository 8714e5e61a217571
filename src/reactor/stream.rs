//! An accepted connection's socket.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use rustix::net::{RecvFlags, SendFlags};

/// TCP or Unix, non-blocking.
pub(super) enum Stream {
    /// Over the network or loopback.
    Tcp(TcpStream),
    /// On this host only.
    Unix(UnixStream),
}

impl Stream {
    /// Registers for both directions once: edges cost nothing while a direction stays quiet, and
    /// no interest ever has to be changed.
    ///
    /// # Errors
    /// What `epoll_ctl` says.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        match self {
            Self::Tcp(stream) => stream.register(registry, token, both),
            Self::Unix(stream) => stream.register(registry, token, both),
        }
    }

    /// Ends our direction, so that the peer reads all that was written and then the end.
    pub(super) fn shutdown_write(&self) {
        // A peer that is gone already has nothing left to be told.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_io(|| receive(&*stream, buffer)),
            Self::Unix(stream) => stream.try_io(|| receive(&*stream, buffer)),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_io(|| send(&*stream, bytes)),
            Self::Unix(stream) => stream.try_io(|| send(&*stream, bytes)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// Straight to the kernel: in a process with several threads the C library's own calls are points at which a thread may
// be cancelled, which takes two atomic changes of its state around each.

fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let (_, length) = rustix::net::recv(socket, buffer, RecvFlags::empty())?;
    Ok(length)
}

fn send(socket: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(socket, bytes, SendFlags::NOSIGNAL)?)
}
