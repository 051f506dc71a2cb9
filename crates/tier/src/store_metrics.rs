//! What the store tells of itself, as metrics: read when somebody asks, under Prometheus' names where dashboards know them.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use runtime::MetricsError;
use tsdb::{Store, StoreStatistics, WorkStatistics};

/// Reads the statistics of a store.
pub(crate) struct StoreMetrics {
    store: Arc<Store>,
    descriptions: Vec<Desc>,
}

impl StoreMetrics {
    /// # Errors
    /// When a name is not legal.
    pub(crate) fn new(store: Arc<Store>) -> Result<Self, MetricsError> {
        let described = |family: &MetricFamily| {
            Desc::new(family.name().to_owned(), family.help().to_owned(), Vec::new(), HashMap::new())
        };
        // Of an empty store some are left out.
        let any = StoreStatistics { bounds: Some(Default::default()), ..StoreStatistics::default() };
        let descriptions = families(&any).iter().map(described).collect::<Result<_, prometheus::Error>>()?;
        Ok(Self { store, descriptions })
    }
}

impl Collector for StoreMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        families(&self.store.statistics())
    }
}

/// The families, each with one metric, or with one for each value of a label.
#[derive(Default)]
struct Families(Vec<MetricFamily>);

impl Families {
    fn add(&mut self, kind: MetricType, name: &str, help: &str, metrics: Vec<Metric>) {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.add(MetricType::GAUGE, name, help, vec![gauge(value)]);
    }

    fn counter(&mut self, name: &str, help: &str, value: f64) {
        self.add(MetricType::COUNTER, name, help, vec![counter(&[], value)]);
    }
}

fn gauge(value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    Metric::from_gauge(gauge)
}

fn counter(labels: &[(&str, &str)], value: f64) -> Metric {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    let mut counter = Counter::default();
    counter.set_value(value);
    let mut metric = Metric::from_label(labels.iter().map(pair).collect());
    metric.set_counter(counter);
    metric
}

fn families(now: &StoreStatistics) -> Vec<MetricFamily> {
    let mut out = Families::default();
    head(now, &mut out);
    blocks(now, &mut out);
    log(now, &mut out);
    work(now, &mut out);
    out.0
}

fn head(now: &StoreStatistics, out: &mut Families) {
    out.gauge("prometheus_tsdb_head_series", "Series in memory.", now.head_series as f64);
    let stored = vec![counter(&[("type", "float")], now.appended as f64)];
    let name = "prometheus_tsdb_head_samples_appended_total";
    out.add(MetricType::COUNTER, name, "Samples that were stored.", stored);
    out.gauge("highwater_store_head_samples", "Samples in memory.", now.head_samples as f64);
    let help = "Bytes of memory that series, index and samples in memory occupy.";
    out.gauge("highwater_store_head_bytes", help, now.head_bytes as f64);
    let help = "Samples that were stored already, with the same value.";
    out.counter("highwater_store_samples_duplicate_total", help, now.duplicates as f64);
    let Some((oldest, newest)) = now.bounds else { return };
    let help = "Time of the oldest stored sample, in seconds since the epoch.";
    out.gauge("prometheus_tsdb_lowest_timestamp_seconds", help, oldest.as_seconds());
    let help = "Time of the newest stored sample, in seconds since the epoch.";
    out.gauge("prometheus_tsdb_head_max_time_seconds", help, newest.as_seconds());
}

fn blocks(now: &StoreStatistics, out: &mut Families) {
    out.gauge("prometheus_tsdb_blocks_loaded", "Blocks of samples.", now.blocks as f64);
    out.gauge("prometheus_tsdb_storage_blocks_bytes", "Bytes of all blocks.", now.block_bytes as f64);
    out.gauge("highwater_store_rollup_blocks", "Blocks of rollups.", now.rollup_blocks as f64);
    out.gauge("highwater_store_block_samples", "Samples in blocks.", now.block_samples as f64);
    let compactions = &now.compactions;
    let help = "Blocks that were joined into larger ones.";
    out.counter("prometheus_tsdb_compactions_total", help, compactions.done as f64);
    let help = "Compactions that failed; they are tried again.";
    out.counter("prometheus_tsdb_compactions_failed_total", help, compactions.failed as f64);
    let help = "Damaged records and files that were found, named in the log and put aside.";
    out.counter("highwater_store_corruptions_total", help, now.corruptions as f64);
    let help = "Files that were put aside because they are damaged.";
    out.gauge("highwater_store_quarantined_files", help, now.quarantined.len() as f64);
}

