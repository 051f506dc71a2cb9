//! `highwater tsdb analyze`: what a store is full of. Series and label values are told apart by hashes of 64 bits, so that
//! millions of them fit into memory; two that share one would be counted as one.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use anyhow::{Result, bail};
use block::{Block, LabelScratch};
use model::{METRIC_NAME, format_bytes};

use super::args::AnalyzeArgs;
use super::folder::StoreFolder;
use super::list::per_sample;
use crate::moment::show_moment;
use crate::table::Table;

/// What was found in the blocks of raw samples.
#[derive(Default)]
struct Analysis {
    hasher: RandomState,
    samples: u64,
    bytes: u64,
    series: HashSet<u64>,
    metrics: HashMap<String, Kind>,
    labels: HashMap<String, Kind>,
    sections: BTreeMap<String, u64>,
}

/// Series of a metric, or values of a label.
#[derive(Default)]
struct Kind {
    /// All that were ever there.
    distinct: HashSet<u64>,
    /// Those of the newest block.
    newest: u64,
}

impl Analysis {
    fn add(&mut self, block: &Block, is_newest: bool) -> Result<()> {
        let meta = block.meta();
        self.samples += meta.samples;
        self.bytes += block.bytes();
        for (section, bytes) in block.outline() {
            *self.sections.entry(section).or_default() += bytes;
        }
        for name in block.names()? {
            let values = block.cardinality(&name.name)?;
            let label = self.labels.entry(name.name).or_default();
            label.distinct.extend(values.iter().map(|(value, _)| self.hasher.hash_one(value)));
            if is_newest {
                label.newest = values.len() as u64;
            }
        }
        let mut scratch = LabelScratch::default();
        // A block has at most 2^32 series.
        for ordinal in 0..meta.series as u32 {
            block.labels_into(ordinal, &mut scratch)?;
            let mut text = String::new();
            let mut metric = "";
            for (name, value) in scratch.iter() {
                text.extend([name, "\u{ff}", value, "\u{ff}"]);
                if name == METRIC_NAME {
                    metric = value;
                }
            }
            let hash = self.hasher.hash_one(&text);
            self.series.insert(hash);
            if !self.metrics.contains_key(metric) {
                self.metrics.insert(metric.to_owned(), Kind::default());
            }
            if let Some(kind) = self.metrics.get_mut(metric) {
                kind.distinct.insert(hash);
                kind.newest += u64::from(is_newest);
            }
        }
        Ok(())
    }

    fn show(&self, limit: usize) {
        let mut sections = Table::new(&["SECTION", ">SIZE", ">SHARE", ">BYTES/SAMPLE"]);
        let mut by_size: Vec<_> = self.sections.iter().collect();
        by_size.sort_by_key(|(_, bytes)| std::cmp::Reverse(**bytes));
        for (name, bytes) in by_size {
            let share = 100.0 * *bytes as f64 / self.bytes.max(1) as f64;
            sections.row([
                name.clone(),
                format_bytes(*bytes),
                format!("{share:.1}%"),
                per_sample(*bytes, self.samples),
            ]);
        }
        println!("\nwhere the bytes are\n{}", sections.render());
        show_kinds("metrics with most series", "METRIC", ">SERIES", &self.metrics, limit, most);
        show_kinds("labels with most values", "LABEL", ">VALUES", &self.labels, limit, most);
        show_kinds("metrics whose series come and go", "METRIC", ">SERIES", &self.metrics, limit, gone);
        show_kinds("labels whose values come and go", "LABEL", ">VALUES", &self.labels, limit, gone);
    }
}

fn most(kind: &Kind) -> u64 {
    kind.distinct.len() as u64
}

/// Not in the newest block any more.
fn gone(kind: &Kind) -> u64 {
    most(kind).saturating_sub(kind.newest)
}

/// Prints the first of them by rank; those of rank zero are left out.
fn show_kinds(
    title: &str,
    what: &str,
    count: &str,
    kinds: &HashMap<String, Kind>,
    limit: usize,
    rank: impl Fn(&Kind) -> u64,
) {
    let mut ranked: Vec<_> = kinds.iter().filter(|(_, kind)| rank(kind) > 0).collect();
    if ranked.is_empty() {
        return;
    }
    ranked.sort_by(|(a_name, a), (b_name, b)| rank(b).cmp(&rank(a)).then_with(|| a_name.cmp(b_name)));
    let mut table = Table::new(&[what, count, ">IN THE NEWEST BLOCK", ">GONE"]);
    for (name, kind) in ranked.into_iter().take(limit) {
        let cells = [most(kind), kind.newest, gone(kind)].map(|count| count.to_string());
        table.row([name.clone()].into_iter().chain(cells));
    }
    println!("{title}\n{}", table.render());
}

/// Prints the analysis of all blocks of raw samples, or of one block.
pub fn run(args: &AnalyzeArgs) -> Result<()> {
    let folder = StoreFolder::find(&args.store.path)?;
    let mut blocks = Vec::new();
    for block in folder.blocks()? {
        let block = block?;
        let wanted = args.block.as_ref().map_or(block.meta().resolution_ms == 0, |id| block.meta().id == *id);
        if wanted {
            blocks.push(block);
        }
    }
    let (Some(first), Some(newest)) = (blocks.first(), blocks.iter().max_by_key(|block| block.meta().max_time)) else {
        match &args.block {
            Some(id) => bail!("there is no block {id}; `highwater tsdb list` shows those that are there"),
            None => bail!("the store has no blocks yet: its samples are in the write-ahead log until they are sealed"),
        }
    };
    let mut analysis = Analysis::default();
    for block in &blocks {
        analysis.add(block, block.meta().id == newest.meta().id)?;
    }
    println!(
        "{} blocks, {} to {}",
        blocks.len(),
        show_moment(first.meta().min_time),
        show_moment(newest.meta().max_time)
    );
    println!(
        "{} series, {} samples, {}, {} bytes per sample",
        analysis.series.len(),
        analysis.samples,
        format_bytes(analysis.bytes),
        per_sample(analysis.bytes, analysis.samples)
    );
    analysis.show(args.limit);
    let wal_bytes = folder.wal_bytes();
    if wal_bytes > 0 {
        eprintln!("not included: samples that are in no block yet, {} of write-ahead log", format_bytes(wal_bytes));
    }
    Ok(())
}
