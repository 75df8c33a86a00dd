//! What a client hears where the store has no reply.
//!
//! The line runs where the store draws it: what certainly did nothing is 503 with
//! `Retry-After`, what nobody knows is 500, which no proxy and no SDK repeats by
//! itself. Inside a pipeline both are the item's error, and the status is 200.

use sangam_engine::Reply;
use sangam_store::{Error, Why};

use super::super::commands::Outage;
use super::Ended;
use super::plan::Request;

/// Seconds after which a store that could not be reached is worth asking again:
/// it is probed more often than that.
const RETRY_AFTER: u16 = 1;

/// What Upstash says of a script that it does not know.
pub(super) const NO_SCRIPT: &[u8] = b"NOSCRIPT No matching script. Please use EVAL.";

/// The reply in the place of an error of this command.
pub(super) fn told(error: Error, argv: &[&[u8]]) -> Ended {
    match error {
        Error::Command(refusal) => {
            let text = refusal.as_bytes();
            (Reply::Error(in_upstashs_words(text, argv)), None)
        }
        Error::Unsupported(text) => (Reply::error(format!("ERR {text}")), None),
        Error::Unavailable(why) => {
            let reply = Reply::error(format!("ERR store unavailable: {}", one_line(&why)));
            (reply, Some(Outage::Unavailable(retry_after(&why))))
        }
        Error::Setting(text) => {
            let reply = Reply::error(format!("ERR store unavailable: {}", one_line(&text)));
            (reply, Some(Outage::Unavailable(None)))
        }
        Error::Indeterminate(why) => {
            let reply = Reply::error(format!(
                "ERR outcome unknown: the command may have been applied: {}",
                one_line(&why)
            ));
            (reply, Some(Outage::Unknown))
        }
        Error::Reply(text) => {
            let reply = Reply::error(format!(
                "ERR outcome unknown: the command was applied and its reply cannot be read: {}",
                one_line(&text)
            ));
            (reply, Some(Outage::Unknown))
        }
    }
}

/// The same for a unit of `requests`, of which the store does not say which one
/// it refused: its text has the name.
pub(super) fn told_of_unit<'a>(
    error: Error,
    requests: impl IntoIterator<Item = &'a Request<'a>>,
) -> Ended {
    let quoted = match &error {
        Error::Command(refusal) => quoted(refusal.as_bytes()).to_vec(),
        _ => Vec::new(),
    };
    let is = |word: Option<&&[u8]>| word.is_some_and(|it| it.eq_ignore_ascii_case(&quoted));
    let mut argvs = requests.into_iter().map(Request::argv);
    let refused = argvs.find(|argv| is(argv.first()) || is(argv.get(1)));
    match refused {
        Some(argv) => told(error, &argv),
        None => told(error, &[&quoted]),
    }
}

/// What stands in the first quotes of an error's text.
fn quoted(text: &[u8]) -> &[u8] {
    let mut parts = text.split(|byte| matches!(byte, b'\'' | b'`'));
    parts.nth(1).unwrap_or_default()
}

/// Fewer replies than commands.
pub(super) fn missing() -> Error {
    Error::Reply("the store answered fewer replies than there were commands".to_owned())
}

fn retry_after(why: &Why) -> Option<u16> {
    match why {
        Why::Connect { .. }
        | Why::Broken { .. }
        | Why::Timeout(_)
        | Why::Open(_)
        | Why::Full { .. } => Some(RETRY_AFTER),
        // A plan that is used up, a replica: nobody knows until when.
        Why::Answer { .. } | Why::Refusing(_) | Why::Disabled => None,
    }
}

/// The store's own text, unless Upstash has another for the same.
fn in_upstashs_words(text: &[u8], argv: &[&[u8]]) -> Vec<u8> {
    if text.starts_with(b"NOSCRIPT") {
        return NO_SCRIPT.to_vec();
    }
    let unknown = text.starts_with(b"ERR unknown command ");
    if unknown || text.starts_with(b"ERR unknown subcommand '") {
        let words = argv.get(..if unknown { 1 } else { 2 }).unwrap_or(argv);
        let name = String::from_utf8_lossy(&words.join(&b' ')).to_ascii_uppercase();
        return format!(
            "ERR Command is not available: '{name}'. The server behind this gateway does not \
             know it"
        )
        .into_bytes();
    }
    text.to_vec()
}

fn one_line(text: &impl ToString) -> String {
    text.to_string().replace(['\r', '\n'], " ")
}
