//! A server process that ends with its value, and with the test's process.
//!
//! A shell stands between the two: it holds the server as its child and reads a
//! pipe whose other end this process has. However the test ends, by a panic, by
//! a kill, or with a server in a `static` that is never dropped, the pipe
//! closes, and the shell kills the server and removes its folder. The server
//! stays the shell's child until then, so that its process number means nobody
//! else.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};

const GUARD: &str = r#"
folder=$1; shift
"$@" >>"$folder/log" 2>&1 &
echo $!
read -r keep
kill -9 $!
wait
[ "$keep" = keep ] || rm -rf "$folder"
"#;

/// A folder of the server's own.
pub(super) fn folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("rig-{}-{number}", std::process::id()));
    // What a process of the same number left behind, if it did.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[derive(Debug)]
pub(super) struct Process {
    guard: Child,
    pipe: Option<ChildStdin>,
    pid: Pid,
    folder: PathBuf,
}

impl Process {
    /// Runs `redis-server` with `arguments` in `folder`, which it owns from here
    /// on.
    pub(super) fn start(folder: &Path, arguments: &[String]) -> Self {
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "sh"])
            .arg(folder)
            .arg(binary())
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pipe = guard.stdin.take();
        let mut line = String::new();
        BufReader::new(guard.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let pid = line.trim().parse().ok().and_then(Pid::from_raw).unwrap();
        Self {
            guard,
            pipe,
            pid,
            folder: folder.to_owned(),
        }
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        let status = format!("/proc/{}/stat", self.pid.as_raw_nonzero());
        std::fs::read_to_string(status).is_ok_and(|text| {
            text.rsplit(") ")
                .next()
                .is_some_and(|rest| rest.starts_with('Z'))
        })
    }

    /// The last lines that it wrote.
    pub(super) fn log(&self) -> String {
        let text = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    pub(super) fn signal(&self, signal: Signal) {
        // One that has ended needs no signal.
        let _ = kill_process(self.pid, signal);
    }

    /// Kills it; its folder stays.
    pub(super) fn kill(mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            let _ = pipe.write_all(b"keep\n");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.pipe.take();
        let _ = self.guard.wait();
    }
}

/// `redis-server`, or the end of the test: what needs a real one must not pass
/// without.
fn binary() -> &'static str {
    let found = Command::new("redis-server")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(
        found.is_ok_and(|status| status.success()),
        "redis-server is not installed (Debian: apt-get install redis-server; scripts/test does \
         it): this test runs a real one"
    );
    "redis-server"
}
