//! Commands to the bodies and paths of requests.
//!
//! JSON has text only. An endpoint that takes other bytes in it (ours; what an
//! endpoint does is asked by a PING with such a byte) gets everything as JSON.
//! For others a command with such bytes takes the path form, alone in its
//! request: each argument is a segment with percent escapes, but the last is the
//! body, or, in `SET key value EX 60`, the third last with the rest as the query.
//! Inside a transaction there is no such form.

use std::fmt::Write as _;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use sangam_wire::rest::write_command;

use crate::commands::Commands;
use crate::kind::{Kind, is_of_connection};

/// Bytes of a body that more commands may join: below Upstash's limit of 10 MB a
/// request.
pub(super) const BODY_MAX: usize = 8 << 20;
/// Longest path with its query: what hyper takes for an address.
const PATH_MAX: usize = 65_000;

/// What a segment of a path keeps as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// How replies stand in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One reply.
    Single,
    /// So many, one after the other.
    Pipeline(usize),
    /// An array with so many, or one error.
    Transaction(usize),
}

impl Form {
    /// Outcomes that an answer has.
    pub(super) const fn outcomes(self) -> usize {
        match self {
            Form::Single | Form::Transaction(_) => 1,
            Form::Pipeline(count) => count,
        }
    }
}

/// A request, but for its headers.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// With the query.
    pub(super) path: String,
    pub(super) body: Bytes,
    pub(super) form: Form,
    /// Whether something in it may write.
    pub(super) writes: bool,
}

/// Commands in JSON that may share a request with others.
#[derive(Debug, Default)]
pub(super) struct Items {
    /// Arrays with commas between them.
    pub(super) json: Vec<u8>,
    pub(super) count: usize,
    pub(super) writes: bool,
}

impl Items {
    pub(super) fn push(&mut self, argv: &[&[u8]]) {
        if self.count > 0 {
            self.json.push(b',');
        } else {
            self.json
                .reserve(argv.iter().map(|arg| arg.len() + 3).sum());
        }
        write_command(argv, &mut self.json);
        self.count += 1;
        self.writes |= Kind::of(argv) != Kind::Read;
    }

    /// The request of all of them, in their order.
    pub(super) fn into_call(all: &[&Items]) -> Call {
        let (mut count, mut writes) = (0, false);
        let bytes: usize = all.iter().map(|items| items.json.len() + 1).sum();
        let mut body = Vec::with_capacity(bytes + 1);
        let alone = matches!(all, [items] if items.count == 1);
        for items in all {
            if count > 0 {
                body.push(b',');
            } else if !alone {
                body.push(b'[');
            }
            body.extend_from_slice(&items.json);
            count += items.count;
            writes |= items.writes;
        }
        if alone {
            return Call {
                path: "/".to_owned(),
                body: body.into(),
                form: Form::Single,
                writes,
            };
        }
        body.push(b']');
        Call {
            path: "/pipeline".to_owned(),
            body: body.into(),
            form: Form::Pipeline(count),
            writes,
        }
    }
}

/// What the caller of a command or of several sends.
#[derive(Debug)]
pub(super) enum Work {
    /// What may share a request.
    Items(Items),
    /// Requests of their own, one after the other.
    Calls(Vec<Call>),
}

/// One command; the error says why it cannot be sent.
pub(super) fn command(argv: &[&[u8]], takes_bytes: bool) -> Result<Work, String> {
    refused(argv)?;
    if !takes_bytes && !is_text(argv) {
        return Ok(Work::Calls(vec![by_path(argv)?]));
    }
    let mut items = Items::default();
    items.push(argv);
    Ok(Work::Items(items))
}

