//! One package after the other goes into the tree, in the steps of pkg_add.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use kiln_zstream::fs::tree::{Attributes, Kind, NodeId, Time};

use super::archive::{About, Contents, LIMITS, Member, MemberKind, Package};
use super::database::Database;
use super::first_boot::{Entry, FirstBoot};
use super::packing_list::{Check, File, PackingList, Step, below};
use super::pattern::{base, best, compile};
use super::place::{End, below_prefix, check_target, resolve};
use super::references::Shared;
use super::resolve::Planned;
use super::script::{Example, Folder, Owner, Script};
use super::spool::Spool;
use super::{InstallOptions, Installed, InstalledPackage, accounts};
use crate::report::Hint;
use crate::zone::accounts::Accounts;
use crate::zone::area::{Area, attributes};

/// The system that packages are for.
const SYSTEM: &str = "SunOS";

/// An installation under way.
pub(super) struct Installer<'a> {
    pub(super) area: Area<'a>,
    pub(super) database: Database,
    /// Which package each file is of.
    pub(super) owners: BTreeMap<Vec<u8>, String>,
    pub(super) installed: Installed,
    pub(super) time: Time,
    options: &'a InstallOptions<'a>,
    first_boot: &'a mut FirstBoot,
    accounts: Accounts,
    spool: Spool,
    /// The machine that packages are for, once one said so.
    machine: Option<String>,
}

/// A package that was read and found good.
struct Checked {
    list: PackingList,
    script: Option<Script>,
    contents: Contents,
    package: InstalledPackage,
}

impl<'a> Installer<'a> {
    pub(super) fn new(
        area: Area<'a>,
        options: &'a InstallOptions<'a>,
        first_boot: &'a mut FirstBoot,
    ) -> Result<Self> {
        let database = Database::open(&area, options.prefix)?;
        let machine = machine_of(&area, &database)?;
        Ok(Self {
            owners: database.owners(),
            accounts: Accounts::of(&area)?,
            spool: Spool::new(options.scratch.file()?),
            installed: Installed::default(),
            time: options.time,
            area,
            database,
            options,
            first_boot,
            machine,
        })
    }

    /// Notes that somebody asked for a package that is there already.
    pub(super) fn keep(&mut self, name: &str) -> Result<()> {
        self.database.mark(&mut self.area, name, false, self.time)
    }

    /// Installs a package, and says how many files and links it has.
    pub(super) fn install(&mut self, planned: &Planned) -> Result<usize> {
        let Checked { list, script, contents, package } = self.read(planned)?;
        self.check(&list, planned.replaces.as_deref())?;
        let name = &list.name;
        let mut kept = About::new();
        if let Some(old) = &planned.replaces {
            kept = self.remove(old)?;
        }
        let empty = Script::default();
        let data = script.as_ref().unwrap_or(&empty);
        self.before_files(name, &list, data).context("+INSTALL")?;
        self.put_files(&list, contents.members)?;
        self.after_files(name, &list, data).context("+INSTALL")?;

        let mut about = contents.about;
        for (file, bytes) in kept {
            about.entry(file).or_insert(bytes);
        }
        let needs = self.needs(&list)?;
        self.owners.extend(list.files().map(|file| (list.absolute(&file.path), name.clone())));
        for step in &list.steps {
            if let Step::Run(command) = step {
                self.queue_command(name, command)?;
            }
        }
        self.queue_script(name, &list, data)?;
        let name = name.clone();
        self.database.record(&mut self.area, list, &about, &data.helpers, self.time)?;
        if !package.automatic || planned.replaces.is_none() {
            self.database.mark(&mut self.area, &name, package.automatic, self.time)?;
        }
        self.database.require(&mut self.area, &name, &needs, self.time)?;
        let files = package.files;
        self.installed.packages.push(package);
        Ok(files)
    }

    /// Ends the installation: what is a copy of the database, or of the repository's, is not right any more.
    pub(super) fn finish(mut self, changed: bool) -> Result<Installed> {
        if changed {
            let cache = below(&self.database.folder, b"pkgdb.byfile.db");
            self.area.remove(&cache);
            self.area.remove(b"/var/db/pkgin");
            let tool = format!("{}/sbin/pkg_admin", self.options.prefix);
            let folder = text(&self.database.folder)?;
            let command = vec![tool, "-K".into(), folder, "rebuild".into()];
            let why = "the list of which package each file is of (pkgdb.byfile.db)".into();
            self.first_boot.push_once(Entry { why, commands: vec![command], ..Entry::default() });
        }
        Ok(self.installed)
    }

