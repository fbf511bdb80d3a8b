//! Reading, writing and judging manifests.

use kiln_imgapi::{Kind, Manifest, ManifestError, RetroImage, cautions, defects, read_value, validate};
use proptest::prelude::*;
use serde_json::{Value, json};

fn retro() -> Manifest {
    RetroImage {
        uuid: "9a3c1e3e-7d2f-5b1c-8f0e-0123456789ab",
        stamp: "20141030T081701Z",
        version: "0.1.0",
        published_at: "2014-10-30T08:17:01Z",
        sha1: "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        size: 164_408_689,
        image_size_mib: 1024,
    }
    .manifest()
}

#[test]
fn a_retro_manifest_is_written_in_the_order_of_image_servers() {
    let expected = r#"{
  "v": 2,
  "uuid": "9a3c1e3e-7d2f-5b1c-8f0e-0123456789ab",
  "owner": "00000000-0000-0000-0000-000000000000",
  "name": "smartos-retro-20141030T081701Z",
  "version": "0.1.0",
  "state": "active",
  "disabled": false,
  "published_at": "2014-10-30T08:17:01Z",
  "type": "zvol",
  "os": "other",
  "files": [
    {
      "sha1": "da39a3ee5e6b4b0d3255bfef95601890afd80709",
      "size": 164408689,
      "compression": "gzip"
    }
  ],
  "description": "smartos-retro build of SmartOS 20141030T081701Z",
  "requirements": {
    "min_platform": {
      "7.0": "20130723T015243Z"
    },
    "networks": [
      {
        "name": "net0",
        "description": "public"
      }
    ],
    "ssh_key": true
  },
  "nic_driver": "e1000",
  "disk_driver": "virtio",
  "cpu_type": "qemu64",
  "image_size": 1024
}
"#;
    assert_eq!(retro().to_json(), expected);
    assert_eq!(Manifest::from_slice(expected.as_bytes()).unwrap(), retro());
}

#[test]
fn a_retro_manifest_suits_the_kind_that_it_was_prepared_for_and_no_stricter_one() {
    let fields = |manifest: &Manifest, kind| -> Vec<String> {
        validate(&manifest.to_value(), kind).into_iter().map(|violation| violation.field).collect()
    };
    let minimal = retro();
    assert!(fields(&minimal, Kind::Minimal).is_empty());
    assert!(cautions(&minimal.to_value()).is_empty());
    for (kind, unsuited) in
        [(Kind::Public, Kind::Private), (Kind::Private, Kind::Public), (Kind::Dc, Kind::Private)]
    {
        assert_eq!(fields(&minimal, kind), ["activated", "public"], "{kind}");
        let mut prepared = retro();
        prepared.prepare_for(kind);
        assert!(fields(&prepared, kind).is_empty(), "{kind}");
        assert_eq!(fields(&prepared, unsuited), ["public"], "{kind}");
    }
}

#[test]
fn what_is_legal_but_unwise_is_named() {
    let mut manifest = retro().to_value();
    manifest["requirements"] =
        json!({"min_platform": {"8.0": "20130723T015243Z"}, "max_platform": {"7.0": "yyyymmddThhmmssZ"}});
    manifest["version"] = json!("1+2");
    assert!(validate(&manifest, Kind::Minimal).is_empty());
    let fields: Vec<String> = cautions(&manifest).into_iter().map(|caution| caution.field).collect();
    assert_eq!(fields, ["requirements.min_platform", "requirements.max_platform", "version",]);
    manifest["type"] = json!("lxd");
    assert!(cautions(&manifest).iter().any(|caution| caution.field == "type"));
}

#[test]
fn what_is_legal_and_does_not_work_is_named() {
    let named = |change: &dyn Fn(&mut Value)| -> Vec<String> {
        let mut manifest = retro().to_value();
        change(&mut manifest);
        assert_eq!(validate(&manifest, Kind::Minimal), [], "{manifest}");
        assert_eq!(cautions(&manifest), [], "{manifest}");
        defects(&manifest).into_iter().map(|defect| defect.field).collect()
    };
    let remove = |manifest: &mut Value, field: &str| manifest.as_object_mut().unwrap().remove(field);
    assert!(named(&|_| {}).is_empty());
    assert!(named(&|m| m["v"] = json!("2")).is_empty());
    for version in [json!(3), json!(1), json!(0), json!(2.5), json!("20")] {
        assert_eq!(named(&|m| m["v"] = version.clone()), ["v"], "{version}");
    }
    assert_eq!(named(&|m| m["files"] = json!([])), ["files"]);
    for field in ["files", "nic_driver", "disk_driver", "cpu_type", "image_size"] {
        assert_eq!(named(&|m| drop(remove(m, field))), [field]);
    }
    assert_eq!(named(&|m| m["nic_driver"] = json!("")), ["nic_driver"]);
    assert_eq!(named(&|m| m["image_size"] = json!(0)), ["image_size"]);
    let of_a_zone = |manifest: &mut Value| {
        manifest["type"] = json!("zone-dataset");
        for field in ["nic_driver", "disk_driver", "cpu_type", "image_size"] {
            remove(manifest, field);
        }
    };
    assert!(named(&of_a_zone).is_empty());
}

