//! Redis' glob patterns: `*`, `?`, `[a-z]`, `[^…]`, and `\` to quote.
//!
//! Matching keeps one place to return to (the last `*`), so its cost is at most
//! the product of the lengths, whatever the pattern: no pattern is a bomb.

/// Whether `text` matches `pattern`.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    matches_with(pattern, text, false)
}

/// The same, letters of either case being equal.
pub fn matches_ignore_case(pattern: &[u8], text: &[u8]) -> bool {
    matches_with(pattern, text, true)
}

fn matches_with(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    // Redis looks at no element of the pattern when there is no text: not even
    // `*` matches the empty string.
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at + 1, read));
            at += 1;
            continue;
        }
        match single(pattern, at, text[read], ignore_case) {
            Some(next) => {
                at = next;
                read += 1;
            }
            None => match &mut star {
                Some((after, from)) => {
                    *from += 1;
                    (at, read) = (*after, *from);
                }
                None => return false,
            },
        }
    }
    pattern[at.min(pattern.len())..]
        .iter()
        .all(|&byte| byte == b'*')
}

/// Matches one pattern element at `at` against `byte`; answers where the next
/// element starts.
fn single(pattern: &[u8], at: usize, byte: u8, ignore_case: bool) -> Option<usize> {
    let fold = |byte: u8| {
        if ignore_case {
            byte.to_ascii_lowercase()
        } else {
            byte
        }
    };
    let byte = fold(byte);
    match *pattern.get(at)? {
        b'?' => Some(at + 1),
        b'[' => {
            let mut at = at + 1;
            let negated = pattern.get(at) == Some(&b'^');
            if negated {
                at += 1;
            }
            let mut found = false;
            loop {
                match pattern.get(at) {
                    None => break,
                    Some(b'\\') if at + 1 < pattern.len() => {
                        found |= fold(pattern[at + 1]) == byte;
                        at += 2;
                    }
                    Some(b']') => {
                        at += 1;
                        break;
                    }
                    Some(&first)
                        if pattern.get(at + 1) == Some(&b'-') && at + 2 < pattern.len() =>
                    {
                        let (low, high) = (fold(first), fold(pattern[at + 2]));
                        found |= (low.min(high)..=low.max(high)).contains(&byte);
                        at += 3;
                    }
                    Some(&one) => {
                        found |= fold(one) == byte;
                        at += 1;
                    }
                }
            }
            (found != negated).then_some(at)
        }
        b'\\' if at + 1 < pattern.len() => (fold(pattern[at + 1]) == byte).then_some(at + 2),
        literal => (fold(literal) == byte).then_some(at + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("*", "", false),
            ("**", "a", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("[\\]]", "]", true),
            ("", "", true),
            ("", "a", false),
            ("a*", "a", true),
            ("*a*b*c", "xxaxxbxxc", true),
            ("\\", "\\", true),
            ("[abc", "b", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
        assert!(matches_ignore_case(b"MAX*", b"maxmemory"));
    }

    #[test]
    fn no_pattern_is_a_bomb() {
        let pattern = "a*".repeat(60) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(5000).as_bytes()));
    }
}
