//! Joining blocks: series by series in label order, each sample once, deleted ones left out. Memory grows with the index of
//! the new block, not with samples.

use block::{Block, BlockError, LabelScratch, Reader};
use model::{Column, HistogramBuffer, Labels, SampleBuffer, TimeRange};

use crate::merge::join;
use crate::plan::{self, Part};
use crate::presence::PresenceBuilder;
use crate::upkeep::Upkeep;
use crate::{Store, StoreError};

/// So many series are handled between two looks at what is more urgent.
const SERIES_PER_TURN: usize = 512;

/// A block that is read from its first series to its last.
struct Cursor<'a> {
    block: &'a Block,
    reader: Reader,
    /// The labels of the series `next`.
    labels: LabelScratch,
    next: u32,
}

impl<'a> Cursor<'a> {
    fn new(block: &'a Block) -> Result<Self, BlockError> {
        let mut cursor = Self { block, reader: block.reader(), labels: LabelScratch::default(), next: 0 };
        cursor.show()?;
        Ok(cursor)
    }

    fn is_over(&self) -> bool {
        u64::from(self.next) >= self.block.meta().series
    }

    fn show(&mut self) -> Result<(), BlockError> {
        if self.is_over() { Ok(()) } else { self.block.labels_into(self.next, &mut self.labels) }
    }
}

/// Calls `each` with every series of some blocks in label order and its samples and native histograms within `range`, each
/// once. Of rollups, the last values are read.
///
/// # Errors
/// When a block cannot be read, or what `each` says.
pub(crate) fn each_series(
    blocks: &[Block],
    range: TimeRange,
    mut each: impl FnMut(&Labels, &SampleBuffer, &HistogramBuffer) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut cursors = blocks.iter().map(Cursor::new).collect::<Result<Vec<_>, _>>()?;
    let (mut samples, mut histograms) = (SampleBuffer::default(), HistogramBuffer::default());
    loop {
        cursors.retain(|cursor| !cursor.is_over());
        let Some(first) = cursors.iter().min_by(|a, b| a.labels.compare(&b.labels)) else { return Ok(()) };
        let labels = match first.labels.labels() {
            Some(labels) => labels,
            None => first.block.labels(first.next)?,
        };
        samples.clear();
        histograms.clear();
        for cursor in cursors.iter_mut().filter(|cursor| cursor.labels.compare_labels(&labels).is_eq()) {
            let joint = samples.len();
            cursor.reader.read(cursor.next, range, Column::Last, &mut samples)?;
            join(&mut samples, 0, joint);
            cursor.reader.read_histograms(cursor.next, range, &mut histograms)?;
            cursor.next += 1;
            cursor.show()?;
        }
        histograms.settle(0);
        each(&labels, &samples, &histograms)?;
    }
}

impl Store {
    /// Joins the blocks that are next, if any are.
    pub(crate) fn compact(&self, upkeep: &mut Upkeep) -> Result<(), StoreError> {
        let raw = self.catalogue().raw.clone();
        let newest = self.present();
        // What retention is about to take is not worth it.
        let cutoff = self.cutoff();
        let is_worth_it = |block: &&Block| {
            let meta = block.meta();
            meta.max_time >= cutoff && !upkeep.damaged.contains(&meta.id)
        };
        let kept: Vec<&Block> = raw.iter().filter(is_worth_it).collect();
        let part =
            |block: &&Block| Part { min: block.meta().min_time, max: block.meta().max_time, bytes: block.bytes() };
        let parts: Vec<Part> = kept.iter().map(part).collect();
        let Some(due) = plan::next(&parts, &self.options.spans(), newest) else { return Ok(()) };
        let old: Vec<Block> = due.into_iter().map(|at| kept[at].clone()).collect();
        let outcome = self.counters.compactions.measure(|| self.rewrite(upkeep, &old));
        self.leave_out_damaged(upkeep, &old, outcome)
    }

    /// Replaces raw blocks by one that holds the same. Where everything was deleted, by none.
    pub(crate) fn rewrite(&self, upkeep: &mut Upkeep, old: &[Block]) -> Result<(), StoreError> {
        let level = old.iter().map(|block| block.meta().level).max().unwrap_or(0) + 1;
        let parents = old.iter().map(|block| block.meta().id.clone()).collect();
        let mut writer = self.new_block(level, 0, parents)?;
        let mut presence = PresenceBuilder::new(old.iter().map(|block| block.meta().min_time).min().unwrap_or(0));
        let mut series = 0usize;
        let mut written = false;
        each_series(old, TimeRange::ALL, |labels, samples, histograms| {
            series += 1;
            if series.is_multiple_of(SERIES_PER_TURN) {
                self.pause(upkeep)?;
            }
            written |= !samples.is_empty() || !histograms.is_empty();
            presence.add(labels, &samples.timestamps);
            presence.add(labels, &histograms.timestamps);
            Ok(writer.add_with_histograms(labels, samples, histograms)?)
        })?;
        let mut fresh = Vec::new();
        if written {
            let block = self.finish_block(writer)?;
            self.sealed_cache.know(&block, presence.finish());
            fresh.push(block);
        }
        self.replace_blocks(upkeep, old, fresh);
        Ok(())
    }

    /// A damaged block must not keep all others from being joined: it stays as it is, readable where it is not damaged.
    pub(crate) fn leave_out_damaged(
        &self,
        upkeep: &mut Upkeep,
        old: &[Block],
        outcome: Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Err(StoreError::Block(error @ BlockError::Corrupt { path, .. })) = &outcome else { return outcome };
        self.damages.name(error);
        let damaged = old.iter().filter(|block| block.path() == path).map(|block| block.meta().id.clone());
        upkeep.damaged.extend(damaged);
        Ok(())
    }
}
