//! The settings that a guard works by, with what is made of them once.

use std::collections::HashMap;
use std::sync::Arc;

use sangam_store::Store;

use super::GuardError;
use super::event::Counters;
use super::verdict::Counted;
use crate::limit::class::{Class, Compat, Settings, is_name};
use crate::limit::compat::UpstashLimiter;
use crate::limit::limiter::{Limit, LimitError};

/// Settings in use.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) settings: Arc<Settings>,
    places: HashMap<String, Place>,
}

/// A class in use.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) class: Arc<Class>,
    pub(super) counters: Arc<Counters>,
    /// What each tier's count is named.
    names: Vec<String>,
    /// Why it cannot be checked.
    fault: Option<GuardError>,
    /// What is checked in place of our own counts.
    pub(super) shared: Option<UpstashLimiter>,
}

impl Live {
    /// These settings; classes that were there `before` go on counting what happens
    /// to them.
    pub(super) fn new(settings: Settings, store: &Store, before: Option<&Live>) -> Self {
        let place = |class: &Arc<Class>| {
            let known = before.and_then(|live| live.places.get(&class.name));
            let (shared, fault) = match shared(class, store) {
                Ok(shared) => (shared, fault(class)),
                Err(error) => (None, Some(error)),
            };
            let place = Place {
                class: class.clone(),
                counters: known.map(|it| it.counters.clone()).unwrap_or_default(),
                fault,
                shared,
                names: (class.tiers.iter())
                    .map(|tier| count_name(class, &tier.name))
                    .collect(),
            };
            (class.name.clone(), place)
        };
        Live {
            places: settings.classes.iter().map(place).collect(),
            settings: Arc::new(settings),
        }
    }

    pub(super) fn place(&self, class: &str) -> Result<&Place, GuardError> {
        let place = self.places.get(class);
        let place = place.ok_or_else(|| GuardError::Class(class.chars().take(64).collect()))?;
        match &place.fault {
            None => Ok(place),
            Some(fault) => Err(fault.clone()),
        }
    }

    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        self.places.values()
    }
}

/// What a tier's count is named.
pub(super) fn count_name(class: &Class, tier: &str) -> String {
    format!("{}.{tier}", class.name)
}

/// The limiter of counts that are shared with another package.
fn shared(class: &Class, store: &Store) -> Result<Option<UpstashLimiter>, GuardError> {
    let Some(Compat::Upstash { prefix }) = &class.compat else {
        return Ok(None);
    };
    if class.tiers.len() > 1 {
        return Err(LimitError::Rules(class.tiers.len()).into());
    }
    Ok(Some(UpstashLimiter::new(store.clone(), prefix)?))
}

fn fault(class: &Class) -> Option<GuardError> {
    if class.tiers.is_empty() {
        return Some(LimitError::Rules(0).into());
    }
    let tiers = class.tiers.iter().map(|tier| &tier.name);
    let mut names = std::iter::once(&class.name).chain(tiers);
    let wrong = names.find(|name| !is_name(name))?;
    Some(GuardError::Name(wrong.chars().take(64).collect()))
}

impl Place {
    /// What is checked for a tier.
    pub(super) fn limit<'a>(&'a self, counted: &'a Counted) -> Limit<'a> {
        Limit {
            name: self.names.get(counted.tier).map_or("", String::as_str),
            rule: counted.rule,
            id: counted.id.as_bytes(),
        }
    }
}
