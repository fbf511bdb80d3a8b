//! The emergency password: the way in when no key is.
//!
//! It is told on the console alone, which only whoever runs the machine can see, and no login over the network takes it.
//! It ends with the boot, for the file that has it lies in memory.

use anyhow::{Context, Result};

use super::{crypt, shadow};
use crate::engine::Guest;
use crate::random;

/// Small letters and digits without those that look alike: a console has no clipboard. Five bits each.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// How many letters: 100 bits.
const LENGTH: usize = 20;

/// How many letters stand together.
const GROUP: usize = 5;

/// Gives root a password that nobody knew before, and tells it on the console; once in a boot.
///
/// # Errors
/// When there is nothing random to be had, the file cannot be written, or the console is not told. Root has no password then:
/// one that nobody knows would be taken for the owner's own.
pub fn emergency(guest: &mut Guest<'_>) -> Result<()> {
    if guest.state.emergency_password {
        return Ok(());
    }
    let password = letters(random::bytes()?);
    let salt = random::bytes::<16>()?.map(|byte| crypt::DIGITS[usize::from(byte % 64)]);
    shadow::set_root(&crypt::sha256(password.as_bytes(), &salt))?;
    let told = guest.log.secret(&format!(
        "until the next boot, root can log in on this console with the password {password}"
    ));
    if let Err(error) = told {
        shadow::set_root(shadow::NO_PASSWORD)?;
        return Err(error).context("cannot tell the console root's emergency password");
    }
    guest.log.line("root has an emergency password, which the console was told");
    guest.state.emergency_password = true;
    Ok(())
}

/// A password of these bytes, of which the five lowest bits count.
fn letters(bytes: [u8; LENGTH]) -> String {
    let letters: Vec<char> = bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    letters.chunks(GROUP).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_counts() {
        let distinct: std::collections::BTreeSet<u8> = LETTERS.iter().copied().collect();
        assert_eq!(distinct.len(), 32);
        assert_eq!(letters([0; LENGTH]), "aaaaa-aaaaa-aaaaa-aaaaa");
        assert_eq!(letters([0xff; LENGTH]), "99999-99999-99999-99999");
        let first = letters(random::bytes().expect("there is something random"));
        assert_ne!(first, letters(random::bytes().expect("there is something random")));
    }
}
