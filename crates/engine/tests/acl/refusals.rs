//! What is kept of refusals, and what is never shown.

use sangam_engine::session::Role;

use super::{connect, engine, log_in, say};

#[test]
fn alike_refusals_are_one_entry() {
    let (engine, clock) = engine();
    let mut admin = engine.session();
    say(&engine, &mut admin, "ACL SETUSER u on >p +@all -keys ~a &c");
    let mut user = log_in(&engine, "u", "p");
    for line in [
        "GET x",
        "GET x",
        "KEYS *",
        "PUBLISH y 1",
        "AUTH u bad",
        "auth nobody bad",
    ] {
        assert!(say(&engine, &mut user, line).starts_with('-'));
    }
    say(&engine, &mut user, "MULTI");
    say(&engine, &mut user, "GET x");
    say(&engine, &mut user, "DISCARD");
    say(&engine, &mut user, "EVAL return(redis.pcall('GET','x')) 0");
    clock.advance_millis(1500);
    let mut log = |argument: &str| {
        let log = say(&engine, &mut admin, &format!("ACL LOG {argument}"));
        let entries = log.split("{count=").skip(1);
        let entry = |text: &str| {
            let (head, client) = text.split_once(", client-info=").unwrap();
            assert!(
                client.starts_with("id=") && client.contains("addr=1.2.3.4:5"),
                "{client}"
            );
            head.to_owned()
        };
        entries.map(entry).collect::<Vec<_>>()
    };
    let entry = |count, reason, context, object, user| {
        format!(
            ":{count}, reason={reason}, context={context}, object={object}, username={user}, \
             age-seconds=1.5"
        )
    };
    assert_eq!(
        log("100"),
        [
            entry(1, "key", "lua", "x", "u"),
            entry(1, "key", "multi", "x", "u"),
            entry(1, "auth", "toplevel", "auth", "nobody"),
            entry(1, "auth", "toplevel", "AUTH", "u"),
            entry(1, "channel", "toplevel", "y", "u"),
            entry(1, "command", "toplevel", "keys", "u"),
            entry(2, "key", "toplevel", "x", "u"),
        ]
    );
    assert_eq!(log("2").len(), 2);
    assert_eq!(log("-1").len(), 0);
    // What comes again comes to the front; after a minute it is another entry.
    say(&engine, &mut user, "GET x");
    assert!(log("1")[0].starts_with(":3, reason=key, context=toplevel"));
    clock.advance_millis(60_001);
    say(&engine, &mut user, "GET x");
    assert!(log("1")[0].starts_with(":1, reason=key, context=toplevel"));
    assert_eq!(log("100").len(), 8);

    let stats = say(&engine, &mut admin, "INFO stats");
    for (name, count) in [("auth", 2), ("cmd", 1), ("key", 6), ("channel", 1)] {
        assert!(
            stats.contains(&format!("acl_access_denied_{name}:{count}\r\n")),
            "{stats}"
        );
    }
    say(&engine, &mut admin, "CONFIG RESETSTAT");
    assert!(say(&engine, &mut admin, "INFO stats").contains("acl_access_denied_key:0\r\n"));

    say(&engine, &mut admin, "CONFIG SET acllog-max-len 2");
    for key in ["1", "2", "3"] {
        say(&engine, &mut user, &format!("GET {key}"));
    }
    assert_eq!(
        say(&engine, &mut admin, "ACL LOG")
            .matches("count=")
            .count(),
        2
    );
    assert_eq!(say(&engine, &mut admin, "ACL LOG reset"), "+OK");
    assert_eq!(say(&engine, &mut admin, "ACL LOG"), "[]");
}

#[test]
fn a_reading_token_is_refused_by_name() {
    let (engine, _) = engine();
    engine.grant("full", "default", Role::Full);
    engine.grant("reader", "default", Role::ReadOnly);
    let mut reader = connect(&engine);
    say(&engine, &mut reader, "AUTH reader");
    assert!(say(&engine, &mut reader, "SET k v").starts_with("-NOPERM"));
    let log = say(&engine, &mut engine.session(), "ACL LOG");
    assert!(log.contains("object=set, username=default_ro"), "{log}");
}

#[test]
fn the_slow_log_shows_no_secrets() {
    let (engine, _) = engine();
    let mut admin = engine.session();
    say(&engine, &mut admin, "CONFIG SET slowlog-log-slower-than 0");
    say(&engine, &mut admin, "ACL SETUSER u on >secret +@all");
    say(&engine, &mut admin, "MULTI");
    say(&engine, &mut admin, "ACL SETUSER u >secret");
    say(&engine, &mut admin, "EXEC");
    log_in(&engine, "u", "secret");
    let log = say(&engine, &mut admin, "SLOWLOG GET");
    assert!(
        log.contains("[ACL, SETUSER, (redacted), (redacted)"),
        "{log}"
    );
    assert!(!log.contains("secret"), "{log}");
}
