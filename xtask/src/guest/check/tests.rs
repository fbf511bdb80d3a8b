//! A program made here, byte by byte as the linker makes ours, has no findings; each test damages it in one way.

use super::*;

/// Offsets in the made program.
const SEGMENTS: usize = 64;
const SEGMENT_LEN: usize = 56;
const CODE: usize = SEGMENTS + 2 * SEGMENT_LEN;
const DATA: usize = SEGMENTS + 3 * SEGMENT_LEN;
const HASH: usize = 0x200;
const SYMBOLS: usize = 0x300;
const SYMBOL_LEN: usize = 24;
const NAMES: usize = 0x500;
const RELOCATIONS: usize = 0x700;
const DYNAMIC: usize = 0x1000;

const DATA_ADDRESS: u64 = 0x40_2000;

/// The platform of these tests.
const PLATFORM: &str = "\
[libc.so.1 usr/src/lib/libc/port/mapfile-vers]
___Argv         SUNWprivate_1.1 data
__environ_lock  SUNWprivate_1.1 data
__xpg4          SUNW_0.8        data
__xpg6          SUNWprivate_1.1 data
_environ        SUNW_0.7        data
environ         SUNW_0.7        data
exit            SUNW_0.7
[libsocket.so.1 usr/src/lib/libsocket/common/mapfile-vers]
bind            SUNW_0.7
[absent]
pipe2           2013-05-08
";

/// A dynamic symbol of the made program.
#[derive(Clone)]
struct Entry {
    name: &'static str,
    /// Binding in the upper half, kind in the lower.
    info: u8,
    /// 0 for an import.
    section: u16,
    address: u64,
}

/// What the made program is made of; the tests change it, or the bytes.
#[derive(Clone)]
struct Plan {
    needed: Vec<&'static str>,
    names: Vec<Entry>,
    relocations: Vec<(u64, u32)>,
    dynamic: Vec<(u64, u64)>,
    segment_kinds: [u32; 5],
}

impl Plan {
    fn sound() -> Self {
        let variable = |name, address| Entry { name, info: 0x11, section: 1, address };
        Self {
            needed: vec!["libc.so.1"],
            names: vec![
                Entry { name: "exit", info: 0x12, section: 0, address: 0 },
                // Weak: nobody need have it.
                Entry { name: "pipe2", info: 0x22, section: 0, address: 0 },
                variable("___Argv", DATA_ADDRESS + 0x200),
                variable("__environ_lock", DATA_ADDRESS + 0x208),
                variable("__xpg4", DATA_ADDRESS + 0x220),
                variable("__xpg6", DATA_ADDRESS + 0x228),
                variable("_environ", DATA_ADDRESS + 0x230),
                variable("environ", DATA_ADDRESS + 0x230),
            ],
            relocations: vec![(DATA_ADDRESS + 0x240, elf::R_X86_64_JUMP_SLOT)],
            dynamic: Vec::new(),
            segment_kinds: [elf::PT_PHDR, elf::PT_INTERP, elf::PT_LOAD, elf::PT_LOAD, elf::PT_DYNAMIC],
        }
    }

    fn import(mut self, name: &'static str) -> Self {
        self.names.push(Entry { name, info: 0x12, section: 0, address: 0 });
        self
    }

