//! The first tier: values in this process' memory, bounded by their bytes.
//!
//! Nothing that was read before a key was invalidated may be put here afterwards. So
//! whoever will put a value takes a [`Ticket`] first, and every invalidation of its
//! key makes the ticket void. Tickets are numbers of 1,024 stripes that keys share: a
//! neighbour's invalidation may cost a value its place, and is never the cause of a
//! stale one.
//!
//! A hit costs a probe, a reference count and a comparison of numbers for each tag.

mod entry;
mod stripes;

use std::sync::Arc;

pub(super) use entry::{Content, Entry, Held, Meta};
use stripes::Stripes;
pub(super) use stripes::Ticket;

type Values<T> =
    quick_cache::sync::Cache<Box<str>, Held<T>, ByWeight, ahash::RandomState, Quiet<T>>;
type Quiet<T> = quick_cache::sync::DefaultLifecycle<Box<str>, Held<T>>;

/// Bytes that an entry takes besides its key and its value.
const OVERHEAD: u64 = 160;
/// Bytes that a tag of an entry takes, with what is known of it.
const MARK: usize = 136;
/// The least memory of a shard: a value that is larger than one is not held.
const SHARD: u64 = 2 << 20;
/// The mean size of a value that the number of places is guessed from.
const GUESSED: u64 = 1024;

/// The values of one cache.
#[derive(Debug)]
pub(super) struct Memory<T> {
    values: Option<Values<T>>,
    stripes: Stripes,
}

#[derive(Debug, Clone)]
struct ByWeight;

impl<T> quick_cache::Weighter<Box<str>, Held<T>> for ByWeight {
    fn weight(&self, key: &Box<str>, held: &Held<T>) -> u64 {
        let meta = held.meta();
        let validator = meta.validator.as_ref().map_or(0, |it| it.len());
        let rest = key.len() + meta.marks.len() * MARK + validator;
        OVERHEAD + rest as u64 + u64::from(meta.weight)
    }
}

impl<T> Memory<T> {
    /// Room for so many bytes; none with 0.
    pub(super) fn new(bytes: u64) -> Self {
        let values = (bytes > 0).then(|| {
            let places = (bytes / GUESSED).clamp(16, 1 << 20) as usize;
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            let shards = (4 * cores).min((bytes / SHARD) as usize).max(1);
            let options = quick_cache::OptionsBuilder::new()
                .estimated_items_capacity(places)
                .weight_capacity(bytes)
                .shards(shards)
                .build();
            // It is only refused without a capacity.
            options.ok().map(|options| {
                let hasher = ahash::RandomState::new();
                Values::with_options(options, ByWeight, hasher, Quiet::default())
            })
        });
        let values = values.flatten();
        Memory {
            values,
            stripes: Stripes::default(),
        }
    }

    #[inline]
    pub(super) fn get(&self, key: &str) -> Option<Held<T>> {
        self.values.as_ref()?.get(key)
    }

    /// What it takes to put a value there that is read from now on.
    pub(super) fn ticket(&self, key: &str) -> Ticket {
        self.stripes.ticket(key)
    }

    /// Whether its key was not invalidated since.
    pub(super) fn is_valid(&self, ticket: Ticket) -> bool {
        self.stripes.if_valid(ticket, || {})
    }

    /// Puts a value, unless its ticket is void; whether it did.
    pub(super) fn put(&self, key: &str, held: Held<T>, ticket: Ticket) -> bool {
        let Some(values) = &self.values else {
            return false;
        };
        self.stripes
            .if_valid(ticket, || values.insert(key.into(), held))
    }

    /// Makes tickets of a key void and removes its value. The new ticket is for what
    /// was written just now.
    pub(super) fn invalidate(&self, key: &str) -> Ticket {
        self.stripes.void(key, || {
            if let Some(values) = &self.values {
                values.remove(key);
            }
        })
    }

    /// The same of several keys; their tickets.
    pub(super) fn invalidate_all(&self, keys: &[Box<str>]) -> Vec<Ticket> {
        for key in keys {
            self.invalidate(key);
        }
        // Keys may share a stripe: the tickets are those after the last of them.
        keys.iter().map(|key| self.ticket(key)).collect()
    }

    /// Puts what was written under tickets that were taken together, where nobody else
    /// touched a key since, and otherwise leaves nothing; tickets are void either way.
    pub(super) fn replace_all(&self, mut written: Vec<(Box<str>, Option<Held<T>>, Ticket)>) {
        written.sort_by_key(|(_, _, ticket)| ticket.stripe());
        let of_stripe =
            |one: &(_, _, Ticket), other: &(_, _, Ticket)| one.2.stripe() == other.2.stripe();
        for together in written.chunk_by_mut(of_stripe) {
            let Some((_, _, ticket)) = together.first() else {
                continue;
            };
            self.stripes.replace(*ticket, |alone| {
                let Some(values) = &self.values else { return };
                for (key, held, _) in together {
                    match held.take().filter(|_| alone) {
                        Some(held) => values.insert(std::mem::take(key), held),
                        None => drop(values.remove(&**key)),
                    }
                }
            });
        }
    }

    /// Whether it has this value of a key.
    pub(super) fn has(&self, key: &str, held: &Held<T>) -> bool {
        self.get(key).is_some_and(|it| it.is(held))
    }

    /// Removes a value, if it is this one.
    pub(super) fn remove(&self, key: &str, held: &Held<T>) {
        if let Some(values) = &self.values {
            values.remove_if(key, |it| it.is(held));
        }
    }

    /// Removes all values and makes all tickets void.
    pub(super) fn clear(&self) {
        self.stripes.void_all();
        if let Some(values) = &self.values {
            values.clear();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.values
            .as_ref()
            .map_or(0, quick_cache::sync::Cache::len)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.values
            .as_ref()
            .map_or(0, quick_cache::sync::Cache::weight)
    }
}

impl<T> Held<T> {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Held::Value(one), Held::Value(other)) => Arc::ptr_eq(one, other),
            (Held::Nothing(one), Held::Nothing(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}
