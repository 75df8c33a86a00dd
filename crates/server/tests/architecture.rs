//! The house's rules that the compiler does not check, over `cargo metadata`:
//! arrows point down only, licences and sources are those that deny.toml allows,
//! and no dependency comes in two versions without a reason.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// The floors from the ground up: a crate may depend on those before it only.
const FLOORS: &[&str] = &[
    "sangam-engine",
    "sangam-wire",
    "sangam-store",
    "sangam",
    "sangam-server",
];

/// Test crates stand beside the house: they know none of its crates, and are
/// nobody's dependency but for tests.
const BESIDE: &[&str] = &["sangam-rig"];

/// Apps that show how the house is used: they stand above it, and are nobody's
/// dependency.
const EXAMPLES: &[&str] = &["sangam-example-axum"];

/// Dependencies that come in two versions, each with the reason.
const TWO_VERSIONS: &[(&str, &str)] = &[
    ("getrandom", "ring still asks for 0.2"),
    ("hashbrown", "indexmap and others lag one release behind"),
    ("windows-sys", "not built on Linux"),
    ("windows-targets", "not built on Linux"),
];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
        ])
        .arg("x86_64-unknown-linux-gnu")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

#[test]
fn arrows_point_down() {
    let metadata = metadata();
    let (mut seen, mut beside, mut examples) = (0, 0, 0);
    for package in metadata["packages"].as_array().unwrap() {
        let name = text(package, "name");
        if !package["source"].is_null() {
            continue;
        }
        for dependency in package["dependencies"].as_array().unwrap() {
            let target = text(dependency, "name");
            assert!(
                !EXAMPLES.contains(&target),
                "{name} must not know {target}, an example"
            );
            if BESIDE.contains(&target) {
                assert_eq!(
                    text(dependency, "kind"),
                    "dev",
                    "{name} must not know {target} outside of its tests"
                );
            } else if BESIDE.contains(&name) {
                assert!(
                    !FLOORS.contains(&target),
                    "{name}, a test crate, must not know {target}"
                );
            }
        }
        if BESIDE.contains(&name) {
            beside += 1;
            continue;
        }
        if EXAMPLES.contains(&name) {
            examples += 1;
            continue;
        }
        let floor = FLOORS
            .iter()
            .position(|floor| *floor == name)
            .unwrap_or_else(|| panic!("{name} has no floor in this test: give it one"));
        seen += 1;
        for dependency in package["dependencies"].as_array().unwrap() {
            let target = text(dependency, "name");
            if let Some(other) = FLOORS.iter().position(|floor| *floor == target) {
                assert!(
                    other < floor,
                    "{name} must not know {target}, which stands above it"
                );
            }
        }
    }
    assert_eq!(
        (seen, beside, examples),
        (FLOORS.len(), BESIDE.len(), EXAMPLES.len())
    );
}

#[test]
fn licences_and_sources_are_allowed() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deny.toml");
    let rules: toml::Table = std::fs::read_to_string(root).unwrap().parse().unwrap();
    let allowed: Vec<&str> = rules["licenses"]["allow"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(toml::Value::as_str)
        .collect();
    let metadata = metadata();
    let used: Vec<&str> = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| text(node, "id"))
        .collect();
    for package in metadata["packages"].as_array().unwrap() {
        if package["source"].is_null() || !used.contains(&text(package, "id")) {
            continue;
        }
        let name = text(package, "name");
        assert!(
            text(package, "source").starts_with("registry+"),
            "{name} is not from a registry"
        );
        let licence = text(package, "license").replace('/', " OR ");
        let permitted = licence.split(" AND ").all(|part| {
            part.trim_matches(['(', ')'])
                .split(" OR ")
                .any(|one| allowed.contains(&one.trim_matches(['(', ')', ' '])))
        });
        assert!(
            permitted,
            "{name} is under {licence:?}, which deny.toml does not allow"
        );
    }
}

#[test]
fn no_dependency_comes_twice() {
    let metadata = metadata();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in metadata["resolve"]["nodes"].as_array().unwrap() {
        let id = text(node, "id");
        let package = metadata["packages"]
            .as_array()
            .unwrap()
            .iter()
            .find(|package| text(package, "id") == id)
            .unwrap();
        versions
            .entry(text(package, "name"))
            .or_default()
            .push(text(package, "version"));
    }
    let twice: Vec<_> = versions
        .iter()
        .filter(|(name, found)| {
            found.len() > 1 && !TWO_VERSIONS.iter().any(|(known, _)| known == *name)
        })
        .collect();
    assert!(twice.is_empty(), "more than one version: {twice:?}");
}
