//! The properties of datasets: usr/src/common/zfs/zfs_prop.c.

use super::pool::{Kind, Source};
use super::split;
use crate::commands::options::{bytes, nice};
use crate::{Era, World};

/// What a property applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// File systems.
    Filesystem,
    /// Volumes.
    Volume,
    /// Both.
    Both,
}

/// A property that ZFS knows.
#[derive(Debug, Clone, Copy)]
pub struct Native {
    /// Its name.
    pub name: &'static str,
    /// Its value when nothing is set; empty for what is computed.
    pub default: &'static str,
    /// What it applies to.
    pub scope: Scope,
    /// Whether datasets below take the value over.
    pub inherits: bool,
    /// What can be set: words separated by ` | `; `SIZE`, `SIZE|none`, `PATH`, `WORD`; empty when nothing can; `CREATE` when
    /// only at creation.
    pub values: &'static str,
    /// Since when platforms know it.
    pub since: &'static str,
}

const fn p(
    name: &'static str,
    default: &'static str,
    scope: Scope,
    inherits: bool,
    values: &'static str,
) -> Native {
    Native { name, default, scope, inherits, values, since: "" }
}

const fn since(since: &'static str, property: Native) -> Native {
    Native { since, ..property }
}

use Scope::{Both, Filesystem as Fs, Volume as Vol};

/// The order is that of zfs get.
const NATIVE: &[Native] = &[
    p("type", "", Both, false, ""),
    p("creation", "", Both, false, ""),
    p("used", "", Both, false, ""),
    p("available", "", Both, false, ""),
    p("referenced", "", Both, false, ""),
    p("compressratio", "1.00x", Both, false, ""),
    p("mounted", "", Fs, false, ""),
    p("quota", "0", Fs, false, "SIZE|none"),
    p("reservation", "0", Both, false, "SIZE|none"),
    p("volsize", "", Vol, false, "SIZE"),
    p("volblocksize", "8192", Vol, false, "CREATE"),
    p("recordsize", "131072", Fs, true, "SIZE"),
    p("mountpoint", "", Fs, true, "PATH"),
    p("sharenfs", "off", Fs, true, "WORD"),
    p("checksum", "on", Both, true, "on | off | fletcher2 | fletcher4 | sha256"),
    p("compression", "off", Both, true, "on | off | lzjb | gzip | gzip-[1-9] | zle | lz4"),
    p("atime", "on", Fs, true, "on | off"),
    p("devices", "on", Fs, true, "on | off"),
    p("exec", "on", Fs, true, "on | off"),
    p("setuid", "on", Fs, true, "on | off"),
    p("readonly", "off", Both, true, "on | off"),
    p("zoned", "off", Fs, true, "on | off"),
    p("snapdir", "hidden", Fs, true, "hidden | visible"),
    p("aclmode", "discard", Fs, true, "discard | groupmask | passthrough | restricted"),
    p("aclinherit", "restricted", Fs, true, "discard | noallow | restricted | passthrough | passthrough-x"),
    p("canmount", "on", Fs, false, "on | off | noauto"),
    p("xattr", "on", Fs, true, "on | off"),
    p("copies", "1", Both, true, "1 | 2 | 3"),
    p("version", "5", Fs, false, "CREATE"),
    p("utf8only", "off", Fs, false, "CREATE"),
    p("normalization", "none", Fs, false, "CREATE"),
    p("casesensitivity", "sensitive", Fs, false, "CREATE"),
    p("vscan", "off", Fs, true, "on | off"),
    p("nbmand", "off", Fs, true, "on | off"),
    p("sharesmb", "off", Fs, true, "WORD"),
    p("refquota", "0", Fs, false, "SIZE|none"),
    p("refreservation", "0", Both, false, "SIZE|none"),
    p("guid", "", Both, false, ""),
    p("primarycache", "all", Both, true, "all | none | metadata"),
    p("secondarycache", "all", Both, true, "all | none | metadata"),
    p("usedbysnapshots", "0", Both, false, ""),
    p("usedbydataset", "", Both, false, ""),
    p("usedbychildren", "", Both, false, ""),
    p("logbias", "latency", Both, true, "latency | throughput"),
    p("dedup", "off", Both, true, "on | off | verify | sha256 | sha256,verify"),
    p("mlslabel", "none", Both, true, "WORD"),
    p("sync", "standard", Both, true, "standard | always | disabled"),
    p("refcompressratio", "1.00x", Both, false, ""),
    p("written", "", Both, false, ""),
    p("logicalused", "", Both, false, ""),
    p("logicalreferenced", "", Both, false, ""),
    since("20140412", p("filesystem_limit", "none", Fs, false, "WORD")),
    since("20140412", p("snapshot_limit", "none", Both, false, "WORD")),
    since("20140505", p("redundant_metadata", "all", Both, true, "all | most")),
    since("20181001", p("dnodesize", "legacy", Fs, true, "legacy | auto | 1k | 2k | 4k | 8k | 16k")),
    since("20190619", p("encryption", "off", Both, false, "CREATE")),
];

