//! The result cache of range queries: which requests may be answered from it, and its metrics.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::{HeaderMap, header};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};
use promql::{ResultCache, ResultCacheStatistics};
use runtime::{Metrics, MetricsError};

use crate::params::Params;

/// A cache of so many bytes with its metrics; `None` where it may have none.
///
/// # Errors
/// When its metrics are registered already.
pub(crate) fn result_cache(bytes: u64, metrics: &Metrics) -> Result<Option<Arc<ResultCache>>, MetricsError> {
    if bytes == 0 {
        return Ok(None);
    }
    let cache = Arc::new(ResultCache::new(bytes));
    metrics.collector(Box::new(CacheMetrics::new(cache.clone())?))?;
    Ok(Some(cache))
}

/// Whether the caller takes what was evaluated before: not with `nocache=1`, as users of VictoriaMetrics write, and not
/// where the request says so as HTTP does.
pub(crate) fn is_wanted(params: &Params, headers: &HeaderMap) -> bool {
    let refused = !matches!(params.get("nocache").to_ascii_lowercase().as_str(), "" | "0" | "f" | "false" | "no");
    let directives = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut directives = directives.flat_map(|value| value.split(',')).map(str::trim);
    let fresh = |directive: &str| ["no-store", "no-cache"].iter().any(|name| directive.eq_ignore_ascii_case(name));
    !refused && !directives.any(fresh)
}

/// Reads the statistics of a cache when somebody asks.
struct CacheMetrics {
    cache: Arc<ResultCache>,
    descriptions: Vec<Desc>,
}

impl CacheMetrics {
    fn new(cache: Arc<ResultCache>) -> Result<Self, MetricsError> {
        let described = |family: &MetricFamily| {
            Desc::new(family.name().to_owned(), family.help().to_owned(), Vec::new(), HashMap::new())
        };
        let descriptions = families(&ResultCacheStatistics::default());
        let descriptions = descriptions.iter().map(described).collect::<Result<_, prometheus::Error>>()?;
        Ok(Self { cache, descriptions })
    }
}

impl Collector for CacheMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        families(&self.cache.statistics())
    }
}

fn families(now: &ResultCacheStatistics) -> Vec<MetricFamily> {
    let counters = [
        ("hits_total", "Range queries that were answered without evaluation.", now.hits),
        ("partial_hits_total", "Range queries of which only a part was evaluated.", now.partial_hits),
        ("misses_total", "Range queries that might have been answered from the cache and were not.", now.misses),
        ("bypassed_total", "Range queries that cannot be answered from the cache.", now.bypassed),
        ("reused_steps_total", "Steps of range queries that were answered without evaluation.", now.reused_steps),
        ("evaluated_steps_total", "Steps evaluated for queries that did not bypass the cache.", now.evaluated_steps),
    ];
    let gauges = [
        ("entries", "Answers in the result cache.", now.entries),
        ("bytes", "Bytes that the answers in the result cache take.", now.bytes),
    ];
    let counters = counters.map(|(name, help, value)| {
        let mut counter = Counter::default();
        counter.set_value(value as f64);
        let mut metric = Metric::default();
        metric.set_counter(counter);
        family(MetricType::COUNTER, name, help, metric)
    });
    let gauges = gauges.map(|(name, help, value)| {
        let mut gauge = Gauge::default();
        gauge.set_value(value as f64);
        family(MetricType::GAUGE, name, help, Metric::from_gauge(gauge))
    });
    counters.into_iter().chain(gauges).collect()
}

fn family(kind: MetricType, name: &str, help: &str, metric: Metric) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(format!("highwater_query_cache_{name}"));
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(vec![metric]);
    family
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::{FromRequest, Request};

    use super::*;

    #[tokio::test]
    async fn callers_may_refuse_it() {
        for (query, control, want) in [
            ("", "", true),
            ("nocache=0", "max-age=0", true),
            ("nocache=false", "", true),
            ("nocache=1", "", false),
            ("nocache=true", "", false),
            ("", "no-store", false),
            ("", "max-age=0, No-Cache", false),
        ] {
            let request = Request::builder().uri(format!("/?{query}")).body(Body::empty()).expect("is a request");
            let params = Params::from_request(request, &()).await.expect("reads");
            let headers = [(header::CACHE_CONTROL, control.parse().expect("is a value"))];
            let headers: HeaderMap = headers.into_iter().collect();
            assert_eq!(is_wanted(&params, &headers), want, "{query} {control}");
        }
    }

    #[test]
    fn metrics_are_there_from_the_start() {
        let metrics = Metrics::new("test").expect("registers");
        assert!(result_cache(0, &metrics).expect("is none").is_none());
        assert!(result_cache(1000, &metrics).expect("registers").is_some());
        let page = String::from_utf8(metrics.render()).expect("is text");
        for name in ["hits_total 0", "partial_hits_total 0", "misses_total 0", "bypassed_total 0", "bytes 0"] {
            assert!(page.contains(&format!("highwater_query_cache_{name}\n")), "{name}: {page}");
        }
    }
}
