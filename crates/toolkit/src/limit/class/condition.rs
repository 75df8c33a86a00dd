//! Which requests a class is for.

use std::borrow::Cow;

use super::glob::Glob;

/// What a class is chosen by.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Such as `POST`.
    pub method: &'a str,
    /// The path, as it was sent; what follows a `?` does not count.
    pub path: &'a str,
    /// The value of a header, by its name in lower case.
    pub header: &'a dyn Fn(&str) -> Option<&'a str>,
}

impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Request({} {})", self.method, self.path)
    }
}

/// A kind of requests: those that all of its parts fit. A part that is empty fits
/// all, so an empty condition is every request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// One of these methods, in capitals. `GET` fits `HEAD` too: servers run the same
    /// handler for it.
    pub methods: Vec<String>,
    /// A path like one of these.
    pub paths: Vec<Glob>,
    /// All of these headers, by their names in lower case, with a value like this.
    pub headers: Vec<(String, Glob)>,
}

impl Condition {
    /// Whether a request is of this kind; `path` is the request's, brought into
    /// [form](form).
    pub(super) fn fits(&self, request: &Request<'_>, path: &str) -> bool {
        let is_head = request.method.eq_ignore_ascii_case("HEAD");
        let method = |it: &String| {
            it.eq_ignore_ascii_case(request.method) || is_head && it.eq_ignore_ascii_case("GET")
        };
        (self.methods.is_empty() || self.methods.iter().any(method))
            && (self.paths.is_empty() || self.paths.iter().any(|it| it.matches(path)))
            && self.headers.iter().all(|(name, value)| {
                (request.header)(name).is_some_and(|given| value.matches(given))
            })
    }
}

/// A path in the form that patterns are compared with: without what follows a `?`,
/// with letters, digits, `-`, `_`, `.` and `~` as themselves in place of `%41`, other
/// escapes in capitals, with one `/` where several follow each other and none at the
/// end. Servers take these for the same, so a client that writes a path in another
/// way meets the same class.
pub(super) fn form(path: &str) -> Cow<'_, str> {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let plain =
        !path.contains('%') && !path.contains("//") && (path.len() == 1 || !path.ends_with('/'));
    if plain {
        return path.into();
    }
    let mut formed = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte == b'%'
            && let Some((digits, after)) = after.split_at_checked(2)
            && let Some(decoded) = hex(digits)
        {
            rest = after;
            if is_unreserved(decoded) {
                formed.push(decoded);
            } else {
                formed.push(b'%');
                formed.extend(digits.iter().map(u8::to_ascii_uppercase));
            }
        } else if *byte != b'/' || formed.last() != Some(&b'/') {
            formed.push(*byte);
        }
    }
    if formed.len() > 1 && formed.last() == Some(&b'/') {
        formed.pop();
    }
    String::from_utf8(formed).map_or_else(|_| path.into(), Cow::Owned)
}

fn hex(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~')
}
