//! Limits that were changed while the app runs: of one identifier, of a tier, of a
//! class; for all instances, until a moment.
//!
//! They are fields of one hash, `<prefix>limit-overrides`, which lives as long as the
//! longest of them may: `<class>/<tier>/<id>`, where tier and id may be empty, to
//! `1:<limit>:<burst>:<until>`. What cannot be read is passed over.
//!
//! Each process reads the hash when it checks, at most once a second, over Upstash,
//! where commands are billed, once in 30 s: one command. The first check waits for
//! it, later ones go on meanwhile. So a change holds in the process that made it at
//! once, elsewhere within that time and a round trip, and where nothing is checked
//! nothing is read. Setting costs two commands and a reading, removing one.
//!
//! Counts are not named after limits, so a changed limit holds in the middle of a
//! window; what was remembered of refusals is forgotten. Algorithm and window cannot
//! be changed, for they are what a count is.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use sangam_engine::Reply;
use sangam_store::{Commands, Dialect, Error, Store};
use tokio::sync::OnceCell;

use super::rule::{Algorithm, Rule, RuleError};
use crate::background::Background;

/// The longest time that one holds.
pub(super) const LONGEST: Duration = Duration::from_hours(366 * 24);
/// How many there can be.
pub(super) const MOST: usize = 10_000;
/// Those that are over and go with one change, once there are so many fields. (One
/// that another process sets anew in that moment would go too.)
const SWEPT: usize = 100;
const SWEPT_FROM: usize = 1_000;

/// Another limit for an identifier, a tier, or a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The class.
    pub class: String,
    /// The tier; none for all of the class.
    pub tier: Option<String>,
    /// The identifier as it is counted, as
    /// [`Subject::id`](super::Subject::id) has it; none for all. Where several hold,
    /// one for an identifier comes first, then one for a tier.
    pub id: Option<String>,
    /// How much in a window, at least one.
    pub limit: u64,
    /// How much at once, for buckets; where none is said it is the limit, or what the
    /// class says apart from its limit.
    pub burst: Option<u64>,
    /// Until when, in milliseconds since the epoch by the store's clock; at most 366
    /// days from now.
    pub until_ms: u64,
}

impl Override {
    fn field(class: &str, tier: Option<&str>, id: Option<&str>) -> String {
        let (tier, id) = (tier.unwrap_or_default(), id.unwrap_or_default());
        format!("{class}/{tier}/{id}")
    }

    fn encode(&self) -> String {
        let burst = self.burst.map(|it| it.to_string()).unwrap_or_default();
        format!("1:{}:{burst}:{}", self.limit, self.until_ms)
    }

    fn decode(field: &[u8], value: &[u8]) -> Option<Self> {
        let mut field = std::str::from_utf8(field).ok()?.splitn(3, '/');
        let class = field.next()?.to_owned();
        let mut part = || field.next().map(|it| Some(it).filter(|it| !it.is_empty()));
        let (tier, id) = (part()?, part()?);
        let mut value = std::str::from_utf8(value).ok()?.split(':');
        if value.next()? != "1" {
            return None;
        }
        let limit = value.next()?.parse().ok()?;
        let burst = match value.next()? {
            "" => None,
            burst => Some(burst.parse().ok()?),
        };
        let until_ms = value.next()?.parse().ok()?;
        Some(Override {
            class,
            tier: tier.map(str::to_owned),
            id: id.map(str::to_owned),
            limit,
            burst,
            until_ms,
        })
    }

    /// What it makes of a rule.
    pub(super) fn apply(&self, rule: Rule) -> Result<Rule, RuleError> {
        let is_bucket = matches!(rule.algorithm(), Algorithm::TokenBucket | Algorithm::Gcra);
        let own_burst = Some(rule.burst()).filter(|burst| *burst != rule.limit());
        let changed = Rule::new(rule.algorithm(), self.limit, rule.window())?;
        match self.burst.or(own_burst).filter(|_| is_bucket) {
            Some(burst) => changed.with_burst(burst),
            None => Ok(changed),
        }
    }
}

