//! Calls with typed arguments and answers, for the commands that nearly everything
//! uses. Values are bytes; a time to live is a typed duration, so that none is
//! lost in a list of arguments.

use std::time::Duration;

use sangam_engine::Reply;

use crate::commands::{Argv, Commands};
use crate::error::Error;
use crate::store::Store;

/// When a key goes away by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// Never.
    None,
    /// When it would have anyway.
    Keep,
    /// After this time, in whole milliseconds, at least one.
    In(Duration),
    /// At this many milliseconds since the Unix epoch.
    At(u64),
}

impl Store {
    /// The value of a string; `None` where there is no such key.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        value(self.call(&[b"GET", key]).await?)
    }

    /// The values of several strings, in order; `None` where there is none. Keys in
    /// different slots of a cluster are read by a command each, not at one moment.
    pub async fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        match self.call(&with_keys(b"MGET", keys)).await {
            Err(error) if error.code() == Some(CROSSED) => {
                let replies = self.each(b"GET", keys).await;
                let or_none = |reply: Result<Reply, Error>| match reply {
                    // As MGET has it.
                    Err(error) if error.code() == Some("WRONGTYPE") => Ok(None),
                    reply => value(reply?),
                };
                replies.into_iter().map(or_none).collect()
            }
            reply => array(reply?)?.into_iter().map(value).collect(),
        }
    }

    /// Sets a string, whatever was there.
    pub async fn set(&self, key: &[u8], value: &[u8], ttl: Ttl) -> Result<(), Error> {
        self.set_with(key, value, ttl, None).await.map(drop)
    }

    /// Sets a string if there is no such key; whether it did.
    pub async fn set_if_absent(&self, key: &[u8], value: &[u8], ttl: Ttl) -> Result<bool, Error> {
        self.set_with(key, value, ttl, Some(b"NX")).await
    }

    async fn set_with(
        &self,
        key: &[u8],
        value: &[u8],
        ttl: Ttl,
        condition: Option<&[u8]>,
    ) -> Result<bool, Error> {
        let mut argv: Vec<&[u8]> = vec![b"SET", key, value];
        argv.extend(condition);
        let number;
        match ttl {
            Ttl::None => {}
            Ttl::Keep => argv.push(b"KEEPTTL"),
            Ttl::In(time) => {
                number = time.as_millis().max(1).to_string();
                argv.extend([&b"PX"[..], number.as_bytes()]);
            }
            Ttl::At(moment) => {
                number = moment.to_string();
                argv.extend([&b"PXAT"[..], number.as_bytes()]);
            }
        }
        match self.call(&argv).await? {
            Reply::Status(_) => Ok(true),
            Reply::Null => Ok(false),
            other => Err(unexpected("a status", &other)),
        }
    }

    /// Removes keys; how many there were. Those in different slots of a cluster are
    /// removed by a command each, not at one moment.
    pub async fn delete(&self, keys: &[&[u8]]) -> Result<u64, Error> {
        if keys.is_empty() {
            return Ok(0);
        }
        match self.call(&with_keys(b"DEL", keys)).await {
            Err(error) if error.code() == Some(CROSSED) => {
                let replies = self.each(b"DEL", keys).await;
                let some = replies.iter().any(Result::is_ok);
                let counts = replies.into_iter().map(|reply| match reply {
                    // Not without any effect, if others had one.
                    Err(Error::Unavailable(why)) if some => Err(Error::Indeterminate(why)),
                    reply => count(reply?),
                });
                counts.sum()
            }
            reply => count(reply?),
        }
    }

    /// The same command for each key.
    async fn each(&self, command: &[u8], keys: &[&[u8]]) -> Vec<Result<Reply, Error>> {
        let mut commands = Commands::new();
        for key in keys {
            commands.push(&[command, key]);
        }
        self.pipeline(&commands).await
    }

    /// Whether there is such a key.
    pub async fn exists(&self, key: &[u8]) -> Result<bool, Error> {
        Ok(count(self.call(&[b"EXISTS", key]).await?)? > 0)
    }

    /// Adds to a number, and answers the sum; a key that is not there counts from 0.
    pub async fn add(&self, key: &[u8], amount: i64) -> Result<i64, Error> {
        int(self
            .call(&[b"INCRBY", key, amount.to_string().as_bytes()])
            .await?)
    }

    /// Gives a key a time to live; whether there is such a key.
    pub async fn expire(&self, key: &[u8], time: Duration) -> Result<bool, Error> {
        let millis = time.as_millis().max(1).to_string();
        Ok(count(self.call(&[b"PEXPIRE", key, millis.as_bytes()]).await?)? > 0)
    }

    /// The time that a key has left; `None` where there is no such key,
    /// `Some(None)` where it has none.
    pub async fn ttl(&self, key: &[u8]) -> Result<Option<Option<Duration>>, Error> {
        Ok(match int(self.call(&[b"PTTL", key]).await?)? {
            -2 => None,
            left => Some(u64::try_from(left).ok().map(Duration::from_millis)),
        })
    }

    /// Publishes a message; how many received it, as far as the store knows.
    pub async fn publish(&self, channel: &[u8], payload: &[u8]) -> Result<u64, Error> {
        count(self.call(&[b"PUBLISH", channel, payload]).await?)
    }
}

/// The code of a cluster's refusal of keys in several slots, before any effect.
const CROSSED: &str = "CROSSSLOT";

fn with_keys<'a>(command: &'a [u8], keys: &[&'a [u8]]) -> Argv<'a> {
    let mut argv = Argv::from_slice(&[command]);
    argv.extend_from_slice(keys);
    argv
}

/// A string or nothing.
pub(crate) fn value(reply: Reply) -> Result<Option<Vec<u8>>, Error> {
    match reply {
        Reply::Bulk(bytes) | Reply::Verbatim(_, bytes) => Ok(Some(bytes)),
        Reply::Status(text) => Ok(Some(text.into_owned().into_bytes())),
        Reply::Null | Reply::NullArray => Ok(None),
        other => Err(unexpected("a string", &other)),
    }
}

/// An integer.
pub(crate) fn int(reply: Reply) -> Result<i64, Error> {
    match reply {
        Reply::Int(number) => Ok(number),
        Reply::Bool(truth) => Ok(i64::from(truth)),
        other => Err(unexpected("an integer", &other)),
    }
}

fn count(reply: Reply) -> Result<u64, Error> {
    int(reply).map(|number| number.max(0) as u64)
}

/// A sequence of replies.
pub(crate) fn array(reply: Reply) -> Result<Vec<Reply>, Error> {
    match reply.unpacked() {
        Reply::Array(items) | Reply::Set(items) => Ok(items),
        other => Err(unexpected("an array", &other)),
    }
}

/// The error for a reply of another shape.
pub(crate) fn unexpected(wanted: &str, reply: &Reply) -> Error {
    let mut shown = format!("{reply:?}");
    if shown.len() > 100 {
        shown = shown.chars().take(100).chain(['…']).collect();
    }
    Error::Reply(format!("{wanted} was expected, {shown} came"))
}
