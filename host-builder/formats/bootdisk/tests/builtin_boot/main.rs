//! The `builtin` loader in QEMU: it boots the stand-in kernel from a hand-made disk, and the kernel tells
//! what it got.

mod archive;
mod disk;
#[path = "../../nested_build.rs"]
mod nested_build;

use std::path::Path;
use std::time::Duration;
use std::{env, fs};

use kiln_bootdisk::builtin::{self, BootTable, Code};
use kiln_harness::qemu_boot::{self, BootOptions, DiskKind, QemuBoot};
use kiln_harness::scratch;

use archive::archive;
use disk::{Disk, PASSWORD_HASH, STAMP, hash_file, retro_menu};

/// Ends a machine that hangs; it decides nothing.
const LIMIT: Duration = Duration::from_mins(3);
/// QEMU's exit status when the kernel is content, and when it panics.
const GOOD: i32 = 33;
const PANIC: i32 = 35;

const ISSUE: &[u8] = b"\n  kiln stand-in platform\n\noldskool ttya login:";
const ARCHIVE_BYTES: usize = 4 << 20;
const PROPERTIES_AFTER_SMARTOS: [&str; 3] = ["disable-ehci=true", "disable-uhci=true", "disable-kvm=true"];

/// A small disk with the three entries of a retro image.
fn good_disk() -> Disk {
    let archive = archive(ARCHIVE_BYTES, ISSUE);
    let hash = hash_file(&archive);
    Disk::new(archive, hash)
}

fn write(folder: &Path, disk: &Disk, table: &BootTable) -> BootOptions {
    BootOptions::new(&disk.write(folder, &table.encode().unwrap()))
}

/// What the kernel says, line by line, without its prefix.
fn told(machine: &QemuBoot) -> Vec<String> {
    let transcript = machine.transcript();
    transcript.lines().filter_map(|line| line.strip_prefix("kiln stand-in: ")).map(str::to_owned).collect()
}

fn properties(told: &[String]) -> Vec<&str> {
    told.iter().filter_map(|line| line.strip_prefix("property ")).collect()
}

/// Asserts what every good boot of the good disk tells, whichever entry was chosen.
fn assert_booted(machine: &mut QemuBoot) -> Vec<String> {
    let status = machine.wait_exit(LIMIT).unwrap();
    let told = told(machine);
    assert_eq!(status, GOOD, "{}", machine.transcript());
    let platform = format!("/os/{STAMP}/platform/i86pc");
    let archive = archive(ARCHIVE_BYTES, ISSUE);
    let digits = String::from_utf8(hash_file(&archive)).unwrap();
    // The kernel file is loaded from one page below 12 MiB; the modules follow it on pages of their own.
    let archive_address = (0xBF_F000 + disk::kernel().len()).next_multiple_of(4096).max(0xC0_0000);
    let hash_address = archive_address + ARCHIVE_BYTES;
    for line in [
        "loader=kiln".to_owned(),
        "boot device=0x8000ffff".to_owned(),
        "path=/platform/i86pc/kernel/amd64/unix".to_owned(),
        format!(
            "module 0 string={platform}/amd64/boot_archive address={archive_address:#x} size={ARCHIVE_BYTES}"
        ),
        format!("module 1 string={platform}/amd64/boot_archive.hash address={hash_address:#x} size=41"),
        format!("ramdisk sha1={}", digits.trim_end()),
        "hash by order=ok".to_owned(),
        "hash by type=ok".to_owned(),
        "issue   kiln stand-in platform".to_owned(),
        "issue oldskool ttya login:".to_owned(),
    ] {
        assert!(told.contains(&line), "{line:?} is missing in\n{}", machine.transcript());
    }
    assert_eq!(told.last().unwrap(), "done");
    assert_eq!(machine.second_serial().unwrap(), b"", "something came out of the second serial port");
    told
}

