//! Signed packages: whose are installed, and that other tools find in them what ours does.

use std::fs;
use std::process::Command;

use kiln_harness::tools;

use super::*;
use crate::packages::archive;

fn offered(bytes: &[u8], key: &Key) -> anyhow::Result<Installed> {
    let folder = kiln_harness::scratch::folder("packages-signed");
    fs::write(folder.path().join("a-1.tgz"), bytes).unwrap();
    fs::write(folder.path().join("pkg_summary.txt"), Package::new("a-1").summary()).unwrap();
    Ok(Setup::signed(folder.path(), key).install(&mut zone(&[]), &["a"])?.0)
}

fn said(bytes: &[u8], key: &Key) -> String {
    format!("{:#}", offered(bytes, key).unwrap_err())
}

fn package() -> Package {
    Package::new("a-1").file("bin/a", &vec![b'x'; 200_000], 0o755)
}

#[test]
fn only_packages_of_trusted_signers_are_installed() {
    let (key, stranger) = (Key::new(1), Key::new(2));
    let signer = offered(&package().signed(&key), &key).unwrap().packages.remove(0).signer.unwrap();
    assert_eq!(signer.user.as_deref(), Some("Packages 1 <packages@example.org>"));
    assert_eq!(signer.fingerprint.len(), 40);

    let unknown = said(&package().signed(&stranger), &key);
    assert!(unknown.starts_with("cannot install a-1: it is signed by "), "{unknown}");
    assert!(unknown.ends_with(", which is not in the keyring"), "{unknown}");
    assert_eq!(said(&package().archive(), &key), "cannot install a-1: it is not signed");

    // Signed for something else: the text of the signature is that of other digests.
    let other = pkgsrc::sign(&Package::new("a-1").archive(), "a-1", &key);
    let (hash, archive) = (text_of(&other), package().archive());
    let swapped = ar(&[
        ("+PKG_HASH", &text_of(&package().signed(&key))),
        ("+PKG_GPG_SIGNATURE", &key.sign(&hash)),
        ("a-1.tgz", &archive),
    ]);
    let wrong = said(&swapped, &key);
    assert!(wrong.starts_with("cannot install a-1: the signature is not that of the key "), "{wrong}");
}

#[test]
fn what_was_changed_after_it_was_signed_is_refused() {
    let key = Key::new(1);
    let good = package().signed(&key);
    let mut changed = good.clone();
    let at = changed.len() - 20;
    changed[at] ^= 1;
    assert_eq!(
        said(&changed, &key),
        "cannot install a-1: it was changed after it was signed: hash verification failed: block 0 hash mismatch"
    );
    let named = pkgsrc::sign(&package().archive(), "b-1", &key);
    assert_eq!(said(&named, &key), "cannot install a-1: the signature is that of b-1");
    let archive = package().archive();
    let (hash, signature) = (text_of(&good), key.sign(&text_of(&good)));
    let shorter = ar(&[("+PKG_HASH", &hash), ("+PKG_GPG_SIGNATURE", &signature), ("a-1.tgz", &archive[1..])]);
    assert!(said(&shorter, &key).contains("the signature is that of"));
    let no_signature = ar(&[("+PKG_HASH", &hash), ("+PKG_GPG_SIGNATURE", b"words"), ("a-1.tgz", &archive)]);
    assert!(said(&no_signature, &key).starts_with("cannot install a-1: "));
    let certificate = ar(&[("+PKG_HASH", &hash), ("+PKG_SIGNATURE", &signature), ("a-1.tgz", &archive)]);
    assert!(said(&certificate, &key).contains("X.509"));
    let two = ar(&[("+PKG_HASH", &hash), ("a-1.tgz", &archive)]);
    assert!(said(&two, &key).contains("a signed package has three parts, this one 2"));
}

#[test]
fn without_a_keyring_only_the_careless_install_anything() {
    let folder = kiln_harness::scratch::folder("packages-careless");
    fs::write(folder.path().join("a-1.tgz"), package().signed(&Key::new(1))).unwrap();
    let mut setup = Setup::unsigned(folder.path());
    let (installed, _) = setup.install(&mut zone(&[]), &["a"]).unwrap();
    assert_eq!(installed.packages[0].signer, None);
    setup.trust.allow_unsigned = false;
    let error = setup.install(&mut zone(&[]), &["a"]).unwrap_err();
    assert_eq!(
        format!("{error:#}"),
        "cannot install a-1: it is signed, but there is no keyring to check it with"
    );
}

