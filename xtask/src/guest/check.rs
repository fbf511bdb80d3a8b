//! What a guest executable must look like, judged from its bytes alone.
//!
//! The rules for illumos follow from how the kernel (usr/src/uts/common/exec/elf/elf.c) and the runtime linker
//! (usr/src/cmd/sgs/rtld) of 2013 read an executable; docs/illumos.md explains each.

use std::collections::BTreeSet;

use super::elf::{self, Elf, Segment};
use super::symbols::{ABSENT, Library};

const INTERPRETER: &str = "/lib/amd64/ld.so.1";
const LIBC: &str = "libc.so.1";

/// Where a program begins in memory: the linker wrapper says so, and the ABI's usual place.
const BASE: u64 = 0x40_0000;

/// What is expected of one program.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The libraries it may need.
    pub libraries: &'a [&'a str],
    /// How long its file may be, in bytes.
    pub max_len: u64,
    /// Folders of the machine that built it, of which it must not speak.
    pub private_paths: &'a [String],
}

/// Collects what is wrong with a program, a sentence each.
#[derive(Debug, Default)]
struct Findings(Vec<String>);

impl Findings {
    fn unless(&mut self, holds: bool, finding: impl FnOnce() -> String) {
        if !holds {
            self.0.push(finding());
        }
    }
}

/// Judges an executable for illumos, given the libraries of the oldest platform; gives what is wrong with it.
pub fn illumos(bytes: &[u8], expected: &Expected<'_>, platform: &[Library]) -> Vec<String> {
    let elf = match Elf::parse(bytes) {
        Ok(elf) => elf,
        Err(error) => return vec![format!("cannot be read: {error:#}")],
    };
    let mut findings = Findings::default();
    header(&elf, &mut findings);
    segments(&elf, &mut findings);
    dynamic_section(&elf, &mut findings);
    libraries(&elf, expected, platform, &mut findings);
    names(&elf, platform, &mut findings);
    relocations(&elf, &mut findings);
    file(bytes, &elf, expected, &mut findings);
    findings.0
}

/// Judges a static executable for Linux; gives what is wrong with it.
pub fn linux(bytes: &[u8], expected: &Expected<'_>) -> Vec<String> {
    let elf = match Elf::parse(bytes) {
        Ok(elf) => elf,
        Err(error) => return vec![format!("cannot be read: {error:#}")],
    };
    let mut findings = Findings::default();
    findings.unless(elf.machine == elf::EM_X86_64, || format!("machine {}, not x86-64", elf.machine));
    findings.unless(elf.kind == elf::ET_EXEC || elf.kind == elf::ET_DYN, || {
        format!("type {}, not executable", elf.kind)
    });
    findings
        .unless(elf.interpreter.is_none(), || "not static: it names an interpreter (PT_INTERP)".to_owned());
    findings.unless(elf.needed.is_empty(), || format!("not static: it needs {}", elf.needed.join(", ")));
    file(bytes, &elf, expected, &mut findings);
    findings.0
}

fn header(elf: &Elf, findings: &mut Findings) {
    findings.unless(elf.machine == elf::EM_X86_64, || format!("machine {}, not x86-64", elf.machine));
    findings.unless(elf.os_abi == elf::OSABI_SOLARIS, || {
        format!("EI_OSABI is {}, not {} (Solaris)", elf.os_abi, elf::OSABI_SOLARIS)
    });
    findings
        .unless(elf.kind == elf::ET_EXEC, || format!("type {}, not {} (ET_EXEC)", elf.kind, elf::ET_EXEC));
    let interpreter = elf.interpreter.as_deref().unwrap_or("missing");
    findings.unless(interpreter == INTERPRETER, || format!("interpreter {interpreter}, not {INTERPRETER}"));
}