    /// Fetches and reads a package and checks it against its signature, its name and its packing list.
    fn read(&mut self, planned: &Planned) -> Result<Checked> {
        let name = &planned.candidate.name;
        let (file, length) = self.options.repository.open(&planned.candidate)?;
        let archive = Package::open(&file, length)?;
        let signer = archive.verify(self.options.trust)?;
        let wrong = |kind: &str, other: &str| {
            Err(anyhow!("the {kind} is that of {other}"))
                .hint("the repository is damaged, or somebody changed it")
        };
        if let Some(other) = archive.signed_name().filter(|other| other != name) {
            return wrong("signature", other);
        }
        let contents = archive.read(LIMITS, &mut self.spool)?;
        let list = contents.about.get("+CONTENTS").context("+CONTENTS is missing")?;
        let list = PackingList::parse(list).context("+CONTENTS")?;
        if list.name != *name {
            return wrong("package", &list.name);
        }
        if list.prefix != self.options.prefix.as_bytes() {
            let prefix = String::from_utf8_lossy(&list.prefix).into_owned();
            return Err(anyhow!("it is made for {prefix}, and not for {}", self.options.prefix))
                .hint("take packages of the branch that the image's bootstrap is of");
        }
        for unknown in &list.unknown {
            self.installed
                .notes
                .push(format!("the packing list of {name} has a line that is not understood: {unknown}"));
        }
        self.check_machine(&contents.about)?;
        let script = contents.about.get("+INSTALL").map(|text| Script::read(text)).transpose()?;
        let files = list.files().count();
        let (automatic, replaces) = (planned.automatic, planned.replaces.clone());
        let package = InstalledPackage { name: name.clone(), automatic, replaces, files, signer };
        Ok(Checked { list, script, contents, package })
    }

    /// Packages are for one system and one kind of machine.
    fn check_machine(&mut self, about: &About) -> Result<()> {
        let Some(info) = about.get("+BUILD_INFO") else { bail!("+BUILD_INFO is missing") };
        let system = value(info, "OPSYS").unwrap_or_default();
        ensure!(system == SYSTEM, "it is made for the system {system:?}, and not for {SYSTEM}");
        let machine = value(info, "MACHINE_ARCH").unwrap_or_default();
        let expected = self.machine.get_or_insert_with(|| machine.clone());
        ensure!(machine == *expected, "it is made for {machine}, and others in the image for {expected}");
        Ok(())
    }

    /// What the index of the repository could not promise: the package itself says what it conflicts with, and which files it has.
    fn check(&self, list: &PackingList, replaces: Option<&str>) -> Result<()> {
        let others = || self.database.packages.iter().filter(|(name, _)| Some(name.as_str()) != replaces);
        for pattern in &list.conflicts {
            let compiled = compile(pattern)?;
            if let Some((other, _)) = others().find(|(other, _)| compiled.matches(other)) {
                bail!("it conflicts with {pattern}, and {other} is installed");
            }
        }
        for (other, theirs) in others() {
            for pattern in &theirs.conflicts {
                ensure!(
                    !compile(pattern)?.matches(&list.name),
                    "{other} is installed, which conflicts with {pattern}"
                );
            }
        }
        for file in list.files() {
            let path = list.absolute(&file.path);
            let other = self.owners.get(&path).filter(|owner| Some(owner.as_str()) != replaces);
            if let Some(other) = other {
                bail!("its file {} is there already, as one of {other}", String::from_utf8_lossy(&path));
            }
        }
        Ok(())
    }

    /// The installed packages that are what it needs.
    fn needs(&self, list: &PackingList) -> Result<Vec<String>> {
        let mut needs = Vec::new();
        for pattern in &list.depends {
            let names = self.database.packages.keys().map(String::as_str);
            let Some(found) = best(&compile(pattern)?, names)? else {
                return Err(anyhow!(
                    "it needs {pattern}, of which the index of the repository does not know"
                ))
                .hint("make the index of the repository anew, or remove it");
            };
            if !needs.iter().any(|known| known == found) {
                needs.push(found.to_owned());
            }
        }
        Ok(needs)
    }

