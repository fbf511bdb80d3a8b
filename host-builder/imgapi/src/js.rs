//! JavaScript's conversions of JSON values, as far as the rules of the reference implementation lean on them.
//!
//! The validator is a program in JavaScript without type checks in many places: a number may stand where a text is
//! expected, and is then matched in its printed form. These few functions let [`crate::validate`] give the same
//! verdict without a case of its own for each.

use std::borrow::Cow;

use serde_json::Value;

/// Whether `if (value)` takes the branch; an absent value does not.
pub fn truthy(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Bool(flag)) => *flag,
        Some(Value::Number(number)) => number.as_f64().is_some_and(|n| n != 0.0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(_) | Value::Object(_)) => true,
    }
}

/// `String(value)`.
pub fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => "null".into(),
        Value::Bool(flag) => if *flag { "true" } else { "false" }.into(),
        Value::Number(number) => number_text(number.as_f64().unwrap_or(f64::NAN)).into(),
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => {
            let parts: Vec<Cow<'_, str>> =
                items.iter().map(|item| if item.is_null() { "".into() } else { text(item) }).collect();
            parts.join(",").into()
        }
        Value::Object(_) => "[object Object]".into(),
    }
}

/// Decimal form of a number; exponents appear from 10^21 upwards and below 10^-6, as in ECMA-262's Number::toString.
fn number_text(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 {
        "0".to_owned()
    } else if (1e-6..1e21).contains(&size) {
        format!("{number}")
    } else {
        let text = format!("{number:e}");
        if text.contains("e-") { text } else { text.replace('e', "e+") }
    }
}

/// `Number(value)`; not-a-number when it has none.
pub fn number(value: &Value) -> f64 {
    match value {
        Value::Null => 0.0,
        Value::Bool(flag) => f64::from(u8::from(*flag)),
        Value::Number(number) => number.as_f64().unwrap_or(f64::NAN),
        Value::String(_) | Value::Array(_) | Value::Object(_) => number_of_text(&text(value)),
    }
}

/// `Number(text)`: decimal with an exponent, or a prefixed hexadecimal, octal or binary integer; blank is 0.
pub fn number_of_text(text: &str) -> f64 {
    let text = text.trim_matches(is_space);
    if text.is_empty() {
        return 0.0;
    }
    for (prefixes, radix) in [(["0x", "0X"], 16), (["0o", "0O"], 8), (["0b", "0B"], 2)] {
        if let Some(digits) = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix)) {
            return whole_in_base(digits, radix).unwrap_or(f64::NAN);
        }
    }
    match text.trim_start_matches(['+', '-']) {
        "Infinity" if text.len() <= "+Infinity".len() => {
            if text.starts_with('-') {
                f64::NEG_INFINITY
            } else {
                f64::INFINITY
            }
        }
        // Rust reads the words of IEEE 754 in any case, JavaScript does not.
        rest if rest.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
            text.parse().unwrap_or(f64::NAN)
        }
        _ => f64::NAN,
    }
}

fn whole_in_base(digits: &str, radix: u32) -> Option<f64> {
    let mut sum = 0.0;
    for digit in digits.chars() {
        sum = sum * f64::from(radix) + f64::from(digit.to_digit(radix)?);
    }
    (!digits.is_empty()).then_some(sum)
}

/// `value.length > limit`. A value without a length is never too long.
pub fn longer_than(value: &Value, limit: u32) -> bool {
    match value {
        Value::String(text) => text.encode_utf16().count() > limit as usize,
        Value::Array(items) => items.len() > limit as usize,
        Value::Object(members) => {
            members.get("length").is_some_and(|length| number(length) > f64::from(limit))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether a number is whole, by `n % 1 === 0`. The reference calls this "positive integer", yet 0 and negative
/// numbers pass.
pub fn is_whole(number: f64) -> bool {
    number % 1.0 == 0.0
}

/// What `trim` removes: white space and line ends of ECMA-262, which are Unicode's but for NEL, and the byte order
/// mark.
pub fn is_space(c: char) -> bool {
    c == '\u{feff}' || (c.is_whitespace() && c != '\u{85}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_convert_as_in_ecmascript() {
        for (value, expected) in [
            (json!(null), 0.0),
            (json!(true), 1.0),
            (json!(" 2\n"), 2.0),
            (json!(""), 0.0),
            (json!("0x1F"), 31.0),
            (json!("1e3"), 1000.0),
            (json!("-.5"), -0.5),
            (json!([]), 0.0),
            (json!(["7"]), 7.0),
            (json!("-Infinity"), f64::NEG_INFINITY),
        ] {
            assert_eq!(number(&value).to_bits(), f64::to_bits(expected), "{value}");
        }
        for value in
            [json!("two"), json!({}), json!([1, 2]), json!("0x"), json!("0b2"), json!("inf"), json!("nan")]
        {
            assert!(number(&value).is_nan(), "{value}");
        }
    }

    #[test]
    fn values_print_as_in_ecmascript() {
        for (value, expected) in [
            (json!(1.0), "1"),
            (json!(-0.0), "0"),
            (json!(1e21), "1e+21"),
            (json!(1.5e-7), "1.5e-7"),
            (json!([1, null, ["a"]]), "1,,a"),
            (json!({}), "[object Object]"),
        ] {
            assert_eq!(text(&value), expected);
        }
    }
}
