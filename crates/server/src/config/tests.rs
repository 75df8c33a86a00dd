//! Precedence, and what is said of settings that cannot be used.

use super::*;

fn resolve(args: &ServeArgs, text: &str) -> Result<Config, String> {
    Config::resolve(args, Path::new("s.toml"), text).map_err(|error| error.to_string())
}

#[test]
fn flags_go_before_the_file_and_that_before_defaults() {
    let file =
        "http = '0.0.0.0:1'\ntoken = 'from-file'\nmaxmemory = 1024\nmax-request-size = '1mb'";
    let args = ServeArgs {
        http: Some("[::1]:2".to_owned()),
        resp: Some("off".to_owned()),
        data: Some("memory".to_owned()),
        ..ServeArgs::default()
    };
    let config = resolve(&args, file).unwrap();
    assert_eq!(config.http, "[::1]:2");
    assert_eq!(config.resp, None);
    assert_eq!(config.data, None);
    assert_eq!(config.token.as_deref(), Some("from-file"));
    assert_eq!(config.settings.maxmemory, 1024);
    assert_eq!(config.max_request_size, 1 << 20);
    assert!(!config.strict_upstash);
    assert!(
        resolve(&args, "strict-upstash = 'yes'")
            .unwrap()
            .strict_upstash
    );
    let config = resolve(&ServeArgs::default(), "").unwrap();
    assert_eq!(config.http, "127.0.0.1:8585");
    assert_eq!(config.resp.as_deref(), Some("127.0.0.1:6380"));
    assert_eq!(config.data, Some(PathBuf::from("sangam-data")));
}

