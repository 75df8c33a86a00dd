//! Settings from a `sangam.toml`: its table `[limits]`; other tables are not looked
//! at. What is wrong is told with its place and what is expected there, and nothing
//! of a wrong file is used.

mod value;

use std::time::Duration;

use toml::de::DeValue;

use self::value::{Fields, Reader, Value, listed};
use super::cidr::Networks;
use super::condition::{Condition, form};
use super::glob::Glob;
use super::list::List;
use super::{By, Class, ClassError, Classes, Compat, Settings, Tier};
use crate::limit::rule::{Algorithm, Rule, RuleError};
use crate::limit::terms::{Mode, Policy, Terms};

/// Tiers of one class: what one check takes.
const TIERS_MAX: usize = 16;
/// Patterns for user agents in one list: each is tried.
const PATTERNS_MAX: usize = 200;
/// Conditions of a class, and entries of each part of one.
const CONDITIONS_MAX: usize = 100;

/// The classes that are built in.
const BUILTIN: &str = include_str!("../builtin.toml");

impl Settings {
    /// Reads the table `[limits]` of a `sangam.toml`; without one, what is built in
    /// holds.
    pub fn parse(text: &str) -> Result<Self, ClassError> {
        Ok(Settings::in_text(text)?.unwrap_or_default())
    }

    /// The same, `None` without the table.
    pub(crate) fn in_text(text: &str) -> Result<Option<Self>, ClassError> {
        read(text, Classes::builtin)
    }
}

impl Default for Settings {
    /// The classes that are built in.
    fn default() -> Self {
        Settings::new(Classes::builtin())
    }
}

impl Classes {
    /// Reads the classes of a `sangam.toml`, those that are built in behind them.
    pub fn parse(text: &str) -> Result<Self, ClassError> {
        Settings::parse(text).map(|it| it.classes.as_ref().clone())
    }

    /// The classes that are built in: auth, payment, token, streaming, upload,
    /// analytics, api, public, livekit-token and matching.
    pub fn builtin() -> Self {
        // A test reads them one by one; there is nobody to tell of an error here.
        let read = read(BUILTIN, Classes::default).ok().flatten();
        read.map_or_else(Classes::default, |it| it.classes.as_ref().clone())
    }
}

/// The table `[limits]`, with the classes that are built in behind its own.
fn read(text: &str, builtin: fn() -> Classes) -> Result<Option<Settings>, ClassError> {
    let reader = Reader { text };
    let document = reader.document()?;
    let mut settings = Settings::new(Classes::default());
    let mut classes = Classes::default();
    let mut keep_builtin = true;
    let mut tables = document.get_ref().iter();
    let Some((_, limits)) = tables.find(|(key, _)| key.get_ref() == "limits") else {
        return Ok(None);
    };
    for (key, value) in reader.value(limits).table("a table, [limits]")? {
        match key.name {
            "trusted-proxies" => {
                settings.trusted_proxies = networks(&value)?;
            }
            "legacy-headers" => settings.legacy_headers = value.boolean()?,
            "builtin" => keep_builtin = value.boolean()?,
            "statistics" => settings.statistics = retention(&value)?,
            "near" => settings.near = value.number(1, 100)? as u8,
            "classes" => {
                for (name, value) in value.table("a table of classes, [limits.classes.<name>]")? {
                    let name = name.checked_name("a class's name")?;
                    classes.insert(class(name, &value)?);
                }
            }
            _ => {
                let known = "trusted-proxies, legacy-headers, near, statistics, builtin and \
                                 classes";
                return Err(key.unknown(known));
            }
        }
    }
    if keep_builtin {
        for class in builtin().iter() {
            if classes.get(&class.name).is_none() {
                classes.insert(class.as_ref().clone());
            }
        }
    }
    settings.classes = classes.into();
    Ok(Some(settings))
}

/// How long statistics are kept.
fn retention(value: &Value<'_, '_>) -> Result<Option<Duration>, ClassError> {
    let what = "a time from \"1h\" to \"366d\", or \"off\"";
    if value.text(what)? == "off" {
        return Ok(None);
    }
    let time = value.duration()?;
    if (Duration::from_hours(1)..=Duration::from_hours(366 * 24)).contains(&time) {
        Ok(Some(time))
    } else {
        Err(value.error(format!("{what} is expected")))
    }
}

