//! The series that a command is about.

use anyhow::{Context, Result, bail};
use model::{Hints, HistogramBuffer, Queryable, SampleBuffer, SelectError, Selection, StoredSeries, TimeRange};

use super::args::Selector;

/// The series that any of the selectors selects (all of them, without one), in order of labels, each once.
pub fn selected(store: &dyn Queryable, selectors: &[Selector], range: TimeRange) -> Result<Vec<Box<dyn StoredSeries>>> {
    let select = |matchers| {
        store.select(&Selection { matchers, range, hints: Hints::default() }).context("cannot read the store")
    };
    let mut out = match selectors {
        [] => return select(&[]),
        [one] => return select(&one.0),
        several => {
            let mut out = Vec::new();
            for selector in several {
                out.extend(select(&selector.0)?);
            }
            out
        }
    };
    out.sort_by(|a, b| a.labels().cmp(b.labels()));
    out.dedup_by(|a, b| a.labels() == b.labels());
    Ok(out)
}

/// Reads series after series, passing over those that are damaged.
#[derive(Debug, Default)]
pub struct Damages(u64);

impl Damages {
    /// Replaces `samples` with those of a series. False where they cannot be read, which is said at once.
    pub fn read(&mut self, series: &dyn StoredSeries, range: TimeRange, samples: &mut SampleBuffer) -> bool {
        samples.clear();
        self.note(series, series.read(range, samples))
    }

    /// The same for its native histograms.
    pub fn read_histograms(
        &mut self,
        series: &dyn StoredSeries,
        range: TimeRange,
        histograms: &mut HistogramBuffer,
    ) -> bool {
        histograms.clear();
        self.note(series, series.read_histograms(range, histograms))
    }

    fn note(&mut self, series: &dyn StoredSeries, read: Result<(), SelectError>) -> bool {
        if let Err(error) = &read {
            self.0 += 1;
            eprintln!("left out: {} ({error})", series.labels());
        }
        read.is_ok()
    }

    /// Fails when anything was passed over.
    pub fn end(&self) -> Result<()> {
        if self.0 > 0 {
            bail!("{} series could not be read; they are named above, everything else is there", self.0);
        }
        Ok(())
    }
}
