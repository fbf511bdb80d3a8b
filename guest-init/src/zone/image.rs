//! The image that a zone is made of, and the brand that suits it.

use anyhow::{Result, anyhow, bail};
use serde_json::Value;

use crate::platform::Platform;

/// An image that a zone can be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its UUID.
    pub uuid: String,
    /// The brand of its zones.
    pub brand: &'static str,
    /// The version of Linux that its zones show, if the manifest says.
    pub kernel_version: Option<String>,
}

/// Brands that run here, with the day since which platforms have them. Machines inside this one (kvm, bhyve) do not run: the
/// host gives no guest the means.
const BRANDS: [(&str, &str); 3] = [("joyent", ""), ("joyent-minimal", ""), ("lx", "20150101")];

/// What the image of this manifest is good for; why not, if for nothing.
fn usable(manifest: &Value, platform: &Platform) -> Result<Image, String> {
    let text = |key: &str| manifest[key].as_str().unwrap_or_default();
    let brand = match (manifest["requirements"]["brand"].as_str(), text("type"), text("os")) {
        (Some(brand), _, _) => brand,
        (None, "zone-dataset", "smartos") => "joyent",
        (None, "lx-dataset", _) | (None, "zone-dataset", "linux") => "lx",
        (None, kind, os) => return Err(format!("an image of type '{kind}' for '{os}' makes no zone")),
    };
    let Some(&(brand, since)) = BRANDS.iter().find(|(known, _)| *known == brand) else {
        return Err(format!("zones of brand '{brand}' do not run inside a virtual machine"));
    };
    if !platform.is_since(since) {
        return Err(format!("this platform is too old for zones of brand '{brand}'"));
    }
    let kernel_version = manifest["tags"]["kernel_version"].as_str().filter(|_| brand == "lx");
    Ok(Image { uuid: text("uuid").to_owned(), brand, kernel_version: kernel_version.map(str::to_owned) })
}

/// The image of that UUID, or the newest that makes a zone.
///
/// # Errors
/// When there is none, with what to do about it.
pub fn choose(manifests: &[Value], wanted: Option<&str>, platform: &Platform) -> Result<Image> {
    if let Some(uuid) = wanted {
        let Some(manifest) = manifests.iter().find(|manifest| manifest["uuid"] == uuid) else {
            bail!(
                "image {uuid} is not installed: 'imgadm import {uuid}' fetches it{}",
                others(manifests, platform)
            );
        };
        return usable(manifest, platform)
            .map_err(|why| anyhow!("image {uuid} cannot be used: {why}{}", others(manifests, platform)));
    }
    let published = |manifest: &&Value| manifest["published_at"].as_str().unwrap_or_default().to_owned();
    let mut newest_first: Vec<&Value> = manifests.iter().collect();
    newest_first.sort_by_key(published);
    match newest_first.into_iter().rev().find_map(|manifest| usable(manifest, platform).ok()) {
        Some(image) => Ok(image),
        None => bail!(
            "no image that makes a zone is installed: 'imgadm avail' lists images, 'imgadm import UUID' fetches one"
        ),
    }
}

/// The images that could be used instead.
fn others(manifests: &[Value], platform: &Platform) -> String {
    let usable = manifests.iter().filter(|manifest| usable(manifest, platform).is_ok());
    let names = usable.map(|manifest| {
        let text = |key: &str| manifest[key].as_str().unwrap_or_default();
        format!("\n  {} {} {}", text("uuid"), text("name"), text("version")).trim_end().to_owned()
    });
    let names: String = names.collect();
    if names.is_empty() { names } else { format!(". Those that are installed and make zones here:{names}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn platform(stamp: &str) -> Platform {
        Platform::of_kernel(&format!("joyent_{stamp}")).expect("a platform")
    }

    #[test]
    fn the_newest_image_that_can_be_used_is_taken() {
        let manifests = [
            json!({"uuid": "old", "type": "zone-dataset", "os": "smartos", "published_at": "2013-01-01T00:00:00Z"}),
            json!({"uuid": "base", "type": "zone-dataset", "os": "smartos", "published_at": "2014-01-01T00:00:00Z",
                   "name": "base64", "version": "13.4.2"}),
            json!({"uuid": "debian", "type": "lx-dataset", "os": "linux", "published_at": "2016-01-01T00:00:00Z",
                   "tags": {"kernel_version": "3.16.0"}}),
            json!({"uuid": "kvm", "type": "zvol", "os": "linux", "published_at": "2017-01-01T00:00:00Z"}),
            json!({"uuid": "bhyve", "type": "zone-dataset", "os": "smartos", "requirements": {"brand": "bhyve"}}),
        ];
        let choose = |wanted, stamp| choose(&manifests, wanted, &platform(stamp));
        assert_eq!(choose(None, "20141030T081701Z").expect("an image").uuid, "base");
        let linux = choose(None, "20180315T153448Z").expect("an image");
        let expected = Image { uuid: "debian".into(), brand: "lx", kernel_version: Some("3.16.0".into()) };
        assert_eq!(linux, expected);
        assert_eq!(choose(Some("old"), "20180315T153448Z").expect("an image").brand, "joyent");
        for (wanted, why) in [
            ("debian", "image debian cannot be used: this platform is too old for zones of brand 'lx'"),
            ("kvm", "image kvm cannot be used: an image of type 'zvol' for 'linux' makes no zone"),
            (
                "bhyve",
                "image bhyve cannot be used: zones of brand 'bhyve' do not run inside a virtual machine",
            ),
            ("none", "image none is not installed: 'imgadm import none' fetches it"),
        ] {
            let others = ". Those that are installed and make zones here:\n  old\n  base base64 13.4.2";
            let refusal = choose(Some(wanted), "20141030T081701Z").expect_err("no image").to_string();
            assert_eq!(refusal, format!("{why}{others}"));
        }
    }

    #[test]
    fn without_images_it_is_said_how_to_get_one() {
        for manifests in [vec![], vec![json!({}), json!(7), json!({"uuid": 7, "type": []})]] {
            let error = choose(&manifests, None, &platform("20141030T081701Z")).expect_err("none");
            assert!(error.to_string().contains("imgadm import"), "{error}");
        }
    }
}
