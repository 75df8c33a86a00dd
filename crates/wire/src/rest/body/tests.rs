use super::*;

fn command(body: impl AsRef<[u8]>) -> Result<Vec<Vec<u8>>, String> {
    let command = Command::parse(body.as_ref()).map_err(|error| error.to_string())?;
    Ok(command.argv().iter().map(|arg| arg.to_vec()).collect())
}

#[track_caller]
fn check(body: impl AsRef<[u8]>, expected: &[&[u8]]) {
    let expected: Vec<_> = expected.iter().map(|arg| arg.to_vec()).collect();
    assert_eq!(command(body), Ok(expected));
}

#[track_caller]
fn refuse(body: &str, text: &str) {
    assert_eq!(command(body), Err(text.to_owned()), "{body}");
}

#[test]
fn scalars_become_arguments() {
    check(r#"["GET","key"]"#, &[b"GET", b"key"]);
    check(" [ \"SET\" ,\n\"k\"\t, 1 ]\r\n", &[b"SET", b"k", b"1"]);
    check(r#"["X",true,false]"#, &[b"X", b"true", b"false"]);
    check(
        r#"["X",-0,1e3,1.50,-1.5E+10,123456789012345678901234567890]"#,
        &[
            b"X",
            b"-0",
            b"1e3",
            b"1.50",
            b"-1.5E+10",
            b"123456789012345678901234567890",
        ],
    );
    check(r#"["",""]"#, &[b"", b""]);
    check(r#"["null"]"#, &[b"null"]);
    check(
        r#"["a","b","c","d","e","f","g","h","i","j"]"#,
        &[b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h", b"i", b"j"],
    );
}

#[test]
fn escapes() {
    check(
        r#"["\"\\\/\b\f\n\r\t","z"]"#,
        &[b"\"\\/\x08\x0c\n\r\t", b"z"],
    );
    check(r#"["a\u0000b\u00e9\u20AC"]"#, &["a\0bé€".as_bytes()]);
    check(r#"["\ud83d\ude00!"]"#, &["😀!".as_bytes()]);
    let lone = "\u{fffd}";
    check(r#"["\ud83d"]"#, &[lone.as_bytes()]);
    check(r#"["\ude00x"]"#, &[format!("{lone}x").as_bytes()]);
    check(
        r#"["\ud83d\ud83d\ude00"]"#,
        &[format!("{lone}😀").as_bytes()],
    );
    check(
        r#"["\ud83dA\ud83d\n"]"#,
        &[format!("{lone}A{lone}\n").as_bytes()],
    );
    check(
        r#"["plain","e\n","plain2","\t"]"#,
        &[b"plain", b"e\n", b"plain2", b"\t"],
    );
    check(r#"["\u00410"]"#, &[b"A0"]);
}

#[test]
fn bytes_that_are_not_utf8_pass() {
    check(
        b"[\"SET\",\"\xff\xfe\",\"\xc3\\n\"]",
        &[b"SET", b"\xff\xfe", b"\xc3\n"],
    );
}

#[test]
fn texts_known_of_the_service() {
    refuse("", "EOF");
    refuse(" \n", "EOF");
    refuse(r#"{"a":1}"#, "expected JSON array");
    refuse("\"GET\"", "expected JSON array");
    refuse("17", "expected JSON array");
    refuse("null", "expected JSON array");
    refuse("[]", "ERR empty command");
    refuse("[ ]", "ERR empty command");
    refuse(r#"["GET",null]"#, "ERR null args are not supported");
    refuse("[null]", "ERR null args are not supported");
    refuse(
        r#"["GET",{"a":1}]"#,
        r#"ERR unsupported arg type: "{": json.Delim"#,
    );
    refuse(
        r#"["GET",["a"]]"#,
        r#"ERR unsupported arg type: "[": json.Delim"#,
    );
    refuse(
        &"[".repeat(1_000_000),
        r#"ERR unsupported arg type: "[": json.Delim"#,
    );
}

#[test]
fn malformed_json_is_refused() {
    refuse(
        "hello",
        "invalid character 'h' looking for beginning of value",
    );
    refuse("[", "unexpected EOF");
    refuse(r#"["GET""#, "unexpected EOF");
    refuse(r#"["GET"#, "unexpected EOF");
    refuse(r#"["GET\"#, "unexpected EOF");
    refuse(r#"["GET\u12"#, "unexpected EOF");
    refuse(r#"["GET","#, "unexpected EOF");
    refuse("[1", "unexpected EOF");
    refuse("[-", "unexpected EOF");
    refuse("[tru", "unexpected EOF");
    refuse(
        r#"["a",]"#,
        "invalid character ']' looking for beginning of value",
    );
    refuse(r#"["a" "b"]"#, "invalid character '\"' after array element");
    refuse(r#"["a"] x"#, "invalid character 'x' after top-level value");
    refuse("[\"a\nb\"]", "invalid character '\\n' in string literal");
    refuse(r#"["\q"]"#, "invalid character 'q' in string escape code");
    refuse(
        r#"["\u12g4"]"#,
        "invalid character 'g' in \\u hexadecimal character escape",
    );
    refuse(
        r#"["\ud83d\uzzzz"]"#,
        "invalid character 'z' in \\u hexadecimal character escape",
    );
    refuse("[01]", "invalid character '1' after array element");
    refuse("[-x]", "invalid character 'x' in numeric literal");
    refuse(
        "[+1]",
        "invalid character '+' looking for beginning of value",
    );
    refuse(
        "[1.]",
        "invalid character ']' after decimal point in numeric literal",
    );
    refuse(
        "[.5]",
        "invalid character '.' looking for beginning of value",
    );
    refuse(
        "[1e+]",
        "invalid character ']' in exponent of numeric literal",
    );
    refuse(
        "[trux]",
        "invalid character 'x' in literal true (expecting 'e')",
    );
    refuse(
        "[nul]",
        "invalid character ']' in literal null (expecting 'l')",
    );
    refuse(
        "[NaN]",
        "invalid character 'N' looking for beginning of value",
    );
    refuse(
        "['a']",
        "invalid character '\\'' looking for beginning of value",
    );
}

#[test]
fn a_command_has_a_bounded_number_of_arguments() {
    let many = |count: usize| format!("[{}1]", "1,".repeat(count - 1));
    assert_eq!(
        command(many(ELEMENTS_MAX)).map(|args| args.len()),
        Ok(ELEMENTS_MAX)
    );
    refuse(
        &many(ELEMENTS_MAX + 1),
        "ERR too many arguments in one command. Limit: 1048576",
    );
}

#[test]
fn batches() {
    let batch = Batch::parse(br#" [ ["SET","k","v\n"] , ["GET","k"],["PING"]] "#).unwrap();
    let read: Vec<Vec<Vec<u8>>> = batch
        .iter()
        .map(|argv| argv.iter().map(|arg| arg.to_vec()).collect())
        .collect();
    assert_eq!(
        read,
        vec![
            vec![b"SET".to_vec(), b"k".to_vec(), b"v\n".to_vec()],
            vec![b"GET".to_vec(), b"k".to_vec()],
            vec![b"PING".to_vec()],
        ]
    );
    assert_eq!(batch.argv(3), None);
    assert!(Batch::parse(b"[]").unwrap().is_empty());
    for (body, text) in [
        ("", "EOF"),
        ("{}", "expected JSON array"),
        (r#"["PING"]"#, "expected JSON array"),
        (r#"[["PING"],"PING"]"#, "expected JSON array"),
        (r#"[["PING"],[]]"#, "ERR empty command"),
        (r#"[["PING",null]]"#, "ERR null args are not supported"),
        (
            r#"[["PING",{}]]"#,
            r#"ERR unsupported arg type: "{": json.Delim"#,
        ),
        (r#"[["PING"]"#, "unexpected EOF"),
        (
            r#"[["PING"],]"#,
            "invalid character ']' looking for beginning of value",
        ),
        (
            r#"[["PING"]["PING"]]"#,
            "invalid character '[' after array element",
        ),
        (
            r#"[["PING"]]]"#,
            "invalid character ']' after top-level value",
        ),
    ] {
        assert_eq!(
            Batch::parse(body.as_bytes()).unwrap_err().to_string(),
            text,
            "{body}"
        );
    }
}

#[test]
fn what_a_batch_holds_is_in_proportion_to_its_body() {
    let body = format!("[{}[1]]", "[1],".repeat(100_000));
    let batch = Batch::parse(body.as_bytes()).unwrap();
    assert_eq!(batch.len(), 100_001);
    let held = batch.spans.capacity() * size_of::<Span>() + batch.ends.capacity() * 4;
    assert!(held <= body.len() * 8, "{held} for {}", body.len());
    let body = format!("[[\"{}\"]]", "\\u00e9".repeat(10_000));
    let batch = Batch::parse(body.as_bytes()).unwrap();
    assert!(batch.scratch.capacity() <= body.len());
}
