//! Connections that end with what allowed them.

use sangam_engine::pubsub::Topic;

use super::{engine, log_in, say};

#[test]
fn a_deleted_user_is_out() {
    let (engine, _) = engine();
    let mut admin = engine.session();
    for user in ["u", "v"] {
        say(
            &engine,
            &mut admin,
            &format!("ACL SETUSER {user} on >p ~* &* +@all"),
        );
    }
    let (mut gone, mut stays) = (log_in(&engine, "u", "p"), log_in(&engine, "v", "p"));
    assert_eq!(say(&engine, &mut admin, "ACL DELUSER u nobody"), ":1");
    assert!(gone.client().mailbox.is_closed());
    assert!(!stays.client().mailbox.is_closed());
    // Nor does what it has sent already run.
    assert!(say(&engine, &mut gone, "SET k v").starts_with("-NOAUTH"));
    assert!(gone.is_closing());
    assert_eq!(say(&engine, &mut stays, "GET k"), "nil");
    // A new user of that name is another one.
    say(&engine, &mut admin, "ACL SETUSER u on >p ~* +@all");
    assert!(say(&engine, &mut gone, "SET k v").starts_with("-NOAUTH"));

    // One who deletes itself hears of it first.
    let mut own = log_in(&engine, "u", "p");
    assert_eq!(say(&engine, &mut own, "ACL DELUSER u"), ":1");
    assert!(own.is_closing() && !own.client().mailbox.is_closed());
}

#[test]
fn subscriptions_end_with_their_channels() {
    let (engine, _) = engine();
    let mut admin = engine.session();
    say(&engine, &mut admin, "ACL SETUSER u on >p &* +@all");
    let listen = |line: &str| {
        let mut session = log_in(&engine, "u", "p");
        assert!(say(&engine, &mut session, line).starts_with('['));
        session
    };
    let a = listen("SUBSCRIBE a");
    let b = listen("SUBSCRIBE b");
    let pattern = listen("PSUBSCRIBE a*");
    let idle = log_in(&engine, "u", "p");
    // One over HTTP, which is no listed client.
    let mut web = engine.rest_session();
    web.set_principal(a.principal().cloned());
    web.subscribe(Topic::Channel, b"b");
    let closed =
        || [&a, &b, &pattern, &idle, &web].map(|session| session.client().mailbox.is_closed());
    say(&engine, &mut admin, "ACL SETUSER u +get ~k");
    assert_eq!(closed(), [false; 5]);
    say(&engine, &mut admin, "ACL SETUSER u resetchannels &a");
    assert_eq!(closed(), [false, true, true, false, true]);
    // Words count: a wider pattern keeps what it covers, and only that.
    say(&engine, &mut admin, "ACL SETUSER u resetchannels &?");
    assert_eq!(closed(), [false, true, true, false, true]);
    say(&engine, &mut admin, "ACL SETUSER u resetchannels");
    assert_eq!(closed(), [true, true, true, false, true]);
}

#[test]
fn who_subscribes_while_the_right_goes_is_cut() {
    let (engine, _) = engine();
    let mut admin = engine.session();
    say(&engine, &mut admin, "ACL SETUSER u on >p &* +@all");
    let session = log_in(&engine, "u", "p");
    let mut web = engine.rest_session();
    web.set_principal(session.principal().cloned());
    // Allowed when it was asked, no longer when it is done.
    assert!(engine.refuse(&web, &[b"subscribe", b"a"]).is_none());
    say(&engine, &mut admin, "ACL SETUSER u resetchannels");
    assert!(engine.refuse(&web, &[b"subscribe", b"a"]).is_some());
    web.subscribe(Topic::Channel, b"a");
    assert!(web.client().mailbox.is_closed());
}

#[test]
fn clients_are_listed_and_killed_by_user() {
    let (engine, _) = engine();
    let mut admin = engine.session();
    say(&engine, &mut admin, "ACL SETUSER u on >p +@all");
    let user = log_in(&engine, "u", "p");
    let other = super::connect(&engine);
    let list = say(&engine, &mut admin, "CLIENT LIST");
    assert!(
        list.contains(" user=u ") && list.contains(" user=default "),
        "{list}"
    );
    assert_eq!(
        say(&engine, &mut admin, "CLIENT KILL USER x"),
        "-ERR No such user 'x'"
    );
    assert_eq!(say(&engine, &mut admin, "CLIENT KILL USER u"), ":1");
    assert!(user.client().mailbox.is_closed() && !other.client().mailbox.is_closed());
}
