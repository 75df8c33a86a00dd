//! A settings' file that is followed while the app runs.
//!
//! The file is read whole once a second (by its path, so that one which is renamed
//! into its place is the new one). What was read twice alike and differs from what
//! is in use is parsed: all of it is used, or, where it is wrong, nothing, and the
//! former settings stay. So a file that is half written counts once it has rested for
//! a second; one that is gone changes nothing, and is looked for again. A file without
//! the table is one that was emptied, or is another one, where the settings in use are
//! others than what is built in: it is wrong then. What is wrong is told by [`Event::Invalid`], by a warning in the log and by
//! [`Watch::state`], once for each text.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Event, Guard, Inner, WatchError};
use crate::limit::class::{ClassError, Settings};

/// Time between two readings.
const PAUSE: Duration = Duration::from_secs(1);
/// The largest file that is read.
const LARGEST: u64 = 16 << 20;

/// Follows a file for a guard until it is dropped.
#[derive(Debug)]
pub struct Watch {
    state: watch::Receiver<WatchState>,
    task: JoinHandle<()>,
}

/// What became of a file that is followed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WatchState {
    /// How many times its settings were put in place.
    pub replaced: u64,
    /// What is wrong with it as it is now; the settings in use are former ones then.
    pub error: Option<WatchError>,
}

impl Watch {
    /// How it is.
    pub fn state(&self) -> WatchState {
        self.state.borrow().clone()
    }

    /// How it is, and whenever that changes.
    pub fn states(&self) -> watch::Receiver<WatchState> {
        self.state.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Guard {
    /// Follows the table `[limits]` of a file, which is read for the first time within
    /// two seconds. Ends when the watch is dropped, or the guard.
    ///
    /// Needs tokio's runtime.
    pub fn watch(&self, path: impl Into<PathBuf>) -> Watch {
        let (tell, state) = watch::channel(WatchState::default());
        let follower = Follower {
            guard: Arc::downgrade(&self.0),
            path: path.into(),
            tell,
            seen: None,
            settled: None,
        };
        let task = tokio::spawn(follower.run());
        Watch { state, task }
    }
}

/// A text, or why there is none.
type Found = Result<String, String>;

struct Follower {
    guard: Weak<Inner>,
    path: PathBuf,
    tell: watch::Sender<WatchState>,
    /// What the last reading found.
    seen: Option<Found>,
    /// What was last found twice.
    settled: Option<Found>,
}

impl Follower {
    async fn run(mut self) {
        while self.guard.strong_count() > 0 {
            let path = self.path.clone();
            let found = tokio::task::spawn_blocking(move || read(&path)).await;
            let found = found.unwrap_or_else(|error| Err(error.to_string()));
            if self.seen.as_ref() == Some(&found) && self.settled.as_ref() != Some(&found) {
                self.use_it(&found);
                self.settled = Some(found);
            } else {
                self.seen = Some(found);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn use_it(&self, found: &Found) {
        let Some(guard) = self.guard.upgrade().map(Guard) else {
            return;
        };
        let path = self.path.display().to_string();
        let settings = match found {
            Ok(text) => {
                in_place_of(&guard, text).map_err(|error| WatchError::Invalid { path, error })
            }
            Err(reason) => Err(WatchError::Unreadable {
                path,
                reason: reason.clone(),
            }),
        };
        let error = match settings {
            Ok(settings) => {
                guard.replace(settings);
                tracing::info!("limits of {} are in use", self.path.display());
                None
            }
            Err(error) => {
                tracing::warn!("the limits stay as they are: {error}");
                guard.tell(|| Event::Invalid(error.clone()));
                Some(error)
            }
        };
        self.tell.send_modify(|state| {
            state.replaced += u64::from(error.is_none());
            state.error = error;
        });
    }
}

/// What a text puts in the place of the guard's settings.
fn in_place_of(guard: &Guard, text: &str) -> Result<Settings, ClassError> {
    if let Some(settings) = Settings::in_text(text)? {
        return Ok(settings);
    }
    let builtin = Settings::default();
    if *guard.settings() == builtin {
        return Ok(builtin);
    }
    Err(ClassError {
        line: 1,
        column: 1,
        reason: "there is no table [limits]: write an empty one to drop all limits but \
                 those that are built in"
            .to_owned(),
    })
}

fn read(path: &Path) -> Found {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // A pipe would hold the reader up.
        let file = std::fs::metadata(path)?;
        if !file.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        std::fs::File::open(path)?
            .take(LARGEST + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST {
            return Err(io::Error::other("it is larger than 16 MiB"));
        }
        Ok(bytes)
    };
    let bytes = read().map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}
