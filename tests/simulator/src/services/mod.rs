//! The service management facility: the repository, and which service may start when.

mod manifest;
pub mod methods;
mod stock;
mod xml;

pub use manifest::{Manifest, read as read_manifest};
pub use stock::stock;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The state of services since the machine was switched on. The repository lies on the ramdisk, so all of it goes at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Services {
    /// The instances by FMRI.
    pub instances: BTreeMap<String, Service>,
    /// Orders of svcadm that svc.startd has not carried out: FMRI and `restart` or `refresh`.
    pub orders: Vec<(String, String)>,
}

/// An instance of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name, such as `svc:/network/ssh:default`.
    pub fmri: String,
    /// Whether it shall run.
    pub enabled: bool,
    /// How it is.
    pub state: State,
    /// What it waits for.
    pub dependencies: Vec<Dependency>,
    /// Its methods: `start`, `stop`, `refresh` and their command lines.
    pub methods: BTreeMap<String, String>,
    /// The methods' time limits in seconds; 0 for none.
    pub timeouts: BTreeMap<String, u64>,
    /// Its property groups.
    pub groups: BTreeSet<String>,
    /// Its properties as edited: `group/name`.
    pub properties: BTreeMap<String, String>,
    /// Its properties as of the last refresh, which is what it sees when it runs.
    pub running: BTreeMap<String, String>,
    /// The exit status of its start method, when it ran.
    pub exit: Option<i32>,
}

/// How a service is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Waits for others, or has not been looked at.
    #[default]
    Offline,
    /// Runs, or has run.
    Online,
    /// Shall not run.
    Disabled,
    /// Failed.
    Maintenance,
}

/// What a service waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// How.
    pub grouping: Grouping,
    /// For whom; without instance, any instance of it.
    pub fmris: Vec<String>,
}

/// How a service waits for others: smf(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grouping {
    /// All must be online.
    RequireAll,
    /// One must be online.
    RequireAny,
    /// Those that can come online must be.
    OptionalAll,
    /// None may be enabled.
    ExcludeAll,
}

/// Whether a dependency holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Yes,
    NotYet,
    Never,
}

impl Service {
    /// An instance without anything.
    pub fn new(fmri: &str) -> Self {
        Self { fmri: fmri.to_owned(), ..Self::default() }
    }
}

impl State {
    /// The word of svcs(1).
    pub fn word(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Online => "online",
            Self::Disabled => "disabled",
            Self::Maintenance => "maintenance",
        }
    }
}

impl Services {
    /// The instances that a pattern of svcadm(1M) or a dependency means: a whole FMRI, or its end.
    pub fn matching(&self, pattern: &str) -> Vec<String> {
        let wanted = pattern.strip_prefix("svc:/");
        let names = self.instances.keys();
        names
            .filter(|fmri| {
                let own = fmri.trim_start_matches("svc:/");
                let service = own.rsplit_once(':').map_or(own, |(service, _)| service);
                match wanted {
                    Some(wanted) => own == wanted || service == wanted,
                    None => [own, service]
                        .iter()
                        .any(|name| *name == pattern || name.ends_with(&format!("/{pattern}"))),
                }
            })
            .cloned()
            .collect()
    }

    /// Takes over a manifest: new services are added; those that are there keep their state.
    pub fn import(&mut self, manifest: Manifest) {
        for mut service in manifest.services {
            service.running = service.properties.clone();
            if !service.enabled {
                service.state = State::Disabled;
            }
            self.instances.entry(service.fmri.clone()).or_insert(service);
        }
        for (fmri, dependency) in manifest.dependents {
            for instance in self.matching(&fmri) {
                if let Some(service) = self.instances.get_mut(&instance)
                    && !service.dependencies.contains(&dependency)
                {
                    service.dependencies.push(dependency.clone());
                }
            }
        }
    }

    /// The services that svc.startd would start now.
    pub fn ready(&self) -> Vec<String> {
        let waiting =
            self.instances.values().filter(|service| service.enabled && service.state == State::Offline);
        waiting
            .filter(|service| self.dependencies_of(service, 0) == Held::Yes)
            .map(|service| service.fmri.clone())
            .collect()
    }

    fn dependencies_of(&self, service: &Service, depth: usize) -> Held {
        let mut all = Held::Yes;
        for dependency in &service.dependencies {
            match self.held(dependency, depth) {
                Held::Yes => {}
                Held::NotYet => all = if all == Held::Never { all } else { Held::NotYet },
                Held::Never => all = Held::Never,
            }
        }
        all
    }

