//! ACL: the users of the caller's keyspace, over [`crate::acl`].
//!
//! What changes users runs under the keyspace lock and says its effect as the
//! rules that the user has afterwards, with hashes for passwords; the rest needs
//! no lock. RESTTOKEN and GENTOKEN are Upstash's.

mod inspect;
mod manage;
mod secrets;

use super::object::help;
use super::spec::{CommandSpec, Flags, Outcome};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::session::Session;

const ANY_TIME: Flags = Flags::LOADING.and(Flags::STALE);
const PLAIN: Flags = Flags::NOSCRIPT.and(ANY_TIME);
const OPERATOR: Flags = Flags::ADMIN.and(PLAIN);

type Handler = fn(&Engine, &mut Session, &[&[u8]]) -> Outcome;

const fn entry(name: &'static str, arity: i32, handler: Handler, flags: Flags) -> CommandSpec {
    CommandSpec::unlocked(name, arity, handler)
        .flags(flags)
        .since("6.0.0")
        .free()
}

const SUBCOMMANDS: &[CommandSpec] = &[
    entry("cat", -2, inspect::cat, PLAIN),
    CommandSpec::new("deluser", -3, manage::deluser)
        .flags(OPERATOR)
        .since("6.0.0")
        .free(),
    entry("dryrun", -4, inspect::dryrun, OPERATOR)
        .since("7.0.0")
        .not_upstash(),
    entry("genpass", -2, secrets::genpass, PLAIN),
    entry("gentoken", -3, secrets::gentoken, PLAIN),
    entry("getuser", 3, inspect::getuser, OPERATOR),
    entry("help", 2, acl_help, ANY_TIME),
    entry("list", 2, inspect::list, OPERATOR),
    entry("load", 2, manage::load, OPERATOR),
    entry("log", -2, inspect::log, OPERATOR),
    entry("resttoken", 4, secrets::resttoken, PLAIN),
    entry("save", 2, manage::load, OPERATOR),
    CommandSpec::new("setuser", -3, manage::setuser)
        .flags(OPERATOR)
        .since("6.0.0")
        .free(),
    entry("users", 2, inspect::names, OPERATOR),
    entry("whoami", 2, inspect::whoami, PLAIN),
];

pub(super) const COMMANDS: &[CommandSpec] =
    &[CommandSpec::container("acl", SUBCOMMANDS).since("6.0.0")];

/// What a subcommand answers that has more arguments than it takes.
fn too_many(argv: &[&[u8]]) -> CommandError {
    let name = argv.get(1).copied().unwrap_or_default();
    let head: &[u8] = b"ERR unknown subcommand or wrong number of arguments for '";
    CommandError::Bytes([head, name, b"'. Try ACL HELP."].concat())
}

fn acl_help(_: &Engine, _: &mut Session, _: &[&[u8]]) -> Outcome {
    Ok(help(
        "ACL",
        &[
            "CAT [<category>]",
            "    The categories, or the commands of one.",
            "DELUSER <username> [<username> ...]",
            "    Delete users and end their connections.",
            "DRYRUN <username> <command> [<arg> ...]",
            "    Whether the user may run the command, which does not run.",
            "GENPASS [<bits>]",
            "    A random password of 256 bits, or of as many as are asked for.",
            "GENTOKEN <username> [<password>]",
            "    A token that SETUSER takes as a password and REST as a bearer token.",
            "GETUSER <username>",
            "    What is known of a user.",
            "LIST",
            "    The users with their rules.",
            "LOAD",
            "    Refused: users are kept with the data, in no file of their own.",
            "LOG [<count> | RESET]",
            "    What was refused lately.",
            "RESTTOKEN <username> <password>",
            "    A bearer token for REST that acts as this user.",
            "SAVE",
            "    Refused, as LOAD is.",
            "SETUSER <username> <rule> [<rule> ...]",
            "    Make a user or change its rules.",
            "USERS",
            "    The users' names.",
            "WHOAMI",
            "    The user of this connection.",
        ],
    ))
}

/// The keyspace's users, by way of the session.
fn users(session: &Session) -> Result<&crate::acl::Users, CommandError> {
    let keyspace = session.keyspace();
    keyspace
        .map(|keyspace| &*keyspace.users)
        .ok_or(CommandError::text("NOAUTH Authentication required."))
}
