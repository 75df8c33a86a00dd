//! How many instances of an app are alive, as far as this one knows: what a limit is
//! divided by where each instance has to do with its share.
//!
//! All of an app's instances are in one list, `<prefix>limit-instances:{all}`:
//! [`FORM`], then `id:end,` for each, its random id and the moment in milliseconds at
//! which it counts no longer. A beat drops who is over, renews this instance and
//! answers the number alive, for 3 billed commands. It is made beside a check that
//! needs the number, at most once in 3 s, or in 30 s over a store that bills (6
//! commands a minute), and never makes one wait: an app that checks nothing pays
//! nothing, and is forgotten.
//!
//! The number is that of the last beat. Whoever starts is known to all within an
//! interval; whoever crashed is counted for up to [`LIFETIME`] longer, which makes
//! shares smaller, never larger. Where many start at once the first ones know too
//! little for an interval: an assumed number ([`Instances::assume`]) is the least
//! that is ever answered.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use sangam_engine::command::{Ttl, Tx};
use sangam_engine::keyspace::StrRef;
use sangam_engine::{CommandError, Reply};
use sangam_store::op::{Args, AtomicOp, Keys};
use sangam_store::{Dialect, Error, Script, Store};
use smallvec::smallvec;

use super::algorithm::{Now, SLACK_MS};
use crate::background::Background;

static BEAT: Script = Script::new("limit-instances", include_str!("instances.lua"));

/// The byte that begins the list.
const FORM: u8 = b'i';
/// The shortest time between two beats over a store that bills.
const INTERVAL: Duration = Duration::from_secs(30);
/// The same over a store that does not: newcomers are known soon.
const BRISK: Duration = Duration::from_secs(3);
/// How long an instance is alive after its beat.
pub(super) const LIFETIME: Duration = Duration::from_secs(90);
/// The time to the next beat after one that failed.
const RETRY: Duration = Duration::from_secs(3);
/// Instances in the list, 31 bytes each. Where there are more, each counts one more
/// than that, and hardly a limit has a share left.
const LISTED_MAX: usize = 4096;
/// The moment of the next beat where there is none.
const LEFT: u64 = u64::MAX;

/// The instances of an app, as this one sees them.
#[derive(Debug)]
pub(super) struct Instances {
    key: Arc<[u8]>,
    /// This one's; without chance it has none, and is not counted.
    id: Option<u64>,
    assumed: Option<NonZeroU32>,
    seen: Arc<Seen>,
    beat: Background,
}

/// The shortest time between two beats.
fn interval(store: &Store) -> Duration {
    match store.dialect() {
        Dialect::Upstash => INTERVAL,
        Dialect::Embedded | Dialect::Redis => BRISK,
    }
}

/// What the last beat saw.
#[derive(Debug, Default)]
struct Seen {
    /// 0 where there was none.
    alive: AtomicU32,
    /// Microseconds since the epoch: the next beat is not earlier. 0 where there was
    /// none, [`LEFT`] where there will be none.
    due: AtomicU64,
}

impl Seen {
    /// Sets the next beat, unless there will be none; what it was set to before.
    fn set_due(&self, due: u64) -> u64 {
        let relaxed = Ordering::Relaxed;
        let next = |known| (known != LEFT).then_some(due);
        match self.due.fetch_update(relaxed, relaxed, next) {
            Ok(before) | Err(before) => before,
        }
    }
}

impl Instances {
    /// The instances of the app that begins its keys with `prefix`.
    pub(super) fn new(prefix: &str) -> Self {
        Instances {
            key: key(prefix),
            id: getrandom::u64().ok(),
            assumed: None,
            seen: Arc::default(),
            beat: Background::default(),
        }
    }

    /// Looks under another prefix.
    pub(super) fn rename(&mut self, prefix: &str) {
        self.key = key(prefix);
    }

    /// Takes so many for alive before the number was seen, and never fewer.
    pub(super) fn assume(&mut self, least: NonZeroU32) {
        self.assumed = Some(least);
    }

