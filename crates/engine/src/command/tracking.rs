//! CLIENT TRACKING and its relatives: a client that caches what it reads is told
//! when it changes. The table of who reads what is `keyspace/tracking`.

use std::sync::Arc;

use super::Ctx;
use super::args::{at, int, is};
use super::client::peers;
use super::spec::Outcome;
use crate::engine::Engine;
use crate::error::CommandError;
use crate::keyspace::{Manner, Mark};
use crate::reply::Reply;
use crate::session::Session;

/// Which reads count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// All.
    Every,
    /// Those after CLIENT CACHING YES.
    OptIn,
    /// All but those after CLIENT CACHING NO.
    OptOut,
}

/// A session that tracks.
#[derive(Debug)]
pub(crate) struct Tracks {
    mark: Arc<Mark>,
    broadcast: bool,
    no_loop: bool,
    choice: Choice,
    /// CLIENT CACHING was called for what comes next.
    caching: bool,
}

impl Tracks {
    /// Its number in the keyspace's table.
    pub(crate) fn number(&self) -> u64 {
        self.mark.number
    }

    /// Whether the keys of a reading command are to be remembered now.
    pub(crate) fn remembers(&self) -> bool {
        !self.broadcast
            && match self.choice {
                Choice::Every => true,
                Choice::OptIn => self.caching,
                Choice::OptOut => !self.caching,
            }
    }

    /// CLIENT CACHING holds for one command, or for one transaction.
    pub(crate) fn end_caching(&mut self) {
        self.caching = false;
    }
}

struct Options<'a> {
    redirect: Option<i64>,
    broadcast: bool,
    opt_in: bool,
    opt_out: bool,
    no_loop: bool,
    prefixes: Vec<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(ctx: &Ctx<'_>, words: &[&'a [u8]]) -> Result<(Self, Manner), CommandError> {
        let mut options = Options {
            redirect: None,
            broadcast: false,
            opt_in: false,
            opt_out: false,
            no_loop: false,
            prefixes: Vec::new(),
        };
        let mut manner = Manner::default();
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            let more = words.len() > 0;
            if is(word, "REDIRECT") && more {
                if options.redirect.is_some() {
                    return Err(CommandError::text(
                        "ERR A client can only redirect to a single other client",
                    ));
                }
                let id = int(words.next().unwrap_or_default())?;
                let target = peers(ctx.engine, ctx.session)
                    .into_iter()
                    .find(|client| client.id as i64 == id)
                    .ok_or(CommandError::text(
                        "ERR The client ID you want redirect to does not exist",
                    ))?;
                options.redirect = Some(id);
                manner.redirect = Some((target.id, Arc::downgrade(&target)));
            } else if is(word, "BCAST") {
                options.broadcast = true;
            } else if is(word, "OPTIN") {
                options.opt_in = true;
            } else if is(word, "OPTOUT") {
                options.opt_out = true;
            } else if is(word, "NOLOOP") {
                options.no_loop = true;
            } else if is(word, "PREFIX") && more {
                options.prefixes.extend(words.next());
            } else {
                return Err(CommandError::Syntax);
            }
        }
        manner.broadcast = options.broadcast;
        manner.no_loop = options.no_loop;
        Ok((options, manner))
    }

    /// Whether they go together, and with what the client does already.
    fn check(&self, ctx: &Ctx<'_>) -> Result<(), CommandError> {
        if !self.broadcast && !self.prefixes.is_empty() {
            return Err(CommandError::text(
                "ERR PREFIX option requires BCAST mode to be enabled",
            ));
        }
        let now = ctx.session.tracking.as_ref();
        if now.is_some_and(|now| now.broadcast != self.broadcast) {
            return Err(CommandError::text(
                "ERR You can't switch BCAST mode on/off before disabling tracking for this \
                 client, and then re-enabling it with a different mode.",
            ));
        }
        if self.broadcast && (self.opt_in || self.opt_out) {
            return Err(CommandError::text(
                "ERR OPTIN and OPTOUT are not compatible with BCAST",
            ));
        }
        if self.opt_in && self.opt_out {
            return Err(CommandError::text(
                "ERR You can't specify both OPTIN mode and OPTOUT mode",
            ));
        }
        let choice = now.map(|now| now.choice);
        if (self.opt_in && choice == Some(Choice::OptOut))
            || (self.opt_out && choice == Some(Choice::OptIn))
        {
            return Err(CommandError::text(
                "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this \
                 client, and then re-enabling it with a different mode.",
            ));
        }
        self.check_prefixes(ctx)
    }

    /// One change is told once: no prefix may lie within another.
    fn check_prefixes(&self, ctx: &Ctx<'_>) -> Result<(), CommandError> {
        let overlap = |one: &[u8], other: &[u8]| one.starts_with(other) || other.starts_with(one);
        let number = ctx.session.tracking.as_ref().map(Tracks::number);
        let tracking = ctx.db.tracking();
        let refusal = |one: &[u8], which: &[u8], other: &[u8]| {
            let parts: [&[u8]; 6] = [
                b"ERR Prefix '",
                one,
                b"' overlaps with ",
                which,
                other,
                b"'. Prefixes for a single client must not overlap.",
            ];
            CommandError::Bytes(parts.concat())
        };
        for (at, prefix) in self.prefixes.iter().enumerate() {
            let mut existing = tracking
                .zip(number)
                .into_iter()
                .flat_map(|(tracking, number)| tracking.prefixes_of(number));
            if let Some(other) = existing.find(|other| overlap(prefix, other)) {
                return Err(refusal(prefix, b"an existing prefix '", other));
            }
            let mut given = self.prefixes.iter().skip(at + 1);
            if let Some(other) = given.find(|other| overlap(prefix, other)) {
                return Err(refusal(prefix, b"another provided prefix '", other));
            }
        }
        Ok(())
    }
}

