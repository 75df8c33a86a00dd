//! Who gets in, as whom: tokens, passwords, and bearer tokens of users.

use sangam_engine::session::{Role, Session};
use sangam_engine::{Engine, Reply};

use super::{ask, connect, engine, log_in, rules_of, say};

const WRONG: &str = "-WRONGPASS invalid username-password pair or user is disabled.";

fn with_tokens() -> Engine {
    let (engine, _) = engine();
    engine.grant("full", "default", Role::Full);
    engine.grant("reader", "default", Role::ReadOnly);
    engine
}

/// A session as the gateway makes one for a bearer token.
fn bearer(engine: &Engine, token: &str) -> Option<Session> {
    let mut session = engine.rest_session();
    session.set_principal(Some(engine.authenticate(token.as_bytes())?));
    Some(session)
}

#[test]
fn nobody_can_lock_the_owner_out() {
    let engine = with_tokens();
    let mut admin = log_in(&engine, "default", "full");
    for line in [
        "ACL SETUSER default off",
        "ACL SETUSER default nocommands resetkeys resetchannels resetpass",
        "ACL SETUSER default reset",
        "ACL SETUSER default off -@all (+get ~x)",
    ] {
        assert_eq!(say(&engine, &mut admin, line), "+OK");
        assert_eq!(say(&engine, &mut admin, "SET k v"), "+OK");
        let mut again = connect(&engine);
        assert_eq!(say(&engine, &mut again, "AUTH full"), "+OK");
        assert_eq!(
            say(&engine, &mut again, "CONFIG GET timeout"),
            "{timeout=0}"
        );
        let mut web = bearer(&engine, "full").unwrap();
        assert_eq!(say(&engine, &mut web, "ACL WHOAMI"), "default");
        assert_eq!(say(&engine, &mut web, "SET k v"), "+OK");
    }
    say(
        &engine,
        &mut admin,
        "ACL SETUSER default reset on >second ~* +@all -flushall",
    );
    let mut limited = log_in(&engine, "default", "second");
    assert_eq!(say(&engine, &mut limited, "SET k v"), "+OK");
    assert!(say(&engine, &mut limited, "FLUSHALL").starts_with("-NOPERM"));
    let mut alone = connect(&engine);
    assert_eq!(say(&engine, &mut alone, "AUTH second"), "+OK");
    assert!(say(&engine, &mut alone, "FLUSHALL").starts_with("-NOPERM"));
}

#[test]
fn while_there_are_tokens_nopass_lets_nobody_in_as_default() {
    let engine = with_tokens();
    let mut stranger = connect(&engine);
    assert!(say(&engine, &mut stranger, "GET k").starts_with("-NOAUTH"));
    assert_eq!(say(&engine, &mut stranger, "AUTH default x"), WRONG);
    assert_eq!(say(&engine, &mut stranger, "AUTH x"), WRONG);
    let mut admin = log_in(&engine, "default", "full");
    assert_eq!(rules_of(&engine, &mut admin, "default"), "on ~* &* +@all");
    say(&engine, &mut admin, "ACL SETUSER default nopass");
    assert_eq!(say(&engine, &mut stranger, "AUTH default x"), WRONG);
    assert!(!say(&engine, &mut admin, "ACL GETUSER default").contains("nopass"));
    // A user of its own may be open.
    say(&engine, &mut admin, "ACL SETUSER guest on nopass +ping");
    assert_eq!(say(&engine, &mut stranger, "AUTH guest whatever"), "+OK");
    assert_eq!(say(&engine, &mut stranger, "PING"), "+PONG");
}

#[test]
fn tokens_are_named() {
    let engine = with_tokens();
    let mut session = connect(&engine);
    for (line, reply) in [
        ("AUTH default reader", WRONG),
        ("AUTH default_ro full", WRONG),
        ("AUTH nobody full", WRONG),
        ("AUTH default full", "+OK"),
        ("AUTH default_ro reader", "+OK"),
    ] {
        assert_eq!(say(&engine, &mut session, line), reply, "{line}");
    }
    assert!(say(&engine, &mut session, "CLIENT INFO").contains(" user=default_ro "));
    assert!(say(&engine, &mut session, "SET k v").starts_with("-NOPERM"));
}

