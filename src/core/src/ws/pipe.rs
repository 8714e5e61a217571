//! The stream tungstenite reads from and writes to: a connection's own buffers. It never waits and never fails;
//! when nothing is left to read it says `WouldBlock`, or end of file once the peer has closed.
//!
//! The codec is given one frame at a time, so that it never holds a frame that could be taken where it lies.

use super::boundary::Boundary;
use std::io::{self, Read, Write};

pub(super) struct Pipe<'a> {
    /// Bytes received and not yet given to the codec.
    pub(super) input: &'a [u8],
    /// How many of them were taken by now.
    pub(super) taken: usize,
    pub(super) output: &'a mut Vec<u8>,
    pub(super) boundary: &'a mut Boundary,
    /// A further frame may be begun; one that was begun goes on.
    pub(super) may_begin: bool,
    pub(super) peer_closed: bool,
}

impl<'a> Pipe<'a> {
    /// For what is only sent.
    pub(super) fn of_output(output: &'a mut Vec<u8>, boundary: &'a mut Boundary) -> Pipe<'a> {
        Pipe { input: &[], taken: 0, output, boundary, may_begin: false, peer_closed: false }
    }
}

impl Read for Pipe<'_> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let rest = &self.input[self.taken..];
        if rest.is_empty() {
            return if self.peer_closed { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        if self.boundary.is_between_frames() && !std::mem::take(&mut self.may_begin) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = self.boundary.advance(&rest[..rest.len().min(space.len())]);
        space[..length].copy_from_slice(&rest[..length]);
        self.taken += length;
        Ok(length)
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
