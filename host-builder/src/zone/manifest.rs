//! The manifest of a zone image: what is given, what the origin hands down, and below both the defaults of imagetools.

use anyhow::{Context, Result, anyhow, bail};
use kiln_imgapi::{Kind, Manifest, NOBODY, cautions, defects, validate};
use serde_json::{Value, json};
use uuid::Uuid;

use super::fields::Fields;
use super::image::{Compression, Written};
use crate::civil;
use crate::identity;
use crate::report::Hint;

/// Fields that an image on an origin has from it unless they are given (source: smartos-live, `src/img/lib/imgadm.js`).
const INHERITED: [&str; 12] = [
    "type",
    "os",
    "requirements",
    "users",
    "billing_tags",
    "traits",
    "generate_passwords",
    "inherited_directories",
    "nic_driver",
    "disk_driver",
    "cpu_type",
    "image_size",
];

/// Platforms on which the images of a generation run at least (source: imagetools, `create-image`): packages of 2021 and later are
/// built on the newer one.
const OLDEST_PLATFORM: &str = "20141030T081701Z";
const NEWER_PLATFORM: &str = "20210826T002459Z";

/// Versions of images, by their first number, that were built on the older platform.
const OLD_GENERATION: std::ops::RangeInclusive<u32> = 10..=20;

/// What a manifest is made from, but for the file.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Name of the image.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// Fields that were given. They win over everything else.
    pub given: &'a Fields,
    /// The manifest of the origin, when the image has one.
    pub origin: Option<&'a Fields>,
    /// Whether the image is an increment on that origin, which its manifest then names.
    pub incremental: bool,
    /// The oldest platform that the image runs on, if that is not to follow from the version.
    pub min_platform: Option<&'a str>,
    /// The kind of image server that the manifest shall satisfy.
    pub audience: Option<Kind>,
}

/// A manifest that lacks what only the finished image can tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    fields: Fields,
    audience: Option<Kind>,
}

impl Draft {
    /// Joins what is given, what the origin hands down, and the defaults.
    pub fn new(about: &About<'_>) -> Draft {
        let About { name, version, given, .. } = *about;
        let mut fields = Fields::new();
        let mut set = |name: &str, value: Value| {
            fields.insert(name.to_owned(), value);
        };
        set("v", json!(2));
        set("name", json!(name));
        set("version", json!(version));
        set("owner", json!(NOBODY));
        set("state", json!("active"));
        set("disabled", json!(false));
        set("public", json!(about.audience != Some(Kind::Private)));
        if about.audience.is_some() {
            set("activated", json!(true));
        }
        set("type", json!("zone-dataset"));
        set("urn", json!(format!("sdc:sdc:{name}:{version}")));
        set("tags", json!({ "role": "os", "group": name }));
        if let Some(Family { description, homepage, .. }) = family(name) {
            set("description", json!(description));
            set("homepage", json!(homepage));
        }
        for (field, value) in about.origin.into_iter().flatten() {
            if INHERITED.contains(&field.as_str()) {
                fields.insert(field.clone(), value.clone());
            }
        }
        if about.incremental {
            let uuid = about.origin.and_then(|origin| origin.get("uuid")).cloned();
            fields.extend(uuid.map(|uuid| ("origin".to_owned(), uuid)));
        }
        // What is given as empty is what somebody does not want to have.
        for (field, value) in given {
            if value.as_str() == Some("") {
                fields.remove(field);
            } else {
                fields.insert(field.clone(), value.clone());
            }
        }
        let os = if is_lx(&fields) { "linux" } else { "smartos" };
        fields.entry("os").or_insert_with(|| json!(os));
        require(&mut fields, about.min_platform.unwrap_or_else(|| oldest_platform(version)));
        Draft { fields, audience: about.audience }
    }