/// Those that are known.
#[derive(Debug, Default)]
struct Known {
    /// By class, then by identifier, which is empty for all.
    classes: HashMap<String, HashMap<String, Vec<Override>>>,
    /// How many fields the hash has.
    fields: usize,
    /// Some of its fields that are over.
    over: Vec<Vec<u8>>,
}

impl Known {
    fn new(fields: impl Iterator<Item = (Vec<u8>, Vec<u8>)>, now_ms: u64) -> Self {
        let mut known = Known::default();
        for (field, value) in fields.take(MOST) {
            known.fields += 1;
            let Some(it) = Override::decode(&field, &value) else {
                continue;
            };
            if it.until_ms <= now_ms {
                if known.over.len() < SWEPT {
                    known.over.push(field);
                }
                continue;
            }
            let class = known.classes.entry(it.class.clone()).or_default();
            let of_id = class.entry(it.id.clone().unwrap_or_default()).or_default();
            of_id.push(it);
            // Those of a tier come before those of all tiers.
            of_id.sort_by(|one, other| other.tier.cmp(&one.tier));
        }
        known
    }

    fn find(&self, class: &str, tier: &str, id: &str, now_ms: u64) -> Option<&Override> {
        let class = self.classes.get(class)?;
        [id, ""].into_iter().find_map(|id| {
            let mut all = class.get(id)?.iter();
            all.find(|it| {
                it.until_ms > now_ms && it.tier.as_deref().is_none_or(|name| name == tier)
            })
        })
    }

    fn has(&self, it: &Override) -> bool {
        let of_class = self.classes.get(&it.class);
        let of_id = of_class.and_then(|class| class.get(it.id.as_deref().unwrap_or_default()));
        of_id.is_some_and(|all| all.iter().any(|known| known.tier == it.tier))
    }
}

/// What one process knows of an app's overrides.
#[derive(Debug)]
pub(super) struct Overrides {
    shared: Arc<Shared>,
    background: Background,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    key: Vec<u8>,
    interval_us: u64,
    known: RwLock<(u64, Arc<Known>)>,
    /// Readings that were begun; an older one does not replace a newer one's find.
    begun: AtomicU64,
    /// Grows when what is known changes.
    version: AtomicU64,
    /// When it was read, by the store's clock.
    read_us: AtomicU64,
    reading: AtomicBool,
    first: OnceCell<()>,
}

impl Overrides {
    pub(super) fn new(store: Store, prefix: &str) -> Self {
        let billed = store.dialect() == Dialect::Upstash;
        let interval = Duration::from_secs(if billed { 30 } else { 1 });
        let shared = Shared {
            key: format!("{prefix}limit-overrides").into_bytes(),
            interval_us: interval.as_micros() as u64,
            store,
            known: RwLock::default(),
            begun: AtomicU64::new(0),
            version: AtomicU64::new(0),
            read_us: AtomicU64::new(0),
            reading: AtomicBool::new(false),
            first: OnceCell::new(),
        };
        Overrides {
            shared: Arc::new(shared),
            background: Background::default(),
        }
    }

    /// Sees to it that what is known is not too old, and answers its version.
    pub(super) async fn refresh(&self) -> u64 {
        let shared = &self.shared;
        if !shared.first.initialized() {
            let read = async {
                // Where it fails the classes' own limits hold until it can be read.
                let _ = shared.read().await;
            };
            shared.first.get_or_init(|| read).await;
        } else if shared.is_due() && !shared.reading.swap(true, Ordering::AcqRel) {
            let reading = Reading(shared.clone());
            let read = async move {
                let _ = reading.0.read().await;
            };
            self.background.start(read);
        }
        shared.version.load(Ordering::Acquire)
    }

    /// The rule that holds for an identifier of a tier.
    pub(super) fn rule(&self, class: &str, tier: &str, id: &str, rule: Rule) -> Rule {
        let known = self.shared.known();
        if known.classes.is_empty() {
            return rule;
        }
        let now_ms = self.shared.store.now() / 1000;
        let found = known.find(class, tier, id, now_ms);
        // One that does not fit the class as it is now holds nothing.
        found.and_then(|it| it.apply(rule).ok()).unwrap_or(rule)
    }