#[test]
fn keyrings_are_read_in_both_forms() {
    let (first, second) = (Key::new(1), Key::new(2));
    let binary = [first.public(), second.public()].concat();
    let armored = format!("words\n{}\n{}", first.armored(), second.armored());
    // GnuPG puts notes of its own between the packets: tag 12, two bytes.
    let noted = [&first.public()[..], &[0xb0, 2, 0, 3], &second.public()].concat();
    for keyring in [binary, armored.into_bytes(), noted] {
        let keyring = Keyring::read(&keyring).unwrap();
        for key in [&first, &second] {
            keyring.verify(b"text", &key.sign(b"text")).unwrap();
            assert!(keyring.verify(b"other", &key.sign(b"text")).is_err());
        }
        let unknown = keyring.verify(b"text", &Key::new(3).sign(b"text")).unwrap_err();
        assert!(unknown.to_string().ends_with("which is not in the keyring"));
    }
    for bytes in [&b""[..], b"words", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nnonsense\n", &[0xff; 40]] {
        assert!(Keyring::read(bytes).is_err());
    }
}

#[test]
fn gpg_ar_and_tar_find_the_same_in_a_signed_package() {
    let (Some(gpg), Some(ar), Some(tar)) =
        (tools::require("gpg"), tools::require("ar"), tools::require("tar"))
    else {
        return;
    };
    let folder = kiln_harness::scratch::folder("packages-tools");
    let path = |name: &str| folder.path().join(name);
    let key = Key::new(7);
    fs::write(path("a-1.tgz"), package().signed(&key)).unwrap();
    fs::write(path("keyring"), key.public()).unwrap();
    let run = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        let output = command
            .args(arguments)
            .current_dir(folder.path())
            .env("GNUPGHOME", folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(run(&ar, &["t", "a-1.tgz"]), "+PKG_HASH\n+PKG_GPG_SIGNATURE\na-1.tgz\n");
    fs::create_dir(path("parts")).unwrap();
    run(&ar, &["x", "--output", "parts", "a-1.tgz"]);
    run(&gpg, &["--batch", "--import", "keyring"]);
    run(&gpg, &["--batch", "--verify", "parts/+PKG_GPG_SIGNATURE", "parts/+PKG_HASH"]);
    let listed = run(&tar, &["tf", "parts/a-1.tgz"]);
    assert_eq!(
        listed.lines().collect::<Vec<_>>(),
        [
            "+CONTENTS",
            "+COMMENT",
            "+DESC",
            "+BUILD_VERSION",
            "+BUILD_INFO",
            "+SIZE_PKG",
            "+SIZE_ALL",
            "bin/a"
        ]
    );
    // And the other way round: gpg signs, and its signature is good here. Its key is one that it made itself.
    let parameters =
        "%no-protection\nKey-Type: RSA\nKey-Length: 2048\nName-Real: Other\nExpire-Date: 0\n%commit\n";
    fs::write(path("parameters"), parameters).unwrap();
    run(&gpg, &["--batch", "--gen-key", "parameters"]);
    run(
        &gpg,
        &[
            "--batch",
            "--yes",
            "-u",
            "Other",
            "--detach-sign",
            "--armor",
            "-o",
            "signature",
            "parts/+PKG_HASH",
        ],
    );
    run(&gpg, &["--batch", "--yes", "--export", "-o", "other", "Other"]);
    let keyring = Keyring::read(&fs::read(path("other")).unwrap()).unwrap();
    let text = fs::read(path("parts/+PKG_HASH")).unwrap();
    let signer = keyring.verify(&text, &fs::read(path("signature")).unwrap()).unwrap();
    assert_eq!(signer.user.as_deref(), Some("Other"));
    let _ = Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", folder.path()).status();
}

/// An `ar` archive.
fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, contents) in members {
        let size = contents.len() + if name.len() > 16 { name.len() } else { 0 };
        let short = if name.len() > 16 { format!("#1/{}", name.len()) } else { (*name).to_owned() };
        bytes.extend(format!("{short:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 100_644).bytes());
        if name.len() > 16 {
            bytes.extend(name.bytes());
        }
        bytes.extend_from_slice(contents);
        if size % 2 == 1 {
            bytes.push(b'\n');
        }
    }
    bytes
}

/// The `+PKG_HASH` of a signed package.
fn text_of(package: &[u8]) -> Vec<u8> {
    let members = super::super::ar::members(&package.to_vec(), package.len() as u64).unwrap();
    package[members[0].offset as usize..][..members[0].size as usize].to_vec()
}

#[test]
fn any_bytes_are_a_package_or_an_error() {
    let limits = crate::tarball::Limits { file_bytes: 1 << 20, total_bytes: 4 << 20, members: 1000 };
    let good = package().signed(&Key::new(1));
    let members = archive::probe(&good, limits).unwrap();
    assert_eq!(members.iter().map(|member| &member.path[..]).collect::<Vec<_>>(), [b"bin/a"]);
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 0x41;
        let _ = archive::probe(&bad, limits);
        let _ = archive::probe(&good[..at].to_vec(), limits);
    }
}