    fn build(&self) -> Vec<u8> {
        let mut file = vec![0; 0x1400];
        put(&mut file, 0, b"\x7fELF\x02\x01\x01\x06");
        put(&mut file, 16, &[elf::ET_EXEC.to_le_bytes(), elf::EM_X86_64.to_le_bytes()].concat());
        put(&mut file, 24, &0x40_0800_u64.to_le_bytes());
        put(&mut file, 32, &(SEGMENTS as u64).to_le_bytes());
        put(&mut file, 54, &[56_u16.to_le_bytes(), 5_u16.to_le_bytes()].concat());

        put(&mut file, 0x1c0, b"/lib/amd64/ld.so.1\0");
        let mut names = vec![0];
        let mut intern = |name: &str| {
            names.extend_from_slice(name.as_bytes());
            names.push(0);
            (names.len() - name.len() - 1) as u64
        };
        let mut dynamic: Vec<(u64, u64)> =
            self.needed.iter().map(|library| (elf::DT_NEEDED, intern(library))).collect();
        for (index, name) in self.names.iter().enumerate() {
            let at = SYMBOLS + (index + 1) * SYMBOL_LEN;
            put(&mut file, at, &(intern(name.name) as u32).to_le_bytes());
            put(&mut file, at + 4, &[name.info, 0]);
            put(&mut file, at + 6, &name.section.to_le_bytes());
            put(&mut file, at + 8, &name.address.to_le_bytes());
        }
        // One bucket, and as many chains as symbols.
        put(&mut file, HASH, &[1_u32.to_le_bytes(), (self.names.len() as u32 + 1).to_le_bytes()].concat());
        put(&mut file, NAMES, &names);
        for (index, (address, kind)) in self.relocations.iter().enumerate() {
            put(&mut file, RELOCATIONS + 24 * index, &address.to_le_bytes());
            put(&mut file, RELOCATIONS + 24 * index + 8, &u64::from(*kind).to_le_bytes());
        }
        let address = |offset: usize| BASE + offset as u64;
        dynamic.extend([
            (elf::DT_HASH, address(HASH)),
            (elf::DT_STRTAB, address(NAMES)),
            (elf::DT_STRSZ, names.len() as u64),
            (elf::DT_SYMTAB, address(SYMBOLS)),
            (elf::DT_JMPREL, address(RELOCATIONS)),
            (elf::DT_PLTRELSZ, 24 * self.relocations.len() as u64),
        ]);
        dynamic.extend(&self.dynamic);
        dynamic.push((0, 0));
        for (index, (tag, value)) in dynamic.iter().enumerate() {
            put(&mut file, DYNAMIC + 16 * index, &[tag.to_le_bytes(), value.to_le_bytes()].concat());
        }

        let (code, data) = (elf::PF_R | elf::PF_X, elf::PF_R | elf::PF_W);
        // Flags, offset, address, length in the file and in memory, alignment.
        let segments = [
            (elf::PF_R, SEGMENTS as u64, BASE + 64, 280, 280, 8),
            (elf::PF_R, 0x1c0, BASE + 0x1c0, 19, 19, 1),
            (code, 0, BASE, 0x1000, 0x1000, 0x1000),
            (data, DYNAMIC as u64, DATA_ADDRESS, 0x400, 0x500, 0x1000),
            (data, DYNAMIC as u64, DATA_ADDRESS, 16 * dynamic.len() as u64, 16 * dynamic.len() as u64, 8),
        ];
        for (index, (flags, offset, address, file_len, memory_len, align)) in segments.into_iter().enumerate()
        {
            let at = SEGMENTS + SEGMENT_LEN * index;
            put(&mut file, at, &[self.segment_kinds[index].to_le_bytes(), flags.to_le_bytes()].concat());
            for (field, value) in
                [offset, address, address, file_len, memory_len, align].into_iter().enumerate()
            {
                put(&mut file, at + 8 + 8 * field, &u64::to_le_bytes(value));
            }
        }
        file
    }
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

fn findings(bytes: &[u8]) -> Vec<String> {
    let platform = crate::guest::symbols::parse(PLATFORM).unwrap();
    let expected = Expected {
        libraries: &["libc.so.1", "libsocket.so.1"],
        max_len: 0x2000,
        private_paths: &["/home/somebody".to_owned()],
    };
    illumos(bytes, &expected, &platform)
}

/// The one finding about a program made to `plan`.
#[track_caller]
fn assert_finding(plan: &Plan, expected: &str) {
    assert_one(&findings(&plan.build()), expected);
}

/// The one finding about the sound program after `bytes` were written over it at `at`.
#[track_caller]
fn assert_damage(at: usize, bytes: &[u8], expected: &str) {
    let mut file = Plan::sound().build();
    put(&mut file, at, bytes);
    assert_one(&findings(&file), expected);
}

#[track_caller]
fn assert_one(findings: &[String], expected: &str) {
    let [finding] = findings else { panic!("not one finding: {findings:#?}") };
    assert!(finding.contains(expected), "{finding}");
}

#[test]
fn a_sound_program_has_no_findings() {
    assert_eq!(findings(&Plan::sound().build()), [""; 0]);
}

#[test]
fn the_header_says_what_kind_of_program_it_is() {
    assert_damage(7, &[0], "EI_OSABI is 0");
    assert_damage(16, &[3], "type 3, not 2");
    assert_damage(18, &[183], "machine 183");
    assert_damage(24, &0x40_2010_u64.to_le_bytes(), "entry point 0x402010");
}

#[test]
fn the_runtime_linker_is_that_of_64_bit_programs() {
    assert_damage(0x1c0, b"/usr/lib/ld.so.1\0", "interpreter /usr/lib/ld.so.1, not /lib/amd64/ld.so.1");
}

#[test]
fn segments_are_in_the_order_that_the_kernel_wants() {
    let mut late = Plan::sound();
    late.segment_kinds.swap(0, 1);
    assert!(
        findings(&late.build()).iter().any(|finding| finding.contains("the segments are [3, 6, 1, 1, 2]"))
    );
    let mut more = Plan::sound();
    more.segment_kinds[0] = 0x6474_e551;
    assert_finding(&more, "the segments are [6474e551, 3, 1, 1, 2]");
}

#[test]
fn thread_local_variables_and_relro_are_found() {
    for (kind, name) in [(elf::PT_TLS, "PT_TLS"), (elf::PT_GNU_RELRO, "PT_GNU_RELRO")] {
        let mut plan = Plan::sound();
        plan.segment_kinds[0] = kind;
        let findings = findings(&plan.build());
        assert!(findings.iter().any(|finding| finding.contains(name)), "{findings:#?}");
    }
}

#[test]
fn code_and_data_are_apart() {
    assert_damage(CODE + 4, &[7], "the code segment has the flags 0x7");
    assert_damage(DATA + 4, &[7], "the data segment has the flags 0x7");
    assert_damage(DATA + 48, &0x2000_u64.to_le_bytes(), "the data segment cannot be mapped");
    assert_damage(CODE + 40, &0x1800_u64.to_le_bytes(), "longer in memory");
    assert_damage(CODE + 32, &0x3000_u64.to_le_bytes(), "cannot be read");
}

#[test]
fn the_headers_are_in_the_first_segment() {
    let mut file = Plan::sound().build();
    let (moved, len) = (0x1200, 5 * SEGMENT_LEN);
    file.copy_within(SEGMENTS..SEGMENTS + len, moved);
    put(&mut file, 32, &(moved as u64).to_le_bytes());
    assert_one(&findings(&file), "the headers are not in the first segment");
}

#[test]
fn what_the_old_runtime_linker_does_not_read_is_found() {
    for (tag, finding) in [
        (elf::DT_GNU_HASH, "DT_GNU_HASH"),
        (elf::DT_TEXTREL, "DT_TEXTREL"),
        (elf::DT_RUNPATH, "DT_RUNPATH"),
        (elf::DT_RPATH, "DT_RPATH"),
        (elf::DT_VERNEED, "DT_VERNEED"),
        (elf::DT_VERSYM, "DT_VERSYM"),
        (elf::DT_VERDEF, "DT_VERDEF"),
    ] {
        let mut plan = Plan::sound();
        plan.dynamic.push((tag, 1));
        assert_finding(&plan, finding);
    }
    let mut plan = Plan::sound();
    plan.dynamic.push((elf::DT_FLAGS, elf::DF_TEXTREL));
    assert_finding(&plan, "DF_TEXTREL");
}

#[test]
fn without_a_hash_table_nothing_is_found_in_the_program() {
    let mut file = Plan::sound().build();
    // The second entry of the dynamic section becomes one that debuggers use.
    put(&mut file, DYNAMIC + 16, &21_u64.to_le_bytes());
    let findings = findings(&file);
    assert!(findings.contains(&"no hash table (DT_HASH)".to_owned()), "{findings:#?}");
}

#[test]
fn only_libraries_that_are_allowed_and_used_are_needed() {
    let needs = |library| {
        let mut plan = Plan::sound();
        plan.needed.push(library);
        plan
    };
    assert_finding(&needs("libsocket.so.1"), "needs libsocket.so.1 but takes nothing from it");
    assert_eq!(findings(&needs("libsocket.so.1").import("bind").build()), [""; 0]);
    assert_finding(&Plan::sound().import("bind"), "uses libsocket.so.1 unannounced");
    let findings = findings(&needs("libumem.so.1").build());
    assert!(findings.iter().any(|finding| finding.contains("needs libumem.so.1, and may only need")));
    let mut plan = Plan::sound();
    plan.needed.clear();
    assert!(self::findings(&plan.build()).contains(&"does not need libc.so.1".to_owned()));
}

#[test]
fn names_outside_the_list_are_found() {
    assert_finding(&Plan::sound().import("frobnicate"), "uses frobnicate, which");
    let mut strong = Plan::sound();
    strong.names[1].info = 0x12;
    assert_finding(&strong, "uses pipe2, which");
    let mut thread_local = Plan::sound();
    thread_local.names[0].info = 0x16;
    assert_finding(&thread_local, "uses exit, a thread-local variable");
}

#[test]
fn the_exports_are_the_variables_that_libc_leaves_to_the_program() {
    let mut fewer = Plan::sound();
    fewer.names.remove(4);
    assert_finding(&fewer, "does not export __xpg4");
    let mut more = Plan::sound();
    more.names.push(Entry { name: "malloc", info: 0x12, section: 1, address: 0x40_0800 });
    assert_finding(&more, "exports malloc");
    let mut two = Plan::sound();
    two.names[7].address += 8;
    assert_finding(&two, "environ and _environ are two variables");
}

#[test]
fn relocations_are_in_the_data_and_of_known_kinds() {
    let relocation = |address, kind| {
        let mut plan = Plan::sound();
        plan.relocations.push((address, kind));
        plan
    };
    assert_finding(&relocation(0x40_0800, elf::R_X86_64_64), "relocation at 0x400800, which is not writable");
    assert_finding(&relocation(DATA_ADDRESS + 0x250, elf::R_X86_64_COPY), "R_X86_64_COPY");
    // R_X86_64_TPOFF64: an offset in the memory of a thread.
    assert_finding(&relocation(DATA_ADDRESS + 0x250, 18), "unexpected kind 18");
}

#[test]
fn size_and_private_paths_are_judged() {
    let mut long = Plan::sound().build();
    long.resize(0x2001, 0);
    assert_one(&findings(&long), "is 8193 bytes long, more than the 8192 allowed");
    let mut talkative = Plan::sound().build();
    talkative.extend_from_slice(b"/home/somebody/src/main.rs");
    assert_one(&findings(&talkative), "speaks of /home/somebody");
}

#[test]
fn a_symbol_table_that_was_left_in_is_found() {
    let mut file = Plan::sound().build();
    let sections = file.len() as u64;
    file.resize(file.len() + 64, 0);
    put(&mut file, sections as usize + 4, &elf::SHT_SYMTAB.to_le_bytes());
    put(&mut file, 40, &sections.to_le_bytes());
    put(&mut file, 60, &[1]);
    assert_one(&findings(&file), "is not stripped");
}

#[test]
fn a_program_for_linux_is_static() {
    let expected = Expected { libraries: &[], max_len: 0x2000, private_paths: &[] };
    let judged = linux(&Plan::sound().build(), &expected);
    assert_eq!(
        judged,
        ["not static: it names an interpreter (PT_INTERP)", "not static: it needs libc.so.1"],
        "a dynamic one"
    );
}

/// Whatever a file holds, it is judged and nothing panics: every byte of the headers and tables is damaged in turn, and
/// the file cut at every length.
#[test]
fn damage_anywhere_is_survived() {
    let sound = Plan::sound().build();
    for at in (0..0x800).chain(DYNAMIC..DYNAMIC + 0x100) {
        for value in [0, 1, 0x7f, 0xff] {
            let mut file = sound.clone();
            file[at] = value;
            findings(&file);
        }
    }
    for len in 0..sound.len() {
        findings(&sound[..len]);
    }
}