    /// What a script does before files are there: groups, users and folders.
    fn before_files(&mut self, name: &str, list: &PackingList, script: &Script) -> Result<()> {
        for (group, number) in &script.groups {
            let present = self.accounts.groups.contains_key(group);
            Shared::Group(group).claim(&mut self.area, &self.database, name, present, None, self.time)?;
            if accounts::ensure_group(&mut self.area, group, *number, self.time)? {
                self.installed.groups.push(group.clone());
                self.accounts = Accounts::of(&self.area)?;
            }
        }
        for user in &script.users {
            let present = self.accounts.users.contains_key(&user.name);
            Shared::User(&user.name).claim(&mut self.area, &self.database, name, present, None, self.time)?;
            if accounts::ensure_user(&mut self.area, user, base(name), &script.defaults, self.time)? {
                self.installed.users.push(user.name.clone());
                self.accounts = Accounts::of(&self.area)?;
            }
        }
        for Folder { path, make, owner } in &script.folders {
            let path = list.absolute(path);
            let present = self.kind(&path)?.is_some_and(|kind| matches!(kind, Kind::Directory(_)));
            let [mode, user, group] = &owner.text;
            let permissions = (!owner.is_empty()).then(|| format!("{user} {group} {mode}"));
            Shared::Folder(&path).claim(
                &mut self.area,
                &self.database,
                name,
                present,
                permissions,
                self.time,
            )?;
            if *make {
                let node = self.make_folder(&path)?;
                self.set_owner(node, owner)?;
            }
        }
        Ok(())
    }

    /// Puts the files and links of a package where its packing list has them. Both name the same in the same order.
    fn put_files(&mut self, list: &PackingList, members: Vec<Member>) -> Result<()> {
        let mut members = members.into_iter();
        for step in &list.steps {
            match step {
                Step::Folder(path) => {
                    self.make_folder(&below(&list.prefix, path))?;
                }
                Step::File(file) => {
                    let shown = || String::from_utf8_lossy(&file.path).into_owned();
                    let member =
                        members.next().with_context(|| format!("{} is not in the package", shown()))?;
                    if member.path != file.path {
                        let other = String::from_utf8_lossy(&member.path);
                        bail!("the packing list has {} where the package has {other}", shown());
                    }
                    self.put_file(list, file, member).with_context(shown)?;
                }
                Step::Run(_) => {}
            }
        }
        match members.next() {
            Some(other) => bail!("{} is not in the packing list", String::from_utf8_lossy(&other.path)),
            None => Ok(()),
        }
    }

    fn put_file(&mut self, list: &PackingList, file: &File, member: Member) -> Result<()> {
        let path = below_prefix(&self.area, &list.prefix, &list.absolute(&file.path))?;
        let time = Time { seconds: member.modified, nanoseconds: 0 };
        let uid = self.owner(file.owner.as_deref(), &member.user, Accounts::uid, "user")?;
        let gid = self.owner(file.group.as_deref(), &member.group, Accounts::gid, "group")?;
        let attributes = attributes(file.mode.unwrap_or(member.permissions), uid, gid, time);
        match member.kind {
            MemberKind::File(contents) => {
                if let Some(Check::Md5(md5)) = &file.check {
                    let found = &contents.md5;
                    ensure!(
                        md5 == found,
                        "its contents have the MD5 {found}, and not {md5} as in the packing list"
                    );
                }
                self.area.put(&path, attributes, Kind::File(Arc::new(contents.stored)))?;
            }
            MemberKind::Symlink(target) => {
                if let Some(Check::Symlink(listed)) = &file.check {
                    ensure!(*listed == target, "the link leads elsewhere than the packing list says");
                }
                check_target(&path, &target)?;
                self.area.put(&path, attributes, Kind::Symlink(target))?;
            }
            MemberKind::Link(target) => {
                let target = below_prefix(&self.area, &list.prefix, &list.absolute(&target))?;
                let node = self.area.find(&target).context("what it is a link to is not there")?;
                // Whatever is there makes room: the way that put has, and then the name for the other node.
                self.area.put(&path, attributes, Kind::Fifo)?;
                self.area.remove(&path);
                let slash = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
                let folder = self.area.find(&path[..slash]).context("its folder is not there")?;
                self.area.tree.link(folder, &path[slash + 1..], node)?;
            }
            MemberKind::Folder => {
                let node = self.area.make_folders(&path, attributes)?;
                *self.area.tree.attributes_mut(node) = attributes;
            }
        }
        Ok(())
    }

