//! What guests may see of a machine, and what they may change.

use serde_json::{Map, Value};

use super::{Description, routes};
use crate::wire::{Code, Response};

/// The prefix of keys that show the machine itself.
const SDC: &str = "sdc:";

/// How many bytes of metadata a guest's PUT may make of what there is: the original knows no limit but its disk. As
/// JSON it is up to six times as much.
const METADATA_LIMIT: usize = 8 << 20;

/// What one key costs beside the bytes of its name and value.
const KEY_COST: usize = 64;

/// Answers questions about one machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Agent {
    description: Description,
}

/// What a guest asked to be changed and may change.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// The machine as it will be.
    pub description: Description,
    /// The answer once the change is kept.
    pub response: Response,
}

impl Agent {
    /// An agent for the machine of that description.
    pub fn new(description: Description) -> Self {
        Self { description }
    }

    /// The machine as it is now.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The answer to a GET.
    pub fn get(&self, key: &[u8]) -> Response {
        let key = String::from_utf8_lossy(key);
        match key.strip_prefix(SDC) {
            Some(name) => self.view(name),
            None => metadata(self.home_of(&key).get(&*key)),
        }
    }

    /// The answer to a KEYS: the owner's keys, then those internal ones that a GET without `sdc:` shows.
    pub fn keys(&self) -> Response {
        let shown = |home: &Map<String, Value>, internal: bool| {
            let keys = home.keys().filter(|key| self.is_internal(key) == internal);
            keys.cloned().collect::<Vec<_>>()
        };
        let mut names = shown(self.description.customer_metadata(), false);
        names.extend(shown(self.description.internal_metadata(), true));
        success(names.join("\n"))
    }

    /// What a PUT would change.
    ///
    /// # Errors
    /// The answer to a guest that may not change this key.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<Update, Response> {
        if value.is_empty() {
            // The original tests the value for truth, and so takes an empty one for a DELETE.
            return self.delete(key);
        }
        let value = String::from_utf8_lossy(value).into_owned();
        let asked = key.len().saturating_add(value.len()).saturating_add(KEY_COST);
        if self.metadata_size().saturating_add(asked) > METADATA_LIMIT {
            return Err(failure("There is no room for more metadata: delete some."));
        }
        self.update(key, |home, key| drop(home.insert(key.to_owned(), value.into())))
    }

    /// What a DELETE would change. To delete a key that does not exist is a success.
    ///
    /// # Errors
    /// The answer to a guest that may not change this key.
    pub fn delete(&self, key: &[u8]) -> Result<Update, Response> {
        self.update(key, |home, key| drop(home.remove(key)))
    }

    fn update(
        &self,
        key: &[u8],
        change: impl FnOnce(&mut Map<String, Value>, &str),
    ) -> Result<Update, Response> {
        let key = String::from_utf8_lossy(key);
        if key.starts_with(SDC) {
            return Err(failure("Cannot update the \"sdc\" Namespace."));
        }
        if let Some(namespace) = self.description.internal_namespace(&key) {
            return Err(failure(format!("Cannot update the \"{namespace}\" Namespace.")));
        }
        let mut description = self.description.clone();
        // A guest sets its own operator script in this way, and reads it as sdc:operator-script.
        let home = if key.ends_with("_pw") || key == "operator-script" {
            description.internal_metadata_mut()
        } else {
            description.customer_metadata_mut()
        };
        change(home, &key);
        Ok(Update { description, response: success("OK") })
    }

    fn metadata_size(&self) -> usize {
        let homes = [self.description.customer_metadata(), self.description.internal_metadata()];
        let cost =
            |(key, value): (&String, &Value)| KEY_COST + key.len() + value.as_str().map_or(0, str::len);
        homes.into_iter().flatten().map(cost).sum()
    }

    /// Whether a key without `sdc:` is looked up in the internal metadata, and nowhere else.
    fn is_internal(&self, key: &str) -> bool {
        key.ends_with("_pw") || self.description.internal_namespace(key).is_some()
    }

    /// Where a key without `sdc:` is looked up.
    fn home_of(&self, key: &str) -> &Map<String, Value> {
        if self.is_internal(key) {
            self.description.internal_metadata()
        } else {
            self.description.customer_metadata()
        }
    }

    /// The answer to a GET of `sdc:NAME`.
    fn view(&self, name: &str) -> Response {
        let property = |name: &str| self.description.property(name);
        match name {
            "nics" | "resolvers" | "tmpfs" => return json_text(property(name)),
            "routes" => return json_text(routes::for_guests(&self.description).as_ref()),
            "operator-script" => return metadata(self.description.internal_metadata().get(name)),
            "volumes" => return metadata(self.description.internal_metadata().get("sdc:volumes")),
            "internal_metadata" => return not_found(),
            _ => {}
        }
        let Some((parent, rest)) = name.split_once('.') else { return metadata(property(name)) };
        match parent {
            "internal_metadata" => not_found(),
            // What GET NAME hides, this way round hides too.
            "customer_metadata" if self.is_internal(rest) => not_found(),
            "tags" | "routes" | "customer_metadata" => {
                metadata(property(parent).and_then(|map| map.as_object()?.get(rest)))
            }
            "resolvers" | "internal_metadata_namespaces" => metadata(element(property(parent), rest)),
            "nics" | "disks" | "pci_devices" => match rest.split_once('.') {
                Some((index, field)) => {
                    metadata(element(property(parent), index).and_then(|item| item.as_object()?.get(field)))
                }
                None => metadata(element(property(parent), rest)),
            },
            _ => metadata(property(name)),
        }
    }
}

