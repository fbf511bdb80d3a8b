//! The boot loader of kiln's images: it shows a menu and starts a Multiboot 1 kernel from lists of disk
//! blocks.
//!
//! It knows no file system. The program that builds the image knows where every file lies and leaves a table
//! of it behind the loader ([`table`]); the loader reads the blocks through the firmware's INT 13h extensions
//! ([`disk`]), puts them where the table says, and starts the kernel ([`multiboot`]). Of the machine it needs
//! a BIOS (or the compatibility module of a UEFI firmware), a 64-bit processor and either COM1 or a screen;
//! COM2 is never touched.
//!
//! The path through the loader: `mbr.s` (first sector) reads everything else; `modes.s` goes to long mode and
//! calls [`stage2_main`]; from there on all is Rust, which calls the firmware through [`firmware`].

#![no_std]
#![no_main]

mod console;
mod disk;
mod firmware;
mod load;
mod memory;
mod menu;
mod multiboot;
mod table;

use core::arch::global_asm;
use core::panic::PanicInfo;

use console::Console;
use table::Table;

global_asm!(include_str!("mbr.s"));
global_asm!(include_str!("modes.s"));

/// Called by `modes.s` in long mode with the number of the boot drive.
#[unsafe(no_mangle)]
extern "sysv64" fn stage2_main(drive: u32) -> ! {
    let mut console = Console::new();
    if !memory::enable_a20() {
        stop(&mut console, "The memory above 1 MiB cannot be reached (address line A20 is off).");
    }
    let Some(table) = Table::find() else {
        stop(&mut console, "The boot table on this disk is damaged.");
    };
    let Some(map) = memory::Map::from_firmware() else {
        stop(&mut console, "The firmware gives no memory map.");
    };

    let mut timeout = Some(table.timeout_seconds());
    let mut selected = table.default_entry();
    loop {
        selected = menu::choose(&mut console, &table, selected, timeout);
        // A refused entry brings the menu back, and then somebody has to look at it.
        timeout = None;
        let Some(entry) = table.entry(selected) else { continue };
        match load::load(&mut console, &table, &entry, &map, drive as u8) {
            Ok(()) => multiboot::start(&entry, &map, drive as u8),
            Err(refusal) => {
                refusal.print(&mut console, &table);
                console.text("Press any key to return to the menu.\n");
                console.wait_key();
            }
        }
    }
}

/// Says why nothing can be started, and waits for the operator to switch off.
fn stop(console: &mut Console, reason: &str) -> ! {
    console.text("kiln: ");
    console.text(reason);
    console.text("\n");
    loop {
        firmware::idle();
    }
}

/// No code of the loader panics on purpose; a bug must still not run on with a wrong idea of the machine.
#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    stop(&mut Console::new(), "Internal error of the boot loader.")
}
