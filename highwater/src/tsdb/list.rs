//! `highwater tsdb list`: the blocks of a store.

use std::time::Duration;

use anyhow::{Result, bail};
use block::Block;
use model::{format_bytes, format_duration};
use serde::Serialize;

use super::args::ListArgs;
use super::folder::StoreFolder;
use crate::moment::show_moment;
use crate::table::Table;

/// What `--json` prints of a block. Times are milliseconds since 1970, both ends included.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    id: String,
    path: String,
    min_time: i64,
    max_time: i64,
    level: u32,
    resolution_ms: i64,
    series: u64,
    samples: u64,
    chunks: u64,
    bytes: u64,
    tombstones: usize,
}

impl Row {
    fn of(block: &Block) -> Self {
        let meta = block.meta();
        Self {
            id: meta.id.clone(),
            path: block.path().display().to_string(),
            min_time: meta.min_time,
            max_time: meta.max_time,
            level: meta.level,
            resolution_ms: meta.resolution_ms,
            series: meta.series,
            samples: meta.samples,
            chunks: meta.chunks,
            bytes: block.bytes(),
            tombstones: block.tombstones().iter().count(),
        }
    }
}

/// Prints the blocks, oldest first; fails when one of them cannot be opened.
pub fn run(args: &ListArgs) -> Result<()> {
    let folder = StoreFolder::find(&args.store.path)?;
    let (mut rows, mut broken) = (Vec::new(), 0);
    for block in folder.blocks()? {
        match block {
            Ok(block) => rows.push(Row::of(&block)),
            Err(error) => {
                eprintln!("{error}");
                broken += 1;
            }
        }
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        print!("{}", table(&rows).render());
        let wal_bytes = folder.wal_bytes();
        if wal_bytes > 0 {
            eprintln!("the newest samples are in no block yet: the write-ahead log has {}", format_bytes(wal_bytes));
        }
    }
    if broken > 0 {
        bail!("{broken} blocks cannot be opened; `highwater tsdb verify` says more");
    }
    Ok(())
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&[
        "BLOCK",
        "FROM (UTC)",
        "TO (UTC)",
        ">SPAN",
        ">LEVEL",
        ">RESOLUTION",
        ">SERIES",
        ">SAMPLES",
        ">CHUNKS",
        ">SIZE",
        ">BYTES/SAMPLE",
    ]);
    for row in rows {
        let resolution = match row.resolution_ms {
            0 => "raw".to_owned(),
            ms => format_duration(Duration::from_millis(ms.unsigned_abs())),
        };
        let seconds = (row.max_time.saturating_sub(row.min_time) / 1000).unsigned_abs();
        table.row([
            row.id.clone(),
            show_moment(row.min_time),
            show_moment(row.max_time),
            format_duration(Duration::from_secs(seconds)),
            row.level.to_string(),
            resolution,
            row.series.to_string(),
            row.samples.to_string(),
            row.chunks.to_string(),
            format_bytes(row.bytes),
            per_sample(row.bytes, row.samples),
        ]);
    }
    table
}

/// Bytes per sample with three decimals.
pub fn per_sample(bytes: u64, samples: u64) -> String {
    if samples == 0 { "-".to_owned() } else { format!("{:.3}", bytes as f64 / samples as f64) }
}