fn log(now: &StoreStatistics, out: &mut Families) {
    let wal = &now.wal;
    let help = "Damaged records and files that were found since the start.";
    out.counter("prometheus_tsdb_wal_corruptions_total", help, now.corruptions as f64);
    let help = "Writes to the write-ahead log that failed; they are tried again.";
    out.counter("prometheus_tsdb_wal_writes_failed_total", help, wal.write_failures as f64);
    let help = "Syncs of the write-ahead log that failed.";
    out.counter("highwater_store_wal_syncs_failed_total", help, wal.sync_failures as f64);
    let help = "Bytes written to the write-ahead log.";
    out.counter("highwater_store_wal_written_bytes_total", help, wal.written_bytes as f64);
    let help = "Bytes of the write-ahead log that a power loss would take.";
    out.gauge("highwater_store_wal_unsynced_bytes", help, wal.written_bytes.saturating_sub(wal.synced_bytes) as f64);
    let help = "Bytes of the write-ahead log that a start after a kill would have to replay.";
    out.gauge("highwater_store_wal_replay_bytes", help, wal.replay_bytes as f64);
    let help = "Whether samples are accepted: 0 while the write-ahead log cannot be written.";
    out.gauge("highwater_store_writable", help, f64::from(u8::from(!wal.blocked)));
    let recovery = &now.recovery;
    let help = "Whether what the last run left in its log is being replayed.";
    out.gauge("highwater_store_recovery_running", help, f64::from(u8::from(recovery.running)));
    let help = "Samples that were replayed from the log of the last run.";
    out.counter("highwater_store_recovered_samples_total", help, recovery.samples as f64);
}

fn work(now: &StoreStatistics, out: &mut Families) {
    let kinds =
        [("seal", &now.seals), ("compaction", &now.compactions), ("rollup", &now.rollups), ("removal", &now.removals)];
    let outcomes = |(kind, work): (&'static str, &WorkStatistics)| {
        [("done", work.done), ("failed", work.failed)]
            .map(|(outcome, count)| counter(&[("work", kind), ("outcome", outcome)], count as f64))
    };
    let counts = kinds.iter().copied().flat_map(outcomes).collect();
    let help = "What the store did beside taking and giving samples, and how it went.";
    out.add(MetricType::COUNTER, "highwater_store_work_total", help, counts);
    let seconds = |(kind, work): &(&'static str, &WorkStatistics)| counter(&[("work", kind)], work.time.as_secs_f64());
    let help = "How long that took altogether.";
    out.add(MetricType::COUNTER, "highwater_store_work_seconds_total", help, kinds.iter().map(seconds).collect());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use model::TimestampMs;

    use super::*;

    #[test]
    fn every_family_has_one_name_and_a_value() {
        let bounds = Some((TimestampMs(1_500), TimestampMs(3_000)));
        let families = families(&StoreStatistics { bounds, head_series: 7, ..StoreStatistics::default() });
        let names: BTreeSet<&str> = families.iter().map(MetricFamily::name).collect();
        assert_eq!(names.len(), families.len());
        assert!(families.iter().all(|family| !family.get_metric().is_empty()));
        let value =
            |name: &str| families.iter().find(|f| f.name() == name).map(|f| f.get_metric()[0].get_gauge().get_value());
        assert_eq!(value("prometheus_tsdb_head_series"), Some(7.0));
        assert_eq!(value("prometheus_tsdb_lowest_timestamp_seconds"), Some(1.5));
        assert_eq!(value("highwater_store_writable"), Some(1.0));
    }
}
