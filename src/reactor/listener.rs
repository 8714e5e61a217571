//! Listening sockets: TCP over IPv4 and IPv6, and Unix.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use rustix::fs::Mode;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::stream::Stream;
use crate::config::ListenAddress;

enum Socketed {
    Tcp(TcpListener),
    Unix { listener: UnixListener, path: PathBuf },
}

/// One bound, non-blocking listening socket.
pub struct Listener {
    socket: Socketed,
    /// The address with the real port.
    bound: ListenAddress,
}

impl Listener {
    /// Binds and listens; `backlog` connections wait in the kernel until they are accepted.
    ///
    /// A Unix path is taken over when nobody answers behind it (a service that was killed leaves
    /// its path), and is readable and writable by our own user only.
    ///
    /// # Errors
    /// What the kernel says; a Unix path that is in use or not a socket is `AddrInUse`.
    pub fn bind(address: &ListenAddress, backlog: u32) -> io::Result<Self> {
        match address {
            ListenAddress::Tcp(wanted) => {
                let socket =
                    Socket::new(Domain::for_address(*wanted), Type::STREAM, Some(Protocol::TCP))?;
                if wanted.is_ipv6() {
                    // An IPv6 wildcard must not quietly take the IPv4 port as well.
                    socket.set_only_v6(true)?;
                }
                socket.set_reuse_address(true)?;
                socket.set_nonblocking(true)?;
                // Inherited by accepted sockets, which saves a system call for each of them.
                socket.set_tcp_nodelay(true)?;
                socket.bind(&(*wanted).into())?;
                socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
                let listener = TcpListener::from_std(socket.into());
                let bound = ListenAddress::Tcp(listener.local_addr()?);
                Ok(Self { socket: Socketed::Tcp(listener), bound })
            }
            ListenAddress::Unix(path) => {
                remove_abandoned(path)?;
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
                socket.set_nonblocking(true)?;
                // The file that `bind` makes has the socket's own mode: nobody else gets in, not for a moment.
                rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
                socket.bind(&SockAddr::unix(path)?)?;
                socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
                let listener = UnixListener::from_std(socket.into());
                let socket = Socketed::Unix { listener, path: path.clone() };
                Ok(Self { socket, bound: address.clone() })
            }
        }
    }

    /// The address it listens on, with the port the kernel chose.
    pub fn bound(&self) -> &ListenAddress {
        &self.bound
    }

    /// Accepts one connection; `WouldBlock` when none waits.
    ///
    /// # Errors
    /// What `accept` says.
    pub(super) fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match &self.socket {
            Socketed::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                Ok((Stream::Tcp(stream), Some(peer)))
            }
            Socketed::Unix { listener, .. } => {
                let (stream, _) = listener.accept()?;
                Ok((Stream::Unix(stream), None))
            }
        }
    }

    /// Registers it for edge-triggered readiness.
    ///
    /// # Errors
    /// What `epoll_ctl` says.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.socket {
            Socketed::Tcp(listener) => listener.register(registry, token, Interest::READABLE),
            Socketed::Unix { listener, .. } => {
                listener.register(registry, token, Interest::READABLE)
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Socketed::Unix { path, .. } = &self.socket {
            // Someone may have cleaned up already; a path left behind is taken over next time.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn remove_abandoned(path: &std::path::Path) -> io::Result<()> {
    let kind = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let in_use = |why| Err(io::Error::new(io::ErrorKind::AddrInUse, why));
    if !kind.is_socket() {
        return in_use("the path exists and is not a socket");
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return in_use("another process listens there");
    }
    std::fs::remove_file(path)
}
