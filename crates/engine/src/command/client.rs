//! CLIENT: what is known of the connections, and how to end one.
//!
//! A caller sees the connections of its own keyspace; those that have not
//! authenticated yet belong to the first one.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Ctx;
use super::args::{self, at, is, parse_i64};
use super::connection::{client_name, is_plain};
use super::object::help;
use super::spec::{Acl, CommandSpec, Flags, Outcome, command_by_id};
use super::{pause, tracking};
use crate::acl::users::READER;
use crate::engine::Engine;
use crate::error::CommandError;
use crate::reply::{Reply, Room};
use crate::session::{Client, Muted, Role, Session};

const ANY_TIME: Flags = Flags::LOADING.and(Flags::STALE);
const PLAIN: Flags = Flags::NOSCRIPT.and(ANY_TIME);
const OPERATOR: Flags = Flags::ADMIN.and(PLAIN);

type Handler = fn(&Engine, &mut Session, &[&[u8]]) -> Outcome;

const fn locked(
    name: &'static str,
    arity: i32,
    handler: fn(&mut Ctx<'_>, &[&[u8]]) -> Outcome,
) -> CommandSpec {
    CommandSpec::new(name, arity, handler)
        .flags(PLAIN)
        .acl(Acl::CONNECTION)
        .not_rest()
}

const fn entry(name: &'static str, arity: i32, handler: Handler, flags: Flags) -> CommandSpec {
    CommandSpec::unlocked(name, arity, handler)
        .flags(flags)
        .acl(Acl::CONNECTION)
        .not_rest()
}

const SUBCOMMANDS: &[CommandSpec] = &[
    entry("caching", 3, tracking::caching, PLAIN)
        .since("6.0.0")
        .not_upstash(),
    entry("getname", 2, getname, PLAIN).since("2.6.9"),
    entry("getredir", 2, tracking::getredir, PLAIN)
        .since("6.0.0")
        .not_upstash(),
    entry("help", 2, client_help, ANY_TIME)
        .since("5.0.0")
        .not_upstash(),
    entry("id", 2, id, PLAIN).since("5.0.0"),
    entry("info", 2, info, PLAIN).since("6.2.0"),
    entry("kill", -3, kill, OPERATOR)
        .since("2.4.0")
        .not_upstash(),
    entry("list", -2, list, OPERATOR).since("2.4.0"),
    entry("no-evict", 3, no_evict, OPERATOR)
        .since("7.0.0")
        .not_upstash(),
    entry("pause", -3, pause::pause, OPERATOR)
        .since("3.0.0")
        .not_upstash(),
    entry("reply", 3, reply, PLAIN).since("3.2.0").not_upstash(),
    CommandSpec::unlocked("setinfo", 4, setinfo)
        .flags(PLAIN)
        .acl(Acl::CONNECTION)
        .since("7.2.0"),
    entry("setname", 3, setname, PLAIN).since("2.6.9"),
    locked("tracking", -3, tracking::tracking)
        .since("6.0.0")
        .not_upstash(),
    locked("trackinginfo", 2, tracking::trackinginfo)
        .since("6.2.0")
        .not_upstash(),
    entry("unblock", -3, unblock, OPERATOR)
        .since("5.0.0")
        .not_upstash(),
    entry("unpause", 2, pause::unpause, OPERATOR)
        .since("6.2.0")
        .not_upstash(),
];

pub(super) const COMMANDS: &[CommandSpec] = &[CommandSpec::container("client", SUBCOMMANDS)
    .since("2.4.0")
    .not_rest()];

fn id(_: &Engine, session: &mut Session, _: &[&[u8]]) -> Outcome {
    Ok(Reply::Int(session.client.id as i64))
}

fn getname(_: &Engine, session: &mut Session, _: &[&[u8]]) -> Outcome {
    let name = session.client.name.lock();
    Ok(if name.is_empty() {
        Reply::Null
    } else {
        Reply::bulk(name.as_bytes())
    })
}

fn setname(_: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    *session.client.name.lock() = client_name(at(argv, 2)?)?;
    Ok(Reply::OK)
}

fn setinfo(_: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    let (option, value) = (at(argv, 2)?, at(argv, 3)?);
    let mut library = session.client.library.lock();
    let target = if is(option, "LIB-NAME") {
        &mut library.0
    } else if is(option, "LIB-VER") {
        &mut library.1
    } else {
        let text = [b"ERR Unrecognized option '", option, b"'"].concat();
        return Err(CommandError::Bytes(text));
    };
    if !is_plain(value) {
        let why: &[u8] = b" cannot contain spaces, newlines or special characters.";
        return Err(CommandError::Bytes([b"ERR ", option, why].concat()));
    }
    *target = String::from_utf8_lossy(value).into_owned();
    Ok(Reply::OK)
}

fn info(engine: &Engine, session: &mut Session, _: &[&[u8]]) -> Outcome {
    let mut text = String::new();
    describe(&session.client, engine.now_micros(), &mut text);
    Ok(Reply::Verbatim(*b"txt", text.into_bytes()))
}

fn list(engine: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    let clients = peers(engine, session);
    let now = engine.now_micros();
    let mut text = String::new();
    match argv {
        [_, _] => clients
            .iter()
            .for_each(|client| describe(client, now, &mut text)),
        [_, _, option, kind] if is(option, "TYPE") => {
            let kind = ClientKind::parse(kind)?;
            for client in clients.iter().filter(|client| kind.has(client)) {
                describe(client, now, &mut text);
            }
        }
        [_, _, option, ids @ ..] if is(option, "ID") && !ids.is_empty() => {
            let invalid = CommandError::text("ERR Invalid client ID");
            let ids: Option<Vec<i64>> = ids.iter().map(|id| parse_i64(id)).collect();
            let mut room = Room::new();
            for id in ids.ok_or(invalid)? {
                if let Some(client) = clients.iter().find(|client| client.id as i64 == id) {
                    let before = text.len();
                    describe(client, now, &mut text);
                    room.take(text.len() - before)?;
                }
            }
        }
        _ => return Err(CommandError::Syntax),
    }
    Ok(Reply::Verbatim(*b"txt", text.into_bytes()))
}

/// The connections of the caller's keyspace.
pub(super) fn peers(engine: &Engine, session: &Session) -> Vec<Arc<Client>> {
    let mine = session.keyspace().map_or(0, |keyspace| keyspace.id);
    let mut clients = engine.clients();
    clients.retain(|client| client.scope().map_or(0, |(keyspace, _)| keyspace) == mine);
    clients
}

fn role_of(client: &Client) -> Role {
    client.scope().map_or(Role::Full, |(_, role)| role)
}

/// Adds the client's line.
pub(super) fn describe(client: &Client, now_us: u64, text: &mut String) {
    let load = |number: &std::sync::atomic::AtomicUsize| number.load(Ordering::Relaxed);
    let seconds = |since: u64| now_us.saturating_sub(since) / 1_000_000;
    let in_multi = client.in_multi.load(Ordering::Relaxed) != 0;
    let tracking = &client.tracking;
    let marks = [
        (client.monitoring.load(Ordering::Relaxed), 'O'),
        (client.is_subscriber(), 'P'),
        (in_multi, 'x'),
        (client.is_blocked(), 'b'),
        (tracking.is_on(), 't'),
        (tracking.is_broken(), 'R'),
        (tracking.broadcasts(), 'B'),
        (client.spared.load(Ordering::Relaxed), 'e'),
    ];
    let mut flags: String = marks
        .into_iter()
        .filter_map(|(holds, mark)| holds.then_some(mark))
        .collect();
    if flags.is_empty() {
        flags.push('N');
    }
    let redirect = if tracking.is_on() {
        tracking.redirect() as i64
    } else {
        -1
    };
    let queued = if in_multi {
        load(&client.queued) as i64
    } else {
        -1
    };
    let command = load(&client.last_command)
        .checked_sub(1)
        .and_then(command_by_id);
    let (messages, bytes) = client.mailbox.waiting();
    let _ = write!(
        text,
        "id={} addr={} laddr={} fd=-1 name={} age={} idle={} flags={flags} db=0 sub={} psub={} \
         ssub=0 multi={queued} qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 \
         oll={messages} omem={bytes} tot-mem={bytes} events=r cmd={} user={} redir={redirect} resp={}",
        client.id,
        client.addr,
        client.local_addr,
        client.name.lock(),
        seconds(client.created_us),
        seconds(client.active_us.load(Ordering::Relaxed)),
        load(&client.channels),
        load(&client.patterns),
        command.map_or("NULL", |command| command.full_name.as_str()),
        String::from_utf8_lossy(role_of(client).user_name()),
        client.protocol.load(Ordering::Relaxed),
    );
    // Redis 7.0 has no libraries: its line stays as it is without them.
    let library = client.library.lock();
    if !library.0.is_empty() || !library.1.is_empty() {
        let _ = write!(text, " lib-name={} lib-ver={}", library.0, library.1);
    }
    text.push('\n');
}

/// Whether the caller's keyspace has this user, the reading token's among them.
fn is_user(session: &Session, name: &[u8]) -> bool {
    let users = session.keyspace().map(|keyspace| &keyspace.users);
    name == READER || users.is_some_and(|users| users.find(name).is_some())
}

/// Redis' classes of clients; nothing replicates, so two are always empty.
enum ClientKind {
    Normal,
    Subscriber,
    Replication,
}

impl ClientKind {
    fn parse(text: &[u8]) -> Result<Self, CommandError> {
        if is(text, "NORMAL") {
            Ok(ClientKind::Normal)
        } else if is(text, "PUBSUB") {
            Ok(ClientKind::Subscriber)
        } else if is(text, "MASTER") || is(text, "REPLICA") || is(text, "SLAVE") {
            Ok(ClientKind::Replication)
        } else {
            Err(CommandError::Bytes(
                [b"ERR Unknown client type '", text, b"'"].concat(),
            ))
        }
    }

    fn has(&self, client: &Client) -> bool {
        match self {
            ClientKind::Normal => !client.is_subscriber(),
            ClientKind::Subscriber => client.is_subscriber(),
            ClientKind::Replication => false,
        }
    }
}

/// Whom CLIENT KILL means: all that is given must hold.
#[derive(Default)]
struct Victims<'a> {
    id: Option<i64>,
    addr: Option<&'a [u8]>,
    local_addr: Option<&'a [u8]>,
    kind: Option<ClientKind>,
    user: Option<&'a [u8]>,
    spare_caller: bool,
}

