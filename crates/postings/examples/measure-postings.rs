//! Measures selections over a made-up index: `cargo run --release -p postings --example measure-postings [SERIES]`.

use std::borrow::Cow;
use std::hint::black_box;
use std::time::Instant;

use model::{MatchOp, Matcher};
use postings::{LabelIndex, MatchCache, SeriesOrdinal, intersect, select, subtract, union};

/// One label that every series has: the value of each series, and the series of each value.
struct Column {
    name: &'static str,
    texts: Vec<String>,
    ids: Vec<u32>,
    starts: Vec<u32>,
    series: Vec<SeriesOrdinal>,
}

impl Column {
    /// `value_of` gives the number of a series' value, below `values`.
    fn new(name: &'static str, count: u32, values: u32, value_of: impl Fn(u32) -> u32) -> Self {
        let ids: Vec<u32> = (0..count).map(value_of).collect();
        let mut starts = vec![0; values as usize + 1];
        ids.iter().for_each(|&id| starts[id as usize + 1] += 1);
        (1..starts.len()).for_each(|at| starts[at] += starts[at - 1]);
        let (mut next, mut series) = (starts.clone(), vec![0; ids.len()]);
        for (ordinal, &id) in ids.iter().enumerate() {
            series[next[id as usize] as usize] = ordinal as u32;
            next[id as usize] += 1;
        }
        let texts = (0..values).map(|id| format!("{name}-{id:07}")).collect();
        Self { name, texts, ids, starts, series }
    }

    fn list(&self, id: u32) -> &[SeriesOrdinal] {
        &self.series[self.starts[id as usize] as usize..self.starts[id as usize + 1] as usize]
    }
}

struct Columns(Vec<Column>);

impl Columns {
    fn column(&self, name: &str) -> Option<&Column> {
        self.0.iter().find(|column| column.name == name)
    }
}

impl LabelIndex for Columns {
    fn series_count(&self) -> usize {
        self.0.first().map_or(0, |column| column.ids.len())
    }

    fn all(&self, into: &mut Vec<SeriesOrdinal>) {
        into.extend(0..self.series_count() as u32);
    }

    fn value_id(&self, name: &str, value: &str) -> Option<u32> {
        let found = self.column(name)?.texts.binary_search_by(|text| text.as_str().cmp(value)).ok()?;
        Some(found as u32)
    }

    fn postings(&self, name: &str, value_id: u32, into: &mut Vec<SeriesOrdinal>) {
        self.column(name).into_iter().for_each(|column| into.extend_from_slice(column.list(value_id)));
    }

    fn postings_len(&self, name: &str, value_id: u32) -> usize {
        self.column(name).map_or(0, |column| column.list(value_id).len())
    }

    fn values(&self, name: &str, prefix: &str, each: &mut dyn FnMut(u32, &str) -> bool) {
        let Some(column) = self.column(name) else { return };
        let from = column.texts.partition_point(|text| text.as_str() < prefix);
        let beginning = column.texts[from..].iter().take_while(|text| prefix.is_empty() || text.starts_with(prefix));
        for (at, text) in beginning.enumerate() {
            if !each((from + at) as u32, text) {
                return;
            }
        }
    }

    fn value_of(&self, series: SeriesOrdinal, name: &str) -> Option<(u32, Cow<'_, str>)> {
        let column = self.column(name)?;
        let id = column.ids[series as usize];
        Some((id, column.texts[id as usize].as_str().into()))
    }

    fn cache_key(&self, name: &str) -> (u64, u32) {
        (1, self.column(name).map_or(0, |column| column.texts.len() as u32))
    }
}

/// The shortest of five runs.
fn measure(what: &str, mut run: impl FnMut() -> usize) {
    let mut best = f64::INFINITY;
    let mut first = 0.0;
    let mut found = 0;
    for round in 0..5 {
        let start = Instant::now();
        found = black_box(run());
        let elapsed_ms = start.elapsed().as_secs_f64() * 1000.0;
        best = best.min(elapsed_ms);
        if round == 0 {
            first = elapsed_ms;
        }
    }
    println!("{what:<75} {found:>9} found   first {first:>9.3} ms   best {best:>9.3} ms");
}

fn main() {
    let count: u32 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(5_000_000);
    // As a fleet arrives: all metrics of a target together, targets of all clusters mixed.
    let metrics = 500;
    let targets = (count / metrics).max(1);
    let index = Columns(vec![
        Column::new("__name__", count, metrics, |at| at % metrics),
        Column::new("cluster", count, 20, move |at| (at / metrics) % 20),
        Column::new("instance", count, targets, move |at| (at / metrics) % targets),
        Column::new("pod", count, count / 10, move |at| at.wrapping_mul(2_654_435_761) % (count / 10)),
    ]);
    let every: Vec<u32> = (0..count).collect();
    let thirds: Vec<u32> = (0..count).step_by(3).collect();
    let few: Vec<u32> = (0..count).step_by(5003).collect();
    let mut out = Vec::new();
    for (name, a, b) in [("all, a third", &every, &thirds), ("a third, 1/5003", &thirds, &few)] {
        measure(&format!("intersect {name}"), || (intersect(a, b, &mut out), out.len()).1);
        measure(&format!("union {name}"), || (union(a, b, &mut out), out.len()).1);
        measure(&format!("subtract {name}"), || (subtract(a, b, &mut out), out.len()).1);
    }
    let cache = MatchCache::new(64 << 20);
    for query in [
        vec![("__name__", MatchOp::Equal, "__name__-0000007")],
        vec![("__name__", MatchOp::Equal, "__name__-0000007"), ("cluster", MatchOp::Equal, "cluster-0000003")],
        vec![("cluster", MatchOp::Equal, "cluster-0000003"), ("instance", MatchOp::Equal, "instance-0000003")],
        vec![("cluster", MatchOp::Equal, "cluster-0000003"), ("__name__", MatchOp::Regex, ".*[13]")],
        vec![("__name__", MatchOp::Regex, ".+")],
        vec![("__name__", MatchOp::Regex, "__name__-00000.*")],
        vec![("pod", MatchOp::Regex, ".+")],
        vec![("pod", MatchOp::Regex, "pod-.*7[0-9]*5")],
        vec![("__name__", MatchOp::Equal, "__name__-0000007"), ("pod", MatchOp::Regex, "pod-.*8[0-9]*5")],
        vec![("__name__", MatchOp::Equal, "__name__-0000007"), ("pod", MatchOp::NotRegex, ".*5")],
        vec![("cluster", MatchOp::NotEqual, "cluster-0000003")],
        vec![("cluster", MatchOp::NotRegex, "cluster-000000[1-9]"), ("__name__", MatchOp::Regex, ".+")],
    ] {
        let matchers: Result<Vec<Matcher>, _> =
            query.into_iter().map(|(name, op, value)| Matcher::new(op, name, value)).collect();
        let Ok(matchers) = matchers else { continue };
        let shown: Vec<String> = matchers.iter().map(ToString::to_string).collect();
        measure(&shown.join(", "), || (select(&index, &matchers, &cache, &mut out), out.len()).1);
    }
}
