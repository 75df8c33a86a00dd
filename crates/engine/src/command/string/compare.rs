//! DELEX and DIGEST: delete a string only if it is still what it was.

use super::super::Ctx;
use super::super::args::is;
use super::super::generic::delete;
use super::super::spec::Outcome;
use super::xxh3::xxh3;
use crate::error::CommandError;
use crate::reply::Reply;

/// The digest as clients see it: 16 hexadecimal digits.
fn hex_digest(text: &[u8]) -> String {
    format!("{:016x}", xxh3(text))
}

pub(super) fn digest(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    Ok(ctx
        .db
        .get_str(argv[1])?
        .map_or(Reply::Null, |text| Reply::bulk(text.with(hex_digest))))
}

pub(super) fn delex(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let key = argv[1];
    let met = match *argv {
        [_, _] => true,
        [_, _, condition, expected] => match ctx.db.peek_str(key) {
            Ok(None) => return Ok(Reply::Int(0)),
            Err(_) => {
                return Err(CommandError::text(
                    "ERR Key should be of string type if conditions are specified",
                ));
            }
            Ok(Some(text)) => text.with(|text| meets(text, condition, expected))?,
        },
        _ => return Err(CommandError::wrong_arity("delex")),
    };
    let removed = met && delete(ctx.db, key);
    if removed {
        ctx.db.effect(&[b"DEL", key]);
    }
    Ok(removed.into())
}

fn meets(text: &[u8], condition: &[u8], expected: &[u8]) -> Result<bool, CommandError> {
    if is(condition, "IFEQ") {
        Ok(text == expected)
    } else if is(condition, "IFNE") {
        Ok(text != expected)
    } else if is(condition, "IFDEQ") {
        Ok(hex_digest(text).as_bytes().eq_ignore_ascii_case(expected))
    } else if is(condition, "IFDNE") {
        Ok(!hex_digest(text).as_bytes().eq_ignore_ascii_case(expected))
    } else {
        Err(CommandError::text(
            "ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE",
        ))
    }
}