    /// How many are alive, this one included; `None` where that was never known.
    pub(super) fn alive(&self) -> Option<NonZeroU32> {
        let seen = NonZeroU32::new(self.seen.alive.load(Ordering::Relaxed));
        seen.max(self.assumed)
    }

    /// Beats beside the caller's work, if it is time to. Costs a load where it is
    /// not.
    pub(super) fn refresh(&self, store: &Store, now: Now) {
        let now_us = now.0 as u64;
        let due = self.seen.due.load(Ordering::Relaxed);
        // A clock that was set back is not waited for.
        let furthest = now_us + interval(store).as_micros() as u64;
        if due > now_us && due <= furthest {
            return;
        }
        if due == LEFT {
            return;
        }
        let Some(id) = self.id else { return };
        let claimed = now_us + RETRY.as_micros() as u64;
        let claim = |from, to| {
            let relaxed = Ordering::Relaxed;
            self.seen.due.compare_exchange(from, to, relaxed, relaxed)
        };
        if claim(due, claimed).is_err() {
            return;
        }
        self.start_beat(store, id, now);
    }

    fn start_beat(&self, store: &Store, id: u64, now: Now) {
        let furthest = now.0 as u64 + interval(store).as_micros() as u64;
        let (store, key, seen) = (store.clone(), self.key.clone(), self.seen.clone());
        self.beat.start(async move {
            let beat = Beat::new(&key, id, now, Word::Beat);
            if let Ok(alive) = store.atomic(&beat).await {
                seen.alive.store(alive, Ordering::Relaxed);
                if seen.set_due(furthest) == LEFT {
                    // It was on its way when this instance left.
                    let leave = Beat::new(&key, id, now, Word::Leave);
                    let _ = store.atomic(&leave).await;
                }
            }
        });
    }

    /// Leaves the list for good, unless it never was in it.
    pub(super) async fn leave(&self, store: &Store, now: Now) -> Result<(), Error> {
        let due = self.seen.due.swap(LEFT, Ordering::Relaxed);
        self.beat.finish().await;
        let Some(id) = self.id else { return Ok(()) };
        if matches!(due, 0 | LEFT) {
            return Ok(());
        }
        let leave = Beat::new(&self.key, id, now, Word::Leave);
        store.atomic(&leave).await.map(drop)
    }
}

fn key(prefix: &str) -> Arc<[u8]> {
    format!("{prefix}limit-instances:{{all}}")
        .into_bytes()
        .into()
}

/// What an instance has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// That it lives.
    Beat,
    /// That it ends.
    Leave,
}

/// The step on the list.
#[derive(Debug, Clone)]
pub(super) struct Beat<'a> {
    key: &'a [u8],
    /// 16 hexadecimal digits.
    id: String,
    word: Word,
    now_ms: u64,
    /// When an instance that beats now counts no longer.
    end_ms: u64,
}

impl<'a> Beat<'a> {
    pub(super) fn new(key: &'a [u8], id: u64, now: Now, word: Word) -> Self {
        let now_ms = now.millis() as u64;
        Beat {
            key,
            id: format!("{id:016x}"),
            word,
            now_ms,
            end_ms: now_ms + LIFETIME.as_millis() as u64,
        }
    }

    /// Milliseconds that the list lives.
    fn ttl_ms() -> u64 {
        LIFETIME.as_millis() as u64 + SLACK_MS as u64
    }
}

