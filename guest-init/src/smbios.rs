//! The platform's `smbios`, with the right UUID.
//!
//! Platforms before 2018 take the UUID of a virtual machine under bhyve for one of the other byte order (OS-6727, OS-7445).
//! `sysinfo` looks for programs in `/system/usr/bin` first; there is this one. It runs the platform's own with the same
//! words and passes on what that says, but for the UUID of the system (structure type 1): the host knows it, as `sdc:uuid`.
//! If it does not say, there is the serial number, which is the same UUID in text under every host.
//!
//! `sysinfo` evaluates what it reads in a shell, so nothing but hexadecimal digits and hyphens ever takes the UUID's place.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::boot;
use crate::files::{self, Owner};
use crate::state;

/// The platform's program.
const PLATFORM: &str = "/usr/sbin/smbios";

/// Set for it: should it turn out to be this program, that one asks nobody else.
const GUARD: &str = "GUEST_INIT_SMBIOS";

/// Where the UUID is kept as long as the boot: `sysinfo` asks often.
const KEPT: &str = "uuid";

/// How long the host may take. The service that gives the machine its name waits for `sysinfo`.
const PATIENCE: Duration = Duration::from_secs(10);

/// The exit status when the platform's program cannot be run, which is also its own for an error.
const CANNOT: u8 = 1;

/// Answers like the platform's program with these words; its exit status.
pub fn run(words: &[OsString]) -> u8 {
    if env::var_os(GUARD).is_some() {
        eprintln!("smbios: {PLATFORM} is not the platform's program");
        return CANNOT;
    }
    let answer = Command::new(PLATFORM).args(words).env(GUARD, "1").stderr(Stdio::inherit()).output();
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            eprintln!("smbios: cannot run {PLATFORM}: {error}");
            return CANNOT;
        }
    };
    let text = if has_uuid(&answer.stdout) {
        let uuid = known_uuid().or_else(|| serial_number(&answer.stdout));
        uuid.map_or(answer.stdout.clone(), |uuid| corrected(&answer.stdout, &uuid))
    } else {
        answer.stdout
    };
    if io::stdout().write_all(&text).is_err() {
        return CANNOT;
    }
    match (answer.status.code(), answer.status.signal()) {
        (Some(status), _) => status as u8,
        // As a shell tells it.
        (None, signal) => signal.map_or(CANNOT, |signal| 128 + signal as u8),
    }
}

/// The UUID of this machine, as the host knows it.
fn known_uuid() -> Option<String> {
    let kept = Path::new(state::FOLDER).join(KEPT);
    if let Some(uuid) = files::read(&kept, 64).ok().as_deref().and_then(uuid) {
        return Some(uuid);
    }
    let uuid = uuid(&boot::metadata(PATIENCE).lookup("sdc:uuid").value()?)?;
    // Not everybody may write it, and then the host is asked again.
    let _ = fs::create_dir_all(state::FOLDER)
        .and_then(|()| files::replace(&kept, uuid.as_bytes(), Owner { mode: 0o600, ids: None }));
    Some(uuid)
}

/// A UUID in text, with small letters; nothing if it is none.
fn uuid(text: &[u8]) -> Option<String> {
    let text = text.trim_ascii();
    let fits = text.len() == 36
        && text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    // All zeros and all ones stand for none (SMBIOS reference specification, 7.2.1).
    let is_set = |empty: u8| text.iter().any(|byte| *byte != b'-' && byte.to_ascii_lowercase() != empty);
    (fits && is_set(b'0') && is_set(b'f')).then(|| String::from_utf8_lossy(text).to_ascii_lowercase())
}

/// A line of output, with what is known about it.
struct Line<'a> {
    /// With its end.
    bytes: &'a [u8],
    /// Its property, if it is one of the structure of the system.
    of_system: Option<Property<'a>>,
}

/// A property: `  NAME: VALUE`.
struct Property<'a> {
    name: &'a [u8],
    value: &'a [u8],
}

impl Property<'_> {
    /// Newer platforms print the UUID in both byte orders. They are one here, since either may be read.
    fn is_uuid(&self) -> bool {
        matches!(self.name, b"UUID" | b"UUID (Endian-corrected)")
    }
}

/// The lines of an output. A structure begins with a line of its number, length and type, and its properties are indented.
fn lines(output: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut in_system = false;
    output.split_inclusive(|&byte| byte == b'\n').map(move |bytes| {
        let is_indented = bytes.first().is_some_and(u8::is_ascii_whitespace);
        if !is_indented {
            in_system = bytes.split(u8::is_ascii_whitespace).any(|word| word == b"SMB_TYPE_SYSTEM");
        }
        let colon = bytes.windows(2).position(|pair| pair == b": ").filter(|_| in_system && is_indented);
        let of_system = colon.map(|colon| Property {
            name: bytes[..colon].trim_ascii(),
            value: bytes[colon + 2..].trim_ascii(),
        });
        Line { bytes, of_system }
    })
}