#[test]
fn a_store_takes_the_engines_place() {
    let over = |url: &str, text: &str| {
        let args = ServeArgs {
            store: Some(url.to_owned()),
            ..ServeArgs::default()
        };
        resolve(&args, text)
    };
    for embedded in ["embedded", "", "memory"] {
        let config = over(embedded, "fsync = 'no'").unwrap();
        assert!(
            config.store.is_none() && config.resp.is_some(),
            "{embedded}"
        );
        assert!(config.warnings.is_empty());
    }
    let config = over("redis://u:hidden@h:1", "").unwrap();
    assert_eq!(config.store.unwrap().place(), "redis://h:1");
    assert_eq!(config.resp, None);
    assert!(over("redis://h:1", "resp = 'off'").is_ok());
    assert_eq!(
        over("redis://h:1", "resp = '127.0.0.1:1'").unwrap_err(),
        format!("setting `resp` (s.toml line 1): {NO_RESP}")
    );
    let config = over("none", "fsync = 'no'\nmaxmemory = 1024").unwrap();
    assert_eq!(
        config.warnings,
        [
            "setting `fsync` (s.toml line 1) has no effect: the data is in the store",
            "setting `maxmemory` (s.toml line 2) has no effect: the data is in the store",
        ]
    );
    assert_eq!(
        over("https://a", "store-token = 't'").unwrap().warnings,
        [""; 0]
    );
    for url in ["redis://h:1", "none", "embedded"] {
        assert_eq!(
            over(url, "store-token = 't'").unwrap().warnings,
            [
                "setting `store-token` (s.toml line 1) has no effect: only a store by https:// \
              has a token"
            ],
            "{url}"
        );
    }
    let without = over("https://a", "").unwrap_err();
    assert!(
        without.contains("set `--store-token, SANGAM_STORE_TOKEN`"),
        "{without}"
    );
    let wrong = resolve(&ServeArgs::default(), "\nstore = 'localhost:6379'").unwrap_err();
    assert!(
        wrong.starts_with("s.toml line 2: setting `store`: "),
        "{wrong}"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_told_without_its_values() {
    let refused = |text: &str| resolve(&ServeArgs::default(), text).unwrap_err();
    for (text, place) in [
        ("http = 'a:1'\ntoken = 'hidden", "s.toml line 2, column "),
        ("token = \"hidden", "s.toml line 1, column "),
        ("\nstore-tokn = 'hidden'", "s.toml line 2, column 1: "),
        ("token = hidden", "s.toml line 1, column "),
        ("token = 'hidden' 'hidden'", "s.toml line 1, column "),
        ("token = 'a'\ntoken = 'hidden'", "s.toml line 2, column "),
        ("store = ['hidden']", "s.toml line 1, column 9: "),
        ("store = { hidden = 'hidden' }", "s.toml line 1, column 9: "),
        ("token = 4711_4711", "s.toml line 1, column 9: "),
        ("redis://:hidden@h", "s.toml line 1, column "),
    ] {
        let error = refused(text);
        assert!(error.starts_with(place), "{text}: {error}");
        let shows = ["hidden", "47114711", "\n"].map(|it| error.contains(it));
        assert_eq!(shows, [false; 3], "{text}: {error}");
    }
    assert_eq!(
        refused("token = 4711"),
        "s.toml line 1, column 9: invalid type: integer, expected a string"
    );
    assert!(refused("store-tokn = 'x'").contains("unknown field `store-tokn`"));
    assert!(refused("token = ''").ends_with("is empty; leave it out to have one made"));
    assert!(refused("read-token = ''").ends_with("is empty; leave it out to have none"));
}

#[test]
fn errors_name_the_setting_and_its_place() {
    let refused = |text: &str| resolve(&ServeArgs::default(), text).unwrap_err();
    assert_eq!(
        refused("token = 't'\n\nhttp = 'nowhere'"),
        "setting `http` (s.toml line 3): \"nowhere\" is no address; write host:port"
    );
    assert!(
        refused("\nhtpt = 'x'").contains("line 2"),
        "{}",
        refused("\nhtpt = 'x'")
    );
    assert!(refused("http = 5").contains("line 1"));
    assert!(refused("token = 't'\nread-token = 't'").contains("`read-token` (s.toml line 2)"));
    assert!(refused("tls-cert = 'c'").contains("needs `tls-key`"));
    assert!(refused("maxmemory-policy = 'none'").contains("is none of volatile-lru"));
    assert!(refused("max-request-size = 0").contains("at least 1"));
    assert!(refused("strict-upstash = 'on'").contains("neither yes nor no"));
    let args = ServeArgs {
        maxmemory: Some("lots".to_owned()),
        ..ServeArgs::default()
    };
    assert_eq!(
        resolve(&args, "").unwrap_err(),
        "setting `maxmemory` (its flag, or SANGAM_MAXMEMORY): \"lots\" is no amount of memory; \
         write bytes, or a unit as in 100mb"
    );
    let args = ServeArgs {
        token: Some("a b".to_owned()),
        ..ServeArgs::default()
    };
    assert!(resolve(&args, "").unwrap_err().contains("visible ASCII"));
}

#[test]
fn caches_have_tables_of_their_own() {
    use sangam::cache::{Coherence, Method, Policy};

    let config = resolve(
        &ServeArgs::default(),
        "max-request-size = '2mb'
         [caches]
         others-max = 7
         coherence = 'poll'
         heartbeat = '250ms'
         [caches.default]
         ttl = '2h'
         memory = '1MiB'
         [caches.users]
         ttl = '90s'
         jitter = 0
         memory = 1024
         memory-ttl = '10s'
         negative-ttl = '0s'
         stale = '1d'
         fail-safe = '2d'
         throttle = '1s'
         eager = 0.9
         soft-timeout = '50ms'
         hard-timeout = '5s'
         store-soft-timeout = '20ms'
         store-timeout = '1s'
         policy = 'closed'
         degraded-ttl = '1m'
         compression = 'gzip'
         compress-from = '2kb'
         schema = 3
         max-value = '2mb'
         [caches.creators]
         shared-prefix = 'creator:'
         compression = 'none'",
    )
    .unwrap();
    let caches = config.caches;
    assert_eq!((caches.others_max, caches.coherence), (7, Coherence::Poll));
    assert_eq!(caches.heartbeat, Some(Duration::from_millis(250)));
    let users = &caches.named["users"];
    assert_eq!(users.ttl, Duration::from_secs(90));
    assert_eq!(
        (users.jitter, users.memory, users.eager),
        (0.0, 1024, Some(0.9))
    );
    assert_eq!(users.memory_ttl, Some(Duration::from_secs(10)));
    assert!(users.negative_ttl.is_zero());
    assert_eq!(users.fail_safe, 2 * users.stale);
    assert_eq!(users.soft_timeout, Some(Duration::from_millis(50)));
    assert_eq!(users.store_soft_timeout, Some(Duration::from_millis(20)));
    assert_eq!(users.hard_timeout, 5 * users.throttle);
    assert_eq!(users.store_timeout, users.throttle);
    assert_eq!(users.policy, Policy::Closed);
    assert_eq!(users.degraded_ttl, Duration::from_mins(1));
    let compression = users.compression;
    assert_eq!(
        (compression.method, compression.from),
        (Some(Method::Gzip), 2048)
    );
    assert_eq!((users.schema, users.max_value), (3, 2 << 20));
    let creators = &caches.named["creators"];
    assert_eq!(creators.compression.method, None);
    assert_eq!(creators.shared.as_ref().unwrap().prefix, "creator:");
    // What the file says of none holds for all.
    for settings in [creators, &caches.others] {
        assert_eq!(settings.ttl, Duration::from_hours(2));
        assert_eq!(settings.memory, 1 << 20);
    }
    let caches = resolve(&ServeArgs::default(), "").unwrap().caches;
    assert_eq!((caches.others_max, caches.others.memory), (256, 4 << 20));
}

#[test]
fn caches_that_cannot_be_are_told_with_their_line() {
    let refused = |text: &str| resolve(&ServeArgs::default(), text).unwrap_err();
    for (lines, line, part) in [
        ("tll = '5m'", 2, "unknown field `tll`"),
        ("ttl = 5", 2, "expected a string"),
        ("ttl = '5 m'", 2, "a time such as"),
        ("ttl = '-5m'", 2, "a time such as"),
        ("ttl = '99999999999999999999d'", 2, "a time such as"),
        ("jitter = 0\nttl = '0s'", 3, "`ttl` is more than 0"),
        ("ttl = '367d'", 2, "366 days"),
        ("jitter = 1.5", 2, "`jitter` is from 0 to 1"),
        ("jitter = nan", 2, "`jitter` is from 0 to 1"),
        ("eager = -1", 2, "`eager`"),
        ("schema = 1\nhard-timeout = '2h'", 3, "`hard-timeout` is"),
        ("memory = '32 apples'", 2, "bytes are expected"),
        ("memory = 'mb'", 2, "bytes are expected"),
        ("memory = -1", 2, "bytes are expected"),
        ("policy = 'ajar'", 2, "unknown variant"),
        ("compression = 'lzma'", 2, "unknown variant"),
        ("schema = -1", 2, ""),
        ("max-value = '1gb'", 2, "`max-value` is at most"),
        ("max-value = '11mb'", 2, "`max-request-size`"),
        ("ttl = '1s'\nmax-value = 0", 3, "`max-value` is more than 0"),
        ("ttl = '1s'\nshared-prefix = ''", 3, "`shared-prefix` is"),
        ("ttl = '1s'\nttl = '2s'", 3, "duplicate key"),
    ] {
        for name in ["users", "default"] {
            let error = refused(&format!("[caches.{name}]\n{lines}"));
            assert!(error.contains(part), "{lines}: {error}");
            assert!(error.contains(&format!("line {line}")), "{lines}: {error}");
        }
    }
    let named = refused("\n[caches.'a b']\n");
    assert!(named.contains("`a b` is no name"), "{named}");
    assert!(named.contains("line 2"), "{named}");
    assert!(refused("[caches]\nothers-max = 'x'").contains("line 2"));
    let other = refused("[caches]\nusers = 5");
    assert!(other.contains("line 2"), "{other}");
    for part in [
        "[caches.users]",
        "`others-max`",
        "`coherence`",
        "`heartbeat`",
    ] {
        assert!(other.contains(part), "{other}");
    }
    assert!(!other.contains("struct"), "{other}");
    let all = refused("[caches.default]\nttl = '1s'\nshared-prefix = 'a:'");
    assert!(
        all.contains("line 3") && all.contains("`shared-prefix`"),
        "{all}"
    );
    let twice = refused(
        "[caches.a]\nshared-prefix = 'x:'\n[caches.b]\nttl = '1s'\nshared-prefix = 'x:'\n\
         [caches.c]\nshared-prefix = 'x:c:'",
    );
    assert!(
        twice.contains("line 5") && twice.contains("the one of \"a\""),
        "{twice}"
    );
    for heartbeat in ["0s", "61m", "3600001ms"] {
        let error = refused(&format!("[caches]\nheartbeat = '{heartbeat}'"));
        assert!(
            error.contains("line 2") && error.contains("at most an hour"),
            "{error}"
        );
    }
    let longest = resolve(
        &ServeArgs::default(),
        "[caches]\nheartbeat = '1h'\nothers-max = 0",
    );
    let caches = longest.unwrap().caches;
    assert_eq!(
        (caches.others_max, caches.heartbeat),
        (0, Some(Duration::from_hours(1)))
    );
    assert!(refused("caches = 5").contains("[caches]"));
}
