//! The rules of the image server, as the reference implementation has them.
//!
//! Source of every rule: `imgmanifest` 3.2.1 (npm), which is what `imgadm` and the image server run; where its
//! behaviour and the published text differ, behaviour counts. Values on which it breaks down with an exception are
//! violations here, because the manifest is refused all the same. One accident is not followed: it takes the names of
//! JavaScript's built-in object members (`constructor` and the like) for known types and systems.
//!
//! Every problem says what is wrong and every remedy what to write instead.

mod requirements;
mod values;

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::js;

/// Largest `tags`, in characters of compact JSON.
const TAGS_LIMIT: usize = 100 * 1024;

/// Which rules a manifest has to meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What `imgadm install` and `imgadm create` ask.
    Minimal,
    /// A server all of whose images are public.
    Public,
    /// A server all of whose images are private.
    Private,
    /// The server of a Triton data centre.
    Dc,
}

/// A word that names no [`Kind`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is none of minimal, public, private, dc")]
pub struct UnknownKind(String);

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Minimal => "minimal",
            Kind::Public => "public",
            Kind::Private => "private",
            Kind::Dc => "dc",
        }
    }

    /// Fields that must be there. Those of volume images count for volume images only, `published_at` and `files` for
    /// activated ones only; the rules of each field see to that.
    fn required(self) -> &'static [&'static str] {
        const MINIMAL: &[&str] = &["v", "uuid", "name", "version", "type", "os"];
        const SERVER: &[&str] = &[
            "v",
            "uuid",
            "owner",
            "name",
            "version",
            "disabled",
            "activated",
            "published_at",
            "public",
            "state",
            "type",
            "os",
            "files",
            "nic_driver",
            "disk_driver",
            "cpu_type",
            "image_size",
        ];
        if self == Kind::Minimal { MINIMAL } else { SERVER }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(word: &str) -> Result<Kind, UnknownKind> {
        [Kind::Minimal, Kind::Public, Kind::Private, Kind::Dc]
            .into_iter()
            .find(|kind| kind.word() == word)
            .ok_or_else(|| UnknownKind(word.to_owned()))
    }
}

/// A kind of server, and whether it is configured with channels. Data centres never are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Which server.
    pub kind: Kind,
    /// Whether it has channels: then a manifest must name some, else it must not.
    pub channels: bool,
}

impl From<Kind> for Rules {
    fn from(kind: Kind) -> Rules {
        Rules { kind, channels: false }
    }
}

/// One thing that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field, such as `image_size` or `requirements.min_platform`.
    pub field: String,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.field, self.problem, self.remedy)
    }
}

/// Judges a manifest. An empty list means that a server (or, for [`Kind::Minimal`], `imgadm`) accepts it.
pub fn validate(manifest: &Value, rules: impl Into<Rules>) -> Vec<Violation> {
    let rules = rules.into();
    let mut found = Findings::default();
    match manifest {
        Value::Object(members) => {
            for rule in FIELDS {
                match members.get(rule.name) {
                    Some(value) => {
                        (rule.check)(&Context { members, rules, field: rule.name, value }, &mut found);
                    }
                    None if is_missing(members, rules, rule.name) => {
                        found.add(rule.name, "is missing", format!("add it: {}", rule.meaning));
                    }
                    None => {}
                }
            }
            for name in members.keys().filter(|name| FIELDS.iter().all(|rule| rule.name != name.as_str())) {
                found.add(name, "is no field of version 2", "remove it, or put it into tags");
            }
        }
        other => found.add("manifest", format!("is {}, not an object", shown(other)), "write a JSON object"),
    }
    found.0
}

/// Whether an absent field is a violation.
fn is_missing(members: &Map<String, Value>, rules: Rules, field: &str) -> bool {
    let required = rules.kind.required().contains(&field);
    match field {
        "nic_driver" | "disk_driver" | "cpu_type" | "image_size" => required && type_is(members, "zvol"),
        "published_at" | "files" => required && is_true(members.get("activated")),
        "channels" => rules.channels && matches!(rules.kind, Kind::Public | Kind::Private),
        _ => required,
    }
}

/// Violations found so far.
#[derive(Default)]
struct Findings(Vec<Violation>);

impl Findings {
    fn add(&mut self, field: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Violation { field: field.into(), problem: problem.into(), remedy: remedy.into() });
    }
}

/// What the rule of one field sees.
struct Context<'a> {
    members: &'a Map<String, Value>,
    rules: Rules,
    field: &'a str,
    value: &'a Value,
}

