//! From a body to one batch: all of it, or nothing but markers for what was there before.

use std::hash::BuildHasher;

use exposition::{Entry, Parser};
use hashbrown::{DefaultHashBuilder, HashSet};
use model::{Batch, Labels, MetricKind, MetricMetadata, Row, Sample, TimestampMs, stale_nan};

use crate::cache::SeriesCache;
use crate::fetch::ScrapeError;
use crate::resolve::{ResolveError, resolve};
use crate::scrape_config::ScrapeConfig;

/// What a scrape counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Samples in the body.
    pub(crate) scraped: u64,
    /// Samples that relabel rules kept.
    pub(crate) kept: u64,
    /// Series that were not known before.
    pub(crate) added: u64,
    /// Samples of a series that had one before in the same body.
    pub(crate) duplicates: u64,
}

/// What one target has shown so far.
#[derive(Debug, Default)]
pub(crate) struct Ingest {
    series: SeriesCache,
    metadata: KnownMetadata,
    rows_before: usize,
}

impl Ingest {
    /// Adds a whole body to `batch`. On an error the batch holds no samples and no metadata, but a marker for every
    /// series that was there.
    pub(crate) fn body(
        &mut self,
        body: &[u8],
        at: TimestampMs,
        target: &Labels,
        config: &ScrapeConfig,
        batch: &mut Batch,
    ) -> (Tally, Result<(), ScrapeError>) {
        let mut tally = Tally::default();
        self.series.begin();
        batch.rows.reserve(self.rows_before);
        let mut reading =
            Reading { series: &mut self.series, at, target, config, rows: &mut batch.rows, tally: &mut tally };
        let read = reading.read(body).and_then(|families| {
            let limit = config.limits.samples;
            if limit > 0 && tally.kept > limit {
                return Err(ScrapeError::SampleLimit { samples: tally.kept, limit });
            }
            Ok(families)
        });
        match read {
            Ok(families) => {
                self.rows_before = batch.rows.len();
                self.metadata.update(families, &mut batch.metadata);
                self.series.commit(|labels| batch.rows.push(marker(labels, at)));
                (tally, Ok(()))
            }
            Err(error) => {
                batch.rows.clear();
                self.end(at, batch);
                (tally, Err(error))
            }
        }
    }

    /// Adds a marker for every series that is there: the scrape failed, or the target is gone.
    pub(crate) fn end(&mut self, at: TimestampMs, batch: &mut Batch) {
        self.series.end_all(|labels| batch.rows.push(marker(labels, at)));
    }

    /// Forgets what raw series mean, for when the rules have changed.
    pub(crate) fn forget(&mut self) {
        self.series.forget();
    }

    /// How many raw series are remembered.
    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        self.series.len()
    }
}

fn marker(labels: Labels, timestamp: TimestampMs) -> Row {
    Row { labels, sample: Sample { timestamp, value: stale_nan() } }
}

/// One body on its way into rows.
struct Reading<'a> {
    series: &'a mut SeriesCache,
    at: TimestampMs,
    target: &'a Labels,
    config: &'a ScrapeConfig,
    rows: &'a mut Vec<Row>,
    tally: &'a mut Tally,
}

