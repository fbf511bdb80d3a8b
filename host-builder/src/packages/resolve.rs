//! What is to be installed, in which order: requests and what they need, against what is there and what the repository has.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow, bail, ensure};
use pkgsrc::Pattern;

use super::pattern::{base, best, compile};
use super::repository::{Candidate, Repository};
use crate::report::Hint;

/// Longest chain of packages that need each other.
const DEPTH: usize = 200;

/// What the resolver knows of an installed package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Present {
    pub(super) depends: Vec<String>,
    pub(super) conflicts: Vec<String>,
}

/// A package that is to be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    /// What the repository says about it.
    pub(super) candidate: Candidate,
    /// Whether only other packages asked for it.
    pub(super) automatic: bool,
    /// What it takes the place of: another version, or itself.
    pub(super) replaces: Option<String>,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Packages in an order in which each comes behind those that it needs.
    pub(super) install: Vec<Planned>,
    /// Installed packages that are what was asked for already.
    pub(super) kept: Vec<String>,
}

/// Finds what installing `requests` takes. A request is a pattern or the base of a name; of several packages the highest version
/// counts.
///
/// # Errors
/// Something is not to be had, contradicts something else, or needs itself.
pub(super) fn resolve(
    repository: &dyn Repository,
    installed: &BTreeMap<String, Present>,
    requests: &[String],
) -> Result<Plan> {
    let mut by_base: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in repository.candidates().keys() {
        by_base.entry(base(name)).or_default().push(name);
    }
    let view = installed.keys().map(|name| (base(name).to_owned(), name.clone())).collect();
    let mut resolver = Resolver {
        repository,
        installed,
        by_base,
        view,
        plan: Plan::default(),
        chain: Vec::new(),
        asked: BTreeSet::new(),
    };
    for request in requests {
        resolver.request(request)?;
    }
    resolver.check()?;
    Ok(resolver.plan)
}

struct Resolver<'a> {
    repository: &'a dyn Repository,
    installed: &'a BTreeMap<String, Present>,
    /// Names of the repository by their bases.
    by_base: BTreeMap<&'a str, Vec<&'a str>>,
    /// What is installed in the end, by bases: pkg_add has no two versions side by side.
    view: BTreeMap<String, String>,
    plan: Plan,
    /// What is being looked at: packages, each with the pattern of what it needs.
    chain: Vec<(String, String)>,
    /// Packages that were requested.
    asked: BTreeSet<String>,
}

