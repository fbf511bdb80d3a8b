//! What the rules allow and hosts nevertheless stumble over.

use serde_json::Value;

use crate::Violation;

/// Version of Triton that every host of today reports to `imgadm`, and so the one key that takes effect.
const SDC_VERSION: &str = "7.0";

/// Oldest platform whose `imgadm` takes a `+` in versions.
const PLUS_SINCE: &str = "20161118T231131Z";

/// Names what is legal but wrong or risky on real hosts. The facts are those of smartos-live's `imgadm`.
pub fn cautions(manifest: &Value) -> Vec<Violation> {
    let mut list = Vec::new();
    let mut add = |field: &str, problem: String, remedy: &str| {
        list.push(Violation { field: field.to_owned(), problem, remedy: remedy.to_owned() });
    };
    let text = |field: &str| manifest.get(field).and_then(Value::as_str);

    for name in ["min_platform", "max_platform"] {
        let platforms = manifest.get("requirements").and_then(|required| required.get(name));
        let Some(platforms) = platforms.and_then(Value::as_object) else { continue };
        let field = format!("requirements.{name}");
        for (key, stamp) in platforms {
            if key != SDC_VERSION {
                add(
                    &field,
                    format!("has the key {key:?}, and hosts compare it with their version {SDC_VERSION}"),
                    "use the key 7.0 alone",
                );
            }
            if !stamp.as_str().is_some_and(is_digits_stamp) {
                add(
                    &field,
                    format!("has {stamp}, which hosts compare as text"),
                    "write a stamp of digits like 20130723T015243Z",
                );
            }
        }
    }
    if text("version").is_some_and(|version| version.contains('+')) {
        add(
            "version",
            format!("contains '+', which platforms before {PLUS_SINCE} refuse"),
            "use another character",
        );
    }
    if text("type") == Some("lxd") {
        add(
            "type",
            "is lxd, which the imgadm of platforms does not know".to_owned(),
            "use it with servers alone",
        );
    }
    list
}

fn is_digits_stamp(text: &str) -> bool {
    text.len() == 16
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 => byte == b'T',
            15 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        })
}
