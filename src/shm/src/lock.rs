//! Open-file-description locks on single bytes. They belong to the open file and not to the process: freed when its last
//! descriptor goes, by SIGKILL too; kept under SIGSTOP; right across pid namespaces.

use std::{
    fs::File,
    io,
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

/// Takes the write lock on one byte; false when another open file has it.
pub(crate) fn try_lock(file: &File, byte: u64) -> io::Result<bool> {
    match set(file, byte, 1, libc::F_WRLCK, libc::F_OFD_SETLK) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Takes the write lock on one byte, trying until `patience` has passed.
pub(crate) fn lock_within(file: &File, byte: u64, patience: Duration) -> io::Result<bool> {
    let end = Instant::now() + patience;
    loop {
        if try_lock(file, byte)? {
            return Ok(true);
        }
        if Instant::now() >= end {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Gives the lock on one byte back.
pub(crate) fn unlock(file: &File, byte: u64) -> io::Result<()> {
    set(file, byte, 1, libc::F_UNLCK, libc::F_OFD_SETLK).map(drop)
}

/// Gives back all locks of the open file.
pub(crate) fn unlock_all(file: &File) -> io::Result<()> {
    // A length of zero reaches to the end, however far that is.
    set(file, 0, 0, libc::F_UNLCK, libc::F_OFD_SETLK).map(drop)
}

/// Whether another open file has the byte locked.
pub(crate) fn is_locked(file: &File, byte: u64) -> io::Result<bool> {
    Ok(set(file, byte, 1, libc::F_WRLCK, libc::F_OFD_GETLK)? != libc::F_UNLCK)
}

fn set(
    file: &File,
    byte: u64,
    len: u64,
    kind: libc::c_int,
    command: libc::c_int,
) -> io::Result<libc::c_int> {
    let mut lock = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: byte as libc::off_t,
        l_len: len as libc::off_t,
        // Must be zero for an open-file-description lock.
        l_pid: 0,
    };
    loop {
        // SAFETY: the descriptor is open as long as `file` is borrowed, and `lock` is a valid `flock` that the kernel
        // reads and writes only during the call.
        let result = unsafe { libc::fcntl(file.as_raw_fd(), command, &mut lock) };
        if result == 0 {
            return Ok(lock.l_type as libc::c_int);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