/// One field of the manifest and its rule.
struct Field {
    name: &'static str,
    /// What to write when it is missing.
    meaning: &'static str,
    check: fn(&Context<'_>, &mut Findings),
}

/// All fields of version 2.
const FIELDS: &[Field] = &[
    Field { name: "v", meaning: "the number 2", check: version_of_form },
    Field { name: "uuid", meaning: "a UUID in lower case", check: values::uuid },
    Field { name: "urn", meaning: "a text", check: values::text },
    Field { name: "owner", meaning: "the owner's UUID, or all zeros for nobody", check: values::uuid },
    Field { name: "name", meaning: "letters, digits, blanks and ._/-", check: values::name },
    Field { name: "version", meaning: "letters, digits and ._/+-", check: values::version },
    Field { name: "description", meaning: "a text", check: values::description },
    Field { name: "homepage", meaning: "an http or https address", check: values::address },
    Field { name: "eula", meaning: "an http or https address", check: values::address },
    Field { name: "disabled", meaning: "true or false", check: values::flag },
    Field { name: "activated", meaning: "true or false", check: values::flag },
    Field { name: "published_at", meaning: "a time like 2014-10-30T08:17:01Z", check: values::published_at },
    Field { name: "state", meaning: "such as active", check: state },
    Field { name: "public", meaning: "true or false", check: public },
    Field { name: "type", meaning: "such as zvol or zone-dataset", check: image_type },
    Field { name: "os", meaning: "such as smartos or other", check: os },
    Field { name: "origin", meaning: "a UUID in lower case", check: values::uuid },
    Field { name: "error", meaning: "an object", check: error },
    Field { name: "files", meaning: "a list of one file with sha1, size and compression", check: files },
    Field { name: "icon", meaning: "true or false", check: values::flag },
    Field { name: "acl", meaning: "a list of UUIDs", check: acl },
    Field { name: "requirements", meaning: "an object", check: requirements::check },
    Field { name: "users", meaning: "a list of objects with a name", check: users },
    Field { name: "billing_tags", meaning: "a list of texts", check: billing_tags },
    Field { name: "traits", meaning: "an object", check: traits },
    Field { name: "tags", meaning: "an object", check: tags },
    Field { name: "generate_passwords", meaning: "true or false", check: values::flag },
    Field { name: "inherited_directories", meaning: "a list of texts", check: inherited_directories },
    Field { name: "nic_driver", meaning: "such as virtio or e1000", check: volume_text },
    Field { name: "disk_driver", meaning: "such as virtio or ide", check: volume_text },
    Field { name: "cpu_type", meaning: "such as host or qemu64", check: volume_text },
    Field { name: "image_size", meaning: "the volume's size in MiB", check: image_size },
    Field { name: "channels", meaning: "a list of channel names", check: channels },
];

/// A value as a message shows it: compact JSON, cut when long.
fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn type_is(members: &Map<String, Value>, type_: &str) -> bool {
    members.get("type").and_then(Value::as_str) == Some(type_)
}

/// Whether a flag is set, as flag or as word.
fn is_true(value: Option<&Value>) -> bool {
    value.is_some_and(|value| value.as_bool() == Some(true) || value.as_str() == Some("true"))
}

fn one_of(words: &[&str]) -> String {
    format!("write one of {}", words.join(", "))
}

fn version_of_form(at: &Context<'_>, found: &mut Findings) {
    let number = js::number(at.value);
    if number.is_nan() || number < 0.0 {
        found.add(at.field, format!("is {}, not a whole number", shown(at.value)), "write 2");
    }
}

fn state(at: &Context<'_>, found: &mut Findings) {
    const STATES: &[&str] = &["active", "unactivated", "disabled", "failed", "creating"];
    if !at.value.as_str().is_some_and(|state| STATES.contains(&state)) {
        found.add(at.field, format!("is {}, no state", shown(at.value)), one_of(STATES));
    }
}

fn public(at: &Context<'_>, found: &mut Findings) {
    let before = found.0.len();
    values::flag(at, found);
    if found.0.len() > before {
        return;
    }
    match (at.rules.kind, is_true(Some(at.value))) {
        (Kind::Public, false) => {
            found.add(at.field, "is false, and a public server takes no private images", "write true");
        }
        (Kind::Private, true) => {
            found.add(at.field, "is true, and a private server takes no public images", "write false");
        }
        _ => {}
    }
}

/// The rule that `type` and `os` share: a known word, or the word `null` while the image is being made.
fn known_word(at: &Context<'_>, found: &mut Findings, words: &[&str]) {
    let unfinished = matches!(at.members.get("state").and_then(Value::as_str), Some("creating" | "failed"));
    let accepted = match at.value.as_str() {
        Some("null") => unfinished,
        _ => words.contains(&js::text(at.value).as_ref()),
    };
    if !accepted {
        found.add(at.field, format!("is {}, which is not known", shown(at.value)), one_of(words));
    }
}

fn image_type(at: &Context<'_>, found: &mut Findings) {
    known_word(at, found, &["zone-dataset", "zvol", "lx-dataset", "lxd", "docker", "other"]);
}

fn os(at: &Context<'_>, found: &mut Findings) {
    known_word(at, found, &["smartos", "linux", "windows", "bsd", "illumos", "other"]);
}

fn error(at: &Context<'_>, found: &mut Findings) {
    if !matches!(at.value, Value::Object(_) | Value::Array(_) | Value::Null) {
        found.add(
            at.field,
            format!("is {}, not an object", shown(at.value)),
            "write an object, or remove it",
        );
    }
}

fn files(at: &Context<'_>, found: &mut Findings) {
    const COMPRESSIONS: &[&str] = &["gzip", "bzip2", "xz", "none"];
    let Value::Array(files) = at.value else {
        found.add(at.field, format!("is {}, not a list", shown(at.value)), "write a list of one file");
        return;
    };
    let most = if type_is(at.members, "lxd") { 2 } else { 1 };
    if files.len() > most {
        found.add(at.field, format!("has {} entries", files.len()), format!("leave at most {most}"));
        return;
    }
    for file in files {
        if file.is_null() {
            found.add(
                at.field,
                "has an entry that is null",
                "write an object with sha1, size and compression",
            );
            continue;
        }
        for member in ["sha1", "size", "compression"] {
            if !js::truthy(file.get(member)) {
                found.add(at.field, format!("has an entry without {member}"), "add it");
            }
        }
        if let Some(compression) = file.get("compression").filter(|value| js::truthy(Some(value)))
            && !compression.as_str().is_some_and(|word| COMPRESSIONS.contains(&word))
        {
            found.add(
                at.field,
                format!("has an entry with the compression {}", shown(compression)),
                one_of(COMPRESSIONS),
            );
        }
    }
}

fn acl(at: &Context<'_>, found: &mut Findings) {
    values::list(at, found, "a UUID in lower case", values::is_uuid);
}

fn users(at: &Context<'_>, found: &mut Findings) {
    values::list(at, found, "an object with a name and nothing else", |user| {
        user.as_object().is_some_and(|user| user.len() == 1 && user.contains_key("name"))
    });
}

fn billing_tags(at: &Context<'_>, found: &mut Findings) {
    const LIMIT: u32 = 128;
    values::list(at, found, "a text of at most 128 characters", |tag| {
        tag.is_string() && !js::longer_than(tag, LIMIT)
    });
}

fn traits(at: &Context<'_>, found: &mut Findings) {
    let is_trait = |value: &Value| matches!(value, Value::String(_) | Value::Bool(_) | Value::Array(_));
    let good = match at.value {
        Value::Object(traits) => traits.values().all(is_trait),
        // A list is an object with numbers for keys.
        Value::Array(traits) => traits.iter().all(is_trait),
        _ => false,
    };
    if !good {
        found.add(
            at.field,
            format!("is {}, not an object of texts, flags and lists", shown(at.value)),
            "write such an object",
        );
    }
}

fn tags(at: &Context<'_>, found: &mut Findings) {
    if !at.value.is_object() {
        found.add(at.field, format!("is {}, not an object", shown(at.value)), "write an object");
        return;
    }
    let length = at.value.to_string().encode_utf16().count();
    if length > TAGS_LIMIT {
        found.add(at.field, format!("has {length} characters"), format!("leave at most {TAGS_LIMIT}"));
    }
}

fn inherited_directories(at: &Context<'_>, found: &mut Findings) {
    if type_is(at.members, "zone-dataset") {
        values::list(at, found, "a text", Value::is_string);
    } else {
        found.add(at.field, "is for the type zone-dataset alone", "remove it");
    }
}

/// Drivers and processor: texts that only volume images have.
fn volume_text(at: &Context<'_>, found: &mut Findings) {
    if js::truthy(Some(at.value)) && !type_is(at.members, "zvol") {
        found.add(at.field, "is for the type zvol alone", "remove it");
    } else if !at.value.is_string() {
        found.add(at.field, format!("is {}, not a text", shown(at.value)), "write a text");
    }
}

fn image_size(at: &Context<'_>, found: &mut Findings) {
    if js::truthy(Some(at.value)) && !type_is(at.members, "zvol") {
        found.add(at.field, "is for the type zvol alone", "remove it");
    } else if !js::is_whole(js::number(at.value)) {
        found.add(at.field, format!("is {}, not a whole number", shown(at.value)), "write the size in MiB");
    }
}

fn channels(at: &Context<'_>, found: &mut Findings) {
    if at.rules.channels && matches!(at.rules.kind, Kind::Public | Kind::Private) {
        values::list(at, found, "a text", Value::is_string);
    } else {
        found.add(at.field, "is for servers with channels alone", "remove it");
    }
}