/// The kernel wants PT_PHDR and PT_INTERP before the first PT_LOAD and takes the last PT_LOAD as data; the runtime
/// linker finds the ELF header in memory by way of the program headers, which must be in the first PT_LOAD.
fn segments(elf: &Elf, findings: &mut Findings) {
    let kinds: Vec<u32> = elf.segments.iter().map(|segment| segment.kind).collect();
    let expected = [elf::PT_PHDR, elf::PT_INTERP, elf::PT_LOAD, elf::PT_LOAD, elf::PT_DYNAMIC];
    for (kind, what) in [
        (elf::PT_TLS, "has thread-local variables (PT_TLS)"),
        (elf::PT_GNU_RELRO, "has a segment to be made read-only (PT_GNU_RELRO)"),
    ] {
        findings.unless(!kinds.contains(&kind), || what.to_owned());
    }
    findings.unless(kinds == expected, || {
        format!(
            "the segments are {kinds:x?}, not PT_PHDR, PT_INTERP, PT_LOAD (code), PT_LOAD (data), PT_DYNAMIC ({expected:x?})"
        )
    });
    let loads: Vec<&Segment> = elf.segments.iter().filter(|segment| segment.kind == elf::PT_LOAD).collect();
    let [code, data] = loads[..] else { return };
    findings.unless(code.flags == elf::PF_R | elf::PF_X, || {
        format!("the code segment has the flags {:#x}, not read and execute", code.flags)
    });
    findings.unless(data.flags == elf::PF_R | elf::PF_W, || {
        format!("the data segment has the flags {:#x}, not read and write", data.flags)
    });
    findings.unless(code.offset == 0 && code.address == BASE && code.file_len >= elf.headers_end, || {
        format!("the headers are not in the first segment, or it is not at {BASE:#x}")
    });
    findings.unless(code.file_len == code.memory_len, || {
        "the code segment is longer in memory than in the file".to_owned()
    });
    findings.unless(code.address.saturating_add(code.memory_len) <= data.address, || {
        "the segments overlap or are not in ascending order".to_owned()
    });
    for (segment, name) in [(code, "code"), (data, "data")] {
        let congruent = segment.align == 0x1000 && (segment.address ^ segment.offset) % segment.align == 0;
        findings.unless(congruent, || format!("the {name} segment cannot be mapped in pages of 4 KiB"));
    }
    findings.unless(code.holds(elf.entry), || {
        format!("the entry point {:#x} is not in the code segment", elf.entry)
    });
    if let Some(dynamic) = elf.first(elf::PT_DYNAMIC) {
        findings.unless(data.holds(dynamic.address), || {
            "the dynamic section is not in the data segment, where the runtime linker writes to it".to_owned()
        });
    }
}

/// The runtime linker of 2013 reads only the old kind of hash table.
fn dynamic_section(elf: &Elf, findings: &mut Findings) {
    findings.unless(elf.value(elf::DT_HASH).is_some(), || "no hash table (DT_HASH)".to_owned());
    for (tag, what) in [
        (elf::DT_GNU_HASH, "a GNU hash table, which nothing there reads (DT_GNU_HASH)"),
        (elf::DT_TEXTREL, "relocations in the code (DT_TEXTREL)"),
        (elf::DT_RPATH, "its own search path for libraries (DT_RPATH)"),
        (elf::DT_RUNPATH, "its own search path for libraries (DT_RUNPATH)"),
        (elf::DT_VERSYM, "versions of symbols (DT_VERSYM)"),
        (elf::DT_VERDEF, "versions of its own symbols (DT_VERDEF)"),
        (elf::DT_VERNEED, "needs of symbol versions (DT_VERNEED)"),
    ] {
        findings.unless(elf.value(tag).is_none(), || format!("has {what}"));
    }
    let flags = elf.value(elf::DT_FLAGS).unwrap_or(0);
    findings.unless(flags & elf::DF_TEXTREL == 0, || "has relocations in the code (DF_TEXTREL)".to_owned());
}

/// Which library a name comes from; among the absent it comes from none.
fn library_of<'a>(name: &str, platform: &'a [Library]) -> Option<&'a str> {
    let library = platform.iter().find(|library| library.symbols.iter().any(|symbol| symbol.name == name));
    library.map(|library| library.soname.as_str())
}