fn has_uuid(output: &[u8]) -> bool {
    lines(output).any(|line| line.of_system.is_some_and(|property| property.is_uuid()))
}

fn serial_number(output: &[u8]) -> Option<String> {
    lines(output)
        .filter_map(|line| line.of_system)
        .find(|property| property.name == b"Serial Number")
        .and_then(|property| uuid(property.value))
}

/// The output with this UUID of the system.
fn corrected(output: &[u8], uuid: &str) -> Vec<u8> {
    let mut text = Vec::with_capacity(output.len());
    for line in lines(output) {
        match line.of_system {
            Some(property) if property.is_uuid() => {
                text.extend_from_slice(b"  ");
                text.extend_from_slice(property.name);
                text.extend_from_slice(b": ");
                text.extend_from_slice(uuid.as_bytes());
                text.push(b'\n');
            }
            _ => text.extend_from_slice(line.bytes),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RIGHT: &str = "5f2b5b0a-1111-4000-8000-000000000001";
    const SWAPPED: &str = "0a5b2b5f-1111-0040-8000-000000000001";

    fn output(uuid: &str, serial: &str) -> String {
        format!(
            "ID    SIZE TYPE\n0     70   SMB_TYPE_BIOS (type 0) (BIOS information)\n\n  Vendor: BHYVE\n  UUID: none\n\n\
             ID    SIZE TYPE\n1     64   SMB_TYPE_SYSTEM (type 1) (system information)\n\n\
             \x20 Manufacturer: Joyent\n  Product: SmartDC HVM\n  Serial Number: {serial}\n\n\
             \x20 UUID: {uuid}\n  UUID (Endian-corrected): {uuid}\n  Wake-Up Event: 0x6 (power switch)\n\n\
             ID    SIZE TYPE\n3     22   SMB_TYPE_CHASSIS (type 3)\n\n  Serial Number: x\n  UUID: y\n"
        )
    }

    #[test]
    fn hazard_25_only_the_uuid_of_the_system_changes() {
        let platform = output(SWAPPED, "none");
        assert!(has_uuid(platform.as_bytes()));
        assert_eq!(corrected(platform.as_bytes(), RIGHT), output(RIGHT, "none").into_bytes());
        let oldest = format!(
            "ID    SIZE TYPE\n1     45   SMB_TYPE_SYSTEM (system information)\n\n  UUID: {SWAPPED}\n"
        );
        assert_eq!(corrected(oldest.as_bytes(), RIGHT), oldest.replace(SWAPPED, RIGHT).into_bytes());
    }

    #[test]
    fn hazard_25_the_serial_number_stands_in_if_it_is_a_uuid() {
        let of = |serial: &str| serial_number(output(SWAPPED, serial).as_bytes());
        assert_eq!(of(&RIGHT.to_ascii_uppercase()).as_deref(), Some(RIGHT));
        for serial in ["", "none", "$(reboot)", "5f2b5b0a-1111-4000-8000-00000000000g", &SWAPPED[1..]] {
            assert_eq!(of(serial), None, "{serial}");
        }
    }

    #[test]
    fn other_output_has_nothing_to_correct() {
        for other in
            ["", "\n", "ID SIZE TYPE\n4 42 SMB_TYPE_PROCESSOR\n  UUID: x\n", "  UUID: x\n", "\u{fffd}"]
        {
            assert!(!has_uuid(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn what_a_shell_would_evaluate_is_no_uuid() {
        assert_eq!(uuid(RIGHT.as_bytes()).as_deref(), Some(RIGHT));
        assert_eq!(uuid(format!("{RIGHT}\n").as_bytes()).as_deref(), Some(RIGHT));
        for text in [
            "`reboot`aaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "00000000-0000-0000-0000-000000000000",
            "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
            "",
        ] {
            assert_eq!(uuid(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_platforms_program_may_say_anything(text in "([ A-Za-z:\n]|SMB_TYPE_SYSTEM |UUID: ){0,60}") {
            let corrected = corrected(text.as_bytes(), RIGHT);
            prop_assert_eq!(has_uuid(text.as_bytes()), has_uuid(&corrected));
            if !has_uuid(text.as_bytes()) {
                prop_assert_eq!(corrected, text.into_bytes());
            }
        }
    }
}
