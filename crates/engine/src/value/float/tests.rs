use proptest::prelude::*;

use super::*;

fn g17(value: f64) -> String {
    let mut out = Vec::new();
    format_g17(value, &mut out);
    String::from_utf8(out).unwrap()
}

fn add(a: &str, b: &str) -> Result<String, ExtendedError> {
    extended_add(a.as_bytes(), b.as_bytes()).map(|text| String::from_utf8(text).unwrap())
}

#[test]
fn doubles_print_as_c_prints_them() {
    // Taken from printf("%.17g") and from ZSCORE.
    for (value, text) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (-42.0, "-42"),
        (0.1, "0.10000000000000001"),
        (0.5, "0.5"),
        (1.5e-17, "1.5e-17"),
        (5e-18, "5.0000000000000004e-18"),
        (-4e-18, "-4.0000000000000003e-18"),
        (0.0001, "0.0001"),
        (0.000_123_4, "0.00012339999999999999"),
        (0.000_01, "1.0000000000000001e-05"),
        (1e15, "1000000000000000"),
        (9_007_199_254_740_992.0, "9007199254740992"),
        (9_007_199_254_740_994.0, "9007199254740994"),
        (1e16, "10000000000000000"),
        (12_345_678_901_234_568.0, "12345678901234568"),
        (1e17, "1e+17"),
        (1.234_567_890_123_456_8e29, "1.2345678901234568e+29"),
        (3.25, "3.25"),
        (100.25, "100.25"),
        (1e100, "1e+100"),
        (f64::MAX, "1.7976931348623157e+308"),
        (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
        (5e-324, "4.9406564584124654e-324"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
    ] {
        assert_eq!(g17(value), text);
    }
}

#[test]
fn scores_are_read_by_strtod_rules() {
    for (text, value) in [
        ("1", 1.0),
        ("+1", 1.0),
        ("-1.5", -1.5),
        ("1e5", 1e5),
        ("1E+5", 1e5),
        (".5", 0.5),
        ("5.", 5.0),
        ("5.e1", 50.0),
        ("inf", f64::INFINITY),
        ("+INF", f64::INFINITY),
        ("-Infinity", f64::NEG_INFINITY),
        ("0x10", 16.0),
        ("-0X1.8P+2", -6.0),
        ("0x.8", 0.5),
        ("0x1p-1074", 5e-324),
        ("0x1.8p-1075", 5e-324),
        ("0x1.fffffffffffffp1023", f64::MAX),
        ("0x20000000000001", 9_007_199_254_740_992.0),
        (
            "0x20000000000001.00000000000000000000000000000001",
            9_007_199_254_740_994.0,
        ),
        ("0x20000000000003", 9_007_199_254_740_996.0),
        ("0x0p99999", 0.0),
        ("0e99999999999999999999", 0.0),
        ("1e-320", 1e-320),
        ("1.7976931348623157e308", f64::MAX),
    ] {
        assert_eq!(parse_f64(text.as_bytes()), Some(value), "{text}");
    }
    assert!(parse_f64(b"-0").is_some_and(|zero| zero == 0.0 && zero.is_sign_negative()));
    for text in [
        "",
        " 1",
        "1 ",
        "nan",
        "-nan",
        "nan(1)",
        "1e",
        "1e+",
        "0x",
        "0x.",
        "0x1p",
        "0xg",
        ".",
        "+",
        "-",
        "++1",
        "+-1",
        "1_0",
        "1e400",
        "-1e400",
        "1e-400",
        "0x1p1024",
        "0x1p-1080",
        "e5",
        "infinit",
        "1\0",
        "1,5",
        "0x1.ffffffffffffffp1023",
        "1e99999999999999999999",
    ] {
        assert_eq!(parse_f64(text.as_bytes()), None, "{text:?}");
    }
}

#[test]
fn range_ends_are_read_leniently() {
    for (text, value) in [
        ("", 0.0),
        (" 1", 1.0),
        ("\x0b\t-2", -2.0),
        ("1e400", f64::INFINITY),
        ("-1e400", f64::NEG_INFINITY),
        ("1e-400", 0.0),
        ("3\0junk", 3.0),
        ("-inf", f64::NEG_INFINITY),
    ] {
        assert_eq!(parse_range_f64(text.as_bytes()), Some(value), "{text:?}");
    }
    for text in ["1 ", "nan", " ", ".", "(1", "- 1"] {
        assert_eq!(parse_range_f64(text.as_bytes()), None, "{text:?}");
    }
}

#[test]
fn extended_sums_are_those_of_redis() {
    for (a, b, sum) in [
        ("0", "0", "0"),
        ("0", "-0", "0"),
        ("0", "0.1", "0.1"),
        ("0.1", "0.2", "0.3"),
        ("5.0e3", "2.0e2", "5200"),
        ("10.5", "-10.5", "0"),
        ("0", "0x10", "16"),
        ("0", "0x1p-3", "0.125"),
        ("0", "1e17", "100000000000000000"),
        ("0", "5e-20", "0"),
        ("0", "-4e-18", "0"),
        ("0", "5e-18", "0"),
        ("0", "1.5e-17", "0.00000000000000002"),
        ("0", "2.5e-17", "0.00000000000000002"),
        (
            "0",
            "123456789012345678901234567890",
            "123456789012345678899921813504",
        ),
        ("0", "1.9e-4951", "0"),
        ("0", "18446744073709551615.5", "18446744073709551616"),
        ("0", "18446744073709551616.5", "18446744073709551616"),
        ("1e19", "1", "10000000000000000001"),
        ("1e20", "1", "100000000000000000000"),
        ("1e4000", "-1e4000", "0"),
    ] {
        assert_eq!(add(a, b).as_deref(), Ok(sum), "{a} + {b}");
        assert_eq!(add(b, a).as_deref(), Ok(sum), "{b} + {a}");
    }
    let largest = add("0", "1.18973149535723176502e+4932").unwrap();
    assert_eq!(largest.len(), 4933);
    assert!(largest.starts_with(
        "11897314953572317650212638530309702051690633222946242004403237338917370055229707"
    ));
    assert_eq!(add(&largest, "0"), Ok(largest.clone()));
    assert_eq!(add(&largest, &largest), Err(ExtendedError::NanOrInfinity));
}

#[test]
fn extended_refuses_what_redis_refuses() {
    for text in [
        "",
        " 1",
        "1 ",
        "nan",
        "0x",
        "0x1p",
        ".",
        "1e",
        "++1",
        "1e5000",
        "1e-5000",
        "1.8e-4951",
        "1e-4000000",
        "1e99999999999999999999",
        "1.1897314953572317651e+4932",
        "0x1p16384",
        "0x1p-16447",
    ] {
        assert_eq!(add("0", text), Err(ExtendedError::NotAFloat), "{text:?}");
    }
    for (a, b) in [("0", "inf"), ("-inf", "1"), ("inf", "-inf")] {
        assert_eq!(add(a, b), Err(ExtendedError::NanOrInfinity), "{a} + {b}");
    }
    assert!(extended_add(b"0", &vec![b'1'; 5120]).is_err());
    assert!(extended_add(b"0", &vec![b'0'; 5119]).is_ok());
    assert!(Extended::parse(b"inf").is_some_and(|value| !value.is_finite()));
}

#[test]
fn integers_become_extended_exactly() {
    for value in [0, 1, -1, 10, i64::MAX, i64::MIN, 9_007_199_254_740_993] {
        assert_eq!(
            Extended::from(value),
            Extended::parse(value.to_string().as_bytes()).unwrap()
        );
        assert_eq!(
            Extended::from(value).to_text(),
            value.to_string().into_bytes()
        );
    }
}

proptest! {
    #[test]
    fn printed_doubles_read_back(bits: u64) {
        let value = f64::from_bits(bits);
        prop_assume!(!value.is_nan());
        let text = g17(value);
        prop_assert_eq!(parse_f64(text.as_bytes()).map(f64::to_bits), Some(bits));
    }

    #[test]
    fn decimals_and_hexadecimals_agree(number: u64, power in 0_u32..=19) {
        let decimal = format!("{number}e{power}");
        let hex = format!("0x{:x}", u128::from(number) * 10_u128.pow(power));
        prop_assert_eq!(Extended::parse(decimal.as_bytes()), Extended::parse(hex.as_bytes()));
    }

    #[test]
    fn short_and_long_decimals_agree(number in 0_u64..1 << 62, power in 0_i64..=17) {
        // Far digits that break no tie, but take the way through big integers.
        let short = format!("{number}e-{power}");
        let long = format!("{number}.{}1e-{power}", "0".repeat(60));
        prop_assert_eq!(
            Extended::parse(short.as_bytes()).map(Extended::to_text),
            Extended::parse(long.as_bytes()).map(Extended::to_text)
        );
    }

    #[test]
    fn any_bytes_are_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = parse_f64(&text);
        let _ = parse_range_f64(&text);
        let _ = Extended::parse(&text);
    }

    #[test]
    fn number_like_texts_are_read_or_refused(text in "[-+]?(0x)?[0-9a-f]{0,30}\\.?[0-9]{0,30}([ep][-+]?[0-9]{0,6})?") {
        if let Some(value) = parse_f64(text.as_bytes()) {
            prop_assert!(value.is_finite());
        }
        if let Some(value) = Extended::parse(text.as_bytes()) {
            prop_assert!(Extended::parse(&value.to_text()).is_some());
        }
    }
}

#[test]
fn an_extended_number_as_a_double() {
    for (text, expected) in [
        ("0", 0.0),
        ("-1.5", -1.5),
        ("0.1", 0.1),
        ("9007199254740993", 9_007_199_254_740_992.0),
        ("1e400", f64::INFINITY),
        ("-1e4000", f64::NEG_INFINITY),
        ("inf", f64::INFINITY),
        ("1e-400", f64::MIN_POSITIVE),
        ("-1e-4000", -f64::MIN_POSITIVE),
        ("1e300", 1e300),
    ] {
        let number = Extended::parse(text.as_bytes()).unwrap();
        assert_eq!(number.to_f64(), expected, "{text}");
    }
}
