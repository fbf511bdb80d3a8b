//! What may stand where in a manifest: illumos' `usr/src/cmd/svc/dtd/service_bundle.dtd.1`, as tables. Versions of 2013 and 2022
//! differ in comments and in one optional attribute (`security_flags`).

use super::document::Element;

/// How often an element may stand in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    Once,
    AtMostOnce,
    AnyNumber,
    AtLeastOnce,
}

use Times::{AnyNumber, AtLeastOnce, AtMostOnce, Once};

/// What an element consists of.
#[derive(Debug)]
struct Rule {
    name: &'static str,
    /// Attributes it must have.
    required: &'static [&'static str],
    /// Attributes it may have.
    optional: &'static [&'static str],
    inside: Inside,
}

/// What may be inside an element.
#[derive(Debug)]
enum Inside {
    /// Nothing.
    Nothing,
    /// Text alone.
    Text,
    /// These, in this order. Names in one group may be mixed.
    Sequence(&'static [(&'static [&'static str], Times)]),
    /// Anything: what an image of ours never needs.
    Anything,
}

use Inside::{Anything, Nothing, Sequence, Text};

const LISTS: &[&str] = &[
    "count_list",
    "integer_list",
    "opaque_list",
    "host_list",
    "hostname_list",
    "net_address_list",
    "net_address_v4_list",
    "net_address_v6_list",
    "time_list",
    "astring_list",
    "ustring_list",
    "boolean_list",
    "fmri_list",
    "uri_list",
];

/// Values of attributes that are not free. The first column is the element; `*` stands for all of them.
const VALUES: &[(&str, &str, &[&str])] = &[
    ("service_bundle", "type", &["archive", "manifest", "profile"]),
    ("service", "type", &["service", "restarter", "milestone"]),
    ("*", "enabled", &["true", "false"]),
    ("*", "delete", &["true", "false"]),
    ("*", "override", &["true", "false"]),
    ("*", "grouping", &["require_all", "require_any", "exclude_all", "optional_all"]),
    ("*", "restart_on", &["error", "restart", "refresh", "none"]),
    ("exec_method", "type", &["method", "monitor"]),
    ("stability", "value", &["Standard", "Stable", "Evolving", "Unstable", "External", "Obsolete"]),
    ("propval", "type", PROPERTY_TYPES),
    ("property", "type", PROPERTY_TYPES),
];

const PROPERTY_TYPES: &[&str] = &[
    "count",
    "integer",
    "opaque",
    "host",
    "hostname",
    "net_address",
    "net_address_v4",
    "net_address_v6",
    "time",
    "astring",
    "ustring",
    "boolean",
    "fmri",
    "uri",
];

#[rustfmt::skip]
const RULES: &[Rule] = &[
    Rule { name: "service_bundle", required: &["type", "name"], optional: &[],
        inside: Sequence(&[(&["service_bundle", "service"], AnyNumber)]) },
    Rule { name: "service", required: &["name", "type", "version"], optional: &[],
        inside: Sequence(&[
            (&["create_default_instance"], AtMostOnce), (&["single_instance"], AtMostOnce), (&["restarter"], AtMostOnce),
            (&["dependency"], AnyNumber), (&["dependent"], AnyNumber), (&["method_context"], AtMostOnce),
            (&["exec_method"], AnyNumber), (&["notification_parameters"], AnyNumber), (&["property_group"], AnyNumber),
            (&["instance"], AnyNumber), (&["stability"], AtMostOnce), (&["template"], AtMostOnce),
        ]) },
    Rule { name: "instance", required: &["name", "enabled"], optional: &[],
        inside: Sequence(&[
            (&["restarter"], AtMostOnce), (&["dependency"], AnyNumber), (&["dependent"], AnyNumber),
            (&["method_context"], AtMostOnce), (&["exec_method"], AnyNumber), (&["notification_parameters"], AnyNumber),
            (&["property_group"], AnyNumber), (&["template"], AtMostOnce),
        ]) },
    Rule { name: "create_default_instance", required: &["enabled"], optional: &[], inside: Nothing },
    Rule { name: "single_instance", required: &[], optional: &[], inside: Nothing },
    Rule { name: "restarter", required: &[], optional: &[], inside: Sequence(&[(&["service_fmri"], Once)]) },
    Rule { name: "dependency", required: &["name", "grouping", "restart_on", "type"], optional: &["delete", "override"],
        inside: Sequence(&[
            (&["service_fmri"], AnyNumber), (&["stability"], AtMostOnce), (&["propval"], AnyNumber), (&["property"], AnyNumber),
        ]) },
    Rule { name: "dependent", required: &["name", "grouping", "restart_on"], optional: &["delete", "override"],
        inside: Sequence(&[
            (&["service_fmri"], Once), (&["stability"], AtMostOnce), (&["propval"], AnyNumber), (&["property"], AnyNumber),
        ]) },
    Rule { name: "service_fmri", required: &["value"], optional: &[], inside: Nothing },
    Rule { name: "method_context", required: &[], optional: &["working_directory", "project", "resource_pool", "security_flags"],
        inside: Sequence(&[(&["method_profile", "method_credential"], AtMostOnce), (&["method_environment"], AtMostOnce)]) },
    Rule { name: "method_credential", required: &[], inside: Nothing,
        optional: &["user", "group", "supp_groups", "privileges", "limit_privileges"] },
    Rule { name: "method_profile", required: &["name"], optional: &[], inside: Nothing },
    Rule { name: "method_environment", required: &[], optional: &[], inside: Sequence(&[(&["envvar"], AtLeastOnce)]) },
    Rule { name: "envvar", required: &["name", "value"], optional: &[], inside: Nothing },
    Rule { name: "exec_method", required: &["type", "name", "exec", "timeout_seconds"], optional: &["delete"],
        inside: Sequence(&[
            (&["method_context"], AtMostOnce), (&["stability"], AtMostOnce), (&["propval"], AnyNumber), (&["property"], AnyNumber),
        ]) },
    Rule { name: "notification_parameters", required: &[], optional: &[], inside: Anything },
    Rule { name: "property_group", required: &["name", "type"], optional: &["delete"],
        inside: Sequence(&[(&["stability"], AtMostOnce), (&["propval"], AnyNumber), (&["property"], AnyNumber)]) },
    Rule { name: "propval", required: &["name", "value"], optional: &["type", "override"], inside: Nothing },
    Rule { name: "property", required: &["name"], optional: &["type", "override"], inside: Sequence(&[(LISTS, AtMostOnce)]) },
    Rule { name: "value_node", required: &["value"], optional: &[], inside: Nothing },
    Rule { name: "stability", required: &["value"], optional: &[], inside: Nothing },
    Rule { name: "template", required: &[], optional: &[],
        inside: Sequence(&[
            (&["common_name"], Once), (&["description"], AtMostOnce), (&["documentation"], AtMostOnce), (&["pg_pattern"], AnyNumber),
        ]) },
    Rule { name: "common_name", required: &[], optional: &[], inside: Sequence(&[(&["loctext"], AtLeastOnce)]) },
    Rule { name: "description", required: &[], optional: &[], inside: Sequence(&[(&["loctext"], AtLeastOnce)]) },
    Rule { name: "loctext", required: &["xml:lang"], optional: &[], inside: Text },
    Rule { name: "documentation", required: &[], optional: &[], inside: Sequence(&[(&["doc_link", "manpage"], AnyNumber)]) },
    Rule { name: "doc_link", required: &["name", "uri"], optional: &[], inside: Nothing },
    Rule { name: "manpage", required: &["title", "section"], optional: &["manpath"], inside: Nothing },
    Rule { name: "pg_pattern", required: &[], optional: &["name", "type", "target", "required"], inside: Anything },
];

const LIST: Rule =
    Rule { name: "list", required: &[], optional: &[], inside: Sequence(&[(&["value_node"], AtLeastOnce)]) };

fn rule(name: &str) -> Option<&'static Rule> {
    if LISTS.contains(&name) {
        return Some(&LIST);
    }
    RULES.iter().find(|rule| rule.name == name)
}

/// Everything about `element` and what is in it that the grammar does not allow, each with its line.
pub fn violations(element: &Element) -> Vec<String> {
    let mut found = Vec::new();
    check(element, &mut found);
    found
}

fn check(element: &Element, found: &mut Vec<String>) {
    let Element { name, line, .. } = element;
    let Some(rule) = rule(name) else {
        found.push(format!("line {line}: manifests have no element <{name}>"));
        return;
    };
    for required in rule.required {
        if element.attribute(required).is_none() {
            found.push(format!("line {line}: <{name}> needs the attribute {required}"));
        }
    }
    for (attribute, value) in &element.attributes {
        if !rule.required.contains(&attribute.as_str()) && !rule.optional.contains(&attribute.as_str()) {
            found.push(format!("line {line}: <{name}> has no attribute {attribute}"));
        }
        let allowed = VALUES.iter().find(|(of, key, _)| (*of == name || *of == "*") && key == attribute);
        if let Some((_, _, allowed)) = allowed
            && !allowed.contains(&value.as_str())
        {
            let allowed = allowed.join(", ");
            found.push(format!("line {line}: {attribute} of <{name}> is '{value}', and may be {allowed}"));
        }
    }
    if element.has_text && !matches!(rule.inside, Text | Anything) {
        found.push(format!("line {line}: text in <{name}>"));
    }
    match rule.inside {
        Anything => {}
        Nothing | Text => {
            for child in &element.children {
                found.push(format!("line {}: <{}> in <{name}>", child.line, child.name));
            }
        }
        Sequence(sequence) => {
            check_sequence(element, sequence, found);
            element.children.iter().for_each(|child| check(child, found));
        }
    }
}

fn check_sequence(element: &Element, sequence: &[(&[&str], Times)], found: &mut Vec<String>) {
    let mut children = element.children.iter().peekable();
    for (names, times) in sequence {
        let mut count = 0;
        while children.next_if(|child| names.contains(&child.name.as_str())).is_some() {
            count += 1;
        }
        let wrong = match times {
            Once => count != 1,
            AtMostOnce => count > 1,
            AnyNumber => false,
            AtLeastOnce => count == 0,
        };
        if wrong {
            let names = names.join("> or <");
            let Element { name, line, .. } = element;
            found.push(format!("line {line}: <{name}> has <{names}> {count} times"));
        }
    }
    if let Some(child) = children.next() {
        let Element { name, .. } = element;
        found.push(format!("line {}: <{}> cannot stand here in <{name}>", child.line, child.name));
    }
}
