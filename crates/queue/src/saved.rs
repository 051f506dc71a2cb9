//! The file of cursors: a checksum, then JSON. Written whole or not at all.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use disk::Disk;
use serde::{Deserialize, Serialize};

use crate::QueueError;
use crate::intervals::Intervals;

/// The version that is written.
const VERSION: u32 = 1;

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Saved {
    version: u32,
    /// When the newest record was pushed.
    pub(crate) last_pushed_ms: Option<i64>,
    pub(crate) cursors: Vec<SavedCursor>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedCursor {
    pub(crate) destination: String,
    pub(crate) next_gap: u64,
    /// Number, oldest and newest timestamp, samples.
    pub(crate) gaps: Vec<(u64, i64, i64, u64)>,
    /// What was delivered, by segment: intervals of offsets.
    pub(crate) delivered: BTreeMap<u64, Intervals>,
}

pub(crate) fn path(folder: &Path) -> PathBuf {
    folder.join("cursors")
}

impl Saved {
    pub(crate) fn new(last_pushed_ms: Option<i64>, cursors: Vec<SavedCursor>) -> Self {
        Self { version: VERSION, last_pushed_ms, cursors }
    }

    /// The highest segment that it speaks of.
    pub(crate) fn highest_segment(&self) -> u64 {
        self.cursors.iter().filter_map(|cursor| cursor.delivered.last_key_value()).map(|(n, _)| *n).max().unwrap_or(0)
    }

    pub(crate) fn write(&self, disk: &dyn Disk, folder: &Path) -> Result<(), QueueError> {
        let json = serde_json::to_vec(self).map_err(|error| QueueError::Cursors(error.into()))?;
        let mut bytes = format!("{:08x}\n", crc32c::crc32c(&json)).into_bytes();
        bytes.extend_from_slice(&json);
        disk::write_whole(disk, &path(folder), &bytes).map_err(QueueError::Cursors)
    }

    /// What was written last; nothing where nothing ever was. `Err` says why it cannot be understood.
    ///
    /// # Errors
    /// When the file is there and the disk does not let it be read.
    pub(crate) fn read(disk: &dyn Disk, folder: &Path) -> Result<Result<Self, String>, QueueError> {
        match disk.read(&path(folder)) {
            Ok(bytes) => Ok(parse(&bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Ok(Self::default())),
            Err(error) => Err(QueueError::Cursors(error)),
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Saved, String> {
    let (checksum, json) = bytes.split_at_checked(9).ok_or("it is too short")?;
    if checksum != format!("{:08x}\n", crc32c::crc32c(json)).as_bytes() {
        return Err("its checksum is wrong".to_owned());
    }
    let saved: Saved = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    if saved.version != VERSION {
        return Err(format!("it has version {}, and version {VERSION} is understood here", saved.version));
    }
    let sound = saved.cursors.iter().flat_map(|cursor| cursor.delivered.values()).all(Intervals::is_sound);
    if sound { Ok(saved) } else { Err("its intervals overlap".to_owned()) }
}

#[cfg(test)]
mod tests {
    use disk::SimulatedDisk;

    use super::*;

    #[test]
    fn comes_back_or_says_why_not() {
        let (disk, folder) = (SimulatedDisk::new(1), Path::new("/q"));
        disk.create_folder(folder).expect("creates");
        let read = || Saved::read(&disk, folder).expect("is readable");
        assert_eq!(read(), Ok(Saved::default()));
        let mut delivered = Intervals::default();
        delivered.insert(32, 100);
        delivered.insert(200, u64::MAX);
        let cursor = SavedCursor {
            destination: "a \"b\"\n".into(),
            next_gap: 3,
            gaps: vec![(2, -5, 7, 10)],
            delivered: BTreeMap::from([(7, delivered)]),
        };
        let saved = Saved::new(Some(12), vec![cursor]);
        saved.write(&disk, folder).expect("writes");
        assert_eq!(saved.highest_segment(), 7);
        assert_eq!(read(), Ok(saved));
        disk.damage(&path(folder), |bytes| bytes[20] ^= 1).expect("is there");
        assert_eq!(read(), Err("its checksum is wrong".to_owned()));
    }
}
