//! The script format. Lines that begin a block stand at the margin, the block's lines are indented; `#` begins a
//! comment line.
//!
//! ```text
//! every 30s                       adds series, with one value every 30 s from time 0
//!   up{job="a"} 1 _ stale 0+5*3   "_" is a gap; "0+5*3" is 0 5 10 15; "7*3" is 7 7 7
//! forget                          removes all series
//! at 5m ask sum(up)               an instant query and its answer: series and value
//!   {} = 3
//! at 5m ordered ask sort(up)      the order of the lines counts too
//! at 0..2m/1m ask up              a range query: one value for each step
//!   up{job="a"} = 1 1 _
//! at 5m ask time()                "scalar = 300", "string = text", "fails: part of the message",
//!   scalar = 300                  no lines: an empty answer
//! at 0 ask rate(up[5m])
//!   informs: part of an info      beside other lines; "warns: " for warnings. Every remark there is must be named
//! ```
//!
//! Every instant query that answers a vector is also asked as a range query around its time, and each step of a range
//! query as an instant query: the two must agree.

use std::collections::BTreeMap;

use model::{
    Labels, LabelsBuilder, METRIC_NAME, MatchOp, SampleBuffer, TimeRange, TimestampMs, parse_duration, stale_nan,
};

use super::storage::MemoryStore;
use crate::{Engine, EngineOptions, PromqlError, QueryLimits, QueryResult, SyntaxOptions, Value, parse_selector};

/// What running a script showed.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub cases: usize,
    /// `line: what is wrong`.
    pub failures: Vec<String>,
}

struct Case<'a> {
    query: &'a str,
    times: Times,
    ordered: bool,
    answer: Vec<&'a str>,
}

#[derive(Clone, Copy)]
enum Times {
    Instant(i64),
    Range { start: i64, end: i64, step: i64 },
}

/// Series and their values by step (`None` where there is none), or a scalar or string under a name of its own.
type Table = Vec<(String, Vec<Option<f64>>)>;

/// Runs a script.
pub(crate) fn run(text: &str) -> Report {
    let engine = Engine::new(EngineOptions { syntax: SyntaxOptions::EXPERIMENTAL, ..EngineOptions::default() });
    let mut store = MemoryStore::default();
    let mut report = Report::default();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let mut at = 0;
    while at < lines.len() {
        let (number, line) = (at + 1, lines[at]);
        at += 1;
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let block: Vec<&str> = lines[at..].iter().take_while(|l| l.starts_with("  ")).map(|l| l.trim()).collect();
        at += block.len();
        let done = match line.split_once(' ') {
            None if line == "forget" => {
                store = MemoryStore::default();
                Ok(())
            }
            Some(("every", interval)) => load(&mut store, interval, &block),
            Some(("at", rest)) => {
                report.cases += 1;
                read_case(rest, block).and_then(|case| check(&engine, &store, &case))
            }
            _ => Err(format!("not understood: {line}")),
        };
        if let Err(problem) = done {
            report.failures.push(format!("{number}: {line}\n    {problem}"));
        }
    }
    report
}

fn duration_ms(text: &str) -> Result<i64, String> {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    parse_duration(text).map(|d| sign * d.as_millis() as i64).map_err(|e| e.to_string())
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("not a number: {text}"))
}

fn load(store: &mut MemoryStore, interval: &str, block: &[&str]) -> Result<(), String> {
    let interval = duration_ms(interval)?;
    for line in block {
        let (labels, values) = split_series(line)?;
        let mut samples = SampleBuffer::default();
        for (at, value) in expand(values)?.into_iter().enumerate() {
            if let Some(value) = value {
                samples.push(at as i64 * interval, value);
            }
        }
        store.add(labels, samples);
    }
    Ok(())
}

/// Splits `name{a="b c"} rest` at the first space outside of the braces.
fn split_series(line: &str) -> Result<(Labels, &str), String> {
    let mut quoted = false;
    let end = line.find(|c: char| {
        quoted ^= c == '"';
        c == ' ' && !quoted
    });
    let (series, rest) = line.split_at(end.unwrap_or(line.len()));
    Ok((read_labels(series)?, rest.trim()))
}

fn read_labels(text: &str) -> Result<Labels, String> {
    if text == "{}" {
        return Ok(Labels::empty());
    }
    let mut labels = LabelsBuilder::new();
    for matcher in parse_selector(text).map_err(|e| format!("{text}: {e}"))? {
        if matcher.op() != MatchOp::Equal {
            return Err(format!("not a label: {matcher}"));
        }
        labels.set(matcher.name(), matcher.value());
    }
    Ok(labels.build())
}

