//! GRUB legacy menus: any bytes give a menu, and one that is valid is written and read back equal.
#![no_main]

use kiln_bootdisk::menu::{Menu, MenuStyle};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let menu = Menu::parse(input);
    for style in [MenuStyle::FirstSerialPort, MenuStyle::Original] {
        if let Ok(text) = menu.render(style) {
            assert_eq!(Menu::parse(text.as_bytes()), menu);
        }
    }
});
