//! What is wrong with volumes that receivers take.

use std::collections::BTreeMap;
use std::io::Read;

use super::{DISK, PROPERTIES, SIZE_NAME};
use crate::compress::expand;
use crate::error::{ErrorKind, Result};
use crate::finding::{Finding, Harm, of_snapshot};
use crate::reader::StreamReader;
use crate::record::{Begin, Features, MAX_PLAIN_BLOCK_SIZE, ObjsetType, Record, object_type};
use crate::zap;

/// Looks at volumes for what receivers take and then die of. Contents of the disk are passed over.
#[derive(Debug, Default)]
pub struct VolumeCheck {
    /// The snapshot that was read last.
    last: Option<Begin>,
    snapshots: u64,
    features: Features,
    /// Type and block size of each object.
    objects: BTreeMap<u64, (u32, u32)>,
    /// The size that the properties say, if they were readable.
    size: Option<u64>,
    properties: Option<Finding>,
    /// The end of the last block of the disk.
    end: u64,
    /// The first block that is not as long as the blocks of its object.
    odd: Option<Finding>,
}

impl VolumeCheck {
    /// A check of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a stream to the end of the input: a full one to begin with, then incremental ones, each on top of the one before.
    ///
    /// # Errors
    /// Those of [`StreamReader::next_record`]; [`ErrorKind::BadVolume`] when it is no stream of a volume;
    /// [`ErrorKind::WrongBase`] when it does not follow the one before; [`ErrorKind::TrailingData`].
    pub fn apply<R: Read>(&mut self, input: R) -> Result<()> {
        let mut stream = StreamReader::new(input);
        let mut packed = Vec::new();
        self.snapshots = 0;
        while let Some(record) = stream.next_record()? {
            match record {
                Record::Begin(begin) if begin.compound => {}
                Record::Begin(begin) => self.begin(&stream, begin)?,
                Record::Object(object) => {
                    self.objects.insert(object.object, (object.object_type, object.block_size));
                }
                Record::FreeObjects { first, count } => {
                    self.objects.retain(|number, _| !(first..first.saturating_add(count)).contains(number));
                }
                Record::Write(write) => {
                    self.block(write.object, write.offset, write.logical_length);
                    if write.object == PROPERTIES && write.offset == 0 {
                        stream.read_payload(&mut packed)?;
                        self.properties(&stream, write.compression, &packed, write.logical_length);
                    }
                }
                Record::WriteEmbedded(write) => {
                    self.block(write.object, write.offset, write.length);
                    if write.object == PROPERTIES && write.offset == 0 {
                        stream.read_payload(&mut packed)?;
                        packed.truncate(write.physical_length as usize);
                        self.properties(&stream, write.compression, &packed, write.logical_length.into());
                    }
                }
                Record::WriteByref(write) => self.block(write.object, write.offset, write.length),
                Record::Free { object: DISK, offset, length }
                    if offset.saturating_add(length) >= self.end =>
                {
                    self.end = self.end.min(offset);
                }
                _ => {}
            }
        }
        stream.expect_end_of_input()?;
        match self.snapshots {
            0 => Err(stream.error(ErrorKind::BadVolume, "there is no snapshot in the stream")),
            _ => Ok(()),
        }
    }

    fn begin<R: Read>(&mut self, stream: &StreamReader<R>, begin: Begin) -> Result<()> {
        if begin.objset_type != ObjsetType::Volume {
            return Err(stream.error(ErrorKind::BadVolume, "this is not the stream of a volume"));
        }
        let before = self.last.as_ref().map_or(0, |last| last.to_guid);
        if begin.from_guid != before {
            let words = format!(
                "the stream goes on top of the snapshot with GUID {:#018x}, and what is under it has {before:#018x}",
                begin.from_guid
            );
            return Err(stream.error(ErrorKind::WrongBase, words));
        }
        self.features.0 |= begin.features.0;
        self.snapshots += 1;
        self.last = Some(begin);
        Ok(())
    }