#[test]
fn the_default_entry_starts_when_the_time_is_over() {
    if !qemu_boot::available() {
        return;
    }
    let folder = scratch::folder("default");
    let disk = good_disk();
    let mut menu = retro_menu(3);
    menu.default = 1;
    let mut machine = QemuBoot::start(&write(folder.path(), &disk, &disk.table(&menu))).unwrap();
    let shown = machine.wait_for("in 3 s", LIMIT).unwrap();
    for line in [
        "  1  Live 64-bit\r\n",
        "  2  Live 64-bit Rescue (no importing zpool)\r\n",
        "  3  Live 64-bit +kmdb\r\n",
    ] {
        assert_eq!(shown.matches(line).count(), 1, "{shown}");
    }
    machine.wait_for("in 1 s", LIMIT).unwrap();
    let told = assert_booted(&mut machine);
    let root_shadow = format!("root_shadow={PASSWORD_HASH}");
    let mut expected =
        vec!["console=ttya", "ttya-mode=115200,8,n,1,-", "smartos=true", &root_shadow, "noimport=true"];
    expected.extend(PROPERTIES_AFTER_SMARTOS);
    assert_eq!(properties(&told), expected);
    assert!(told.contains(&"boot-args=".to_owned()));
    assert!(told.contains(&format!(
        "command line=/os/{STAMP}/platform/i86pc/kernel/amd64/unix -B console=ttya,\
         ttya-mode=\"115200,8,n,1,-\",smartos=true,root_shadow='{PASSWORD_HASH}',noimport=true,\
         disable-ehci=true,disable-uhci=true,disable-kvm=true"
    )));
    // 256 MiB of memory, of which the first one and the firmware's tables do not count as upper memory.
    let memory = told.iter().find_map(|line| line.strip_prefix("memory lower=639 KiB upper=")).unwrap();
    let upper: u32 = memory.split(' ').next().unwrap().parse().unwrap();
    assert!((254 * 1024..=255 * 1024).contains(&upper), "{upper}");
}

/// A digit starts an entry; so do the arrow keys and Enter. The time is too long to run out.
#[test]
fn every_entry_can_be_chosen_over_the_serial_port() {
    if !qemu_boot::available() {
        return;
    }
    let folder = scratch::folder("chosen");
    let disk = good_disk();
    let mut options = write(folder.path(), &disk, &disk.table(&retro_menu(3600)));
    let choices: [(&[u8], DiskKind, &str, bool); 4] = [
        (b"\r", DiskKind::Ide, "boot-args=", false),
        (b"2", DiskKind::VirtioScsi, "boot-args=", true),
        (b"\x1b[B\x1bOB\x1b[B\r", DiskKind::VirtioBlk, "boot-args=-kd", false),
        (b"x9\x1b[B\x1b[A\x1b[B\r", DiskKind::Ide, "boot-args=", true),
    ];
    for (keys, disk_kind, arguments, rescue) in choices {
        options.disk_kind = disk_kind;
        let mut machine = QemuBoot::start(&options).unwrap();
        machine.wait_for("in 3600 s", LIMIT).unwrap();
        machine.send(keys).unwrap();
        let told = assert_booted(&mut machine);
        assert!(told.contains(&arguments.to_owned()), "{keys:?}: {told:?}");
        assert_eq!(properties(&told).contains(&"noimport=true"), rescue, "{keys:?}: {told:?}");
    }
}

#[test]
fn without_a_timeout_no_menu_is_shown() {
    if !qemu_boot::available() {
        return;
    }
    let folder = scratch::folder("at-once");
    let disk = good_disk();
    let mut machine = QemuBoot::start(&write(folder.path(), &disk, &disk.table(&retro_menu(0)))).unwrap();
    assert_booted(&mut machine);
    assert!(!machine.transcript().contains("boot menu"));
}

#[test]
fn a_large_issue_comes_through_an_indirect_block() {
    if !qemu_boot::available() {
        return;
    }
    let folder = scratch::folder("indirect");
    let lines: Vec<String> = (0..300).map(|number| format!("{number:0>190}")).collect();
    let archive = archive(ARCHIVE_BYTES, lines.join("\n").as_bytes());
    let hash = hash_file(&archive).to_ascii_uppercase();
    let disk = Disk::new(archive, hash);
    let mut machine = QemuBoot::start(&write(folder.path(), &disk, &disk.table(&retro_menu(0)))).unwrap();
    assert_eq!(machine.wait_exit(LIMIT).unwrap(), GOOD, "{}", machine.transcript());
    let told = told(&machine);
    let issue: Vec<&str> = told.iter().filter_map(|line| line.strip_prefix("issue ")).collect();
    assert_eq!(issue, lines);
}

