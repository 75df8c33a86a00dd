use super::*;

/// All commands of `bytes`, then what the decoder said about the rest.
fn all(bytes: &[u8], authenticated: bool) -> (Vec<Vec<Vec<u8>>>, Result<usize, String>) {
    let (mut decoder, mut argv, mut commands) = (Decoder::new(), Argv::new(), Vec::new());
    let mut front = bytes;
    loop {
        match decoder.decode(front, authenticated, &mut argv) {
            Ok(Decoded::Command { consumed }) => {
                assert!(!argv.is_empty());
                commands.push(argv.iter().map(|arg| arg.to_vec()).collect());
                front = &front[consumed..];
            }
            Ok(Decoded::Quoted { consumed, args }) => {
                commands.push(args);
                front = &front[consumed..];
            }
            Ok(Decoded::Incomplete { need, .. }) => return (commands, Ok(need)),
            Err(error) => {
                let mut reply = Vec::new();
                error.write_reply(&mut reply);
                return (commands, Err(reply.escape_ascii().to_string()));
            }
        }
    }
}

#[track_caller]
fn check(bytes: &[u8], commands: &[&[&[u8]]]) {
    let expected: Vec<Vec<Vec<u8>>> = commands
        .iter()
        .map(|args| args.iter().map(|arg| arg.to_vec()).collect())
        .collect();
    assert_eq!(
        all(bytes, true),
        (expected, Ok(1)),
        "{}",
        bytes.escape_ascii()
    );
}

#[track_caller]
fn refuse(bytes: &[u8], text: &str) {
    let reply = format!("-ERR Protocol error: {text}\\r\\n");
    assert_eq!(
        all(bytes, true).1,
        Err(reply),
        "{}",
        bytes[..bytes.len().min(60)].escape_ascii()
    );
}

#[test]
fn pipelines() {
    check(b"", &[]);
    check(
        b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n",
        &[&[b"PING"], &[b"GET", b""]],
    );
    check(
        b"*2\r\n$3\r\nGET\r\n$4\r\n\r\n\0\xff\r\n",
        &[&[b"GET", b"\r\n\0\xff"]],
    );
    check(
        b"*0\r\n*-1\r\n*-10\r\n\r\n\n*1\r\n$4\r\nPING\r\nPING\r\n",
        &[&[b"PING"], &[b"PING"]],
    );
}

#[test]
fn line_ends_are_not_looked_at() {
    check(b"*1\r\n$4\rXPINGabPING\r\n", &[&[b"PING"], &[b"PING"]]);
}

#[test]
fn headers_are_strict() {
    for line in [
        "*",
        "*01",
        "*+1",
        "*1 ",
        "* 1",
        "*-0",
        "*1x",
        "*1048577",
        "*2147483648",
    ] {
        refuse(format!("{line}\r\n").as_bytes(), "invalid multibulk length");
    }
    refuse(b"*99999999999999999999\r\n", "invalid multibulk length");
    for line in [
        "$",
        "$-1",
        "$03",
        "$+3",
        "$3 ",
        "$536870913",
        "$629145600",
        "$99999999999999999999",
    ] {
        refuse(
            format!("*1\r\n{line}\r\n").as_bytes(),
            "invalid bulk length",
        );
    }
    refuse(b"*1\r\nx3\r\n", "expected \\'$\\', got \\'x\\'");
    refuse(b"*1\r\n\r\n", "expected \\'$\\', got \\' \\'");
    refuse(b"*1\r\n\n4\r\n", "expected \\'$\\', got \\' \\'");
    refuse(b"*1\r\n\xff1\r\n", "expected \\'$\\', got \\'\\xff\\'");
    refuse(
        b"*2\r\n$3\r\nGET\r\n:1\r\n",
        "expected \\'$\\', got \\':\\'",
    );
    assert_eq!(all(b"*1048576\r\n", true).1, Ok(1));
    assert_eq!(all(b"*1\r\n$536870912\r\n", true).1, Ok(536_870_914));
    assert_eq!(
        ProtocolError::ExpectedBulk(b'x').to_string(),
        "Protocol error: expected '$', got 'x'"
    );
}