fn class(name: &str, value: &Value<'_, '_>) -> Result<Class, ClassError> {
    let mut class = Class::new(name, Vec::new());
    let mut terms = Terms::default();
    let mut compat = None;
    let mut rules = None;
    for (key, value) in value.table("a table, [limits.classes.<name>]")? {
        match key.name {
            "policy" => {
                let names = Policy::ALL.map(Policy::as_str);
                terms.policy = value.one_of(&names, Policy::named)?;
            }
            "mode" => terms.mode = value.one_of(&Mode::ALL.map(Mode::as_str), Mode::named)?,
            "shadow" => class.shadow = value.boolean()?,
            "when" => {
                let items = value.items("a list of conditions", CONDITIONS_MAX)?;
                class.when = items.map(|it| condition(&it)).collect::<Result<_, _>>()?;
            }
            "allow" => class.allow = list(&value)?,
            "deny" => class.deny = list(&value)?,
            "compat" => {
                class.compat = Some(shared(&value)?);
                compat = Some(value);
            }
            "rules" => {
                let items = value.items("rules, [[limits.classes.<name>.rules]]", TIERS_MAX)?;
                for item in items {
                    let tier = tier(&item, &class.tiers)?;
                    class.tiers.push(tier);
                }
                rules = Some(value);
            }
            _ => {
                let known = "policy, mode, shadow, when, allow, deny, compat and rules";
                return Err(key.unknown(known));
            }
        }
    }
    class.terms = terms;
    if class.tiers.is_empty() {
        let place = rules.as_ref().unwrap_or(value);
        return Err(place.error(format!(
            "class {name:?} needs at least one rule: [[limits.classes.{name}.rules]]"
        )));
    }
    let permits = |tier: &&Tier| tier.rule.algorithm() == Algorithm::Concurrency;
    let held = class.tiers.iter().filter(permits).count();
    if held > 0 && held < class.tiers.len() {
        let place = rules.as_ref().unwrap_or(value);
        return Err(place.error(
            "rules that count what runs at one time (concurrency) are in a class of their own",
        ));
    }
    if let Some(place) = compat {
        check_compat(&class).map_err(|reason| place.error(reason))?;
    }
    Ok(class)
}

/// `"upstash"`, or `{ upstash = "<prefix>" }`.
fn shared(value: &Value<'_, '_>) -> Result<Compat, ClassError> {
    const EXPECTED: &str = "\"upstash\" or { upstash = \"<prefix>\" }";
    let mut prefix = Compat::UPSTASH_PREFIX;
    if value.is_table() {
        let mut fields = Fields::of(value, EXPECTED)?;
        let given = fields.take("upstash");
        fields.none_left("upstash")?;
        prefix = match given {
            Some(given) => given.text("the prefix of the package's limiter")?,
            None => return Err(value.error(format!("{EXPECTED} is expected"))),
        };
    } else if value.text(EXPECTED)? != "upstash" {
        return Err(value.error(format!("{EXPECTED} is expected")));
    }
    Ok(Compat::Upstash {
        prefix: prefix.to_owned(),
    })
}

/// What `@upstash/ratelimit` has no form for.
fn check_compat(class: &Class) -> Result<(), &'static str> {
    let [tier] = class.tiers.as_slice() else {
        return Err("`compat` is possible for a class of one rule only");
    };
    if class.terms.mode == Mode::Leased {
        return Err("`compat` is possible in the mode \"exact\" only");
    }
    match tier.rule.algorithm() {
        Algorithm::FixedWindow | Algorithm::SlidingWindow | Algorithm::TokenBucket => Ok(()),
        _ => Err("`compat` is possible with fixed-window, sliding-window and token-bucket only"),
    }
}

fn condition(value: &Value<'_, '_>) -> Result<Condition, ClassError> {
    let mut condition = Condition::default();
    for (key, value) in
        value.table("a condition, { method = [...], path = [...], header = {...} }")?
    {
        match key.name {
            "method" => {
                for item in value.items("a list of methods", CONDITIONS_MAX)? {
                    let method = item.text("a method, such as \"POST\"")?;
                    let is_plain = |byte: u8| byte.is_ascii_alphabetic() || byte == b'-';
                    if method.is_empty() || !method.bytes().all(is_plain) {
                        return Err(item.error("a method, such as \"POST\", is expected"));
                    }
                    condition.methods.push(method.to_ascii_uppercase());
                }
            }
            "path" => {
                for item in value.items("a list of paths", CONDITIONS_MAX)? {
                    let path = item.text("a path, such as \"/auth/*\"")?;
                    if !path.starts_with(['/', '*']) {
                        return Err(item.error("a path begins with / or *"));
                    }
                    let formed = form(path);
                    if formed != path {
                        return Err(item.error(format!(
                            "no path is compared in this form: write {formed:?}"
                        )));
                    }
                    let glob = Glob::path(path).map_err(|error| item.error(error))?;
                    condition.paths.push(glob);
                }
            }
            "header" => {
                for (name, value) in value.table("headers, { x-plan = \"free\" }")? {
                    let is_token = |byte: u8| {
                        byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
                    };
                    if name.name.is_empty() || !name.name.bytes().all(is_token) {
                        return Err(name.error("the name of a header is expected"));
                    }
                    let glob = Glob::text(value.text("a header's value, `*` for anything")?);
                    let glob = glob.map_err(|error| value.error(error))?;
                    condition
                        .headers
                        .push((name.name.to_ascii_lowercase(), glob));
                }
            }
            _ => return Err(key.unknown("method, path and header")),
        }
    }
    Ok(condition)
}

