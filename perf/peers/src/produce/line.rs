//! A connection that never blocks, with what waits to be written and what came and is not understood yet.

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::Duration;

use jimbot_perf::run::mono_ns;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::time::Timespec;

/// Read at once.
const READ_BYTES: usize = 64 * 1024;
/// What a broker may take to answer when a connection is made.
const PATIENCE: Duration = Duration::from_secs(10);

/// The connection.
pub(crate) struct Line {
    socket: OwnedFd,
    /// What is to be written; the front of it may be gone.
    pub(crate) out: Vec<u8>,
    gone: usize,
    /// What came. Who understands it removes it.
    pub(crate) input: Vec<u8>,
}

impl Line {
    /// Takes a socket over.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self { socket, out: Vec::new(), gone: 0, input: Vec::new() })
    }

    /// Connects over TCP.
    pub(crate) fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Self::new(stream.into())
    }

    /// Bytes that wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.out.len() - self.gone
    }

    /// Writes until all is gone or the kernel takes no more.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.waiting() > 0 {
            match rustix::io::write(&self.socket, &self.out[self.gone..]) {
                Ok(written) => self.gone += written,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.out.clear();
        self.gone = 0;
        Ok(())
    }

    /// Appends to `input` what has come.
    pub(crate) fn read(&mut self) -> io::Result<()> {
        loop {
            let before = self.input.len();
            self.input.resize(before + READ_BYTES, 0);
            let read = rustix::io::read(&self.socket, &mut self.input[before..]);
            self.input.truncate(before + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return Err(io::Error::other("the other side closed the connection")),
                Ok(READ_BYTES) | Err(Errno::INTR) => {}
                Ok(_) | Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sleeps until something came, what waits can be written, or that time of the monotonic clock;
    /// whether something came.
    pub(crate) fn sleep(&self, until_mono_ns: u64) -> io::Result<bool> {
        let left = until_mono_ns.saturating_sub(mono_ns());
        let timeout = Timespec {
            tv_sec: (left / 1_000_000_000).cast_signed(),
            tv_nsec: (left % 1_000_000_000).cast_signed(),
        };
        let mut interest = PollFlags::IN;
        if self.waiting() > 0 {
            interest |= PollFlags::OUT;
        }
        let mut sockets = [PollFd::new(&self.socket, interest)];
        match poll(&mut sockets, Some(&timeout)) {
            Ok(_) => {
                Ok(sockets[0].revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR))
            }
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes what waits and reads until `take` finds what it looks for in `input`: for greetings.
    pub(crate) fn until<T>(
        &mut self,
        what: &str,
        mut take: impl FnMut(&mut Vec<u8>) -> io::Result<Option<T>>,
    ) -> io::Result<T> {
        let end = mono_ns() + PATIENCE.as_nanos() as u64;
        loop {
            self.flush()?;
            if let Some(found) = take(&mut self.input)? {
                return Ok(found);
            }
            if mono_ns() > end {
                return Err(io::Error::other(format!(
                    "waited {} s for {what}",
                    PATIENCE.as_secs()
                )));
            }
            if self.sleep(end)? {
                self.read()?;
            }
        }
    }
}

/// A whole line at this place, without its end, and where the next one starts.
pub(crate) fn text_line(input: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let length = input[at..].windows(2).position(|window| window == b"\r\n")?;
    Some((&input[at..at + length], at + length + 2))
}