pub(super) fn tracking(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (options, manner) = Options::parse(ctx, argv.get(3..).unwrap_or_default())?;
    let mode = at(argv, 2)?;
    if is(mode, "OFF") {
        if let Some(tracks) = ctx.session.tracking.take()
            && let Some(tracking) = ctx.db.tracking_mut()
        {
            tracking.disable(&tracks.mark);
        }
        return Ok(Reply::OK);
    }
    if !is(mode, "ON") {
        return Err(CommandError::Syntax);
    }
    options.check(ctx)?;
    let old = ctx.session.tracking.take();
    let caching = old.is_some_and(|tracks| tracks.caching);
    let client = &ctx.session.client;
    let mark = ctx.session.mark.get_or_insert_with(|| Mark::new(client));
    let mark = mark.clone();
    let table = ctx.db.tracking_or_new();
    table.enable(&mark, manner, &options.prefixes);
    ctx.session.tracking = Some(Tracks {
        mark,
        broadcast: options.broadcast,
        no_loop: options.no_loop,
        choice: match (options.opt_in, options.opt_out) {
            (true, _) => Choice::OptIn,
            (_, true) => Choice::OptOut,
            _ => Choice::Every,
        },
        caching,
    });
    Ok(Reply::OK)
}

pub(super) fn caching(_: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    let Some(tracks) = &mut session.tracking else {
        return Err(CommandError::text(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with \
             OPTIN or OPTOUT mode enabled",
        ));
    };
    let mode = at(argv, 2)?;
    if is(mode, "YES") {
        if tracks.choice != Choice::OptIn {
            return Err(CommandError::text(
                "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
            ));
        }
    } else if is(mode, "NO") {
        if tracks.choice != Choice::OptOut {
            return Err(CommandError::text(
                "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
            ));
        }
    } else {
        return Err(CommandError::Syntax);
    }
    tracks.caching = true;
    Ok(Reply::OK)
}

pub(super) fn getredir(_: &Engine, session: &mut Session, _: &[&[u8]]) -> Outcome {
    Ok(Reply::Int(redirect(session)))
}

fn redirect(session: &Session) -> i64 {
    match session.tracking {
        Some(_) => session.client.tracking.redirect() as i64,
        None => -1,
    }
}

pub(super) fn trackinginfo(ctx: &mut Ctx<'_>, _: &[&[u8]]) -> Outcome {
    let mut flags = Vec::new();
    let mut prefixes = Vec::new();
    match &ctx.session.tracking {
        None => flags.push("off"),
        Some(tracks) => {
            flags.push("on");
            if tracks.broadcast {
                flags.push("bcast");
            }
            let (mode, word) = match tracks.choice {
                Choice::Every => ("", ""),
                Choice::OptIn => ("optin", "caching-yes"),
                Choice::OptOut => ("optout", "caching-no"),
            };
            flags.push(mode);
            flags.push(if tracks.caching { word } else { "" });
            if tracks.no_loop {
                flags.push("noloop");
            }
            if ctx.session.client.tracking.is_broken() {
                flags.push("broken_redirect");
            }
            if let Some(table) = ctx.db.tracking() {
                prefixes.extend(table.prefixes_of(tracks.number()).map(Reply::bulk));
            }
        }
    }
    flags.retain(|flag| !flag.is_empty());
    Ok(Reply::Map(vec![
        (
            Reply::bulk("flags"),
            Reply::Set(flags.into_iter().map(Reply::bulk).collect()),
        ),
        (Reply::bulk("redirect"), Reply::Int(redirect(ctx.session))),
        (Reply::bulk("prefixes"), Reply::Array(prefixes)),
    ]))
}
