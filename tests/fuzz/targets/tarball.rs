//! Tar archives of platforms: every member that is shown stays inside, and no more is read than is allowed.
#![no_main]

use std::io;

use kiln::tarball::{Limits, walk};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { file_bytes: 1 << 20, total_bytes: 4 << 20, members: 1000 };

fuzz_target!(|input: &[u8]| {
    let mut total = 0;
    let _ = walk(input, LIMITS, |member, contents| {
        assert!(!member.path.is_empty() && !member.path.starts_with('/'));
        assert!(member.path.split('/').all(|part| !matches!(part, "" | "." | "..")));
        let read = io::copy(contents, &mut io::sink())?;
        assert!(read <= member.size);
        total += read;
        assert!(total <= LIMITS.total_bytes);
        Ok(())
    });
});
