//! docs/commands.md, from the table.

use std::fmt::Write as _;

use super::super::spec::{Command, Run, commands};
use super::{differences, docs};

const HEAD: &str = "\
# Commands

<!-- made by `cargo run -p sangam-engine --example commands > docs/commands.md` -->

Every command of the engine: the Redis version that brought it; whether it can be called
over RESP and in process (always) and over REST; whether Upstash has it; whether a plan
counts it; and where it differs from redis-server 7.0.

";

/// The page.
pub fn markdown() -> String {
    let mut rows: Vec<&Command> = Vec::new();
    // Tests have a command of their own.
    let public = commands()
        .iter()
        .filter(|command| !command.spec.name.starts_with("test."));
    for command in public {
        if !matches!(command.spec.run, Run::Container) {
            rows.push(command);
        }
        rows.extend(command.subcommands.iter().copied());
    }
    let mut groups: Vec<(&str, Vec<&Command>)> = Vec::new();
    for command in rows {
        let name = docs::group(command);
        match groups.iter_mut().find(|(group, _)| *group == name) {
            Some((_, members)) => members.push(command),
            None => groups.push((name, vec![command])),
        }
    }
    groups.sort_unstable_by_key(|(name, _)| *name);
    let mut page = HEAD.to_owned();
    let total: usize = groups.iter().map(|(_, members)| members.len()).sum();
    let _ = writeln!(page, "{total} commands and subcommands.");
    for (group, mut members) in groups {
        members.sort_unstable_by(|a, b| a.full_name.cmp(&b.full_name));
        let _ = write!(
            page,
            "\n## {group}\n\n| command | what it does | since | REST | Upstash | billed | differs |\n\
             |---|---|---|---|---|---|---|\n"
        );
        for command in members {
            row(command, &mut page);
        }
    }
    page
}

fn row(command: &Command, page: &mut String) {
    let spec = &command.spec;
    let yes = |holds: bool| if holds { "yes" } else { "no" };
    let summary =
        docs::of(&command.full_name).map_or("Describes its subcommands", |(text, _)| text);
    let _ = writeln!(
        page,
        "| {} | {summary} | {} | {} | {} | {} | {} |",
        command.full_name.to_ascii_uppercase().replace('|', " "),
        spec.since,
        yes(spec.rest),
        yes(spec.upstash),
        yes(spec.billed),
        differences::of(&command.full_name).unwrap_or_default(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_what_the_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/commands.md");
        let page = std::fs::read_to_string(path).unwrap_or_default();
        // One line at a time: a difference is found sooner than in two pages.
        for (kept, made) in page.lines().zip(markdown().lines()) {
            assert_eq!(
                kept, made,
                "docs/commands.md is old; its head says how it is made"
            );
        }
        assert_eq!(page.lines().count(), markdown().lines().count());
    }

    #[test]
    fn differences_are_in_order_and_of_commands() {
        let names = differences::DIFFERENCES.iter().map(|(name, _)| *name);
        assert!(names.clone().is_sorted());
        for name in names {
            let mut parts = name.split('|').map(str::as_bytes);
            let command = parts.next().and_then(super::super::super::spec::find);
            let found = match parts.next() {
                Some(subcommand) => command.and_then(|command| command.subcommand(subcommand)),
                None => command,
            };
            assert!(found.is_some(), "{name}");
        }
    }
}