impl AtomicOp for Beat<'_> {
    /// How many are alive, this one included where it beats.
    type Output = u32;

    fn script(&self) -> &'static Script {
        &BEAT
    }

    fn keys(&self) -> Keys<'_> {
        smallvec![self.key]
    }

    fn args(&self) -> Args {
        let word = match self.word {
            Word::Beat => "beat",
            Word::Leave => "leave",
        };
        [
            word.to_owned(),
            self.now_ms.to_string(),
            self.end_ms.to_string(),
            self.id.clone(),
            LISTED_MAX.to_string(),
            Beat::ttl_ms().to_string(),
        ]
        .into_iter()
        .map(String::into_bytes)
        .collect()
    }

    fn read(&self, reply: Reply) -> Result<u32, Error> {
        let number = match &reply {
            Reply::Int(number) => u32::try_from(*number).ok(),
            _ => None,
        };
        number.ok_or_else(|| Error::Reply(format!("a number was expected, {reply:?} came")))
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<u32, CommandError> {
        let value = tx.get(self.key)?.map(StrRef::to_vec).unwrap_or_default();
        let mut written = vec![FORM];
        let mut write = |id: &[u8], end: u64| {
            written.extend_from_slice(id);
            written.extend_from_slice(format!(":{end},").as_bytes());
        };
        let (mut count, mut known) = (0_usize, false);
        for (id, end) in entries(&value) {
            // A clock that was ahead makes nobody live longer than others.
            let end = end.min(self.end_ms);
            if id == self.id.as_bytes() {
                known = true;
            } else if end > self.now_ms {
                write(id, end);
                count += 1;
            }
        }
        let mut alive = count;
        if self.word == Word::Beat {
            alive += 1;
            if known || count < LISTED_MAX {
                write(self.id.as_bytes(), self.end_ms);
                count += 1;
            }
        }
        if count == 0 {
            tx.remove(self.key)?;
        } else {
            tx.put(self.key, &written, Ttl::Millis(Beat::ttl_ms()))?;
        }
        Ok(u32::try_from(alive).unwrap_or(u32::MAX))
    }
}

/// The entries of a list, up to the first that is none.
fn entries(value: &[u8]) -> impl Iterator<Item = (&[u8], u64)> {
    let list = value.strip_prefix(&[FORM]).unwrap_or_default();
    list.split_inclusive(|byte| *byte == b',').map_while(entry)
}

