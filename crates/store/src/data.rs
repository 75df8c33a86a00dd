//! The data folder: one process at a time, and the token that was made for it.
//!
//! A lock on `sangam.lock` keeps a second process out; the operating system
//! gives it back however the first one ends. The file holds the first one's
//! process id, for the message that the second one gives.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64_simd::URL_SAFE_NO_PAD;

/// Random bytes of a made token: out of reach of guessing.
const TOKEN_BYTES: usize = 32;

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Another process has it.
    #[error(
        "the data folder {} is in use by process {pid}: stop that one, or choose another folder \
         (setting `data`: --data or SANGAM_DATA)", folder.display()
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// Who has it.
        pid: String,
    },
    /// It cannot be read or written.
    #[error("cannot use {}: {error} (setting `data`: --data or SANGAM_DATA)", path.display())]
    Io {
        /// What cannot be used.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The kept token is empty or has bytes that no header can carry.
    #[error("{} holds no usable token: delete it to have one made", path.display())]
    BadToken {
        /// The token's file.
        path: PathBuf,
    },
    /// The system gives no random bytes.
    #[error("cannot make a token: {0}")]
    Random(String),
}

/// Where the token came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenOrigin {
    /// The settings.
    Given,
    /// This file in the data folder.
    Kept(PathBuf),
    /// Made for this run, and kept nowhere.
    Made,
}

/// A data folder that this process holds until it is dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Makes the folder if it is not there, and takes it.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let failed = |error| DataError::Io {
            path: path.to_owned(),
            error,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed)?;
        let lock_path = path.join("sangam.lock");
        let failed = |error| DataError::Io {
            path: lock_path.clone(),
            error,
        };
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let _ = lock.read_to_string(&mut pid);
                let pid = match pid.trim() {
                    "" => "unknown".to_owned(),
                    pid => pid.to_owned(),
                };
                return Err(DataError::InUse {
                    folder: path.to_owned(),
                    pid,
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(DataFolder {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the engine keeps its data.
    pub fn engine_path(&self) -> PathBuf {
        DataFolder::engine_in(&self.path)
    }

    /// The same of a folder that nobody has to hold.
    pub fn engine_in(path: &Path) -> PathBuf {
        path.join("engine")
    }

    /// Where the token is kept.
    pub fn token_path(&self) -> PathBuf {
        self.path.join("token")
    }

    /// The token kept here, if there is one.
    pub fn kept_token(&self) -> Result<Option<String>, DataError> {
        let path = self.token_path();
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(DataError::Io { path, error }),
        };
        let mut text = String::new();
        let mode = file
            .read_to_string(&mut text)
            .and_then(|_| file.metadata())
            .map_err(|error| DataError::Io {
                path: path.clone(),
                error,
            })?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            tracing::warn!("{} can be read by other users: chmod 600", path.display());
        }
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(DataError::BadToken { path });
        }
        Ok(Some(token.to_owned()))
    }

    /// Makes a token and keeps it, readable by its owner only.
    pub fn make_token(&self) -> Result<String, DataError> {
        let token = make_token()?;
        let path = self.token_path();
        // A crash must not leave half a token under the final name.
        let draft = self.path.join("token.new");
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&draft)?;
            writeln!(file, "{token}")?;
            file.sync_all()?;
            std::fs::rename(&draft, &path)
        };
        write().map_err(|error| DataError::Io {
            path: path.clone(),
            error,
        })?;
        Ok(token)
    }
}

/// A token that nobody can guess: base64url of 32 random bytes.
pub fn make_token() -> Result<String, DataError> {
    let mut bytes = [0u8; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| DataError::Random(error.to_string()))?;
    Ok(URL_SAFE_NO_PAD.encode_to_string(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let name = format!("sangam-{name}-{}", std::process::id());
            Scratch(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn one_holder_at_a_time() {
        let scratch = Scratch::new("lock");
        let path = scratch.0.join("deep/folder");
        let held = DataFolder::open(&path).unwrap();
        let refused = DataFolder::open(&path).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("process {}", std::process::id())),
            "{refused}"
        );
        assert!(refused.contains("--data"), "{refused}");
        drop(held);
        DataFolder::open(&path).unwrap();
    }

    #[test]
    fn a_token_is_made_once_and_private() {
        let scratch = Scratch::new("token");
        let folder = DataFolder::open(&scratch.0).unwrap();
        assert_eq!(folder.kept_token().unwrap(), None);
        let token = folder.make_token().unwrap();
        assert_eq!(token.len(), 43);
        assert_eq!(folder.kept_token().unwrap(), Some(token.clone()));
        let mode = std::fs::metadata(folder.token_path())
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_ne!(make_token().unwrap(), token);
        std::fs::write(folder.token_path(), "\n").unwrap();
        assert!(folder.kept_token().is_err());
    }
}