/// The property with the name, in short or in full, if the platform knows it.
pub fn native(era: &Era, name: &str) -> Option<&'static Native> {
    let full = match name {
        "avail" => "available",
        "refer" => "referenced",
        "compress" => "compression",
        "recsize" => "recordsize",
        "reserv" => "reservation",
        "refreserv" => "refreservation",
        "volblock" => "volblocksize",
        "rdonly" => "readonly",
        name => name,
    };
    NATIVE.iter().find(|property| property.name == full && era.since_or_always(property.since))
}

/// All properties that the platform knows and that apply.
pub fn applying(era: &Era, kind: Kind) -> impl Iterator<Item = &'static Native> {
    NATIVE.iter().filter(move |property| era.since_or_always(property.since) && property.applies(kind))
}

impl Native {
    /// Whether it applies to a dataset.
    pub fn applies(&self, kind: Kind) -> bool {
        match self.scope {
            Scope::Both => true,
            Scope::Filesystem => kind == Kind::Filesystem,
            Scope::Volume => kind != Kind::Filesystem,
        }
    }

    /// The value as it is kept, or what is wrong with it, as libzfs says it after "cannot set property for 'X': ".
    ///
    /// # Errors
    /// When it cannot be that.
    pub fn check(&self, era: &Era, value: &str, creating: bool) -> Result<String, String> {
        let name = self.name;
        match self.values {
            "" => Err(format!("'{name}' is readonly")),
            "CREATE" if !creating => Err(format!("'{name}' is readonly")),
            "CREATE" | "WORD" => Ok(value.to_owned()),
            "SIZE|none" if value == "none" => Ok("0".to_owned()),
            "SIZE" | "SIZE|none" => {
                let number = bytes(value).ok_or_else(|| format!("bad numeric value '{value}'"))?;
                let number_is_odd = name == "recordsize" && !(number.is_power_of_two() && number >= 512);
                let largest = if era.since("20141107") { 1 << 20 } else { 128 << 10 };
                if name == "recordsize" && (number_is_odd || number > largest) {
                    let largest = if largest == 1 << 20 { "1M" } else { "128k" };
                    return Err(format!("'recordsize' must be power of 2 from 512B to {largest}"));
                }
                Ok(number.to_string())
            }
            "PATH" if value == "none" || value == "legacy" || value.starts_with('/') => Ok(value.to_owned()),
            "PATH" => Err(format!("'{name}' must be an absolute path, 'none', or 'legacy'")),
            words => {
                let extra: &[(&str, &str)] = &[
                    // usr/src/common/zfs/zfs_prop.c; noparity is SmartOS' own, for dump volumes on RAID-Z (2011).
                    ("noparity", "20110101"),
                    ("sha512", "20150929"),
                    ("skein", "20150929"),
                    ("edonr", "20150929"),
                ];
                let gzip = value.strip_prefix("gzip-").is_some_and(|level| ("1"..="9").contains(&level));
                let known = words.split(" | ").any(|word| word == value)
                    || (name == "compression" && gzip && value.len() == 6)
                    || (name == "checksum"
                        && extra.iter().any(|&(word, date)| word == value && era.since(date)));
                if known { Ok(value.to_owned()) } else { Err(format!("'{name}' must be one of '{words}'")) }
            }
        }
    }
}

/// A property as zfs get shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The value, `-` when it does not apply.
    pub value: String,
    /// The source: `local`, `default`, `received`, `inherited from X`, `-`.
    pub source: String,
}

