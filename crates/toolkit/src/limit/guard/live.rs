//! The settings that a guard works by, with what is made of them once.

use std::collections::HashMap;
use std::sync::Arc;

use super::GuardError;
use super::event::Counters;
use super::verdict::Counted;
use crate::limit::class::{Class, Settings, is_name};
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
}

impl Live {
    /// These settings; classes that were there `before` go on counting what happens
    /// to them.
    pub(super) fn new(settings: Settings, before: Option<&Live>) -> Self {
        let place = |class: &Arc<Class>| {
            let known = before.and_then(|live| live.places.get(&class.name));
            let name = |tier: &str| format!("{}.{tier}", class.name);
            let place = Place {
                class: class.clone(),
                counters: known.map(|it| it.counters.clone()).unwrap_or_default(),
                fault: fault(class),
                names: class.tiers.iter().map(|tier| name(&tier.name)).collect(),
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