    /// A field as it will be.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    /// Says before the work what would be refused after it.
    ///
    /// # Errors
    /// As misuse: the fields break the rules of manifests.
    pub fn check(&self) -> Result<()> {
        let kind = self.fields.get("type").cloned().unwrap_or_default();
        if !["zone-dataset", "lx-dataset", "other"].iter().any(|known| kind == *known) {
            return Err(anyhow!("an image of type {kind} is no file system"))
                .misuse("zone images are of type zone-dataset or lx-dataset");
        }
        let stand_in = Written::stand_in();
        self.complete(0, &stand_in, Compression::None).map(drop).misuse(
            "give other values, as in: KEY=VALUE; `requirements` and others of several parts are JSON",
        )
    }

    /// The manifest of a finished image. `newest` is the newest time of its files, seconds since 1970: it counts as published
    /// then unless that was given. Its UUID, unless given, follows from all of this.
    ///
    /// # Errors
    /// The rules of manifests are broken.
    pub fn complete(&self, newest: i64, written: &Written, compression: Compression) -> Result<Manifest> {
        let mut fields = self.fields.clone();
        if !fields.contains_key("published_at") {
            let published = civil::iso(newest);
            if !published.ends_with('Z') {
                return Err(anyhow!(
                    "the newest file has a time that no manifest can tell: {published} seconds"
                ))
                .hint(
                    "say when the image was published with --date TIME, or correct the times of the files",
                );
            }
            fields.insert("published_at".to_owned(), json!(published));
        }
        let file = json!([{
            "sha1": written.sha1,
            "size": written.size,
            "compression": compression.kind().name(),
            "dataset_guid": written.guid.to_string(),
        }]);
        fields.insert("files".to_owned(), file);
        let given = fields.contains_key("uuid");
        if !given {
            fields.insert("uuid".to_owned(), json!(Uuid::nil().to_string()));
        }
        let kinds = [Some(Kind::Minimal), self.audience];
        let value = Value::Object(fields);
        for kind in kinds.into_iter().flatten() {
            let violations = validate(&value, kind);
            if !violations.is_empty() {
                let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
                bail!("the manifest would be refused: {}", list.join("; "));
            }
        }
        let mut manifest: Manifest =
            serde_json::from_value(value).context("the manifest does not have the form of version 2")?;
        if given && manifest.uuid == Uuid::nil().to_string() {
            bail!("a UUID of zeros alone names no image");
        }
        if !given {
            manifest.uuid = identity::of_image(&manifest.to_json()).to_string();
        }
        Ok(manifest)
    }
}

/// What real hosts may stumble over in a manifest.
pub fn warnings(manifest: &Manifest) -> Vec<String> {
    let value = manifest.to_value();
    let found = defects(&value).into_iter().chain(cautions(&value));
    let mut list: Vec<String> = found.map(|found| format!("the manifest's {found}")).collect();
    let has_kernel = manifest.tags.as_ref().is_some_and(|tags| tags.contains_key("kernel_version"));
    if manifest.type_ == "lx-dataset" && !has_kernel {
        list.push(
            "the manifest's tags name no kernel_version, and instances must then be given one; add \
             tags='{\"kernel_version\": \"5.10.0\"}'"
                .to_owned(),
        );
    }
    list
}

fn is_lx(fields: &Fields) -> bool {
    fields.get("type").is_some_and(|kind| kind == "lx-dataset")
}

/// Fills in what the requirements lack: a platform and a network for SmartOS zones, the brand for Linux ones. What is there stays,
/// even if it is empty.
fn require(fields: &mut Fields, min_platform: &str) {
    let is_lx = is_lx(fields);
    let requirements = fields.entry("requirements").or_insert_with(|| json!({}));
    let Some(requirements) = requirements.as_object_mut() else { return };
    requirements.entry("networks").or_insert_with(|| json!([{ "name": "net0", "description": "public" }]));
    if is_lx {
        requirements.entry("brand").or_insert_with(|| json!("lx"));
    } else {
        requirements.entry("min_platform").or_insert_with(|| json!({ "7.0": min_platform }));
    }
}

/// The oldest platform that an image of this version runs on.
fn oldest_platform(version: &str) -> &'static str {
    let first: String = version.chars().take_while(char::is_ascii_digit).collect();
    let old = first.parse().is_ok_and(|number| OLD_GENERATION.contains(&number));
    if old { OLDEST_PLATFORM } else { NEWER_PLATFORM }
}

