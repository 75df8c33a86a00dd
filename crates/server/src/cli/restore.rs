//! `sangam restore`: a backup into a data folder that has no data.

use std::fs::File;
use std::io::{self, BufReader, Read, Write as _};
use std::process::ExitCode;

use sangam_engine::journal::backup::{RestoreError, restore};
use sangam_engine::journal::storage::DiskStorage;
use serde_json::json;

use super::RestoreArgs;
use super::check::log_name;
use super::error::CliError;
use super::figures::bytes;
use crate::advice;
use crate::data::DataFolder;
use crate::progress::Progress;

/// Bytes that are read from the backup at once.
const READ: usize = 1 << 20;

pub(super) fn run(args: &RestoreArgs) -> Result<ExitCode, CliError> {
    let folder = args.data.folder()?;
    // Before anything is made.
    let (input, size): (Box<dyn Read>, u64) = if args.file.as_os_str() == "-" {
        (Box::new(io::stdin().lock()), 0)
    } else {
        let opened = File::open(&args.file)
            .and_then(|file| file.metadata().map(|metadata| (metadata.len(), file)));
        let (size, file) = opened.map_err(CliError::of(&args.file))?;
        (Box::new(file), size)
    };
    let held = DataFolder::open(&folder)?;
    let engine = held.engine_path();
    let storage = DiskStorage::open(&engine).map_err(CliError::of(&engine))?;
    let mut progress = Progress::of_bytes("restoring");
    let mut input = BufReader::with_capacity(READ, input);
    let outcome = restore(&mut input, &storage, &mut |done| progress.set(done, size));
    drop(progress);
    let restored = outcome.map_err(|error| {
        let advice = match &error {
            RestoreError::NotEmpty(_) => {
                ": choose a folder without data (setting `data`: --data or SANGAM_DATA), or move \
                 this one away"
            }
            _ => "",
        };
        CliError::Refused(format!(
            "nothing was restored into {}: {error}{advice}",
            folder.display()
        ))
    })?;
    let text = if args.data.json {
        json!({
            "folder": engine.to_string_lossy(),
            "log": log_name(restored.log),
            "last": restored.last.0,
            "files": restored.files,
            "bytes": restored.bytes,
        })
        .to_string()
    } else {
        let (last, size) = (restored.last.0, bytes(restored.bytes));
        format!(
            "restored everything up to unit {last}, {size}; it is verified and stored{}",
            advice::run("serve", &folder)
        )
    };
    writeln!(io::stdout(), "{text}").map_err(CliError::Output)?;
    Ok(ExitCode::SUCCESS)
}
