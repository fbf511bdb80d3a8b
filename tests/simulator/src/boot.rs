//! Plays a boot: the part of svc.startd, in namespaces of its own. When they are left the machine is off.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kiln_shim::power;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::wait;
use nix::unistd::{Pid, getegid, geteuid};

use crate::machine::{Method, Output, Plan, Report, log_name};
use crate::services::methods::manifests;
use crate::services::{State, read_manifest, stock};
use crate::world::{append, read_json, write_json};
use crate::{World, fat, real};

/// How often svc.startd starts a method that fails before it gives up.
const TRIES: u32 = 3;
/// The exit statuses that end a service at once: SMF_EXIT_ERR_FATAL, _CONFIG, _NOSMF, _PERM.
const FATAL: [i32; 4] = [95, 96, 99, 100];

/// `simulator boot MACHINE`: enters namespaces and plays in them.
///
/// # Errors
/// When that is not allowed, or the boot cannot be played.
pub fn enter(machine: &Path) -> Result<()> {
    let (user, group) = (geteuid(), getegid());
    let mut flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID;
    flags.set(CloneFlags::CLONE_NEWUSER, !user.is_root());
    unshare(flags).context("namespaces are not allowed here")?;
    if !user.is_root() {
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
        fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
    }
    // The first child is the first process of the new namespace: everything in there dies with it.
    let own = std::env::current_exe().context("cannot find this program")?;
    let status = Command::new(own).arg("startd").arg(machine).status().context("cannot start svc.startd")?;
    ensure!(status.success(), "svc.startd: {status}");
    Ok(())
}

/// `simulator startd MACHINE`, inside.
///
/// # Errors
/// When the boot cannot be played.
pub fn startd(machine: &Path) -> Result<()> {
    let plan: Plan = read_json(&machine.join("boot/plan.json"))?.context("no plan")?;
    let root = machine.join("boot/root");
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .context("cannot keep mounts apart")?;
    let inside = root.join(".simulator");
    fs::create_dir_all(&inside)?;
    mount(Some(machine), &inside, none, MsFlags::MS_BIND, none)
        .context("cannot mount the machine's folder")?;
    if World::load(machine, &root)?.has_real_disks() {
        real::open_way_out(&inside)?;
    }
    let mut startd = Startd {
        machine: machine.to_owned(),
        root,
        end: Instant::now() + plan.limit,
        plan,
        report: Report::default(),
    };
    startd.switch_on()?;
    let ended = startd.run()?;
    match ended {
        Ended::Done => {}
        Ended::PowerFailed => startd.report.power_failed = true,
        Ended::Hung(what) => startd.report.hung = Some(what),
    }
    startd.switch_off()
}

struct Startd {
    machine: PathBuf,
    root: PathBuf,
    plan: Plan,
    end: Instant,
    report: Report,
}

/// How playing ended.
enum Ended {
    Done,
    PowerFailed,
    Hung(String),
}

/// How a process ended.
enum Exit {
    /// With a status, or by a signal.
    Status(Option<i32>),
    PowerFailed,
    TimeIsUp,
}

impl Startd {
    /// Does something to the state.
    fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> Result<T> {
        let mut world = World::load(&self.machine, &self.root)?;
        let result = act(&mut world);
        world.store()?;
        Ok(result)
    }

    /// The state before any service: the ramdisk, the platform's services, and the manifests of the boot archive.
    fn switch_on(&self) -> Result<()> {
        let folder = self.machine.to_str().context("the machine's path is no text")?.to_owned();
        let mut hostid = [0; 4];
        File::open("/dev/urandom")?.read_exact(&mut hostid)?;
        let found = manifests(&self.root.join("lib/svc/manifest"), 4);
        self.with(|world| {
            world.runtime.host.machine = folder;
            world.runtime.storage.hostid = u32::from_le_bytes(hostid) | 1;
            world.write_mnttab();
            let services = &mut world.runtime.services;
            for service in stock(&world.hardware.era) {
                services.instances.insert(service.fmri.clone(), service);
            }
            for file in found {
                let text = fs::read_to_string(&file).map_err(|error| error.to_string());
                match text.and_then(|text| read_manifest(&text)) {
                    Ok(manifest) => world.runtime.services.import(manifest),
                    Err(error) => {
                        world
                            .console(&format!("svccfg: couldn't parse document {}: {error}", file.display()));
                    }
                }
            }
        })
    }