#[test]
fn lines_have_to_end() {
    let ones = "1".repeat(LINE_MAX);
    refuse(format!("*{ones}").as_bytes(), "too big mbulk count string");
    refuse(
        format!("*1\r\n${ones}").as_bytes(),
        "too big bulk count string",
    );
    refuse(format!("{ones}1").as_bytes(), "too big inline request");
    assert_eq!(all(ones.as_bytes(), true).1, Ok(1));
    assert_eq!(all(&ones.as_bytes()[1..], true).1, Ok(1));
    check(format!("{ones}\n").as_bytes(), &[&[ones.as_bytes()]]);
}

#[test]
fn strangers_have_tighter_limits() {
    let refused = |bytes: &[u8]| all(bytes, false).1.unwrap_err();
    assert!(refused(b"*11\r\n").contains("unauthenticated multibulk length"));
    assert!(refused(b"*1\r\n$16385\r\n").contains("unauthenticated bulk length"));
    assert_eq!(all(b"*10\r\n", false).1, Ok(1));
    assert_eq!(all(b"*1\r\n$16384\r\n", false).1, Ok(16386));
}

#[test]
fn inline() {
    check(b"PING\r\n", &[&[b"PING"]]);
    check(b"  SET  k\tv \n", &[&[b"SET", b"k", b"v"]]);
    check(b"\x0bPING\r\n", &[&[b"PING"]]);
    check(b"ECHO a\x0bb\r\n", &[&[b"ECHO", b"a\x0bb"]]);
    check(b"PI\0NG\r\n", &[&[b"PI\0NG"]]);
    check(
        b"ECHO \"\\x41\\n\\q\\\"\\xzz\"\r\n",
        &[&[b"ECHO", b"A\nq\"xzz"]],
    );
    check(b"ECHO 'a\\'b\\n\"'\r\n", &[&[b"ECHO", b"a'b\\n\""]]);
    check(b"ECHO fo\"o bar\" ''\r\n", &[&[b"ECHO", b"foo bar", b""]]);
    for line in [
        "\"PING",
        "PING \"a\"b",
        "PING 'a",
        "PING 'a'b",
        "PING \"a\\",
        "PING \"a\\\"",
    ] {
        refuse(
            format!("{line}\r\n").as_bytes(),
            "unbalanced quotes in request",
        );
    }
}

#[test]
fn need_is_exact_inside_an_argument() {
    let mut decoder = Decoder::new();
    let mut buf = b"\r\n*2\r\n$3\r\nGET\r\n$100000000\r\nabc".to_vec();
    let first = decoder.decode(&buf, true, &mut Argv::new());
    assert_eq!(
        first,
        Ok(Decoded::Incomplete {
            consumed: 2,
            need: 100_000_000 - 3 + 2
        })
    );
    buf.drain(..2);
    buf.extend_from_slice(b"def");
    let second = decoder.decode(&buf, true, &mut Argv::new());
    assert_eq!(
        second,
        Ok(Decoded::Incomplete {
            consumed: 0,
            need: 100_000_000 - 6 + 2
        })
    );
    assert!(decoder.is_midway());
}

#[test]
fn a_million_elements_one_at_a_time_are_read_once() {
    let mut decoder = Decoder::new();
    let mut buf = format!("*{ELEMENTS_MAX}\r\n").into_bytes();
    for index in 0..ELEMENTS_MAX {
        assert!(matches!(
            decoder.decode(&buf, true, &mut Argv::new()),
            Ok(Decoded::Incomplete {
                consumed: 0,
                need: 1
            })
        ));
        assert!(decoder.heap_bytes() <= 16 * PREALLOCATED_MAX.max(index * 2));
        buf.extend_from_slice(b"$1\r\nx\r\n");
    }
    let mut argv = Argv::new();
    let done = decoder.decode(&buf, true, &mut argv);
    assert_eq!(
        done,
        Ok(Decoded::Command {
            consumed: buf.len()
        })
    );
    assert_eq!(argv.len(), ELEMENTS_MAX);
    assert!(argv.iter().all(|arg| *arg == b"x"));
    assert_eq!(decoder.heap_bytes(), 0);
    assert!(!decoder.is_midway());
}

#[test]
fn a_claimed_count_takes_no_memory() {
    let mut decoder = Decoder::new();
    let mut argv = Argv::new();
    decoder
        .decode(b"*1048576\r\n$1\r\n", true, &mut argv)
        .unwrap();
    assert!(decoder.heap_bytes() <= 16 * PREALLOCATED_MAX);
    assert!(argv.capacity() <= PREALLOCATED_MAX);
}
