//! Tests that need more than one of the modules: planning, and writing and reading back.

use proptest::prelude::*;

use super::{
    AREA_SECTORS, BootTable, BuiltinError, CODE, Code, FileOnDisk, Load, Module, TableEntry, layout, read,
};
use crate::menu::{Menu, MenuEntry};

const MIB: u64 = 1 << 20;
const UNIX_BYTES: u64 = 1_800_000;
const ARCHIVE_BYTES: u64 = 300 * MIB;

/// The first 8 KiB of a kernel whose header has these five addresses; the header lies at 0x1010.
fn kernel_head(addresses: [u32; 5]) -> Vec<u8> {
    let flags = 0x0001_0003_u32;
    let magic = 0x1BAD_B002_u32;
    let mut head = vec![0; 0x1010];
    for word in [magic, flags, 0_u32.wrapping_sub(magic).wrapping_sub(flags)].iter().chain(&addresses) {
        head.extend(word.to_le_bytes());
    }
    head.resize(8192, 0);
    head
}

fn illumos_head() -> Vec<u8> {
    kernel_head([0xC0_0010, 0xBF_F000, 0, 0, 0xC0_0000])
}

fn retro() -> Menu {
    Menu::retro("20141030T081701Z", "$5$salt$word", &[], 10).unwrap()
}

/// The files of a retro image, the kernel first, one behind the other from LBA 4096.
fn locate<'a>(head: &'a [u8], path: &str) -> Option<FileOnDisk<'a>> {
    let unix_sectors = UNIX_BYTES.div_ceil(512);
    let archive_sectors = ARCHIVE_BYTES / 512;
    let (first_lba, bytes) = match path.rsplit('/').next()? {
        "unix" => (4096, UNIX_BYTES),
        "boot_archive" => (4096 + unix_sectors, ARCHIVE_BYTES),
        "boot_archive.hash" => (4096 + unix_sectors + archive_sectors, 41),
        _ => return None,
    };
    Some(FileOnDisk { first_lba, bytes, head })
}

fn plan(menu: &Menu, minimum_memory_mib: u32) -> Result<BootTable, BuiltinError> {
    let head = illumos_head();
    BootTable::plan(menu, minimum_memory_mib, |path| locate(&head, path))
}

#[test]
fn a_retro_menu_is_planned_as_grub_legacy_places_it() {
    let table = plan(&retro(), 0).unwrap();
    let platform = "/os/20141030T081701Z/platform/i86pc";
    assert_eq!((table.timeout_seconds, table.default, table.entries.len()), (10, 0, 3));
    let load =
        |name: &str, lba, bytes, address| Load { name: format!("{platform}/{name}"), lba, bytes, address };
    for entry in &table.entries {
        assert_eq!(entry.entry_point, 0xC0_0000);
        assert_eq!(entry.zero_bytes, 0);
        // 0xBFF000 + 1,800,000 = 0xDB6740; the archive follows on the next page, the hash on the next one
        // after it.
        assert_eq!(
            entry.loads,
            [
                load("kernel/amd64/unix", 4096, 1_800_000, 0xBF_F000),
                load("amd64/boot_archive", 4096 + 3516, 300 << 20, 0xDB_7000),
                load("amd64/boot_archive.hash", 4096 + 3516 + 614_400, 41, 0xDB_7000 + (300 << 20)),
            ]
        );
        let strings: Vec<&str> = entry.modules.iter().map(|module| module.string.as_str()).collect();
        assert_eq!(
            strings,
            [format!("{platform}/amd64/boot_archive"), format!("{platform}/amd64/boot_archive.hash")]
        );
        for (module, load) in entry.modules.iter().zip(&entry.loads[1..]) {
            assert_eq!((module.start, module.end), (load.address, load.address + load.bytes));
        }
        // The end lies in the 314th MiB.
        assert_eq!(entry.needed_mib, 315);
    }
    let line = &table.entries[2].command_line;
    assert!(line.starts_with(&format!("{platform}/kernel/amd64/unix -kd -B console=ttya,")), "{line}");
    assert_eq!(table.entries[1].title, "Live 64-bit Rescue (no importing zpool)");
}

#[test]
fn a_minimum_counts_when_it_is_more_than_loading_takes() {
    assert_eq!(plan(&retro(), 1024).unwrap().entries[0].needed_mib, 1024);
    assert_eq!(plan(&retro(), 100).unwrap().entries[0].needed_mib, 315);
    assert!(matches!(plan(&retro(), 4096), Err(BuiltinError::Unshowable { .. })));
}

