//! XADD.
//!
//! Costs one probe and the copy of the texts; the effect, which has the id that
//! was given, is the only other copy.

use smallvec::SmallVec;

use super::super::spec::Outcome;
use super::ids::Wanted;
use super::trim::{Options, word};
use super::{Ctx, id_reply};
use crate::error::CommandError;
use crate::notify::Event;
use crate::reply::Reply;
use crate::value::{Collection, Stream, StreamId, TooLarge};

impl From<TooLarge> for CommandError {
    fn from(_: TooLarge) -> Self {
        CommandError::text("ERR Elements are too large to be stored")
    }
}

pub(super) fn xadd(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let options = Options::parse(ctx, argv, true)?;
    let texts = argv.get(options.at + 1..).unwrap_or_default();
    let (pairs, []) = texts.as_chunks::<2>() else {
        return Err(CommandError::wrong_arity("xadd"));
    };
    if pairs.is_empty() {
        return Err(CommandError::wrong_arity("xadd"));
    }
    if options.wanted == Wanted::Exactly(StreamId::MIN) {
        return Err(CommandError::text(
            "ERR The ID specified in XADD must be greater than 0-0",
        ));
    }
    let (key, now_ms, limits) = (argv[1], ctx.now_ms(), ctx.db.settings.stream);
    let add = |stream: &mut Stream| {
        let id = options.wanted.resolve(stream.header().last_id, now_ms)?;
        stream.append(id, pairs, limits)?;
        let trimmed = options.trim.map_or(0, |trim| stream.trim(trim));
        Ok::<_, CommandError>((id, (trimmed > 0).then(|| stream.len())))
    };
    let added = if options.only_existing {
        ctx.db.edit(key, add)?
    } else {
        Some(ctx.db.edit_or_create(key, add)?)
    };
    let Some(added) = added else {
        return Ok(Reply::Null);
    };
    let (id, length) = added?;
    ctx.db.notify(Event::Stream, "xadd", key);
    if length.is_some() {
        ctx.db.notify(Event::Stream, "xtrim", key);
    }
    if options.about || !matches!(options.wanted, Wanted::Exactly(_)) {
        say(ctx, argv, &options, id, length);
    }
    Ok(id_reply(id))
}

/// The effect, with the id that was given and the length that was left.
fn say(ctx: &mut Ctx<'_>, argv: &[&[u8]], options: &Options, id: StreamId, length: Option<usize>) {
    let (id, mut number) = (id.text(), itoa::Buffer::new());
    let mut effect: SmallVec<[&[u8]; 24]> = SmallVec::from_slice(&argv[..2]);
    if let Some(length) = length {
        let references = word(options.references.unwrap_or_default());
        let length = number.format(length).as_bytes();
        effect.extend([&b"MAXLEN"[..], b"=", length, references]);
    }
    effect.push(id.as_ref());
    effect.extend_from_slice(argv.get(options.at + 1..).unwrap_or_default());
    ctx.db.effect(&effect);
}
