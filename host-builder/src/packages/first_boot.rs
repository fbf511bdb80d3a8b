//! What cannot be done while an image is built, and is done when a zone of it boots for the first time.
//!
//! The queue keeps its order. It becomes a script in `/etc/rc2.d`, which `svc:/milestone/multi-user` runs; zoneinit, which ends the
//! provisioning of a zone, waits for that milestone (its manifest, `zoneinit.xml`), and so do the scripts of seeds that come later
//! in the same folder (`S98mdata`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Result, ensure};
use kiln_zstream::fs::tree::Time;
use serde::Serialize;

use super::database::put;
use crate::zone::area::Area;

/// The script in an image.
pub const SCRIPT: &str = "/etc/rc2.d/S90kiln-first-boot";
/// Where it notes which entries are done. Gone when all are.
const STATE: &str = "/var/db/kiln/first-boot";
/// Where it writes down what it did.
const LOG: &str = "/var/log/kiln-first-boot.log";

/// What is left to do at the first boot, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct FirstBoot {
    entries: Vec<Entry>,
}

/// Something to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// What for, in a few words.
    pub why: String,
    /// The folder that it is done in; the top when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Variables of its environment.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Commands with their arguments, run one after the other until one fails. All of them have to be safe to repeat: a boot may be
    /// cut short in the middle.
    pub commands: Vec<Vec<String>>,
}

impl FirstBoot {
    /// Adds an entry at the end.
    pub fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Adds an entry at the end that is to be done once for all before it: an equal one that is there moves.
    pub fn push_once(&mut self, entry: Entry) {
        self.entries.retain(|known| *known != entry);
        self.entries.push(entry);
    }

    /// The entries in their order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Puts the script into an image; nothing when there is nothing to do.
    ///
    /// # Errors
    /// A command cannot be written as a line of a shell, or something is in the way.
    pub fn put(&self, area: &mut Area<'_>, prefix: &str, time: Time) -> Result<()> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let script = self.script("", prefix)?;
        put(area, SCRIPT.as_bytes(), 0o744, script.into_bytes(), time)
    }

    /// The script, with its own files below `root`.
    fn script(&self, root: &str, prefix: &str) -> Result<String> {
        let mut text = format!(
            r#"#!/sbin/sh
#
# Does what could not be done while this image was built. milestone/multi-user runs it at the first boot, before zoneinit.
# A file in $state marks each entry that is done, so that a boot that is cut short is continued by the next one.
# An entry that fails is written down and not tried again. In the end this script removes itself; $log remains.

[ "$1" = start ] || exit 0

state={root}{STATE}
log={root}{LOG}
PATH={prefix}/sbin:{prefix}/bin:/usr/sbin:/usr/bin:/sbin
export PATH
umask 022
mkdir -p "$state"

say()
{{
	echo "`date -u '+%Y-%m-%dT%H:%M:%SZ'` $*" >> "$log"
}}

waits()
{{
	[ ! -f "$state/$1" ]
}}

ended()
{{
	say "$1: status $2"
	echo "$2" > "$state/new" && mv "$state/new" "$state/$1"
}}
"#
        );
        for (index, entry) in self.entries.iter().enumerate() {
            entry.render(index + 1, &mut text)?;
        }
        let count = self.entries.len();
        write!(
            text,
            r#"
failed=
number=1
while [ $number -le {count} ]; do
	[ "`cat "$state/$number"`" = 0 ] || failed="$failed $number"
	number=`expr $number + 1`
done
say "all {count} done, failed:${{failed:- none}}"
sync
rm -f {root}{SCRIPT}
rm -rf "$state"
"#
        )?;
        Ok(text)
    }
}

impl Entry {
    fn render(&self, number: usize, text: &mut String) -> Result<()> {
        let why = quoted(&self.why.replace('\n', " "))?;
        write!(text, "\nif waits {number}; then\n\tsay {number}: {why}\n\t(\n")?;
        writeln!(text, "\t\tcd {} || exit", quoted(self.folder.as_deref().unwrap_or("/"))?)?;
        for (name, value) in &self.environment {
            let fit = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            ensure!(fit && !name.is_empty(), "{name:?} is no name of a variable");
            writeln!(text, "\t\t{name}={}; export {name}", quoted(value)?)?;
        }
        for command in &self.commands {
            let words = command.iter().map(|word| quoted(word)).collect::<Result<Vec<_>>>()?;
            writeln!(text, "\t\t{} || exit", words.join(" "))?;
        }
        write!(text, "\t) < /dev/null >> \"$log\" 2>&1\n\tended {number} $?\nfi\n")?;
        Ok(())
    }
}

