//! FUNCTION DUMP and RESTORE.

use std::sync::Arc;

use super::super::spec::Outcome;
use super::super::{Ctx, args};
use super::{collect, collision, exists, unknown_form};
use crate::error::CommandError;
use crate::rdb;
use crate::reply::Reply;
use crate::script::Scripts;
use crate::script::functions::{Libraries, Metadata};

pub(super) fn dump(ctx: &mut Ctx<'_>, _: &[&[u8]]) -> Outcome {
    let texts = ctx.db.libraries().iter().map(|library| &*library.code);
    Ok(Reply::Bulk(rdb::encode_libraries(texts)))
}

/// What becomes of the libraries that are there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    Flush,
    Append,
    Replace,
}

pub(super) fn restore(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let policy = match argv[3..] {
        [] => Policy::Append,
        [word] if args::is(word, "APPEND") => Policy::Append,
        [word] if args::is(word, "REPLACE") => Policy::Replace,
        [word] if args::is(word, "FLUSH") => Policy::Flush,
        [_] => {
            return Err(CommandError::text(
                "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
            ));
        }
        _ => return Err(unknown_form(argv[1])),
    };
    let new = read(ctx, argv[2])?;
    if policy != Policy::Flush {
        for library in new.iter() {
            let replace = policy == Policy::Replace;
            if !replace && ctx.db.libraries().has(&library.name) {
                return Err(collision("Library", &library.name));
            }
        }
        // Those that are replaced make room for all that are new.
        let mut left = Libraries::clone(ctx.db.libraries());
        for library in new.iter() {
            left.remove(&library.name);
        }
        for library in new.iter() {
            left.admit(library)
                .map_err(|name| collision("Function", name))?;
        }
    }
    ctx.db.edit_libraries(|libraries| {
        if policy == Policy::Flush {
            *libraries = Libraries::default();
        }
        for library in new.iter() {
            libraries.insert(Arc::clone(library));
        }
    });
    drop(new);
    collect(ctx);
    Ok(Reply::OK)
}

/// The libraries of a payload, which go with each other.
fn read(ctx: &mut Ctx<'_>, payload: &[u8]) -> Result<Libraries, CommandError> {
    let room = ctx.db.settings.proto_max_bulk_len;
    let texts = rdb::decode_libraries(payload, room).map_err(|error| error.to_string())?;
    let mut functions = Scripts::take_functions(ctx.db)?;
    let mut new = Libraries::default();
    let read = texts.into_iter().try_for_each(|text| {
        let text = text.map_err(|error| error.to_string())?;
        let metadata = Metadata::parse(&text)?;
        if new.has(&metadata.name) {
            return Err(exists(&metadata.name));
        }
        let library = functions.load_library(ctx, &text, &metadata)?;
        new.admit(&library)
            .map_err(|name| collision("Function", name))?;
        new.insert(Arc::new(library));
        Ok(())
    });
    ctx.db.functions = Some(functions);
    read.map(|()| new)
}
