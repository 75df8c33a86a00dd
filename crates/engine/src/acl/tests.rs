//! Rules as data: what is written can be read again, and says the same.

use std::borrow::Cow;

use proptest::prelude::*;

use super::User;
use super::catalog::{CATEGORIES, catalog};
use super::commands::Commands;
use super::log::{Context, Denial, Log, Reason};
use super::rules::{merge, quote, split};
use super::users::Users;
use crate::command::spec::{Acl, command_by_id, command_count};

fn with(user: &User, rules: &[Vec<u8>]) -> User {
    let rules: Vec<Cow<'_, [u8]>> = rules.iter().map(|rule| rule.as_slice().into()).collect();
    user.with_rules(b"name", &rules).unwrap()
}

#[test]
fn the_catalog_has_every_command_and_category() {
    let all = Acl::KEYSPACE.names().chain(Acl::READ.names());
    assert_eq!(all.collect::<Vec<_>>(), ["keyspace", "read"]);
    for (name, category) in CATEGORIES {
        assert_eq!(category.names().collect::<Vec<_>>(), [name]);
    }
    for command in (0..command_count()).filter_map(command_by_id) {
        let name = command.full_name.to_ascii_uppercase();
        assert_eq!(catalog().find(name.as_bytes()), Some(command.id));
    }
    assert!(catalog().find(b"cluster|info").is_some(), "as in Redis");
    let names: Vec<&str> = catalog().by_name().map(|(_, item)| &*item.name).collect();
    assert_eq!(names.len(), catalog().len());
    let config = names.iter().position(|name| *name == "config").unwrap();
    assert_eq!(names[config + 1], "config|get");
}

/// What Redis shows as `~*` is not always what `~*` makes.
#[test]
fn a_pattern_behind_one_for_all_keys_is_kept() {
    let user = user_of(&["%R~*", "%W~*", "%R~a"].map(|rule| rule.as_bytes().to_vec()));
    assert_eq!(with(&User::default(), &user.to_rules()), user);
}

