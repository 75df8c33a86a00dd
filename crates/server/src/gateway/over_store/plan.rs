//! What is sent for a request, and what is made of the store's reply.
//!
//! Upstash takes forms that a Redis refuses, and knows some that an older Redis
//! does not: those are rewritten ([`forms`]), with as few commands as it takes.
//! Another store of Upstash's dialect is sent what the client sent, but for what is
//! about waiting and connections, which no store shares.
//!
//! | request | sent |
//! |---|---|
//! | SCAN … WITHTYPE | SCAN, then a TYPE for each key, in one pipeline |
//! | ZRANGE, ZRANGESTORE … LIMIT by rank | the ranks that are left; where these depend on the length, the whole range of ZRANGE, cut here |
//! | XADD, XTRIM with `~` | the exact form |
//! | XREAD, XREADGROUP … BLOCK | without BLOCK |
//! | COPY … DB 0 | without DB: the store's URL may name another database |
//! | FLUSHALL | FLUSHDB: the store's other databases are not the clients' |
//! | CONFIG GET | as it is; what opens the store is taken out of the answer |
//! | COPY of a key onto itself, UNLINK without keys, CLIENT SETINFO | nothing: answered here |
//! | EVAL, SCRIPT LOAD with `allow-key-locking` | without the flag ([`scripts`](super::scripts)) |

mod forms;

use std::borrow::Cow;
use std::sync::Arc;

use sangam_engine::Reply;
use sangam_store::{Argv, Commands as Batch, Dialect, Error, Store};

use super::scripts::{Known, Scripts, hex_sha1};
use super::shape;

/// What becomes of a request.
pub(super) enum Plan<'a> {
    /// It is answered without the store.
    Here(Reply),
    /// It goes to the store.
    Send(Request<'a>),
}

/// A command on its way to the store.
pub(super) struct Request<'a> {
    args: Vec<Cow<'a, [u8]>>,
    then: Then,
}

/// What is done with the reply.
enum Then {
    /// It is passed on.
    Plain,
    /// The types of the keys in it are asked for.
    Types,
    /// A part of it is passed on.
    Slice {
        offset: i64,
        limit: i64,
        with_scores: bool,
    },
    /// The script's text is sent where the store has lost it.
    ByName(Arc<Known>),
    /// The name that the caller knows takes its place.
    Loaded(String),
    /// Scripts are forgotten here too.
    Flushed,
    /// Passwords are taken out; also what Upstash does not have, where that is
    /// refused.
    Settings { strict: bool },
}

impl<'a> Plan<'a> {
    /// What goes to the store.
    pub(super) fn request(&self) -> Option<&Request<'a>> {
        match self {
            Plan::Here(_) => None,
            Plan::Send(request) => Some(request),
        }
    }
}

impl Request<'_> {
    /// Its arguments, the name first.
    pub(super) fn argv(&self) -> Argv<'_> {
        self.args.iter().map(|arg| &**arg).collect()
    }

    pub(super) fn name(&self) -> &[u8] {
        self.args.first().map_or(&[], |name| name)
    }
}

/// The plan for a command that was admitted.
pub(super) fn of<'a>(
    argv: &[&'a [u8]],
    dialect: Dialect,
    strict: bool,
    scripts: &Scripts,
) -> Plan<'a> {
    let plain = || send(argv.iter().copied(), Then::Plain);
    let Some(name) = argv.first() else {
        return plain();
    };
    let (emulates, strips) = (dialect != Dialect::Upstash, dialect == Dialect::Redis);
    let rewritten = match name.to_ascii_lowercase().as_slice() {
        b"xread" => forms::without_block(argv, 1),
        b"xreadgroup" => forms::without_block(argv, 4),
        b"client" => forms::set_info(argv),
        b"config" => forms::settings(argv, strict),
        // What it answers there.
        b"command" if strict => Some(Plan::Here(Reply::Array(Vec::new()))),
        _ if !emulates => None,
        b"scan" => forms::scan(argv),
        b"zrange" => forms::range(argv, 2),
        b"zrangestore" => forms::range(argv, 3),
        b"xadd" | b"xtrim" => forms::trim_exactly(argv),
        b"copy" => forms::copy(argv),
        b"unlink" if argv.len() == 1 => Some(Plan::Here(Reply::Int(0))),
        b"flushall" if strips => forms::flush(argv),
        b"eval" | b"eval_ro" if strips => eval(argv, scripts),
        b"evalsha" | b"evalsha_ro" if strips => evalsha(argv, scripts),
        b"script" if strips => script(argv, scripts),
        _ => None,
    };
    rewritten.unwrap_or_else(plain)
}

