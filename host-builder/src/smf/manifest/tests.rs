use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use super::*;

fn ours() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../smf");
    let mut found: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// Which service of the platform waits for which, as far as ours have to do with them; svc:/ is left out. Source: the
/// manifests of illumos-joyent and smartos-live, alike from 2013 to 2022.
const PLATFORM: &[(&str, &str)] = &[
    ("system/filesystem/usr", "system/filesystem/root"),
    ("system/filesystem/smartdc", "system/filesystem/usr"),
    ("system/smartdc/config", "system/filesystem/smartdc"),
    ("network/ssh", "system/smartdc/config"),
    ("network/ntp", "system/smartdc/config"),
    ("milestone/sysconfig", "system/smartdc/config"),
    ("system/identity", "system/smartdc/config"),
    ("system/manifest-import", "system/smartdc/config"),
    ("network/physical", "system/smartdc/config"),
    ("system/filesystem/minimal", "system/filesystem/smartdc"),
    ("system/manifest-import", "system/filesystem/minimal"),
    ("network/physical", "network/loopback"),
    ("network/physical", "system/filesystem/smartdc"),
    ("network/ipfilter", "system/filesystem/minimal"),
    ("network/ipfilter", "network/physical"),
    ("network/ipfilter", "system/identity"),
    ("system/identity", "network/loopback"),
    ("system/identity", "network/physical"),
    ("system/identity", "system/filesystem/minimal"),
    ("milestone/single-user", "system/manifest-import"),
    ("system/filesystem/local", "milestone/single-user"),
    ("milestone/multi-user", "system/filesystem/local"),
    ("milestone/multi-user-server", "milestone/multi-user"),
    ("milestone/multi-user-server", "network/ssh"),
    ("system/zones", "milestone/multi-user-server"),
    ("system/smartdc/init", "system/zones"),
    ("system/smartdc/init", "network/physical"),
];

fn with_platform(more: Vec<(String, String)>) -> Vec<(String, String)> {
    let platform = PLATFORM.iter().map(|(name, other)| ((*name).to_owned(), (*other).to_owned()));
    platform.chain(more).collect()
}

#[test]
fn ours_would_be_imported_and_wait_for_what_they_need() {
    let mut waits = Vec::new();
    for (path, text) in ours() {
        let manifest = Manifest::parse(&text).unwrap();
        assert_eq!(manifest.violations, [""; 0], "{}", path.display());
        waits.extend(manifest.waits);
    }
    let pairs: Vec<(&str, &str)> =
        waits.iter().map(|(name, other)| (name.as_str(), other.as_str())).collect();
    assert_eq!(
        pairs,
        [
            ("smartos/setup", "network/physical"),
            ("smartos/setup", "system/filesystem/local"),
            ("smartos/setup", "system/identity"),
            ("smartos/setup", "network/ipfilter"),
            ("network/ntp", "smartos/setup"),
            ("system/zones", "smartos/setup"),
            ("smartdc/agent/ur", "smartos/setup"),
            ("system/smartdc/ur", "smartos/setup"),
            ("network/dns/multicast", "smartos/setup"),
            ("smartos/userscript", "system/smartdc/init"),
            ("smartos/userscript", "smartos/setup"),
        ]
    );
    assert_eq!(cycle(&with_platform(waits)), None);
}

/// A login that waited for the setup would be lost with it.
#[test]
fn nothing_that_lets_the_owner_in_waits_for_ours() {
    for (path, text) in ours() {
        let (_, bundle) = document::parse(&text).unwrap();
        for service in bundle.all("service") {
            for dependent in service.all("dependent") {
                assert_eq!(dependent.attribute("grouping"), Some("optional_all"), "{}", path.display());
            }
        }
        for (name, _) in Manifest::parse(&text).unwrap().waits {
            assert!(!["network/ssh", "system/console-login"].contains(&name.as_str()), "{name}");
        }
    }
}

