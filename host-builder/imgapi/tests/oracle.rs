//! Every field with many values, judged by us and by the reference implementation under Node.

use kiln_harness::imgmanifest;
use kiln_imgapi::{Kind, RetroImage, Rules, validate};
use serde_json::{Map, Value, json};

const KINDS: [Kind; 4] = [Kind::Minimal, Kind::Public, Kind::Private, Kind::Dc];

/// A manifest that the servers of `kind` take.
fn good(kind: Kind) -> Map<String, Value> {
    let mut manifest = RetroImage {
        uuid: "9a3c1e3e-7d2f-5b1c-8f0e-0123456789ab",
        stamp: "20141030T081701Z",
        version: "0.1.0",
        published_at: "2014-10-30T08:17:01Z",
        sha1: "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        size: 164_408_689,
        image_size_mib: 1024,
    }
    .manifest();
    manifest.prepare_for(kind);
    match manifest.to_value() {
        Value::Object(members) => members,
        other => panic!("not an object: {other}"),
    }
}

fn values() -> Vec<Value> {
    let mut values = vec![
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(-0.0),
        json!(1),
        json!(2),
        json!(-1),
        json!(1.5),
        json!(1e21),
        json!(1e-7),
        json!([]),
        json!(["zvol"]),
        json!(["a", true, ["b"]]),
        json!([1]),
        json!([null]),
        json!([[]]),
        json!(["9a3c1e3e-7d2f-5b1c-8f0e-0123456789ab"]),
        json!(["9a3c1e3e-7d2f-5b1c-8f0e-0123456789ab", "x"]),
        json!([{"name": "root"}]),
        json!([{"name": "root", "description": "x"}]),
        json!([{"name": "net0", "description": "public", "more": 1}]),
        json!([{"description": "public"}]),
        json!(["x".repeat(128)]),
        json!(["x".repeat(129)]),
        json!({}),
        json!({"name": "x"}),
        json!({"length": 2000}),
        json!({"a": "b", "c": true, "d": []}),
        json!({"a": 1}),
        json!({"a": null}),
        json!({"7.0": "20130723T015243Z"}),
        json!({"7.0": "20110723T015243Z"}),
        json!({"7.0": "20131323T015243Z"}),
        json!({"7.0": "20130023T015243Z"}),
        json!({"7.0": "20130732T015243Z"}),
        json!({"7.0": "20130723T245243Z"}),
        json!({"7.0": "20130723T016043Z"}),
        json!({"7.0": "20130723T015260Z"}),
        json!({"7.0": "20130723 015243Z"}),
        json!({"7.0": "20130723T015243z"}),
        json!({"7.0": "yyyymmddThhmmssZ"}),
        json!({"7.0": "2013é723T015243Z"}),
        json!({"7.0": "2013  23T  5243Z"}),
        json!({"7.0": "0x7e0b23T0b5243Z"}),
        json!({"7.0": 20_130_723}),
        json!({"7.0": null}),
        json!(["20130723T015243Z"]),
        json!({"tags": "x".repeat(100 * 1024)}),
        json!([{"sha1": "x", "size": 1, "compression": "gzip"}]),
        json!([{"sha1": "x", "size": 1, "compression": "xz"}]),
        json!([{"sha1": "x", "size": 1, "compression": "lzma"}]),
        json!([{"sha1": "x", "size": 1, "compression": ["gzip"]}]),
        json!([{"sha1": "x", "size": 0, "compression": "none"}]),
        json!([{"sha1": "", "size": 1, "compression": "bzip2"}]),
        json!([{"sha1": "x", "size": 1, "compression": "gzip"}, {"sha1": "x", "size": 1, "compression": "gzip"}]),
        json!([{}, {}, {}]),
    ];
    let long = |length: usize| "x".repeat(length);
    let texts = [
        String::new(),
        " ".into(),
        "2".into(),
        " 2 ".into(),
        "0x10".into(),
        "1e3".into(),
        "two".into(),
        "true".into(),
        "false".into(),
        "null".into(),
        "nan".into(),
        "Infinity".into(),
        "a b".into(),
        "a+b".into(),
        "a/b_c-d.e".into(),
        "é".into(),
        "a\n".into(),
        long(512),
        long(513),
        long(1024),
        long(1025),
        "é".repeat(512),
        "😀".repeat(513),
        long(10 * 1024),
        long(10 * 1024 + 1),
        "http://example.com/".into(),
        " HTTPS://example.com".into(),
        "ftp://example.com".into(),
        "example.com".into(),
        "http".into(),
        "https:".into(),
        format!("http://example.com/{}", long(1005)),
        format!("http://example.com/{}", long(1006)),
        "9a3c1e3e-7d2f-5b1c-8f0e-0123456789ab".into(),
        "9A3C1E3E-7D2F-5B1C-8F0E-0123456789AB".into(),
        "9a3c1e3e7d2f5b1c8f0e0123456789ab".into(),
        "9a3c1e3e-7d2f-5b1c-8f0e-0123456789ag".into(),
        "2014-10-30T08:17:01Z".into(),
        "2014-10-30T08:17:01.123Z".into(),
        "2014-10-30T08:17:01.12Z".into(),
        "2014-10-30T08:17Z".into(),
        "2014-10-30 08:17:01Z".into(),
        "9999-99-99T99:99:99Z".into(),
    ];
    values.extend(texts.into_iter().map(Value::from));
    let words = "active unactivated disabled failed creating zone-dataset zvol lx-dataset lxd docker other smartos \
                 linux windows bsd illumos bhyve kvm bios uefi";
    values.extend(words.split_whitespace().map(Value::from));
    values
}