#[test]
fn numbers_and_flags_in_words_are_read_and_strangers_kept() {
    let text = br#"{"v": "2", "uuid": "u", "name": "n", "version": 7, "type": "zvol", "os": "other", "os": "linux",
        "disabled": "false", "image_size": "1024", "colour": "red", "files": [{"sha1": "x", "dataset_guid": "1"}]}"#;
    let manifest = Manifest::from_slice(text).unwrap();
    assert_eq!((manifest.v, manifest.version.as_str(), manifest.os.as_str()), (2, "7", "linux"));
    assert_eq!((manifest.disabled, manifest.image_size), (Some(false), Some(1024)));
    assert_eq!(manifest.unknown.keys().collect::<Vec<_>>(), ["colour"]);
    assert_eq!(manifest.files.unwrap()[0].others["dataset_guid"], "1");
}

#[test]
fn numbers_in_tags_come_out_as_they_went_in() {
    let mut manifest = retro().to_value();
    manifest["tags"] = json!({"n": 1.809_057_849_191_195_3e-127, "large": u64::MAX});
    let text = Manifest::from_slice(manifest.to_string().as_bytes()).unwrap().to_json();
    assert!(text.contains("1.8090578491911953e-127") && text.contains("18446744073709551615"), "{text}");
}

#[test]
fn what_cannot_be_read_is_refused_by_kind() {
    assert!(matches!(
        read_value(&vec![b' '; 1024 * 1024 + 1]),
        Err(ManifestError::TooLong { bytes: 1_048_577 })
    ));
    assert!(matches!(read_value(b"{"), Err(ManifestError::NotJson(_))));
    assert!(matches!(read_value(&vec![b'['; 100_000]), Err(ManifestError::NotJson(_))));
    for text in ["[]", "{}", r#"{"v":2,"uuid":"u","name":{},"version":"1","type":"zvol","os":"other"}"#] {
        assert!(
            matches!(Manifest::from_slice(text.as_bytes()), Err(ManifestError::NotAManifest(_))),
            "{text}"
        );
    }
    assert_eq!("dc".parse(), Ok(Kind::Dc));
    assert!("DC".parse::<Kind>().is_err());
}

#[test]
fn violations_say_field_problem_and_remedy() {
    let mut manifest = retro().to_value();
    manifest["image_size"] = json!("big");
    let found: Vec<String> = validate(&manifest, Kind::Minimal).iter().map(ToString::to_string).collect();
    assert_eq!(found, [r#"image_size: is "big", not a whole number; write the size in MiB"#]);
    assert_eq!(validate(&json!([]), Kind::Minimal)[0].field, "manifest");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,24}".prop_map(Value::from),
        "[0-9]{8}T[0-9]{6}Z".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let key = prop_oneof!["[a-z_]{1,8}", Just("7.0".to_owned()), Just("min_platform".to_owned())];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..4).prop_map(|members| json!(members)),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_of_any_field_is_judged_and_read_without_panic(
        field in prop::sample::select(vec!["v", "name", "files", "requirements", "image_size", "tags", "type", "users"]),
        value in any_json(),
    ) {
        let mut manifest = retro().to_value();
        manifest[field] = value;
        let minimal = validate(&manifest, Kind::Minimal).len();
        // A stricter kind finds all that a looser one finds.
        prop_assert!(validate(&manifest, Kind::Dc).len() >= minimal);
        cautions(&manifest);
        defects(&manifest);
        if let Ok(read) = Manifest::from_slice(manifest.to_string().as_bytes()) {
            let again = Manifest::from_slice(read.to_json().as_bytes()).unwrap();
            prop_assert_eq!(again.to_json(), read.to_json());
        }
    }

    #[test]
    fn a_stranger_is_always_refused(name in "[a-z]{1,12}x") {
        prop_assume!(name != "requirementsx");
        let mut manifest = retro().to_value();
        manifest[&name] = json!(1);
        prop_assert_eq!(&validate(&manifest, Kind::Minimal)[0].field, &name);
    }
}
