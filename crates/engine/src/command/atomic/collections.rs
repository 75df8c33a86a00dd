//! Steps on hashes and sorted sets; sets, lists and streams go by
//! [`Tx::call`].

use super::Tx;
use crate::error::CommandError;
use crate::notify::Event;
use crate::value::float::format_g17;
use crate::value::{Bound, Collection, Hash, ZSet};

impl Tx<'_> {
    // ---- hashes ----

    /// The value of `field` in the hash at `key`.
    pub fn hash_get(&mut self, key: &[u8], field: &[u8]) -> Result<Option<&[u8]>, CommandError> {
        let hash = self.read(&[b"HGET", key, field])?.get::<Hash>(key)?;
        Ok(hash.and_then(|hash| hash.get(field)))
    }

    /// Number of fields; 0 where there is no key.
    pub fn hash_len(&mut self, key: &[u8]) -> Result<usize, CommandError> {
        let hash = self.read(&[b"HLEN", key])?.get::<Hash>(key)?;
        Ok(hash.map_or(0, Collection::len))
    }

    /// Sets `field`, making the hash if need be; whether the field is new.
    pub fn hash_put(
        &mut self,
        key: &[u8],
        field: &[u8],
        value: &[u8],
    ) -> Result<bool, CommandError> {
        self.write(&[b"HSET", key, field, value], |db| {
            let limits = db.settings.hash;
            let added =
                db.edit_or_create(key, |hash: &mut Hash| hash.insert(field, value, limits))?;
            db.notify(Event::Hash, "hset", key);
            Ok(added)
        })
    }

    /// Removes `field`, and the hash with its last; whether there was one.
    pub fn hash_remove(&mut self, key: &[u8], field: &[u8]) -> Result<bool, CommandError> {
        self.write(&[b"HDEL", key, field], |db| {
            let removed = db.edit(key, |hash: &mut Hash| hash.remove(field))?;
            let removed = removed.unwrap_or(false);
            if removed {
                db.notify_taken(Event::Hash, "hdel", key);
            }
            Ok(removed)
        })
    }

    // ---- sorted sets ----

    /// The score of `member` in the sorted set at `key`.
    pub fn zset_score(&mut self, key: &[u8], member: &[u8]) -> Result<Option<f64>, CommandError> {
        let zset = self.read(&[b"ZSCORE", key, member])?.get::<ZSet>(key)?;
        Ok(zset.and_then(|zset| zset.score(member)))
    }

    /// Number of members; 0 where there is no key.
    pub fn zset_len(&mut self, key: &[u8]) -> Result<usize, CommandError> {
        let zset = self.read(&[b"ZCARD", key])?.get::<ZSet>(key)?;
        Ok(zset.map_or(0, Collection::len))
    }

    /// Number of members with scores from `min` to `max`.
    pub fn zset_count(
        &mut self,
        key: &[u8],
        min: Bound,
        max: Bound,
    ) -> Result<usize, CommandError> {
        let zset = self.read(&[b"ZCOUNT", key])?.get::<ZSet>(key)?;
        Ok(zset.map_or(0, |zset| zset.score_range(min, max).1))
    }

    /// The member with the lowest score, and the score.
    pub fn zset_first(&mut self, key: &[u8]) -> Result<Option<(&[u8], f64)>, CommandError> {
        let zset = self.read(&[b"ZRANGE", key, b"0", b"0"])?.get::<ZSet>(key)?;
        Ok(zset.and_then(|zset| zset.iter_range(0, 1, false).next()))
    }

    /// Gives `member` a score, making the sorted set if need be; whether the
    /// member is new. A score that is no number is an error.
    pub fn zset_put(
        &mut self,
        key: &[u8],
        member: &[u8],
        score: f64,
    ) -> Result<bool, CommandError> {
        if score.is_nan() {
            return Err(CommandError::NotFloat);
        }
        let mut text = Vec::with_capacity(24);
        format_g17(score, &mut text);
        self.write(&[b"ZADD", key, &text, member], |db| {
            let limits = db.settings.zset;
            let old =
                db.edit_or_create(key, |zset: &mut ZSet| zset.insert(member, score, limits))?;
            if old != Some(score) {
                db.notify(Event::ZSet, "zadd", key);
            }
            Ok(old.is_none())
        })
    }

    /// Removes `member`, and the sorted set with its last; whether there was one.
    pub fn zset_remove(&mut self, key: &[u8], member: &[u8]) -> Result<bool, CommandError> {
        self.write(&[b"ZREM", key, member], |db| {
            let removed = db.edit(key, |zset: &mut ZSet| zset.remove(member).is_some())?;
            let removed = removed.unwrap_or(false);
            if removed {
                db.notify_taken(Event::ZSet, "zrem", key);
            }
            Ok(removed)
        })
    }

    /// Removes the members with scores up to `max`; answers how many.
    pub fn zset_remove_up_to(&mut self, key: &[u8], max: Bound) -> Result<usize, CommandError> {
        let (Bound::Included(score) | Bound::Excluded(score)) = max;
        if score.is_nan() {
            return Err(CommandError::text("ERR min or max is not a float"));
        }
        let mut text = Vec::with_capacity(24);
        if matches!(max, Bound::Excluded(_)) {
            text.push(b'(');
        }
        format_g17(score, &mut text);
        self.write(&[b"ZREMRANGEBYSCORE", key, b"-inf", &text], |db| {
            let removed = db.edit(key, |zset: &mut ZSet| {
                let (first, count) = zset.score_range(Bound::Included(f64::NEG_INFINITY), max);
                zset.remove_range_by_rank(first, count, |_, _| {})
            })?;
            let removed = removed.unwrap_or(0);
            if removed > 0 {
                db.notify_taken(Event::ZSet, "zremrangebyscore", key);
            }
            Ok(removed)
        })
    }
}