fn list(value: &Value<'_, '_>) -> Result<List, ClassError> {
    let mut list = List::default();
    for (key, value) in
        value.table("a list, { users = [...], addresses = [...], user-agents = [...] }")?
    {
        match key.name {
            "users" => {
                for item in value.items("a list of users", usize::MAX)? {
                    let user = item.text("a user's id")?;
                    if user.is_empty() {
                        return Err(item.error("a user's id is not empty"));
                    }
                    list.add_user(user);
                }
            }
            "addresses" => list.set_addresses(networks(&value)?),
            "user-agents" => {
                let mut patterns = 0;
                for item in value.items("a list of user agents", usize::MAX)? {
                    let agent = item.text("a user agent, such as \"uptime*\"")?;
                    patterns += usize::from(agent.contains('*'));
                    if patterns > PATTERNS_MAX {
                        return Err(item.error(format!(
                            "a list has at most {PATTERNS_MAX} user agents with a `*`"
                        )));
                    }
                    list.add_agent(agent).map_err(|error| item.error(error))?;
                }
            }
            _ => return Err(key.unknown("users, addresses and user-agents")),
        }
    }
    Ok(list)
}

fn networks(value: &Value<'_, '_>) -> Result<Networks, ClassError> {
    let items = value.items("a list of networks", usize::MAX)?;
    let network = |item: Value<'_, '_>| {
        let text = item.text("a network, such as \"10.0.0.0/8\"")?;
        text.parse()
            .map_err(|error: super::CidrError| item.error(error))
    };
    items.map(network).collect()
}

fn tier(value: &Value<'_, '_>, others: &[Tier]) -> Result<Tier, ClassError> {
    let mut fields = Fields::of(
        value,
        "a rule, { by = ..., algorithm = ..., limit = ..., window = ... }",
    )?;
    let name = fields.take("name");
    let by = fields.take("by");
    let algorithm = fields.take("algorithm");
    let limit = fields.take("limit");
    let window = fields.take("window");
    let burst = fields.take("burst");
    let shadow = fields.take("shadow");
    fields.none_left("name, by, algorithm, limit, window, burst and shadow")?;

    let by = match by {
        Some(by) => by.one_of(&By::ALL.map(By::as_str), By::named)?,
        None => return Err(value.error("a rule needs `by`: user, address or all")),
    };
    let place = name.as_ref().unwrap_or(value);
    let name = match &name {
        Some(name) => name.name_text("a rule's name")?,
        None => by.as_str(),
    };
    if others.iter().any(|it| it.name == name) {
        return Err(place.error(format!(
            "the class has a rule named {name:?} already: give this one a `name` of its own"
        )));
    }
    let names = Algorithm::ALL.map(Algorithm::as_str);
    let algorithm = algorithm
        .ok_or_else(|| value.error(format!("a rule needs an `algorithm`: {}", listed(&names))))?
        .one_of(&names, Algorithm::named)?;
    let limit_at = limit.ok_or_else(|| value.error("a rule needs a `limit`"))?;
    let window_at = window.ok_or_else(|| value.error("a rule needs a `window`, such as \"1m\""))?;
    let limit = limit_at.number(1, u64::MAX)?;
    let rule = Rule::new(algorithm, limit, window_at.duration()?).map_err(|error| match error {
        RuleError::Window(_) => window_at.error(error),
        RuleError::Zero(_) | RuleError::TooLarge { .. } => limit_at.error(error),
    })?;
    let rule = match burst {
        None => rule,
        Some(at) if matches!(algorithm, Algorithm::TokenBucket | Algorithm::Gcra) => rule
            .with_burst(at.number(1, u64::MAX)?)
            .map_err(|error| at.error(error))?,
        Some(at) => return Err(at.error("only token-bucket and gcra have a `burst`")),
    };
    Ok(Tier {
        name: name.to_owned(),
        by,
        rule,
        shadow: shadow.map_or(Ok(false), |it| it.boolean())?,
    })
}

/// What a value is, for people.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