    /// Keeps one; whether there was room.
    pub(super) async fn set(&self, it: &Override) -> Result<bool, Error> {
        let shared = &self.shared;
        shared.read().await?;
        let known = shared.known();
        if !known.has(it) && known.fields.saturating_sub(known.over.len()) >= MOST {
            return Ok(false);
        }
        let field = Override::field(&it.class, it.tier.as_deref(), it.id.as_deref());
        let mut commands = Commands::new();
        let over = known.over.iter().map(Vec::as_slice);
        let over: Vec<&[u8]> = over.filter(|it| *it != field.as_bytes()).collect();
        if !over.is_empty() && known.fields >= SWEPT_FROM {
            let mut argv: Vec<&[u8]> = vec![b"HDEL", &shared.key];
            argv.extend(over);
            commands.push(&argv);
        }
        let value = it.encode();
        let seconds = (LONGEST.as_secs() + 60).to_string();
        commands
            .push(&[b"HSET", &shared.key, field.as_bytes(), value.as_bytes()])
            .push(&[b"EXPIRE", &shared.key, seconds.as_bytes()]);
        for outcome in shared.store.transaction(&commands).await? {
            outcome?;
        }
        shared.read().await?;
        Ok(true)
    }

    /// Removes one; whether there was one.
    pub(super) async fn clear(
        &self,
        class: &str,
        tier: Option<&str>,
        id: Option<&str>,
    ) -> Result<bool, Error> {
        let shared = &self.shared;
        let field = Override::field(class, tier, id);
        let reply = shared
            .store
            .call(&[b"HDEL", &shared.key, field.as_bytes()])
            .await?;
        shared.read().await?;
        Ok(reply == Reply::Int(1))
    }

    /// Those of a class that hold now, as the store has them.
    pub(super) async fn of_class(&self, class: &str) -> Result<Vec<Override>, Error> {
        self.shared.read().await?;
        let known = self.shared.known();
        let of_class = known.classes.get(class).into_iter();
        let mut all: Vec<Override> = of_class
            .flat_map(HashMap::values)
            .flatten()
            .cloned()
            .collect();
        all.sort_by(|one, other| (&one.tier, &one.id).cmp(&(&other.tier, &other.id)));
        Ok(all)
    }
}

impl Shared {
    fn known(&self) -> Arc<Known> {
        self.known.read().1.clone()
    }

    /// Whether it is time to read again; a clock that was set back makes it so too.
    fn is_due(&self) -> bool {
        let read_us = self.read_us.load(Ordering::Acquire);
        let age = self.store.now().checked_sub(read_us);
        age.is_none_or(|age| age >= self.interval_us)
    }

    async fn read(&self) -> Result<(), Error> {
        let now_us = self.store.now();
        self.read_us.store(now_us, Ordering::Release);
        let begun = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let reply = self.store.call(&[b"HGETALL", &self.key]).await?;
        let fields = pairs(reply).filter_map(|pair| match pair {
            (Reply::Bulk(field), Reply::Bulk(value)) => Some((field, value)),
            _ => None,
        });
        let known = Known::new(fields, now_us / 1000);
        let mut current = self.known.write();
        if current.0 < begun {
            if current.1.classes != known.classes {
                self.version.fetch_add(1, Ordering::AcqRel);
            }
            *current = (begun, Arc::new(known));
        }
        Ok(())
    }
}

/// Ends with the reading, however that ends.
struct Reading(Arc<Shared>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.reading.store(false, Ordering::Release);
    }
}

/// The fields of a hash, in whichever protocol's form.
fn pairs(reply: Reply) -> Box<dyn Iterator<Item = (Reply, Reply)> + Send> {
    match reply.unpacked() {
        Reply::Map(pairs) | Reply::Pairs(pairs) => Box::new(pairs.into_iter()),
        Reply::Array(items) => {
            let mut items = items.into_iter();
            Box::new(std::iter::from_fn(move || items.next().zip(items.next())))
        }
        _ => Box::new(std::iter::empty()),
    }
}