#[test]
fn circles_are_found_and_named() {
    let waits = |pairs: &[(&str, &str)]| {
        with_platform(pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect())
    };
    assert_eq!(cycle(&waits(&[])), None);
    let circle = cycle(&waits(&[("smartos/setup", "system/zones"), ("system/zones", "smartos/setup")]));
    let mut circle = circle.unwrap();
    assert_eq!(circle.first(), circle.last());
    circle.pop();
    circle.sort();
    assert_eq!(circle, ["smartos/setup", "system/zones"]);
    assert!(cycle(&waits(&[("system/filesystem/root", "milestone/multi-user")])).unwrap().len() > 5);
    assert_eq!(cycle(&waits(&[("a", "a")])).unwrap(), ["a", "a"]);
}

#[test]
fn what_svccfg_would_refuse_is_found() {
    let (_, good) = ours().remove(0);
    assert_eq!(Manifest::parse(&good).unwrap().violations, [""; 0]);
    for (from, to, says) in [
        ("<!DOCTYPE service_bundle", "<!DOCTYPE other", "there is no <!DOCTYPE service_bundle"),
        ("<single_instance/>", "", "nothing"),
        (
            "<create_default_instance enabled=\"true\"/>\n    <single_instance/>",
            "<single_instance/>\n<create_default_instance enabled=\"true\"/>",
            "<create_default_instance> cannot stand here",
        ),
        ("enabled=\"true\"", "enabled=\"yes\"", "enabled of <create_default_instance> is 'yes'"),
        (" grouping=\"require_all\"", "", "<dependency> needs the attribute grouping"),
        ("grouping=\"require_all", "grouping=\"require_some", "grouping of <dependency> is 'require_some'"),
        ("timeout_seconds=\"60\"", "timeout_seconds=\"a while\"", "'a while' is no number of seconds"),
        ("timeout_seconds=\"0\"", "", "<exec_method> needs the attribute timeout_seconds"),
        ("svc:/network/physical", "svc:network/physical", "'svc:network/physical' is no FMRI"),
        ("svc:/network/physical", "svc:/network//physical", "'svc:/network//physical' is no FMRI"),
        ("svc:/network/physical", "svc:/network/phys ical", "is no FMRI"),
        ("name=\"identity\"", "name=\"network\"", "'network' is the name of another dependency"),
        ("exec=\"/lib", "exec=\"lib", "is no absolute path"),
        (
            "<common_name>",
            "<description><loctext xml:lang=\"C\">x</loctext></description><common_name>",
            "<template> has <common_name> 0 times",
        ),
        ("<service_fmri value=\"svc:/network/ntp\"/>", "", "<dependent> has <service_fmri> 0 times"),
        ("type=\"astring\"", "type=\"string\"", "type of <propval> is 'string'"),
        ("<stability", "some text <stability", "text in <service>"),
        ("<stability value=\"Unstable\"/>", "<colour value=\"red\"/>", "<colour> cannot stand here"),
        ("<single_instance/>", "<single_instance name=\"x\"/>", "<single_instance> has no attribute name"),
    ] {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from}");
        let violations = Manifest::parse(&text).unwrap().violations;
        if says == "nothing" {
            assert_eq!(violations, [""; 0]);
        } else {
            assert!(violations.iter().any(|violation| violation.contains(says)), "{says}: {violations:?}");
        }
    }
    for (broken, says) in [
        (good.replacen("</service>", "", 1), "line "),
        (good.replacen("<template>", "<template", 1), "line "),
        (good.replacen("name=\"start\"", "name=\"start\" name=\"start\"", 1), "line "),
        ("no XML".to_owned(), "line 1"),
        (String::new(), "no element"),
        (format!("{}x", "<a>".repeat(100)), "more elements than any manifest"),
    ] {
        let error = format!("{:#}", Manifest::parse(&broken).unwrap_err());
        assert!(error.contains(says), "{error}");
    }
}

/// illumos' own grammar is not ours to carry; whoever has it names it in `SMF_DTD`.
#[test]
fn xmllint_agrees() {
    let Some(xmllint) = kiln_harness::tools::find("xmllint") else { return };
    let dtd = env::var_os("SMF_DTD");
    for (path, _) in ours() {
        let mut command = Command::new(&xmllint);
        command.args(["--noout", "--nonet"]);
        if let Some(dtd) = &dtd {
            command.arg("--dtdvalid").arg(dtd);
        }
        assert!(command.arg(&path).status().unwrap().success(), "{}", path.display());
    }
}