    fn held(&self, dependency: &Dependency, depth: usize) -> Held {
        let each: Vec<Held> = dependency
            .fmris
            .iter()
            // Files are dependencies too; they are there or not, and nothing of ours has one.
            .flat_map(|fmri| {
                let instances = self.matching(fmri);
                if instances.is_empty() { vec![Held::Never] } else { self.best(&instances, depth) }
            })
            .collect();
        let any = |held| each.contains(&held);
        // Of these states, the first that any of them has decides.
        let (order, otherwise) = match dependency.grouping {
            Grouping::RequireAll => ([Held::Never, Held::NotYet], Held::Yes),
            Grouping::OptionalAll => ([Held::NotYet, Held::NotYet], Held::Yes),
            Grouping::RequireAny => ([Held::Yes, Held::NotYet], Held::Never),
            Grouping::ExcludeAll if any(Held::Yes) || any(Held::NotYet) => return Held::Never,
            Grouping::ExcludeAll => return Held::Yes,
        };
        order.into_iter().find(|held| any(*held)).unwrap_or(otherwise)
    }

    /// A name without instance is as good as the best of its instances.
    fn best(&self, instances: &[String], depth: usize) -> Vec<Held> {
        let each: Vec<Held> = instances.iter().map(|fmri| self.will_run(fmri, depth)).collect();
        let best = [Held::Yes, Held::NotYet].into_iter().find(|held| each.contains(held));
        vec![best.unwrap_or(Held::Never)]
    }

    fn will_run(&self, fmri: &str, depth: usize) -> Held {
        let Some(service) = self.instances.get(fmri) else { return Held::Never };
        match service.state {
            State::Online => Held::Yes,
            State::Disabled | State::Maintenance => Held::Never,
            State::Offline if !service.enabled => Held::Never,
            // A cycle never starts.
            State::Offline if depth > self.instances.len() => Held::Never,
            State::Offline => match self.dependencies_of(service, depth + 1) {
                Held::Never => Held::Never,
                _ => Held::NotYet,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row<'a> = (&'a str, State, &'a [(Grouping, &'a str)]);

    fn services(list: &[Row]) -> Services {
        let mut services = Services::default();
        for (name, state, dependencies) in list {
            let dependencies = dependencies
                .iter()
                .map(|&(grouping, fmri)| Dependency { grouping, fmris: vec![format!("svc:/{fmri}")] })
                .collect();
            let fmri = format!("svc:/{name}:default");
            let service = Service { enabled: true, state: *state, dependencies, ..Service::new(&fmri) };
            services.instances.insert(fmri, service);
        }
        services
    }

    #[test]
    fn required_services_are_waited_for_and_optional_ones_only_if_they_can_come() {
        use Grouping::{OptionalAll, RequireAll};
        let waiting = services(&[
            ("a", State::Offline, &[]),
            ("b", State::Offline, &[(RequireAll, "a")]),
            ("c", State::Offline, &[(OptionalAll, "a")]),
            ("d", State::Offline, &[(OptionalAll, "missing")]),
        ]);
        assert_eq!(waiting.ready(), ["svc:/a:default", "svc:/d:default"]);
        let failed = services(&[
            ("a", State::Maintenance, &[]),
            ("b", State::Offline, &[(RequireAll, "a")]),
            ("c", State::Offline, &[(OptionalAll, "a")]),
            ("d", State::Offline, &[(OptionalAll, "b")]),
        ]);
        assert_eq!(failed.ready(), ["svc:/c:default", "svc:/d:default"]);
    }

    #[test]
    fn a_cycle_ends() {
        let cycle = services(&[
            ("a", State::Offline, &[(Grouping::RequireAll, "b")]),
            ("b", State::Offline, &[(Grouping::RequireAll, "a")]),
        ]);
        assert!(cycle.ready().is_empty());
    }

    #[test]
    fn patterns_match_ends_of_names() {
        let some = services(&[("network/ssh", State::Online, &[]), ("smartos/ssh", State::Online, &[])]);
        assert_eq!(some.matching("network/ssh:default"), ["svc:/network/ssh:default"]);
        assert_eq!(some.matching("svc:/network/ssh"), ["svc:/network/ssh:default"]);
        assert_eq!(some.matching("ssh").len(), 2);
        assert!(some.matching("sh").is_empty() && some.matching("svc:/ssh").is_empty());
    }
}
