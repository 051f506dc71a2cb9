//! What the store tells of itself, as metrics: read when somebody asks, under Prometheus' names where dashboards know them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::TimestampMs;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType, Quantile, Summary};
use runtime::MetricsError;
use tsdb::{Store, StoreStatistics, SyncStatistics, WorkStatistics};

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
        let some = Some(Default::default());
        let any = StoreStatistics { bounds: some, head_bounds: some, ..StoreStatistics::default() };
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

    /// A sum and a count, with quantiles where there are some.
    fn summary(&mut self, name: &str, help: &str, time: Duration, count: u64, quantiles: &[(f64, Duration)]) {
        let mut summary = Summary::default();
        summary.set_sample_sum(time.as_secs_f64());
        summary.set_sample_count(count);
        let quantile = |(q, value): &(f64, Duration)| {
            let mut quantile = Quantile::default();
            quantile.set_quantile(*q);
            quantile.set_value(value.as_secs_f64());
            quantile
        };
        summary.set_quantile(quantiles.iter().map(quantile).collect());
        let mut metric = Metric::default();
        metric.set_summary(summary);
        self.add(MetricType::SUMMARY, name, help, vec![metric]);
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
    exemplars(now, &mut out);
    blocks(now, &mut out);
    log(now, &mut out);
    work(now, &mut out);
    out.0
}

fn head(now: &StoreStatistics, out: &mut Families) {
    out.gauge("prometheus_tsdb_head_series", "Series in memory.", now.head_series as f64);
    let kinds = [("float", now.appended), ("histogram", now.appended_histograms)];
    let stored = kinds.map(|(kind, count)| counter(&[("type", kind)], count as f64)).to_vec();
    let name = "prometheus_tsdb_head_samples_appended_total";
    out.add(MetricType::COUNTER, name, "Samples that were stored.", stored);
    let help = "Series that came into memory.";
    out.counter("prometheus_tsdb_head_series_created_total", help, now.head_series_created as f64);
    let help = "Series that went from memory.";
    out.counter("prometheus_tsdb_head_series_removed_total", help, now.head_series_removed as f64);
    let help = "Chunks of samples in memory: closed ones, and one that grows for each series.";
    out.gauge("prometheus_tsdb_head_chunks", help, now.head_chunks as f64);
    out.gauge("highwater_store_head_samples", "Samples in memory.", now.head_samples as f64);
    let help = "Bytes of memory that series, index and samples in memory occupy.";
    out.gauge("highwater_store_head_bytes", help, now.head_bytes as f64);
    let help = "Samples that were stored already, with the same value.";
    out.counter("highwater_store_samples_duplicate_total", help, now.duplicates as f64);
    if let Some((oldest, newest)) = now.head_bounds {
        let help = "Time of the oldest sample in memory, in milliseconds since the epoch.";
        out.gauge("prometheus_tsdb_head_min_time", help, oldest.0 as f64);
        let help = "Time of the oldest sample in memory, in seconds since the epoch.";
        out.gauge("prometheus_tsdb_head_min_time_seconds", help, oldest.as_seconds());
        let help = "Time of the newest sample in memory, in milliseconds since the epoch.";
        out.gauge("prometheus_tsdb_head_max_time", help, newest.0 as f64);
    }
    let Some((oldest, newest)) = now.bounds else { return };
    let help = "Time of the oldest stored sample, in milliseconds since the epoch.";
    out.gauge("prometheus_tsdb_lowest_timestamp", help, oldest.0 as f64);
    let help = "Time of the oldest stored sample, in seconds since the epoch.";
    out.gauge("prometheus_tsdb_lowest_timestamp_seconds", help, oldest.as_seconds());
    let help = "Time of the newest stored sample, in seconds since the epoch.";
    out.gauge("prometheus_tsdb_head_max_time_seconds", help, newest.as_seconds());
}

fn exemplars(now: &StoreStatistics, out: &mut Families) {
    let exemplars = &now.exemplars;
    let help = "Exemplars that were stored.";
    out.counter("prometheus_tsdb_exemplar_exemplars_appended_total", help, exemplars.appended as f64);
    let help = "Exemplars that were refused because their series has a later one.";
    out.counter("prometheus_tsdb_exemplar_out_of_order_exemplars_total", help, exemplars.out_of_order as f64);
    out.gauge("prometheus_tsdb_exemplar_exemplars_in_storage", "Exemplars in memory.", exemplars.stored as f64);
    let help = "Exemplars that there may be.";
    out.gauge("prometheus_tsdb_exemplar_max_exemplars", help, exemplars.capacity as f64);
    let help = "Series with exemplars.";
    out.gauge("prometheus_tsdb_exemplar_series_with_exemplars_in_storage", help, exemplars.series as f64);
    let help =
        "Time of the exemplar that a new one will replace first, in seconds since the epoch; 0 where there is none.";
    let oldest = exemplars.oldest.map_or(0.0, TimestampMs::as_seconds);
    out.gauge("prometheus_tsdb_exemplar_last_exemplars_timestamp_seconds", help, oldest);
    let help = "Bytes of memory that exemplars occupy.";
    out.gauge("highwater_store_exemplar_bytes", help, exemplars.bytes as f64);
    let help = "Writes to the log of exemplars that failed; a restart forgets these exemplars.";
    out.counter("highwater_store_exemplar_log_writes_failed_total", help, exemplars.log_failures as f64);
}

