//! The fields are lists that a parser of Structured Fields reads, say what the rules
//! say, and are true.

use std::net::IpAddr;
use std::time::Duration;

use http::HeaderMap;
use proptest::prelude::*;
use sangam::limit::class::{By, Class};
use sangam::limit::http::{Fields, RATELIMIT, RATELIMIT_POLICY, RULED};
use sangam::limit::{Algorithm, Guard, Policy, Ruled, Subject, Terms, Verdict};
use sangam::store::Store;
use sangam_engine::clock::ManualClock;
use sfv::{BareItem, List, ListEntry, Parser};

use crate::bench::{START_US, block_on, one, rule, still, tier};

/// An item of a field: its name, its integers, its other parameters.
#[derive(Debug)]
struct Item {
    name: String,
    params: Vec<(String, BareItem)>,
}

impl Item {
    fn integer(&self, key: &str) -> Option<u64> {
        let (_, value) = self.params.iter().find(|(name, _)| name == key)?;
        u64::try_from(value.as_integer().unwrap()).ok()
    }

    fn bytes(&self, key: &str) -> Option<Vec<u8>> {
        let (_, value) = self.params.iter().find(|(name, _)| name == key)?;
        Some(value.as_byte_sequence().unwrap().to_vec())
    }

    fn text(&self, key: &str) -> Option<&str> {
        let (_, value) = self.params.iter().find(|(name, _)| name == key)?;
        Some(value.as_string().unwrap().as_str())
    }
}

fn items(value: &[u8]) -> Vec<Item> {
    let list: List = Parser::new(value).parse().unwrap();
    list.into_iter()
        .map(|entry| {
            let ListEntry::Item(item) = entry else {
                panic!("an inner list");
            };
            Item {
                name: item.bare_item.as_string().unwrap().as_str().to_owned(),
                params: item
                    .params
                    .into_iter()
                    .map(|(key, value)| (key.as_str().to_owned(), value))
                    .collect(),
            }
        })
        .collect()
}

fn field(verdict: &Verdict, name: &str) -> Option<Vec<u8>> {
    let mut headers = HeaderMap::new();
    Fields::of(verdict).add_to(&mut headers);
    Some(headers.get(name)?.as_bytes().to_vec())
}

fn limits(verdict: &Verdict) -> Vec<Item> {
    field(verdict, RATELIMIT.as_str()).map_or_else(Vec::new, |it| items(&it))
}

fn policies(verdict: &Verdict) -> Vec<Item> {
    field(verdict, RATELIMIT_POLICY.as_str()).map_or_else(Vec::new, |it| items(&it))
}

fn retry_after(verdict: &Verdict) -> Option<u64> {
    let value = field(verdict, "retry-after")?;
    Some(std::str::from_utf8(&value).unwrap().parse().unwrap())
}

fn auth() -> Class {
    let sliding = |limit| rule(Algorithm::SlidingWindow, limit, 900_000);
    Class::new(
        "auth",
        vec![tier(By::User, sliding(5)), tier(By::Address, sliding(20))],
    )
}

const ANN: Subject<'static> = Subject {
    user: Some("ann"),
    address: Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7))),
    user_agent: None,
};

fn check(guard: &Guard, subject: &Subject<'_>) -> Verdict {
    block_on(guard.check("auth", subject, 1)).unwrap()
}

fn first_of(guard: &Guard) -> Verdict {
    check(guard, &ANN)
}