/// A kernel that is loaded in part, elsewhere, and wants memory cleared.
#[test]
fn cleared_memory_lies_between_kernel_and_modules() {
    let head = kernel_head([0x20_0010, 0x20_0000, 0x20_1000, 0xD0_0001, 0x20_0800]);
    let table = BootTable::plan(&retro(), 0, |path| locate(&head, path)).unwrap();
    let entry = &table.entries[0];
    let kernel = &entry.loads[0];
    assert_eq!((kernel.lba, kernel.bytes, kernel.address), (4096 + 8, 0x1000, 0x20_0000));
    assert_eq!((entry.zero_address, entry.zero_bytes), (0x20_1000, 0xAF_F001));
    assert_eq!(entry.modules[0].start, 0xD0_1000);

    // Without it the modules still keep out of 4 to 12 MiB, where illumos unpacks itself.
    let head = kernel_head([0x20_0010, 0x20_0000, 0x20_1000, 0, 0x20_0800]);
    let table = BootTable::plan(&retro(), 0, |path| locate(&head, path)).unwrap();
    assert_eq!(table.entries[0].modules[0].start, 0xC0_0000);
}

#[test]
fn an_empty_module_is_passed_and_not_read() {
    let head = illumos_head();
    let table = BootTable::plan(&retro(), 0, |path| {
        let mut file = locate(&head, path)?;
        if path.ends_with("/boot_archive.hash") {
            file.bytes = 0;
        }
        Some(file)
    })
    .unwrap();
    let entry = &table.entries[0];
    assert_eq!((entry.loads.len(), entry.modules.len()), (2, 2));
    assert_eq!(entry.modules[1].start, entry.modules[1].end);
}

#[test]
fn what_cannot_be_loaded_is_refused() {
    let head = illumos_head();
    let low_head = kernel_head([0x0F_F010, 0x0F_F000, 0, 0, 0x10_0000]);
    let high_bss = kernel_head([0xC0_0010, 0xBF_F000, 0, 0xC000_0001, 0xC0_0000]);
    let with = |change: &dyn Fn(&str, &mut FileOnDisk)| {
        BootTable::plan(&retro(), 0, |path| {
            let mut file = locate(&head, path)?;
            change(path, &mut file);
            Some(file)
        })
    };
    let error = BootTable::plan(&retro(), 0, |path| locate(&head, path).filter(|_| !path.ends_with("hash")));
    assert!(matches!(error, Err(BuiltinError::Missing { path }) if path.ends_with("/boot_archive.hash")));
    let error = with(&|path, file| file.bytes = if path.ends_with("archive") { 3 << 30 } else { file.bytes });
    assert!(
        matches!(error, Err(BuiltinError::TooLarge { path, end }) if path.ends_with("archive") && end == 0xC0DB_7000)
    );
    let error = with(&|path, file| file.bytes = if path.ends_with("hash") { u64::MAX } else { file.bytes });
    assert!(matches!(error, Err(BuiltinError::TooLarge { .. })));
    let error = BootTable::plan(&retro(), 0, |path| locate(&high_bss, path));
    assert!(matches!(error, Err(BuiltinError::TooLarge { .. })));
    let error = with(&|_, file| file.first_lba = u64::from(AREA_SECTORS) - 1);
    assert!(matches!(error, Err(BuiltinError::Unreachable { lba: 65, .. })));
    for lba in [1 << 32, u64::MAX] {
        let error = with(&|_, file| file.first_lba = lba);
        assert!(matches!(error, Err(BuiltinError::Unreachable { .. })));
    }
    let error = BootTable::plan(&retro(), 0, |path| locate(&low_head, path));
    assert!(matches!(error, Err(BuiltinError::Kernel { .. })));
    let mut menu = retro();
    menu.timeout_seconds = 65_536;
    assert!(matches!(plan(&menu, 0), Err(BuiltinError::Unshowable { .. })));
    menu.default = 7;
    assert!(matches!(plan(&menu, 0), Err(BuiltinError::Menu(_))));
}