fn expand(text: &str) -> Result<Vec<Option<f64>>, String> {
    let mut values = Vec::new();
    for token in text.split_whitespace() {
        match token.split_once('*') {
            None if token == "_" => values.push(None),
            None if token == "stale" => values.push(Some(stale_nan())),
            None => values.push(Some(number(token)?)),
            Some((first, count)) => {
                let count: usize = count.parse().map_err(|_| format!("not a count: {token}"))?;
                match first[1..].find(['+', '-']) {
                    Some(sign) => {
                        let (start, step) = first.split_at(sign + 1);
                        let (start, step) = (number(start)?, number(step)?);
                        values.extend((0..=count).map(|i| Some(start + step * i as f64)));
                    }
                    None if first == "_" => values.extend((0..count).map(|_| None)),
                    None => values.extend(vec![Some(number(first)?); count]),
                }
            }
        }
    }
    Ok(values)
}

fn read_case<'a>(line: &'a str, answer: Vec<&'a str>) -> Result<Case<'a>, String> {
    let (head, query) = line.split_once("ask ").ok_or("no query: write \"at TIME ask QUERY\"")?;
    let mut words = head.split_whitespace();
    let times = words.next().ok_or("no time")?;
    let ordered = words.next() == Some("ordered");
    let times = match times.split_once("..") {
        None => Times::Instant(duration_ms(times)?),
        Some((start, rest)) => {
            let (end, step) = rest.split_once('/').ok_or("no step")?;
            Times::Range { start: duration_ms(start)?, end: duration_ms(end)?, step: duration_ms(step)? }
        }
    };
    Ok(Case { query, times, ordered, answer })
}

fn ask(engine: &Engine, store: &MemoryStore, query: &str, times: Times) -> Result<QueryResult, PromqlError> {
    let query = engine.parse(query)?;
    let limits = QueryLimits::default();
    match times {
        Times::Instant(at) => engine.instant(store, &query, TimestampMs(at), &limits),
        Times::Range { start, end, step } => {
            let range = TimeRange { start: TimestampMs(start), end: TimestampMs(end) };
            engine.range(store, &query, range, step, &limits)
        }
    }
}

fn check(engine: &Engine, store: &MemoryStore, case: &Case<'_>) -> Result<(), String> {
    let result = ask(engine, store, case.query, case.times);
    if let Some(part) = case.answer.iter().find_map(|line| line.strip_prefix("fails: ")) {
        return match result {
            Err(error) if error.to_string().contains(part) => Ok(()),
            Err(error) => Err(format!("failed otherwise: {error}")),
            Ok(result) => Err(format!("did not fail: {:?}", result.value)),
        };
    }
    let result = result.map_err(|e| format!("failed: {e}"))?;
    remarked(case, "warns: ", &result.warnings)?;
    remarked(case, "informs: ", &result.infos)?;
    let mut want = Table::new();
    for line in case.answer.iter().filter(|line| !line.starts_with("warns: ") && !line.starts_with("informs: ")) {
        want.push(read_answer(line)?);
    }
    let mut got = table(&result.value, case.times);
    if !case.ordered {
        want.sort_by(|a, b| a.0.cmp(&b.0));
        got.sort_by(|a, b| a.0.cmp(&b.0));
    }
    compare(&want, &got)?;
    agree(engine, store, case, &result.value)
}

/// Whether the remarks are those that the case names.
fn remarked(case: &Case<'_>, kind: &str, remarks: &[String]) -> Result<(), String> {
    let named: Vec<&str> = case.answer.iter().filter_map(|line| line.strip_prefix(kind)).collect();
    let all_made = named.iter().all(|part| remarks.iter().any(|remark| remark.contains(part)));
    let all_named = remarks.iter().all(|remark| named.iter().any(|part| remark.contains(part)));
    if all_made && all_named { Ok(()) } else { Err(format!("other remarks: {remarks:?}")) }
}

/// Whether the answer at a time depends on the other times of the query.
fn depends_on_range(query: &str) -> bool {
    ["start()", "end()", "step()", "range()"].iter().any(|time| query.contains(time))
}