/// The same inside an atomic unit, where a script that the store has lost cannot
/// be sent again: its text goes at once.
pub(super) fn within_unit(plan: Plan<'_>) -> Plan<'_> {
    match plan {
        Plan::Send(Request {
            args,
            then: Then::ByName(known),
        }) => Plan::Send(Request {
            args: by_text(args.iter().map(|arg| Cow::Owned(arg.to_vec())), &known),
            then: Then::Plain,
        }),
        plan => plan,
    }
}

/// The refusal of a command that waits, among others that wait with it.
pub(super) fn waits(argv: &[&[u8]]) -> Reply {
    let name = argv.first().copied().unwrap_or_default();
    let name = String::from_utf8_lossy(name).to_ascii_uppercase();
    Reply::error(format!(
        "ERR {name} waits, and others would wait with it: send it as a request of its own"
    ))
}

/// Makes of the store's reply what the request asked for.
pub(super) async fn finish(
    request: &Request<'_>,
    outcome: Result<Reply, Error>,
    store: &Store,
    scripts: &Scripts,
) -> Result<Reply, Error> {
    match &request.then {
        Then::Plain => outcome.map(|reply| shape::of(request.name(), reply)),
        Then::Types => with_types(outcome?, store).await,
        Then::Slice {
            offset,
            limit,
            with_scores,
        } => {
            let reply = shape::of(request.name(), outcome?);
            Ok(shape::slice(reply, *offset, *limit, *with_scores))
        }
        Then::ByName(known) => match outcome {
            Err(error) if error.is_unknown_script() => {
                let again = Request {
                    args: by_text(request.args.iter().map(|arg| Cow::Borrowed(&**arg)), known),
                    then: Then::Plain,
                };
                store.call(&again.argv()).await
            }
            outcome => outcome,
        },
        Then::Loaded(sha1) => outcome.map(|_| Reply::bulk(sha1)),
        Then::Flushed => {
            scripts.clear();
            outcome
        }
        Then::Settings { strict } => Ok(shape::settings(outcome?, *strict)),
    }
}

fn send<'a>(args: impl IntoIterator<Item = &'a [u8]>, then: Then) -> Plan<'a> {
    Plan::Send(Request {
        args: args.into_iter().map(Cow::Borrowed).collect(),
        then,
    })
}

fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

async fn with_types(page: Reply, store: &Store) -> Result<Reply, Error> {
    let Reply::Array(parts) = page.unpacked() else {
        return Err(Error::Reply("a page of SCAN".to_owned()));
    };
    let mut parts = parts.into_iter();
    let (Some(cursor), Some(Reply::Array(keys))) = (parts.next(), parts.next()) else {
        return Err(Error::Reply("a page of SCAN".to_owned()));
    };
    let mut batch = Batch::new();
    for key in &keys {
        if let Reply::Bulk(key) = key {
            batch.push(&[b"TYPE", key]);
        }
    }
    let types: Result<Vec<Reply>, Error> = store.pipeline(&batch).await.into_iter().collect();
    Ok(shape::typed(cursor, keys, types?))
}

fn eval<'a>(argv: &[&'a [u8]], scripts: &Scripts) -> Option<Plan<'a>> {
    let [name, text, rest @ ..] = argv else {
        return None;
    };
    let known = scripts.learn(text)?;
    let rest = rest.iter().copied().map(Cow::Borrowed);
    let args = [Cow::Borrowed(*name), Cow::Owned(known.text.clone())];
    Some(Plan::Send(Request {
        args: args.into_iter().chain(rest).collect(),
        then: Then::Plain,
    }))
}

fn evalsha<'a>(argv: &[&'a [u8]], scripts: &Scripts) -> Option<Plan<'a>> {
    let [name, sha1, rest @ ..] = argv else {
        return None;
    };
    let known = scripts.find(sha1)?;
    let rest = rest.iter().copied().map(Cow::Borrowed);
    let args = [
        Cow::Borrowed(*name),
        Cow::Owned(known.sha1.clone().into_bytes()),
    ];
    Some(Plan::Send(Request {
        args: args.into_iter().chain(rest).collect(),
        then: Then::ByName(known),
    }))
}

/// EVALSHA's arguments as EVAL's.
fn by_text<'a>(args: impl Iterator<Item = Cow<'a, [u8]>>, known: &Known) -> Vec<Cow<'a, [u8]>> {
    let mut args: Vec<_> = args.collect();
    if let [name, script, ..] = args.as_mut_slice() {
        let read_only = is(name, "EVALSHA_RO");
        *name = Cow::Borrowed(if read_only { b"EVAL_RO" } else { b"EVAL" });
        *script = Cow::Owned(known.text.clone());
    }
    args
}

fn script<'a>(argv: &[&'a [u8]], scripts: &Scripts) -> Option<Plan<'a>> {
    let [name, word, rest @ ..] = argv else {
        return None;
    };
    if let [text] = rest
        && is(word, "LOAD")
    {
        let known = scripts.learn(text)?;
        let sent = Cow::Owned(known.text.clone());
        return Some(Plan::Send(Request {
            args: vec![Cow::Borrowed(*name), Cow::Borrowed(*word), sent],
            then: Then::Loaded(hex_sha1(text)),
        }));
    }
    if is(word, "EXISTS") {
        let there = rest.iter().map(|sha1| match scripts.find(sha1) {
            Some(known) => Cow::Owned(known.sha1.clone().into_bytes()),
            None => Cow::Borrowed(*sha1),
        });
        let head = [Cow::Borrowed(*name), Cow::Borrowed(*word)];
        return Some(Plan::Send(Request {
            args: head.into_iter().chain(there).collect(),
            then: Then::Plain,
        }));
    }
    is(word, "FLUSH").then(|| send(argv.iter().copied(), Then::Flushed))
}