/// A word for a shell, whatever is in it.
fn quoted(word: &str) -> Result<String> {
    ensure!(!word.contains('\0'), "{word:?} cannot be said to a shell");
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._+-=:@,".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return Ok(word.to_owned());
    }
    Ok(format!("'{}'", word.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    use super::*;

    fn entry(why: &str, script: &str) -> Entry {
        let command = ["/bin/sh", "-c", script].map(ToOwned::to_owned).to_vec();
        Entry { why: why.into(), commands: vec![command], ..Entry::default() }
    }

    /// Writes the script below `root` and runs it as a boot does.
    fn write(queue: &FirstBoot, root: &Path) -> std::path::PathBuf {
        let root = root.to_str().unwrap();
        let script = std::path::PathBuf::from(format!("{root}{SCRIPT}"));
        for folder in ["/etc/rc2.d", "/var/log"] {
            fs::create_dir_all(format!("{root}{folder}")).unwrap();
        }
        fs::write(&script, queue.script(root, "/opt/local").unwrap()).unwrap();
        script
    }

    fn boot(script: &Path) -> bool {
        Command::new("/bin/sh").arg(script).arg("start").status().unwrap().success()
    }

    #[test]
    fn a_boot_that_is_killed_is_continued_and_the_script_goes() {
        let root = kiln_harness::scratch::folder("first-boot");
        let out = root.path().join("out");
        let append = |word: &str| format!("echo {word} >> '{}'", out.display());
        let mut queue = FirstBoot::default();
        queue.push(entry("the first", &append("one")));
        let once = root.path().join("once");
        // Kills the shell that runs the script, the first time only; its number is handed down.
        let kill = format!(
            "{}; [ -f '{once}' ] || {{ : > '{once}'; kill -9 $GRAND; }}",
            append("two"),
            once = once.display()
        );
        let mut killer = entry("it's the second", &kill);
        killer.environment.insert("WORD".into(), "a 'b' $c\n".into());
        queue.push(killer);
        queue.push(entry("fails", "exit 3"));
        let mut last = entry("the last", &format!("printf '%s' \"$WORD\" >> '{}'", out.display()));
        last.environment.insert("WORD".into(), "a 'b' $c\n".into());
        queue.push(last);
        let script = write(&queue, root.path());
        let text =
            fs::read_to_string(&script).unwrap().replacen("\t(\n", "\tGRAND=$$; export GRAND\n\t(\n", 2);
        fs::write(&script, text).unwrap();

        assert!(!boot(&script));
        assert!(script.exists());
        assert_eq!(fs::read_to_string(&out).unwrap(), "one\ntwo\n");
        assert!(boot(&script));
        assert_eq!(fs::read_to_string(&out).unwrap(), "one\ntwo\ntwo\na 'b' $c\n");
        assert!(!script.exists());
        assert!(!root.path().join("var/db/kiln/first-boot").exists());
        let log = fs::read_to_string(root.path().join("var/log/kiln-first-boot.log")).unwrap();
        assert!(log.contains("2: it's the second"), "{log}");
        assert!(log.contains("3: status 3"), "{log}");
        assert!(log.ends_with("all 4 done, failed: 3\n"), "{log}");
    }

    #[test]
    fn only_a_start_does_anything() {
        let root = kiln_harness::scratch::folder("first-boot-stop");
        let mut queue = FirstBoot::default();
        queue.push(entry("never", "exit 1"));
        let script = write(&queue, root.path());
        assert!(Command::new("/bin/sh").arg(&script).arg("stop").status().unwrap().success());
        assert!(script.exists() && !root.path().join("var/db").exists());
    }

    #[test]
    fn entries_for_all_move_to_the_end() {
        let mut queue = FirstBoot::default();
        queue.push_once(entry("rebuild", "true"));
        queue.push(entry("other", "true"));
        queue.push_once(entry("rebuild", "true"));
        let order: Vec<_> = queue.entries().iter().map(|entry| entry.why.as_str()).collect();
        assert_eq!(order, ["other", "rebuild"]);
        let json = serde_json::to_value(&queue).unwrap();
        assert_eq!(json[0], serde_json::json!({ "why": "other", "commands": [["/bin/sh", "-c", "true"]] }));
    }

    #[test]
    fn what_no_shell_takes_is_refused() {
        assert!(quoted("a\0").is_err());
        let mut queue = FirstBoot::default();
        let mut bad = entry("bad", "true");
        bad.environment.insert("A B".into(), String::new());
        queue.push(bad);
        assert!(queue.script("", "/opt/local").is_err());
    }
}