    /// The owner of a file: that of the packing list, or that in the archive by name, or else by number.
    fn owner(
        &self,
        listed: Option<&str>,
        (number, name): &(u32, Vec<u8>),
        look_up: impl Fn(&Accounts, &str) -> Option<u32>,
        kind: &str,
    ) -> Result<u32> {
        if let Some(listed) = listed {
            return look_up(&self.accounts, listed)
                .ok_or_else(|| anyhow!("there is no {kind} {listed} in the image"));
        }
        let name = str::from_utf8(name).unwrap_or_default();
        // A name of digits is no name here: the number beside it is what was meant.
        let known = name.starts_with(|first: char| !first.is_ascii_digit());
        Ok(known.then(|| look_up(&self.accounts, name)).flatten().unwrap_or(*number))
    }

    /// What a script does when files are there: examples are copied, owners and modes set, shells registered.
    fn after_files(&mut self, name: &str, list: &PackingList, script: &Script) -> Result<()> {
        for example in &script.files {
            self.copy_example(name, list, example)
                .with_context(|| String::from_utf8_lossy(&example.path).into_owned())?;
        }
        for (path, owner) in &script.permissions {
            let place = resolve(&self.area, &list.absolute(path), End::Target)?;
            if let Some(node) = self.area.find(&place) {
                self.set_owner(node, owner)?;
            }
        }
        for shell in &script.shells {
            self.register_shell(&list.absolute(shell))?;
        }
        Ok(())
    }

    fn copy_example(&mut self, name: &str, list: &PackingList, example: &Example) -> Result<()> {
        let path = list.absolute(&example.path);
        let present = self.kind(&path)?.is_some_and(|kind| matches!(kind, Kind::File(_)));
        let [mode, user, group] = &example.owner.text;
        let permissions = (!example.owner.is_empty()).then(|| format!("{mode} {user} {group}"));
        Shared::File(&path).claim(&mut self.area, &self.database, name, present, permissions, self.time)?;
        if present || !example.copy {
            return Ok(());
        }
        let source = list.absolute(&example.source);
        let (permissions, contents) = if source == b"/dev/null" {
            (0o644, Kind::File(Arc::new(Vec::new())))
        } else {
            let place = resolve(&self.area, &source, End::Target)?;
            let Some(node) = self.area.find(&place).map(|node| self.area.tree.node(node)) else {
                return Ok(());
            };
            if !matches!(node.kind, Kind::File(_)) {
                return Ok(());
            }
            // As cp with the umask of root.
            (node.attributes.permissions & 0o755, node.kind.clone())
        };
        let place = resolve(&self.area, &path, End::Itself)?;
        let node = self.area.put(&place, attributes(permissions, 0, 0, self.time), contents)?;
        self.set_owner(node, &example.owner)
    }

    /// Adds a shell to `/etc/shells`, if both are there and it is not listed yet.
    fn register_shell(&mut self, shell: &[u8]) -> Result<()> {
        const SHELLS: &[u8] = b"/etc/shells";
        let Some(mut text) = self.area.read(SHELLS, 1 << 20)? else { return Ok(()) };
        let there = self.kind(shell)?.is_some_and(|kind| matches!(kind, Kind::File(_)));
        if !there || text.split(|&byte| byte == b'\n').any(|line| line == shell) {
            return Ok(());
        }
        if text.last().is_some_and(|&last| last != b'\n') {
            text.push(b'\n');
        }
        text.extend_from_slice(shell);
        text.push(b'\n');
        self.area.write(SHELLS, attributes(0o644, 0, 0, self.time), text)?;
        Ok(())
    }

