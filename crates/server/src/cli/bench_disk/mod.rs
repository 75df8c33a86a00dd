//! `sangam bench-disk`: what the data folder's disk can promise.
//!
//! Everything happens in a scratch folder beside the data, on the same file
//! system, which is removed in the end. A server that runs there is slowed down
//! meanwhile, and shows in the figures.

mod measure;
mod words;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::BenchDiskArgs;
use super::error::CliError;
use super::figures::bytes;
use crate::data::DataFolder;
use measure::Measured;

/// Bytes that have to be free: what is written, and room for a server to go on.
const ROOM: u64 = 1 << 30;

pub(super) fn run(args: &BenchDiskArgs) -> Result<ExitCode, CliError> {
    let folder = args.data.folder()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    let scratch = Scratch::make(&folder)?;
    let (path, time) = (scratch.path.clone(), Duration::from_secs(args.seconds));
    let measured = runtime.block_on(async {
        let work = tokio::task::spawn_blocking(move || Measured::of(&path, ROOM, time));
        tokio::select! {
            measured = work => Some(measured),
            _ = tokio::signal::ctrl_c() => None,
        }
    });
    let Some(measured) = measured else {
        // Its threads write on into files without a name until the process ends.
        drop(scratch);
        std::process::exit(130);
    };
    let measured = measured
        .map_err(io::Error::other)
        .and_then(|measured| measured)
        .map_err(CliError::of(&scratch.path))?;
    let mut out = io::stdout().lock();
    let Some(measured) = measured else {
        return Err(CliError::Refused(format!(
            "{} has less than {} free, which measuring needs",
            folder.display(),
            bytes(ROOM)
        )));
    };
    if args.data.json {
        writeln!(out, "{}", words::as_json(&folder, &measured))
    } else {
        words::tell(&mut out, &folder, &measured)
    }
    .map_err(CliError::Output)?;
    Ok(ExitCode::SUCCESS)
}

/// A folder that is removed with all that is in it.
struct Scratch {
    path: PathBuf,
    // Two measurements at once would measure each other.
    _held: DataFolder,
}

impl Scratch {
    /// In the data folder, or where that one would be.
    fn make(data: &Path) -> Result<Self, CliError> {
        let data = std::path::absolute(data).map_err(CliError::of(data))?;
        let place = data.ancestors().find(|folder| folder.is_dir());
        let path = place.unwrap_or(&data).join("bench-disk.tmp");
        let held = DataFolder::open(&path)?;
        // A measurement that was killed may have left something.
        measure::clear(&path).map_err(CliError::of(&path))?;
        Ok(Scratch { path, _held: held })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
