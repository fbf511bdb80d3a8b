//! Machines for tests: made, switched on, looked at.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kiln_harness::{process, scratch};
use kiln_shim::{Root, Settings, guests, power};
use serde::{Deserialize, Serialize};

use crate::program::Logged;
use crate::storage::{Condition, Kind, Layout, Pool, PoolState, features, split, write_efi, write_label};
use crate::world::{read_json, write_json};
use crate::{Fault, Hardware, Runtime, skeleton};

/// The target for which the commands are built: static, so that they run in any root.
const STATIC: &str = "x86_64-unknown-linux-musl";
/// Where the key's partition begins, in bytes.
const KEY_PARTITION: u64 = 2048 * 512;

/// A machine: a folder with disks, key, pools, and what the last boot left.
#[derive(Debug, Clone)]
pub struct Machine {
    folder: PathBuf,
}

/// How a machine is switched on.
#[derive(Debug, Clone)]
pub struct BootOptions {
    /// How programs of illumos are run; disks, node name, platform and the marks of death are added.
    pub settings: Settings,
    /// Executables and the paths in the root at which they are put, over what is there.
    pub programs: Vec<(PathBuf, String)>,
    /// Folders whose contents are laid over the folder of that path in the root.
    pub overlays: Vec<(PathBuf, String)>,
    /// Paths of programs that this platform is without.
    pub missing: Vec<String>,
    /// Whether services run. Without, only those of `methods` and the commands do.
    pub services: bool,
    /// The services whose start methods run first, without what they depend on.
    pub methods: Vec<String>,
    /// What is typed after the services have settled.
    pub commands: Vec<Vec<String>>,
    /// Whether the whole machine goes off when a process is killed by [`Settings::kill_at`], and what the power failure
    /// does to the folders of [`Self::power_folders`].
    pub power_failure: Option<power::Policy>,
    /// Folders of which it is recorded what a power failure undoes.
    pub power_folders: Vec<(power::Kind, String)>,
    /// The simulator's programs, where cargo cannot build them.
    pub simulator: Option<Programs>,
    /// After this time the machine is switched off; it counts as hung.
    pub limit: Duration,
}

impl Default for BootOptions {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            programs: Vec::new(),
            overlays: Vec::new(),
            missing: Vec::new(),
            services: true,
            methods: Vec::new(),
            commands: Vec::new(),
            power_failure: None,
            power_folders: Vec::new(),
            simulator: None,
            limit: Duration::from_mins(1),
        }
    }
}

/// The simulator's two programs.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The commands of the guest, a static program.
    pub commands: PathBuf,
    /// The one that plays the boot.
    pub player: PathBuf,
}

impl Programs {
    /// Builds them, unless they are up to date.
    ///
    /// # Errors
    /// When one does not compile.
    pub fn build() -> Result<Self> {
        Ok(Self { commands: static_program("simulator")?, player: player()? })
    }
}

/// What the program that plays the boot is told: `boot/plan.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub launcher: PathBuf,
    pub services: bool,
    pub methods: Vec<String>,
    pub commands: Vec<Vec<String>>,
    pub cut: Option<usize>,
    pub limit: Duration,
}

/// What it tells: `boot/report.json`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    pub started: Vec<String>,
    pub methods: Vec<Method>,
    pub outputs: Vec<Output>,
    pub power_failed: bool,
    pub hung: Option<String>,
}

/// What running a service's method took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Method {
    /// The service.
    pub fmri: String,
    /// Which of its methods, as `start`.
    pub name: String,
    /// How many commands were called meanwhile.
    pub commands: usize,
    /// How long it took, by the clock of the host.
    pub took: Duration,
}

/// What a typed command did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Its exit status; none when a signal ended it.
    pub status: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// What happened while a machine was on.
#[derive(Debug, Clone)]
pub struct Boot {
    /// The state at the end: services, mounts, links, rules.
    pub runtime: Runtime,
    /// What was written to the console.
    pub console: String,
    /// What each service's methods wrote, by FMRI.
    pub logs: BTreeMap<String, String>,
    /// The services whose start methods ran, in order; again when one ran again.
    pub started: Vec<String>,
    /// The methods that ran to their end, in order, with what they took.
    pub methods: Vec<Method>,
    /// The calls of commands, with those of the platform's own methods.
    pub calls: Vec<Logged>,
    /// What the simulator refused to play. A test asserts that there is nothing.
    pub complaints: Vec<String>,
    /// What the typed commands did.
    pub outputs: Vec<Output>,
    /// Whether the power failed.
    pub power_failed: bool,
    /// What ran when time was up.
    pub hung: Option<String>,
}

