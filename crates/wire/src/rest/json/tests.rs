use super::*;

#[track_caller]
fn check(reply: &Reply, plain: &str, base64: &str) {
    for (encoding, expected) in [(Encoding::Plain, plain), (Encoding::Base64, base64)] {
        let mut out = Vec::new();
        write_reply(reply, encoding, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

#[test]
fn the_status_ok_alone_is_never_encoded() {
    check(&Reply::OK, r#"{"result":"OK"}"#, r#"{"result":"OK"}"#);
    check(
        &Reply::bulk("OK"),
        r#"{"result":"OK"}"#,
        r#"{"result":"T0s="}"#,
    );
    check(
        &Reply::status("PONG"),
        r#"{"result":"PONG"}"#,
        r#"{"result":"UE9ORw=="}"#,
    );
    check(
        &Reply::status("QUEUED"),
        r#"{"result":"QUEUED"}"#,
        r#"{"result":"UVVFVUVE"}"#,
    );
    check(
        &Reply::Array(vec![Reply::OK]),
        r#"{"result":["OK"]}"#,
        r#"{"result":["T0s="]}"#,
    );
    check(
        &Reply::Bulks(["OK", "\""].iter().collect()),
        r#"{"result":["OK","\""]}"#,
        r#"{"result":["T0s=","Ig=="]}"#,
    );
    check(
        &Reply::Array(vec![Reply::Array(vec![Reply::OK])]),
        r#"{"result":[["OK"]]}"#,
        r#"{"result":[["T0s="]]}"#,
    );
}

#[test]
fn scalars() {
    check(&Reply::Null, r#"{"result":null}"#, r#"{"result":null}"#);
    check(
        &Reply::NullArray,
        r#"{"result":null}"#,
        r#"{"result":null}"#,
    );
    check(
        &Reply::Int(i64::MIN),
        r#"{"result":-9223372036854775808}"#,
        r#"{"result":-9223372036854775808}"#,
    );
    check(&Reply::Bool(true), r#"{"result":1}"#, r#"{"result":1}"#);
    check(
        &Reply::Double(1.5),
        r#"{"result":"1.5"}"#,
        r#"{"result":"MS41"}"#,
    );
    check(
        &Reply::Double(f64::INFINITY),
        r#"{"result":"inf"}"#,
        r#"{"result":"aW5m"}"#,
    );
    check(
        &Reply::BigNumber(b"12".to_vec()),
        r#"{"result":"12"}"#,
        r#"{"result":"MTI="}"#,
    );
    check(
        &Reply::Verbatim(*b"txt", b"x".to_vec()),
        r#"{"result":"x"}"#,
        r#"{"result":"eA=="}"#,
    );
    check(&Reply::bulk(""), r#"{"result":""}"#, r#"{"result":""}"#);
}

#[test]
fn errors_are_never_encoded_unless_they_are_elements() {
    let error = Reply::error("ERR no \"such\" thing");
    let whole = r#"{"error":"ERR no \"such\" thing"}"#;
    check(&error, whole, whole);
    check(
        &Reply::Array(vec![Reply::error("ERR x"), Reply::Int(1)]),
        r#"{"result":["ERR x",1]}"#,
        r#"{"result":["RVJSIHg=",1]}"#,
    );
}

#[test]
fn collections_are_flat() {
    let pair = || {
        vec![
            (Reply::bulk("a"), Reply::Int(1)),
            (Reply::bulk("b"), Reply::Double(2.0)),
        ]
    };
    let (plain, base64) = (
        r#"{"result":["a",1,"b","2"]}"#,
        r#"{"result":["YQ==",1,"Yg==","Mg=="]}"#,
    );
    check(&Reply::Map(pair()), plain, base64);
    check(&Reply::Pairs(pair()), plain, base64);
    check(&Reply::Set(vec![]), r#"{"result":[]}"#, r#"{"result":[]}"#);
    let nested = Reply::Array(vec![
        Reply::bulk("0"),
        Reply::Array(vec![Reply::bulk("k"), Reply::Null]),
    ]);
    check(
        &nested,
        r#"{"result":["0",["k",null]]}"#,
        r#"{"result":["MA==",["aw==",null]]}"#,
    );
}

#[test]
fn strings_are_escaped_and_made_valid() {
    let text = Reply::bulk("q\" b\\ n\n r\r t\t nul\0 esc\u{1b} del\u{7f} é 😀 \u{2028} </script>");
    let mut out = Vec::new();
    write_reply(&text, Encoding::Plain, &mut out);
    let parsed: serde_json::Value = serde_json::from_slice(&out).unwrap();
    let Reply::Bulk(expected) = &text else {
        panic!()
    };
    assert_eq!(parsed["result"].as_str().unwrap().as_bytes(), expected);
    check(
        &Reply::bulk("\u{1}\u{1f}"),
        r#"{"result":"\u0001\u001f"}"#,
        r#"{"result":"AR8="}"#,
    );
    // A lone byte, a cut sequence of two bytes, a surrogate of three.
    check(
        &Reply::bulk(b"a\xffb\xe2\x82c\xed\xa0\x80"),
        "{\"result\":\"a\u{fffd}b\u{fffd}\u{fffd}c\u{fffd}\u{fffd}\u{fffd}\"}",
        r#"{"result":"Yf9i4oJj7aCA"}"#,
    );
}

#[test]
fn batches() {
    let replies = [
        Reply::OK,
        Reply::error("ERR x"),
        Reply::bulk("OK"),
        Reply::Null,
    ];
    let mut out = Vec::new();
    write_items(&replies, Encoding::Base64, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"[{"result":"OK"},{"error":"ERR x"},{"result":"T0s="},{"result":null}]"#
    );
    let mut out = Vec::new();
    write_items(&[], Encoding::Plain, &mut out);
    assert_eq!(out, b"[]");
}
