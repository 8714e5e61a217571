//! Who holds a TCP port: the first question when a game or a service can't be reached.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// Names the process that listens where `address` would, as `name (pid 123)`; `None` when the
/// port is free, or when its holder belongs to another user and can't be named.
pub(super) fn port_holder(address: SocketAddr) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .find_map(|table| listening_inode(&table, address.port()))?;
    let link = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| holder(&process.path(), &link))
}

/// Finds the inode of a listening socket in the text of `/proc/net/tcp` (proc(5)): the second
/// column is the local address with the port in hexadecimal, the fourth the state (0A: listening),
/// the tenth the inode.
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    let port = format!("{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [_, local, _, "0A", ..] = columns.as_slice() else { return None };
        (local.rsplit(':').next() == Some(port.as_str())).then(|| columns.get(9)?.parse().ok())?
    })
}

fn holder(process: &Path, link: &str) -> Option<String> {
    let pid: u32 = process.file_name()?.to_str()?.parse().ok()?;
    let holds = fs::read_dir(process.join("fd"))
        .ok()?
        .flatten()
        .any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == link));
    let name = || fs::read_to_string(process.join("comm")).unwrap_or_default();
    holds.then(|| format!("{} (pid {pid})", name().trim()))
}

#[cfg(test)]
mod tests {
    use super::{listening_inode, port_holder};

    #[test]
    fn a_port_we_listen_on_is_held_by_us() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = port_holder(listener.local_addr().unwrap()).unwrap();
        assert!(holder.ends_with(&format!("(pid {})", std::process::id())), "{holder}");
    }

    #[test]
    fn connected_sockets_and_other_ports_are_not_listeners() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711 1\n\
             1: 0100007F:1F91 0100007F:1F90 01 00000000:00000000 00:00000000 00000000 0 0 4712 1\n";
        assert_eq!(listening_inode(table, 0x1F90), Some(4711));
        assert_eq!(listening_inode(table, 0x1F91), None);
        assert_eq!(listening_inode(table, 80), None);
    }
}
