//! `dladm`: datalinks.

use anyhow::Result;
use guest_mdata::values::MacAddress;

use super::{Commands, Invocation, Output};
use crate::state::Link;

const PROGRAM: &str = "/usr/sbin/dladm";

/// The longest name of a datalink (illumos `sys/mac.h`, `MAXLINKNAMELEN` without its zero).
const LONGEST_NAME: usize = 31;

/// Whether a network answers on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// It does.
    Up,
    /// It does not.
    Down,
    /// The driver has not found out.
    Unknown,
}

/// Attaches the drivers of all network devices, so that their links exist. What has happened does not happen again: it
/// does no harm that the platform's network service does the same later, or has done it (illumos
/// `usr/src/cmd/dladm/dladm.c`, `do_init_phys`).
pub fn init_phys() -> Invocation {
    Invocation::changes(PROGRAM, ["init-phys"])
}

/// The physical links with their Ethernet addresses.
pub fn physical(commands: &mut dyn Commands) -> Result<Vec<Link>> {
    let invocation = Invocation::reads(PROGRAM, ["show-phys", "-m", "-p", "-o", "link,address"]);
    Ok(links(&commands.text(&invocation)?))
}

/// The physical links, each with its state. A link that nothing has open is in no state that anybody
/// knows, with most drivers, whether there is a cable in it or not (illumos `usr/src/cmd/dladm/dladm.c`, `get_linkstate`).
pub fn states(commands: &mut dyn Commands) -> Result<Vec<(String, LinkState)>> {
    let invocation = Invocation::reads(PROGRAM, ["show-phys", "-p", "-o", "link,state"]);
    let text = commands.text(&invocation)?;
    let state = |word: &str| match word {
        "up" => LinkState::Up,
        "down" => LinkState::Down,
        _ => LinkState::Unknown,
    };
    Ok(text
        .lines()
        .map(fields)
        .filter_map(|fields| Some((fields.first()?.clone(), state(fields.get(1)?))))
        .collect())
}

/// The physical links in the lines of `link,address`. A link with several addresses is there with its first. What is no
/// link with an Ethernet address is left out: names go into rules, and nothing but a name may get there.
pub fn links(text: &str) -> Vec<Link> {
    let mut links: Vec<Link> = Vec::new();
    for line in text.lines() {
        let fields = fields(line);
        let [name, address] = &fields[..] else { continue };
        let Ok(MacAddress(mac)) = address.parse() else { continue };
        if is_link_name(name) && !links.iter().any(|link| link.name == *name) {
            links.push(Link { name: name.clone(), mac });
        }
    }
    links
}

/// Makes an etherstub that is gone at the next boot.
pub fn create_etherstub(name: &str) -> Invocation {
    Invocation::changes(PROGRAM, ["create-etherstub", "-t", name])
}

/// Makes a virtual network card over a link; it is gone at the next boot.
pub fn create_vnic(over: &str, name: &str) -> Invocation {
    Invocation::changes(PROGRAM, ["create-vnic", "-t", "-l", over, name])
}

/// Whether a link could not be made because there is one of that name (illumos `libdladm`, `DLADM_STATUS_EXIST`).
pub fn exists_already(output: &Output) -> bool {
    output.status != 0 && String::from_utf8_lossy(&output.stderr).contains("object already exists")
}

/// Whether this can be the name of a datalink: it begins with a letter and ends with a digit.
pub fn is_link_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    (2..=LONGEST_NAME).contains(&bytes.len())
        && bytes[0].is_ascii_alphabetic()
        && bytes[bytes.len() - 1].is_ascii_digit()
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// The fields of a line of `-p` output with at least two columns: colons separate them, and a backslash takes away the
/// meaning of the character after it.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            ':' => fields.push(String::new()),
            '\\' => fields.last_mut().expect("there is one from the start").extend(characters.next()),
            other => fields.last_mut().expect("there is one from the start").push(other),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_unescaped_and_normalised() {
        let read = links("e1000g0:52\\:54\\:0\\:a1\\:2\\:3\ne1000g1:52\\:54\\:0\\:a1\\:2\\:4\n");
        let link = |name: &str, last| Link { name: name.to_owned(), mac: [0x52, 0x54, 0, 0xa1, 2, last] };
        assert_eq!(read, [link("e1000g0", 3), link("e1000g1", 4)]);
    }

    #[test]
    fn what_is_no_link_is_left_out() {
        let text = "e1000g0\n:52\\:54\\:0\\:0\\:0\\:1\nvioif0:\nigb0:52\\:54\\:0\\:0\\:0\nip tables0:2\\:8\\:20\\:0\\:0\\:1\n\
                    vioif1:2\\:8\\:20\\:0\\:0\\:1\nvioif1:2\\:8\\:20\\:0\\:0\\:2\n\\";
        let names: Vec<String> = links(text).into_iter().map(|link| link.name).collect();
        assert_eq!(names, ["vioif1"]);
    }
}