    /// A block of any object.
    fn block(&mut self, number: u64, offset: u64, length: u64) {
        if number == DISK {
            self.end = self.end.max(offset.saturating_add(length));
        }
        let detail = match self.objects.get(&number) {
            None => "it is written to and was not declared".to_owned(),
            Some(&(_, size)) if length != u64::from(size) || !offset.is_multiple_of(length) => {
                format!("it has blocks of {size} bytes, and {length} are written at {offset}")
            }
            Some(_) => return,
        };
        self.odd.get_or_insert(Finding { object: number, harm: Harm::Refused, detail });
    }

    /// The table with the size.
    fn properties<R: Read>(&mut self, stream: &StreamReader<R>, compression: u8, packed: &[u8], length: u64) {
        // Decoding bounded the length of every block.
        let mut block = vec![0; length as usize];
        let entries = match expand(compression, packed, &mut block) {
            Ok(()) => zap::read(&block[..], stream.byte_order()).map_err(|error| error.to_string()),
            Err(_) => Err("its block cannot be expanded".to_owned()),
        };
        (self.size, self.properties) = match entries {
            Ok(entries) => {
                let salt = zap::salt(&block, stream.byte_order()).unwrap_or(0);
                let clash = zap::clash(salt, &entries).map(|_| Finding {
                    object: PROPERTIES,
                    harm: Harm::Panic,
                    detail: "two names of its table are the same, or have the same hash and differentiator"
                        .to_owned(),
                });
                let size = entries.iter().find(|entry| entry.name == SIZE_NAME.as_bytes());
                (size.and_then(|entry| entry.value.number()), clash)
            }
            Err(detail) => (None, Some(Finding { object: PROPERTIES, harm: Harm::Panic, detail })),
        };
    }

    /// Everything that is wrong with the volume, the worst first.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.odd.iter().chain(&self.properties).cloned().collect();
        let mut find = |object, harm, detail: String| findings.push(Finding { object, harm, detail });
        if let Some(last) = &self.last {
            for finding in of_snapshot(&last.to_name, last.to_guid, last.from_guid, self.snapshots) {
                find(finding.object, finding.harm, finding.detail);
            }
        }
        let disk = self.objects.get(&DISK);
        match disk {
            None => find(DISK, Harm::Panic, "the disk of the volume is not there".to_owned()),
            Some(&(kind, _)) if kind != object_type::ZVOL => {
                find(DISK, Harm::Panic, format!("it is of type {kind}, and not the disk of a volume"));
            }
            Some(&(_, size)) if !size.is_power_of_two() => {
                find(DISK, Harm::Panic, format!("its blocks have {size} bytes, which is no power of two"));
            }
            Some(&(_, size))
                if size > MAX_PLAIN_BLOCK_SIZE && !self.features.contains(Features::LARGE_BLOCKS) =>
            {
                find(
                    DISK,
                    Harm::Refused,
                    format!("its blocks have {size} bytes, which the stream does not announce"),
                );
            }
            Some(_) => {}
        }
        match self.size {
            _ if !self.objects.contains_key(&PROPERTIES) => {
                find(PROPERTIES, Harm::Panic, "the properties of the volume are not there".to_owned());
            }
            None => {
                find(PROPERTIES, Harm::Panic, "the properties of the volume do not say its size".to_owned());
            }
            Some(size) => {
                if let Some(&(_, block)) = disk
                    && (size == 0 || !size.is_multiple_of(block.into()))
                {
                    let detail =
                        format!("the volume has {size} bytes, which is no multiple of its blocks of {block}");
                    find(PROPERTIES, Harm::Lost, detail);
                }
                if self.end > size {
                    let detail =
                        format!("there is data up to {}, behind the end of the volume at {size}", self.end);
                    find(DISK, Harm::Lost, detail);
                }
            }
        }
        findings.sort_by_key(|finding| (finding.harm, finding.object));
        findings
    }
}
