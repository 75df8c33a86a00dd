//! Lists.

use super::read::Reader;
use super::write::Writer;
use super::{Malformed, kind, listpack, ziplist};
use crate::value::{Collection, End, List, ListLimits, Member, Value};

/// How a node says that it is an element by itself, or a listpack.
const PLAIN: u64 = 1;
const PACKED: u64 = 2;

/// Bytes of a node that is written, and what an element is taken to need there
/// beside its own: those of Redis' default `list-max-listpack-size`.
const NODE: usize = 8 << 10;
const OVERHEAD: usize = 8;

/// Appends the list behind its type, in nodes as a Redis would have them that
/// had the elements pushed one by one.
pub(super) fn encode(list: &List, out: &mut Writer) {
    let mut nodes = Vec::new();
    let mut node = listpack::Builder::new();
    for element in list {
        let text = Member::from(element);
        if node.len() > 0 && node.size() + text.len() + OVERHEAD > NODE {
            nodes.push(std::mem::replace(&mut node, listpack::Builder::new()).finish());
        }
        node.push(&text);
    }
    nodes.push(node.finish());
    out.raw(&[kind::LIST_QUICKLIST_2]);
    out.length(nodes.len() as u64);
    for node in nodes {
        out.length(PACKED);
        out.string(&node);
    }
}

/// Reads a list of this type.
pub(super) fn decode(
    kind: u8,
    reader: &mut Reader<'_>,
    limits: ListLimits,
) -> Result<Value, Malformed> {
    let mut list = List::default();
    let mut push = |text: &[u8]| list.push(End::Tail, text, limits);
    match kind {
        kind::LIST => {
            for _ in 0..reader.count(1)? {
                push(&reader.string()?);
            }
        }
        kind::LIST_ZIPLIST => {
            let packed = reader.string()?;
            ziplist::Entries::open(&packed)?.for_each(|text| push(&text));
        }
        kind::LIST_QUICKLIST => {
            for _ in 0..reader.count(1)? {
                let packed = reader.string()?;
                ziplist::Entries::open(&packed)?.for_each(|text| push(&text));
            }
        }
        _ => {
            for _ in 0..reader.count(2)? {
                match reader.length()? {
                    PLAIN => match &*reader.string()? {
                        [] => return Err(Malformed),
                        text => push(text),
                    },
                    PACKED => {
                        let packed = reader.string()?;
                        listpack::Entries::open(&packed)?.for_each(|text| push(&text));
                    }
                    _ => return Err(Malformed),
                }
            }
        }
    }
    // Nodes may be empty; a list is not.
    if list.is_empty() {
        return Err(Malformed);
    }
    Ok(list.into_value())
}
