//! FUNCTION LIST.

use super::super::spec::Outcome;
use super::super::{Ctx, args};
use crate::error::CommandError;
use crate::glob;
use crate::reply::Reply;
use crate::script::functions::{Function, Library};

pub(super) fn list(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (mut pattern, mut with_code) = (None, false);
    let mut options = argv[2..].iter();
    while let Some(option) = options.next() {
        if !with_code && args::is(option, "WITHCODE") {
            with_code = true;
        } else if pattern.is_none() && args::is(option, "LIBRARYNAME") {
            let given = options.next();
            pattern = Some(given.ok_or(CommandError::text(
                "ERR library name argument was not given",
            ))?);
        } else {
            let mut text = b"ERR Unknown argument ".to_vec();
            text.extend_from_slice(option);
            return Err(CommandError::Bytes(text));
        }
    }
    let wanted = |name: &[u8]| {
        pattern.is_none_or(|pattern: &&[u8]| glob::matches_ignore_case(pattern, name))
    };
    let libraries = ctx.db.libraries().iter();
    let shown = libraries
        .filter(|library| wanted(&library.name))
        .map(|library| describe(library, with_code));
    Ok(Reply::Array(shown.collect()))
}

fn entry(name: &str, value: Reply) -> (Reply, Reply) {
    (Reply::bulk(name), value)
}

fn describe(library: &Library, with_code: bool) -> Reply {
    let functions = library.functions.iter();
    let functions = functions.map(|function| describe_function(function));
    let mut fields = vec![
        entry("library_name", Reply::bulk(&library.name)),
        entry("engine", Reply::bulk("LUA")),
        entry("functions", Reply::Array(functions.collect())),
    ];
    if with_code {
        fields.push(entry("library_code", Reply::bulk(&library.code)));
    }
    Reply::Map(fields)
}

fn describe_function(function: &Function) -> Reply {
    let description = function.description.as_ref();
    let flags = function.flags.names().map(Reply::status);
    Reply::Map(vec![
        entry("name", Reply::bulk(&function.name)),
        entry("description", description.map_or(Reply::Null, Reply::bulk)),
        entry("flags", Reply::Set(flags.collect())),
    ])
}
