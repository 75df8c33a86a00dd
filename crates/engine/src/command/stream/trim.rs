//! XTRIM, and the options that XADD shares with it.

use super::super::spec::Outcome;
use super::ids::{self, Wanted};
use super::{Ctx, args, quoted};
use crate::config::Settings;
use crate::error::CommandError;
use crate::notify::Event;
use crate::value::{Collection, Keep, References, Stream, Trim};

/// What stands before the id of XADD, or all that XTRIM says.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) trim: Option<Trim>,
    /// Whether `~` was given, which is not repeatable.
    pub(super) about: bool,
    pub(super) only_existing: bool,
    pub(super) references: Option<References>,
    pub(super) wanted: Wanted,
    /// Where the id stands.
    pub(super) at: usize,
}

const BOTH: CommandError = CommandError::text(
    "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
);

/// Reads an option that says what happens to entries that groups wait for.
pub(super) fn references(text: &[u8]) -> Option<References> {
    if args::is(text, "KEEPREF") {
        Some(References::Keep)
    } else if args::is(text, "DELREF") {
        Some(References::Forget)
    } else if args::is(text, "ACKED") {
        Some(References::Respect)
    } else {
        None
    }
}

/// The word for [`references`].
pub(super) const fn word(references: References) -> &'static [u8] {
    match references {
        References::Keep => b"KEEPREF",
        References::Forget => b"DELREF",
        References::Respect => b"ACKED",
    }
}

impl Options {
    pub(super) fn parse(ctx: &Ctx<'_>, argv: &[&[u8]], adds: bool) -> Result<Self, CommandError> {
        let mut options = Options {
            trim: None,
            about: false,
            only_existing: false,
            references: None,
            wanted: Wanted::Any,
            at: 2,
        };
        let (mut keep, mut limit) = (None, None);
        while let Some(text) = argv.get(options.at) {
            let following = argv.get(options.at + 1..).unwrap_or_default();
            if adds && quoted(text) == b"*" {
                break;
            }
            let newest = args::is(text, "MAXLEN");
            if (newest || args::is(text, "MINID")) && !following.is_empty() {
                if keep.is_some() {
                    return Err(BOTH);
                }
                let (about, threshold) = threshold(following)?;
                options.at += following.len() - threshold.1;
                options.about = about;
                keep = Some(if newest {
                    Keep::Newest(at_least_0(
                        threshold.0,
                        "ERR The MAXLEN argument must be >= 0.",
                    )?)
                } else {
                    Keep::From(ids::strict(threshold.0, 0)?)
                });
            } else if let [count, ..] = following
                && args::is(text, "LIMIT")
            {
                limit = Some(at_least_0(count, "ERR The LIMIT argument must be >= 0.")?);
                options.at += 1;
            } else if adds && args::is(text, "NOMKSTREAM") {
                options.only_existing = true;
            } else if let (Some(references), None) = (references(text), options.references) {
                options.references = Some(references);
            } else if adds {
                options.wanted = Wanted::parse(text)?;
                break;
            } else {
                return Err(CommandError::Syntax);
            }
            options.at += 1;
        }
        if keep.is_none() && limit.is_some_and(|limit| limit > 0) {
            return Err(CommandError::text(
                "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
            ));
        }
        if keep.is_none() && !adds {
            return Err(CommandError::text(
                "ERR syntax error, XTRIM must be called with a trimming strategy",
            ));
        }
        if limit.is_some() && !options.about {
            return Err(CommandError::text(
                "ERR syntax error, LIMIT cannot be used without the special ~ option",
            ));
        }
        options.trim = keep.map(|keep| Trim {
            keep,
            // Upstash trims to the entry.
            about: options.about && !ctx.is_upstash(),
            limit: match limit {
                Some(limit) => limit,
                None if options.about && !ctx.is_upstash() => default_limit(&ctx.db.settings),
                None => 0,
            },
            references: options.references.unwrap_or_default(),
        });
        Ok(options)
    }
}

/// `[~ | =] threshold`: whether it is about that, the threshold, and how many
/// arguments follow it.
fn threshold<'a>(following: &[&'a [u8]]) -> Result<(bool, (&'a [u8], usize)), CommandError> {
    match following {
        [sign, threshold, rest @ ..] if matches!(quoted(sign), b"~" | b"=") => {
            Ok((quoted(sign) == b"~", (threshold, rest.len())))
        }
        [threshold, rest @ ..] => Ok((false, (threshold, rest.len()))),
        [] => Err(CommandError::Syntax),
    }
}

fn at_least_0(text: &[u8], error: &'static str) -> Result<u64, CommandError> {
    u64::try_from(args::int(text)?).map_err(|_| CommandError::text(error))
}

/// Redis bounds the work of a trimming that need not be exact.
fn default_limit(settings: &Settings) -> u64 {
    match settings.stream.max_entries as u64 {
        0 => 10_000,
        entries => entries.saturating_mul(100).min(1_000_000),
    }
}

pub(super) fn xtrim(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let options = Options::parse(ctx, argv, false)?;
    let trimmed = ctx.db.edit(argv[1], |stream: &mut Stream| {
        let removed = options.trim.map_or(0, |trim| stream.trim(trim));
        (removed, stream.len())
    })?;
    let Some((removed, length)) = trimmed else {
        return Ok(0i64.into());
    };
    if removed > 0 {
        ctx.db.notify(Event::Stream, "xtrim", argv[1]);
    }
    if removed > 0 && options.about {
        let length = itoa::Buffer::new().format(length).to_owned();
        let references = word(options.references.unwrap_or_default());
        let effect: [&[u8]; 6] = [
            b"XTRIM",
            argv[1],
            b"MAXLEN",
            b"=",
            length.as_bytes(),
            references,
        ];
        ctx.db.effect(&effect);
    }
    Ok(removed.into())
}