#[test]
fn all_tiers_are_told_in_both_fields() {
    let (_, guard) = still(one(auth()));
    let verdict = first_of(&guard);
    let policies = policies(&verdict);
    let limits = limits(&verdict);
    let seen: Vec<_> = policies
        .iter()
        .map(|it| {
            (
                it.name.as_str(),
                it.integer("q"),
                it.integer("w"),
                it.text("qu"),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("auth.user", Some(5), Some(900), None),
            ("auth.address", Some(20), Some(900), None)
        ]
    );
    let seen: Vec<_> = limits
        .iter()
        .map(|it| (it.name.as_str(), it.integer("r")))
        .collect();
    assert_eq!(seen, [("auth.user", Some(4)), ("auth.address", Some(19))]);
    for (limit, judged) in limits.iter().zip(&verdict.tiers) {
        let told = Duration::from_secs(limit.integer("t").unwrap());
        let exact = judged.outcome.reset_after;
        assert!(told >= exact && told < exact + Duration::from_secs(1));
    }
    assert_eq!(retry_after(&verdict), None);
    assert_eq!(field(&verdict, RULED.as_str()), None);
}

#[test]
fn partition_keys_tell_counts_apart_and_no_ids() {
    let (_, guard) = still(one(auth()));
    let ann = first_of(&guard);
    let keys = |items: Vec<Item>| -> Vec<Vec<u8>> {
        items.iter().map(|it| it.bytes("pk").unwrap()).collect()
    };
    let of_ann = keys(limits(&ann));
    assert_eq!(of_ann, keys(policies(&ann)));
    assert_ne!(of_ann[0], of_ann[1]);
    assert!(of_ann.iter().all(|it| it.len() == 9));
    let bob = Subject {
        user: Some("bob"),
        ..ANN
    };
    let of_bob = keys(limits(&check(&guard, &bob)));
    assert_ne!(of_bob[0], of_ann[0]);
    assert_eq!(of_bob[1], of_ann[1]);
    let value = field(&ann, RATELIMIT.as_str()).unwrap();
    let value = String::from_utf8(value).unwrap();
    assert!(!value.contains("ann") && !value.contains("192.0.2.7"));
    // As documented: a client can know the key of a request before it.
    let hash = <sha2::Sha256 as sha2::Digest>::digest(b"auth.user\0u:ann");
    assert_eq!(of_ann[0], hash[..9]);
}

#[test]
fn what_all_share_has_no_partition() {
    let all = rule(Algorithm::FixedWindow, 100, 1_500);
    let (_, guard) = still(one(Class::new("auth", vec![tier(By::All, all)])));
    let verdict = first_of(&guard);
    let policies = policies(&verdict);
    assert_eq!(policies[0].bytes("pk"), None);
    assert_eq!(policies[0].integer("w"), Some(2));
    assert_eq!(limits(&verdict)[0].bytes("pk"), None);
}

#[test]
fn a_bucket_says_its_burst_and_permits_their_unit() {
    let bucket = rule(Algorithm::Gcra, 100, 60_000).with_burst(20).unwrap();
    let (_, guard) = still(one(Class::new("auth", vec![tier(By::User, bucket)])));
    let verdict = first_of(&guard);
    assert_eq!(policies(&verdict)[0].integer("sangam-burst"), Some(20));
    assert_eq!(limits(&verdict)[0].integer("r"), Some(19));

    let running = rule(Algorithm::Concurrency, 2, 30_000);
    let (_, guard) = still(one(Class::new("auth", vec![tier(By::User, running)])));
    let verdict = block_on(guard.acquire("auth", &ANN, "p1")).unwrap();
    let policy = &policies(&verdict)[0];
    assert_eq!(policy.text("qu"), Some("concurrent-requests"));
    assert_eq!((policy.integer("q"), policy.integer("w")), (Some(2), None));
    assert_eq!(limits(&verdict)[0].integer("t"), None);
}

#[test]
fn shadows_are_not_told() {
    let mut class = auth();
    class.tiers[0].shadow = true;
    let (_, guard) = still(one(class.clone()));
    let verdict = first_of(&guard);
    assert_eq!(policies(&verdict).len(), 1);
    assert_eq!(limits(&verdict)[0].name, "auth.address");
    class.shadow = true;
    guard.replace(one(class));
    assert_eq!(Fields::of(&first_of(&guard)).iter().count(), 0);
}

#[test]
fn a_remembered_refusal_tells_the_only_tier() {
    let minute = rule(Algorithm::SlidingWindow, 1, 60_000);
    let (_, guard) = still(one(Class::new("auth", vec![tier(By::User, minute)])));
    let verdicts = [(); 3].map(|()| first_of(&guard));
    assert_eq!(verdicts[2].ruled, Ruled::Remembered);
    for verdict in &verdicts[1..] {
        let limits = limits(verdict);
        assert_eq!(limits[0].integer("r"), Some(0));
        assert_eq!(limits[0].integer("t"), retry_after(verdict));
    }
}

#[test]
fn without_the_store_the_fields_say_which_policy_ruled() {
    for (policy, ruled) in [(Policy::Open, "open"), (Policy::Closed, "closed")] {
        let mut class = auth();
        class.terms = Terms {
            policy,
            ..Terms::default()
        };
        let guard = Guard::new(Store::disabled(), one(class));
        let verdict = first_of(&guard);
        assert_eq!(field(&verdict, RULED.as_str()).unwrap(), ruled.as_bytes());
        assert_eq!(policies(&verdict).len(), 2);
        assert!(limits(&verdict).is_empty());
    }
}

#[test]
fn the_elder_fields_tell_the_tightest_tier() {
    let (_, guard) = still(one(auth()));
    let verdict = first_of(&guard);
    let mut headers = HeaderMap::new();
    let fields = Fields::of(&verdict).with_legacy(&verdict, START_US);
    let spelled: Vec<_> = fields.spelled().map(|(name, _)| name).collect();
    assert_eq!(
        spelled,
        [
            "RateLimit-Policy",
            "RateLimit",
            "X-RateLimit-Limit",
            "X-RateLimit-Remaining",
            "X-RateLimit-Reset"
        ]
    );
    fields.add_to(&mut headers);
    assert_eq!(headers["x-ratelimit-limit"], "5");
    assert_eq!(headers["x-ratelimit-remaining"], "4");
    let reset: u64 = headers["x-ratelimit-reset"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    let exact = Duration::from_micros(START_US) + verdict.tiers[0].outcome.reset_after;
    assert_eq!(reset, exact.as_secs_f64().ceil() as u64);
}

#[test]
fn an_inner_limit_keeps_its_fields() {
    let (_, guard) = still(one(auth()));
    let mut headers = HeaderMap::new();
    headers.insert("ratelimit", "\"inner\";r=0;t=9".parse().unwrap());
    headers.insert("retry-after", "9".parse().unwrap());
    Fields::of(&first_of(&guard)).add_to(&mut headers);
    assert_eq!(headers.get_all("ratelimit").iter().count(), 2);
    assert_eq!(headers["retry-after"], "9");
}

/// Algorithms that are checked without a permit.
fn rated() -> impl Strategy<Value = Algorithm> {
    (0usize..5).prop_map(|at| Algorithm::ALL[at])
}

fn after(clock: &ManualClock, seconds: u64) {
    clock.advance_millis(seconds * 1000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever a class, its tiers and its users are called, the fields are valid and
    /// say the numbers.
    #[test]
    fn fields_are_valid_for_any_name_and_number(
        class in ".{0,40}",
        name in ".{0,40}",
        user in ".{0,300}",
        most in 1u64..1_000_000_000_000,
        window in 1u64..40_000_000,
        algorithm in rated(),
        cost in 0u64..3,
    ) {
        let window = Duration::from_millis(window);
        let rule = sangam::limit::Rule::new(algorithm, most, window)
            .or_else(|_| sangam::limit::Rule::new(algorithm, 1, window))
            .unwrap();
        let (_, guard) = still(one(Class::new("auth", vec![tier(By::User, rule)])));
        let subject = Subject { user: Some(&user), ..ANN };
        let mut verdict = block_on(guard.check("auth", &subject, cost.min(rule.burst()))).unwrap();
        let mut named = (*verdict.class).clone();
        named.name.clone_from(&class);
        named.tiers[0].name.clone_from(&name);
        verdict.class = std::sync::Arc::new(named);
        let (policies, limits) = (policies(&verdict), limits(&verdict));
        prop_assert_eq!(policies.len(), 1);
        prop_assert_eq!(limits.len(), 1);
        prop_assert_eq!(&policies[0].name, &limits[0].name);
        let full = format!("{class}.{name}");
        if full.bytes().all(|it| (b' '..=b'~').contains(&it)) {
            prop_assert_eq!(&policies[0].name, &full);
        }
        prop_assert_eq!(policies[0].integer("q"), Some(rule.limit()));
        let told = Duration::from_secs(policies[0].integer("w").unwrap());
        prop_assert!(told >= rule.window() && told < rule.window() + Duration::from_secs(1));
    }

    /// A retry after `Retry-After` passes, and it is no more than a second late.
    #[test]
    fn retry_after_is_true(
        algorithm in rated(),
        most in 1u64..6,
        window in 5u64..30_000,
        steps in proptest::collection::vec((0u64..5_000, 1u64..3), 1..20),
    ) {
        let rule = rule(algorithm, most, window);
        let (clock, guard) = still(one(Class::new("auth", vec![tier(By::User, rule)])));
        for (wait, cost) in steps {
            clock.advance_millis(wait);
            let cost = cost.min(rule.burst());
            let verdict = block_on(guard.check("auth", &ANN, cost)).unwrap();
            if verdict.allowed {
                prop_assert_eq!(retry_after(&verdict), None);
                continue;
            }
            let seconds = retry_after(&verdict).unwrap();
            prop_assert!(seconds >= 1);
            let exact = verdict.retry_after.unwrap();
            prop_assert!(Duration::from_secs(seconds) >= exact);
            prop_assert!(Duration::from_secs(seconds - 1) <= exact);
            for limit in limits(&verdict) {
                prop_assert!(limit.integer("t").unwrap() <= seconds);
            }
            after(&clock, seconds);
            prop_assert!(block_on(guard.check("auth", &ANN, cost)).unwrap().allowed);
        }
    }
}
