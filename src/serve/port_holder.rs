//! Who holds a TCP port: the first question when a game or a service can't be reached.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// A process that listens where somebody else wants to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PortHolder {
    /// One that may be looked at.
    Process {
        /// Its program, as the kernel cuts it.
        name: String,
        /// Its process id.
        pid: u32,
    },
    /// One of another user, or of another container.
    Hidden {
        /// The user that owns the socket.
        user: u32,
        /// The port, for the command that names it.
        port: u16,
    },
}

impl fmt::Display for PortHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PortHolder::Process { name, pid } => write!(f, "{name} (pid {pid})"),
            PortHolder::Hidden { user, port } => write!(
                f,
                "a process of user {user} that can't be seen from here \
                 (`sudo ss -ltnp 'sport = :{port}'` names it)"
            ),
        }
    }
}

/// Tells who listens on `address`, or on an address that takes in that one; `None` when nobody does.
pub(super) fn port_holder(address: SocketAddr) -> Option<PortHolder> {
    holder_by(Path::new("/proc"), address)
}

fn holder_by(proc: &Path, address: SocketAddr) -> Option<PortHolder> {
    let listeners: Vec<Listener> = ["net/tcp", "net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(proc.join(table)).ok())
        .flat_map(|table| table.lines().filter_map(Listener::parse).collect::<Vec<_>>())
        .filter(|listener| listener.address.port() == address.port())
        .collect();
    // The very address first: a program may listen on a part of what is wanted.
    let same = listeners.iter().find(|listener| listener.address == address);
    let listener = same.or_else(|| listeners.iter().find(|it| it.stands_in_the_way_of(address)))?;
    let link = format!("socket:[{}]", listener.inode);
    let processes = fs::read_dir(proc).ok()?.flatten();
    let holder = processes.filter_map(|process| holder(&process.path(), &link)).next();
    Some(holder.unwrap_or(PortHolder::Hidden { user: listener.user, port: address.port() }))
}

/// A line of `/proc/net/tcp` or `/proc/net/tcp6` (proc(5)) about a socket that listens.
struct Listener {
    address: SocketAddr,
    user: u32,
    inode: u64,
}

impl Listener {
    /// The second column is the local address and the fourth the state (0A: listening); user and
    /// inode are the eighth and the tenth.
    fn parse(line: &str) -> Option<Listener> {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [_, local, _, "0A", _, _, _, user, _, inode, ..] = columns.as_slice() else {
            return None;
        };
        let (ip, port) = local.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let ip = parse_ip(ip)?;
        Some(Listener {
            address: SocketAddr::new(ip, port),
            user: user.parse().ok()?,
            inode: inode.parse().ok()?,
        })
    }

    /// Whether it keeps others from listening there: it listens on all addresses, or they want to.
    /// An IPv6 socket on all addresses may have the IPv4 ones as well; which, the table does not say.
    fn stands_in_the_way_of(&self, wanted: SocketAddr) -> bool {
        let (own, wanted) = (self.address.ip(), wanted.ip());
        let is_same_kind = own.is_ipv4() == wanted.is_ipv4();
        if own.is_unspecified() {
            is_same_kind || own.is_ipv6()
        } else {
            is_same_kind && wanted.is_unspecified()
        }
    }
}

/// Words of 32 bits in hexadecimal, each as this machine reads its four bytes.
fn parse_ip(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(text.get(at * 8..at * 8 + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match text.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut bytes = [0; 16];
            for (at, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(at)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(bytes)))
        }
        _ => None,
    }
}

fn holder(process: &Path, link: &str) -> Option<PortHolder> {
    let pid: u32 = process.file_name()?.to_str()?.parse().ok()?;
    let holds = fs::read_dir(process.join("fd"))
        .ok()?
        .flatten()
        .any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == link));
    let name = || fs::read_to_string(process.join("comm")).unwrap_or_default();
    holds.then(|| PortHolder::Process { name: name().trim().to_owned(), pid })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_port_we_listen_on_is_held_by_us() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let wanted = listener.local_addr().unwrap();
            let holder = port_holder(wanted).unwrap();
            let us = std::process::id();
            assert!(
                matches!(holder, PortHolder::Process { pid, .. } if pid == us),
                "{address}: {holder}"
            );
        }
    }

    /// Sockets on port 8080 (1F90) unless the line says otherwise; users 1, 2 … have inodes 11, 12 …
    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
 0: 0100007F:1F90 0100007F:C001 01 00000000:00000000 00:00000000 00000000     1        0 11 1 0 20 4 30 10 -1
 1: 0200007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     2        0 12 1 0 100 0 0 10 0
 2: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     3        0 13 1 0 100 0 0 10 0
 3: 00000000:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     4        0 14 1 0 100 0 0 10 0
";
    const TCP6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
 0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     5        0 15 1 0 100 0 0 10 0
 1: 00000000000000000000000000000000:1F92 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     6        0 16 1 0 100 0 0 10 0
";

    /// A made-up `/proc`, in which only the process that holds inode 13 may be looked at.
    fn proc() -> tempfile::TempDir {
        let proc = tempfile::tempdir().unwrap();
        let path = |name: &str| proc.path().join(name);
        for folder in ["net", "70/fd", "71", "self"] {
            fs::create_dir_all(path(folder)).unwrap();
        }
        fs::write(path("net/tcp"), TCP).unwrap();
        fs::write(path("net/tcp6"), TCP6).unwrap();
        fs::write(path("70/comm"), "nginx\n").unwrap();
        symlink("/dev/null", path("70/fd/0")).unwrap();
        symlink("socket:[13]", path("70/fd/3")).unwrap();
        proc
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_address_decides_among_those_that_listen_on_a_port() {
        let proc = proc();
        let hidden = |user, port| Some(PortHolder::Hidden { user, port });
        let nginx = Some(PortHolder::Process { name: "nginx".to_owned(), pid: 70 });
        for (wanted, expected) in [
            ("127.0.0.1:8080", nginx),
            ("127.0.0.2:8080", hidden(2, 8080)),
            ("127.0.0.3:8080", None),
            // Who wants all addresses has the first that is taken in the way.
            ("0.0.0.0:8080", hidden(2, 8080)),
            ("[::1]:8080", hidden(5, 8080)),
            ("[::]:8080", hidden(5, 8080)),
            ("[fe80::1]:8080", None),
            ("127.0.0.1:8081", hidden(4, 8081)),
            ("[::1]:8081", None),
            ("127.0.0.1:8082", hidden(6, 8082)),
            ("127.0.0.1:8083", None),
        ] {
            assert_eq!(holder_by(proc.path(), wanted.parse().unwrap()), expected, "{wanted}");
        }
    }

    #[test]
    fn who_holds_it_is_named_or_how_to_find_out() {
        let process = PortHolder::Process { name: "nginx".to_owned(), pid: 70 };
        assert_eq!(process.to_string(), "nginx (pid 70)");
        assert_eq!(
            PortHolder::Hidden { user: 33, port: 8080 }.to_string(),
            "a process of user 33 that can't be seen from here (`sudo ss -ltnp 'sport = :8080'` \
             names it)"
        );
    }
}
