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
