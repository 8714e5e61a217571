//! `endpoints.json`: where a running service can be reached, for programs that look it up.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// File name inside the log's directory.
pub const FILE_NAME: &str = "endpoints.json";

/// What the file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// Process id of the service, in its own pid namespace.
    pub pid: u32,
    /// Version of the service.
    pub version: String,
    /// Bound addresses, as `127.0.0.1:8080`, `[::1]:8080` or `unix:/path`.
    pub listen: Vec<String>,
    /// Address of the Event Bus, when one runs in the service.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bus: Option<String>,
}

impl Endpoints {
    /// Reads the file of a running service.
    ///
    /// # Errors
    /// `NotFound` when no service runs on this directory; `InvalidData` when it can't be read.
    pub fn read(shm_dir: &Path) -> io::Result<Self> {
        let text = fs::read(shm_dir.join(FILE_NAME))?;
        serde_json::from_slice(&text).map_err(io::Error::from)
    }

    /// Writes the file so that a reader sees all of it or none; it goes when the guard is dropped.
    ///
    /// # Errors
    /// What the file system says.
    pub fn publish(&self, shm_dir: &Path) -> io::Result<Published> {
        let path = shm_dir.join(FILE_NAME);
        let draft = shm_dir.join(".endpoints.json.new");
        let mut file = File::create(&draft)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.write_all(b"\n")?;
        fs::rename(&draft, &path)?;
        Ok(Published { path })
    }
}

/// Removes the file at the end of the service.
pub struct Published {
    path: PathBuf,
}

impl Drop for Published {
    fn drop(&mut self) {
        // The directory may have been removed before us, which leaves nothing to do.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::{Endpoints, FILE_NAME};

    #[test]
    fn what_is_published_can_be_read_and_goes_with_the_guard() {
        let dir = std::env::temp_dir().join(format!("jimbot-endpoints-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let endpoints = Endpoints {
            pid: 7,
            version: "0.1.0".into(),
            listen: vec!["127.0.0.1:8080".into(), "unix:/run/x".into()],
            bus: None,
        };
        let published = endpoints.publish(&dir).unwrap();
        assert_eq!(Endpoints::read(&dir).unwrap(), endpoints);
        drop(published);
        assert!(!dir.join(FILE_NAME).exists());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
