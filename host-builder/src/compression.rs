//! How the files of images are compressed: told by their first bytes, expanded, and made. All that kiln knows of gzip,
//! bzip2 and xz meets here; these and none are what manifests know (source: node-imgmanifest, lib/imgmanifest.js).

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::num::{NonZeroU64, NonZeroUsize};
use std::ops::RangeInclusive;

use bzip2::read::MultiBzDecoder;
use bzip2::write::BzEncoder;
use kiln_pgzip::Members;
use lzma_rust2::{XzOptions, XzReader, XzWriterMt};

/// How many first bytes tell the compression.
pub const MAGIC_BYTES: usize = 10;

/// What compressed bytes are read in, before they are looked at one by one.
const BUFFER: usize = 64 << 10;

/// Most memory that expanding an xz may take, in KiB: four times what the largest preset of xz(1) needs.
const XZ_MEMORY: u32 = 256 << 10;
/// The level of bzip2(1), the hundreds of thousands of bytes in a block.
const BZIP2_LEVEL: u8 = 9;
/// The preset of xz(1) that `imgadm create` uses, which is its default.
const XZ_PRESET: u32 = 6;
/// Bytes of input in a block of xz, which threads compress apart from each other: two of the preset's dictionaries.
const XZ_BLOCK: NonZeroU64 = NonZeroU64::new(16 << 20).expect("it is not 0");
/// Most threads of xz: each takes some 130 MiB.
const XZ_THREADS: usize = 4;

/// How bytes are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// With gzip(1).
    Gzip,
    /// With bzip2(1).
    Bzip2,
    /// With xz(1).
    Xz,
}

impl Compression {
    /// Tells by the first [`MAGIC_BYTES`] of the bytes.
    pub fn of(head: &[u8]) -> Compression {
        // A block of bzip2 begins with the digits of pi, and the end of an empty one with those of its root.
        const BZIP2_BLOCKS: [&[u8]; 2] =
            [&[0x31, 0x41, 0x59, 0x26, 0x53, 0x59], &[0x17, 0x72, 0x45, 0x38, 0x50, 0x90]];
        match head {
            _ if kiln_pgzip::looks_like_gzip(head) => Compression::Gzip,
            [b'B', b'Z', b'h', b'1'..=b'9', block @ ..]
                if BZIP2_BLOCKS.iter().any(|known| block.starts_with(known)) =>
            {
                Compression::Bzip2
            }
            [0xFD, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            _ => Compression::None,
        }
    }

    /// The name in manifests, which is that of the program too.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Bzip2 => "bzip2",
            Compression::Xz => "xz",
        }
    }

    /// The levels that there are; none where nothing is compressed. xz(1) has three more, whose dictionaries are larger than half a
    /// block of threads here.
    pub fn levels(self) -> RangeInclusive<u8> {
        match self {
            Compression::None => RangeInclusive::new(1, 0),
            Compression::Gzip => 1..=12,
            Compression::Bzip2 => 1..=9,
            Compression::Xz => 0..=6,
        }
    }

    /// What `imgadm create` lets the names of such files end in.
    pub fn suffix(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Bzip2 => ".bz2",
            Compression::Xz => ".xz",
        }
    }
}

/// What was read to tell the compression, and all that follows it.
pub type Whole<R> = io::Chain<io::Cursor<Vec<u8>>, R>;

/// The first bytes of `input`, by which [`Compression::of`] tells its compression, and `input` with nothing missing.
///
/// # Errors
/// It cannot be read.
pub fn peek<R: Read>(mut input: R) -> io::Result<(Vec<u8>, Whole<R>)> {
    let mut head = Vec::new();
    input.by_ref().take(MAGIC_BYTES as u64).read_to_end(&mut head)?;
    Ok((head.clone(), io::Cursor::new(head).chain(input)))
}

/// Expands what it reads, to the end of the last of several files in a row, as the programs do.
pub struct Reader<R: Read> {
    inner: Expander<R>,
    /// The decoders are not to be asked again after they failed.
    failed: bool,
}

enum Expander<R: Read> {
    Plain(R),
    Gzip(Box<kiln_pgzip::Reader<R>>),
    Bzip2(Box<MultiBzDecoder<R>>),
    Xz(Box<XzReader<BufReader<R>>>),
}

