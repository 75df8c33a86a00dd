//! Overrides of a guard's classes, checked before they are kept.

use super::live::Place;
use super::{Guard, GuardError};
use crate::limit::limiter::LimitError;
use crate::limit::overrides::{LONGEST, Override};

impl Guard {
    /// Changes a limit while the app runs, for all instances: at once in this
    /// process, elsewhere within a second, or 30 s over a store that bills.
    pub async fn set_override(&self, it: &Override) -> Result<(), GuardError> {
        let live = self.live();
        let place = live.place(&it.class)?;
        let mut named = false;
        for tier in &place.class.tiers {
            if it.tier.as_deref().is_none_or(|name| name == tier.name) {
                named = true;
                it.apply(tier.rule)?;
            }
        }
        if !named {
            return Err(no_tier(place, it.tier.as_deref()));
        }
        let now_ms = self.0.limiter.store().now() / 1000;
        let last_ms = now_ms.saturating_add(LONGEST.as_millis() as u64);
        if it.until_ms <= now_ms || it.until_ms > last_ms {
            return Err(GuardError::Until);
        }
        let kept = self.0.overrides.set(it).await.map_err(LimitError::Store)?;
        if kept { Ok(()) } else { Err(GuardError::Full) }
    }

    /// Takes an override back; whether there was one.
    pub async fn clear_override(
        &self,
        class: &str,
        tier: Option<&str>,
        id: Option<&str>,
    ) -> Result<bool, GuardError> {
        let cleared = self.0.overrides.clear(class, tier, id).await;
        Ok(cleared.map_err(LimitError::Store)?)
    }

    /// The overrides of a class that hold now, as the store has them.
    pub async fn overrides(&self, class: &str) -> Result<Vec<Override>, GuardError> {
        let all = self.0.overrides.of_class(class).await;
        Ok(all.map_err(LimitError::Store)?)
    }
}

fn no_tier(place: &Place, tier: Option<&str>) -> GuardError {
    GuardError::Tier {
        class: place.class.name.clone(),
        tier: tier.unwrap_or_default().chars().take(64).collect(),
    }
}
