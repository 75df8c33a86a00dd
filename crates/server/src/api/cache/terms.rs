//! How long a value that is put lives, and its tags: the query of the address.

use std::time::Duration;

use sangam::cache::{Loaded, ttl};

use super::document::Document;
use super::entry::{decoded, refused};
use crate::api::problem::Problem;

/// What a query says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Terms {
    ttl: Option<Duration>,
    tags: Vec<String>,
}

impl Terms {
    pub(super) fn of(query: Option<&str>) -> Result<Self, Problem> {
        let mut terms = Terms::default();
        let pairs = query.unwrap_or_default().split('&');
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // As forms and `URLSearchParams` write it.
            let value = decoded(&value.replace('+', " "))?;
            match name {
                "ttl" if terms.ttl.is_some() => return Err(refused("`ttl` stands there twice")),
                "ttl" => terms.ttl = Some(seconds(&value)?),
                "tag" => terms.tags.push(value),
                _ => {
                    let shown: String = name.chars().take(64).collect();
                    let detail = format!("there is no parameter {shown:?}: known are ttl and tag");
                    return Err(refused(&detail));
                }
            }
        }
        Ok(terms)
    }

    /// A value with them.
    pub(super) fn with(self, document: Document) -> Loaded<Document> {
        let loaded = Loaded::value(document).tags(self.tags);
        match self.ttl {
            Some(ttl) => loaded.ttl(ttl),
            None => loaded,
        }
    }
}

/// Seconds, whole or decimal.
fn seconds(text: &str) -> Result<Duration, Problem> {
    let is_plain = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let shortest = Duration::from_millis(1);
    Some(text)
        .filter(|_| is_plain(whole) && is_plain(fraction))
        .and_then(|text| text.parse().ok())
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|time| (shortest..=ttl::LONGEST).contains(time))
        .ok_or_else(|| {
            let longest = ttl::LONGEST.as_secs();
            let shown: String = text.chars().take(64).collect();
            refused(&format!(
                "`ttl` is seconds, such as 300 or 0.5, from 0.001 to {longest} (366 days), not {shown:?}"
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_a_time_and_tags() {
        let terms = Terms::of(Some("ttl=1.5&tag=a+b&tag=%2B%26&tag=c=d&")).unwrap();
        assert_eq!(terms.ttl, Some(Duration::from_millis(1500)));
        assert_eq!(terms.tags, ["a b", "+&", "c=d"]);
        assert_eq!(Terms::of(None).unwrap(), Terms::default());
        for (text, time) in [
            ("31622400", ttl::LONGEST),
            ("0.001", Duration::from_millis(1)),
            ("007", Duration::from_secs(7)),
        ] {
            assert_eq!(seconds(text).unwrap(), time);
        }
    }
}