impl Boot {
    /// The word of a service's state, as `online`; `absent` when there is none. The name may be short, as `network/ssh`.
    pub fn state(&self, service: &str) -> &'static str {
        let services = &self.runtime.services;
        let found = services.matching(service);
        found
            .first()
            .and_then(|fmri| services.instances.get(fmri))
            .map_or("absent", |service| service.state.word())
    }

    /// How many commands programs of the guest called: not those that the platform's methods are, or that were typed.
    pub fn command_count(&self) -> usize {
        let typed = self.outputs.len();
        let called = self.calls.iter().filter(|call| !call.argv[0].starts_with("/lib/svc/method/")).count();
        called.saturating_sub(typed)
    }
}

impl Machine {
    /// Makes a machine in a folder: its disks are blank, save that the key's has a partition; the key is empty.
    ///
    /// # Errors
    /// When a file cannot be made.
    pub fn new(folder: &Path, hardware: &Hardware) -> Result<Self> {
        for name in ["disks", "key", "pools"] {
            fs::create_dir_all(folder.join(name))
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let machine = Self { folder: folder.canonicalize()? };
        machine.set_hardware(hardware)?;
        Ok(machine)
    }

    /// Changes what the machine is made of. Disks that it has keep their contents.
    ///
    /// # Errors
    /// When a file cannot be made.
    pub fn set_hardware(&self, hardware: &Hardware) -> Result<()> {
        for disk in &hardware.disks {
            let path = self.disk(&disk.name);
            if disk.device.is_none() && !path.exists() {
                let file = File::create_new(&path)?;
                file.set_len(disk.bytes)?;
                if disk.key {
                    write_key_table(&file, disk.bytes)?;
                }
            }
        }
        write_json(&self.folder.join("hardware.json"), hardware)
    }

    /// What the machine is made of.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn hardware(&self) -> Result<Hardware> {
        read_json(&self.folder.join("hardware.json"))?.context("no hardware.json")
    }

    /// The machine's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A disk's file.
    pub fn disk(&self, name: &str) -> PathBuf {
        self.folder.join("disks").join(name)
    }

    /// The folder that stands for the FAT file system on the key.
    pub fn key(&self) -> PathBuf {
        self.folder.join("key")
    }

    /// The ramdisk of the last boot, without what was mounted.
    pub fn ramdisk(&self) -> PathBuf {
        self.folder.join("boot/root")
    }