#[test]
fn the_kernel_panics_when_the_hash_is_wrong() {
    if !qemu_boot::available() {
        return;
    }
    let folder = scratch::folder("mismatch");
    let mut content = archive(ARCHIVE_BYTES, ISSUE);
    let hash = hash_file(&content);
    content[ARCHIVE_BYTES - 1] ^= 1;
    let disk = Disk::new(content, hash);
    let mut machine = QemuBoot::start(&write(folder.path(), &disk, &disk.table(&retro_menu(0)))).unwrap();
    assert_eq!(machine.wait_exit(LIMIT).unwrap(), PANIC, "{}", machine.transcript());
    let told = told(&machine);
    assert!(
        told.contains(&"hash by order=mismatch".to_owned())
            && told.contains(&"hash by type=mismatch".to_owned())
    );
    assert_eq!(told.last().unwrap(), "panic: SHA-1 of the boot archive does not match its hash");
}

#[test]
fn too_little_memory_is_refused_in_words() {
    if !qemu_boot::available() {
        return;
    }
    let folder = scratch::folder("memory");
    let disk = good_disk();
    let table = disk.table(&retro_menu(0));
    assert_eq!(
        table.entries[0].needed_mib, 18,
        "12 MiB, a kernel of some pages, 4 MiB, a page, and 1 MiB to spare"
    );
    let mut options = write(folder.path(), &disk, &table);
    options.memory_mib = 16;
    let mut machine = QemuBoot::start(&options).unwrap();
    machine
        .wait_for("Not enough memory: this entry needs 18 MiB, the machine has 16 MiB.\r\n", LIMIT)
        .unwrap();
    machine.wait_for("Press any key", LIMIT).unwrap();
    machine.send(b" ").unwrap();
    let menu = machine.wait_for("> 1  Live 64-bit ", LIMIT).unwrap();
    assert!(menu.contains("kiln boot menu"), "{menu}");
    // Nothing starts by itself any more: the next refusal comes from this key.
    machine.send(b"3").unwrap();
    let refused = machine.wait_for("Not enough memory", LIMIT).unwrap();
    assert!(refused.contains("> 3  Live 64-bit +kmdb") && !refused.contains(" in "), "{refused}");

    options.memory_mib = 18;
    let mut machine = QemuBoot::start(&options).unwrap();
    assert_booted(&mut machine);
}

#[test]
fn a_read_error_names_the_sector_and_the_file() {
    if !qemu_boot::available() {
        return;
    }
    let folder = scratch::folder("read-error");
    let disk = good_disk();
    let mut table = disk.table(&retro_menu(0));
    table.entries[0].loads[1].lba = 1_000_000;
    let mut machine = QemuBoot::start(&write(folder.path(), &disk, &table)).unwrap();
    let text = machine.wait_for("Press any key", LIMIT).unwrap();
    assert!(text.contains("Disk read error at LBA 1000000 (firmware status "), "{text}");
    assert!(text.contains(&format!("in /os/{STAMP}/platform/i86pc/amd64/boot_archive.\r\n")), "{text}");
    // The other entries still work.
    machine.send(b" ").unwrap();
    machine.wait_for("> 1", LIMIT).unwrap();
    machine.send(b"2").unwrap();
    assert_booted(&mut machine);
}

#[test]
fn a_damaged_table_and_a_32_bit_processor_are_refused_in_words() {
    if !qemu_boot::available() {
        return;
    }
    let folder = scratch::folder("refused");
    let disk = good_disk();
    let table = disk.table(&retro_menu(0));
    let mut options = write(folder.path(), &disk, &table);
    options.extra = vec!["-cpu".to_owned(), "qemu32".to_owned()];
    let mut machine = QemuBoot::start(&options).unwrap();
    machine.wait_for("kiln: this processor has no 64-bit mode.\r\n", LIMIT).unwrap();
    drop(machine);

    let mut area = table.encode().unwrap();
    *area.gap.get_mut(33 * 512 + 40).unwrap() ^= 1;
    let mut machine = QemuBoot::start(&BootOptions::new(&disk.write(folder.path(), &area))).unwrap();
    machine.wait_for("kiln: The boot table on this disk is damaged.\r\n", LIMIT).unwrap();
}