#[test]
fn a_menu_that_cannot_be_shown_is_refused() {
    let refused = |change: &dyn Fn(&mut BootTable)| {
        let mut table = plan(&retro(), 0).unwrap();
        change(&mut table);
        table.encode().unwrap_err()
    };
    let unshowable = [
        refused(&|table| table.default = 3),
        refused(&|table| table.entries.clear()),
        refused(&|table| table.entries = vec![table.entries[0].clone(); 10]),
        refused(&|table| table.entries[0].title.clear()),
        refused(&|table| table.entries[0].title = "x".repeat(57)),
        refused(&|table| table.entries[0].title = "Rettungsmenü".to_owned()),
        refused(&|table| table.entries[0].title = "a\x1b[2J".to_owned()),
        refused(&|table| table.entries[0].command_line.push('\0')),
        refused(&|table| table.entries[0].command_line = "x".repeat(4096)),
        refused(&|table| table.entries[0].loads = vec![table.entries[0].loads[0].clone(); 129]),
        refused(&|table| table.entries[0].modules = vec![table.entries[0].modules[0].clone(); 129]),
    ];
    for error in unshowable {
        assert!(matches!(error, BuiltinError::Unshowable { .. }), "{error}");
    }
    // Nine entries with as much text as each may have.
    let error = refused(&|table| {
        let entries = (0..9_u8).map(|index| {
            let mut entry = table.entries[0].clone();
            entry.command_line = char::from(b'a' + index).to_string().repeat(4095);
            entry
        });
        table.entries = entries.collect();
    });
    assert!(matches!(error, BuiltinError::TableFull { limit: 16_384, .. }), "{error}");
}

#[test]
fn the_boot_area_has_code_and_table_where_the_loader_expects_them() {
    let area = plan(&retro(), 0).unwrap().encode().unwrap();
    assert_eq!(area.mbr_code[..], CODE[..440]);
    assert_eq!(area.mbr_code[0x3E..0x40], [3, 2]);
    assert_eq!(area.gap.len() % 512, 0);
    assert!(area.gap.len() <= (AREA_SECTORS as usize - 1) * 512);
    assert_eq!(area.gap[..CODE.len() - 512], CODE[512..]);
    assert_eq!(area.gap[33 * 512..][..8], *b"KILNBOOT");
}

/// The boot area as it lies on a disk.
fn disk(table: &BootTable) -> Vec<u8> {
    let area = table.encode().unwrap();
    let mut disk = area.mbr_code.to_vec();
    disk.resize(512, 0xEE);
    disk.extend(area.gap);
    disk
}

/// Makes the checksum right again after the table was changed.
fn seal(disk: &mut [u8]) {
    let table = &mut disk[34 * 512..];
    let length = u32::from_le_bytes(table[12..16].try_into().unwrap()) as usize;
    if let Some(table) = table.get_mut(..length & !3).filter(|table| table.len() >= 20) {
        let sum = layout::sum(table);
        let checksum = u32::from_le_bytes(table[16..20].try_into().unwrap()).wrapping_sub(sum);
        table[16..20].copy_from_slice(&checksum.to_le_bytes());
    }
}

