//! What is shown of a request where others can read it: not all of a long one, and
//! no passwords.
//!
//! For SLOWLOG, MONITOR and the errors of a start.

use super::spec::Command;

/// Stands where a secret stood.
const REDACTED: &[u8] = b"(redacted)";

/// The request without its secrets.
pub(crate) fn redacted<'a>(command: &Command, argv: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let from = match command.full_name.as_str() {
        "auth" => 1,
        "acl|setuser" => 2,
        "acl|resttoken" | "acl|gentoken" => 3,
        "hello" => return hello(argv),
        _ => argv.len(),
    };
    let shown = argv.iter().enumerate();
    shown
        .map(|(at, arg)| if at < from { arg } else { REDACTED })
        .collect()
}

/// HELLO with what follows its option AUTH hidden.
fn hello<'a>(argv: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let mut hidden = 0;
    let shown = argv.iter().enumerate();
    shown
        .map(|(at, arg)| {
            if hidden > 0 {
                hidden -= 1;
                return REDACTED;
            }
            if at > 1 && arg.eq_ignore_ascii_case(b"auth") {
                hidden = 2;
            }
            arg
        })
        .collect()
}

/// What SLOWLOG keeps of a request: 32 arguments of 128 bytes.
pub(super) fn abridge(argv: &[&[u8]]) -> Vec<Vec<u8>> {
    let (arguments, bytes) = (32, 128);
    let mut kept: Vec<Vec<u8>> = Vec::with_capacity(argv.len().min(arguments));
    for (at, arg) in argv.iter().enumerate() {
        if at + 1 == arguments && argv.len() > arguments {
            let more = argv.len() - arguments + 1;
            kept.push(format!("... ({more} more arguments)").into_bytes());
            break;
        }
        let (head, tail) = arg.split_at(arg.len().min(bytes));
        let mut text = head.to_vec();
        if !tail.is_empty() {
            text.extend_from_slice(format!("... ({} more bytes)", tail.len()).as_bytes());
        }
        kept.push(text);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::super::spec::find;
    use super::*;

    fn shown(line: &str) -> String {
        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let command = find(argv[0]).unwrap();
        let sub = argv.get(1).and_then(|name| command.subcommand(name));
        let shown = redacted(sub.unwrap_or(command), &argv).join(&b' ');
        String::from_utf8(shown).unwrap()
    }

    #[test]
    fn secrets_are_hidden_and_nothing_else() {
        for (line, expected) in [
            ("SET k v", "SET k v"),
            ("AUTH p", "AUTH (redacted)"),
            ("auth u p", "auth (redacted) (redacted)"),
            (
                "HELLO 3 AUTH u p SETNAME n",
                "HELLO 3 AUTH (redacted) (redacted) SETNAME n",
            ),
            ("HELLO 3 SETNAME auth", "HELLO 3 SETNAME auth"),
            ("ACL SETUSER u >p", "ACL SETUSER (redacted) (redacted)"),
            ("ACL RESTTOKEN u p", "ACL RESTTOKEN u (redacted)"),
            ("ACL WHOAMI", "ACL WHOAMI"),
        ] {
            assert_eq!(shown(line), expected);
        }
    }
}