#[test]
fn without_tokens_default_is_as_in_redis() {
    let (engine, _) = engine();
    let mut session = connect(&engine);
    assert_eq!(say(&engine, &mut session, "AUTH default anything"), "+OK");
    assert!(say(&engine, &mut session, "AUTH anything").starts_with(
        "-ERR AUTH <password> called without any password configured for the default user."
    ));
    assert_eq!(say(&engine, &mut session, "ACL SETUSER default >p"), "+OK");
    let mut late = connect(&engine);
    assert!(say(&engine, &mut late, "PING").starts_with("-NOAUTH"));
    assert_eq!(say(&engine, &mut late, "AUTH wrong"), WRONG);
    assert_eq!(say(&engine, &mut late, "AUTH p"), "+OK");
    assert_eq!(
        say(&engine, &mut late, "ACL SETUSER default nopass -get"),
        "+OK"
    );
    let mut open = connect(&engine);
    assert!(say(&engine, &mut open, "GET k").contains("'get' command"));
    say(&engine, &mut late, "ACL SETUSER default off");
    let mut closed = connect(&engine);
    assert!(say(&engine, &mut closed, "PING").starts_with("-NOAUTH"));
    // In the same process nobody is kept out.
    assert_eq!(say(&engine, &mut engine.session(), "GET k"), "nil");
}

#[test]
fn users_live_in_a_keyspace() {
    let engine = with_tokens();
    engine.grant("theirs", "other", Role::Full);
    let mut mine = log_in(&engine, "default", "full");
    let mut theirs = connect(&engine);
    assert_eq!(say(&engine, &mut theirs, "AUTH theirs"), "+OK");
    say(&engine, &mut mine, "ACL SETUSER alice on >one ~* +@all");
    say(&engine, &mut theirs, "ACL SETUSER alice on >two ~* +@all");
    say(&engine, &mut theirs, "ACL SETUSER open on nopass ~* +@all");
    assert_eq!(say(&engine, &mut mine, "ACL USERS"), "[alice, default]");
    assert_eq!(
        say(&engine, &mut theirs, "ACL USERS"),
        "[alice, default, open]"
    );
    say(&engine, &mut mine, "SET where mine");
    say(&engine, &mut theirs, "SET where theirs");
    for (password, keyspace) in [("one", "mine"), ("two", "theirs")] {
        let mut alice = log_in(&engine, "alice", password);
        assert_eq!(say(&engine, &mut alice, "GET where"), keyspace);
    }
    // Another keyspace's open user takes nobody in who did not come from there.
    let mut stranger = connect(&engine);
    assert_eq!(say(&engine, &mut stranger, "AUTH open x"), WRONG);
    assert_eq!(say(&engine, &mut theirs, "AUTH open x"), "+OK");
    // The nearest comes first.
    say(&engine, &mut mine, "ACL SETUSER alice >two");
    let mut theirs = connect(&engine);
    say(&engine, &mut theirs, "AUTH theirs");
    assert_eq!(say(&engine, &mut theirs, "AUTH alice two"), "+OK");
    assert_eq!(say(&engine, &mut theirs, "GET where"), "theirs");
}

#[test]
fn a_bearer_token_opens_what_the_password_opens() {
    let engine = with_tokens();
    let mut admin = log_in(&engine, "default", "full");
    say(
        &engine,
        &mut admin,
        "ACL SETUSER app on >secret ~app:* +@all -@dangerous",
    );
    let token = say(&engine, &mut admin, "ACL RESTTOKEN app secret");
    let mut web = bearer(&engine, &token).unwrap();
    assert_eq!(say(&engine, &mut web, "ACL WHOAMI"), "app");
    assert_eq!(say(&engine, &mut web, "SET app:1 v"), "+OK");
    assert!(say(&engine, &mut web, "SET x v").starts_with("-NOPERM"));
    // It stands for the password everywhere, and may be exchanged for itself.
    assert_eq!(
        say(&engine, &mut connect(&engine), &format!("AUTH app {token}")),
        "+OK"
    );
    assert_eq!(
        say(&engine, &mut connect(&engine), &format!("AUTH {token}")),
        "+OK"
    );
    assert_eq!(
        say(
            &engine,
            &mut connect(&engine),
            &format!("AUTH default {token}")
        ),
        WRONG
    );
    assert_eq!(
        say(&engine, &mut admin, &format!("ACL RESTTOKEN app {token}")),
        token
    );
    // Nobody gets one without the password.
    for line in ["ACL RESTTOKEN app wrong", "ACL RESTTOKEN nobody secret"] {
        assert_eq!(say(&engine, &mut admin, line), WRONG);
    }
    // The server's own tokens are bearer tokens already.
    assert_eq!(
        say(&engine, &mut admin, "ACL RESTTOKEN default full"),
        "full"
    );
    assert_eq!(
        say(&engine, &mut admin, "ACL RESTTOKEN default_ro reader"),
        "reader"
    );

    let revision = web.principal().unwrap().role.revision();
    for (line, opens) in [
        ("ACL SETUSER app off", false),
        ("ACL SETUSER app on", true),
        ("ACL SETUSER app <secret >other", false),
        ("ACL SETUSER app >secret", true),
        ("ACL DELUSER app", false),
        ("ACL SETUSER app on >secret", true),
    ] {
        say(&engine, &mut admin, line);
        assert_eq!(bearer(&engine, &token).is_some(), opens, "{line}");
    }
    assert_ne!(web.principal().unwrap().role.revision(), revision);
}

