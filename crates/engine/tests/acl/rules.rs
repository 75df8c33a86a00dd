//! What rules make of a user. The texts are redis-server 7.0.15's.

use super::{ask, engine, rules_of, run, say};
use sangam_engine::Reply;

const PASS: &str = "#148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940";

#[test]
fn rules_have_one_text() {
    let (engine, _) = engine();
    let mut admin = engine.session();
    for (rules, expected) in [
        ("", "off resetchannels -@all"),
        ("on", "on resetchannels -@all"),
        ("reset", "off sanitize-payload resetchannels -@all"),
        ("ON >p ~* &* +@all", &format!("on {PASS} ~* &* +@all")),
        ("nopass >p", &format!("off {PASS} resetchannels -@all")),
        (">p nopass", "off nopass resetchannels -@all"),
        (">p <p", "off resetchannels -@all"),
        (
            "skip-sanitize-payload on",
            "on skip-sanitize-payload resetchannels -@all",
        ),
        (
            "%R~a %W~b %RW~c %wr~d",
            "off %R~a %W~b ~c ~d resetchannels -@all",
        ),
        ("%R~a %W~a ~b ~b", "off ~a ~b resetchannels -@all"),
        ("%R", "off %R~ resetchannels -@all"),
        ("~a allkeys resetkeys ~b", "off ~b resetchannels -@all"),
        ("&a &b &a", "off resetchannels &a &b -@all"),
        ("+get +@read -get", "off resetchannels -@all +@read -get"),
        (
            "+@all -@write +set -config +config|get",
            "off resetchannels +@all -@write -config +config|get +set",
        ),
        ("+@all -config|set", "off resetchannels +@all -config|set"),
        (
            "+select|0 +select|1",
            "off resetchannels -@all +select|0 +select|1",
        ),
        ("+@all +select|0", "off resetchannels +@all"),
        (
            "+cluster|info +debug",
            "off resetchannels -@all +cluster|info +debug",
        ),
        (
            "~k (+get ~x) ( +set ~y ) ()",
            "off ~k resetchannels -@all (~x resetchannels -@all +get) \
             (~y resetchannels -@all +set) (resetchannels -@all)",
        ),
        ("(+get) clearselectors", "off resetchannels -@all"),
    ] {
        say(&engine, &mut admin, "ACL DELUSER u");
        let line = format!("ACL SETUSER u {rules}");
        assert_eq!(say(&engine, &mut admin, line.trim_end()), "+OK", "{rules}");
        assert_eq!(rules_of(&engine, &mut admin, "u"), expected, "{rules}");
    }
}

#[test]
fn a_wrong_rule_changes_nothing() {
    let (engine, _) = engine();
    let mut admin = engine.session();
    say(&engine, &mut admin, "ACL SETUSER u on ~a &a +get");
    let before = rules_of(&engine, &mut admin, "u");
    let unknown = "Unknown command or category name in ACL";
    for (rule, why) in [
        ("+nope", unknown),
        ("-nope", unknown),
        ("+@nope", unknown),
        ("+config|nope", unknown),
        ("-select|1", unknown),
        ("+", unknown),
        ("+get|", "Syntax error"),
        ("%", "Syntax error"),
        ("%~x", "Syntax error"),
        ("%RR~x", "Syntax error"),
        ("nonsense", "Syntax error"),
        (
            "+config|set|x",
            "Allowing first-arg of a subcommand is not supported",
        ),
        (
            "<p",
            "The password you are trying to remove from the user does not exist",
        ),
        (
            "#00",
            "The password hash must be exactly 64 characters and contain only lowercase \
             hexadecimal characters",
        ),
        ("(+nope)", unknown),
    ] {
        assert_eq!(
            ask(
                &engine,
                &mut admin,
                &["ACL", "SETUSER", "u", "off", ">p2", rule]
            ),
            format!("-ERR Error in ACL SETUSER modifier '{rule}': {why}")
        );
        assert_eq!(rules_of(&engine, &mut admin, "u"), before, "{rule}");
        ask(&engine, &mut admin, &["ACL", "SETUSER", "new", rule]);
        assert_eq!(rules_of(&engine, &mut admin, "new"), "");
    }
    let after = "is not valid and does not have any effect. Try";
    for line in ["ACL SETUSER u allkeys ~b", "ACL SETUSER u allchannels &b"] {
        assert!(say(&engine, &mut admin, line).contains(after), "{line}");
    }
    for (line, error) in [
        (
            "ACL SETUSER u on (+get ~x",
            "-ERR Unmatched parenthesis in acl selector starting at '(+get'.",
        ),
        (
            "ACL SETUSER default_ro on",
            "-ERR The 'default_ro' user is the read-only token's and cannot be changed",
        ),
        (
            "ACL DELUSER u default",
            "-ERR The 'default' user cannot be removed",
        ),
    ] {
        assert_eq!(say(&engine, &mut admin, line), error);
    }
    assert_eq!(
        ask(&engine, &mut admin, &["ACL", "SETUSER", "a b"]),
        "-ERR Usernames can't contain spaces or null characters"
    );
    assert_eq!(
        ask(&engine, &mut admin, &["ACL", "SETUSER", "u", "~a b"]),
        "-ERR Error in ACL SETUSER modifier '~a b': Syntax error"
    );
    assert_eq!(rules_of(&engine, &mut admin, "u"), before);
    assert_eq!(say(&engine, &mut admin, "ACL USERS"), "[default, u]");
}

