//! Where a reply sends its command, and whether the server itself does.
//!
//! The text of an error does not say who wrote it: a script may change something
//! and then return `MOVED …` or `ASK …` of its own making. Followed, it would run
//! twice, the second time wherever it likes. So what can run code is followed only
//! after the node that answered confirms it, in its own view of the cluster; that
//! is one more round trip for each redirected script.

use sangam_engine::Reply;
use sangam_engine::command::spec;

use super::Cluster;
use super::topology::beside;
use crate::backend::redis::address::Host;
use crate::backend::redis::node::Node;
use crate::backend::{Failure, Sent};
use crate::error::Why;

/// Where a reply sends its command.
pub(super) enum Redirection {
    Moved(u16, Host),
    Ask(Host),
}

impl Redirection {
    pub(super) fn of(text: &[u8], namer: Option<&Host>) -> Option<Self> {
        let mut words = text.split(|byte| *byte == b' ');
        let kind = words.next()?;
        if kind != b"MOVED" && kind != b"ASK" {
            return None;
        }
        let mut words = words.map_while(|word| std::str::from_utf8(word).ok());
        let slot = words.next()?.parse().ok()?;
        let (name, port) = words.next()?.rsplit_once(':')?;
        let host = beside(name, port.parse().ok()?, namer);
        Some(if kind == b"MOVED" {
            Redirection::Moved(slot, host)
        } else {
            Redirection::Ask(host)
        })
    }
}

/// Commands that run a caller's code.
const SCRIPTS: &[&str] = &[
    "eval",
    "eval_ro",
    "evalsha",
    "evalsha_ro",
    "fcall",
    "fcall_ro",
];

/// Whether a command's errors may be written by code: a script's, or that of a
/// module that our table does not know.
pub(super) fn may_make_up_errors(argv: &[&[u8]]) -> bool {
    let name = argv.first().copied().unwrap_or_default();
    let mut scripts = SCRIPTS.iter().map(|it| it.as_bytes());
    scripts.any(|it| it.eq_ignore_ascii_case(name)) || spec::find(name).is_none()
}

impl Cluster {
    /// Whether a node really sends what belongs to a slot where `text` says. What
    /// became of the command is unknown where the node does not say.
    pub(super) async fn confirms(
        &self,
        node: &Node,
        slot: u16,
        text: &[u8],
    ) -> Result<bool, Failure> {
        let text = String::from_utf8_lossy(text);
        let view = node.call(&[b"CLUSTER", b"NODES"], &Sent::default()).await;
        let Ok(Reply::Bulk(view) | Reply::Verbatim(_, view)) = view else {
            self.refresh_soon();
            return Err(Failure::Lost(Why::Refusing(text.into_owned())));
        };
        Ok(says(&String::from_utf8_lossy(&view), slot, &text))
    }
}

/// Whether a node with this view, an answer to CLUSTER NODES, redirects so.
fn says(view: &str, slot: u16, text: &str) -> bool {
    let words: Vec<&str> = text.split(' ').collect();
    let [kind, at, to] = words.as_slice() else {
        return false;
    };
    if at.parse() != Ok(slot) {
        return false;
    }
    let target = match *kind {
        "MOVED" => lines(view).find(|line| line.has(slot)),
        "ASK" => lines(view)
            .find(|line| line.is_own)
            .and_then(|own| own.migrates_to(slot))
            .and_then(|id| lines(view).find(|line| line.id == id)),
        _ => None,
    };
    target.is_some_and(|target| !target.is_own && target.is_at(to))
}

/// A node in the view of one.
struct Line<'a> {
    id: &'a str,
    /// `ip:port@bus,name,…`
    place: &'a str,
    /// Whether it is the one whose view it is.
    is_own: bool,
    slots: std::str::SplitAsciiWhitespace<'a>,
}

fn lines(view: &str) -> impl Iterator<Item = Line<'_>> {
    view.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (id, place, flags) = (words.next()?, words.next()?, words.next()?);
        // The master's id, two times, an epoch and the state of the link.
        words.nth(4)?;
        Some(Line {
            id,
            place,
            is_own: flags.split(',').any(|flag| flag == "myself"),
            slots: words,
        })
    })
}

impl<'a> Line<'a> {
    fn has(&self, slot: u16) -> bool {
        self.slots.clone().any(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            // Slots on their way stand in brackets, and are no numbers.
            let bounds = first.parse().ok().zip(last.parse().ok());
            bounds.is_some_and(|(first, last): (u16, u16)| (first..=last).contains(&slot))
        })
    }

    /// The id in `[slot->-id]`.
    fn migrates_to(&self, slot: u16) -> Option<&'a str> {
        self.slots.clone().find_map(|moving| {
            let (at, id) = moving
                .strip_prefix('[')?
                .strip_suffix(']')?
                .split_once("->-")?;
            (at.parse() == Ok(slot)).then_some(id)
        })
    }

    fn is_at(&self, to: &str) -> bool {
        let (address, rest) = self.place.split_once('@').unwrap_or((self.place, ""));
        let name = rest.split(',').nth(1).unwrap_or_default();
        let (Some((ip, port)), Some((host, to_port))) =
            (address.rsplit_once(':'), to.rsplit_once(':'))
        else {
            return false;
        };
        // A host that is left out is the one that answered.
        port == to_port && (host == ip || host == name || matches!(host, "" | "?"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW: &str = "\
        aa 127.0.0.1:7001@17001,one.example,shard-id=x myself,master - 0 0 1 connected 0-99 200 [7->-cc] [300-<-bb]\n\
        bb 127.0.0.1:7002@17002 master - 0 1 2 connected 100-199 201-16383\n\
        cc ::1:7003@17003,three.example master - 0 1 3 connected\n\
        dd 127.0.0.1:7004@17004 slave bb 0 1 2 connected\n";

    #[test]
    fn a_node_redirects_as_its_own_view_says() {
        for (slot, text) in [
            (100, "MOVED 100 127.0.0.1:7002"),
            (300, "MOVED 300 127.0.0.1:7002"),
            (300, "MOVED 300 :7002"),
            (300, "MOVED 300 ?:7002"),
            (7, "ASK 7 ::1:7003"),
            (7, "ASK 7 three.example:7003"),
        ] {
            assert!(says(VIEW, slot, text), "{text}");
        }
        for (slot, text) in [
            // Its own slots, or another's.
            (7, "MOVED 7 127.0.0.1:7002"),
            (7, "MOVED 7 127.0.0.1:7001"),
            (200, "MOVED 200 127.0.0.1:7002"),
            (101, "MOVED 100 127.0.0.1:7002"),
            // Somebody else.
            (100, "MOVED 100 127.0.0.1:7003"),
            (100, "MOVED 100 10.0.0.1:7002"),
            (100, "MOVED 100 127.0.0.1:7002 x"),
            (100, "MOVED 100"),
            (7, "ASK 7 127.0.0.1:7002"),
            (8, "ASK 8 ::1:7003"),
            (300, "ASK 300 127.0.0.1:7002"),
        ] {
            assert!(!says(VIEW, slot, text), "{text}");
        }
    }

    #[test]
    fn what_runs_code_is_known() {
        for code in ["EVAL", "evalsha", "FCALL_RO", "module.run"] {
            assert!(may_make_up_errors(&[code.as_bytes(), b"x"]), "{code}");
        }
        for plain in ["get", "MSET", "xadd", "blpop"] {
            assert!(!may_make_up_errors(&[plain.as_bytes(), b"x"]), "{plain}");
        }
    }
}
