//! The same inputs give the same bytes, wherever, whenever and under whomever `kiln retro` runs.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use kiln_e2e::{Lab, STAMP};
use kiln_harness::{account, tools};

const ARCHIVE_KIB: u32 = 8192;

/// What surrounds a build and must not show in it.
struct Surroundings {
    /// The folder that the build runs in; it says in a failure which surroundings made a difference, too.
    folder: &'static str,
    jobs: &'static str,
    locale: &'static str,
    /// POSIX's form, which needs no data base.
    time_zone: &'static str,
    umask: &'static str,
    /// Modification time of every input, in seconds since 1970.
    mtime: u64,
    /// Mode of the files in the overlays, which have no mtree(5) file.
    mode: u32,
    /// Whether the build runs without root's privileges.
    unprivileged: bool,
}

const SURROUNDINGS: [Surroundings; 4] = [
    Surroundings {
        folder: "one",
        jobs: "1",
        locale: "C",
        time_zone: "UTC0",
        umask: "022",
        mtime: 1_700_000_000,
        mode: 0o644,
        unprivileged: false,
    },
    Surroundings {
        folder: "two, in another time and place",
        jobs: "2",
        locale: "tr_TR.UTF-8",
        time_zone: "EAST-14",
        umask: "077",
        mtime: 915_148_800,
        mode: 0o700,
        unprivileged: false,
    },
    Surroundings {
        folder: "seven/further/down",
        jobs: "7",
        locale: "C.UTF-8",
        time_zone: "WEST12WEST11,0/0,J365/23",
        umask: "000",
        mtime: 4_000_000_000,
        mode: 0o666,
        unprivileged: false,
    },
    Surroundings {
        folder: "nobody",
        jobs: "2",
        locale: "tr_TR.UTF-8",
        time_zone: "WEST12",
        umask: "027",
        mtime: 1,
        mode: 0o444,
        unprivileged: true,
    },
];

/// Compiles the Turkish locale, whose letters and numbers are written unlike C's, into a folder for `LOCPATH`. `None`
/// after a loud skip when the sources of locales are missing.
fn compile_locale(folder: &Path) -> Option<()> {
    let localedef = tools::require("localedef")?;
    if !Path::new("/usr/share/i18n/locales/tr_TR").exists() {
        tools::missing("the source of the locale tr_TR (Debian's package locales)");
        return None;
    }
    fs::create_dir_all(folder).unwrap();
    let compiled = Command::new(localedef)
        .args(["--no-archive", "-i", "tr_TR", "-f", "UTF-8"])
        .arg(folder.join("tr_TR.UTF-8"))
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let said = Command::new("locale")
        .arg("decimal_point")
        .env("LOCPATH", folder)
        .env("LC_ALL", "tr_TR.UTF-8")
        .output()
        .unwrap();
    assert_eq!(said.stdout, b",\n", "the locale is not in force");
    Some(())
}

