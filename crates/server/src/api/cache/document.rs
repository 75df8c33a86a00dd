//! A value: JSON as it was put, but for white space around it, and its `ETag`.

use std::sync::OnceLock;

use hyper::header::HeaderValue;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

/// A value.
#[derive(Debug)]
pub(crate) struct Document {
    json: Box<RawValue>,
    tag: OnceLock<String>,
}

impl Document {
    /// Its text.
    pub(super) fn text(&self) -> &str {
        self.json.get()
    }

    /// Its strong `ETag`: the beginning of its SHA-256, so that all servers say the same
    /// of the same bytes. It is made once for as long as the value is in memory.
    pub(super) fn tag(&self) -> &str {
        self.tag.get_or_init(|| {
            let digest: [u8; 32] = Sha256::digest(self.text()).into();
            let (begin, _) = digest.split_at(16);
            let begin = begin.iter().map(|byte| format!("{byte:02x}"));
            format!("\"{}\"", begin.collect::<String>())
        })
    }

    /// Whether an `If-None-Match` names it, or anything (RFC 9110, 13.1.2).
    pub(super) fn is_named(&self, fields: impl Iterator<Item = impl AsRef<[u8]>>) -> bool {
        let tag = self.tag().as_bytes();
        let mut fields = fields;
        fields.any(|field| {
            let mut names = field.as_ref().split(|byte| *byte == b',');
            names.any(|name| {
                let name = name.trim_ascii();
                name == b"*" || name.strip_prefix(b"W/").unwrap_or(name) == tag
            })
        })
    }

    /// The tag as a field.
    pub(super) fn field(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.tag()).ok()
    }
}

impl From<Box<RawValue>> for Document {
    fn from(json: Box<RawValue>) -> Self {
        Document {
            json,
            tag: OnceLock::new(),
        }
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Document::from)
    }
}