/// Images that everybody knows by their names.
struct Family {
    /// What their names begin with.
    prefix: &'static str,
    description: &'static str,
    homepage: &'static str,
}

/// Where the images of Triton are documented.
macro_rules! documented {
    ($page:literal) => {
        concat!(
            "https://docs.tritondatacenter.com/public-cloud/instances/infrastructure/images/smartos/",
            $page
        )
    };
}

/// What every seed is, whatever its name.
pub const SEED: &str =
    "SmartOS as a platform brings it, without packages: the seed that base images are made from.";

const FAMILIES: [Family; 6] = [
    Family {
        prefix: "minimal-32",
        description: "SmartOS with the 32-bit package manager and nothing else: the ground for images that bring all they need.",
        homepage: documented!("minimal"),
    },
    Family {
        prefix: "minimal-64",
        description: "SmartOS with the 64-bit package manager and nothing else: the ground for images that bring all they need.",
        homepage: documented!("minimal"),
    },
    Family {
        prefix: "base-32",
        description: "SmartOS with 32-bit packages that most machines want, ready to be set up for any purpose.",
        homepage: documented!("base"),
    },
    Family {
        prefix: "base-64",
        description: "SmartOS with 64-bit packages that most machines want, ready to be set up for any purpose.",
        homepage: documented!("base"),
    },
    Family {
        prefix: "pkgbuild",
        description: "SmartOS with what it takes to build packages of pkgsrc.",
        homepage: "https://pkgsrc.smartos.org/",
    },
    Family { prefix: "seed", description: SEED, homepage: "https://github.com/TritonDataCenter/imagetools" },
];

/// Whether an image is known by its name, so that nobody needs to describe it.
pub fn has_description(name: &str) -> bool {
    family(name).is_some()
}

