//! The services of a manifest and what they depend on.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::document::{self, Element};
use super::grammar;

/// What begins an FMRI of a service.
const SCHEME: &str = "svc:/";

/// A manifest that could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What svccfg would refuse, or what cannot work, each with its line.
    pub violations: Vec<String>,
    /// Which service waits for which, as names without instance such as `network/physical`. Those that a service is a
    /// dependent of wait for it.
    pub waits: Vec<(String, String)>,
    /// The services in it.
    pub services: Vec<Service>,
}

/// A service of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name without scheme and instance, such as `network/physical`.
    pub name: String,
    /// service, restarter or milestone.
    pub kind: String,
    /// Its version, a number.
    pub version: String,
    /// The names of its instances; one that `create_default_instance` makes is called `default`.
    pub instances: Vec<String>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// It is no well-formed XML.
    pub fn parse(text: &str) -> Result<Self> {
        let (doctype, bundle) = document::parse(text)?;
        let mut violations = Vec::new();
        if doctype.as_deref() != Some("service_bundle") {
            violations.push("line 1: there is no <!DOCTYPE service_bundle ...>".to_owned());
        }
        if bundle.name != "service_bundle" {
            violations.push(format!("line {}: <{}> is no service_bundle", bundle.line, bundle.name));
        }
        violations.extend(grammar::violations(&bundle));
        let mut manifest = Self { violations, waits: Vec::new(), services: Vec::new() };
        for service in bundle.all("service") {
            manifest.service(service);
        }
        Ok(manifest)
    }

    fn service(&mut self, service: &Element) {
        let name = service.attribute("name").unwrap_or_default();
        if !is_service_name(name) {
            self.violations.push(format!("line {}: '{name}' is no name of a service", service.line));
        }
        self.dependencies(name, service);
        for instance in service.all("instance") {
            self.dependencies(name, instance);
        }
        let text = |attribute| service.attribute(attribute).unwrap_or_default().to_owned();
        let created = service.all("create_default_instance").map(|_| "default".to_owned());
        let named =
            service.all("instance").filter_map(|instance| instance.attribute("name")).map(str::to_owned);
        self.services.push(Service {
            name: name.to_owned(),
            kind: text("type"),
            version: text("version"),
            instances: created.chain(named).collect(),
        });
        for method in service.all("exec_method") {
            self.method(method);
        }
    }

    fn dependencies(&mut self, name: &str, parent: &Element) {
        let mut seen = BTreeSet::new();
        let dependencies = parent.all("dependency").map(|dependency| (dependency, true));
        let dependents = parent.all("dependent").map(|dependent| (dependent, false));
        for (dependency, own) in dependencies.chain(dependents) {
            // Both become property groups of that name.
            let group = dependency.attribute("name").unwrap_or_default();
            if !seen.insert(group) {
                let line = dependency.line;
                self.violations.push(format!("line {line}: '{group}' is the name of another dependency"));
            }
            let of_files = dependency.attribute("type") == Some("path");
            let excludes = dependency.attribute("grouping") == Some("exclude_all");
            for fmri in dependency.all("service_fmri") {
                let value = fmri.attribute("value").unwrap_or_default();
                match service_of(value) {
                    _ if of_files => {
                        if !value.starts_with("file://") {
                            self.violations.push(format!("line {}: '{value}' names no file", fmri.line));
                        }
                    }
                    None => {
                        self.violations
                            .push(format!("line {}: '{value}' is no FMRI of a service", fmri.line));
                    }
                    Some(_) if excludes => {}
                    Some(other) if own => self.waits.push((name.to_owned(), other.to_owned())),
                    Some(other) => self.waits.push((other.to_owned(), name.to_owned())),
                }
            }
        }
    }

    fn method(&mut self, method: &Element) {
        let exec = method.attribute("exec").unwrap_or_default();
        if !(exec.starts_with('/') || [":true", ":kill"].iter().any(|token| exec.starts_with(token))) {
            let line = method.line;
            self.violations.push(format!("line {line}: '{exec}' is no absolute path of a program"));
        }
        let timeout = method.attribute("timeout_seconds").unwrap_or_default();
        if timeout != "-1" && timeout.parse::<u64>().is_err() {
            let line = method.line;
            self.violations.push(format!("line {line}: '{timeout}' is no number of seconds"));
        }
    }
}

/// A circle of services that wait for each other, if there is one: the names in it, the first again at the end.
pub fn cycle(waits: &[(String, String)]) -> Option<Vec<String>> {
    let mut others: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, other) in waits {
        others.entry(name).or_default().push(other);
    }
    let mut finished = BTreeSet::new();
    for &start in others.keys() {
        // The path from `start`, each with how many of those it waits for have been looked at.
        let mut path: Vec<(&str, usize)> = vec![(start, 0)];
        while let Some((name, next)) = path.last_mut() {
            let Some(&other) = others.get(name).and_then(|list| list.get(*next)) else {
                finished.insert(*name);
                path.pop();
                continue;
            };
            *next += 1;
            if let Some(begin) = path.iter().position(|(name, _)| *name == other) {
                let circle = path[begin..].iter().map(|(name, _)| *name).chain([other]);
                return Some(circle.map(str::to_owned).collect());
            }
            if !finished.contains(other) {
                path.push((other, 0));
            }
        }
    }
    None
}

/// The service of an FMRI such as `svc:/network/physical:default`: what stands between scheme and instance.
fn service_of(fmri: &str) -> Option<&str> {
    let rest = fmri.strip_prefix(SCHEME)?;
    let (service, instance) =
        rest.split_once(':').map_or((rest, None), |(service, name)| (service, Some(name)));
    (is_service_name(service) && instance.is_none_or(is_component)).then_some(service)
}

fn is_service_name(name: &str) -> bool {
    name.split('/').all(is_component)
}

/// Names are of letters, digits, hyphens and underscores, with commas and dots for those of vendors, and begin with a letter or
/// digit (smf(7)).
fn is_component(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.,".contains(&byte))
}

#[cfg(test)]
mod tests;