impl Reading<'_> {
    fn read<'b>(&mut self, body: &'b [u8]) -> Result<Vec<Family<'b>>, ScrapeError> {
        let mut families: Vec<Family<'b>> = Vec::new();
        let mut parser = Parser::new(body);
        while let Some(entry) = parser.next() {
            match entry? {
                Entry::Sample { series, value, timestamp } => {
                    self.sample(series, value, timestamp).map_err(|e| match e {
                        ResolveError::Syntax(message) => ScrapeError::Parse(parser.error(message)),
                        ResolveError::Refused(error) => error,
                    })?;
                }
                Entry::Help { family, help } => family_of(&mut families, family).help = help,
                Entry::Type { family, kind } => family_of(&mut families, family).kind = kind,
                Entry::Unit { family, unit } => family_of(&mut families, family).unit = unit,
                Entry::Comment(_) => {}
            }
        }
        Ok(families)
    }

    #[inline]
    fn sample(&mut self, raw: &str, value: f64, explicit: Option<TimestampMs>) -> Result<(), ResolveError> {
        self.tally.scraped += 1;
        let place = match self.series.find(raw) {
            Some(place) => place,
            None => {
                let labels = resolve(raw, self.target, self.config)?;
                self.tally.added += u64::from(labels.is_some());
                self.series.insert(raw, labels)
            }
        };
        let explicit = explicit.filter(|_| self.config.honor_timestamps);
        let (is_first, entry) = self.series.see(place);
        let Some(labels) = &entry.labels else { return Ok(()) };
        self.tally.kept += 1;
        // A series may come several times only with times that grow.
        let is_duplicate = !is_first
            && match (entry.timestamp_ms, explicit) {
                (Some(last), Some(now)) => now.0 <= last,
                _ => true,
            };
        if is_duplicate {
            self.tally.duplicates += 1;
            return Ok(());
        }
        entry.timestamp_ms = explicit.map(|t| t.0);
        entry.is_tracked = explicit.is_none() || self.config.track_timestamps_staleness;
        let limit = self.config.limits.samples;
        if limit == 0 || self.tally.kept <= limit {
            let sample = Sample { timestamp: explicit.unwrap_or(self.at), value };
            self.rows.push(Row { labels: labels.clone(), sample });
        }
        Ok(())
    }
}

/// What a body says of a metric family, borrowed from it.
struct Family<'b> {
    name: std::borrow::Cow<'b, str>,
    kind: MetricKind,
    help: std::borrow::Cow<'b, str>,
    unit: &'b str,
}

/// The family that HELP, TYPE and UNIT lines next to one another speak of.
fn family_of<'f, 'b>(families: &'f mut Vec<Family<'b>>, name: std::borrow::Cow<'b, str>) -> &'f mut Family<'b> {
    if families.last().is_none_or(|f| f.name != name) {
        families.push(Family { name, kind: MetricKind::Unknown, help: "".into(), unit: "" });
    }
    let last = families.len() - 1;
    &mut families[last]
}

/// Hashes of what was said of families, so that only news travels on. Eight bytes a family: there are as many copies
/// of the same help texts as there are targets.
#[derive(Debug, Default)]
struct KnownMetadata {
    hasher: DefaultHashBuilder,
    known: HashSet<u64>,
}