/// What the first sector refuses by itself: a floppy disk, which has no INT 13h extensions, and a disk that
/// ends within the boot area.
#[test]
fn the_first_sector_refuses_in_words() {
    if !qemu_boot::available() {
        return;
    }
    let folder = scratch::folder("first-sector");
    let disk = good_disk();
    let options = write(folder.path(), &disk, &disk.table(&retro_menu(0)));
    let mut image = fs::read(&options.disk).unwrap();

    let floppy = folder.path().join("floppy.raw");
    fs::write(&floppy, &image[..1_474_560]).unwrap();
    let mut options = BootOptions::new(&floppy);
    let drive = format!("if=floppy,format=raw,file={}", floppy.display());
    options.extra = ["-drive", &drive, "-boot", "a"].map(str::to_owned).to_vec();
    let mut machine = QemuBoot::start(&options).unwrap();
    machine
        .wait_for("kiln: the firmware cannot read this disk by LBA (no INT 13h extensions).\r\n", LIMIT)
        .unwrap();
    drop(machine);

    image.truncate(40 * 512);
    let short = folder.path().join("short.raw");
    fs::write(&short, &image).unwrap();
    let mut options = BootOptions::new(&short);
    // SeaBIOS does not even start a virtio disk without a whole cylinder.
    options.disk_kind = DiskKind::Ide;
    let mut machine = QemuBoot::start(&options).unwrap();
    machine.wait_for("kiln: disk read error at LBA 1.\r\n", LIMIT).unwrap();
}

