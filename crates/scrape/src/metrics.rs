//! What scraping counts about itself; names are Prometheus' where it has one.

use model::{AppendReport, RefusalReason};
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use runtime::{Metrics, MetricsError};

use crate::fetch::ScrapeError;

#[derive(Clone)]
pub(crate) struct ScrapeMetrics {
    pub(crate) pools: IntGauge,
    pub(crate) pool_targets: IntGaugeVec,
    pub(crate) pool_syncs: IntCounterVec,
    pub(crate) file_read_errors: IntCounter,
    scrapes: IntCounterVec,
    failures: IntCounterVec,
    samples: IntCounter,
    refused: IntCounterVec,
    lost: IntCounter,
    duplicates: IntCounter,
    over_sample_limit: IntCounter,
    over_body_limit: IntCounter,
    over_label_limit: IntCounter,
    over_target_limit: IntCounter,
}

impl ScrapeMetrics {
    pub(crate) fn register(metrics: &Metrics) -> Result<Self, MetricsError> {
        let job = &["scrape_job"];
        let out = Self {
            pools: metrics.int_gauge("prometheus_target_scrape_pools", "Scrape pools that exist.")?,
            pool_targets: metrics.int_gauge_vec(
                "prometheus_target_scrape_pool_targets",
                "Targets that a scrape pool scrapes.",
                job,
            )?,
            pool_syncs: metrics.counter_vec(
                "prometheus_target_scrape_pool_sync_total",
                "How often the targets of a scrape pool were matched with what was discovered.",
                job,
            )?,
            file_read_errors: metrics.counter(
                "prometheus_sd_file_read_errors_total",
                "Readings of file_sd files that failed; their targets stay.",
            )?,
            scrapes: metrics.counter_vec("highwater_scrapes_total", "Scrapes that were attempted.", job)?,
            failures: metrics.counter_vec(
                "highwater_scrape_failures_total",
                "Scrapes that failed and left nothing but up 0 and staleness markers.",
                &["scrape_job", "reason"],
            )?,
            samples: metrics.counter(
                "highwater_scrape_samples_appended_total",
                "Samples that the store took, synthetic ones and staleness markers among them.",
            )?,
            refused: metrics.counter_vec(
                "highwater_scrape_samples_refused_total",
                "Samples that the store did not take.",
                &["reason"],
            )?,
            lost: metrics.counter("highwater_scrape_samples_lost_total", "Samples lost while the store took none.")?,
            duplicates: metrics.counter(
                "prometheus_target_scrapes_sample_duplicate_timestamp_total",
                "Samples left out because the same scrape had one of the same series before.",
            )?,
            over_sample_limit: metrics.counter(
                "prometheus_target_scrapes_exceeded_sample_limit_total",
                "Scrapes that failed by sample_limit.",
            )?,
            over_body_limit: metrics.counter(
                "prometheus_target_scrapes_exceeded_body_size_limit_total",
                "Scrapes that failed by body_size_limit.",
            )?,
            over_label_limit: metrics.counter(
                "prometheus_target_scrape_pool_exceeded_label_limits_total",
                "Scrapes that failed by a limit on labels.",
            )?,
            over_target_limit: metrics.counter(
                "prometheus_target_scrape_pool_exceeded_target_limit_total",
                "How often a pool had more targets than target_limit allows.",
            )?,
        };
        for reason in RefusalReason::ALL {
            out.refused.with_label_values(&[reason.as_str()]);
        }
        Ok(out)
    }

    pub(crate) fn scraped(&self, job: &str, duplicates: u64, error: Option<&ScrapeError>) {
        self.scrapes.with_label_values(&[job]).inc();
        self.duplicates.inc_by(duplicates);
        let Some(error) = error else { return };
        self.failures.with_label_values(&[job, error.reason()]).inc();
        match error {
            ScrapeError::SampleLimit { .. } => self.over_sample_limit.inc(),
            ScrapeError::BodySize(_) => self.over_body_limit.inc(),
            ScrapeError::LabelLimit(_) => self.over_label_limit.inc(),
            _ => {}
        }
    }

    pub(crate) fn appended(&self, report: &AppendReport) {
        self.samples.inc_by(report.appended as u64);
        for refusal in &report.refused {
            self.refused.with_label_values(&[refusal.reason.as_str()]).inc();
        }
    }

    pub(crate) fn lost(&self, samples: usize) {
        self.lost.inc_by(samples as u64);
    }

    pub(crate) fn target_limit_exceeded(&self) {
        self.over_target_limit.inc();
    }

    /// Forgets the series of a job that is gone.
    pub(crate) fn forget_job(&self, job: &str) {
        // Not there is as good as removed.
        let _ = self.pool_targets.remove_label_values(&[job]);
        let _ = self.pool_syncs.remove_label_values(&[job]);
        let _ = self.scrapes.remove_label_values(&[job]);
    }
}