fn libraries(elf: &Elf, expected: &Expected<'_>, platform: &[Library], findings: &mut Findings) {
    let used: BTreeSet<&str> = elf
        .symbols
        .iter()
        .filter(|symbol| symbol.is_import())
        .filter_map(|symbol| library_of(&symbol.name, platform))
        .filter(|library| *library != ABSENT)
        .collect();
    findings.unless(elf.needed.iter().any(|name| name == LIBC), || format!("does not need {LIBC}"));
    for name in &elf.needed {
        findings.unless(expected.libraries.contains(&name.as_str()), || {
            format!("needs {name}, and may only need {}", expected.libraries.join(", "))
        });
        findings.unless(used.contains(name.as_str()), || format!("needs {name} but takes nothing from it"));
    }
    for name in used {
        findings
            .unless(elf.needed.iter().any(|needed| needed == name), || format!("uses {name} unannounced"));
    }
}

fn names(elf: &Elf, platform: &[Library], findings: &mut Findings) {
    for symbol in elf.symbols.iter().filter(|symbol| symbol.is_import()) {
        // A weak name that nobody has stays zero, and the program asks before it calls.
        let known = match library_of(&symbol.name, platform) {
            Some(ABSENT) => symbol.binding == elf::STB_WEAK,
            library => library.is_some(),
        };
        findings.unless(known, || format!("uses {}, which guest-rt/symbols.txt does not list", symbol.name));
        findings
            .unless(symbol.kind != elf::STT_TLS, || format!("uses {}, a thread-local variable", symbol.name));
    }
    let exports: BTreeSet<&str> =
        elf.symbols.iter().filter(|symbol| !symbol.is_import()).map(|symbol| symbol.name.as_str()).collect();
    // libc's variables in the list are those that it leaves to the executable.
    let libc = platform.iter().filter(|library| library.soname == LIBC).flat_map(|library| &library.symbols);
    let expected: BTreeSet<&str> =
        libc.filter(|symbol| symbol.is_data).map(|symbol| symbol.name.as_str()).collect();
    for missing in expected.difference(&exports) {
        findings.0.push(format!("does not export {missing}, so libc goes on using its own"));
    }
    for excess in exports.difference(&expected) {
        findings.0.push(format!("exports {excess}, which may get in the way of a library's own"));
    }
    let address =
        |name: &str| elf.symbols.iter().find(|symbol| symbol.name == name).map(|symbol| symbol.value);
    findings.unless(address("environ") == address("_environ"), || {
        "environ and _environ are two variables instead of one".to_owned()
    });
}

fn relocations(elf: &Elf, findings: &mut Findings) {
    let writable = |address: u64| {
        let mut loads = elf.segments.iter().filter(|segment| segment.kind == elf::PT_LOAD);
        loads.any(|segment| segment.holds(address) && segment.flags & elf::PF_W != 0)
    };
    let mut kinds = BTreeSet::new();
    for relocation in &elf.relocations {
        findings.unless(writable(relocation.address), || {
            format!("has a relocation at {:#x}, which is not writable", relocation.address)
        });
        kinds.insert(relocation.kind);
    }
    for kind in kinds {
        let finding = match kind {
            elf::R_X86_64_64 | elf::R_X86_64_GLOB_DAT | elf::R_X86_64_JUMP_SLOT => continue,
            // The libraries we link with do not know how large the platform's variables are.
            elf::R_X86_64_COPY => "copies a variable of a library (R_X86_64_COPY)".to_owned(),
            _ => format!("has relocations of the unexpected kind {kind}"),
        };
        findings.0.push(finding);
    }
}

fn file(bytes: &[u8], elf: &Elf, expected: &Expected<'_>, findings: &mut Findings) {
    let len = bytes.len() as u64;
    findings.unless(len <= expected.max_len, || {
        format!("is {len} bytes long, more than the {} allowed", expected.max_len)
    });
    findings.unless(!elf.sections.contains(&elf::SHT_SYMTAB), || {
        "is not stripped: it has a symbol table (SHT_SYMTAB)".to_owned()
    });
    for path in expected.private_paths {
        let speaks = bytes.windows(path.len()).any(|window| window == path.as_bytes());
        findings.unless(!speaks, || format!("speaks of {path}, a folder of the machine that built it"));
    }
}

#[cfg(test)]
mod tests;