#[test]
fn a_user_is_described_whole() {
    let (engine, _) = engine();
    let mut admin = engine.session();
    say(
        &engine,
        &mut admin,
        "ACL SETUSER u on >p ~k %R~r &c +get (~x +set)",
    );
    assert_eq!(
        say(&engine, &mut admin, "ACL GETUSER u"),
        format!(
            "{{flags=[on], passwords=[{}], commands=-@all +get, keys=~k %R~r, channels=&c, \
             selectors=[{{commands=-@all +set, keys=~x, channels=}}]}}",
            PASS.trim_start_matches('#')
        )
    );
    assert_eq!(say(&engine, &mut admin, "ACL GETUSER nobody"), "nil");
    assert_eq!(
        say(&engine, &mut admin, "ACL GETUSER default"),
        "{flags=[on, nopass], passwords=[], commands=+@all, keys=~*, channels=&*, selectors=[]}"
    );
}

#[test]
fn rules_are_bounded() {
    let (engine, _) = engine();
    let mut admin = engine.session();
    let setuser = |admin: &mut _, rules: &[String]| {
        let head = ["ACL", "SETUSER", "u"];
        let argv: Vec<&str> = head
            .into_iter()
            .chain(rules.iter().map(String::as_str))
            .collect();
        run(&engine, admin, &argv)
    };
    let keys = |count: usize| -> Vec<String> { (0..count).map(|at| format!("~{at}")).collect() };
    let is_refused = |reply: Reply| match reply {
        Reply::Error(text) => {
            assert!(text.len() < 1000, "an error is short");
            String::from_utf8_lossy(&text).ends_with("too many rules, or they are too long")
        }
        _ => false,
    };
    assert_eq!(setuser(&mut admin, &keys(10_000)), Reply::OK);
    let before = rules_of(&engine, &mut admin, "u");
    assert!(before.ends_with(" ~9999 resetchannels -@all"));
    assert!(is_refused(setuser(&mut admin, &keys(20_000))));
    for sign in ["~", "&", "+get|", "%R~"] {
        assert!(is_refused(setuser(
            &mut admin,
            &[sign.to_owned() + &"x".repeat(1 << 20)]
        )));
    }
    let selectors: Vec<String> = (0..300).map(|at| format!("(+@all ~{at})")).collect();
    assert!(is_refused(setuser(&mut admin, &selectors)));
    assert_eq!(rules_of(&engine, &mut admin, "u"), before);

    // All users together are bounded too, and deleting makes room.
    let long = "x".repeat(1_000_000);
    let make = |admin: &mut _, at: usize| {
        let rule = format!("~{long}");
        run(
            &engine,
            admin,
            &["ACL", "SETUSER", &format!("many:{at}"), &rule],
        )
    };
    let made = (0..100)
        .take_while(|at| make(&mut admin, *at) == Reply::OK)
        .count();
    assert!((60..70).contains(&made), "{made}");
    assert!(is_refused(make(&mut admin, 100)));
    say(&engine, &mut admin, "ACL DELUSER many:0");
    assert_eq!(make(&mut admin, 100), Reply::OK);
}

#[test]
fn a_pattern_cannot_explode() {
    let (engine, _) = engine();
    let mut admin = engine.session();
    let pattern = format!("~{}b", "*a".repeat(5_000));
    ask(
        &engine,
        &mut admin,
        &["ACL", "SETUSER", "u", "on", "nopass", "+get", &pattern],
    );
    let mut user = super::log_in(&engine, "u", "any");
    let key = "a".repeat(5_000);
    let begun = std::time::Instant::now();
    assert!(ask(&engine, &mut user, &["GET", &key]).starts_with("-NOPERM"));
    assert!(begun.elapsed().as_secs() < 20, "it is quadratic at most");
}

#[test]
fn categories_and_their_commands() {
    let (engine, _) = engine();
    let mut admin = engine.session();
    let all = say(&engine, &mut admin, "ACL CAT");
    assert!(all.starts_with("[keyspace, read, write, set, ") && all.ends_with("scripting]"));
    let hashes = say(&engine, &mut admin, "ACL CAT HASH");
    assert!(hashes.contains("hget") && !hashes.contains("zadd"));
    assert!(say(&engine, &mut admin, "ACL CAT admin").contains("config|set"));
    assert_eq!(
        say(&engine, &mut admin, "ACL CAT nope"),
        "-ERR Unknown category 'nope'"
    );
    assert_eq!(
        say(&engine, &mut admin, "ACL CAT a b"),
        "-ERR unknown subcommand or wrong number of arguments for 'CAT'. Try ACL HELP."
    );
}
