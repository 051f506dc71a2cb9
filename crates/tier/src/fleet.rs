//! The sources of a tier at work: opened before anything sends, saved every few seconds, shown by the API and as metrics.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use disk::RealDisk;
use forward::Teller;
use http_api::{FleetSource, StoreError};
use model::{Labels, TimestampMs};
use parking_lot::RwLock;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use runtime::{Metrics, MetricsError, Stop, Supervisor};
use sources::{Behind, Report, SourceLimits, SourceName, SourceState, SourceStatus, Sources};

/// The table, in the store's folder.
const FILE: &str = "sources";
/// The number of this process among those of its name, in the store's folder.
const PROCESS_FILE: &str = "process";
const SAVE_EVERY: Duration = Duration::from_secs(10);
/// Sources that are known only from what others say, as metrics: each of these may name fifty.
const MAX_NESTED: usize = 1000;

/// Opens the table of sources and keeps it saved until the supervisor stops. To be called before whatever fills it is
/// started; the folder must be this process' own.
///
/// # Errors
/// When metrics are registered already.
pub(crate) fn open(
    folder: &Path,
    limits: SourceLimits,
    supervisor: &Supervisor,
    metrics: &Metrics,
) -> Result<Arc<Sources>, MetricsError> {
    let (sources, problem) = Sources::open(limits, Arc::new(RealDisk), folder.join(FILE), runtime::now());
    if let Some(problem) = problem {
        tracing::error!(%problem, file = FILE, "sources that are silent now raise no alert until they were heard of");
    }
    let sources = Arc::new(sources);
    metrics.collector(Box::new(SourceMetrics::new(sources.clone())?))?;
    let kept = sources.clone();
    supervisor.spawn("sources", move |stop| keep(kept, stop));
    Ok(sources)
}

async fn keep(sources: Arc<Sources>, stop: Stop) {
    loop {
        stop.sleep(SAVE_EVERY).await;
        // Asked before saving: what comes while this saves is saved once more.
        let is_last = stop.is_requested();
        let saved = sources.clone();
        match tokio::task::spawn_blocking(move || saved.save(runtime::now())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the table of sources is not saved; it is tried again"),
            Err(_) => tracing::error!("saving the table of sources panicked; report this"),
        }
        if is_last {
            return;
        }
    }
}

/// What a tier says of itself in every request that it forwards. `folder`: its store, which is this process' own.
pub(crate) fn teller(
    role: &'static str,
    folder: &Path,
    sources: Arc<Sources>,
    external: Arc<RwLock<Labels>>,
) -> Teller {
    let process = process(folder);
    Arc::new(move || {
        let now = runtime::now();
        let source = SourceName::of(role, &external.read(), &runtime::hostname());
        Report {
            source: Some(source),
            process: Some(process),
            watermark: Some(sources.watermark(now)),
            behind: sources.behind(now),
            gaps_below: sources.gaps_below(now),
            ..Report::default()
        }
    })
}

/// A number that no other process has, the same after a restart, on another machine too: it lies in the folder.
fn process(folder: &Path) -> u64 {
    let path = folder.join(PROCESS_FILE);
    let read = std::fs::read_to_string(&path).ok();
    if let Some(known) = read.and_then(|text| u64::from_str_radix(text.trim_end(), 16).ok()) {
        return known;
    }
    // Seeded anew in every process.
    let drawn = RandomState::new().hash_one(PROCESS_FILE);
    if let Err(error) = disk::write_whole(&RealDisk, &path, format!("{drawn:016x}\n").as_bytes()) {
        tracing::warn!(%error, file = PROCESS_FILE, "who hears of this process takes it for another one after a restart");
    }
    drawn
}

/// Sources as the API asks for them.
pub(crate) struct Fleet(pub(crate) Arc<Sources>);

impl FleetSource for Fleet {
    fn sources(&self) -> Vec<SourceStatus> {
        self.0.statuses(runtime::now())
    }

    fn watermark(&self) -> TimestampMs {
        self.0.watermark(runtime::now())
    }

    fn incomplete(&self, end: TimestampMs) -> Vec<(Behind, Option<SourceName>)> {
        self.0.incomplete(end, runtime::now())
    }

    fn forget(&self, source: &SourceName) -> Result<bool, StoreError> {
        let is_known = self.0.forget(source, runtime::now()).map_err(|error| StoreError(error.to_string()))?;
        if is_known {
            tracing::info!(%source, "an operator had this source forgotten");
        }
        Ok(is_known)
    }
}

/// Reads the table when somebody asks for metrics.
struct SourceMetrics {
    sources: Arc<Sources>,
    descriptions: Vec<Desc>,
}

/// What is told of each source: name, kind, help.
const OF_EACH: [(&str, MetricType, &str); 5] = [
    (
        "highwater_source_watermark_seconds",
        MetricType::GAUGE,
        "Up to when everything of the source is here, in seconds since the epoch; of one that does not tell, its newest sample.",
    ),
    ("highwater_source_lag_seconds", MetricType::GAUGE, "How long ago that is."),
    (
        "highwater_source_last_seen_seconds",
        MetricType::GAUGE,
        "When the source was heard of last, in seconds since the epoch; forgotten after a week.",
    ),
    ("highwater_source_backlog_samples", MetricType::GAUGE, "Samples that wait at the source."),
    (
        "highwater_source_gap_samples_total",
        MetricType::COUNTER,
        "Samples that the source had to drop, as far as it was told.",
    ),
];
const COUNTS: (&str, &str) = ("highwater_sources", "Sources that send here, by state.");
const WATERMARK: (&str, &str) =
    ("highwater_watermark_seconds", "Up to when everything is here, in seconds since the epoch.");
