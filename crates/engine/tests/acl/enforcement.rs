//! What a user may and may not do, wherever a command comes from.

use super::{ask, connect, engine, log_in, rules_of, say};

const KEY: &str =
    "-NOPERM this user has no permissions to access one of the keys used as arguments";
const CHANNEL: &str =
    "-NOPERM this user has no permissions to access one of the channels used as arguments";

fn command(name: &str) -> String {
    format!("-NOPERM this user has no permissions to run the '{name}' command")
}

#[test]
fn keys_are_read_and_written_apart() {
    let (engine, _) = engine();
    let mut admin = engine.session();
    say(
        &engine,
        &mut admin,
        "ACL SETUSER u on >p ~rw:* %R~r:* %W~w:* +@all",
    );
    let mut user = log_in(&engine, "u", "p");
    for allowed in [
        "GET rw:1",
        "GET r:1",
        "SET w:1 v",
        "SET rw:1 v GET",
        "APPEND w:1 x",
        "COPY r:1 w:1",
        "EXISTS r:1 w:1",
        "HSET w:h f v",
        "HLEN w:h",
        "SUNIONSTORE w:s r:1 r:2",
        "ZUNIONSTORE w:z 2 r:1 r:2",
        "BITOP AND w:b r:1 r:2",
        "BITFIELD r:1 GET u8 0",
        "DEL w:1",
        "EXPIRE w:1 10",
        "MGET r:1 rw:1",
        "DBSIZE",
    ] {
        let reply = say(&engine, &mut user, allowed);
        assert!(!reply.starts_with("-NOPERM"), "{allowed}: {reply}");
    }
    for refused in [
        "GET w:1",
        "GET x",
        "SET r:1 v",
        "SET w:1 v GET",
        "SET w:1 v EX 10 get",
        "GETSET w:1 v",
        "GETDEL w:1",
        "INCR w:1",
        "COPY w:1 r:1",
        "COPY r:1 r:2",
        "RENAME w:1 w:2",
        "EXISTS r:1 x",
        "HGET w:h f",
        "HLEN x",
        "SMOVE w:s w:t m",
        "SUNIONSTORE w:s w:1",
        "SUNIONSTORE r:s r:1",
        "ZUNIONSTORE w:z 2 r:1 x",
        "BITFIELD r:1 GET u8 0 SET u8 0 1",
        "BITFIELD w:1 SET u8 0 1",
        "MGET r:1 w:1",
        "MSET w:1 v r:1 v",
        "DEL w:1 r:1",
        "OBJECT ENCODING x",
        "WATCH x",
        "EVAL x 1 w:1",
    ] {
        assert_eq!(say(&engine, &mut user, refused), KEY, "{refused}");
    }
    // What is no well-formed request names no keys: it is refused for that.
    assert_eq!(
        say(&engine, &mut user, "EVAL x y x"),
        "-ERR value is not an integer or out of range"
    );
}

#[test]
fn commands_subcommands_and_first_arguments() {
    let (engine, _) = engine();
    let mut admin = engine.session();
    say(
        &engine,
        &mut admin,
        "ACL SETUSER u on >p ~* +@all -@dangerous -config +config|get -select +select|0",
    );
    let mut user = log_in(&engine, "u", "p");
    for (line, refused) in [
        ("KEYS *", "keys"),
        ("CONFIG SET timeout 0", "config|set"),
        ("FLUSHALL", "flushall"),
        ("ACL LIST", "acl|list"),
        ("ACL SETUSER u +@all", "acl|setuser"),
        ("SELECT 1", "select"),
    ] {
        assert_eq!(say(&engine, &mut user, line), command(refused));
    }
    assert_eq!(say(&engine, &mut user, "SELECT 0"), "+OK");
    assert_eq!(say(&engine, &mut user, "CONFIG GET timeout"), "{timeout=0}");
    assert_eq!(say(&engine, &mut user, "ACL WHOAMI"), "u");
    // Names and numbers of arguments are looked at first, as in Redis.
    assert!(say(&engine, &mut user, "KEYS").starts_with("-ERR wrong number"));
    assert!(say(&engine, &mut user, "NOPE").starts_with("-ERR unknown command"));

    // Who may do nothing may still say who it is, and leave.
    say(&engine, &mut admin, "ACL SETUSER u -@all");
    assert_eq!(say(&engine, &mut user, "PING"), command("ping"));
    assert_eq!(say(&engine, &mut user, "AUTH u p"), "+OK");
    assert_eq!(say(&engine, &mut user, "RESET"), "+RESET");
    assert_eq!(say(&engine, &mut user, "ACL WHOAMI"), "default");
}