/// The element of an array that a decimal number means.
fn element<'a>(array: Option<&'a Value>, index: &str) -> Option<&'a Value> {
    let digits = index.bytes().all(|byte| byte.is_ascii_digit());
    array?.as_array()?.get(index.parse::<usize>().ok().filter(|_| digits)?)
}

/// The answer that a value gives as text. Objects are no text; nor are arrays, but for those that JavaScript makes one
/// of without a comma.
fn metadata(value: Option<&Value>) -> Response {
    match value {
        None | Some(Value::Null) => not_found(),
        Some(Value::Array(items)) => match items.as_slice() {
            [] => success(""),
            [item] if !item.is_array() && !item.is_object() => metadata(Some(item)),
            _ => failure(""),
        },
        Some(Value::Object(_)) => failure(""),
        Some(Value::String(text)) => success(text.as_str()),
        Some(scalar) => success(scalar.to_string()),
    }
}

/// The answer that a value gives as JSON.
fn json_text(value: Option<&Value>) -> Response {
    value.map_or_else(not_found, |value| success(value.to_string()))
}

fn success(payload: impl Into<String>) -> Response {
    Response { code: Code::Success, payload: payload.into().into_bytes() }
}

fn not_found() -> Response {
    Response { code: Code::NotFound, payload: Vec::new() }
}