#[test]
fn selectors_come_in_pieces() {
    let merged = |rules: &[&str]| {
        let rules: Vec<&[u8]> = rules.iter().map(|rule| rule.as_bytes()).collect();
        merge(&rules).map(|rules| {
            let rules = rules.iter();
            rules
                .map(|rule| String::from_utf8_lossy(rule).into_owned())
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(
        merged(&["a", "(b", "c", "d)", "e"]),
        Ok(vec!["a".into(), "(b c d)".into(), "e".into()])
    );
    assert_eq!(
        merged(&["(a)", "()", ")"]),
        Ok(vec!["(a)".into(), "()".into(), ")".into()])
    );
    assert_eq!(merged(&["a", "(", "b"]), Err(1));
    let words = |text: &str| {
        let words = split(text.as_bytes()).into_iter();
        words
            .map(|word| String::from_utf8_lossy(&word).into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(words("  a \t'b c' \"d\\x41\\n\" "), ["a", "b c", "dA\n"]);
    for unmatched in ["\"a", "a 'b", "\"a\"b", "a\"b"] {
        assert!(split(unmatched.as_bytes()).is_empty(), "{unmatched}");
    }
}

fn any_rule() -> impl Strategy<Value = Vec<u8>> {
    let items = catalog().len();
    let text = proptest::collection::vec(prop_oneof![Just(b'*'), 33..127u8, 128..=255u8], 0..6);
    let named = (0..items, any::<bool>()).prop_map(|(number, grants)| {
        let name = &catalog().get(number).unwrap().name;
        format!("{}{name}", if grants { "+" } else { "-" }).into_bytes()
    });
    let category = (0..CATEGORIES.len(), any::<bool>()).prop_map(|(at, grants)| {
        format!("{}@{}", if grants { "+" } else { "-" }, CATEGORIES[at].0).into_bytes()
    });
    let pattern = (0..4usize, text.clone()).prop_map(|(at, text)| {
        let sign: &[u8] = [&b"~"[..], b"%R~", b"%W~", b"&"][at];
        [sign, &text].concat()
    });
    let first = text.prop_map(|text| [b"+select|x", &text[..]].concat());
    let word = prop_oneof![
        Just("on"),
        Just("off"),
        Just("nopass"),
        Just(">one"),
        Just(">two"),
        Just("sanitize-payload"),
        Just("skip-sanitize-payload"),
        Just("resetkeys"),
        Just("allkeys"),
        Just("resetkeys"),
        Just("allchannels"),
        Just("resetchannels"),
        Just("+@all"),
        Just("-@all"),
    ]
    .prop_map(|word| word.as_bytes().to_vec());
    prop_oneof![3 => named, 3 => category, 3 => pattern, 1 => first, 2 => word]
}

/// Applies what can be applied.
fn user_of(rules: &[Vec<u8>]) -> User {
    rules.iter().fold(User::default(), |user, rule| {
        let rules = [Cow::Borrowed(rule.as_slice())];
        user.with_rules(b"name", &rules).unwrap_or(user)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The text of a user makes the user, of a new one and of any other that has
    /// said as much of its payloads.
    #[test]
    fn a_users_rules_make_it_again(
        root in proptest::collection::vec(any_rule(), 0..12),
        more in proptest::collection::vec(proptest::collection::vec(any_rule(), 0..5), 0..3),
        other in proptest::collection::vec(any_rule(), 0..8),
    ) {
        let mut rules = root;
        for selector in more {
            let mut rule = vec![b'('];
            for part in &selector {
                quote(part, &mut rule);
                rule.push(b' ');
            }
            rule.push(b')');
            rules.push(rule);
        }
        let user = user_of(&rules);
        prop_assert_eq!(&with(&User::default(), &user.to_rules()), &user);
        let said = |rule: &Vec<u8>| !rule.ends_with(b"payload");
        let other: Vec<Vec<u8>> = other.into_iter().filter(said).collect();
        prop_assert_eq!(&with(&user_of(&other), &user.to_rules()), &user);
    }

    #[test]
    fn the_text_of_commands_makes_them_again(rules in proptest::collection::vec(any_rule(), 0..40)) {
        let user = user_of(&rules);
        let commands = &user.root().commands;
        let again = with(&User::default(), &commands.rules());
        prop_assert_eq!(&again.root().commands, commands);
    }

    #[test]
    fn any_words_are_quoted(word in proptest::collection::vec(any::<u8>(), 0..20)) {
        let mut quoted = Vec::new();
        quote(&word, &mut quoted);
        prop_assert_eq!(split(&quoted), vec![word]);
    }
}

#[test]
fn what_comes_later_is_allowed_by_all_only() {
    let mut commands = Commands::default();
    commands.set_all();
    commands.change(0, false);
    assert!(commands.describe().starts_with(b"+@all -"));
    let mut all_of_them = Commands::default();
    for number in 0..catalog().len() {
        all_of_them.change(number, true);
    }
    assert!(all_of_them.describe().starts_with(b"-@all +@"));
}

#[test]
fn the_books_of_users_balance() {
    let users = Users::default();
    let user = |rule: &str| std::sync::Arc::new(user_of(&[rule.as_bytes().to_vec()]));
    let made = users.put(b"a", user("~long-pattern")).unwrap();
    let changed = users.put(b"a", user("~x")).unwrap();
    let (account, removed) = users.remove(b"a").unwrap();
    assert!(account.is_gone() && users.find(b"a").is_none());
    users.restore(b"a", removed);
    assert!(!account.is_gone());
    users.restore(b"a", changed);
    assert_eq!(*users.find(b"a").unwrap().user(), *user("~long-pattern"));
    users.restore(b"a", made);
    assert!(account.is_gone() && users.find(b"a").is_none());
    assert_eq!(users.all().len(), 1);
}

#[test]
fn the_log_is_bounded_in_entries_and_bytes() {
    let mut log = Log::default();
    let denial = |at: usize| Denial {
        reason: Reason::Key,
        context: Context::TopLevel,
        object: vec![at as u8; 1 << 20],
        username: vec![b'u'; 1 << 20],
    };
    for at in 0..20 {
        log.add(denial(at), String::new(), 0, 5);
    }
    let newest = log.newest(100);
    assert_eq!(newest.len(), 5);
    assert!(
        newest
            .iter()
            .all(|entry| entry.denial.object.len() < 1 << 16)
    );
    assert_eq!(newest[0].denial.object[0], 19);
    log.add(denial(17), String::new(), 60_000, 5);
    assert_eq!((log.newest(1)[0].count, log.newest(9).len()), (2, 5));
    log.add(denial(17), String::new(), 120_001, 5);
    assert_eq!(log.newest(1)[0].count, 1);
    log.add(denial(1), String::new(), 0, 0);
    assert!(log.newest(1).is_empty());
}