fn read_answer(line: &str) -> Result<(String, Vec<Option<f64>>), String> {
    let (series, values) = line.rsplit_once(" = ").ok_or_else(|| format!("no value: {line}"))?;
    match series {
        "scalar" => Ok((series.to_owned(), expand(values)?)),
        "string" => Ok((format!("string {values}"), Vec::new())),
        series => Ok((read_labels(series)?.to_string(), expand(values)?)),
    }
}

fn table(value: &Value, times: Times) -> Table {
    match value {
        Value::Scalar(sample) => vec![("scalar".to_owned(), vec![Some(sample.value)])],
        Value::String { value, .. } => vec![(format!("string {value}"), Vec::new())],
        Value::Vector(samples) => samples.iter().map(|s| (s.labels.to_string(), vec![Some(s.sample.value)])).collect(),
        Value::Matrix(series) => {
            let values = |samples: &SampleBuffer| match times {
                // A bare range selector: whatever samples there are.
                Times::Instant(_) => samples.values.iter().map(|v| Some(*v)).collect(),
                Times::Range { start, end, step } => {
                    let by_time: BTreeMap<_, _> = samples.timestamps.iter().zip(&samples.values).collect();
                    let count = (end - start) / step;
                    (0..=count).map(|i| by_time.get(&(start + i * step)).map(|v| **v)).collect()
                }
            };
            series.iter().map(|s| (s.labels.to_string(), values(&s.samples))).collect()
        }
    }
}

fn compare(want: &Table, got: &Table) -> Result<(), String> {
    let near = |a: &Option<f64>, b: &Option<f64>| match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()),
        _ => false,
    };
    let same = want.len() == got.len()
        && want
            .iter()
            .zip(got)
            .all(|(w, g)| w.0 == g.0 && w.1.len() == g.1.len() && w.1.iter().zip(&g.1).all(|(a, b)| near(a, b)));
    if same { Ok(()) } else { Err(format!("want {want:?}\n    got  {got:?}")) }
}

/// The same question, asked the other way.
fn agree(engine: &Engine, store: &MemoryStore, case: &Case<'_>, value: &Value) -> Result<(), String> {
    let by_labels = |value: &Value, times| {
        let mut rows = table(value, times);
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rows
    };
    match (case.times, value) {
        (Times::Instant(at), Value::Vector(_)) if !depends_on_range(case.query) => {
            let around = Times::Range { start: at - 120_000, end: at + 60_000, step: 60_000 };
            let Ok(result) = ask(engine, store, case.query, around) else { return Ok(()) };
            let column = |row: (String, Vec<Option<f64>>)| Some((row.0, vec![Some(row.1[2]?)]));
            let there: Table = by_labels(&result.value, around).into_iter().filter_map(column).collect();
            compare(&by_labels(value, case.times), &there).map_err(|e| format!("as a range: {e}"))
        }
        (Times::Range { start, end, step }, _) if !depends_on_range(case.query) => {
            let rows = by_labels(value, case.times);
            for index in 0..=((end - start) / step) as usize {
                let at = Times::Instant(start + index as i64 * step);
                let result = ask(engine, store, case.query, at).map_err(|e| format!("step {index}: {e}"))?;
                let column = |row: &(String, Vec<Option<f64>>)| Some((row.0.clone(), vec![Some(row.1[index]?)]));
                let here: Table = rows.iter().filter_map(column).collect();
                let mut there = by_labels(&result.value, at);
                for row in &mut there {
                    row.0 = row.0.replace("scalar", "{}");
                }
                compare(&here, &there).map_err(|e| format!("step {index} as an instant: {e}"))?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

#[test]
fn the_runner_notices_what_is_wrong() {
    let data = "every 1m\n  up{job=\"a\"} 1 2 3\n";
    for wrong in [
        "at 1m ask up\n  up{job=\"a\"} = 3",
        "at 1m ask up",
        "at 1m ask up\n  up{job=\"b\"} = 2",
        "at 1m ask up\n  fails: anything",
        "at 1m ask up +\n  up = 1",
        "at 0..2m/1m ask up\n  up{job=\"a\"} = 1 _ 3",
        "at 1m ask up\n  up{job=\"a\"} = 2\n  warns: anything",
        "nonsense",
    ] {
        assert_eq!(run(&format!("{data}{wrong}\n")).failures.len(), 1, "{wrong}");
    }
    assert_eq!(Labels::from_pairs([(METRIC_NAME, "up")]), read_labels("up").expect("labels"));
}