/// Commands in order, and for each whether it is sent or why not.
pub(super) fn pipeline(
    commands: &Commands,
    takes_bytes: bool,
    batch: usize,
) -> (Option<Work>, Vec<Result<(), String>>) {
    let mut calls = Vec::new();
    let mut items = Items::default();
    let mut outcomes = Vec::with_capacity(commands.len());
    let close = |items: &mut Items, calls: &mut Vec<Call>| {
        if items.count > 0 {
            calls.push(Items::into_call(&[items]));
            *items = Items::default();
        }
    };
    for argv in commands.iter() {
        let outcome = refused(&argv).and_then(|()| {
            if takes_bytes || is_text(&argv) {
                let bytes: usize = argv.iter().map(|arg| arg.len() + 3).sum();
                if items.count >= batch || items.json.len() + bytes > BODY_MAX {
                    close(&mut items, &mut calls);
                }
                items.push(&argv);
            } else {
                let call = by_path(&argv)?;
                close(&mut items, &mut calls);
                calls.push(call);
            }
            Ok(())
        });
        outcomes.push(outcome);
    }
    if calls.is_empty() {
        let work = (items.count > 0).then_some(Work::Items(items));
        return (work, outcomes);
    }
    close(&mut items, &mut calls);
    (Some(Work::Calls(calls)), outcomes)
}

/// Commands as one unit.
pub(super) fn transaction(commands: &Commands, takes_bytes: bool) -> Result<Call, String> {
    let mut items = Items::default();
    for argv in commands.iter() {
        refused(&argv)?;
        if !takes_bytes && !is_text(&argv) {
            return Err(format!(
                "{} has an argument that is no UTF-8, which this REST endpoint takes outside of \
                 transactions only: encode it, or use a script",
                name(&argv)
            ));
        }
        items.push(&argv);
    }
    let mut body = Vec::with_capacity(items.json.len() + 2);
    body.push(b'[');
    body.extend_from_slice(&items.json);
    body.push(b']');
    Ok(Call {
        path: "/multi-exec".to_owned(),
        body: body.into(),
        form: Form::Transaction(items.count),
        writes: items.writes,
    })
}

/// The PING that shows whether an endpoint takes bytes that are no text.
pub(super) fn probe() -> Call {
    Call {
        path: "/".to_owned(),
        body: Bytes::from_static(b"[\"PING\",\"\xff\"]"),
        form: Form::Single,
        writes: false,
    }
}

/// A PING without more.
pub(super) fn ping() -> Call {
    Call {
        body: Bytes::from_static(b"[\"PING\"]"),
        ..probe()
    }
}

/// The path of a subscription.
pub(super) fn listening(word: &str, name: &[u8]) -> String {
    format!("/{word}/{}", percent_encode(name, SEGMENT))
}

/// Refuses what has no place in a request.
fn refused(argv: &[&[u8]]) -> Result<(), String> {
    let first = argv.first().copied().unwrap_or_default();
    if first.is_empty() {
        return Err("a command has a name".to_owned());
    }
    if is_of_connection(first) {
        return Err(format!(
            "{} is about a connection, and a REST endpoint has none of its caller's: use \
             `transaction` for MULTI, `atomic` or `script` for WATCH, `subscribe` for messages",
            name(argv)
        ));
    }
    if Kind::of(argv) == Kind::Blocking {
        return Err(blocking(argv));
    }
    Ok(())
}

/// The refusal of a command that waits.
pub(super) fn blocking(argv: &[&[u8]]) -> String {
    format!(
        "{} would wait, and a REST endpoint runs no command that waits: ask again and again, \
         subscribe, or use a store at redis://",
        name(argv)
    )
}

fn name(argv: &[&[u8]]) -> String {
    let name = argv.first().copied().unwrap_or_default();
    String::from_utf8_lossy(name).to_ascii_uppercase()
}

fn is_text(argv: &[&[u8]]) -> bool {
    argv.iter().all(|arg| std::str::from_utf8(arg).is_ok())
}

