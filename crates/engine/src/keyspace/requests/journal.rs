//! Remembered requests in frames and snapshots (docs/journal.md).

use std::ops::Bound;

use super::id::{Once, Request, RequestId};
use super::{ID_COST, REPLY_COST, Requests};
use crate::effect::{self, Effects, Seq};
use crate::reply::encoded;

/// The effect that remembers a request. There is no command of this name, so
/// nobody else can make one.
const NAME: &[u8] = b"SANGAM.REQUEST";
/// Bytes of a piece of a snapshot, roughly.
const PIECE: usize = 128 << 10;

/// A command's reply, to be remembered.
#[derive(Debug)]
pub(crate) struct Remembered {
    pub(super) once: Once,
    /// Encoded; empty where it was too large.
    pub(super) reply: Vec<u8>,
}

impl Remembered {
    /// The arguments of an effect behind its name.
    fn parse(args: &[&[u8]]) -> Option<Self> {
        let [id, place, fingerprint, reply] = args else {
            return None;
        };
        let request = Request {
            id: RequestId::of_bytes((*id).try_into().ok()?)?,
            fingerprint: u64::from_le_bytes((*fingerprint).try_into().ok()?),
            commands: 1,
        };
        if !reply.is_empty() {
            encoded::decode(reply)?;
        }
        Some(Remembered {
            once: Once {
                request,
                place: u32::from_le_bytes((*place).try_into().ok()?),
            },
            reply: reply.to_vec(),
        })
    }
}

/// Whether this effect remembers a request.
pub(crate) fn is_remembered(argv: &[&[u8]]) -> bool {
    argv.first() == Some(&NAME)
}

/// Adds the effect that remembers it.
pub(crate) fn push(it: &Remembered, effects: &mut Effects) {
    let request = &it.once.request;
    push_one(
        request.id,
        it.once.place,
        request.fingerprint,
        &it.reply,
        effects,
    );
}

fn push_one(id: RequestId, place: u32, fingerprint: u64, reply: &[u8], effects: &mut Effects) {
    effects.push(&[
        NAME,
        &id.to_bytes(),
        &place.to_le_bytes(),
        &fingerprint.to_le_bytes(),
        reply,
    ]);
}

impl Requests {
    /// Remembers what an effect says, which is a part of unit `seq`.
    pub(crate) fn replay(
        &mut self,
        argv: &[&[u8]],
        seq: Seq,
        now_ms: u64,
        most_bytes: usize,
    ) -> Result<(), String> {
        let remembered = argv
            .split_first()
            .and_then(|(_, args)| Remembered::parse(args));
        let remembered = remembered.ok_or("a remembered request is malformed")?;
        self.insert(remembered, seq, now_ms, most_bytes);
        Ok(())
    }

    /// Remembers what a block of a snapshot says that was cut at `cut`.
    pub(crate) fn restore(&mut self, block: &[u8], cut: Seq) -> Result<(), String> {
        let (dropped, commands) = block.split_first_chunk().ok_or("a block ends early")?;
        let all = effect::decode(commands).ok_or("the payload is not commands")?;
        for argv in all {
            if !is_remembered(&argv) {
                return Err("a snapshot's requests are remembered by other effects".to_owned());
            }
            self.replay(&argv, cut, 0, usize::MAX)?;
        }
        if *dropped != [0; 16] {
            let dropped = RequestId::of_bytes(*dropped).ok_or("a dropped id is malformed")?;
            self.dropped = self.dropped.max(Some(dropped));
        }
        Ok(())
    }

    /// The next piece of a snapshot that was cut at `cut`: the payload of a block.
    /// `None` where there is no more; the piece before it said the newest id
    /// that was dropped.
    pub(crate) fn piece(&self, after: &mut Place, cut: Seq) -> Option<Vec<u8>> {
        if after.ended || (self.kept.is_empty() && self.dropped.is_none()) {
            return None;
        }
        let from = after.id.map_or(Bound::Unbounded, Bound::Excluded);
        let mut effects = Effects::default();
        let mut visited = 0;
        after.ended = true;
        for (id, entry) in self.kept.range((from, Bound::Unbounded)) {
            if visited >= PIECE {
                after.ended = false;
                break;
            }
            visited += ID_COST + entry.bytes + entry.replies.len() * REPLY_COST;
            for kept in entry.replies.iter().filter(|kept| kept.seq <= cut) {
                push_one(
                    *id,
                    kept.place,
                    entry.fingerprint,
                    &kept.reply,
                    &mut effects,
                );
            }
            after.id = Some(*id);
        }
        if after.ended && effects.is_empty() && self.dropped.is_none() {
            return None;
        }
        let dropped = self.dropped.map_or([0; 16], RequestId::to_bytes);
        Some([&dropped, effects.as_bytes()].concat())
    }
}

/// How far a snapshot has come.
#[derive(Debug, Default)]
pub(crate) struct Place {
    id: Option<RequestId>,
    ended: bool,
}

/// Whether the payload of a snapshot's block can be one of requests.
pub(crate) fn is_block(payload: &[u8]) -> bool {
    payload
        .split_first_chunk::<16>()
        .is_some_and(|(_, commands)| effect::decode(commands).is_some())
}
