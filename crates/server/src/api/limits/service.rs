//! The limits of a server: its guard, what follows the settings' file, and their end.

use std::time::Duration;

use sangam::limit::analytics::{Analytics, Options};
use sangam::limit::{Guard, Limiter, Watch};
use sangam_store::Store;

use crate::config::Config;
use crate::gateway::Page;

/// How long the end may take.
const CLOSING: Duration = Duration::from_secs(2);

/// The limits of a server.
#[derive(Debug)]
pub struct Limits {
    guard: Guard,
    watch: Option<Watch>,
}

impl Limits {
    /// Limits over a store, as the settings say. A settings' file that is there is
    /// followed from now on.
    pub fn new(store: Store, config: &Config) -> Self {
        let limiter = Limiter::new(store.clone()).with_prefix(&config.prefix);
        let mut guard = Guard::over(limiter, config.limits.clone());
        if let Some(retention) = config.limits.statistics {
            let options = Options {
                prefix: config.prefix.clone(),
                retention,
                ..Options::default()
            };
            match Analytics::new(store, options) {
                Ok(analytics) => guard = guard.with_analytics(analytics),
                Err(error) => tracing::warn!("no statistics of limits: {error}"),
            }
        }
        let file = config.file.as_ref().filter(|file| file.exists());
        let watch = file.map(|file| guard.watch(file));
        Limits { guard, watch }
    }

    /// The guard.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Writes what is left to write, returns what is leased.
    pub(crate) async fn close(&self) {
        let closing = async {
            if let Some(analytics) = self.guard.analytics()
                && let Err(error) = analytics.flush().await
            {
                tracing::warn!("the last statistics of limits are lost: {error}");
            }
            self.guard.limiter().close(CLOSING).await;
        };
        if tokio::time::timeout(CLOSING, closing).await.is_err() {
            tracing::warn!("limits did not close in time: what is leased is over by itself");
        }
    }

    pub(crate) fn metrics(&self, page: &mut Page) {
        for (class, counts) in self.guard.counts() {
            let all = [
                ("allowed", counts.allowed),
                ("refused", counts.refused),
                ("shadowed", counts.shadowed),
                ("degraded", counts.degraded),
                ("near", counts.near),
            ];
            for (what, count) in all {
                page.counter(
                    "sangam_limit_checks_total",
                    "Checks of limits by class and by what became of them; a check may be in several.",
                    &[("class", &class), ("result", what)],
                    count,
                );
            }
        }
        if let Some(watch) = &self.watch {
            let state = watch.state();
            page.counter(
                "sangam_limit_settings_replaced_total",
                "Times that changed classes of limits were put in place.",
                &[],
                state.replaced,
            );
            page.gauge(
                "sangam_limit_settings_invalid",
                "1 while the settings' file is wrong and former classes stay.",
                &[],
                u8::from(state.error.is_some()),
            );
        }
        if let Some(analytics) = self.guard.analytics() {
            let health = analytics.health();
            page.counter(
                "sangam_limit_statistics_lost_total",
                "Windows of statistics that could not be written.",
                &[],
                health.lost,
            );
        }
    }
}