#[test]
fn another_loader_is_none_and_a_damaged_table_is_an_error() {
    let table = plan(&retro(), 0).unwrap();
    let good = disk(&table);
    let found = read(&good.as_slice()).unwrap().unwrap();
    assert!(found.code == Code::Current && found.table == table);

    assert_eq!(read(&[0_u8; 100].as_slice()).unwrap(), None);
    assert_eq!(read(&vec![0_u8; 1 << 20].as_slice()).unwrap(), None);
    let code_of = |disk: &[u8]| read(&disk).unwrap().unwrap().code;
    for place in (0..440).chain(512..34 * 512) {
        let mut changed = good.clone();
        changed[place] ^= 1;
        assert_eq!(code_of(&changed), Code::Damaged, "byte {place}");
        // Who writes other code also writes its digest.
        let digest = layout::code_digest(&changed[..440], &changed[512..34 * 512]);
        changed[34 * 512 + 24..][..8].copy_from_slice(&digest);
        seal(&mut changed);
        assert_eq!(code_of(&changed), Code::OtherVersion, "byte {place}");
    }
    // The rest of the first sector is the partition table's.
    for place in 440..512 {
        let mut changed = good.clone();
        changed[place] ^= 1;
        assert_eq!(code_of(&changed), Code::Current, "byte {place}");
    }
    let mut other_digest = good.clone();
    other_digest[34 * 512 + 31] ^= 1;
    assert!(matches!(read(&other_digest.as_slice()), Err(BuiltinError::Damaged { .. })));
    seal(&mut other_digest);
    assert_eq!(code_of(&other_digest), Code::Damaged);

    let at = |place: usize, bytes: &[u8], sealed: bool| {
        let mut changed = good.clone();
        changed[34 * 512 + place..][..bytes.len()].copy_from_slice(bytes);
        if sealed {
            seal(&mut changed);
        }
        match read(&changed.as_slice()) {
            Err(BuiltinError::Damaged { offset, reason }) => (offset - 34 * 512, reason),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(at(8, &[2], true), (8, "its version is unknown"));
    for length in [0_u32, 28, 16_388, 16_381, u32::MAX] {
        assert_eq!(at(12, &length.to_le_bytes(), true), (12, "its length is impossible"));
    }
    assert_eq!(at(40, &[0xFF], false), (16, "its checksum is wrong"));
    assert_eq!(at(22, &[3], true).0, 22, "a default that is none of the entries");
    assert_eq!(at(23, &[0], true).0, 22, "no entries");
    assert_eq!(at(23, &[10], true).0, 22, "more entries than digits");
    assert_eq!(at(32, &[0xFF, 0xFF], true).1, "it points out of itself", "the title");
    assert_eq!(at(36, &[0xFF, 0xFF], true).1, "it points out of itself", "the extents");
    assert_eq!(at(38, &[129, 0], true).1, "an entry has impossibly many files", "the number of extents");

    let end = good.len() - 512;
    assert!(matches!(read(&&good[..end]), Err(BuiltinError::Io { offset: 17_408, .. })), "a table cut short");
}

fn text() -> impl Strategy<Value = String> {
    "[ -~äß☃]{0,30}"
}

fn table_entry() -> impl Strategy<Value = TableEntry> {
    let load = (text(), any::<[u32; 3]>()).prop_map(|(name, [lba, bytes, address])| Load {
        name,
        lba,
        bytes,
        address,
    });
    let module = (text(), any::<[u32; 2]>()).prop_map(|(string, [start, end])| Module { string, start, end });
    let lists = (prop::collection::vec(load, 0..5), prop::collection::vec(module, 0..5));
    ("[ -~]{1,56}", text(), any::<[u32; 4]>(), lists).prop_map(
        |(title, command_line, [entry_point, zero_address, zero_bytes, needed_mib], (loads, modules))| {
            TableEntry {
                title,
                command_line,
                entry_point,
                zero_address,
                zero_bytes,
                needed_mib,
                loads,
                modules,
            }
        },
    )
}

fn boot_table() -> impl Strategy<Value = BootTable> {
    (any::<u16>(), prop::collection::vec(table_entry(), 1..=9), any::<prop::sample::Index>()).prop_map(
        |(timeout_seconds, entries, default)| BootTable {
            timeout_seconds,
            default: default.index(entries.len()) as u8,
            entries,
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(table in boot_table()) {
        let found = read(&disk(&table).as_slice()).unwrap().unwrap();
        prop_assert_eq!(found.table, table);
        prop_assert_eq!(found.code, Code::Current);
    }

    /// A table with a right checksum may still say anything. Whatever is read from it can be written again.
    #[test]
    fn hostile_tables(table in boot_table(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)) {
        let mut disk = disk(&table);
        for (place, value) in changes {
            let table = &mut disk[34 * 512..];
            let place = place.index(table.len());
            table[place] = value;
        }
        seal(&mut disk);
        if let Ok(Some(found)) = read(&disk.as_slice()) {
            prop_assert!(!found.table.entries.is_empty() && found.table.entries.len() <= 9);
        }
    }

    /// No two things that are loaded overlap, nor do they touch what the loader and the kernel need for
    /// themselves.
    #[test]
    fn planned_memory_never_overlaps(sizes in prop::collection::vec(0_u64..1 << 28, 1..8), unix in 8192_u64..8 << 20) {
        let head = illumos_head();
        let modules: Vec<String> = (0..sizes.len()).map(|index| format!("/module{index}")).collect();
        let entry = MenuEntry { title: "t".into(), kernel: "/unix".into(), arguments: String::new(), modules };
        let menu = Menu { timeout_seconds: 0, default: 0, entries: vec![entry] };
        let table = BootTable::plan(&menu, 0, |path| {
            let bytes = match path.strip_prefix("/module") {
                Some(index) => sizes[index.parse::<usize>().unwrap()],
                None => unix,
            };
            Some(FileOnDisk { first_lba: 1 << 20, bytes, head: &head })
        })
        .unwrap();
        let entry = &table.entries[0];
        let mut end = 0xBF_F000;
        for load in &entry.loads {
            prop_assert!(u64::from(load.address) >= end);
            end = u64::from(load.address) + u64::from(load.bytes);
        }
        prop_assert!(end <= (u64::from(entry.needed_mib) - 1) * MIB);
        prop_assert!(entry.modules.iter().all(|module| module.start % 4096 == 0));
        prop_assert_eq!(&entry.command_line, "/unix");
    }
}