impl<R: Read> Reader<R> {
    /// Expands `input`, which is compressed in this way. Reads nothing yet.
    pub fn new(input: R, compression: Compression) -> Reader<R> {
        let inner = match compression {
            Compression::None => Expander::Plain(input),
            Compression::Gzip => Expander::Gzip(Box::new(kiln_pgzip::Reader::new(input))),
            Compression::Bzip2 => Expander::Bzip2(Box::new(MultiBzDecoder::new(input))),
            Compression::Xz => {
                let input = BufReader::with_capacity(BUFFER, input);
                Expander::Xz(Box::new(XzReader::new_mem_limit(input, true, XZ_MEMORY)))
            }
        };
        Reader { inner, failed: false }
    }

    /// Where in the input, in bytes, something follows that is ignored, as gzip(1) does. What follows the others is an
    /// error.
    pub fn ignored_from(&self) -> Option<u64> {
        match &self.inner {
            Expander::Gzip(gzip) => gzip.ignored_from(),
            _ => None,
        }
    }

    /// The input. It may have been read further than what came out; at the end of the others than gzip, to its end.
    pub fn into_inner(self) -> R {
        match self.inner {
            Expander::Plain(input) => input,
            Expander::Gzip(gzip) => gzip.into_inner(),
            Expander::Bzip2(bzip2) => bzip2.into_inner(),
            Expander::Xz(xz) => xz.into_inner().into_inner(),
        }
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.failed {
            return Err(io::Error::other("reading went on after an error"));
        }
        let (name, result) = match &mut self.inner {
            Expander::Plain(input) => return input.read(buffer),
            // It names itself in its errors.
            Expander::Gzip(gzip) => return gzip.read(buffer),
            Expander::Bzip2(bzip2) => ("bzip2", bzip2.read(buffer)),
            Expander::Xz(xz) => ("xz", xz.read(buffer)),
        };
        result.map_err(|error| {
            self.failed = error.kind() != io::ErrorKind::Interrupted;
            match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    io::Error::new(error.kind(), format!("the {name} ends before its end"))
                }
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                    io::Error::new(error.kind(), format!("the {name} is damaged: {error}"))
                }
                _ => error,
            }
        })
    }
}

/// Compresses what is written to it. The bytes that come out depend on those that go in alone, and neither on the
/// number of threads nor on how they were cut into pieces.
///
/// The levels are those of the programs; without one they are those of `imgadm create`, which are the programs' defaults.
pub struct Writer<W: Write>(Packer<W>);

enum Packer<W: Write> {
    Plain(W),
    Gzip(Box<kiln_pgzip::Writer<W>>),
    Bzip2(Box<BzEncoder<BufWriter<W>>>),
    Xz(Box<XzWriterMt<W>>),
}

impl<W: Write> Writer<W> {
    /// Compresses into `output` with a level of those that [`Compression::levels`] gives, by at most so many threads; bzip2 takes
    /// one, and xz no more than 4.
    ///
    /// # Errors
    /// The system has no more threads.
    pub fn with_level(
        output: W,
        compression: Compression,
        level: Option<u8>,
        threads: NonZeroUsize,
    ) -> io::Result<Writer<W>> {
        Ok(Writer(match compression {
            Compression::None => Packer::Plain(output),
            Compression::Gzip => {
                let mut options = kiln_pgzip::Options { threads, ..Default::default() };
                options.level = level.unwrap_or(options.level);
                Packer::Gzip(Box::new(kiln_pgzip::Writer::new(output, options)?))
            }
            Compression::Bzip2 => {
                let output = BufWriter::with_capacity(BUFFER, output);
                Packer::Bzip2(Box::new(BzEncoder::new(
                    output,
                    bzip2::Compression::new(level.unwrap_or(BZIP2_LEVEL).into()),
                )))
            }
            Compression::Xz => {
                let mut options = XzOptions::with_preset(level.map_or(XZ_PRESET, u32::from));
                options.set_block_size(Some(XZ_BLOCK));
                let threads = threads.get().min(XZ_THREADS) as u32;
                Packer::Xz(Box::new(XzWriterMt::new(output, options, threads)?))
            }
        }))
    }

