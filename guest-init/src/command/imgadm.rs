//! `imgadm`: the images of this machine (smartos-live, `src/img/man/imgadm.8.md`).

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Commands, Invocation};

/// The manifests of the images that are installed.
pub fn manifests(commands: &mut dyn Commands) -> Result<Vec<Value>> {
    let text = commands.text(&Invocation::reads("/usr/sbin/imgadm", ["list", "-j"]))?;
    let images: Vec<Value> =
        serde_json::from_str(&text).context("what imgadm list wrote is no list in JSON")?;
    // Each is an object with the manifest in it, and what this machine knows besides.
    Ok(images.into_iter().filter_map(|mut image| Some(image.get_mut("manifest")?.take())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::double::{Double, said};

    #[test]
    fn manifests_are_found() {
        let output = r#"[{"manifest": {"uuid": "a"}, "zpool": "zones"}, {"manifest": {"uuid": "b"}}, {}]"#;
        let mut commands = Double::new([("/usr/sbin/imgadm list -j", said(output))]);
        let found = manifests(&mut commands).expect("a list");
        assert_eq!(found, [serde_json::json!({"uuid": "a"}), serde_json::json!({"uuid": "b"})]);
        for garbage in ["", "{}", "no images", "["] {
            let mut commands = Double::new([("/usr/sbin/imgadm list -j", said(garbage))]);
            manifests(&mut commands).expect_err("no list");
        }
    }
}