const REFUSED: (&str, &str) =
    ("highwater_source_requests_untracked_total", "Requests of sources for which the table has no room.");

impl SourceMetrics {
    /// # Errors
    /// When a name is not legal.
    fn new(sources: Arc<Sources>) -> Result<Self, MetricsError> {
        let named = OF_EACH.iter().map(|(name, _, help)| (*name, *help)).chain([COUNTS, WATERMARK, REFUSED]);
        let described = |(name, help): (&str, &str)| Desc::new(name.into(), help.into(), Vec::new(), HashMap::new());
        let descriptions = named.map(described).collect::<Result<_, prometheus::Error>>()?;
        Ok(Self { sources, descriptions })
    }
}

impl Collector for SourceMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let now = runtime::now();
        let statuses = self.sources.statuses(now);
        let mut out = families_of_each(&statuses);
        let direct = || statuses.iter().filter(|status| status.via.is_none());
        let count = |state: SourceState| {
            let count = direct().filter(|status| status.state == state).count();
            metric(MetricType::GAUGE, &[("state", state.as_str())], count as f64)
        };
        out.push(family(MetricType::GAUGE, COUNTS, SourceState::ALL.map(count).to_vec()));
        let watermark = self.sources.watermark(now).as_seconds();
        out.push(family(MetricType::GAUGE, WATERMARK, vec![metric(MetricType::GAUGE, &[], watermark)]));
        let refused = metric(MetricType::COUNTER, &[], self.sources.refused() as f64);
        out.push(family(MetricType::COUNTER, REFUSED, vec![refused]));
        out
    }
}

fn families_of_each(statuses: &[SourceStatus]) -> Vec<MetricFamily> {
    let mut metrics: [Vec<Metric>; OF_EACH.len()] = Default::default();
    let mut nested = 0;
    for status in statuses {
        let source = status.source.to_string();
        let via = status.via.as_ref().map(ToString::to_string);
        nested += usize::from(via.is_some());
        if via.is_some() && nested > MAX_NESTED {
            continue;
        }
        let labels: Vec<(&str, &str)> =
            [("source", source.as_str())].into_iter().chain(via.as_deref().map(|via| ("via", via))).collect();
        let direct = status.direct.as_ref();
        let values = [
            status.watermark.map(TimestampMs::as_seconds),
            status.lag_ms.map(|lag_ms| lag_ms as f64 / 1000.0),
            direct.map(|direct| direct.last_seen.as_seconds()),
            direct.map(|direct| direct.backlog.samples as f64),
            (direct.is_some() || status.gap_samples > 0).then_some(status.gap_samples as f64),
        ];
        for ((list, value), (_, kind, _)) in metrics.iter_mut().zip(values).zip(OF_EACH) {
            list.extend(value.map(|value| metric(kind, &labels, value)));
        }
    }
    let all = OF_EACH.into_iter().zip(metrics).filter(|(_, list)| !list.is_empty());
    all.map(|((name, kind, help), list)| family(kind, (name, help), list)).collect()
}

fn family(kind: MetricType, (name, help): (&str, &str), metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn metric(kind: MetricType, labels: &[(&str, &str)], value: f64) -> Metric {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    let mut metric = Metric::from_label(labels.iter().map(pair).collect());
    if kind == MetricType::COUNTER {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    metric
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use sources::{Arrival, Report};

    use super::*;

    #[test]
    fn a_process_is_the_same_after_a_restart_and_no_other() {
        let [one, other] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let number = process(one.path());
        assert_eq!(process(one.path()), number);
        assert_ne!(process(other.path()), number);
        std::fs::write(one.path().join(PROCESS_FILE), "nonsense").expect("writes");
        assert_eq!(process(one.path()), process(one.path()), "a damaged one is replaced");
        let _ = process(Path::new("/nowhere"));
    }

    #[tokio::test]
    async fn who_was_silent_before_a_restart_is_gone_after_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let heard_ago = |sources: &Sources, ago_ms: i64| {
            let now = runtime::now() - ago_ms;
            let behind = vec![Behind { source: SourceName::new("edge", "b", ""), watermark: now - 500_000 }];
            let report =
                Report { source: SourceName::parse("cascade/a"), watermark: Some(now), behind, ..Report::default() };
            let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
            sources.observe(&Arrival { address, report: &report, newest: None, samples: 1, bytes: 1, now });
        };
        let page = |metrics: &Metrics| String::from_utf8(metrics.render()).expect("is text");
        let supervisor = Supervisor::new();
        let metrics = Metrics::new("test").expect("registers");
        let sources = open(folder.path(), SourceLimits::default(), &supervisor, &metrics).expect("opens");
        assert!(page(&metrics).contains("highwater_sources{state=\"gone\"} 0\n"), "{}", page(&metrics));
        heard_ago(&sources, 600_000);
        supervisor.stop(Duration::from_secs(10)).await;

        let (supervisor, metrics) = (Supervisor::new(), Metrics::new("test").expect("registers"));
        let sources = open(folder.path(), SourceLimits::default(), &supervisor, &metrics).expect("opens");
        let text = page(&metrics);
        assert!(text.contains("highwater_sources{state=\"gone\"} 1\n"), "{text}");
        assert!(text.contains("highwater_source_last_seen_seconds{source=\"cascade/a\"} "), "{text}");
        assert!(text.contains("highwater_source_lag_seconds{source=\"edge/b\",via=\"cascade/a\"} 1100."), "{text}");
        heard_ago(&sources, 0);
        assert!(page(&metrics).contains("highwater_sources{state=\"live\"} 1\n"));
        supervisor.stop(Duration::from_secs(10)).await;
    }
}
