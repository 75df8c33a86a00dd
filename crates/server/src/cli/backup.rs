//! `sangam backup`: the data as one file, while a server runs or not.
//!
//! The file has its name only when it is whole and durable; until then it is
//! `FILE.tmp`.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use sangam_engine::journal::backup::{BackupError, BackupSummary, backup};
use sangam_engine::journal::storage::Storage;
use serde_json::json;

use super::BackupArgs;
use super::check::log_name;
use super::error::CliError;
use super::figures::{bytes, now_ms};
use crate::advice;
use crate::progress::Progress;

pub(super) fn run(args: &BackupArgs) -> Result<ExitCode, CliError> {
    let (folder, storage) = args.data.existing()?;
    let refused = |error: BackupError| {
        let advice = match &error {
            BackupError::Damaged { .. } => advice::run("check", &folder),
            _ => String::new(),
        };
        CliError::Refused(format!(
            "cannot back up {}: {error}{advice}",
            folder.display()
        ))
    };
    let to_stdout = args.file.as_os_str() == "-";
    let summary = if to_stdout {
        let out = io::stdout().lock();
        if out.is_terminal() {
            return Err(CliError::Refused(
                "a backup is no text for a terminal: name a file, or pipe it on".to_owned(),
            ));
        }
        send(&*storage, out).map_err(refused)?
    } else {
        if !args.force && args.file.exists() {
            return Err(CliError::Refused(format!(
                "{} is there already: choose another name, or replace it with --force",
                args.file.display()
            )));
        }
        let draft = Draft::begin(&args.file)?;
        let summary = send(&*storage, &draft.file).map_err(refused)?;
        draft.finish(&args.file)?;
        summary
    };
    let text = if args.data.json {
        let file = (!to_stdout).then(|| args.file.to_string_lossy());
        json!({
            "file": file,
            "log": log_name(summary.log),
            "last": summary.last.0,
            "files": summary.files,
            "bytes": summary.bytes,
        })
        .to_string()
    } else {
        let (last, size) = (summary.last.0, bytes(summary.bytes));
        format!("backed up everything up to unit {last}, {size}; the token is no part of it")
    };
    // Standard output may be the backup.
    let told = if to_stdout {
        writeln!(io::stderr(), "{text}")
    } else {
        writeln!(io::stdout(), "{text}")
    };
    told.map_err(CliError::Output)?;
    Ok(ExitCode::SUCCESS)
}

fn send(storage: &dyn Storage, out: impl Write) -> Result<BackupSummary, BackupError> {
    let mut progress = Progress::of_bytes("backing up");
    let mut out = BufWriter::new(out);
    backup(storage, now_ms(), &mut out, &mut |done, total| {
        progress.set(done, total);
    })
}

/// The file while it is being written; removed if it comes to nothing.
struct Draft {
    path: PathBuf,
    file: File,
    is_whole: bool,
}

impl Draft {
    /// Takes `FILE.tmp`, over what a backup that was broken off left there.
    fn begin(target: &Path) -> Result<Self, CliError> {
        let mut path = target.as_os_str().to_owned();
        path.push(".tmp");
        let path = PathBuf::from(path);
        let open = || {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Another backup may have given it its name in the meantime.
            let (held, named) = (file.metadata()?, fs::metadata(&path)?);
            if held.ino() != named.ino() {
                return Ok(None);
            }
            file.set_len(0)?;
            Ok(Some(file))
        };
        match open() {
            Ok(Some(file)) => Ok(Draft {
                path,
                file,
                is_whole: false,
            }),
            Ok(None) => Err(CliError::Refused(format!(
                "another backup is being written to {}",
                path.display()
            ))),
            Err(error) => Err(CliError::File { path, error }),
        }
    }

    /// Makes it durable, and then the file.
    fn finish(mut self, target: &Path) -> Result<(), CliError> {
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        self.file
            .sync_all()
            .and_then(|()| fs::rename(&self.path, target))
            .map_err(CliError::of(&self.path))?;
        self.is_whole = true;
        File::open(parent)
            .and_then(|folder| folder.sync_all())
            .map_err(CliError::of(parent))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_whole {
            let _ = fs::remove_file(&self.path);
        }
    }
}