impl Shown {
    fn computed(value: impl Into<String>) -> Self {
        Self { value: value.into(), source: "-".into() }
    }

    /// The word by which `zfs get -s` chooses.
    pub fn source_word(&self) -> &str {
        match self.source.split(' ').next() {
            Some("-") | None => "none",
            Some(word) => word,
        }
    }
}

impl World {
    /// The value that holds for a dataset: set there, or, if it inherits, above; with the dataset where it is set.
    fn effective(&self, dataset: &str, property: &str, inherits: bool) -> Option<(String, String, Source)> {
        let mut at = dataset;
        loop {
            let (_, here) = self.dataset(at)?;
            if let Some(setting) = here.properties.get(property) {
                return Some((at.to_owned(), setting.value.clone(), setting.source));
            }
            at = at.rsplit_once('/').filter(|_| inherits)?.0;
        }
    }

    /// A property of a dataset as zfs get shows it; `exact` is -p. The dataset exists.
    pub fn property(&self, dataset: &str, name: &str, exact: bool) -> Shown {
        let Some((pool, own)) = self.dataset(dataset) else { return Shown::computed("-") };
        let source = |(at, value, source): (String, String, Source)| Shown {
            value,
            source: match source {
                _ if at != dataset => format!("inherited from {at}"),
                Source::Local => "local".into(),
                Source::Received => "received".into(),
            },
        };
        if name.contains(':') {
            // A user's property: inherits always.
            return self.effective(dataset, name, true).map_or_else(|| Shown::computed("-"), source);
        }
        let Some(native) = native(self.era(), name).filter(|native| native.applies(own.kind)) else {
            return Shown::computed("-");
        };
        let size = |bytes: u64| Shown::computed(if exact { bytes.to_string() } else { nice(bytes) });
        match native.name {
            "type" => {
                return Shown::computed(if own.kind == Kind::Filesystem { "filesystem" } else { "volume" });
            }
            "creation" => return Shown::computed(own.created.to_string()),
            "guid" => return Shown::computed(own.guid.to_string()),
            "used" | "logicalused" => return size(pool.used(&self.machine, split(dataset).1)),
            "available" => {
                let reserved = if own.kind == Kind::Filesystem { 0 } else { own.number("refreservation") };
                return size(pool.available(&self.machine, self.era()) + reserved);
            }
            "referenced" | "usedbydataset" | "written" | "logicalreferenced" => {
                return size(pool.referenced(&self.machine, own));
            }
            "usedbychildren" => {
                let own_part = pool.referenced(&self.machine, own).max(own.number("refreservation"));
                return size(pool.used(&self.machine, split(dataset).1) - own_part);
            }
            "compressratio" | "refcompressratio" if exact => return Shown::computed("1.00"),
            "mounted" => {
                let mounted = self.runtime.storage.mounts.iter().any(|mount| mount.special == dataset);
                return Shown::computed(if mounted { "yes" } else { "no" });
            }
            "volsize" => {
                let Kind::Volume { bytes } = own.kind else { return Shown::computed("-") };
                return Shown { source: "local".into(), ..size(bytes) };
            }
            _ => {}
        }
        let found = self.effective(dataset, native.name, native.inherits);
        let mut shown = match (found, native.name) {
            (Some((at, value, origin)), "mountpoint") => {
                // What is inherited is the path above, and the rest of the name below it.
                let rest = &dataset[at.len()..];
                let value = if value.starts_with('/') {
                    format!("{}{rest}", value.trim_end_matches('/'))
                } else {
                    value
                };
                let value = if value.is_empty() { "/".to_owned() } else { value };
                source((at, value, origin))
            }
            (None, "mountpoint") => Shown { value: format!("/{dataset}"), source: "default".into() },
            (Some(found), _) => source(found),
            (None, _) if native.values.is_empty() || native.values == "CREATE" => {
                Shown::computed(native.default)
            }
            (None, _) => Shown { value: native.default.into(), source: "default".into() },
        };
        if native.values.starts_with("SIZE") || native.name == "volblocksize" {
            let number = bytes(&shown.value).unwrap_or(0);
            shown.value = match number {
                0 if !exact => "none".into(),
                number if exact => number.to_string(),
                number => nice(number),
            };
        }
        shown
    }
}
