//! Whatever is written is read back.

use std::collections::BTreeMap;

use kiln_bootdisk::disk::DiskPlan;
use kiln_bootdisk::fat32::Volume;
use kiln_bootdisk::menu::{Menu, MenuEntry, MenuStyle};
use proptest::prelude::*;

use crate::support::{Files, MIB, NO_CODE, effort, expected, options, read_all};

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,8}",
        "[A-Z]{1,8}\\.[A-Z]{1,3}",
        "\\.[a-z]{1,12}",
        "[a-zA-Z0-9 _~+,;=\\[\\]'.-]{0,30}[a-z0-9]",
        "[äößé日本ж😀]{1,40}",
        "longname~[0-9]\\.t",
    ]
    .prop_filter("FAT cannot hold it", |name| !name.starts_with(' '))
}

prop_compose! {
    fn trees()(
        files in prop::collection::vec(
            (
                prop::collection::vec(name(), 1..4),
                0..20_000usize,
                any::<u8>(),
                any::<i64>(),
                0..5_000_000_000i64,
            ),
            0..40,
        )
    ) -> Files {
        // Keep the first of those that are the same to FAT, in any case and as file or directory.
        let mut known: BTreeMap<String, (String, bool)> = BTreeMap::new();
        let mut kept = Vec::new();
        for (parts, size, byte, wild, sane) in files {
            let path = parts.join("/");
            let prefixes: Vec<String> = (1..=parts.len()).map(|count| parts[..count].join("/")).collect();
            let clash = prefixes.iter().any(|prefix| {
                known.get(&prefix.to_uppercase()).is_some_and(|(spelling, is_file)| {
                    spelling != prefix || *is_file || *prefix == path
                })
            });
            if !clash {
                for prefix in prefixes {
                    let is_file = prefix == path;
                    known.insert(prefix.to_uppercase(), (prefix, is_file));
                }
                let modified = if byte == 0 { wild } else { sane };
                kept.push((path, vec![byte; size], modified));
            }
        }
        Files(kept)
    }
}

proptest! {
    #![proptest_config(effort())]
    #[test]
    fn trees_come_back(files in trees(), mib in 258..600u64) {
        let layout = DiskPlan::new(&options(mib * MIB), &files.entries()).unwrap().finish(&NO_CODE).unwrap();
        files.with(&layout, |disk| {
            assert_eq!(read_all(disk), expected(&files));
            let partition = Some((2048, (mib * 2048 - 2048) as u32));
            assert_eq!(Volume::open(disk, MIB).unwrap().check(partition).unwrap(), []);
        });
    }
}

prop_compose! {
    fn menus()(
        timeout_seconds: u32,
        default in 0..4usize,
        entries in prop::collection::vec(
            (
                "[!-<>-\\[\\]-~]([ -~]{0,30}[!-\\[\\]-~])?",
                "/[!-\\[\\]-~]{0,40}",
                "([!-\\[\\]-~]([ -~]{0,60}[!-\\[\\]-~])?)?",
                prop::collection::vec("/[!-\\[\\]-~]{1,30}", 0..4),
            ),
            4..8,
        )
    ) -> Menu {
        let entry = |(title, kernel, arguments, modules)| MenuEntry { title, kernel, arguments, modules };
        Menu { timeout_seconds, default, entries: entries.into_iter().map(entry).collect() }
    }
}

proptest! {
    #![proptest_config(effort())]
    #[test]
    fn menus_come_back(menu in menus()) {
        for style in [MenuStyle::FirstSerialPort, MenuStyle::Original] {
            let text = menu.render(style).unwrap();
            prop_assert_eq!(&Menu::parse(text.as_bytes()), &menu);
        }
    }

    #[test]
    fn any_bytes_are_a_menu(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let menu = Menu::parse(&bytes);
        prop_assert!(menu.entries.len() <= 64);
    }
}
