//! The life of one target: wait until it is due, fetch, ingest, report, until it is told to end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{
    Append, AppendReport, Batch, Labels, LabelsBuilder, METRIC_NAME, RefusalReason, Sample, TimestampMs, stale_nan,
};
use parking_lot::Mutex;
use reqwest::Url;
use runtime::{CpuPool, HttpClient, now};
use sources::Inputs;
use tokio::sync::watch;

use crate::fetch::{Fetch, ScrapeError};
use crate::ingest::{Ingest, Tally};
use crate::metrics::ScrapeMetrics;
use crate::outage::Outage;
use crate::schedule;
use crate::scrape_config::ScrapeConfig;
use crate::status::{Health, TargetStatus};
use crate::target::TargetKey;

/// Larger bodies are parsed on the CPU pool, so that they do not hold up the tasks beside them.
const INLINE_BODY_BYTES: usize = 128 << 10;
/// The synthetic series of every target, in the order in which they are written.
const REPORTS: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];

/// What all targets of all pools share.
pub(crate) struct Shared {
    pub(crate) sink: Arc<dyn Append>,
    pub(crate) metrics: ScrapeMetrics,
    pub(crate) outage: Outage,
    pub(crate) cpu: CpuPool,
    pub(crate) seed: u64,
    pub(crate) inputs: Inputs,
}

/// How a target is to be scraped now. Replaced as a whole when the configuration changes.
pub(crate) struct Plan {
    pub(crate) config: Arc<ScrapeConfig>,
    pub(crate) client: HttpClient,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    /// Set when the pool may not scrape at all.
    pub(crate) forbidden: Option<ScrapeError>,
}

/// What a loop is told.
#[derive(Clone)]
pub(crate) enum Control {
    /// Go on, in this way.
    Run(Arc<Plan>),
    /// The target is gone: end its series and return.
    Remove,
    /// The process stops: return, the series will go on.
    Stop,
}

/// A target as its pool and its loop see it.
pub(crate) struct Target {
    pub(crate) key: TargetKey,
    pub(crate) url: Url,
    pub(crate) status: Mutex<TargetStatus>,
}

/// Runs until the target is removed or the process stops.
pub(crate) async fn run(target: Arc<Target>, shared: Arc<Shared>, mut control: watch::Receiver<Control>) {
    let mut scraper = Scraper::new(target, shared);
    let mut last_due = None;
    loop {
        let told = control.borrow_and_update().clone();
        let plan = match told {
            Control::Run(plan) => plan,
            Control::Remove => return scraper.end(),
            Control::Stop => return,
        };
        scraper.adopt(&plan);
        let offset = schedule::offset_ms(scraper.target.key.hash(), scraper.shared.seed, plan.interval);
        let now = now();
        let due = schedule::next_due(now, last_due, plan.interval, offset);
        let wait = Duration::from_millis(u64::try_from(due - now).unwrap_or(0));
        // Before it is due, so that nobody takes that moment for complete before it is stored.
        let registered = scraper.shared.inputs.begin(due);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            changed = control.changed() => match changed {
                Ok(()) => continue,
                // The pool is gone without a word: as in a stop.
                Err(_) => return,
            },
        }
        last_due = Some(due);
        scraper.scrape(&plan, due, &mut control.clone()).await;
        drop(registered);
    }
}

struct Scraper {
    target: Arc<Target>,
    shared: Arc<Shared>,
    reports: Vec<Labels>,
    config: Option<Arc<ScrapeConfig>>,
    ingest: Ingest,
    /// When the synthetic series were written last.
    reported_at: Option<TimestampMs>,
    body_bytes: usize,
    refusals: Refusals,
}

impl Scraper {
    fn new(target: Arc<Target>, shared: Arc<Shared>) -> Self {
        let report = |name: &&str| LabelsBuilder::from_labels(&target.key.labels).set(METRIC_NAME, name).build();
        let reports = REPORTS.iter().map(report).collect();
        Self {
            target,
            shared,
            reports,
            config: None,
            ingest: Ingest::default(),
            reported_at: None,
            body_bytes: 0,
            refusals: Refusals::default(),
        }
    }

    /// Takes over a plan; what raw series mean is forgotten where the plan changes it.
    fn adopt(&mut self, plan: &Plan) {
        if self.config.as_ref().is_some_and(|c| Arc::ptr_eq(c, &plan.config)) {
            return;
        }
        if self.config.as_ref().is_some_and(|c| !c.resolves_like(&plan.config)) {
            self.ingest.forget();
        }
        self.config = Some(plan.config.clone());
    }

    /// Scrapes once. Returns early, with nothing stored, when the loop is told to end while the target has not
    /// answered yet.
    async fn scrape(&mut self, plan: &Plan, due: TimestampMs, control: &mut watch::Receiver<Control>) {
        let began = Instant::now();
        let at = schedule::align(now(), due, plan.interval);
        let fetched = match &plan.forbidden {
            Some(error) => Err(error.clone()),
            None => tokio::select! {
                fetched = self.fetch(plan) => fetched,
                _ = control.wait_for(|c| !matches!(c, Control::Run(_))) => return,
            },
        };
        let mut batch = Batch::default();
        let (tally, result) = match fetched {
            Ok(body) => {
                self.body_bytes = body.len();
                self.ingest_body(body, at, plan, &mut batch).await
            }
            Err(error) => {
                self.ingest.end(at, &mut batch);
                (Tally::default(), Err(error))
            }
        };
        let took = began.elapsed();
        self.report(at, took, &tally, result.is_ok(), &mut batch);
        self.append(&batch);
        let job = &plan.config.job_name;
        self.shared.metrics.scraped(job, tally.duplicates, result.as_ref().err());
        if let Err(error) = &result {
            tracing::debug!(scrape_pool = %job, url = %self.target.key.url, %error, "scrape failed");
        }
        let mut status = self.target.status.lock();
        status.last_scrape = Some(at);
        status.last_scrape_duration = took;
        status.health = if result.is_ok() { Health::Up } else { Health::Down };
        status.last_error = result.err().map(|e| e.to_string()).unwrap_or_default();
    }