#[test]
fn a_made_token_is_a_password_and_a_bearer_token() {
    let engine = with_tokens();
    let mut admin = log_in(&engine, "default", "full");
    let made = say(&engine, &mut admin, "ACL GENTOKEN app");
    assert_ne!(made, say(&engine, &mut admin, "ACL GENTOKEN app"));
    assert!(
        bearer(&engine, &made).is_none(),
        "the user is not there yet"
    );
    ask(
        &engine,
        &mut admin,
        &[
            "ACL",
            "SETUSER",
            "app",
            "on",
            "+@all",
            "~*",
            &format!(">{made}"),
        ],
    );
    assert!(bearer(&engine, &made).is_some());
    assert_eq!(
        say(&engine, &mut connect(&engine), &format!("AUTH app {made}")),
        "+OK"
    );
    let wrapped = ask(
        &engine,
        &mut admin,
        &["ACL", "GENTOKEN", "two", "a-long-enough-secret"],
    );
    ask(
        &engine,
        &mut admin,
        &[
            "ACL",
            "SETUSER",
            "two",
            "on",
            "+@all",
            &format!(">{wrapped}"),
        ],
    );
    let mut two = connect(&engine);
    assert_eq!(
        ask(&engine, &mut two, &["AUTH", "two", "a-long-enough-secret"]),
        "+OK"
    );
    assert!(
        say(&engine, &mut admin, "ACL GENTOKEN two weak")
            .starts_with("-ERR the password is too weak")
    );
    let long = "xyz".repeat(3000);
    assert!(
        ask(&engine, &mut admin, &["ACL", "GENTOKEN", "two", &long]).starts_with("-ERR the token")
    );
}

#[test]
fn passwords_are_made_by_chance() {
    let engine = with_tokens();
    let mut admin = log_in(&engine, "default", "full");
    let one = say(&engine, &mut admin, "ACL GENPASS");
    assert_eq!(one.len(), 64);
    assert!(one.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_ne!(one, say(&engine, &mut admin, "ACL GENPASS"));
    assert_eq!(say(&engine, &mut admin, "ACL GENPASS 5").len(), 2);
    assert_eq!(say(&engine, &mut admin, "ACL GENPASS 4096").len(), 1024);
    for bits in ["0", "-1", "4097"] {
        assert!(say(&engine, &mut admin, &format!("ACL GENPASS {bits}")).contains("up to 4096"));
    }
}

#[test]
fn files_are_refused_or_done_already() {
    let engine = with_tokens();
    let mut admin = log_in(&engine, "default", "full");
    let mut web = bearer(&engine, "full").unwrap();
    for line in ["ACL LOAD", "ACL SAVE"] {
        assert!(
            say(&engine, &mut admin, line)
                .starts_with("-ERR This Redis instance is not configured to use an ACL file.")
        );
        assert_eq!(say(&engine, &mut web, line), "+OK");
    }
    let hello = super::run(
        &engine,
        &mut connect(&engine),
        &["HELLO", "3", "AUTH", "default", "full"],
    );
    assert!(matches!(hello, Reply::Map(_)));
}