const FIELDS: &str = "v uuid urn owner name version description homepage eula disabled activated published_at state \
                      public type os origin error files icon acl requirements users billing_tags traits tags \
                      generate_passwords inherited_directories nic_driver disk_driver cpu_type image_size channels \
                      surprise";

/// Fields whose rule looks at the type.
const TYPED_FIELDS: &str = "files inherited_directories nic_driver disk_driver cpu_type image_size";

const REQUIREMENTS: &str =
    "networks brand ssh_key min_ram max_ram min_platform max_platform bootrom password";

/// All manifests to judge.
fn cases() -> Vec<(Rules, Value)> {
    let mut cases = Vec::new();
    for kind in KINDS {
        let mut add = |channels: bool, members: Map<String, Value>| {
            cases.push((Rules { kind, channels }, Value::Object(members)));
        };
        add(false, good(kind));
        add(true, good(kind));
        for field in FIELDS.split_whitespace() {
            let mut without = good(kind);
            without.remove(field);
            add(false, without.clone());
            add(true, without.clone());
            // Only volume images must, and others must not, have the fields of volumes.
            without.insert("type".into(), "zone-dataset".into());
            add(false, without.clone());
            // What is missing may be excused while an image is being made.
            without.insert("activated".into(), "false".into());
            add(false, without);
            for value in values() {
                let mut with = good(kind);
                with.insert(field.into(), value.clone());
                add(false, with.clone());
                if field == "channels" {
                    add(true, with.clone());
                }
                if TYPED_FIELDS.split_whitespace().any(|typed| typed == field) {
                    for type_ in ["zone-dataset", "lxd"] {
                        with.insert("type".into(), type_.into());
                        add(false, with.clone());
                    }
                }
                if field == "type" || field == "os" {
                    with.insert("state".into(), "creating".into());
                    add(false, with);
                }
            }
        }
        for name in REQUIREMENTS.split_whitespace() {
            for value in values() {
                for context in [json!({}), json!({"brand": "bhyve", "min_ram": 512}), json!({"brand": "kvm"})]
                {
                    let mut required = context;
                    required[name] = value.clone();
                    let mut with = good(kind);
                    with.insert("requirements".into(), required);
                    add(false, with);
                }
            }
        }
    }
    cases
}

#[test]
fn the_reference_implementation_gives_the_same_verdicts() {
    let Some(judge) = imgmanifest::judge() else { return };
    let cases = cases();
    let input: Vec<Value> = cases
        .iter()
        .map(|(rules, manifest)| json!([rules.kind.to_string(), rules.channels, manifest]))
        .collect();
    let verdicts = imgmanifest::verdicts(judge, &Value::from(input).to_string());
    let verdicts: Vec<Value> = serde_json::from_str(&verdicts).unwrap();
    assert_eq!(verdicts.len(), cases.len());

    let (mut accepted, mut refused) = (0, 0);
    let mut differences = Vec::new();
    for ((rules, manifest), theirs) in cases.iter().zip(&verdicts) {
        let ours = validate(manifest, *rules);
        let mut fields: Vec<&str> = ours.iter().map(|violation| unqualified(&violation.field)).collect();
        fields.sort_unstable();
        fields.dedup();
        let same = if theirs == "threw" { !fields.is_empty() } else { *theirs == json!(fields) };
        if !same {
            let mut shown = manifest.to_string();
            shown.truncate(shown.char_indices().nth(1200).map_or(shown.len(), |(end, _)| end));
            differences.push(format!("{rules:?}: theirs {theirs}, ours {fields:?}\n  {shown}"));
        }
        *(if fields.is_empty() { &mut accepted } else { &mut refused }) += 1;
    }
    assert!(
        differences.is_empty(),
        "{} of {} differ, such as\n{}",
        differences.len(),
        cases.len(),
        differences[..differences.len().min(5)].join("\n")
    );
    assert!(accepted > 1000 && refused > 1000, "accepted {accepted}, refused {refused}");
}

/// The reference names unknown requirements without their parent.
fn unqualified(field: &str) -> &str {
    match field.strip_prefix("requirements.") {
        Some(name) if REQUIREMENTS.split_whitespace().any(|known| known == name && known != "password") => {
            field
        }
        Some(name) => name,
        None => field,
    }
}