#[test]
fn one_selector_has_to_allow_all_of_it() {
    let (engine, _) = engine();
    let mut admin = engine.session();
    say(
        &engine,
        &mut admin,
        "ACL SETUSER u on >p +get ~a (+set ~b) (+mget %R~c)",
    );
    let mut user = log_in(&engine, "u", "p");
    for (line, reply) in [
        ("GET a", "nil"),
        ("SET b 1", "+OK"),
        ("MGET c c", "[nil, nil]"),
        ("GET b", KEY),
        ("SET a 1", KEY),
        ("MGET c a", KEY),
        ("DEL a", &command("del")),
    ] {
        assert_eq!(say(&engine, &mut user, line), reply, "{line}");
    }
}

#[test]
fn channels() {
    let (engine, _) = engine();
    let mut admin = engine.session();
    say(
        &engine,
        &mut admin,
        "ACL SETUSER u on >p +@all &news:* &exact",
    );
    let mut user = log_in(&engine, "u", "p");
    for (line, reply) in [
        ("PUBLISH news:1 x", ":0"),
        ("PUBLISH other x", CHANNEL),
        ("SUBSCRIBE exact other", CHANNEL),
        // A pattern has to be one of the user's own, word for word.
        ("PSUBSCRIBE news:1", CHANNEL),
        ("PSUBSCRIBE *", CHANNEL),
        ("PSUBSCRIBE news:*", "[[psubscribe, news:*, :1]]"),
        (
            "SUBSCRIBE exact news:7",
            "[[subscribe, exact, :2], [subscribe, news:7, :3]]",
        ),
        ("UNSUBSCRIBE other", "[[unsubscribe, other, :3]]"),
    ] {
        assert_eq!(say(&engine, &mut user, line), reply, "{line}");
    }
}

#[test]
fn transactions_are_asked_twice() {
    let (engine, _) = engine();
    let mut admin = engine.session();
    say(&engine, &mut admin, "ACL SETUSER u on >p +@all ~a &c");
    let mut user = log_in(&engine, "u", "p");
    say(&engine, &mut user, "MULTI");
    assert_eq!(say(&engine, &mut user, "GET x"), KEY);
    assert_eq!(
        say(&engine, &mut user, "EXEC"),
        "-EXECABORT Transaction discarded because of previous errors."
    );
    say(&engine, &mut user, "MULTI");
    for line in ["INCR a", "PUBLISH c x", "PING", "GET a"] {
        assert_eq!(say(&engine, &mut user, line), "+QUEUED");
    }
    say(
        &engine,
        &mut admin,
        "ACL SETUSER u -ping resetkeys %R~a resetchannels",
    );
    let head = "-NOPERM ACLs rules changed between the moment the transaction was accumulated \
                and the EXEC call. This command is no longer allowed for the following reason: ";
    assert_eq!(
        say(&engine, &mut user, "EXEC"),
        format!(
            "[{head}no permission to touch the specified keys, \
             {head}no permission to access one of the channels used as arguments, \
             {head}no permission to execute the command or subcommand, nil]"
        )
    );
    // A refused EXEC gives its transaction up.
    say(&engine, &mut user, "MULTI");
    say(&engine, &mut admin, "ACL SETUSER u -exec");
    assert!(say(&engine, &mut user, "EXEC").starts_with("-EXECABORT"));
    assert!(say(&engine, &mut user, "DISCARD").contains("without MULTI"));
}

#[test]
fn scripts_may_do_what_their_caller_may() {
    let (engine, _) = engine();
    let mut admin = engine.session();
    say(&engine, &mut admin, "ACL SETUSER u on >p +@all -keys ~a &c");
    let mut user = log_in(&engine, "u", "p");
    let mut eval = |body: &str| ask(&engine, &mut user, &["EVAL", body, "0"]);
    let head = "-ERR The user executing the script can't ";
    for (body, error) in [
        (
            "return redis.call('SET','x','1')",
            "access at least one of the keys mentioned in the command arguments",
        ),
        (
            "return redis.call('KEYS','x')",
            "run this command or subcommand",
        ),
        (
            "return redis.call('PUBLISH','x','1')",
            "publish to the channel mentioned in the command",
        ),
    ] {
        let reply = eval(body);
        assert!(
            reply.starts_with(&format!("{head}{error} script: ")),
            "{reply}"
        );
        let caught = eval(&body.replace("redis.call", "redis.pcall"));
        assert_eq!(caught, format!("{head}{error}"));
    }
    assert_eq!(eval("return redis.call('SET','a','1')"), "+OK");
    let check = "return {redis.acl_check_cmd('SET','a','1'), redis.acl_check_cmd('SET','x','1'), \
                 redis.acl_check_cmd('KEYS','*')}";
    assert_eq!(eval(check), "[:1, nil, nil]");
    assert!(eval("return redis.acl_check_cmd('NOPE')").contains("Invalid command passed"));
    // The script's session keeps nothing of its caller.
    let mut owner = engine.session();
    assert_eq!(
        ask(
            &engine,
            &mut owner,
            &["EVAL", "return redis.call('SET','x','1')", "0"]
        ),
        "+OK"
    );
}

