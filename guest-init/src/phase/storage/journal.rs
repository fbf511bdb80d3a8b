//! The journal of the first boot: which of its steps was done last, in a user property of the pool's root dataset.
//!
//! A pool that a boot finds may be the work of one that was cut short. What is missing in it is then either to be made yet,
//! or was lost, and an empty dataset must never take the place of a lost one. The journal tells the two apart. It also
//! tells the owner, on the console and by `guest-init status`.

use std::path::Path;

use anyhow::Result;

use super::datasets;
use super::records::{self, Recorded};
use crate::command::zfs;
use crate::engine::Guest;
use crate::state::Pool;

/// How far the first boot has come. Each includes those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    /// The pool is there. `zpool create` writes that down itself; where the power failed before it could, nothing does.
    Pool,
    /// So are the datasets that every boot needs, but for `var`.
    Datasets,
    /// So is `var`. It is written down only while something else is owed: else [`Self::Complete`] comes right behind it.
    Var,
    /// Everything is there that a first boot makes.
    Complete,
}

impl Reached {
    /// The value of the property: the name of the step.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pool => "pool",
            Self::Datasets => "datasets",
            Self::Var => "var",
            Self::Complete => "complete",
        }
    }

    /// By the value of the property, which may be anything.
    pub fn by_word(word: &str) -> Self {
        let all = [Self::Complete, Self::Var, Self::Datasets];
        all.into_iter().find(|reached| reached.word() == word).unwrap_or(Self::Pool)
    }
}

/// How far the first boot of this pool has come, by the pool and by the key; the status tells it from now on.
///
/// # Errors
/// When the datasets or the key cannot be read.
pub fn reached(guest: &mut Guest<'_>, pool: &Pool) -> Result<Reached> {
    let folder = guest.state.key.as_ref().map(|key| key.folder.clone());
    let recorded = folder.map_or(Ok(Recorded::Nothing), |folder| records::record(Path::new(&folder)))?;
    let root = datasets::of(guest, pool)?.get(&pool.name);
    let in_pool = root.map_or(Reached::Pool, |root| Reached::by_word(&root.step));
    let is_complete = matches!(recorded, Recorded::Is(record) if record.guid == pool.guid && record.complete);
    let reached = if is_complete { Reached::Complete } else { in_pool };
    tell(guest, reached);
    Ok(reached)
}

/// Writes into the journal that the first boot has come so far, unless it says so.
///
/// # Errors
/// When `zfs` fails.
pub fn note(guest: &mut Guest<'_>, pool: &Pool, reached: Reached) -> Result<()> {
    let word = reached.word();
    if datasets::of(guest, pool)?.get(&pool.name).is_none_or(|root| root.step != word) {
        zfs::set(guest.commands, &pool.name, zfs::STEP, word)?;
        if let Some(root) = datasets::of(guest, pool)?.get_mut(&pool.name) {
            word.clone_into(&mut root.step);
        }
    }
    tell(guest, reached);
    Ok(())
}

fn tell(guest: &mut Guest<'_>, reached: Reached) {
    guest.state.first_boot = (reached < Reached::Complete).then(|| reached.word().to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_everything_else_is_a_beginning() {
        let all = [Reached::Pool, Reached::Datasets, Reached::Var, Reached::Complete];
        assert!(all.is_sorted());
        for reached in all {
            assert_eq!(Reached::by_word(reached.word()), reached);
        }
        for word in ["-", "", "1", "Complete", "complete "] {
            assert_eq!(Reached::by_word(word), Reached::Pool, "{word:?}");
        }
    }
}