    async fn fetch(&self, plan: &Plan) -> Result<Vec<u8>, ScrapeError> {
        let fetch = Fetch {
            client: &plan.client,
            url: &self.target.url,
            shown_url: &self.target.key.url,
            timeout: plan.timeout,
            compression: plan.config.enable_compression,
            body_limit: plan.config.limits.body_bytes,
            expected_bytes: self.body_bytes,
        };
        fetch.run().await
    }

    async fn ingest_body(
        &mut self,
        body: Vec<u8>,
        at: TimestampMs,
        plan: &Plan,
        batch: &mut Batch,
    ) -> (Tally, Result<(), ScrapeError>) {
        if body.len() <= INLINE_BODY_BYTES {
            return self.ingest.body(&body, at, &self.target.key.labels, &plan.config, batch);
        }
        let mut ingest = std::mem::take(&mut self.ingest);
        let (target, config) = (self.target.clone(), plan.config.clone());
        let work = move || {
            let mut batch = Batch::default();
            let (tally, result) = ingest.body(&body, at, &target.key.labels, &config, &mut batch);
            (ingest, batch, tally, result)
        };
        match self.shared.cpu.run(work).await {
            Ok((ingest, filled, tally, result)) => {
                self.ingest = ingest;
                *batch = filled;
                (tally, result)
            }
            // What was known of the target is lost with the work; its series end by the lookback window.
            Err(error) => (Tally::default(), Err(ScrapeError::Internal(error.to_string()))),
        }
    }

    fn report(&mut self, at: TimestampMs, took: Duration, tally: &Tally, is_up: bool, batch: &mut Batch) {
        let values = [
            f64::from(u8::from(is_up)),
            took.as_secs_f64(),
            tally.scraped as f64,
            tally.kept as f64,
            tally.added as f64,
        ];
        for (labels, value) in self.reports.iter().zip(values) {
            batch.push(labels.clone(), Sample { timestamp: at, value });
        }
        self.reported_at = Some(at);
    }

    /// Ends every series of the target, the synthetic ones among them.
    fn end(&mut self) {
        let Some(reported_at) = self.reported_at else { return };
        let registered = self.shared.inputs.begin(now());
        let at = now().max(reported_at + 1);
        let mut batch = Batch::default();
        self.ingest.end(at, &mut batch);
        for labels in &self.reports {
            batch.push(labels.clone(), Sample { timestamp: at, value: stale_nan() });
        }
        self.append(&batch);
        drop(registered);
    }

    /// As in Prometheus, a target whose samples cannot be stored is healthy: it has answered. Its `up` is lost with the
    /// rest, so that the gap shows.
    fn append(&mut self, batch: &Batch) {
        let appended = self.shared.sink.append(batch);
        self.shared.outage.tell(appended.as_ref().err());
        let Ok(report) = appended else {
            self.shared.metrics.lost(batch.rows.len());
            return;
        };
        self.shared.metrics.appended(&report);
        let is_news = self.refusals.is_news(&report);
        let Some(first) = report.refused.first() else { return };
        let series = batch.rows.get(first.row).map(|r| r.labels.to_string()).unwrap_or_default();
        let (url, refused, reason) = (&self.target.key.url, report.refused.len(), first.reason);
        if is_news {
            tracing::warn!(%url, refused, %series, %reason, "the store did not take every sample of a scrape");
        } else {
            tracing::debug!(%url, refused, %series, %reason, "the store did not take every sample of a scrape");
        }
    }
}

/// What the store refuses of a target, told aloud when it begins or its reason changes: the target is up all the
/// same, so nothing else names it, and a line for every scrape would bury the log.
#[derive(Default)]
struct Refusals {
    told: Option<RefusalReason>,
}

impl Refusals {
    fn is_news(&mut self, report: &AppendReport) -> bool {
        let now = report.refused.first().map(|refusal| refusal.reason);
        let before = std::mem::replace(&mut self.told, now);
        now.is_some() && now != before
    }
}

#[cfg(test)]
mod tests {
    use model::{AppendReport, Refusal, RefusalReason};

    use super::Refusals;

    #[test]
    fn refusals_are_news_when_they_begin_or_change() {
        use RefusalReason::{DuplicateTimestamp, SeriesLimit};
        let mut refusals = Refusals::default();
        let mut news = |reason: Option<RefusalReason>| {
            let refused = reason.map(|reason| Refusal { row: 0, reason }).into_iter().collect();
            refusals.is_news(&AppendReport { refused, ..AppendReport::default() })
        };
        assert!(!news(None), "nothing was refused");
        assert!(news(Some(SeriesLimit)), "begins");
        assert!(!news(Some(SeriesLimit)), "goes on");
        assert!(news(Some(DuplicateTimestamp)), "for another reason");
        assert!(!news(None), "is over");
        assert!(news(Some(DuplicateTimestamp)), "begins again");
    }
}