impl<'a> Victims<'a> {
    fn parse(session: &Session, filters: &[&'a [u8]]) -> Result<Self, CommandError> {
        let mut victims = Victims {
            spare_caller: true,
            ..Victims::default()
        };
        let mut filters = filters.iter().copied();
        while let Some(name) = filters.next() {
            let value = filters.next().ok_or(CommandError::Syntax)?;
            if is(name, "ID") {
                let invalid = CommandError::text("ERR client-id should be greater than 0");
                victims.id = Some(parse_i64(value).filter(|id| *id > 0).ok_or(invalid)?);
            } else if is(name, "TYPE") {
                victims.kind = Some(ClientKind::parse(value)?);
            } else if is(name, "ADDR") {
                victims.addr = Some(value);
            } else if is(name, "LADDR") {
                victims.local_addr = Some(value);
            } else if is(name, "USER") {
                if !is_user(session, value) {
                    let text = [b"ERR No such user '", value, b"'"].concat();
                    return Err(CommandError::Bytes(text));
                }
                victims.user = Some(value);
            } else if is(name, "SKIPME") && is(value, "YES") {
                victims.spare_caller = true;
            } else if is(name, "SKIPME") && is(value, "NO") {
                victims.spare_caller = false;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(victims)
    }

    fn has(&self, client: &Client) -> bool {
        self.id.is_none_or(|id| client.id as i64 == id)
            && self.addr.is_none_or(|addr| client.addr.as_bytes() == addr)
            && self
                .local_addr
                .is_none_or(|addr| client.local_addr.as_bytes() == addr)
            && self.kind.as_ref().is_none_or(|kind| kind.has(client))
            && self
                .user
                .is_none_or(|user| role_of(client).user_name() == user)
    }
}

fn kill(engine: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    let filters = argv.get(2..).unwrap_or_default();
    let by_address = if let [addr] = filters {
        Some(*addr)
    } else {
        None
    };
    let victims = match by_address {
        Some(addr) => Victims {
            addr: Some(addr),
            ..Victims::default()
        },
        None => Victims::parse(session, filters)?,
    };
    let mut killed = 0;
    for client in peers(engine, session) {
        let is_caller = client.id == session.client.id;
        if !victims.has(&client) || (is_caller && victims.spare_caller) {
            continue;
        }
        killed += 1;
        if is_caller {
            session.closing = true;
        } else {
            client.mailbox.close();
        }
    }
    match (by_address, killed) {
        (Some(_), 0) => Err(CommandError::text("ERR No such client")),
        (Some(_), _) => Ok(Reply::OK),
        (None, killed) => Ok(Reply::Int(killed)),
    }
}

/// Ends the wait of a client for a key.
fn unblock(engine: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    let error = match argv.get(3..).unwrap_or_default() {
        [] => None,
        [how] if is(how, "TIMEOUT") => None,
        [how] if is(how, "ERROR") => Some(Reply::error(
            "UNBLOCKED client unblocked via CLIENT UNBLOCK",
        )),
        _ => {
            return Err(CommandError::text(
                "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR",
            ));
        }
    };
    let id = args::int(at(argv, 2)?)?;
    let client = peers(engine, session)
        .into_iter()
        .find(|client| client.id as i64 == id);
    let waiter = client.and_then(|client| client.waiter.lock().upgrade());
    let ended = waiter.is_some_and(|waiter| waiter.unblock(error));
    Ok(Reply::Int(i64::from(ended)))
}

/// Clients are never evicted, so both answers hold; CLIENT LIST shows which.
fn no_evict(_: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    let mode = at(argv, 2)?;
    if !is(mode, "ON") && !is(mode, "OFF") {
        return Err(CommandError::Syntax);
    }
    let spared = is(mode, "ON");
    session.client.spared.store(spared, Ordering::Relaxed);
    Ok(Reply::OK)
}

/// Whoever writes the replies asks [`Session::wants_reply`].
fn reply(_: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    let mode = at(argv, 2)?;
    if is(mode, "ON") {
        session.muted = Muted::No;
    } else if is(mode, "OFF") {
        session.muted = Muted::All;
    } else if !is(mode, "SKIP") {
        return Err(CommandError::Syntax);
    } else if session.muted != Muted::All {
        session.muted = Muted::Next;
    }
    Ok(Reply::OK)
}

fn client_help(_: &Engine, _: &mut Session, _: &[&[u8]]) -> Outcome {
    Ok(help(
        "CLIENT",
        &[
            "CACHING (YES|NO)",
            "    Whether what the next command reads is tracked, with OPTIN or OPTOUT.",
            "GETNAME",
            "    The name of this connection.",
            "GETREDIR",
            "    The id of the client that is told of changes in place of this one.",
            "ID",
            "    The id of this connection.",
            "INFO",
            "    What LIST shows of this connection.",
            "KILL <ip:port>",
            "    End the connection from this address.",
            "KILL <option> <value> [<option> <value> [...]]",
            "    End the connections that match: ID, ADDR, LADDR, TYPE, USER, SKIPME yes|no.",
            "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB) | ID <id> [<id> ...]]",
            "    The connections, one a line.",
            "NO-EVICT (ON|OFF)",
            "    Accepted; connections are never evicted.",
            "PAUSE <milliseconds> [WRITE|ALL]",
            "    Let commands, or those that write, wait for that time.",
            "REPLY (ON|OFF|SKIP)",
            "    Whether commands are answered; SKIP leaves out the next answer.",
            "SETINFO (LIB-NAME|LIB-VER) <text>",
            "    Say which client library this is.",
            "SETNAME <name>",
            "    Name this connection.",
            "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
            "         [OPTIN] [OPTOUT] [NOLOOP]",
            "    Be told when keys that were read change.",
            "TRACKINGINFO",
            "    How this connection tracks.",
            "UNBLOCK <client-id> [TIMEOUT|ERROR]",
            "    End a connection's wait, as if its time were over or with an error.",
            "UNPAUSE",
            "    End a pause.",
        ],
    ))
}