    /// Compresses what is left, writes everything, and gives the output back, flushed; and of gzip, the lengths of its members.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(self) -> io::Result<(W, Option<Members>)> {
        let mut members = None;
        let mut output = match self.0 {
            Packer::Plain(output) => output,
            Packer::Gzip(gzip) => {
                let (output, totals) = gzip.finish()?;
                members = Some(totals.members);
                output
            }
            Packer::Bzip2(bzip2) => bzip2.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?,
            Packer::Xz(xz) => xz.finish()?,
        };
        output.flush()?;
        Ok((output, members))
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Packer::Plain(output) => output.write(bytes),
            Packer::Gzip(gzip) => gzip.write(bytes),
            Packer::Bzip2(bzip2) => bzip2.write(bytes),
            Packer::Xz(xz) => xz.write(bytes),
        }
    }

    /// Does nothing: a block that ends early would change the bytes. [`finish`](Writer::finish) writes everything.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_harness::tools;
    use std::process::{Command, Stdio};

    const ALL: [Compression; 4] = [Compression::None, Compression::Gzip, Compression::Bzip2, Compression::Xz];

    fn packed(bytes: &[u8], compression: Compression, threads: usize, piece: usize) -> Vec<u8> {
        let threads = NonZeroUsize::new(threads).unwrap();
        let mut writer = Writer::with_level(Vec::new(), compression, None, threads).unwrap();
        for part in bytes.chunks(piece) {
            writer.write_all(part).unwrap();
            writer.flush().unwrap();
        }
        writer.finish().unwrap().0
    }

    fn expanded(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Reader::new(bytes, Compression::of(bytes)).read_to_end(&mut out).map(|_| out)
    }

    /// Text that is not the same everywhere, longer than two blocks of xz.
    fn long() -> Vec<u8> {
        (0..6_000_000_u32)
            .flat_map(|number| (number / 1000 * 7).to_le_bytes())
            .chain(*b"the end")
            .collect::<Vec<_>>()
            .repeat(2)
    }

    #[test]
    fn what_was_compressed_comes_out_again() {
        for compression in ALL {
            for bytes in [&b""[..], b"a", &b"words and words ".repeat(5000)] {
                let packed = packed(bytes, compression, 2, 1000);
                assert_eq!(Compression::of(&packed), compression);
                assert!(expanded(&packed).unwrap() == bytes, "{compression:?}");
                if compression != Compression::None {
                    let twice = [&packed[..], &packed].concat();
                    assert!(expanded(&twice).unwrap() == [bytes, bytes].concat(), "{compression:?}");
                }
            }
        }
    }

    #[test]
    fn neither_threads_nor_pieces_show() {
        let long = long();
        assert!(long.len() as u64 > 2 * XZ_BLOCK.get());
        for compression in [Compression::Gzip, Compression::Xz] {
            let once = packed(&long, compression, 1, long.len());
            assert!(packed(&long, compression, 3, 1_000_003) == once, "{compression:?}");
            assert!(expanded(&once).unwrap() == long, "{compression:?}");
        }
    }

    #[test]
    fn the_programs_agree() {
        let text = b"as others compress and expand it\n".repeat(10_000);
        for compression in [Compression::Gzip, Compression::Bzip2, Compression::Xz] {
            let Some(program) = tools::require(compression.name()) else { continue };
            let run = |arguments: &[&str], input: Vec<u8>| {
                let mut child = Command::new(&program);
                let mut child =
                    child.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
                let mut stdin = child.stdin.take().unwrap();
                let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap());
                let output = child.wait_with_output().unwrap();
                writer.join().unwrap();
                assert!(output.status.success());
                output.stdout
            };
            // As imgadm calls them.
            assert!(run(&["-cdfq"], packed(&text, compression, 2, 700)) == text, "{compression:?}");
            let theirs = run(&["-cfq"], text.clone());
            assert_eq!(Compression::of(&theirs), compression);
            assert!(expanded(&theirs).unwrap() == text, "{compression:?}");
        }
    }

    #[test]
    fn damage_is_an_error() {
        let text = b"something to be damaged".repeat(100);
        for compression in [Compression::Gzip, Compression::Bzip2, Compression::Xz] {
            let whole = packed(&text, compression, 1, 100);
            for length in [MAGIC_BYTES, whole.len() / 2, whole.len() - 1] {
                let error = expanded(&whole[..length]).unwrap_err();
                assert!(
                    error.to_string().contains(compression.name()) || compression == Compression::Gzip,
                    "{error}"
                );
            }
            let mut flipped = whole.clone();
            let middle = whole.len() / 2;
            flipped[middle] ^= 4;
            assert!(expanded(&flipped).is_err(), "{compression:?}");
        }
        // No more memory than is sensible, whatever the header says: a dictionary of 1.5 GiB.
        let mut greedy = packed(&text, Compression::Xz, 1, 100);
        assert_eq!(greedy[14..17], [0x21, 1, 22]);
        greedy[16] = 37;
        assert!(expanded(&greedy).is_err());
    }

    #[test]
    fn nothing_else_looks_compressed() {
        for bytes in [&b"BZh9 is a name"[..], b"BZh", b"\xFD7zXZ", b"", b"\x1f\x8b"] {
            assert_eq!(Compression::of(bytes), Compression::None);
        }
    }
}