/// Quotes, empty values, and boot arguments on both sides of the properties reach the kernel as they were
/// written.
#[test]
fn the_command_line_is_passed_verbatim() {
    if !qemu_boot::available() {
        return;
    }
    let folder = scratch::folder("command-line");
    let disk = good_disk();
    let mut menu = retro_menu(0);
    menu.entries[0].arguments = r#"-v  -k -B a='x y,"z',empty=,last="1,2" -s word"#.to_owned();
    let mut machine = QemuBoot::start(&write(folder.path(), &disk, &disk.table(&menu))).unwrap();
    let told = assert_booted(&mut machine);
    assert_eq!(properties(&told), [r#"a=x y,"z"#, "empty=true", "last=1,2"]);
    assert!(told.contains(&"boot-args=-v  -k -s word".to_owned()), "{told:?}");
}

/// Kernels from November 2013 on take more than two modules when their strings say what they are.
#[test]
fn module_strings_are_passed_as_they_stand_in_the_menu() {
    if !qemu_boot::available() {
        return;
    }
    let folder = scratch::folder("typed");
    let disk = good_disk();
    let mut menu = retro_menu(0);
    let [archive, hash] = [0, 1].map(|index| menu.entries[0].modules[index].clone());
    menu.entries[0].modules = vec![
        format!("{archive} type=rootfs name=ramdisk"),
        format!("{archive} type=file name=/etc/nothing"),
        format!("{hash} type=hash name=ramdisk"),
    ];
    let mut machine = QemuBoot::start(&write(folder.path(), &disk, &disk.table(&menu))).unwrap();
    assert_eq!(machine.wait_exit(LIMIT).unwrap(), GOOD, "{}", machine.transcript());
    let told = told(&machine);
    for (index, string) in menu.entries[0].modules.iter().enumerate() {
        let line = format!("module {index} string={string} address=");
        assert!(told.iter().any(|told| told.starts_with(&line)), "{line} is missing in {told:?}");
    }
    assert!(told.contains(&"hash by type=ok".to_owned()), "{told:?}");
}

#[test]
fn screen_and_keyboard_show_and_choose_the_same() {
    if !qemu_boot::available() {
        return;
    }
    let folder = scratch::folder("screen");
    let disk = good_disk();
    let mut options = write(folder.path(), &disk, &disk.table(&retro_menu(3600)));
    options.extra = vec!["-vga".to_owned(), "std".to_owned()];
    let mut machine = QemuBoot::start(&options).unwrap();
    let screen = machine.wait_for_screen("in 3600 s", LIMIT).unwrap();
    let shown = machine.wait_for("in 3600 s", LIMIT).unwrap();
    let menu = shown[shown.find("kiln boot menu").unwrap()..].replace('\r', "");
    assert!(screen.contains(&menu), "the screen:\n{screen}\nthe serial port:\n{menu}");
    for key in ["up", "down", "down", "ret"] {
        machine.press(key).unwrap();
    }
    let told = assert_booted(&mut machine);
    assert!(told.contains(&"boot-args=-kd".to_owned()), "{told:?}");
}

/// Firmware that shows its screen on COM1 would show every character twice.
#[test]
fn a_screen_redirected_to_com1_is_not_written_to() {
    if !qemu_boot::available() {
        return;
    }
    let folder = scratch::folder("redirected");
    let disk = good_disk();
    let mut options = write(folder.path(), &disk, &disk.table(&retro_menu(3600)));
    options.extra = vec!["-machine".to_owned(), "graphics=off".to_owned()];
    let mut machine = QemuBoot::start(&options).unwrap();
    let text = machine.wait_for("in 3600 s", LIMIT).unwrap();
    assert!(text.contains("SeaBIOS"), "the firmware does not redirect its screen: {text}");
    assert!(text.contains("\nkiln boot menu\r\n"), "{text}");
    assert_eq!(text.matches("kiln boot menu").count(), 1, "{text}");
    machine.send(b"1").unwrap();
    assert_booted(&mut machine);
}

/// With the second serial port as the only one, every access to a serial port shows in QEMU's trace. The
/// firmware's own accesses are those of a machine without the loader.
#[test]
fn the_loader_works_without_com1_and_never_touches_com2() {
    if !qemu_boot::available() {
        return;
    }
    let folder = scratch::folder("com2");
    let disk = good_disk();
    let trace = |name: &str| -> Vec<String> {
        let log = folder.path().join(name);
        let text = fs::read_to_string(&log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        // A line may begin with a process number and a time stamp.
        let events = ["serial_write", "serial_read", "serial_update_parameters"];
        text.lines()
            .filter_map(|line| {
                events.iter().find_map(|event| line.find(event)).map(|at| line[at..].to_owned())
            })
            .collect()
    };
    let tracing = |name: &str| -> Vec<String> {
        let log = folder.path().join(name);
        ["-D", log.to_str().unwrap(), "-trace", "serial_*"].map(str::to_owned).to_vec()
    };

    let mut options = write(folder.path(), &disk, &disk.table(&retro_menu(1)));
    options.first_serial = false;
    options.extra = tracing("loader");
    let mut machine = QemuBoot::start(&options).unwrap();
    assert_eq!(machine.wait_exit(LIMIT).unwrap(), GOOD);
    assert_eq!(machine.second_serial().unwrap(), b"");
    drop(machine);

    // A boot sector that ends the machine at once: mov dx, 0xf4; mov al, 16; out dx, al; hlt.
    let mut sector = vec![0; 1 << 20];
    sector[..8].copy_from_slice(&[0xBA, 0xF4, 0x00, 0xB0, 0x10, 0xEE, 0xF4, 0xF4]);
    sector[510..512].copy_from_slice(&[0x55, 0xAA]);
    let path = folder.path().join("empty.raw");
    fs::write(&path, sector).unwrap();
    let mut options = BootOptions::new(&path);
    options.first_serial = false;
    options.extra = tracing("firmware");
    let mut machine = QemuBoot::start(&options).unwrap();
    assert_eq!(machine.wait_exit(LIMIT).unwrap(), GOOD);

    let (with_loader, firmware_alone) = (trace("loader"), trace("firmware"));
    assert!(!firmware_alone.is_empty(), "the trace shows nothing, not even what the firmware does");
    assert_eq!(with_loader, firmware_alone);
}

#[test]
fn what_was_written_is_read_back_from_the_disk() {
    let folder = scratch::folder("read-back");
    let disk = good_disk();
    let table = disk.table(&retro_menu(10));
    let image = fs::read(disk.write(folder.path(), &table.encode().unwrap())).unwrap();
    assert_eq!(image[0x3E..0x40], [3, 2], "SmartOS tells a GRUB-era disk by these bytes");
    let found = builtin::read(&image.as_slice()).unwrap().unwrap();
    assert_eq!(found.table, table);
    assert_eq!(found.code, Code::Current, "what was built into kiln is what was written");
}

#[test]
fn two_clones_compile_the_same_loader() {
    let folder = scratch::folder("clone");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("loader");
    let clone = folder.path().join("another place").join("loader");
    for inner in ["", "src"] {
        fs::create_dir_all(clone.join(inner)).unwrap();
        for entry in fs::read_dir(source.join(inner)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), clone.join(inner).join(entry.file_name())).unwrap();
            }
        }
    }
    let flags = ["-Clink-arg=--oformat=binary"];
    let built =
        nested_build::build_bare(&clone, "kiln-loader", "loader.ld", &flags, &folder.path().join("target"));
    let ours = fs::read(concat!(env!("OUT_DIR"), "/loader.bin")).unwrap();
    assert!(fs::read(built).unwrap() == ours, "the bytes of the loader depend on where it is compiled");
}
