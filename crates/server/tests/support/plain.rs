//! Replies as RESP2 and JSON can say them, which every back end can: a caller
//! that compares these gets the same from all of them.
#![allow(dead_code, reason = "each test binary uses its part")]

use sangam_store::{Error, Reply, Store};

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Plain {
    Nil,
    Int(i64),
    Text(Vec<u8>),
    List(Vec<Plain>),
}

impl Plain {
    pub(crate) fn of(reply: Reply) -> Plain {
        let list = |items: Vec<Reply>| Plain::List(items.into_iter().map(Plain::of).collect());
        let flat = |pairs: Vec<(Reply, Reply)>| {
            let items = pairs.into_iter().flat_map(|(one, other)| [one, other]);
            Plain::List(items.map(Plain::of).collect())
        };
        match reply.unpacked() {
            Reply::Null | Reply::NullArray => Plain::Nil,
            Reply::Int(number) => Plain::Int(number),
            Reply::Bool(truth) => Plain::Int(i64::from(truth)),
            Reply::Status(text) => text.as_ref().into(),
            Reply::Bulk(bytes) | Reply::Decimal(bytes) | Reply::Verbatim(_, bytes) => {
                Plain::Text(bytes)
            }
            Reply::BigNumber(digits) => Plain::Text(digits),
            Reply::Double(number) => number.to_string().as_str().into(),
            Reply::Array(items) | Reply::Set(items) => list(items),
            Reply::Map(pairs) | Reply::Pairs(pairs) => flat(pairs),
            other => panic!("no reply of a store: {other:?}"),
        }
    }

    /// With the elements of lists in it in its own list: pairs are nested in
    /// RESP3 and nowhere else.
    pub(crate) fn flat(self) -> Plain {
        fn into(plain: Plain, out: &mut Vec<Plain>) {
            match plain {
                Plain::List(items) => items.into_iter().for_each(|item| into(item, out)),
                other => out.push(other),
            }
        }
        let mut items = Vec::new();
        into(self, &mut items);
        Plain::List(items)
    }

    /// With its elements in their order; sets have none of their own.
    pub(crate) fn sorted(self) -> Plain {
        match self {
            Plain::List(mut items) => {
                items.sort();
                Plain::List(items)
            }
            other => other,
        }
    }
}

impl From<&str> for Plain {
    fn from(text: &str) -> Self {
        Plain::Text(text.as_bytes().to_vec())
    }
}

impl From<&[u8]> for Plain {
    fn from(bytes: &[u8]) -> Self {
        Plain::Text(bytes.to_vec())
    }
}

impl From<i64> for Plain {
    fn from(number: i64) -> Self {
        Plain::Int(number)
    }
}

impl<const N: usize> From<[Plain; N]> for Plain {
    fn from(items: [Plain; N]) -> Self {
        Plain::List(items.into())
    }
}

impl std::fmt::Debug for Plain {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Plain::Nil => out.write_str("nil"),
            Plain::Int(number) => write!(out, "{number}"),
            Plain::Text(bytes) => write!(out, "\"{}\"", bytes.escape_ascii()),
            Plain::List(items) => out.debug_list().entries(items).finish(),
        }
    }
}

/// Runs a command and expects a reply.
pub(crate) async fn ask<A: AsRef<[u8]>>(store: &Store, argv: &[A]) -> Plain {
    match try_ask(store, argv).await {
        Ok(plain) => plain,
        Err(error) => {
            let argv: Vec<_> = argv
                .iter()
                .map(|arg| arg.as_ref().escape_ascii().to_string())
                .collect();
            panic!("{argv:?}: {error}")
        }
    }
}

/// Runs a command.
pub(crate) async fn try_ask<A: AsRef<[u8]>>(store: &Store, argv: &[A]) -> Result<Plain, Error> {
    let argv: Vec<&[u8]> = argv.iter().map(AsRef::as_ref).collect();
    store.call(&argv).await.map(Plain::of)
}