    /// Leaves a command of a packing list to the first boot.
    fn queue_command(&mut self, name: &str, command: &[u8]) -> Result<()> {
        let command = vec!["/bin/sh".to_owned(), "-c".to_owned(), text(command)?];
        self.first_boot.push(Entry {
            why: format!("{name}: a command of its packing list (@exec)"),
            folder: Some(self.options.prefix.to_owned()),
            environment: BTreeMap::new(),
            commands: vec![command],
        });
        Ok(())
    }

    /// Leaves what a script has beyond data, or services that it has to import, to the first boot.
    ///
    /// Manifests are imported by the command that the script has for it, and not copied to `/var/svc/manifest/site`: there they would
    /// stay when the package is removed or replaced, and speak against the manifest of its next version.
    fn queue_script(&mut self, name: &str, list: &PackingList, script: &Script) -> Result<()> {
        if let Some(why) = &script.beyond {
            let folder = text(&self.database.folder_of(name))?;
            let environment = [
                ("PKG_PREFIX", self.options.prefix.to_owned()),
                ("PKG_METADATA_DIR", folder.clone()),
                ("PKG_REFCOUNT_DBDIR", text(&self.database.references)?),
            ];
            let command = vec![format!("{folder}/+INSTALL"), name.to_owned(), "POST-INSTALL".to_owned()];
            self.first_boot.push(Entry {
                why: format!("{name}: its script +INSTALL; {why}"),
                folder: Some(folder),
                environment: environment.map(|(name, value)| (name.to_owned(), value)).into(),
                commands: vec![command],
            });
        }
        for manifest in &script.manifests {
            let path = list.absolute(manifest);
            let shown = text(&path)?;
            ensure!(self.kind(&path)?.is_some(), "+INSTALL imports {shown}, which is not there");
            let command = ["/usr/sbin/svccfg", "import", &shown].map(ToOwned::to_owned).to_vec();
            let why = format!("{name}: its services");
            self.first_boot.push(Entry { why, commands: vec![command], ..Entry::default() });
        }
        Ok(())
    }

    /// What a path leads to in the end.
    fn kind(&self, path: &[u8]) -> Result<Option<&Kind>> {
        let place = resolve(&self.area, path, End::Target)?;
        Ok(self.area.find(&place).map(|node| &self.area.tree.node(node).kind))
    }

    fn make_folder(&mut self, path: &[u8]) -> Result<NodeId> {
        let place = resolve(&self.area, path, End::Target)?;
        Ok(self.area.make_folders(&place, attributes(0o755, 0, 0, self.time))?)
    }

    fn set_owner(&mut self, node: NodeId, owner: &Owner) -> Result<()> {
        let Attributes { permissions, uid, gid, .. } = self.area.tree.node(node).attributes;
        let user = owner.user.as_deref();
        let group = owner.group.as_deref();
        let uid = self.owner(user, &(uid, Vec::new()), Accounts::uid, "user")?;
        let gid = self.owner(group, &(gid, Vec::new()), Accounts::gid, "group")?;
        let of_node = self.area.tree.attributes_mut(node);
        (of_node.uid, of_node.gid) = (uid, gid);
        of_node.permissions = owner.mode.unwrap_or(permissions);
        Ok(())
    }
}

impl Owner {
    fn is_empty(&self) -> bool {
        self.text.iter().all(String::is_empty)
    }
}

/// The machine that the packages in an image are for.
fn machine_of(area: &Area<'_>, database: &Database) -> Result<Option<String>> {
    for name in database.packages.keys() {
        if let Some(info) = database.read(area, name, "+BUILD_INFO")? {
            return Ok(value(&info, "MACHINE_ARCH"));
        }
    }
    Ok(None)
}

/// A value of `+BUILD_INFO`, lines of `NAME=VALUE`.
fn value(info: &[u8], name: &str) -> Option<String> {
    let info = String::from_utf8_lossy(info);
    let mut values = info.lines().filter_map(|line| line.split_once('='));
    values.find(|(known, _)| *known == name).map(|(_, value)| value.trim().to_owned())
}

fn text(bytes: &[u8]) -> Result<String> {
    let text = String::from_utf8(bytes.to_vec());
    text.map_err(|_| anyhow!("{} is no text", String::from_utf8_lossy(bytes).escape_debug()))
}
