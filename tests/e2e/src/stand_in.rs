//! A Debian guest that plays the part of a set-up SmartOS: it answers SSH, puts a status, and has commands that say what
//! those of a platform would.

use std::fs;
use std::path::{Path, PathBuf};

use kiln_harness::{recipe, scratch, ssh_server, tools};

use crate::metadata;

/// What the guest runs at each boot. Its root disk outlives a reset, so what it counts and makes there stays.
const SCRIPT: &str = include_str!("stand_in.sh");

/// The arguments of its kernel, as in the harness's guest.
const KERNEL: &str = "console=ttyS0 loglevel=4 panic=-1 mitigations=off tsc=unstable random.trust_cpu=on net.ifnames=0 \
                      nokaslr";

/// A guest to play the part.
pub struct StandIn {
    guest: PathBuf,
    folder: tempfile::TempDir,
}

impl StandIn {
    /// A guest that plays a platform of this stamp, whose network card has this name there. `None` after a loud skip when
    /// something that it takes is missing.
    ///
    /// # Panics
    /// Something is missing and `KILN_REQUIRE_TOOLS` is set, or the disk is full.
    pub fn new(stamp: &str, link: &str) -> Option<StandIn> {
        let guest = recipe::guest_folder();
        if !recipe::is_built(&guest) {
            tools::missing("the guest of ring 3 (`cargo xtask vm build` makes it)");
            return None;
        }
        tools::require("qemu-system-x86_64")?;
        tools::require("ssh")?;
        let mdata = metadata::mdata()?;
        let folder = scratch::folder("stand-in");
        for name in ["in/files", "out/results"] {
            fs::create_dir_all(folder.path().join(name)).expect("the scratch folder is writable");
        }
        let files = folder.path().join("in/files");
        ssh_server::put_into(&files)?;
        fs::copy(mdata, files.join("mdata")).expect("the scratch folder is writable");
        let script = SCRIPT.replace("@STAMP@", stamp).replace("@LINK@", link);
        fs::write(folder.path().join("in/script"), script).expect("the scratch folder is writable");
        Some(StandIn { guest, folder })
    }

    /// Changes what the guest says.
    ///
    /// # Panics
    /// It never said `from`.
    #[must_use]
    pub fn says(self, from: &str, to: &str) -> StandIn {
        let path = self.folder.path().join("in/script");
        let script = fs::read_to_string(&path).expect("it was written");
        assert!(script.contains(from), "{from}");
        fs::write(path, script.replace(from, to)).expect("the scratch folder is writable");
        self
    }

    /// Its root disk, which nobody may write to.
    pub fn disk(&self) -> PathBuf {
        self.guest.join("root.img")
    }

    /// What QEMU has to be told besides: the kernel, and the two folders that the guest mounts.
    pub fn arguments(&self) -> Vec<String> {
        let text = |path: &Path| path.to_str().expect("scratch folders have plain names").replace(',', ",,");
        let file = |name: &str| text(&self.guest.join(name));
        let mut arguments: Vec<String> =
            [["-kernel", &file("vmlinuz")], ["-initrd", &file("initrd.gz")], ["-append", KERNEL]]
                .concat()
                .into_iter()
                .map(str::to_owned)
                .collect();
        for (tag, options) in [("in", ",readonly=on"), ("out", "")] {
            let share = text(&self.folder.path().join(tag));
            arguments.extend([
                "-fsdev".into(),
                format!("local,id={tag},path={share},security_model=none{options}"),
            ]);
            arguments.extend(["-device".into(), format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}")]);
        }
        arguments.extend(["-device".into(), "virtio-rng-pci".into()]);
        arguments
    }
}
