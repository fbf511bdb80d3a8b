//! Fields of a manifest as somebody gives them: `KEY=VALUE` words and JSON files, as `imgadm create` takes them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use kiln_imgapi::{MANIFEST_LIMIT, read_value};
use serde_json::{Map, Value};

use crate::report::Hint;

/// Fields of a manifest by name.
pub type Fields = Map<String, Value>;

/// Fields that are texts, so that what is given for them stays the text that it is: `version=1.10` is no number.
const TEXTS: [&str; 16] = [
    "uuid",
    "owner",
    "name",
    "version",
    "state",
    "published_at",
    "type",
    "os",
    "origin",
    "description",
    "homepage",
    "eula",
    "urn",
    "nic_driver",
    "disk_driver",
    "cpu_type",
];

/// Takes a word `KEY=VALUE` apart. Values are JSON where they can be read as such, else texts; of fields that are texts only
/// JSON that is one counts (source: smartos-live, `src/img/lib/cli.js`, which takes numbers there too).
///
/// # Errors
/// As misuse: there is no `=` in it, or nothing before that.
pub fn word(word: &str) -> Result<(String, Value)> {
    let (key, text) = word
        .split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .ok_or_else(|| anyhow!("'{}' is no KEY=VALUE", word.escape_debug()))
        .misuse("fields of the manifest are given as in: description='A web server' public=false")?;
    let value = serde_json::from_str(text)
        .ok()
        .filter(|value: &Value| value.is_string() || !TEXTS.contains(&key))
        .unwrap_or_else(|| Value::String(text.to_owned()));
    Ok((key.to_owned(), value))
}

/// Adds the words `KEY=VALUE` of a command line to fields of a file. Later ones win.
///
/// # Errors
/// As misuse: a word is none, or says which files the image has.
pub fn join(mut fields: Fields, words: &[String]) -> Result<Fields> {
    for given in words {
        let (key, value) = word(given)?;
        fields.insert(key, value);
    }
    if fields.contains_key("files") {
        return Err(anyhow!("the manifest's files are what is about to be made"))
            .misuse("leave the field files out");
    }
    Ok(fields)
}

/// Refuses the field that names an origin, for an image that has none.
///
/// # Errors
/// As misuse: it is there.
pub fn without_origin(fields: &Fields) -> Result<()> {
    if fields.contains_key("origin") {
        return Err(anyhow!("origin is what an incremental image goes on top of, and this one stands alone"))
            .misuse("leave the field out; kiln create-image --origin FILE makes images on top of others");
    }
    Ok(())
}

/// A field that is a text.
pub fn text<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.get(name).and_then(Value::as_str)
}

/// Reads the fields in a JSON file, or in standard input for `-`.
///
/// # Errors
/// It cannot be read, or is no JSON object.
pub fn file(path: &Path) -> Result<Fields> {
    let shown = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let cannot = || format!("cannot read the manifest {shown}");
    let mut text = Vec::new();
    let limit = MANIFEST_LIMIT as u64 + 1;
    let read = if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(limit).read_to_end(&mut text))
    };
    read.with_context(cannot)
        .hint("give the path of a JSON file that you may read, or - for standard input")?;
    let value = read_value(&text).with_context(cannot).hint("a manifest is a JSON object: {\"name\": …}")?;
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err(anyhow!("it is no JSON object")).with_context(cannot).hint("write it as {\"name\": …}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_json_where_they_can_be() {
        for (text, key, value) in [
            ("public=false", "public", json!(false)),
            ("tags={\"a\": [1]}", "tags", json!({"a": [1]})),
            ("description=a=b", "description", json!("a=b")),
            ("description=\"a\"", "description", json!("a")),
            ("description=", "description", json!("")),
            ("version=1.10", "version", json!("1.10")),
            ("name=true", "name", json!("true")),
            ("image_size=5", "image_size", json!(5)),
        ] {
            assert_eq!(word(text).unwrap(), (key.to_owned(), value));
        }
        word("nothing").unwrap_err();
        word("=x").unwrap_err();
    }
}
