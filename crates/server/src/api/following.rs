//! Keys of services follow the settings' file, as limits do: a key that is taken out of
//! it stops to work without a restart.
//!
//! The file is read once a second. What two readings agree on is used as a whole, so
//! one that is half written is not; one that is wrong, or gone, leaves the keys that
//! there are.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::principal::Keys;
use crate::config::reread_service_keys;

/// Between two readings.
const PAUSE: Duration = Duration::from_secs(1);

/// What became of the changes of a file.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Followed {
    /// Times that its keys were put in place.
    pub(super) replaced: u64,
    /// Whether it cannot be used as it is.
    pub(super) invalid: bool,
}

/// Follows a file, as long as this is polled.
pub(super) async fn follow(keys: Keys, file: PathBuf, told: Arc<Mutex<Followed>>) {
    let mut seen = None;
    let mut settled = None;
    loop {
        let path = file.clone();
        let read = tokio::task::spawn_blocking(move || read(&path)).await;
        let found = read.unwrap_or_else(|error| Err(error.to_string()));
        if seen.as_ref() == Some(&found) && settled.as_ref() != Some(&found) {
            let invalid = replace(&keys, &file, &found).is_err();
            let mut told = told.lock();
            told.replaced += u64::from(!invalid);
            told.invalid = invalid;
            settled = Some(found);
        } else {
            seen = Some(found);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn replace(keys: &Keys, file: &Path, found: &Result<String, String>) -> Result<(), ()> {
    let services = match found {
        Ok(text) => reread_service_keys(file, text).map_err(|error| error.to_string()),
        Err(reason) => Err(format!("{}: {reason}", file.display())),
    };
    match services {
        Ok(services) => {
            keys.replace(services);
            Ok(())
        }
        Err(reason) => {
            tracing::warn!("the service keys stay as they are: {reason}");
            Err(())
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    // A pipe would hold the reader up.
    let is_file = std::fs::metadata(path).map(|it| it.is_file());
    match is_file {
        Ok(true) => std::fs::read_to_string(path).map_err(|error| error.to_string()),
        Ok(false) => Err("it is no file".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