/// The path form of a command.
fn by_path(argv: &[&[u8]]) -> Result<Call, String> {
    let empty = |arg: &&[u8]| arg.is_empty();
    let pair = |key: &[u8], value: &[u8]| !key.is_empty() && !value.is_empty() && key != b"_token";
    let (path, body, query) = match argv {
        [path @ .., body, key, value]
            if path.len() > 1 && body.len() > value.len() && pair(key, value) =>
        {
            (path, *body, Some((*key, *value)))
        }
        [path @ .., body] => (path, *body, None),
        [] => (argv, &[][..], None),
    };
    if body.is_empty() || path.is_empty() || path.iter().any(empty) {
        return Err(format!(
            "{} has an argument that is no UTF-8 and an empty one, which this REST endpoint \
             cannot take together: encode it",
            name(argv)
        ));
    }
    let mut text = String::new();
    for segment in path {
        text.push('/');
        text.extend(percent_encode(segment, SEGMENT));
    }
    if let Some((key, value)) = query {
        let (key, value) = (percent_encode(key, SEGMENT), percent_encode(value, SEGMENT));
        // Writing to a string does not fail.
        let _ = write!(text, "?{key}={value}");
    }
    if text.len() > PATH_MAX {
        return Err(format!(
            "{} has an argument that is no UTF-8, and others that are too long for the address \
             that this REST endpoint takes it by: encode it, or make the longest the last",
            name(argv)
        ));
    }
    Ok(Call {
        path: text,
        body: Bytes::copy_from_slice(body),
        form: Form::Single,
        writes: Kind::of(argv) != Kind::Read,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sangam_wire::rest::PathCommand;

    #[track_caller]
    fn path_is_read_back(argv: &[&[u8]]) {
        let call = by_path(argv).unwrap();
        let (path, query) = call
            .path
            .split_once('?')
            .map_or((call.path.as_str(), None), |(path, query)| {
                (path, Some(query))
            });
        let read = PathCommand::parse(path, query, &call.body).unwrap();
        assert_eq!(read.argv().as_slice(), argv, "{}", call.path);
    }

    #[test]
    fn any_bytes_go_by_path() {
        let all: Vec<u8> = (0..=255).collect();
        path_is_read_back(&[b"SET", &all, &all]);
        path_is_read_back(&[b"SET", b"k", &all, b"EX", b"60"]);
        path_is_read_back(&[b"SET", b"a/b?c=d", b"\xff", b"NX"]);
        path_is_read_back(&[b"HSET", b"k", b"f", b"\xff", b"g", &all]);
        path_is_read_back(&[b"GET", b"\xfe"]);
        path_is_read_back(&[b"ECHO", b"..", b"\xfe"]);
        let long = vec![0xff; 70_000];
        for (argv, expected) in [
            (&[&b"SET"[..], b"\xff", b""][..], "an empty one"),
            (&[b"MSET", b"", b"\xff"], "an empty one"),
            (&[b"SET", &long, b"x"], "too long for the address"),
        ] {
            let text = by_path(argv).unwrap_err();
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn a_pipeline_is_cut_where_it_must_be() {
        let mut commands = Commands::new();
        for _ in 0..5 {
            commands.push(&[b"INCR", b"n"]);
        }
        commands.push(&[b"GET", b"\xff"]);
        commands.push(&[b"BLPOP", b"l", b"0"]);
        commands.push(&[b"GET", b"n"]);
        let (work, outcomes) = pipeline(&commands, false, 3);
        let Some(Work::Calls(calls)) = work else {
            panic!()
        };
        let forms: Vec<Form> = calls.iter().map(|call| call.form).collect();
        assert_eq!(
            forms,
            [
                Form::Pipeline(3),
                Form::Pipeline(2),
                Form::Single,
                Form::Single
            ]
        );
        assert_eq!(calls[3].body, &b"[\"GET\",\"n\"]"[..]);
        assert!(calls[0].writes && !calls[2].writes);
        assert!(outcomes[6].as_ref().unwrap_err().contains("would wait"));
        assert!(outcomes[7].is_ok());

        let (work, _) = pipeline(&commands, true, 1000);
        assert!(matches!(work, Some(Work::Items(items)) if items.count == 7));
        let text = transaction(&commands, false).unwrap_err();
        assert!(text.contains("no UTF-8"), "{text}");
    }

    #[test]
    fn one_item_is_a_single_call() {
        let mut one = Items::default();
        one.push(&[b"GET", b"k"]);
        let call = Items::into_call(&[&one]);
        assert_eq!((call.path.as_str(), call.form), ("/", Form::Single));
        assert_eq!(call.body, &b"[\"GET\",\"k\"]"[..]);
        let call = Items::into_call(&[&one, &one]);
        assert_eq!(call.body, &b"[[\"GET\",\"k\"],[\"GET\",\"k\"]]"[..]);
        assert_eq!(
            (call.path.as_str(), call.form),
            ("/pipeline", Form::Pipeline(2))
        );
    }
}
