//! A cache as apps write it by hand: values of JSON under keys of their own, and sets of
//! the keys to delete.

use std::time::Duration;

use sangam::store::{Reply, Store, Ttl};

pub(crate) struct Older(pub(crate) Store);

impl Older {
    pub(crate) async fn get(&self, key: &str) -> Option<serde_json::Value> {
        let value = self.0.get(key.as_bytes()).await.unwrap()?;
        Some(serde_json::from_slice(&value).unwrap())
    }

    /// Sets a value, and notes its key in a set.
    pub(crate) async fn set(
        &self,
        key: &str,
        value: &serde_json::Value,
        ttl: Duration,
        set: Option<&str>,
    ) {
        let text = value.to_string();
        let key = key.as_bytes();
        self.0
            .set(key, text.as_bytes(), Ttl::In(ttl))
            .await
            .unwrap();
        if let Some(set) = set {
            self.0.call(&[b"SADD", set.as_bytes(), key]).await.unwrap();
            self.0
                .expire(set.as_bytes(), Duration::from_hours(24))
                .await
                .unwrap();
        }
    }

    /// Deletes the keys of a set, and the set.
    pub(crate) async fn invalidate(&self, set: &str) {
        let set = set.as_bytes();
        let members = self.0.call(&[b"SMEMBERS", set]).await.unwrap().unpacked();
        let (Reply::Array(members) | Reply::Set(members)) = members else {
            return;
        };
        let members = members.into_iter().filter_map(|it| match it {
            Reply::Bulk(key) => Some(key),
            _ => None,
        });
        let members: Vec<Vec<u8>> = members.collect();
        let keys: Vec<&[u8]> = members.iter().map(Vec::as_slice).chain([set]).collect();
        self.0.delete(&keys).await.unwrap();
    }

    pub(crate) async fn delete(&self, key: &str) {
        self.0.delete(&[key.as_bytes()]).await.unwrap();
    }
}
