//! Password hashes of crypt(3C), method `$5$`: SHA-256 in 5000 rounds, by Ulrich Drepper's "Unix crypt using SHA-256 and
//! SHA-512". Every platform knows it.

use sha2::{Digest, Sha256};

/// How often is hashed, when a hash does not say.
const ROUNDS: usize = 5000;

/// The longest salt that has a meaning, in bytes.
const LONGEST_SALT: usize = 16;

/// The digits, by value.
pub const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// In which order the bytes of the digest are written: three bytes make four digits, the last two make three.
const ORDER: [[usize; 3]; 10] = [
    [0, 10, 20],
    [21, 1, 11],
    [12, 22, 2],
    [3, 13, 23],
    [24, 4, 14],
    [15, 25, 5],
    [6, 16, 26],
    [27, 7, 17],
    [18, 28, 8],
    [9, 19, 29],
];

/// The hash of a password, `$5$SALT$DIGEST`. Of a salt, [`DIGITS`] may be in it, and the first 16 count.
pub fn sha256(password: &[u8], salt: &[u8]) -> String {
    let salt = &salt[..salt.len().min(LONGEST_SALT)];
    let other = Sha256::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut first = Sha256::new().chain_update(password).chain_update(salt);
    first.update(repeated(&other, password.len()));
    let mut length = password.len();
    while length > 0 {
        first.update(if length & 1 == 1 { &other[..] } else { password });
        length >>= 1;
    }
    let mut digest = first.finalize();

    let mut of_password = Sha256::new();
    (0..password.len()).for_each(|_| of_password.update(password));
    let password = repeated(&of_password.finalize(), password.len());
    let mut of_salt = Sha256::new();
    (0..16 + usize::from(digest[0])).for_each(|_| of_salt.update(salt));
    let salt_bytes = repeated(&of_salt.finalize(), salt.len());

    for round in 0..ROUNDS {
        let is_odd = round % 2 == 1;
        let mut hash = Sha256::new();
        hash.update(if is_odd { &password[..] } else { &digest[..] });
        if round % 3 != 0 {
            hash.update(&salt_bytes);
        }
        if round % 7 != 0 {
            hash.update(&password);
        }
        hash.update(if is_odd { &digest[..] } else { &password[..] });
        digest = hash.finalize();
    }
    format!("$5${}${}", String::from_utf8_lossy(salt), digits(&digest))
}

/// A digest, over and over, up to a length.
fn repeated(digest: &[u8], length: usize) -> Vec<u8> {
    digest.iter().copied().cycle().take(length).collect()
}

fn digits(digest: &[u8]) -> String {
    let mut text = String::with_capacity(43);
    let mut write = |mut value: u32, count: usize| {
        for _ in 0..count {
            text.push(char::from(DIGITS[(value & 63) as usize]));
            value >>= 6;
        }
    };
    for [high, middle, low] in ORDER {
        write(u32::from_be_bytes([0, digest[high], digest[middle], digest[low]]), 4);
    }
    write(u32::from_be_bytes([0, 0, digest[31], digest[30]]), 3);
    text
}

#[cfg(test)]
mod tests {
    use super::sha256;

    /// Inputs of the specification, without its rounds; glibc and OpenSSL give the same hashes.
    #[test]
    fn the_published_vectors() {
        for (password, salt, hash) in [
            ("Hello world!", "saltstring", "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
            ("This is just a test", "toolongsaltstrin", "Un/5jzAHMgOGZ5.mWJpuVolil07guHPvOW8mGRcvxa5"),
            (
                "the minimum number is still observed",
                "roundstoolow",
                "LBuYKTzKgEAL9lQXxUyCloWaUC0rpDg04n9klCFIGv6",
            ),
        ] {
            assert_eq!(sha256(password.as_bytes(), salt.as_bytes()), format!("$5${salt}${hash}"));
        }
        assert_eq!(sha256(b"x", b"toolongsaltstring"), sha256(b"x", b"toolongsaltstrin"), "16 bytes count");
    }
}