fn entry(text: &[u8]) -> Option<(&[u8], u64)> {
    let (id, rest) = text.split_at_checked(16)?;
    let end = rest.strip_prefix(b":")?.strip_suffix(b",")?;
    let is_id = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_end = (1..=15).contains(&end.len()) && end.iter().all(u8::is_ascii_digit);
    if !is_end || !id.iter().all(is_id) {
        return None;
    }
    Some((id, std::str::from_utf8(end).ok()?.parse().ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use sangam_engine::clock::ManualClock;
    use sangam_engine::{Engine, Options};
    use sangam_store::op::testing::Twins;

    use super::*;

    const KEY: &[u8] = b"limit-instances:{all}";

    fn now(twins: &Twins) -> Now {
        Now(twins.now_ms() as i64 * 1000)
    }

    fn beat(twins: &mut Twins, id: u64, word: Word) -> u32 {
        let op = Beat::new(KEY, id, now(twins), word);
        twins.check(&op).unwrap().unwrap()
    }

    #[test]
    fn who_beats_is_alive_for_its_lifetime_or_until_it_leaves() {
        let mut twins = Twins::new();
        assert_eq!(beat(&mut twins, 1, Word::Beat), 1);
        assert_eq!(twins.cost(), 3);
        assert_eq!(beat(&mut twins, 2, Word::Beat), 2);
        assert_eq!(beat(&mut twins, 2, Word::Beat), 2, "renewed");
        assert_eq!(twins.cost(), 3);
        twins.advance(Duration::from_millis(89_999));
        assert_eq!(beat(&mut twins, 3, Word::Beat), 3);
        twins.advance(Duration::from_millis(1));
        assert_eq!(beat(&mut twins, 3, Word::Beat), 1);
        assert_eq!(beat(&mut twins, 4, Word::Beat), 2);
        assert_eq!(beat(&mut twins, 3, Word::Leave), 1);
        assert_eq!(twins.cost(), 3);
        assert_eq!(beat(&mut twins, 4, Word::Leave), 0);
        assert_eq!(
            twins.prepare(&[b"EXISTS", KEY]).unwrap(),
            Reply::Int(0),
            "an empty list is none"
        );
    }

    #[test]
    fn a_full_list_takes_nobody_and_says_so() {
        let mut twins = Twins::new();
        let end = twins.now_ms() + 1000;
        let mut list = vec![FORM];
        for id in 0..LISTED_MAX {
            list.extend_from_slice(format!("{id:016x}:{end},").as_bytes());
        }
        twins.prepare(&[b"SET", KEY, &list, b"EX", b"9"]).unwrap();
        assert_eq!(beat(&mut twins, 7, Word::Beat), 4096, "one of them");
        assert_eq!(beat(&mut twins, 99_999, Word::Beat), 4097);
        assert_eq!(beat(&mut twins, 99_998, Word::Beat), 4097);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Beat(u64, bool),
        Wait(u64),
        Spoil(Vec<u8>),
    }

    fn step() -> impl Strategy<Value = Step> {
        let spoilt = prop_oneof![
            vec(any::<u8>(), 0..40),
            "i([0-9a-f]{15,17}:[0-9]{0,16},){0,3}".prop_map(String::into_bytes),
            "i([0-9a-f]{16}:170000[0-9]{7},){0,3}[,:a]{0,2}".prop_map(String::into_bytes),
            "i[0-9a-f]{16}:,[0-9a-f]{16}:[0-9]{13},".prop_map(String::into_bytes),
        ];
        prop_oneof![
            8 => (0u64..5, proptest::bool::weighted(0.8)).prop_map(|(id, is)| Step::Beat(id, is)),
            3 => (0u64..60_000).prop_map(Step::Wait),
            1 => spoilt.prop_map(Step::Spoil),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        #[test]
        fn both_languages_agree(story in vec(step(), 1..30)) {
            let mut twins = Twins::new();
            for step in story {
                match step {
                    Step::Wait(millis) => twins.advance(Duration::from_millis(millis)),
                    Step::Spoil(value) => {
                        twins.prepare(&[b"SET", KEY, &value, b"EX", b"600"]).unwrap();
                    }
                    Step::Beat(id, lives) => {
                        let word = if lives { Word::Beat } else { Word::Leave };
                        let op = Beat::new(KEY, id, now(&twins), word);
                        let outcome = twins.check(&op).map_err(TestCaseError::fail)?;
                        prop_assert!(outcome.is_ok(), "{:?}", outcome);
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn instances_see_each_other_once_an_interval() {
        let clock = Arc::new(ManualClock::new(1_700_000_000_000_000));
        let engine = Engine::new(Options {
            clock: clock.clone(),
            ..Options::default()
        });
        let store = Store::embedded(engine);
        let at = || Now(store.now() as i64);
        let (mut one, two) = (Instances::new("app:"), Instances::new("app:"));
        assert_eq!((one.alive(), two.alive()), (None, None));
        for it in [&one, &two] {
            it.refresh(&store, at());
            it.beat.finish().await;
        }
        let number = |it: &Instances| it.alive().map_or(0, NonZeroU32::get);
        assert_eq!((number(&one), number(&two)), (1, 2));
        clock.advance_millis(2_999);
        one.refresh(&store, at());
        one.beat.finish().await;
        assert_eq!(number(&one), 1, "not yet");
        clock.advance_millis(1);
        one.refresh(&store, at());
        one.beat.finish().await;
        assert_eq!(number(&one), 2);
        two.leave(&store, at()).await.unwrap();
        two.refresh(&store, at());
        two.beat.finish().await;
        clock.advance_millis(30_000);
        one.refresh(&store, at());
        one.beat.finish().await;
        assert_eq!(number(&one), 1);
        one.assume(NonZeroU32::new(5).unwrap());
        assert_eq!(number(&one), 5, "never fewer than assumed");
    }

    #[tokio::test]
    async fn a_beat_on_its_way_does_not_come_back_after_leaving() {
        let store = Store::memory();
        let now = Now(store.now() as i64);
        let one = Instances::new("");
        // The task of the beat has not run yet.
        one.refresh(&store, now);
        one.leave(&store, now).await.unwrap();
        one.refresh(&store, now);
        one.beat.finish().await;
        assert_eq!(store.get(KEY).await.unwrap(), None);
        // One that was claimed before and starts after it.
        let late = Instances::new("");
        late.seen.due.store(LEFT, Ordering::Relaxed);
        late.start_beat(&store, 7, now);
        late.beat.finish().await;
        assert_eq!(store.get(KEY).await.unwrap(), None);
    }
}
