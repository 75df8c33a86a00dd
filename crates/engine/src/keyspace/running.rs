//! The script or function that holds a keyspace's lock right now.

use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::Mutex;

/// What runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Running {
    /// A script, for SCRIPT KILL.
    Script,
    /// A function of a library, for FUNCTION KILL.
    Function,
}

impl Running {
    const fn number(self) -> u8 {
        match self {
            Running::Script => 1,
            Running::Function => 2,
        }
    }
}

/// The script that holds the lock right now, if any.
///
/// One atomic says what runs and whether it is to end, so a request reaches the
/// script that it met or none. Nothing else is published by it, so no access needs
/// an order: a script looks again at every tick.
#[derive(Debug, Default)]
pub struct RunningScript {
    state: AtomicU8,
    /// What others may see of one that runs past its limit.
    report: Mutex<Option<Report>>,
}

/// What FUNCTION STATS shows of a function that runs.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) name: Vec<u8>,
    pub(crate) argv: Vec<Vec<u8>>,
    /// Microseconds since the epoch.
    pub(crate) began_us: u64,
}

const IDLE: u8 = 0;
/// Added to what runs once it is to end.
const KILLED: u8 = 4;

impl RunningScript {
    pub(crate) fn start(&self, what: Running) {
        self.state.store(what.number(), Ordering::Relaxed);
    }

    pub(crate) fn finish(&self) {
        self.state.store(IDLE, Ordering::Relaxed);
    }

    /// What runs, if something does.
    pub(crate) fn running(&self) -> Option<Running> {
        match self.state.load(Ordering::Relaxed) & !KILLED {
            1 => Some(Running::Script),
            2 => Some(Running::Function),
            _ => None,
        }
    }

    /// Asks what runs to stop, if it is of this kind; whether it is.
    pub(crate) fn request_kill(&self, what: Running) -> bool {
        let (running, killed) = (what.number(), what.number() | KILLED);
        let order = Ordering::Relaxed;
        let asked = self.state.compare_exchange(running, killed, order, order);
        asked.map_or_else(|state| state == killed, |_| true)
    }

    pub(crate) fn kill_requested(&self) -> bool {
        self.state.load(Ordering::Relaxed) & KILLED != 0
    }

    /// Shows what runs to those who may not wait for it.
    pub(crate) fn publish(&self, name: &[u8], argv: &[&[u8]], began_us: u64) {
        *self.report.lock() = Some(Report {
            name: name.to_vec(),
            argv: argv.iter().map(|arg| arg.to_vec()).collect(),
            began_us,
        });
    }

    /// What was shown, which is for its reader to hold against what runs now.
    pub(crate) fn report(&self) -> Option<Report> {
        self.report.lock().clone()
    }

    /// Shows nothing any more.
    pub(crate) fn withdraw(&self) {
        *self.report.lock() = None;
    }
}
