//! Why a subcommand ended without its work done, and where the data folder is.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use sangam_engine::journal::storage::{DiskStorage, Storage};

use super::{DataArgs, ServeArgs};
use crate::config::{Config, ConfigError};
use crate::data::{DataError, DataFolder};
use crate::server::StartError;

#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("cannot start the runtime: {0}")]
    Runtime(io::Error),
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    #[error(
        "setting `data` is `memory`, and what is in memory has no files: name a folder (--data \
         or SANGAM_DATA)"
    )]
    InMemory,
    #[error(
        "there is no data in {}: name the folder that the server uses (setting `data`: --data \
         or SANGAM_DATA)",
        .0.display()
    )]
    NoData(PathBuf),
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("the answer cannot be written: {0}")]
    Output(io::Error),
    /// A text that says everything.
    #[error("{0}")]
    Refused(String),
}

impl CliError {
    /// Of an operation on this file.
    pub(super) fn of(path: &Path) -> impl FnOnce(io::Error) -> CliError {
        let path = path.to_owned();
        move |error| CliError::File { path, error }
    }

    /// What the process ends with.
    pub(super) fn status(&self) -> ExitCode {
        match self {
            CliError::Config(_) | CliError::InMemory | CliError::Start(StartError::Store(_)) => {
                ExitCode::from(2)
            }
            _ => ExitCode::FAILURE,
        }
    }
}

impl DataArgs {
    /// The data folder, resolved as for `serve`; it may not be there.
    pub(super) fn folder(&self) -> Result<PathBuf, CliError> {
        let config = Config::load(&ServeArgs {
            data: self.data.clone(),
            config: self.config.clone(),
            // What a server keeps there is the engine's, whatever else it serves.
            store: Some("embedded".to_owned()),
            ..ServeArgs::default()
        })?;
        config.data.ok_or(CliError::InMemory)
    }

    /// The data folder, which has to hold an engine's, and that one's files.
    pub(super) fn existing(&self) -> Result<(PathBuf, Arc<dyn Storage>), CliError> {
        let folder = self.folder()?;
        let engine = DataFolder::engine_in(&folder);
        if !engine.is_dir() {
            return Err(CliError::NoData(folder));
        }
        let storage = DiskStorage::open(&engine).map_err(CliError::of(&engine))?;
        Ok((folder, Arc::new(storage)))
    }
}