fn failure(text: impl Into<String>) -> Response {
    Response { code: Code::Failure, payload: text.into().into_bytes() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Agent;
    use crate::host::Description;
    use crate::wire::Response;

    fn agent() -> Agent {
        let description = json!({
            "uuid": "54f1cc77-68f1-42ab-acac-5c4f64f5d6e0",
            "alias": "web", "autoboot": true, "max_physical_memory": 1024, "limit_priv": ["a", "b"],
            "empty": [], "seven": [7], "cpu": { "cap": 1 },
            "resolvers": ["8.8.8.8", "8.8.4.4"],
            "tags": { "role": "db", "a.b": "dots" },
            "nics": [{ "mac": "90:b8:d0:00:00:01", "interface": "net0", "ips": ["dhcp"], "primary": true }],
            "customer_metadata": {
                "user-script": "#!/bin/sh\n", "number": 7, "truth": false, "nothing": "",
                "root_pw": "the customer's", "docker:cmd": "shadowed", "constructor": "mine",
            },
            "internal_metadata": {
                "root_pw": "secret", "docker:cmd": "[]", "operator-script": "ops", "sdc:volumes": "[]", "hidden": "x",
            },
            "internal_metadata_namespaces": ["docker"],
        });
        Agent::new(Description::new(description).expect("sound"))
    }

    fn said(response: &Response) -> String {
        let text = String::from_utf8(response.payload.clone()).expect("UTF-8");
        format!("{} {text}", response.code.word()).trim_end_matches(' ').to_owned()
    }

    fn get(key: &str) -> String {
        said(&agent().get(key.as_bytes()))
    }

    #[test]
    fn case_07_views_of_the_machine() {
        for (key, answer) in [
            ("sdc:uuid", "SUCCESS 54f1cc77-68f1-42ab-acac-5c4f64f5d6e0"),
            ("sdc:autoboot", "SUCCESS true"),
            ("sdc:max_physical_memory", "SUCCESS 1024"),
            ("sdc:resolvers", r#"SUCCESS ["8.8.8.8","8.8.4.4"]"#),
            ("sdc:resolvers.1", "SUCCESS 8.8.4.4"),
            ("sdc:resolvers.2", "NOTFOUND"),
            ("sdc:resolvers.+1", "NOTFOUND"),
            ("sdc:nics.0.mac", "SUCCESS 90:b8:d0:00:00:01"),
            ("sdc:nics.0.primary", "SUCCESS true"),
            ("sdc:nics.0", "FAILURE"),
            ("sdc:nics.1.mac", "NOTFOUND"),
            ("sdc:tags.role", "SUCCESS db"),
            ("sdc:tags.a.b", "SUCCESS dots"),
            ("sdc:tags", "FAILURE"),
            ("sdc:cpu", "FAILURE"),
            ("sdc:limit_priv", "FAILURE"),
            ("sdc:empty", "SUCCESS"),
            ("sdc:seven", "SUCCESS 7"),
            ("sdc:customer_metadata.number", "SUCCESS 7"),
            ("sdc:operator-script", "SUCCESS ops"),
            ("sdc:volumes", "SUCCESS []"),
            ("sdc:routes", "NOTFOUND"),
            ("sdc:tmpfs", "NOTFOUND"),
            ("sdc:vendor-data", "NOTFOUND"),
            ("SDC:uuid", "NOTFOUND"),
            ("number", "SUCCESS 7"),
            ("truth", "SUCCESS false"),
            ("nothing", "SUCCESS"),
            ("absent", "NOTFOUND"),
            ("operator-script", "NOTFOUND"),
        ] {
            assert_eq!(get(key), answer, "{key}");
        }
    }

    #[test]
    fn case_12_passwords_live_in_the_internal_metadata_only() {
        assert_eq!(get("root_pw"), "SUCCESS secret");
        assert_eq!(get("docker:cmd"), "SUCCESS []");
        assert_eq!(get("hidden"), "NOTFOUND");
        assert_eq!(
            said(&agent().keys()),
            "SUCCESS constructor\nnothing\nnumber\ntruth\nuser-script\ndocker:cmd\nroot_pw"
        );
        let update = agent().put(b"root_pw", b"new").expect("allowed");
        assert_eq!(update.description.internal_metadata()["root_pw"], "new");
        assert_eq!(update.description.customer_metadata()["root_pw"], "the customer's");
        assert_eq!(said(&update.response), "SUCCESS OK");
    }

    #[test]
    fn case_13_no_way_round_and_no_names_of_javascript() {
        for key in [
            "sdc:internal_metadata",
            "sdc:internal_metadata.root_pw",
            "sdc:internal_metadata.hidden",
            "sdc:customer_metadata.root_pw",
            "sdc:customer_metadata.docker:cmd",
            "sdc:constructor",
            "sdc:__proto__",
            "sdc:tags.__proto__",
            "sdc:nics.0.toString",
            "toString",
            "__proto__",
        ] {
            assert_eq!(get(key), "NOTFOUND", "{key}");
        }
        assert_eq!(get("constructor"), "SUCCESS mine");
        let update = agent().put(b"__proto__", b"value").expect("allowed");
        assert_eq!(said(&Agent::new(update.description).get(b"__proto__")), "SUCCESS value");
    }

    #[test]
    fn case_11_reserved_names_are_read_only() {
        for (key, words) in [
            ("sdc:alias", "FAILURE Cannot update the \"sdc\" Namespace."),
            ("docker:cmd", "FAILURE Cannot update the \"docker\" Namespace."),
        ] {
            assert_eq!(said(&agent().put(key.as_bytes(), b"x").expect_err(key)), words);
            assert_eq!(said(&agent().delete(key.as_bytes()).expect_err(key)), words);
        }
    }

    #[test]
    fn case_04_put_and_delete() {
        let agent = Agent::new(agent().put(b"new", "wert \u{e4}".as_bytes()).expect("allowed").description);
        assert_eq!(said(&agent.get(b"new")), "SUCCESS wert \u{e4}");
        let agent = Agent::new(agent.delete(b"new").expect("allowed").description);
        assert_eq!(said(&agent.get(b"new")), "NOTFOUND");
        assert!(agent.delete(b"new").is_ok(), "case 05: a missing key is deleted, too");
        let emptied = Agent::new(agent.put(b"number", b"").expect("allowed").description);
        assert_eq!(said(&emptied.get(b"number")), "NOTFOUND", "an empty value deletes");
        let scripted = Agent::new(agent.put(b"operator-script", b"x").expect("allowed").description);
        assert_eq!(said(&scripted.get(b"sdc:operator-script")), "SUCCESS x");
        assert_eq!(said(&scripted.get(b"operator-script")), "NOTFOUND");
    }

    #[test]
    fn a_guest_cannot_fill_the_host() {
        let mut agent = agent();
        let value = vec![b'x'; 1 << 20];
        let kept = (0..20).take_while(|count| match agent.put(format!("key{count}").as_bytes(), &value) {
            Ok(update) => {
                agent = Agent::new(update.description);
                true
            }
            Err(refusal) => {
                assert_eq!(said(&refusal), "FAILURE There is no room for more metadata: delete some.");
                false
            }
        });
        assert_eq!(kept.count(), 7);
        let agent = Agent::new(agent.delete(b"key0").expect("allowed").description);
        assert!(agent.put(b"key7", &value).is_ok(), "there is room again");
    }

    #[test]
    fn what_is_not_utf_8_is_replaced() {
        let agent = Agent::new(agent().put(b"raw", b"\xff\0\xfe").expect("allowed").description);
        assert_eq!(agent.get(b"raw").payload, b"\xef\xbf\xbd\0\xef\xbf\xbd");
    }
}