fn blocks(now: &StoreStatistics, out: &mut Families) {
    out.gauge("prometheus_tsdb_blocks_loaded", "Blocks of samples.", now.blocks as f64);
    out.gauge("prometheus_tsdb_storage_blocks_bytes", "Bytes of all blocks.", now.block_bytes as f64);
    out.gauge("highwater_store_rollup_blocks", "Blocks of rollups.", now.rollup_blocks as f64);
    out.gauge("highwater_store_block_samples", "Samples in blocks.", now.block_samples as f64);
    let compactions = &now.compactions;
    let help = "Blocks that were joined into larger ones.";
    out.counter("prometheus_tsdb_compactions_total", help, compactions.done as f64);
    let help = "How long joining blocks took.";
    let attempts = compactions.done + compactions.failed;
    out.summary("prometheus_tsdb_compaction_duration_seconds", help, compactions.time, attempts, &[]);
    let help = "How often blocks were removed for their age.";
    out.counter("prometheus_tsdb_time_retentions_total", help, now.time_retentions as f64);
    let help = "How often blocks were removed because all of them took too much space.";
    out.counter("prometheus_tsdb_size_retentions_total", help, now.size_retentions as f64);
    let help = "For how long samples are kept, in seconds.";
    out.gauge("prometheus_tsdb_retention_limit_seconds", help, now.retention.0.as_secs_f64());
    let help = "Bytes that blocks may take; 0 for any number.";
    out.gauge("prometheus_tsdb_retention_limit_bytes", help, now.retention.1.unwrap_or(0) as f64);
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
    let SyncStatistics { done, time, quantiles } = &wal.syncs;
    let known: Vec<_> = quantiles.iter().filter_map(|(q, value)| Some((*q, (*value)?))).collect();
    let help = "How long syncs of the write-ahead log took; quantiles are of the last 600.";
    out.summary("prometheus_tsdb_wal_fsync_duration_seconds", help, *time, *done, &known);
    let help = "How often the write-ahead log began anew, everything before being in blocks.";
    out.counter("prometheus_tsdb_wal_truncations_total", help, now.seals.done as f64);
    let help = "How often that failed; it is tried again.";
    out.counter("prometheus_tsdb_wal_truncations_failed_total", help, now.seals.failed as f64);
    let help = "Syncs of the write-ahead log that failed.";
    out.counter("highwater_store_wal_syncs_failed_total", help, wal.sync_failures as f64);
    let help = "Bytes written to the write-ahead log.";
    out.counter("highwater_store_wal_written_bytes_total", help, wal.written_bytes as f64);
    let help = "Bytes of the write-ahead log that a power loss would take.";
    out.gauge("highwater_store_wal_unsynced_bytes", help, wal.written_bytes.saturating_sub(wal.synced_bytes) as f64);
    let help = "Bytes of the write-ahead log that a start after a kill would have to replay.";
    out.gauge("highwater_store_wal_replay_bytes", help, wal.replay_bytes as f64);
    let help = "Bytes of the write-ahead log on the disk.";
    out.gauge("prometheus_tsdb_wal_storage_size_bytes", help, wal.replay_bytes as f64);
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

    use super::*;

    #[test]
    fn every_family_has_one_name_and_a_value() {
        let bounds = Some((TimestampMs(1_500), TimestampMs(3_000)));
        let mut now = StoreStatistics { bounds, head_bounds: bounds, head_series: 7, ..StoreStatistics::default() };
        now.wal.syncs = SyncStatistics {
            done: 9,
            time: Duration::from_millis(4500),
            quantiles: [(0.5, None), (0.9, None), (0.99, Some(Duration::from_secs(2)))],
        };
        let families = families(&now);
        let names: BTreeSet<&str> = families.iter().map(MetricFamily::name).collect();
        assert_eq!(names.len(), families.len());
        assert!(families.iter().all(|family| !family.get_metric().is_empty()));
        let value =
            |name: &str| families.iter().find(|f| f.name() == name).map(|f| f.get_metric()[0].get_gauge().get_value());
        assert_eq!(value("prometheus_tsdb_head_series"), Some(7.0));
        assert_eq!(value("prometheus_tsdb_lowest_timestamp_seconds"), Some(1.5));
        assert_eq!(value("highwater_store_writable"), Some(1.0));
        let syncs =
            families.iter().find(|f| f.name() == "prometheus_tsdb_wal_fsync_duration_seconds").expect("is there");
        let syncs = syncs.get_metric()[0].get_summary();
        assert_eq!((syncs.sample_count(), syncs.sample_sum(), syncs.get_quantile().len()), (9, 4.5, 1));
    }
}
