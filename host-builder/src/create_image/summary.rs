//! The last words of `kiln create-image`: what was made, and what to do with it.

use std::path::PathBuf;

use serde_json::json;

use super::Built;
use crate::report::Report;
use crate::shell;
use crate::zone::origin::Origin;

/// Reports the finished build.
pub fn print(built: &Built, origin: Option<&Origin>, paths: &[PathBuf; 2], report: &Report) {
    let [image, manifest] = paths;
    let Built { manifest: about, written, origin_guid, names } = built;
    let install = format!("imgadm install -m {} -f {}", shell::word(manifest), shell::word(image));
    let origin = origin.filter(|_| about.origin.is_some());
    if report.is_json() {
        report.event(&json!({
            "event": "summary",
            "image": image.display().to_string(),
            "manifest": manifest.display().to_string(),
            "uuid": about.uuid,
            "size": written.size,
            "sha1": written.sha1,
            "stream_size": written.stream.stream_bytes,
            "stream_sha1": written.stream_sha1,
            "records": written.stream.records,
            "names": names,
            "snapshot_guid": written.guid.to_string(),
            "origin": about.origin,
            "origin_guid": origin_guid.map(|guid| guid.to_string()),
            "next": [install],
        }));
        return;
    }
    let mut lines = vec![
        String::new(),
        format!("image         {}", image.display()),
        format!("  size        {} bytes", written.size),
        format!("  SHA-1       {}", written.sha1),
        format!("  stream      {} bytes, SHA-1 {}", written.stream.stream_bytes, written.stream_sha1),
        format!("  snapshot    GUID {}", written.guid),
        format!("  tree        {names} files and folders"),
    ];
    if let (Some(uuid), Some(guid), Some(origin)) = (&about.origin, origin_guid, origin) {
        lines.push(format!("origin        {}", origin.file.display()));
        lines.push(format!("  uuid        {uuid}, GUID {guid}"));
    }
    lines.extend([
        format!("manifest      {}", manifest.display()),
        format!("  uuid        {}", about.uuid),
        String::new(),
        "next, on a SmartOS host:".to_owned(),
    ]);
    if origin.is_some() {
        lines.push("  install the origin, if it is not there, and then".to_owned());
    }
    lines.push(format!("  {install}"));
    for line in lines {
        report.result(&line);
    }
}