impl KnownMetadata {
    fn update(&mut self, families: Vec<Family<'_>>, news: &mut Vec<MetricMetadata>) {
        let hash = |f: &Family<'_>| self.hasher.hash_one((&f.name, f.kind, &f.help, f.unit));
        if families.len() == self.known.len() && families.iter().all(|f| self.known.contains(&hash(f))) {
            return;
        }
        let mut known = HashSet::with_capacity(families.len());
        for family in families {
            let hash = hash(&family);
            known.insert(hash);
            if !self.known.contains(&hash) {
                news.push(MetricMetadata {
                    family: family.name.into_owned(),
                    kind: family.kind,
                    help: family.help.into_owned(),
                    unit: family.unit.to_owned(),
                });
            }
        }
        self.known = known;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::tests::scrape_config;
    use proptest::prelude::*;

    struct Case {
        ingest: Ingest,
        config: ScrapeConfig,
        at: i64,
    }

    impl Case {
        fn new(yaml: &str) -> Self {
            Self { ingest: Ingest::default(), config: scrape_config(&format!("job_name: j\n{yaml}")), at: 0 }
        }

        fn target() -> Labels {
            Labels::from_pairs([("job", "j")])
        }

        /// Scrapes once, a thousand milliseconds after the last time, and shows the rows as `name@time value`.
        fn scrape(&mut self, body: &str) -> (Vec<String>, Tally, Result<(), ScrapeError>) {
            self.at += 1000;
            let mut batch = Batch::default();
            let at = TimestampMs(self.at);
            let (tally, result) = self.ingest.body(body.as_bytes(), at, &Self::target(), &self.config, &mut batch);
            (show(&batch), tally, result)
        }

        fn rows(&mut self, body: &str) -> Vec<String> {
            let (rows, _, result) = self.scrape(body);
            result.unwrap_or_else(|e| panic!("{body:?}: {e}"));
            rows
        }
    }

    fn show(batch: &Batch) -> Vec<String> {
        let row = |row: &Row| {
            let value =
                if model::is_stale(row.sample.value) { "stale".to_owned() } else { row.sample.value.to_string() };
            let labels = row.labels.without(&["job"]);
            format!("{labels}@{} {value}", row.sample.timestamp)
        };
        let mut rows: Vec<_> = batch.rows.iter().map(row).collect();
        rows.extend(batch.metadata.iter().map(|m| format!("# {} {} {}", m.family, m.kind.as_str(), m.help)));
        rows
    }

    #[test]
    fn a_series_that_vanishes_is_ended_once() {
        let mut case = Case::new("");
        assert_eq!(case.rows("a 1\nb{x=\"1\"} 2\nc 3\n"), ["a@1000 1", "b{x=\"1\"}@1000 2", "c@1000 3"]);
        assert_eq!(case.rows("a 1\nc 3\n"), ["a@2000 1", "c@2000 3", "b{x=\"1\"}@2000 stale"]);
        assert_eq!(case.rows("c 3\na 1\n"), ["c@3000 3", "a@3000 1"]);
        assert_eq!(case.rows("a 1\nb{x=\"1\"} 2\nc 3\n"), ["a@4000 1", "b{x=\"1\"}@4000 2", "c@4000 3"]);
        assert_eq!(case.ingest.remembered(), 3);
        assert_eq!(case.rows(""), ["a@5000 stale", "c@5000 stale", "b{x=\"1\"}@5000 stale"]);
        assert_eq!(case.ingest.remembered(), 0);
    }

    #[test]
    fn a_failed_scrape_leaves_only_markers() {
        let mut case = Case::new("");
        assert_eq!(case.rows("a 1\nb 2\n").len(), 2);
        let (rows, tally, result) = case.scrape("# TYPE a gauge\na 1\nnew 1\nb x\n");
        assert_eq!(rows, ["a@2000 stale", "b@2000 stale"]);
        assert_eq!(tally.scraped, 2);
        assert_eq!(result.expect_err("is broken").to_string(), "line 4: not a number: \"x\"");
        let (rows, _, _) = case.scrape("a");
        assert_eq!(rows, [""; 0], "markers are written once");
        assert_eq!(case.rows("b 2\na 1\n"), ["b@4000 2", "a@4000 1"]);
        let (rows, _, result) = case.scrape("a{x=1} 1\n");
        assert_eq!(rows.len(), 2);
        assert_eq!(result.expect_err("is broken").to_string(), "line 1: expected a quoted string at \"1}\"");
    }

    #[test]
    fn explicit_timestamps() {
        let mut case = Case::new("");
        assert_eq!(case.rows("a 1 70\na 2 80\na 3 80\na 4\nb 1\n"), ["a@70 1", "a@80 2", "b@1000 1"]);
        assert_eq!(case.rows(""), ["b@2000 stale"], "series with timestamps of their own are exempt");
        let mut case = Case::new("track_timestamps_staleness: true");
        assert_eq!(case.rows("a 1 70\n"), ["a@70 1"]);
        assert_eq!(case.rows(""), ["a@2000 stale"]);
        let mut case = Case::new("honor_timestamps: false");
        assert_eq!(case.rows("a 1 70\na 2 80\n"), ["a@1000 1"]);
        assert_eq!(case.rows(""), ["a@2000 stale"]);
        let mut case = Case::new("");
        assert_eq!(case.rows("a 1\n").len(), 1);
        assert_eq!(case.rows("a 1 70\n"), ["a@70 1"]);
        assert_eq!(case.rows(""), [""; 0]);
    }

    #[test]
    fn counts_what_prometheus_counts() {
        let mut case = Case::new("metric_relabel_configs: [{action: drop, source_labels: [__name__], regex: d.*}]");
        let (_, tally, _) = case.scrape("a 1\na 2\nd1 1\nd2 1\n");
        assert_eq!(tally, Tally { scraped: 4, kept: 2, added: 1, duplicates: 1 });
        let (_, tally, _) = case.scrape("a 1\nb 1\nd1 1\n");
        assert_eq!(tally, Tally { scraped: 3, kept: 2, added: 1, duplicates: 0 });
    }

    #[test]
    fn the_sample_limit_counts_what_is_kept() {
        let yaml = "sample_limit: 2\nmetric_relabel_configs: [{action: drop, source_labels: [__name__], regex: d.*}]";
        let mut case = Case::new(yaml);
        assert_eq!(case.rows("a 1\nd 1\nb 1\n").len(), 2);
        let (rows, tally, result) = case.scrape("a 1\nb 1\nc 1\ne 1\n");
        assert_eq!(rows, ["a@2000 stale", "b@2000 stale"]);
        assert_eq!((tally.scraped, tally.kept), (4, 4));
        assert_eq!(result, Err(ScrapeError::SampleLimit { samples: 4, limit: 2 }));
    }

    #[test]
    fn a_series_under_another_text_lives_on() {
        let mut case = Case::new("");
        assert_eq!(case.rows("a{x=\"1\",y=\"2\"} 1\n").len(), 1);
        assert_eq!(case.rows("a{y=\"2\",x=\"1\"} 1\n"), ["a{x=\"1\", y=\"2\"}@2000 1"]);
        case.ingest.forget();
        assert_eq!(case.rows("a{y=\"2\",x=\"1\"} 1\n"), ["a{x=\"1\", y=\"2\"}@3000 1"]);
        case.ingest.forget();
        assert_eq!(case.rows("b 1\n"), ["b@4000 1", "a{x=\"1\", y=\"2\"}@4000 stale"]);
        case.ingest.forget();
        let (rows, _, _) = case.scrape("?");
        assert_eq!(rows, ["b@5000 stale"]);
    }

    #[test]
    fn metadata_travels_when_it_is_new() {
        let mut case = Case::new("");
        let body = "# HELP a one\n# TYPE a counter\na 1\n# TYPE b gauge\nb 1\n";
        assert_eq!(case.rows(body)[2..], ["# a counter one", "# b gauge "]);
        assert_eq!(case.rows(body).len(), 2);
        assert_eq!(case.rows(&body.replace("one", "two"))[2..], ["# a counter two"]);
        assert_eq!(case.scrape("# HELP c x\nc y\n").0.len(), 2, "nothing of a failed scrape");
    }

    proptest! {
        /// Whatever a target shows, in whatever order, with whatever goes wrong and is reloaded: what the store holds
        /// without a marker is what the last good scrape showed, and nothing is ended twice.
        #[test]
        fn the_store_holds_what_was_shown_last(
            scrapes in prop::collection::vec((prop::collection::vec(0u8..6, 0..8), 0u8..10), 1..12),
        ) {
            let mut case = Case::new("");
            let mut live = BTreeSet::new();
            for (shown, fate) in scrapes {
                let mut body: String = shown.iter().map(|s| format!("s{s} 1\n")).collect();
                match fate {
                    0 => body.push_str("broken"),
                    1 => case.ingest.forget(),
                    _ => {}
                }
                let (rows, _, result) = case.scrape(&body);
                prop_assert_eq!(result.is_err(), fate == 0);
                for row in rows {
                    let (series, value) = row.split_once('@').expect("is shown so");
                    if value.ends_with("stale") {
                        prop_assert!(live.remove(series), "{} was not there", series);
                    } else {
                        live.insert(series.to_owned());
                    }
                }
                let want: BTreeSet<String> =
                    if fate == 0 { BTreeSet::new() } else { shown.iter().map(|s| format!("s{s}")).collect() };
                prop_assert_eq!(&live, &want);
            }
        }
    }
}