    fn run(&mut self) -> Result<Ended> {
        for fmri in self.plan.methods.clone() {
            if let Some(ended) = self.start(&fmri)? {
                return Ok(ended);
            }
        }
        while self.plan.services {
            let (ready, orders) = self.with(|world| {
                let services = &mut world.runtime.services;
                (services.ready(), std::mem::take(&mut services.orders))
            })?;
            if orders.is_empty() && ready.is_empty() {
                break;
            }
            for (fmri, order) in orders {
                if let Some(ended) = self.obey(&fmri, &order)? {
                    return Ok(ended);
                }
            }
            if let Some(fmri) = ready.first()
                && let Some(ended) = self.start(fmri)?
            {
                return Ok(ended);
            }
        }
        for words in self.plan.commands.clone() {
            let out = self.machine.join("boot/typed.out");
            let err = self.machine.join("boot/typed.err");
            let mut command = self.in_root(&words);
            command.stdout(File::create(&out)?).stderr(File::create(&err)?);
            let child = command.spawn().context("cannot start the launcher")?;
            match self.wait(child)? {
                Exit::PowerFailed => return Ok(Ended::PowerFailed),
                Exit::TimeIsUp => return Ok(Ended::Hung(words.join(" "))),
                Exit::Status(status) => {
                    let text =
                        |path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                    self.report.outputs.push(Output { status, stdout: text(&out)?, stderr: text(&err)? });
                }
            }
        }
        Ok(Ended::Done)
    }

    /// Carries out what svcadm asked for.
    fn obey(&mut self, fmri: &str, order: &str) -> Result<Option<Ended>> {
        let method = self.with(|world| {
            let service = world.runtime.services.instances.get_mut(fmri)?;
            match order {
                "restart" if service.state == State::Online => {
                    service.state = State::Offline;
                    service.methods.get("stop").cloned()
                }
                "refresh" => {
                    service.running = service.properties.clone();
                    // ipfilter's is in the platform's manifest, reload by name.
                    let reload = fmri == "svc:/network/ipfilter:default" && service.state == State::Online;
                    service
                        .methods
                        .get("refresh")
                        .cloned()
                        .or(reload.then(|| "/lib/svc/method/ipfilter reload".into()))
                }
                _ => None,
            }
        })?;
        match method {
            None => Ok(None),
            Some(line) => Ok(self.method(fmri, order, &line)?.err()),
        }
    }

    /// Starts a service; gives how playing ended if it did.
    fn start(&mut self, fmri: &str) -> Result<Option<Ended>> {
        let line = self.with(|world| {
            world
                .runtime
                .services
                .instances
                .get(fmri)
                .and_then(|service| service.methods.get("start").cloned())
        })?;
        let Some(line) = line.filter(|line| line != ":true") else {
            self.settle(fmri, State::Online, None)?;
            return Ok(None);
        };
        self.report.started.push(fmri.to_owned());
        for _ in 0..TRIES {
            let status = match self.method(fmri, "start", &line)? {
                Ok(status) => status,
                Err(ended) => return Ok(Some(ended)),
            };
            match status {
                Some(0 | 94) => {
                    self.settle(fmri, State::Online, status)?;
                    return Ok(None);
                }
                Some(status) if FATAL.contains(&status) => break,
                _ => {}
            }
            self.settle(fmri, State::Offline, status)?;
        }
        self.settle(fmri, State::Maintenance, None)?;
        self.with(|world| world.console(&format!("svc.startd: {fmri}: in maintenance")))?;
        Ok(None)
    }

    /// Writes down how a start ended; what the method itself asked for (disabling itself) stays.
    fn settle(&self, fmri: &str, state: State, status: Option<i32>) -> Result<()> {
        self.with(|world| {
            if let Some(service) = world.runtime.services.instances.get_mut(fmri) {
                service.state = if service.enabled { state } else { State::Disabled };
                service.exit = status.or(service.exit);
            }
        })
    }

