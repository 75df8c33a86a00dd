//! `[[service-keys]]`: who may call the API, and for what.

use serde::Deserialize;
use toml::Spanned;

use super::{ConfigError, Reader};
use crate::api::ServiceKey;

/// Shortest key: what is shorter can be guessed.
const KEY_MIN: usize = 16;

/// A key as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Entry {
    name: String,
    key: Option<String>,
    key_sha256: Option<String>,
    scopes: Vec<String>,
}

pub(super) fn read(
    reader: &Reader<'_>,
    entries: Vec<Spanned<Entry>>,
) -> Result<Vec<ServiceKey>, ConfigError> {
    let mut keys: Vec<ServiceKey> = Vec::new();
    for entry in entries {
        let origin = reader.origin(entry.span().start);
        let refuse = |reason: String| ConfigError::Value {
            name: "service-keys",
            origin: origin.clone(),
            reason,
        };
        let key = entry.into_inner().key().map_err(refuse)?;
        if keys.iter().any(|known| known.name() == key.name()) {
            let name = key.name();
            return Err(refuse(format!("two keys are named {name:?}")));
        }
        keys.push(key);
    }
    Ok(keys)
}

impl Entry {
    fn key(self) -> Result<ServiceKey, String> {
        let Entry { name, .. } = &self;
        if name.is_empty() {
            return Err("a key needs a `name`".to_owned());
        }
        let hash = match (&self.key, &self.key_sha256) {
            (Some(key), None) if key.len() < KEY_MIN => {
                return Err(format!(
                    "the key of {name:?} is shorter than {KEY_MIN} characters"
                ));
            }
            (Some(key), None) if !key.bytes().all(|byte| byte.is_ascii_graphic()) => {
                return Err(format!(
                    "the key of {name:?} may only have visible ASCII characters"
                ));
            }
            (Some(key), None) => crate::api::hash(key.as_bytes()),
            (None, Some(hex)) => unhex(hex).ok_or_else(|| {
                format!("the `key-sha256` of {name:?} is not 64 hexadecimal digits")
            })?,
            _ => return Err(format!("{name:?} needs either `key` or `key-sha256`")),
        };
        if self.scopes.is_empty() {
            return Err(format!("{name:?} has no `scopes`, so it opens nothing"));
        }
        ServiceKey::new(name, hash, &self.scopes).map_err(|scope| {
            let known = crate::api::Scope::ALL.map(crate::api::Scope::as_str);
            format!(
                "{scope:?} is no scope; there are {}, and each with `:` and a class",
                known.join(", ")
            )
        })
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}
