//! What the engine tells a store about its reads, and which labels it asks for.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use model::{
    Column, Hints, Labels, Matcher, MetricMetadata, Queryable, SampleBuffer, SelectError, Selection, StoredSeries,
    TimeRange, TimestampMs,
};

use crate::{Engine, EngineOptions, QueryLimits};

/// Remembers the hints of every selection, and counts the label sets that were asked for.
#[derive(Default)]
struct Listening {
    hints: Mutex<Vec<Hints>>,
    labels_asked: Arc<AtomicUsize>,
}

struct Series {
    labels: Labels,
    asked: Arc<AtomicUsize>,
}

impl StoredSeries for Series {
    fn labels(&self) -> &Labels {
        self.asked.fetch_add(1, Relaxed);
        &self.labels
    }

    fn read(&self, range: TimeRange, into: &mut SampleBuffer) -> Result<(), SelectError> {
        (0..20).for_each(|i| into.push(range.end.0 - 20 + i, i as f64));
        Ok(())
    }
}

impl Queryable for Listening {
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Box<dyn StoredSeries>>, SelectError> {
        self.hints.lock().expect("nobody panicked").push(Hints { max_series: None, ..selection.hints });
        let series = |at: usize| {
            let labels = Labels::from_pairs([("__name__", "m_total"), ("a", &format!("{at:03}"))]);
            Box::new(Series { labels, asked: self.labels_asked.clone() }) as Box<dyn StoredSeries>
        };
        Ok((0..100).map(series).collect())
    }

    fn series(&self, _: &[Vec<Matcher>], _: TimeRange) -> Result<Vec<Labels>, SelectError> {
        Ok(Vec::new())
    }

    fn label_names(&self, _: &[Vec<Matcher>], _: TimeRange) -> Result<Vec<String>, SelectError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _: &str, _: &[Vec<Matcher>], _: TimeRange) -> Result<Vec<String>, SelectError> {
        Ok(Vec::new())
    }

    fn metadata(&self) -> Vec<MetricMetadata> {
        Vec::new()
    }
}

fn ask(query: &str) -> Listening {
    let engine = Engine::new(EngineOptions::default());
    let store = Listening::default();
    let range = TimeRange { start: TimestampMs(0), end: TimestampMs(600_000) };
    let parsed = engine.parse(query).expect(query);
    engine.range(&store, &parsed, range, 60_000, &QueryLimits::default()).expect(query);
    store
}

#[test]
fn a_selector_says_what_its_samples_are_for() {
    let exact = |window_ms| Hints { step_ms: 60_000, window_ms, ..Hints::default() };
    let rolled = |window_ms, column| Hints { column, rollups: true, ..exact(window_ms) };
    for (query, want) in [
        ("m", vec![rolled(300_000, Column::Last)]),
        ("m > 1", vec![rolled(300_000, Column::Last)]),
        ("rate(m[10m])", vec![rolled(600_000, Column::Last)]),
        ("increase(m[10m])", vec![rolled(600_000, Column::Last)]),
        ("irate(m[10m])", vec![rolled(600_000, Column::Last)]),
        ("delta(m[10m])", vec![rolled(600_000, Column::Last)]),
        ("last_over_time(m[1h])", vec![rolled(3_600_000, Column::Last)]),
        ("min_over_time(m[1h])", vec![rolled(3_600_000, Column::Min)]),
        ("max_over_time(m[1h])", vec![rolled(3_600_000, Column::Max)]),
        ("sum_over_time(m[1h])", vec![rolled(3_600_000, Column::Sum)]),
        ("count_over_time(m[1h])", vec![rolled(3_600_000, Column::Count)]),
        ("avg_over_time(m[1h])", vec![rolled(3_600_000, Column::Average)]),
        ("quantile_over_time(0.5, m[1h])", vec![exact(3_600_000)]),
        ("stddev_over_time(m[1h])", vec![exact(3_600_000)]),
        ("changes(m[1h])", vec![exact(3_600_000)]),
        ("resets(m[1h])", vec![exact(3_600_000)]),
        ("present_over_time(m[1h])", vec![exact(3_600_000)]),
        ("absent_over_time(m[1h])", vec![exact(3_600_000)]),
        ("deriv(m[1h])", vec![exact(3_600_000)]),
        ("timestamp(m)", vec![exact(300_000)]),
        // Of a subquery only samples will do, and outside of it rollups will again.
        (
            "max_over_time(rate(m[5m])[1h:5m]) + m",
            vec![Hints { step_ms: 300_000, ..exact(300_000) }, rolled(300_000, Column::Last)],
        ),
        ("m @ end()", vec![Hints { step_ms: 0, ..rolled(300_000, Column::Last) }]),
    ] {
        assert_eq!(*ask(query).hints.lock().expect("nobody panicked"), want, "{query}");
    }
}

#[test]
fn labels_are_asked_for_where_they_are_needed() {
    for (query, want) in [
        ("count(m)", false),
        ("sum(rate(m_total[5m]))", false),
        ("max(m > 3)", false),
        ("absent(m)", false),
        ("scalar(m)", false),
        ("sum by (a) (m)", true),
        // A remark on what is no counter may have to name it.
        ("sum(rate({a!=\"\"}[5m]))", true),
        ("m", true),
    ] {
        assert_eq!(ask(query).labels_asked.load(Relaxed) > 0, want, "{query}");
    }
}
