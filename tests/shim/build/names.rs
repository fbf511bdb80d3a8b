//! Which names illumos programs may ask for, and what answers each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::Source;

/// The day from which the libraries called `new` are used. A name that a program refers to weakly is there for platforms
/// from this day on and missing before; [`Names::table`], which answers `dlsym`, knows every name's own day.
pub const NEW_NAMES_SINCE: &str = "20220501";

/// A shared library of illumos.
pub struct Library {
    /// Its name, as programs record it.
    pub soname: String,
    functions: Vec<String>,
}

/// All names.
pub struct Names {
    pub libraries: Vec<Library>,
    /// Names that came after 2013, with the day, as YYYYMMDD.
    later: BTreeMap<String, u32>,
    /// Names written in `c/`.
    written: BTreeSet<String>,
    /// Names that programs get from glibc.
    same: BTreeSet<String>,
}

impl Names {
    /// Reads guest-rt's list, the list of names that glibc serves, and the definitions in the C sources.
    ///
    /// # Errors
    /// A line that is not understood, a name that is in no list, or in two that exclude each other.
    pub fn read(list: &str, same: &str, sources: &[Source]) -> Result<Self, String> {
        let mut names = Self {
            libraries: Vec::new(),
            later: BTreeMap::new(),
            written: sources.iter().flat_map(|source| written(&source.text)).collect(),
            same: lines(same).flat_map(str::split_whitespace).map(str::to_owned).collect(),
        };
        let mut known = BTreeSet::new();
        let mut in_absent = false;
        for line in lines(list) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let Some(heading) = line.strip_prefix('[') {
                let name = heading.split([' ', ']']).next().unwrap_or_default();
                in_absent = name == "absent";
                if !in_absent {
                    names.libraries.push(Library { soname: name.to_owned(), functions: Vec::new() });
                }
                continue;
            }
            let (Some(&name), Some(&second)) = (words.first(), words.get(1)) else {
                return Err(format!("guest-rt's list: {line}"));
            };
            known.insert(name.to_owned());
            if in_absent {
                names.later.insert(name.to_owned(), day(second)?);
            } else if words.get(2) != Some(&"data") {
                let library = names.libraries.last_mut().ok_or("guest-rt's list begins without a section")?;
                library.functions.push(name.to_owned());
            }
        }
        let of_libm = names.libraries.iter().filter(|library| library.soname.starts_with("libm."));
        names.same.extend(of_libm.flat_map(|library| library.functions.clone()));
        if let Some(name) = names.same.iter().chain(&names.written).find(|name| !known.contains(*name)) {
            return Err(format!("{name} is not in guest-rt's list"));
        }
        if let Some(name) = names.same.intersection(&names.written).next() {
            return Err(format!("{name} is in same.txt and written in C"));
        }
        Ok(names)
    }

    /// The C source of the table that `dlsym` searches, sorted by name.
    pub fn table(&self) -> String {
        let mut text = String::from("/* Made by the build script. */\n#include <stddef.h>\n");
        for name in &self.written {
            writeln!(text, "extern char il_{name}[];").expect("a string takes all");
        }
        text += "const struct { const char *name; unsigned since; void *function; } shim_names[] = {\n";
        let always = self.libraries.iter().flat_map(|library| &library.functions).map(|name| (name, 0));
        let all: BTreeMap<&String, u32> =
            always.chain(self.later.iter().map(|(name, since)| (name, *since))).collect();
        for (name, since) in &all {
            let function =
                if self.written.contains(*name) { format!("il_{name}") } else { "NULL".to_owned() };
            writeln!(text, "\t{{\"{name}\", {since}, {function}}},").expect("a string takes all");
        }
        write!(text, "}};\nconst size_t shim_name_count = {};\n", all.len()).expect("a string takes all");
        text
    }

    /// The names that nothing answers, one a line.
    pub fn missing(&self) -> String {
        let functions = self.libraries.iter().flat_map(|library| &library.functions).chain(self.later.keys());
        let missing: BTreeSet<&String> =
            functions.filter(|name| !self.written.contains(*name) && !self.same.contains(*name)).collect();
        missing.into_iter().fold(String::new(), |text, name| text + name + "\n")
    }

    /// The assembly of a library.
    ///
    /// Names that came later are all in the first, libc: programs have them as weak references without a library. Where
    /// they are to be missing they get the address 0, which is what illumos' loader leaves in such a reference.
    pub fn jumps(&self, library: &Library, with_later: bool) -> String {
        let mut text = String::from(".text\n");
        for name in library.functions.iter().filter(|name| !self.same.contains(*name)) {
            self.jump(&mut text, name);
        }
        if library.soname.starts_with("libc.") {
            for name in self.later.keys() {
                if with_later {
                    self.jump(&mut text, name);
                } else {
                    write!(text, ".globl {name}\n.set {name}, 0\n").expect("a string takes all");
                }
            }
        }
        text + ".section .note.GNU-stack,\"\",@progbits\n"
    }

    fn jump(&self, text: &mut String, name: &str) {
        write!(text, ".globl {name}\n.type {name}, @function\n{name}:\n").expect("a string takes all");
        if self.written.contains(name) {
            writeln!(text, "\tjmp *il_{name}@GOTPCREL(%rip)").expect("a string takes all");
        } else {
            write!(
                text,
                "\tleaq 1f(%rip), %rdi\n\tjmp *shim_missing@GOTPCREL(%rip)\n1:\t.asciz \"{name}\"\n"
            )
            .expect("a string takes all");
        }
    }
}

/// The lines without comments and empty ones.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()).filter(|line| !line.is_empty())
}

/// A date as the list has it (a day, a month, or "later", which means after April 2022) as a number.
fn day(text: &str) -> Result<u32, String> {
    let digits = match text {
        "later" => NEW_NAMES_SINCE.to_owned(),
        _ => format!("{:0<8}", text.replace('-', "")),
    };
    digits.parse().map_err(|_| format!("guest-rt's list: {text} is no date"))
}

/// The names that a source defines: `ILLUMOS(type, name, (arguments))`.
fn written(source: &str) -> Vec<String> {
    let definitions = source.split("\nILLUMOS(").skip(1);
    definitions.filter_map(|text| Some(text.split(',').nth(1)?.trim().to_owned())).collect()
}
