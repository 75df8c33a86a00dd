//! The words of ACL SETUSER: how they are put together and what can be wrong.

/// Why a rule is refused; `Display` is what Redis says behind the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RuleError {
    #[error("Unknown command or category name in ACL")]
    Unknown,
    #[error("Syntax error")]
    Syntax,
    #[error(
        "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not \
         have any effect. Try 'resetkeys' to start with an empty list of patterns"
    )]
    AfterAllKeys,
    #[error(
        "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does \
         not have any effect. Try 'resetchannels' to start with an empty list of channels"
    )]
    AfterAllChannels,
    #[error("The password you are trying to remove from the user does not exist")]
    NoSuchPassword,
    #[error(
        "The password hash must be exactly 64 characters and contain only lowercase hexadecimal \
         characters"
    )]
    BadHash,
    #[error("Allowing first-arg of a subcommand is not supported")]
    FirstArgOfSubcommand,
    /// Ours: Redis has no limit.
    #[error("The user has too many rules, or they are too long")]
    TooMany,
}

/// Whether a name or a pattern has blanks or NUL, which rules cannot quote.
pub(crate) fn has_blanks(text: &[u8]) -> bool {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r' | 0);
    text.iter().any(blank)
}

/// The rule up to a NUL, as far as Redis looks at words.
pub(crate) fn word(rule: &[u8]) -> &[u8] {
    let end = memchr::memchr(0, rule).unwrap_or(rule.len());
    rule.get(..end).unwrap_or(rule)
}

/// Rules with each selector in one piece, that may have come in several; or
/// where the one begins that does not end.
pub(crate) fn merge<'a>(rules: &[&'a [u8]]) -> Result<Vec<std::borrow::Cow<'a, [u8]>>, usize> {
    let mut merged = Vec::with_capacity(rules.len());
    let mut open: Option<(usize, Vec<u8>)> = None;
    for (at, rule) in rules.iter().enumerate() {
        let ends = rule.last() == Some(&b')');
        // One that begins inside another takes its place, as in Redis.
        if rule.first() == Some(&b'(') && !ends {
            open = Some((at, rule.to_vec()));
        } else if let Some((begun, mut selector)) = open.take() {
            selector.push(b' ');
            selector.extend_from_slice(word(rule));
            if ends {
                merged.push(selector.into());
            } else {
                open = Some((begun, selector));
            }
        } else {
            merged.push((*rule).into());
        }
    }
    match open {
        Some((at, _)) => Err(at),
        None => Ok(merged),
    }
}

/// The words inside a selector's parentheses; none where quotes do not match.
pub(crate) fn split(text: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = word(text);
    let mut words = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return words;
        }
        let Some((word, after)) = take_word(rest) else {
            return Vec::new();
        };
        words.push(word);
        rest = after;
    }
}

/// The word at the start, and what follows it.
fn take_word(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    while let Some((byte, after)) = rest.split_first() {
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => return Some((word, rest)),
            b'"' | b'\'' => {
                rest = take_quoted(*byte, after, &mut word)?;
                // What follows a quotation is a blank or nothing.
                return match rest.first() {
                    Some(byte) if !has_blanks(&[*byte]) => None,
                    _ => Some((word, rest)),
                };
            }
            byte => {
                word.push(*byte);
                rest = after;
            }
        }
    }
    Some((word, rest))
}

/// Adds what stands up to the closing quote; answers what follows it.
fn take_quoted<'a>(quote: u8, mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [b'\\', b'x', high, low, after @ ..]
                if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                let digit = |byte: u8| (byte as char).to_digit(16).unwrap_or(0) as u8;
                word.push(digit(*high) << 4 | digit(*low));
                after
            }
            [b'\\', byte, after @ ..] if quote == b'"' => {
                word.push(match byte {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                after
            }
            [b'\\', b'\'', after @ ..] if quote == b'\'' => {
                word.push(b'\'');
                after
            }
            [byte, after @ ..] if *byte == quote => return Some(after),
            [byte, after @ ..] => {
                word.push(*byte);
                after
            }
            [] => return None,
        };
    }
}

/// The word in quotes, where [`split`] would not give it back as it is.
pub(crate) fn quote(word: &[u8], out: &mut Vec<u8>) {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
    if !word.is_empty() && word.iter().all(plain) {
        out.extend_from_slice(word);
        return;
    }
    out.push(b'"');
    for byte in word {
        out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
    }
    out.push(b'"');
}