#[test]
fn dry_runs_tell_without_running() {
    let (engine, _) = engine();
    let mut admin = engine.session();
    say(&engine, &mut admin, "ACL SETUSER u +@all -keys ~a &c");
    for (line, reply) in [
        ("u SET a 1", "+OK"),
        (
            "u SET x 1",
            "This user has no permissions to access the 'x' key",
        ),
        (
            "u PUBLISH x 1",
            "This user has no permissions to access the 'x' channel",
        ),
        (
            "u KEYS *",
            "This user has no permissions to run the 'keys' command",
        ),
        ("nobody GET a", "-ERR User 'nobody' not found"),
        ("u NOPE", "-ERR Command 'NOPE' not found"),
        ("u CONFIG NOPE", "-ERR Command 'CONFIG' not found"),
        ("u GET", "-ERR wrong number of arguments for 'get' command"),
        (
            "u CONFIG GET",
            "-ERR wrong number of arguments for 'config|get' command",
        ),
        (
            "u CONFIG",
            "-ERR wrong number of arguments for 'config' command",
        ),
    ] {
        assert_eq!(
            say(&engine, &mut admin, &format!("ACL DRYRUN {line}")),
            reply,
            "{line}"
        );
    }
    assert_eq!(say(&engine, &mut admin, "EXISTS a"), ":0");
}

#[test]
fn a_change_holds_for_open_connections() {
    let (engine, _) = engine();
    let mut admin = engine.session();
    say(&engine, &mut admin, "ACL SETUSER u on >p ~a +get");
    let mut user = log_in(&engine, "u", "p");
    assert_eq!(say(&engine, &mut user, "GET b"), KEY);
    say(&engine, &mut admin, "ACL SETUSER u ~b");
    assert_eq!(say(&engine, &mut user, "GET b"), "nil");
    // Who is inside stays when the door is locked.
    say(&engine, &mut admin, "ACL SETUSER u off resetpass");
    assert_eq!(say(&engine, &mut user, "GET b"), "nil");
    let mut other = connect(&engine);
    assert!(say(&engine, &mut other, "AUTH u p").starts_with("-WRONGPASS"));
    assert_eq!(
        rules_of(&engine, &mut admin, "u"),
        "off ~a ~b resetchannels -@all +get"
    );
}

#[test]
fn patterns_in_values_name_any_key() {
    let (engine, _) = engine();
    let mut admin = engine.session();
    say(&engine, &mut admin, "ACL SETUSER u on >p +@all ~k");
    let mut user = log_in(&engine, "u", "p");
    say(&engine, &mut user, "RPUSH k 1 2");
    let denied = |option: &str| {
        format!("-ERR {option} option of SORT denied due to insufficient ACL permissions.")
    };
    for (line, reply) in [
        ("SORT k", "[1, 2]"),
        ("SORT k BY nosort", "[1, 2]"),
        ("SORT k BY w_*", &denied("BY")),
        ("SORT k GET #", &denied("GET")),
        ("SORT_RO k GET k*", &denied("GET")),
        ("SORT k STORE x", KEY),
        ("SORT x", KEY),
    ] {
        assert_eq!(say(&engine, &mut user, line), reply, "{line}");
    }
    let script = "return redis.pcall('SORT','k','GET','w_*')";
    assert_eq!(
        ask(&engine, &mut user, &["EVAL", script, "0"]),
        denied("GET")
    );
    for (rules, allowed) in [
        ("%W~*", false),
        ("(~* +get)", false),
        ("%R~**", false),
        ("(~* +sort)", true),
        ("clearselectors %R~*", true),
        ("allkeys", true),
    ] {
        say(&engine, &mut admin, &format!("ACL SETUSER u {rules}"));
        let reply = say(&engine, &mut user, "SORT k BY w_*");
        assert_eq!(reply == "[1, 2]", allowed, "{rules}: {reply}");
    }
}
