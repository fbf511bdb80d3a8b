//! The last words of `kiln retro`: what was made, and what to do with it.

use std::path::PathBuf;

use serde_json::json;

use super::Built;
use super::loader::Loader;
use super::settings::{Audience, ORIGINAL_RESCUE_HASH, Settings};
use crate::report::Report;
use crate::shell;

/// Reports the finished build.
pub fn print(settings: &Settings, built: &Built, paths: &[PathBuf; 2], report: &Report) {
    let [image, manifest] = paths;
    let install = format!("imgadm install -m {} -f {}", shell::word(manifest), shell::word(image));
    let import = format!("sdc-imgadm import -m {} -f {}", shell::word(manifest), shell::word(image));
    // The image server of a data centre refuses manifests without the fields that `--for dc` adds.
    let for_dc = settings.audience == Some(Audience::Dc);
    let stage_files: Vec<(String, &str)> = match &built.loader {
        Loader::Builtin => Vec::new(),
        Loader::GrubLegacy { files, .. } => {
            files.iter().map(|(path, sha1)| (path.display().to_string(), sha1.as_str())).collect()
        }
        Loader::Template { sha1, .. } => {
            settings.template.iter().map(|path| (path.display().to_string(), sha1.as_str())).collect()
        }
    };
    let rescue = if settings.rescue_password_hash == ORIGINAL_RESCUE_HASH {
        "root logs in with the password 'root' (the original's; --rescue-password-hash sets another)"
    } else {
        "root logs in with the password of your --rescue-password-hash"
    };
    if report.is_json() {
        report.event(&json!({
            "event": "summary",
            "image": image.display().to_string(),
            "manifest": manifest.display().to_string(),
            "uuid": built.manifest.uuid,
            "size": built.written.size,
            "sha1": built.written.sha1,
            "stream_size": built.written.stream_size,
            "stream_sha1": built.written.stream_sha1,
            "blocks": built.written.blocks,
            "snapshot_guid": built.snapshot_guid.to_string(),
            "volume_mib": built.volume_size >> 20,
            "boot_archive_sha1": built.boot_archive_sha1,
            "loader": settings.loader.to_string(),
            "loader_files": stage_files
                .iter()
                .map(|(path, sha1)| json!({ "path": path, "sha1": sha1 }))
                .collect::<Vec<_>>(),
            "next": if for_dc { vec![install, import] } else { vec![install] },
        }));
        return;
    }
    let mut lines = vec![
        String::new(),
        format!("image         {}", image.display()),
        format!("  size        {} bytes", built.written.size),
        format!("  SHA-1       {}", built.written.sha1),
        format!("  stream      {} bytes, SHA-1 {}", built.written.stream_size, built.written.stream_sha1),
        format!("  volume      {} MiB, {} blocks in use", built.volume_size >> 20, built.written.blocks),
        format!("manifest      {}", manifest.display()),
        format!("  uuid        {}", built.manifest.uuid),
        format!("boot archive  SHA-1 {}", built.boot_archive_sha1),
        format!("loader        {}", settings.loader),
    ];
    lines.extend(stage_files.iter().map(|(path, sha1)| format!("  from        {path}, SHA-1 {sha1}")));
    lines.extend([
        format!("rescue entry  {rescue}"),
        String::new(),
        "next, on a SmartOS host:".to_owned(),
        format!("  {install}"),
    ]);
    lines.extend(if for_dc {
        ["or on a Triton head node:".to_owned(), format!("  {import}")]
    } else {
        ["for a Triton head node, build with --for dc; then:".to_owned(), format!("  {import}")]
    });
    for line in lines {
        report.result(&line);
    }
}