/// Builds under `around` below `home`, and gives the image, the manifest and the user who owns them.
fn build_in(lab: &Lab, home: &Path, around: &Surroundings) -> Option<(Vec<u8>, Vec<u8>, u32)> {
    let folder = home.join(around.folder);
    fs::create_dir_all(folder.join("mine/lib")).unwrap();
    fs::copy(lab.join(format!("data/platform-{STAMP}.tgz")), folder.join("p.tgz")).unwrap();
    fs::write(folder.join("mine/lib/mine"), "mine\n").unwrap();
    fs::set_permissions(folder.join("mine/lib/mine"), fs::Permissions::from_mode(around.mode)).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(around.mtime);
    for input in ["p.tgz", "mine/lib/mine", "mine/lib", "mine"] {
        File::open(folder.join(input)).unwrap().set_modified(time).unwrap();
    }

    let shell = Path::new("/bin/sh");
    let (mut command, user) = if around.unprivileged {
        // The way to the inputs is open to everybody, whatever this process' own umask is.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        for (path, mode) in [("mine", 0o755), ("mine/lib", 0o755), ("p.tgz", 0o644)] {
            fs::set_permissions(folder.join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        account::unprivileged(shell)?
    } else {
        (Command::new(shell), account::user())
    };
    let script = format!(
        "umask {umask}; exec \"$0\" retro {STAMP} --platform p.tgz --version test --overlay mine --custom mine --jobs {jobs} \
         --size auto",
        umask = around.umask,
        jobs = around.jobs
    );
    let run = command
        .args(["-c", &script])
        .arg(home.join("kiln"))
        .current_dir(&folder)
        .env_remove("KILN_LOG")
        .env("TZ", around.time_zone)
        .env("LOCPATH", home.join("locales"))
        .envs(["LC_ALL", "LANG", "LANGUAGE"].map(|name| (name, around.locale)))
        .env("SOURCE_DATE_EPOCH", around.mtime.to_string())
        .output()
        .unwrap();
    assert!(run.status.success(), "{}: {}", around.folder, String::from_utf8_lossy(&run.stderr));
    let name = folder.join(format!("output/smartos-retro-{STAMP}-test"));
    let (image, manifest) = (name.with_extension("zvol.gz"), name.with_extension("manifest"));
    let status = fs::metadata(&image).unwrap();
    assert_eq!(status.permissions().mode() & 0o777, 0o644, "{}", around.folder);
    assert_eq!(status.uid(), user, "{}: the build ran under another user", around.folder);
    Some((fs::read(image).unwrap(), fs::read(manifest).unwrap(), user))
}

/// Same inputs, same bytes: whatever the machine, the user and the moment.
#[test]
fn nothing_but_the_inputs_shows_in_the_bytes() {
    let Some(lab) = Lab::open() else { return };
    lab.platform(ARCHIVE_KIB);
    // Below the world's temporary folder, because the way to the lab may be closed to other users.
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    if compile_locale(&home.path().join("locales")).is_none() {
        return;
    }
    fs::copy(lab.command().get_program(), home.path().join("kiln")).unwrap();
    let Some(expected) = build_in(&lab, home.path(), &SURROUNDINGS[0]) else { return };
    for around in &SURROUNDINGS[1..] {
        let Some(built) = build_in(&lab, home.path(), around) else { return };
        assert!(built.0 == expected.0, "the image differs: {}", around.folder);
        assert!(built.1 == expected.1, "the manifest differs: {}", around.folder);
        if around.unprivileged && account::is_root() {
            assert_ne!(built.2, expected.2, "the same user built both");
        }
    }
}

/// With the default flags, as somebody who may do nothing but write to one folder; what root gets is the same.
#[test]
fn an_ordinary_user_builds_the_same_as_root() {
    let Some(lab) = Lab::open() else { return };
    lab.platform(ARCHIVE_KIB);
    let (image, manifest) = lab.retro(&[]);
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let (kiln, platform) = (home.path().join("kiln"), home.path().join("p.tgz"));
    fs::copy(lab.command().get_program(), &kiln).unwrap();
    fs::copy(lab.join(format!("data/platform-{STAMP}.tgz")), &platform).unwrap();
    fs::set_permissions(&platform, fs::Permissions::from_mode(0o444)).unwrap();
    let Some((mut command, user)) = account::unprivileged(&kiln) else { return };
    let run = command
        .args(["retro", STAMP, "--version", "test", "--platform"])
        .arg(&platform)
        .current_dir(home.path())
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let output = home.path().join("output");
    assert_eq!(fs::read_dir(&output).unwrap().count(), 2);
    for expected in [image, manifest] {
        let built = output.join(expected.file_name().unwrap());
        assert_eq!(fs::metadata(&built).unwrap().uid(), user);
        assert!(fs::read(&built).unwrap() == fs::read(&expected).unwrap(), "{} differs", built.display());
    }
}