    /// Runs a method with the environment of smf_method(5); its output goes where svc.startd puts it.
    fn method(&mut self, fmri: &str, name: &str, line: &str) -> Result<Result<Option<i32>, Ended>> {
        let words: Vec<String> =
            line.split_whitespace().map(|word| if word == "%m" { name } else { word }.to_owned()).collect();
        let mut log = self.log(fmri)?;
        writeln!(log, "[ Executing {name} method (\"{}\"). ]", words.join(" "))?;
        let begin = log.stream_position()?;
        let status = if self.root.join(words[0].trim_start_matches('/')).exists() {
            let mut command = self.in_root(&words);
            command.env("SMF_FMRI", fmri).env("SMF_METHOD", name);
            command.env("SMF_RESTARTER", "svc:/system/svc/restarter:default").env("SMF_ZONENAME", "global");
            command.env("PATH", "/usr/sbin:/usr/bin").stdout(log.try_clone()?).stderr(log.try_clone()?);
            let (called, begun) = (self.called()?, Instant::now());
            let child = command.spawn().context("cannot start the launcher")?;
            match self.wait(child)? {
                Exit::Status(status) => {
                    let (commands, took) = (self.called()? - called, begun.elapsed());
                    let (fmri, name) = (fmri.to_owned(), name.to_owned());
                    self.report.methods.push(Method { fmri, name, commands, took });
                    Ok(status)
                }
                Exit::PowerFailed => Err(Ended::PowerFailed),
                Exit::TimeIsUp => Err(Ended::Hung(fmri.to_owned())),
            }
        } else {
            writeln!(log, "svc.startd could not set context for method: No such file or directory")?;
            Ok(Some(96))
        };
        self.keep_log(fmri, log, begin)?;
        Ok(status)
    }

    /// How many commands have been called so far.
    fn called(&self) -> Result<usize> {
        let log = fs::read_to_string(self.machine.join("commands.log")).context("no log of commands")?;
        Ok(log.lines().count())
    }

    /// The service's log: below /var once fs-minimal has run, else in /etc/svc/volatile.
    fn log(&self, fmri: &str) -> Result<File> {
        let is_late = self.with(|world| {
            let minimal = world.runtime.services.instances.get("svc:/system/filesystem/minimal:default");
            minimal.is_some_and(|service| service.state == State::Online)
        })?;
        let name = format!("{}.log", log_name(fmri));
        let early = self.root.join("etc/svc/volatile").join(&name);
        let open = |path: &Path| File::options().create(true).append(true).read(true).open(path);
        let late = self.root.join("var/svc/log").join(&name);
        let file = if is_late { open(&late) } else { open(&early) };
        let mut file = file.or_else(|_| open(&early)).context("no log can be written")?;
        file.seek(SeekFrom::End(0))?;
        Ok(file)
    }

    /// Copies what a method wrote to where the host finds it when /var is gone.
    fn keep_log(&self, fmri: &str, mut log: File, begin: u64) -> Result<()> {
        let mut text = Vec::new();
        log.seek(SeekFrom::Start(begin))?;
        log.read_to_end(&mut text)?;
        let folder = self.machine.join("boot/logs");
        fs::create_dir_all(&folder)?;
        let file = folder.join(format!("{}.log", log_name(fmri)));
        File::options().create(true).append(true).open(file)?.write_all(&text)?;
        Ok(())
    }

    /// A program in the root, by the launcher of the shim; the environment has the shim's settings only.
    fn in_root(&self, words: &[String]) -> Command {
        let mut command = Command::new(&self.plan.launcher);
        command.arg("--root").arg(&self.root).args(words).env_clear().stdin(Stdio::null());
        let shim = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ABI_SHIM_"));
        command.envs(shim).env("PATH", "/usr/sbin:/usr/bin:/sbin");
        command
    }

    fn wait(&self, mut child: Child) -> Result<Exit> {
        loop {
            let ended = child.try_wait().context("cannot wait for a process")?;
            if self.machine.join("boot/killed").exists() {
                return Ok(Exit::PowerFailed);
            }
            if let Some(status) = ended {
                return Ok(Exit::Status(status.code()));
            }
            if Instant::now() > self.end {
                return Ok(Exit::TimeIsUp);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends every process; then, if the power failed, does to the folders what that does, while they are still mounted.
    fn switch_off(&self) -> Result<()> {
        // As the first process of its namespace it reaches all others and not itself. Nobody may be left: then that fails.
        let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
        while wait().is_ok() {}
        let log = self.machine.join("boot/power.log");
        if self.report.power_failed && log.exists() {
            let policy =
                self.plan.cut.and_then(|at| power::Policy::ALL.get(at)).unwrap_or(&power::Policy::Drop);
            power::cut(&log, *policy)?;
        }
        for problem in fat::impossible(&self.machine.join("key"))? {
            append(&self.machine.join("complaints.log"), &format!("simulator: on the key, {problem}"))?;
        }
        write_json(&self.machine.join("boot/report.json"), &self.report)
    }
}
