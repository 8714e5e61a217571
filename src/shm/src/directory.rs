//! The directory that holds the files: ours, private, and reached without following links.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FallocateFlags, FileType, Mode, OFlags, RenameFlags},
    io::Errno,
};

use crate::error::OpenError;

/// Name of the log's file.
pub(crate) const LOG: &str = "log";
/// Name of the table of readers.
pub(crate) const READERS: &str = "readers";
/// Name of the counters' file.
pub(crate) const COUNTERS: &str = "counters";
/// Name of the file that keeps what is known of producers.
pub(crate) const PRODUCERS: &str = "producers";

/// Name of a file that rotation has put aside.
pub(crate) fn archived(name: &str, epoch: u64) -> String {
    format!("{name}.{epoch:016x}")
}

/// An open directory that belongs to us and to which nobody else has access.
#[derive(Debug)]
pub(crate) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

impl Directory {
    /// Opens the directory, making it (0700) first when it is missing.
    pub(crate) fn create(path: &Path) -> Result<Directory, OpenError> {
        match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => Directory::open(path),
            Err(errno) => Err(OpenError::io("make the directory", path, errno)),
        }
    }

    /// Opens the directory and checks that it is ours.
    pub(crate) fn open(path: &Path) -> Result<Directory, OpenError> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT => OpenError::Missing { path: path.into() },
            // With O_DIRECTORY a symbolic link gives ENOTDIR on some kernels and ELOOP on others.
            Errno::LOOP | Errno::NOTDIR => OpenError::unsafe_directory(
                path,
                "it is a symbolic link or no directory; name a real directory of your own",
            ),
            _ => OpenError::io("open the directory", path, errno),
        })?;
        let stat = rustix::fs::fstat(&fd)
            .map_err(|errno| OpenError::io("look at the directory", path, errno))?;
        let uid = rustix::process::geteuid().as_raw();
        if stat.st_uid != uid {
            return Err(OpenError::unsafe_directory(
                path,
                format!(
                    "user {} owns it, and this process is user {uid}; name another directory",
                    stat.st_uid
                ),
            ));
        }
        if stat.st_mode & 0o077 != 0 {
            return Err(OpenError::unsafe_directory(
                path,
                format!(
                    "others have access (mode {:04o}); run: chmod 700 {}",
                    stat.st_mode & 0o7777,
                    path.display()
                ),
            ));
        }
        Ok(Directory { fd, path: path.into() })
    }

    /// Path of the file `name`, for messages.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Path of the directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a file that exists; `None` when there is none. It must be a plain file of ours.
    pub(crate) fn open_file(&self, name: &str, write: bool) -> Result<Option<File>, OpenError> {
        let access = if write { OFlags::RDWR } else { OFlags::RDONLY };
        self.open_with(name, access)
    }

    /// Opens a file for reading and writing, making an empty one when there is none.
    pub(crate) fn open_or_create(&self, name: &str) -> Result<File, OpenError> {
        let file = self.open_with(name, OFlags::RDWR | OFlags::CREATE)?;
        file.ok_or_else(|| OpenError::io("open", &self.path_of(name), Errno::NOENT))
    }

    /// Makes an empty file in place of whatever had the name.
    pub(crate) fn create_fresh(&self, name: &str) -> Result<File, OpenError> {
        self.remove(name)?;
        let file = self.open_with(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)?;
        file.ok_or_else(|| OpenError::io("create", &self.path_of(name), Errno::NOENT))
    }

    fn open_with(&self, name: &str, flags: OFlags) -> Result<Option<File>, OpenError> {
        let path = self.path_of(name);
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = match rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(OpenError::foreign(&path, "it is a symbolic link")),
            Err(errno) => return Err(OpenError::io("open", &path, errno)),
        };
        let stat =
            rustix::fs::fstat(&fd).map_err(|errno| OpenError::io("look at", &path, errno))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(OpenError::foreign(&path, "it is no plain file"));
        }
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(OpenError::foreign(&path, format!("user {} owns it", stat.st_uid)));
        }
        Ok(Some(File::from(fd)))
    }

    /// Whether `name` still leads to `file`.
    pub(crate) fn is_current(&self, name: &str, file: &File) -> Result<bool, OpenError> {
        let path = self.path_of(name);
        let ours =
            rustix::fs::fstat(file).map_err(|errno| OpenError::io("look at", &path, errno))?;
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok((stat.st_dev, stat.st_ino) == (ours.st_dev, ours.st_ino)),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(OpenError::io("look at", &path, errno)),
        }
    }

    /// Gives a file another name, replacing what had it.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), OpenError> {
        rustix::fs::renameat_with(&self.fd, from, &self.fd, to, RenameFlags::empty())
            .map_err(|errno| OpenError::io("rename", &self.path_of(from), errno))
    }

    /// Gives a file a second name; that it has it already is fine.
    pub(crate) fn link(&self, from: &str, to: &str) -> Result<(), OpenError> {
        match rustix::fs::linkat(&self.fd, from, &self.fd, to, AtFlags::empty()) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(OpenError::io("link", &self.path_of(from), errno)),
        }
    }

    /// Removes a file; that there is none is fine.
    pub(crate) fn remove(&self, name: &str) -> Result<(), OpenError> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(OpenError::io("remove", &self.path_of(name), errno)),
        }
    }

    /// Bytes that the file system has free for us.
    pub(crate) fn free_bytes(&self) -> Result<u64, OpenError> {
        let stat = rustix::fs::fstatvfs(&self.fd)
            .map_err(|errno| OpenError::io("look at", &self.path, errno))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Allocates all pages of `file`: a full file system is an error here, and not a SIGBUS later.
    pub(crate) fn allocate(&self, name: &str, file: &File, bytes: u64) -> Result<(), OpenError> {
        let no_space = |free| OpenError::NoSpace { path: self.path.clone(), needed: bytes, free };
        let fail = |errno: Errno| match errno {
            Errno::NOSPC | Errno::FBIG | Errno::DQUOT => no_space(self.free_bytes().unwrap_or(0)),
            errno => OpenError::io("allocate", &self.path_of(name), errno),
        };
        // Allocating decides; but what cannot succeed need not take all there is first.
        let free = self.free_bytes()?;
        let held =
            size(file).map_err(|error| OpenError::io("look at", &self.path_of(name), error))?;
        if bytes > free.saturating_add(held) {
            return Err(no_space(free));
        }
        loop {
            match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(errno) => {
                    // What was allocated before it failed goes back; the failure itself is what the caller learns.
                    let _ = rustix::fs::ftruncate(file, 0);
                    return Err(fail(errno));
                }
            }
        }
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Size of a file.
pub(crate) fn size(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.len())
}