    /// The faults of the next boots.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_faults(&self, faults: &[Fault]) -> Result<()> {
        write_json(&self.folder.join("faults.json"), &faults)
    }

    /// All pools whose data exists.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn pools(&self) -> Result<Vec<Pool>> {
        Pool::read_all(&self.folder)
    }

    /// The folder with a file system's files; of the first pool of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn dataset(&self, name: &str) -> Result<PathBuf> {
        let (pool_name, rest) = split(name);
        let pools = self.pools()?;
        let pool = pools
            .iter()
            .find(|pool| pool.name == pool_name)
            .with_context(|| format!("no pool {pool_name}"))?;
        let dataset = pool.datasets.get(rest).with_context(|| format!("no dataset {name}"))?;
        Ok(pool.files(&self.folder, dataset))
    }

    /// Puts a pool on disks, as another system left it: the file systems are named below the pool, and `change` may do
    /// anything to it before it is written. Gives its number.
    ///
    /// # Errors
    /// When a disk cannot be written.
    pub fn plant_pool(
        &self,
        name: &str,
        disks: &[&str],
        file_systems: &[&str],
        change: impl FnOnce(&mut Pool),
    ) -> Result<u64> {
        let hardware = self.hardware()?;
        let planted = self.pools()?.len() as u64;
        let number = |salt: u64| 0x5eed_0000_0000_0001 + planted * 1000 + salt;
        let mut devices = Vec::new();
        for (at, disk) in disks.iter().enumerate() {
            let bytes = hardware.disk(disk).with_context(|| format!("no disk {disk}"))?.bytes;
            devices.push((number(at as u64 + 1), (bytes - (13 << 20)) >> 24 << 24));
        }
        let mut pool = Pool {
            guid: number(0),
            name: name.to_owned(),
            state: PoolState::Active,
            condition: Condition::Healthy,
            layout: Layout::Stripe,
            devices,
            properties: BTreeMap::new(),
            features: features(&hardware.era).map(|name| (name.to_owned(), "enabled".to_owned())).collect(),
            datasets: BTreeMap::new(),
            folders: 0,
            hostid: 0x00c0_ffee,
            hostname: "elsewhere".to_owned(),
            txg: 1000,
        };
        pool.add("", Kind::Filesystem, 1_400_000_000);
        for name in file_systems {
            pool.add(name, Kind::Filesystem, 1_400_000_000);
        }
        change(&mut pool);
        for (disk, (device, _)) in disks.iter().zip(&pool.devices) {
            let file = self.disk(disk);
            write_efi(&file)?;
            write_label(&file, &pool.label(*device, &format!("/dev/dsk/{disk}s0")))?;
        }
        pool.write(&self.folder)?;
        Ok(pool.guid)
    }

    /// Types commands on a machine that is switched on for them and off behind them, no services running.
    ///
    /// # Errors
    /// When it cannot be switched on, or the simulator refused something.
    pub fn commands(&self, commands: &[&[&str]]) -> Result<Vec<Output>> {
        let commands =
            commands.iter().map(|words| words.iter().map(|&word| word.to_owned()).collect()).collect();
        let boot = self.boot(&BootOptions { services: false, commands, ..BootOptions::default() })?;
        Ok(boot.outputs)
    }

    /// Switches the machine on, waits until all that can start has started, and switches it off.
    ///
    /// # Errors
    /// When it cannot be switched on.
    pub fn boot(&self, options: &BootOptions) -> Result<Boot> {
        let boot = self.folder.join("boot");
        match fs::remove_dir_all(&boot) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).context("an old boot stays");
            }
            _ => fs::create_dir_all(boot.join("root")).context("cannot make the ramdisk")?,
        }
        for log in ["commands.log", "complaints.log", "boot/console.log"] {
            File::create(self.folder.join(log))?;
        }
        let hardware = self.hardware()?;
        let programs = options.simulator.clone().map_or_else(Programs::build, Ok)?;
        let settings = options
            .settings
            .clone()
            .platform(hardware.era.stamp())
            .memory(hardware.memory)
            .disks(boot.join("disks"))
            .hostname(boot.join("hostname"));
        fs::write(boot.join("disks"), "")?;
        fs::write(boot.join("hostname"), "unknown\n")?;
        let root = Root::create(&boot.join("root"), &settings)?;
        skeleton::fill(root.folder(), &hardware, &programs.commands)?;
        fs::hard_link(boot.join("console.log"), root.folder().join("dev/console"))?;
        for (from, to) in &options.overlays {
            let to = root.host_path(to);
            fs::create_dir_all(&to)?;
            let done = Command::new("cp")
                .arg("-a")
                .arg(from.join("."))
                .arg(&to)
                .status()
                .context("cannot start cp")?;
            ensure!(done.success(), "cannot copy {}", from.display());
        }
        for (program, path) in &options.programs {
            // What lies there may be the simulator under another name, whose file must not be written to.
            let _ = fs::remove_file(root.host_path(path));
            root.install(program, path)?;
        }
        for path in &options.missing {
            fs::remove_file(root.host_path(path)).with_context(|| format!("{path} is missing anyway"))?;
        }
        let mut settings = root.settings();
        if options.power_failure.is_some() {
            settings = settings.killed(boot.join("killed"));
        }
        if !options.power_folders.is_empty() {
            let folders: Vec<(power::Kind, &str)> =
                options.power_folders.iter().map(|(kind, path)| (*kind, path.as_str())).collect();
            power::begin(&boot.join("power.log"), root.folder(), &folders)?;
            settings = settings.power(boot.join("power.log"));
        }
        let plan = Plan {
            launcher: kiln_shim::launcher(),
            services: options.services,
            methods: options.methods.clone(),
            commands: options.commands.clone(),
            cut: options
                .power_failure
                .and_then(|policy| power::Policy::ALL.iter().position(|one| *one == policy)),
            limit: options.limit,
        };
        write_json(&boot.join("plan.json"), &plan)?;
        let mut command = Command::new(programs.player);
        command.arg("boot").arg(&self.folder);
        settings.apply(&mut command);
        let output = process::run(&mut command, options.limit + Duration::from_mins(1))?;
        ensure!(
            output.status.success(),
            "the boot could not be played: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        self.read_boot()
    }

    fn read_boot(&self) -> Result<Boot> {
        let boot = self.folder.join("boot");
        let text = |name: &str| -> Result<String> {
            let bytes = fs::read(self.folder.join(name)).with_context(|| name.to_owned())?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let report: Report = read_json(&boot.join("report.json"))?.context("no report")?;
        let calls = text("commands.log")?
            .lines()
            .map(|line| serde_json::from_str(line).context("a line of commands.log"))
            .collect::<Result<Vec<Logged>>>()?;
        let mut logs = BTreeMap::new();
        let folder = boot.join("logs");
        if folder.is_dir() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().trim_end_matches(".log").to_owned();
                let fmri = format!("svc:/{}", name.replace('-', "/"));
                let known = |runtime: &Runtime| {
                    runtime.services.instances.keys().find(|fmri| log_name(fmri) == name).cloned()
                };
                let runtime: Option<Runtime> = read_json(&boot.join("runtime.json"))?;
                let fmri = runtime.as_ref().and_then(known).unwrap_or(fmri);
                logs.insert(fmri, String::from_utf8_lossy(&fs::read(entry.path())?).into_owned());
            }
        }
        Ok(Boot {
            runtime: read_json(&boot.join("runtime.json"))?.unwrap_or_default(),
            console: text("boot/console.log")?,
            logs,
            started: report.started,
            methods: report.methods,
            calls,
            complaints: text("complaints.log")?.lines().map(str::to_owned).collect(),
            outputs: report.outputs,
            power_failed: report.power_failed,
            hung: report.hung,
        })
    }
}

