//! What to do about a folder that cannot be used: the command, ready to paste.

use std::path::Path;

use sangam_engine::journal::recover::RecoverError;
use sangam_engine::persist::OpenError;

/// The line that follows the message of a start that failed; empty where no
/// command helps.
pub(crate) fn after(error: &OpenError, data: &Path) -> String {
    let OpenError::Recover(error) = error else {
        return String::new();
    };
    match error {
        RecoverError::Io { .. } => String::new(),
        RecoverError::Replay { seq, .. } => {
            let last = seq.0.saturating_sub(1);
            run(&format!("check --repair --last {last}"), data)
        }
        RecoverError::Restoring => run("restore BACKUP", data),
        RecoverError::Corrupt { .. }
        | RecoverError::Shortened { .. }
        | RecoverError::Beginning { .. }
        | RecoverError::Load { .. } => run("check --repair", data),
    }
}

/// `run: sangam … --data FOLDER` on a line of its own.
pub(crate) fn run(words: &str, data: &Path) -> String {
    format!("\nrun: {}", command(words, data))
}

/// The command for this folder, from wherever it is started.
pub(crate) fn command(words: &str, data: &Path) -> String {
    let data = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    format!("sangam {words} --data {}", quoted(&data.to_string_lossy()))
}

/// As a shell reads it as one word.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+=:,@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_pasted() {
        let check = |folder: &str| command("check", Path::new(folder));
        assert_eq!(check("/srv/data"), "sangam check --data /srv/data");
        assert_eq!(check("/a b"), "sangam check --data '/a b'");
        assert_eq!(check("/it's"), r"sangam check --data '/it'\''s'");
        let here = std::env::current_dir().unwrap().join("data");
        let relative = check("data");
        assert!(
            relative.contains(&*here.to_string_lossy()),
            "{relative} from {here:?}"
        );
    }

    #[test]
    fn a_refused_start_says_what_to_run() {
        let data = Path::new("/d");
        let corrupt = RecoverError::Corrupt {
            file: "log".to_owned(),
            offset: 8,
            expected: sangam_engine::Seq(3),
            reason: String::new(),
        };
        assert_eq!(
            after(&corrupt.into(), data),
            "\nrun: sangam check --repair --data /d"
        );
        let replay = RecoverError::Replay {
            file: "log".to_owned(),
            offset: 8,
            seq: sangam_engine::Seq(3),
            reason: String::new(),
        };
        assert_eq!(
            after(&replay.into(), data),
            "\nrun: sangam check --repair --last 2 --data /d"
        );
        assert_eq!(
            after(&OpenError::Start(std::io::Error::other("full")), data),
            ""
        );
    }
}
