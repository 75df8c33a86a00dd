//! Progress of long work: a bar on standard error where that is a terminal;
//! elsewhere nothing, or a line in the log each second.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a long work says in the log how far it is.
const LOG_EVERY: Duration = Duration::from_secs(1);

const BYTES: &str = "{msg} {wide_bar} {decimal_bytes} of {decimal_total_bytes}, {eta} left";
const BYTES_WITHOUT_END: &str = "{msg} {decimal_bytes}, {elapsed} so far";
const FILES: &str = "{msg} {wide_bar} {pos} of {len} files";

/// A work under way. What is drawn goes away when it is dropped.
pub(crate) struct Progress {
    what: &'static str,
    bar: ProgressBar,
    with_end: &'static str,
    /// When the log was told last, where it is told at all.
    told: Option<Instant>,
}

impl Progress {
    fn new(what: &'static str, with_end: &'static str) -> Self {
        // Draws nothing where standard error is no terminal.
        let bar = ProgressBar::no_length().with_message(what);
        Progress {
            what,
            bar,
            with_end,
            told: None,
        }
    }

    /// Of work that is counted in bytes.
    pub(crate) fn of_bytes(what: &'static str) -> Self {
        Progress::new(what, BYTES)
    }

    /// Of work that is counted in files.
    pub(crate) fn of_files(what: &'static str) -> Self {
        Progress::new(what, FILES)
    }

    /// Tells the log where nothing can be drawn.
    pub(crate) fn or_log(mut self) -> Self {
        self.told = self.bar.is_hidden().then(Instant::now);
        self
    }

    /// So much is done, of so much; of 0 if nobody knows.
    pub(crate) fn set(&mut self, done: u64, total: u64) {
        if self.bar.length().is_none() {
            let template = if total == 0 {
                BYTES_WITHOUT_END
            } else {
                self.with_end
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                self.bar.set_style(style);
            }
            self.bar.set_length(total);
        }
        self.bar.set_position(done);
        if let Some(told) = &mut self.told
            && told.elapsed() >= LOG_EVERY
        {
            *told = Instant::now();
            tracing::info!("{}: {} of {} MB", self.what, done >> 20, total >> 20);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_one() {
        for template in [BYTES, BYTES_WITHOUT_END, FILES] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