/// The name of a service's log, without `.log`: svc.startd puts a dash for each slash.
pub(crate) fn log_name(fmri: &str) -> String {
    fmri.trim_start_matches("svc:/").replace('/', "-")
}

/// The key's partition table, and as much of a FAT boot sector as tells what it is.
fn write_key_table(file: &File, bytes: u64) -> Result<()> {
    let mut mbr = [0u8; 512];
    mbr[446] = 0x80;
    mbr[446 + 4] = 0x0c;
    mbr[454..458].copy_from_slice(&2048u32.to_le_bytes());
    mbr[458..462].copy_from_slice(&u32::try_from(bytes / 512 - 2048).unwrap_or(u32::MAX).to_le_bytes());
    mbr[510..].copy_from_slice(&[0x55, 0xAA]);
    let mut boot = [0u8; 512];
    boot[..11].copy_from_slice(b"\xEB\x58\x90MSWIN4.1");
    // Blocks of 512 bytes, eight to a cluster, 32 before the first of two tables, on a hard disk.
    boot[11..17].copy_from_slice(&[0, 2, 8, 32, 0, 2]);
    boot[21] = 0xf8;
    boot[82..90].copy_from_slice(b"FAT32   ");
    boot[510..].copy_from_slice(&[0x55, 0xAA]);
    file.write_all_at(&mbr, 0)?;
    file.write_all_at(&boot, KEY_PARTITION)?;
    Ok(())
}

/// A static program of this crate, built unless it is up to date.
///
/// # Errors
/// When it does not compile.
pub fn static_program(name: &str) -> Result<PathBuf> {
    build(name, &["--target", STATIC])?;
    Ok(scratch::target_folder().join(STATIC).join("debug").join(name))
}

/// The program `real-machine`, which plays boots with real disks, built unless it is up to date.
///
/// # Errors
/// When it does not compile.
pub fn real_machine() -> Result<PathBuf> {
    build("real-machine", &[])?;
    Ok(scratch::target_folder().join("debug/real-machine"))
}

/// The program that plays the boot: the same one, but built for the host, with the shim in it.
fn player() -> Result<PathBuf> {
    build("simulator", &[])?;
    Ok(scratch::target_folder().join("debug/simulator"))
}

fn build(name: &str, target: &[&str]) -> Result<()> {
    // Once a process: asking cargo takes longer than a boot.
    static BUILT: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let key = format!("{name} {target:?}");
    if built.contains(&key) {
        return Ok(());
    }
    let mut cargo = guests::cargo();
    cargo.args(["build", "--quiet", "--locked", "--package", "kiln-simulator", "--bin", name]).args(target);
    let status = cargo.status().context("cannot start cargo")?;
    ensure!(status.success(), "{name} does not build");
    built.push(key);
    Ok(())
}
