//! Manifests: what `svccfg import` makes of them.

use super::xml::{self, Element};
use super::{Dependency, Grouping, Service};

/// The services of a manifest, and dependencies that it gives to others: (the other's FMRI, the dependency).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The instances.
    pub services: Vec<Service>,
    /// What `dependent` elements say.
    pub dependents: Vec<(String, Dependency)>,
}

/// Reads a manifest.
///
/// # Errors
/// What is wrong with it.
pub fn read(text: &str) -> Result<Manifest, String> {
    let bundle = xml::parse(text)?;
    if bundle.name != "service_bundle" || bundle.attribute("type") != Some("manifest") {
        return Err("not a service_bundle of type manifest".to_owned());
    }
    let mut manifest = Manifest::default();
    for element in bundle.all("service") {
        let name = element.attribute("name").ok_or("a service has no name")?;
        let base = Service::new(&format!("svc:/{name}:default"));
        let common = read_body(base, element, &mut manifest)?;
        if let Some(default) = element.all("create_default_instance").next() {
            let enabled = default.attribute("enabled") == Some("true");
            manifest.services.push(Service { enabled, ..common.clone() });
        }
        for instance in element.all("instance") {
            let instance_name = instance.attribute("name").ok_or("an instance has no name")?;
            let own = Service { fmri: format!("svc:/{name}:{instance_name}"), ..common.clone() };
            let enabled = instance.attribute("enabled") == Some("true");
            let own = read_body(Service { enabled, ..own }, instance, &mut manifest)?;
            manifest.services.push(own);
        }
    }
    if manifest.services.is_empty() { Err("no instance".to_owned()) } else { Ok(manifest) }
}

/// Dependencies, methods and properties of a service or instance.
fn read_body(mut service: Service, element: &Element, manifest: &mut Manifest) -> Result<Service, String> {
    for dependency in element.all("dependency") {
        let fmris = dependency.all("service_fmri").filter_map(|fmri| fmri.attribute("value"));
        service.dependencies.push(Dependency {
            grouping: grouping(dependency.attribute("grouping"))?,
            fmris: fmris.map(str::to_owned).collect(),
        });
    }
    for dependent in element.all("dependent") {
        let fmri = dependent.all("service_fmri").next().and_then(|fmri| fmri.attribute("value"));
        let fmri = fmri.ok_or("a dependent names no service")?;
        let dependency = Dependency {
            grouping: grouping(dependent.attribute("grouping"))?,
            fmris: vec![service.fmri.trim_end_matches(":default").to_owned()],
        };
        manifest.dependents.push((fmri.to_owned(), dependency));
    }
    for method in element.all("exec_method") {
        let (Some(name), Some(exec), Some(timeout)) =
            (method.attribute("name"), method.attribute("exec"), method.attribute("timeout_seconds"))
        else {
            return Err("a method lacks name, exec or timeout_seconds".to_owned());
        };
        let timeout: i64 = timeout.parse().map_err(|_| format!("timeout_seconds is {timeout}"))?;
        service.methods.insert(name.to_owned(), exec.to_owned());
        service.timeouts.insert(name.to_owned(), u64::try_from(timeout).unwrap_or(0));
    }
    for group in element.all("property_group") {
        let group_name = group.attribute("name").ok_or("a property group has no name")?;
        service.groups.insert(group_name.to_owned());
        for property in group.all("propval") {
            let (Some(name), Some(value)) = (property.attribute("name"), property.attribute("value")) else {
                return Err("a propval lacks name or value".to_owned());
            };
            service.properties.insert(format!("{group_name}/{name}"), value.to_owned());
        }
    }
    Ok(service)
}

fn grouping(word: Option<&str>) -> Result<Grouping, String> {
    match word {
        Some("require_all") => Ok(Grouping::RequireAll),
        Some("require_any") => Ok(Grouping::RequireAny),
        Some("optional_all") => Ok(Grouping::OptionalAll),
        Some("exclude_all") => Ok(Grouping::ExcludeAll),
        other => Err(format!("grouping is {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETUP: &str = r#"<?xml version="1.0"?>
<service_bundle type='manifest' name='smartos-setup'>
<service name='smartos/setup' type='service' version='1'>
  <create_default_instance enabled='true' />
  <dependency name='net' grouping='require_all' restart_on='none' type='service'>
    <service_fmri value='svc:/network/physical' /></dependency>
  <dependent name='ntp' grouping='optional_all' restart_on='none'><service_fmri value='svc:/network/ntp' /></dependent>
  <exec_method type='method' name='start' exec='/lib/svc/method/smartos-setup %m' timeout_seconds='0' />
  <property_group name='startd' type='framework'><propval name='duration' type='astring' value='transient'/></property_group>
</service></service_bundle>"#;

    #[test]
    fn a_manifest_gives_services_and_dependents() {
        let manifest = read(SETUP).unwrap();
        let service = &manifest.services[0];
        assert_eq!((service.fmri.as_str(), service.enabled), ("svc:/smartos/setup:default", true));
        assert_eq!(service.methods["start"], "/lib/svc/method/smartos-setup %m");
        assert_eq!(service.properties["startd/duration"], "transient");
        assert_eq!(manifest.dependents[0].0, "svc:/network/ntp");
        assert_eq!(manifest.dependents[0].1.fmris, ["svc:/smartos/setup"]);
    }

    #[test]
    fn a_broken_manifest_is_refused() {
        assert!(read(&SETUP.replace("exec=", "run=")).is_err());
        assert!(read(&SETUP.replace("require_all", "need")).is_err());
        assert!(read("<service_bundle type='profile' name='x'/>").is_err());
    }
}
