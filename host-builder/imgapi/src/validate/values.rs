//! Rules that several fields share.

use serde_json::Value;

use super::{Context, Findings, shown};
use crate::js;

/// Whether a value prints as a UUID in lower case.
pub fn is_uuid(value: &Value) -> bool {
    let text = js::text(value);
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

/// A UUID in lower case.
pub fn uuid(at: &Context<'_>, found: &mut Findings) {
    if !is_uuid(at.value) {
        found.add(
            at.field,
            format!("is {}, no UUID in lower case", shown(at.value)),
            "write 8-4-4-4-12 digits 0-9a-f",
        );
    }
}

/// Any text.
pub fn text(at: &Context<'_>, found: &mut Findings) {
    if !at.value.is_string() {
        found.add(at.field, format!("is {}, not a text", shown(at.value)), "write a text");
    }
}

/// A flag, or one of the words `true` and `false`.
pub fn flag(at: &Context<'_>, found: &mut Findings) {
    let word = matches!(at.value.as_str(), Some("true" | "false"));
    if !at.value.is_boolean() && !word {
        found.add(at.field, format!("is {}, no flag", shown(at.value)), "write true or false");
    }
}

/// Reports a text that is longer than `limit` UTF-16 units, or that cannot be measured.
fn is_too_long(at: &Context<'_>, found: &mut Findings, limit: u32) -> bool {
    if at.value.is_null() {
        found.add(at.field, "is null", "write a text");
    } else if js::longer_than(at.value, limit) {
        found.add(at.field, format!("is longer than {limit} characters"), "shorten it");
    } else {
        return false;
    }
    true
}

/// A text of letters, digits and `others`.
fn word(at: &Context<'_>, found: &mut Findings, limit: u32, others: &str) {
    if is_too_long(at, found, limit) {
        return;
    }
    let text = js::text(at.value);
    if text.is_empty() {
        found.add(at.field, "is empty", "write at least one character");
    } else if let Some(stranger) = text.chars().find(|&c| !c.is_ascii_alphanumeric() && !others.contains(c)) {
        found.add(
            at.field,
            format!("contains {stranger:?}"),
            format!("use letters, digits and {:?} alone", others.chars().collect::<String>()),
        );
    }
}

/// The image's name. The published text says 512 characters, the code 1024.
pub fn name(at: &Context<'_>, found: &mut Findings) {
    word(at, found, 1024, "._/ -");
}

/// The image's version. The published text says 128 characters, the code 512.
pub fn version(at: &Context<'_>, found: &mut Findings) {
    word(at, found, 512, "._/+-");
}

/// At most 10 KiB.
pub fn description(at: &Context<'_>, found: &mut Findings) {
    is_too_long(at, found, 10 * 1024);
}

/// An address of at most 1024 characters with the scheme http or https, found as Node's `url.parse` finds it.
pub fn address(at: &Context<'_>, found: &mut Findings) {
    let Some(text) = at.value.as_str() else {
        found.add(at.field, format!("is {}, not a text", shown(at.value)), "write an http or https address");
        return;
    };
    let scheme = text.trim_start_matches(js::is_space).split(':').next().unwrap_or_default();
    if !text.contains(':') || !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        found.add(
            at.field,
            format!("is {}, no http or https address", shown(at.value)),
            "write an http or https address",
        );
    } else {
        is_too_long(at, found, 1024);
    }
}

/// A time in UTC to the second or millisecond. What counts as empty is let pass, as long as it is there.
pub fn published_at(at: &Context<'_>, found: &mut Findings) {
    if js::truthy(Some(at.value)) && !is_time(&js::text(at.value)) {
        found.add(
            at.field,
            format!("is {}, no time in UTC", shown(at.value)),
            "write it like 2014-10-30T08:17:01Z or 2014-10-30T08:17:01.000Z",
        );
    }
}

/// `YYYY-MM-DDTHH:MM:SS(.mmm)Z`, digits unchecked for sense.
fn is_time(text: &str) -> bool {
    let shape: &[u8] = if text.len() == 24 { b"0000-00-00T00:00:00.000Z" } else { b"0000-00-00T00:00:00Z" };
    text.len() == shape.len()
        && text.bytes().zip(shape).all(|(byte, &form)| match form {
            b'0' => byte.is_ascii_digit(),
            _ => byte == form,
        })
}

/// A list whose entries all are `meaning`.
pub fn list(at: &Context<'_>, found: &mut Findings, meaning: &str, good: impl Fn(&Value) -> bool) {
    let Value::Array(entries) = at.value else {
        found.add(at.field, format!("is {}, not a list", shown(at.value)), "write a list");
        return;
    };
    for (index, entry) in entries.iter().enumerate().filter(|(_, entry)| !good(entry)) {
        found.add(at.field, format!("has {} as entry {index}", shown(entry)), format!("make it {meaning}"));
    }
}
