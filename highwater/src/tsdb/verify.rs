//! `highwater tsdb verify`: every byte of a store is read, and what is damaged is named.

use anyhow::{Context, Result, bail};
use disk::RealDisk;
use model::format_bytes;
use segment_log::{DamageKind, read, segments};

use super::args::VerifyArgs;
use super::folder::StoreFolder;

/// Fails when anything is damaged.
pub fn run(args: &VerifyArgs) -> Result<()> {
    let folder = StoreFolder::find(&args.store.path)?;
    let mut damages = 0u64;
    let mut damaged = |what: String| {
        damages += 1;
        eprintln!("{what}");
    };
    let (mut blocks, mut bytes) = (0u64, 0);
    for block in folder.blocks()? {
        blocks += 1;
        match block {
            Ok(block) => {
                bytes += block.bytes();
                block.verify().into_iter().for_each(|damage| damaged(damage.to_string()));
            }
            Err(error) => damaged(error.to_string()),
        }
    }
    let (records, log_bytes) = verify_log(&folder, &mut damaged)?;
    if damages > 0 {
        bail!("{damages} findings; what is not named above is intact");
    }
    println!(
        "{blocks} blocks ({}) and {records} log records ({}) are intact",
        format_bytes(bytes),
        format_bytes(log_bytes)
    );
    Ok(())
}

/// Reads every record of the write-ahead log; returns how many there are and their size.
fn verify_log(folder: &StoreFolder, damaged: &mut impl FnMut(String)) -> Result<(u64, u64)> {
    let wal = folder.wal();
    if !wal.is_dir() {
        return Ok((0, 0));
    }
    let being_written = folder.owner().is_some();
    let (mut records, mut bytes) = (0, 0);
    let found = segments(&RealDisk, &wal).context("cannot list the write-ahead log")?;
    for (at, segment) in found.iter().enumerate() {
        let is_newest = at + 1 == found.len();
        let reader = match read(&RealDisk, segment) {
            Ok(reader) => reader,
            // Its samples were sealed meanwhile.
            Err(_) if being_written && !segment.path.exists() => continue,
            Err(error) => {
                damaged(error.to_string());
                continue;
            }
        };
        bytes += segment.bytes;
        for record in &reader {
            match record {
                Ok(payload) => match tsdb::check_wal_record(payload) {
                    Ok(_) => records += 1,
                    Err(error) => damaged(format!("{}: {error}", segment.path.display())),
                },
                // The owner is in the middle of it.
                Err(damage) if being_written && is_newest && damage.kind == DamageKind::Torn => {}
                Err(damage) => damaged(format!("{}: {damage}", segment.path.display())),
            }
        }
    }
    Ok((records, bytes))
}
