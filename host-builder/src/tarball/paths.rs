//! Paths and link targets that stay inside the archive.

use super::{PATH_LIMIT, TarProblem};

/// A path without its harmless decorations, `None` for the archive's own root (`./`).
pub(super) fn clean(name: &str) -> Result<Option<String>, TarProblem> {
    if name.len() > PATH_LIMIT || name.chars().any(char::is_control) {
        return Err(TarProblem::BadName);
    }
    if name.starts_with('/') {
        return Err(TarProblem::Absolute);
    }
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err(TarProblem::ClimbsOut);
    }
    Ok(if parts.is_empty() { None } else { Some(parts.join("/")) })
}

/// Proves that a symbolic link at `path` leads to something below the archive's root.
pub(super) fn stays_inside(path: &str, target: &str) -> Result<(), TarProblem> {
    let leads_out = || TarProblem::LinkLeadsOut(target.to_owned());
    if target.is_empty() || target.starts_with('/') {
        return Err(leads_out());
    }
    let mut depth = path.split('/').count() - 1;
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => depth = depth.checked_sub(1).ok_or_else(leads_out)?,
            _ => depth += 1,
        }
    }
    Ok(())
}