impl Resolver<'_> {
    fn request(&mut self, request: &str) -> Result<()> {
        let mut chosen = self.best_of_repository(&compile(request)?)?;
        if chosen.is_none() {
            // A bare name stands for any version, as to pkg_add.
            chosen = self.best_of_repository(&compile(&format!("{request}-[0-9]*"))?)?;
        }
        let Some(chosen) = chosen else {
            return Err(anyhow!("nothing in {} provides {request}", self.repository.place()))
                .hint("check its name in the index of the repository, pkg_summary");
        };
        self.asked.insert(chosen.clone());
        if let Some(planned) = self.plan.install.iter_mut().find(|planned| planned.candidate.name == chosen) {
            planned.automatic = false;
            return Ok(());
        }
        if self.installed.contains_key(&chosen) {
            self.plan.kept.push(chosen);
            return Ok(());
        }
        self.install(&chosen, false)
    }

    /// Sees to it that something matches a pattern.
    fn need(&mut self, text: &str) -> Result<()> {
        let pattern = compile(text)?;
        if self.present(&pattern)? {
            return Ok(());
        }
        let Some(chosen) = self.best_of_repository(&pattern)? else {
            let chain = self.chain_text();
            return Err(anyhow!("{chain}: nothing in {} provides it", self.repository.place()))
                .hint("add the missing package to the repository, or take one that is complete");
        };
        if let Some(at) = self.chain.iter().position(|(name, _)| *name == chosen) {
            let names: Vec<_> = self.chain[at..].iter().map(|(name, _)| name.as_str()).collect();
            bail!("packages need each other: {} needs {chosen}", names.join(" needs "));
        }
        self.install(&chosen, true)
    }

    fn install(&mut self, name: &str, automatic: bool) -> Result<()> {
        ensure!(
            self.chain.len() < DEPTH,
            "more than {DEPTH} packages need each other in a row: {}",
            self.chain_text()
        );
        let candidate = self.repository.candidates()[name].clone();
        let other = self.view.get(base(name)).cloned();
        if let Some(other) = &other
            && self.plan.install.iter().any(|planned| planned.candidate.name == *other)
        {
            let chain = if self.chain.is_empty() { "it is asked for".to_owned() } else { self.chain_text() };
            bail!("{other} and {name} are both needed, and only one of them can be installed: {chain}");
        }
        for pattern in &candidate.depends {
            self.chain.push((name.to_owned(), pattern.clone()));
            self.need(pattern)?;
            self.chain.pop();
        }
        self.view.insert(base(name).to_owned(), name.to_owned());
        let automatic = automatic && !self.asked.contains(name);
        self.plan.install.push(Planned { candidate, automatic, replaces: other });
        Ok(())
    }

    fn present(&self, pattern: &Pattern) -> Result<bool> {
        Ok(best(pattern, self.view.values().map(String::as_str))?.is_some())
    }

    fn best_of_repository(&self, pattern: &Pattern) -> Result<Option<String>> {
        let found = match pattern.pkgbases() {
            Some(bases) => {
                let names = bases.iter().filter_map(|base| self.by_base.get(base)).flatten().copied();
                best(pattern, names)?
            }
            None => best(pattern, self.repository.candidates().keys().map(String::as_str))?,
        };
        Ok(found.map(ToOwned::to_owned))
    }

    /// Checks the end of it all: what is replaced is needed by nobody any more, and nothing contradicts what is new.
    fn check(&self) -> Result<()> {
        for planned in &self.plan.install {
            let new = &planned.candidate.name;
            if let Some(old) = planned.replaces.as_ref().filter(|old| *old != new) {
                for (name, present) in self.remaining() {
                    for text in &present.depends {
                        let pattern = compile(text)?;
                        if pattern.matches(old) && !self.present(&pattern)? {
                            return Err(anyhow!("{name} needs {text}, which {old} is and {new} is not"))
                                .hint("ask for a newer version of what needs it, too");
                        }
                    }
                }
            }
            for text in &planned.candidate.conflicts {
                let pattern = compile(text)?;
                let other = self.view.values().find(|name| *name != new && pattern.matches(name));
                if let Some(other) = other {
                    bail!("{new} cannot be installed beside {other}: it conflicts with {text}");
                }
            }
            for (name, present) in self.remaining() {
                for text in &present.conflicts {
                    if compile(text)?.matches(new) {
                        bail!("{new} cannot be installed beside {name}, which conflicts with {text}");
                    }
                }
            }
        }
        Ok(())
    }

    /// What was installed before and stays.
    fn remaining(&self) -> impl Iterator<Item = (&String, &Present)> {
        self.installed.iter().filter(|(name, _)| {
            let replaced = |planned: &Planned| planned.replaces.as_ref() == Some(*name);
            !self.plan.install.iter().any(replaced)
        })
    }

    /// The chain in words: a needs b>=2 (b-2.1), which needs c.
    fn chain_text(&self) -> String {
        let mut text = String::new();
        for (index, (name, pattern)) in self.chain.iter().enumerate() {
            let link = if index == 0 {
                format!("{name} needs {pattern}")
            } else {
                format!(" ({name}), which needs {pattern}")
            };
            text.push_str(&link);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    struct Fake(BTreeMap<String, Candidate>);

    impl Repository for Fake {
        fn place(&self) -> String {
            "the repository".into()
        }

        fn candidates(&self) -> &BTreeMap<String, Candidate> {
            &self.0
        }

        fn open(&self, candidate: &Candidate) -> Result<(File, u64)> {
            bail!("{} is not there", candidate.name)
        }
    }

    /// Packages as `NAME: DEPENDS... ! CONFLICTS...`.
    fn fake(lines: &[&str]) -> Fake {
        let candidates = lines.iter().map(|line| {
            let (name, rest) = line.split_once(':').unwrap_or((line, ""));
            let (depends, conflicts) = rest.split_once('!').unwrap_or((rest, ""));
            let words = |text: &str| text.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>();
            let (depends, conflicts) = (words(depends), words(conflicts));
            (
                name.to_owned(),
                Candidate { name: name.to_owned(), depends, conflicts, file: format!("{name}.tgz") },
            )
        });
        Fake(candidates.collect())
    }

    fn present(lines: &[&str]) -> BTreeMap<String, Present> {
        let of =
            |candidate: Candidate| Present { depends: candidate.depends, conflicts: candidate.conflicts };
        fake(lines).0.into_iter().map(|(name, candidate)| (name, of(candidate))).collect()
    }

    fn plan(repository: &[&str], installed: &[&str], requests: &[&str]) -> Result<Plan> {
        let requests: Vec<_> = requests.iter().map(|&request| request.to_owned()).collect();
        resolve(&fake(repository), &present(installed), &requests)
    }

    /// The plan in words: a * behind what comes automatically, < before what is replaced.
    fn words(plan: &Plan) -> String {
        let planned = plan.install.iter().map(|planned| {
            let star = if planned.automatic { "*" } else { "" };
            let replaced = planned.replaces.as_ref().map_or(String::new(), |old| format!("<{old}"));
            format!("{}{star}{replaced}", planned.candidate.name)
        });
        planned.collect::<Vec<_>>().join(" ")
    }

    fn planned(repository: &[&str], installed: &[&str], requests: &[&str]) -> String {
        words(&plan(repository, installed, requests).unwrap())
    }

    fn said(repository: &[&str], installed: &[&str], requests: &[&str]) -> String {
        plan(repository, installed, requests).unwrap_err().to_string()
    }

    #[test]
    fn what_is_needed_comes_first_and_the_best_version_is_taken() {
        let repository = ["a-1: b>=2 c-[0-9]*", "b-2: c>=1", "b-10", "b-9nb1", "c-1", "c-0.9", "d-1"];
        assert_eq!(planned(&repository, &[], &["a"]), "b-10* c-1* a-1");
        assert_eq!(planned(&repository, &[], &["a", "c"]), "b-10* c-1 a-1");
        assert_eq!(planned(&repository, &[], &["c", "a"]), "c-1 b-10* a-1");
        assert_eq!(planned(&repository, &[], &["b<10", "a-1"]), "b-9nb1 c-1* a-1");
        assert_eq!(planned(&repository, &["c-0.9"], &["a"]), "b-10* a-1");
    }

    #[test]
    fn what_is_installed_is_kept_or_replaced() {
        let repository = ["a-1: b>=2", "a-2: b>=2", "b-2"];
        assert_eq!(planned(&repository, &["a-1: b>=1", "b-1"], &["a"]), "b-2*<b-1 a-2<a-1");
        let kept = plan(&repository, &["a-2", "b-2"], &["a"]).unwrap();
        assert_eq!((words(&kept), kept.kept), (String::new(), vec!["a-2".to_owned()]));
    }

    #[test]
    fn chains_name_what_is_missing() {
        let repository = ["a-1: b>=2", "b-2.1: c-[0-9]*"];
        assert_eq!(
            said(&repository, &[], &["a"]),
            "a-1 needs b>=2 (b-2.1), which needs c-[0-9]*: nothing in the repository provides it"
        );
        assert_eq!(said(&repository, &[], &["z"]), "nothing in the repository provides z");
    }

    #[test]
    fn contradictions_are_told() {
        assert_eq!(
            said(&["a-1: b-[0-9]*", "b-1: a-[0-9]*"], &[], &["a"]),
            "packages need each other: a-1 needs b-1 needs a-1"
        );
        assert_eq!(
            said(&["a-1: ! b-[0-9]*", "b-1"], &[], &["a", "b"]),
            "a-1 cannot be installed beside b-1: it conflicts with b-[0-9]*"
        );
        assert_eq!(
            said(&["a-1"], &["b-1: ! a<2"], &["a"]),
            "a-1 cannot be installed beside b-1, which conflicts with a<2"
        );
        assert_eq!(
            said(&["a-2"], &["a-1", "b-1: a<2"], &["a"]),
            "b-1 needs a<2, which a-1 is and a-2 is not"
        );
        assert_eq!(
            said(&["a-1: x<2 b-1", "b-1: x>=2", "x-1", "x-2"], &[], &["a"]),
            "x-1 and x-2 are both needed, and only one of them can be installed: a-1 needs b-1 (b-1), which needs x>=2"
        );
    }

    #[test]
    fn endless_chains_end() {
        let lines: Vec<_> = (0..300).map(|number| format!("p{number}-1: p{}-1", number + 1)).collect();
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        assert!(said(&lines, &[], &["p0"]).starts_with("more than 200 packages need each other in a row"));
    }
}
