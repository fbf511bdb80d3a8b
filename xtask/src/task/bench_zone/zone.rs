//! A tar like one of a zone, the same on every machine.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};

/// Its name, which changes with what is in it.
pub const NAME: &str = "zone-1.tar";

/// How many files there are.
const FILES: u64 = 40_000;
/// Files in a folder.
const IN_A_FOLDER: u64 = 12;
/// Of a thousand files so many are large.
const LARGE: u64 = 43;
/// The shortest file, the longest of those that are not large, and the longest, in bytes.
const LENGTHS: [f64; 3] = [100.0, 32_768.0, 1_048_576.0];
/// Every so manieth file has a symbolic link to it, and every so manieth a second name.
const LINKED: u64 = 20;
const NAMED_TWICE: u64 = 100;
/// The times of all of it.
const TIME: u64 = 1_400_000_000;

/// What is in the tar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Files, without links.
    pub files: u64,
    /// Bytes of their contents.
    pub bytes: u64,
    /// Bytes of the tar.
    pub tar: u64,
}

/// Makes the tar, unless it is there.
///
/// # Errors
/// When it cannot be written.
pub fn make(path: &Path) -> Result<Summary> {
    let mut dice = Dice(1);
    let lengths: Vec<u64> = (0..FILES).map(|_| length(&mut dice)).collect();
    if !path.exists() {
        let aside = path.with_extension("part");
        let file = File::create(&aside).with_context(|| format!("cannot write {}", aside.display()))?;
        write(BufWriter::new(file), &lengths, &mut dice)?;
        fs::rename(aside, path)?;
    }
    Ok(Summary { files: FILES, bytes: lengths.iter().sum(), tar: fs::metadata(path)?.len() })
}

fn write(output: impl Write, lengths: &[u64], dice: &mut Dice) -> Result<()> {
    let mut tar = tar::Builder::new(output);
    let words: Vec<String> = (0..3000).map(|_| word(dice)).collect();
    let mut bytes = Vec::new();
    folder(&mut tar, "root")?;
    for top in 0..10 {
        folder(&mut tar, &format!("root/part-{top}"))?;
    }
    for (number, &length) in (0..).zip(lengths) {
        let parent = format!("root/part-{}/folder-{}", number / IN_A_FOLDER % 10, number / IN_A_FOLDER);
        if number % IN_A_FOLDER == 0 {
            folder(&mut tar, &parent)?;
        }
        let name = format!("{parent}/{}-{number}", words[dice.below(3000) as usize]);
        contents(&mut bytes, length as usize, &words, dice);
        let mut header = header(if number % 7 == 0 { 0o755 } else { 0o644 });
        header.set_size(length);
        tar.append_data(&mut header, &name, &bytes[..])?;
        if number % LINKED == 0 {
            let mut link = self::header(0o777);
            link.set_entry_type(tar::EntryType::Symlink);
            tar.append_link(&mut link, format!("{name}.link"), &name)?;
        }
        if number % NAMED_TWICE == 0 {
            let mut link = self::header(0o644);
            link.set_entry_type(tar::EntryType::Link);
            tar.append_link(&mut link, format!("{name}.again"), &name)?;
        }
    }
    tar.into_inner()?.flush()?;
    Ok(())
}

fn header(mode: u32) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(TIME);
    header.set_size(0);
    header
}

fn folder(tar: &mut tar::Builder<impl Write>, name: &str) -> Result<()> {
    let mut header = header(0o755);
    header.set_entry_type(tar::EntryType::Directory);
    Ok(tar.append_data(&mut header, format!("{name}/"), &[][..])?)
}

/// Small files are many and large ones few; between their limits all powers of ten are as likely.
fn length(dice: &mut Dice) -> u64 {
    let (low, high) =
        if dice.below(1000) < LARGE { (LENGTHS[1], LENGTHS[2]) } else { (LENGTHS[0], LENGTHS[1]) };
    #[expect(clippy::cast_precision_loss, reason = "a number below a million is exact")]
    let place = dice.below(1_000_000) as f64 / 1e6;
    (low * (high / low).powf(place)) as u64
}

/// Text in half of the files, which compresses well; what looks like programs in most of the others; noise in the rest.
fn contents(bytes: &mut Vec<u8>, length: usize, words: &[String], dice: &mut Dice) {
    bytes.clear();
    let kind = dice.below(10);
    while bytes.len() < length {
        match kind {
            0..5 => {
                let word =
                    dice.below(words.len() as u64) * dice.below(words.len() as u64) / words.len() as u64;
                bytes.extend_from_slice(words[word as usize].as_bytes());
                bytes.push(if dice.below(9) == 0 { b'\n' } else { b' ' });
            }
            // An instruction of few kinds, with operands that often repeat.
            5..9 => {
                let code = dice.below(24).pow(2) / 24;
                bytes.extend_from_slice(&[0x48, code as u8 * 7, (dice.below(64) >> dice.below(6)) as u8, 0]);
                if code < 6 {
                    bytes.extend_from_slice(&(dice.below(4096) as u16).to_le_bytes());
                }
            }
            _ => bytes.extend_from_slice(&dice.number().to_le_bytes()),
        }
    }
    bytes.truncate(length);
}

fn word(dice: &mut Dice) -> String {
    let length = 2 + dice.below(9);
    (0..length).map(|_| char::from(b'a' + dice.below(26) as u8)).collect()
}

/// Random numbers that are the same every time (SplitMix64).
struct Dice(u64);

impl Dice {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }
}