/// The family of an image, by its name.
fn family(name: &str) -> Option<&'static Family> {
    let of = |family: &&Family| {
        let rest = name.strip_prefix(family.prefix);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    FAMILIES.iter().find(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about<'a>(given: &'a Fields, origin: Option<&'a Fields>) -> About<'a> {
        About {
            name: "web",
            version: "1.0",
            given,
            origin,
            incremental: origin.is_some(),
            min_platform: None,
            audience: None,
        }
    }

    fn fields(value: Value) -> Fields {
        match value {
            Value::Object(fields) => fields,
            other => panic!("{other}"),
        }
    }

    fn complete(about: &About<'_>) -> Value {
        let draft = Draft::new(about);
        draft.check().unwrap();
        draft.complete(1_414_657_021, &Written::stand_in(), Compression::None).unwrap().to_value()
    }

    #[test]
    fn defaults_are_those_of_imagetools() {
        let none = Fields::new();
        let manifest = complete(&about(&none, None));
        let expected = json!({
            "v": 2,
            "uuid": manifest["uuid"],
            "owner": NOBODY,
            "name": "web",
            "version": "1.0",
            "state": "active",
            "disabled": false,
            "public": true,
            "published_at": "2014-10-30T08:17:01Z",
            "type": "zone-dataset",
            "os": "smartos",
            "files": [{
                "sha1": "0".repeat(40), "size": 1, "compression": "none", "dataset_guid": "1",
            }],
            "urn": "sdc:sdc:web:1.0",
            "requirements": {
                "min_platform": { "7.0": NEWER_PLATFORM },
                "networks": [{ "name": "net0", "description": "public" }],
            },
            "tags": { "role": "os", "group": "web" },
        });
        assert_eq!(manifest, expected);
        let uuid = manifest["uuid"].as_str().unwrap();
        assert_eq!(uuid.parse::<Uuid>().unwrap().get_version_num(), 5);
    }

    #[test]
    fn what_is_given_wins_over_the_origin_and_that_over_defaults() {
        let origin = fields(json!({
            "uuid": "11111111-1111-4111-8111-111111111111",
            "os": "other",
            "requirements": { "min_ram": 512, "networks": [] },
            "users": [{ "name": "root" }],
            "description": "not handed down",
        }));
        let given =
            fields(json!({ "os": "illumos", "urn": "", "uuid": "22222222-2222-4222-8222-222222222222" }));
        let manifest = complete(&about(&given, Some(&origin)));
        assert_eq!(manifest["os"], "illumos");
        assert_eq!(manifest["origin"], origin["uuid"]);
        assert_eq!(manifest["users"], origin["users"]);
        assert_eq!(
            manifest["requirements"],
            json!({ "min_ram": 512, "networks": [], "min_platform": { "7.0": NEWER_PLATFORM } })
        );
        assert_eq!(manifest["uuid"], given["uuid"]);
        assert!(manifest.get("urn").is_none() && manifest.get("description").is_none());
        let full = About { incremental: false, ..about(&given, Some(&origin)) };
        assert!(complete(&full).get("origin").is_none());
    }

    #[test]
    fn families_have_descriptions_and_generations_platforms() {
        for (name, known) in [
            ("minimal-64", true),
            ("minimal-64-lts", true),
            ("base-32", true),
            ("pkgbuild", true),
            ("seed", true),
            ("seedling", false),
            ("base", false),
        ] {
            assert_eq!(family(name).is_some(), known, "{name}");
        }
        for (version, platform) in [
            ("14.2.0", OLDEST_PLATFORM),
            ("20.4.0", OLDEST_PLATFORM),
            ("21.4.0", NEWER_PLATFORM),
            ("2014", NEWER_PLATFORM),
            ("x", NEWER_PLATFORM),
        ] {
            assert_eq!(oldest_platform(version), platform, "{version}");
        }
    }

    #[test]
    fn what_servers_would_refuse_is_said_before_the_work() {
        for (given, words) in [
            (json!({ "colour": "red" }), "colour: is no field of version 2"),
            (json!({ "type": "zvol" }), "is no file system"),
            (json!({ "uuid": Uuid::nil().to_string() }), "a UUID of zeros"),
            (json!({ "published_at": "yesterday" }), "published_at: is"),
            (json!({ "requirements": 5 }), "does not have the form of version 2"),
            (json!({ "public": "maybe" }), "public: "),
        ] {
            let given = fields(given);
            let error = Draft::new(&about(&given, None)).check().unwrap_err();
            assert!(format!("{error:#}").contains(words), "{error:#}");
            assert!(crate::report::is_misuse(&error));
        }
        let none = Fields::new();
        let draft = Draft::new(&about(&none, None));
        let error = draft.complete(i64::MAX, &Written::stand_in(), Compression::None).unwrap_err();
        assert!(format!("{error:#}").contains("no manifest can tell"), "{error:#}");
    }

    #[test]
    fn servers_get_what_they_demand() {
        let none = Fields::new();
        for (kind, public) in [(Kind::Public, true), (Kind::Private, false), (Kind::Dc, true)] {
            let manifest = complete(&About { audience: Some(kind), ..about(&none, None) });
            assert_eq!((&manifest["public"], &manifest["activated"]), (&json!(public), &json!(true)));
        }
    }

    #[test]
    fn linux_zones_have_their_brand_and_want_a_kernel() {
        let given = fields(json!({ "type": "lx-dataset" }));
        let draft = Draft::new(&about(&given, None));
        assert_eq!(draft.field("os").unwrap(), "linux");
        assert_eq!(draft.field("requirements").unwrap()["brand"], "lx");
        let manifest = draft.complete(0, &Written::stand_in(), Compression::None).unwrap();
        assert!(warnings(&manifest).iter().any(|warning| warning.contains("kernel_version")));
        let given = fields(json!({ "type": "lx-dataset", "tags": { "kernel_version": "5.10" } }));
        let manifest = Draft::new(&about(&given, None)).complete(0, &Written::stand_in(), Compression::None);
        assert_eq!(warnings(&manifest.unwrap()), [""; 0]);
    }
}
