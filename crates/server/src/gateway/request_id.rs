//! The id of a request: the header by which a repeat is known
//! (docs/request-ids.md).

use hyper::header::{HeaderMap, HeaderName};
use sangam_engine::keyspace::requests::RequestId;

pub(super) const HEADER: HeaderName = HeaderName::from_static("sangam-request-id");

/// The refusal of what is no id.
pub(super) const MALFORMED: &str =
    "ERR invalid request id: the header sangam-request-id takes one UUIDv7";

/// The header is there and holds no id, or it is there twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// The id of a request, if it has one.
pub(super) fn given(headers: &HeaderMap) -> Result<Option<RequestId>, Malformed> {
    let mut values = headers.get_all(HEADER).into_iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Malformed);
    }
    let id = RequestId::parse(value.as_bytes()).ok_or(Malformed)?;
    Ok(Some(id))
}
