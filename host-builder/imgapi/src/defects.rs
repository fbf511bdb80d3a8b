//! What the rules allow and installing or starting an instance fails at.

use serde_json::Value;

use crate::Violation;
use crate::js;

/// Names what no complete manifest of an image lacks, although the rules of [`crate::Kind::Minimal`] let it pass:
/// another version of the form, a missing file, and what instances of a volume need. The facts are those of
/// smartos-live's `imgadm` and `vmadm`.
pub fn defects(manifest: &Value) -> Vec<Violation> {
    let mut list = Vec::new();
    let mut add = |field: &str, problem: String, remedy: &str| {
        list.push(Violation { field: field.to_owned(), problem, remedy: remedy.to_owned() });
    };
    let text = |field: &str| manifest.get(field).and_then(Value::as_str);

    // Below 2 hosts take the manifest for one of the first image servers and convert it; above, nobody knows what the
    // fields mean. What is no number at all is a violation of the rules.
    if let Some(version) = manifest.get("v").map(js::number).filter(|version| *version >= 0.0)
        && (version - 2.0).abs() > 0.0
    {
        add("v", format!("is {version}, and the rules are known of version 2 alone"), "write 2");
    }
    if manifest.get("files").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        add("files", "is missing, and imgadm install breaks off half-way".to_owned(), "add the file");
    }
    if text("type") == Some("zvol") {
        for field in ["nic_driver", "disk_driver", "cpu_type"] {
            if text(field).is_none_or(str::is_empty) {
                add(field, "is missing, and every instance must then name it".to_owned(), "add it");
            }
        }
        if manifest.get("image_size").is_none_or(|size| js::number(size) < 1.0) {
            add("image_size", "is missing or below 1 MiB".to_owned(), "write the volume's size in MiB");
        }
    }
    list
}
