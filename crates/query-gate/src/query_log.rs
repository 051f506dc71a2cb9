//! The query log: one line of JSON for each query, with the fields that Prometheus writes (`global.query_log_file`).

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use model::TimestampMs;
use parking_lot::Mutex;
use promql::{QueryOrigin, QueryReport};
use serde_json::{Map, Value, json};

/// An open log.
#[derive(Debug)]
pub(crate) struct QueryLog {
    file: Mutex<File>,
}

impl QueryLog {
    /// Opens a log, to add to its end.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: Mutex::new(OpenOptions::new().append(true).create(true).open(path)?) })
    }

    /// Adds a line.
    pub fn add(&self, report: &QueryReport<'_>, now: TimestampMs) -> io::Result<()> {
        let mut line = line(report, now).to_string();
        line.push('\n');
        self.file.lock().write_all(line.as_bytes())
    }
}

fn time(at: TimestampMs) -> String {
    let shown = Timestamp::from_millisecond(at.0).map(|at| at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string());
    // Moments beyond the year 9999 have no such form.
    shown.unwrap_or_else(|_| at.0.to_string())
}

fn line(report: &QueryReport<'_>, now: TimestampMs) -> Value {
    let stats = report.stats;
    let seconds = Duration::as_secs_f64;
    let evaluated = report.prepared + stats.inner_eval + stats.result_sort;
    let mut samples = Map::new();
    if let Some(steps) = &stats.queryable_per_step {
        let steps: Vec<_> = steps.iter().map(|(at, count)| json!([at.as_seconds(), count])).collect();
        samples.insert("totalQueryableSamplesPerStep".to_owned(), steps.into());
    }
    samples.insert("totalQueryableSamples".to_owned(), stats.queryable_samples.unwrap_or(stats.samples_read).into());
    samples.insert("peakSamples".to_owned(), stats.peak_samples.into());
    let mut line = json!({
        "params": {
            "query": report.query,
            "start": time(report.start),
            "end": time(report.end),
            "step": report.step_ms / 1000,
        },
        "stats": {
            "timings": {
                "evalTotalTime": seconds(&evaluated),
                "resultSortTime": seconds(&stats.result_sort),
                "queryPreparationTime": seconds(&report.prepared),
                "innerEvalTime": seconds(&stats.inner_eval),
                "execQueueTime": seconds(&report.waited),
                "execTotalTime": seconds(&(report.waited + evaluated)),
            },
            "samples": samples,
        },
        "ts": time(now),
    });
    match report.origin {
        QueryOrigin::Internal => {}
        QueryOrigin::Request { client, method, path } => {
            line["httpRequest"] = json!({ "clientIP": client, "method": method, "path": path });
        }
        QueryOrigin::RuleGroup { file, name } => {
            line["ruleGroup"] = json!({ "file": file.as_ref(), "name": name.as_ref() });
        }
    }
    if let Some(error) = report.error {
        line["error"] = error.to_string().into();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use promql::{PromqlError, QueryStats};

    #[test]
    fn lines_have_the_fields_of_prometheus() {
        let stats = QueryStats {
            samples_read: 7,
            peak_samples: 3,
            inner_eval: Duration::from_millis(250),
            result_sort: Duration::from_millis(125),
            ..QueryStats::default()
        };
        let rule = QueryOrigin::RuleGroup { file: "r.yml".into(), name: "partners".into() };
        let mut report = QueryReport {
            query: "up == 0",
            start: TimestampMs(1_581_173_990_368),
            end: TimestampMs(1_581_174_590_368),
            step_ms: 5000,
            origin: &rule,
            waited: Duration::from_secs(1),
            prepared: Duration::from_millis(125),
            stats: &stats,
            error: None,
        };
        let now = TimestampMs(1_581_174_590_650);
        let want = json!({
            "params": {
                "end": "2020-02-08T15:09:50.368Z",
                "query": "up == 0",
                "start": "2020-02-08T14:59:50.368Z",
                "step": 5
            },
            "ruleGroup": { "file": "r.yml", "name": "partners" },
            "stats": {
                "samples": { "peakSamples": 3, "totalQueryableSamples": 7 },
                "timings": {
                    "evalTotalTime": 0.5,
                    "execQueueTime": 1.0,
                    "execTotalTime": 1.5,
                    "innerEvalTime": 0.25,
                    "queryPreparationTime": 0.125,
                    "resultSortTime": 0.125
                }
            },
            "ts": "2020-02-08T15:09:50.650Z"
        });
        assert_eq!(line(&report, now), want);
        let request = QueryOrigin::Request {
            client: "::1".to_owned(),
            method: "GET".to_owned(),
            path: "/api/v1/query".to_owned(),
        };
        report.origin = &request;
        report.error = Some(&PromqlError::Timeout);
        let shown = line(&report, now);
        assert_eq!(shown["httpRequest"], json!({ "clientIP": "::1", "method": "GET", "path": "/api/v1/query" }));
        assert_eq!(shown["error"], "query timed out in expression evaluation");
        assert_eq!(time(TimestampMs::MAX), i64::MAX.to_string());
    }

    #[test]
    fn lines_are_added() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("query.log");
        let (origin, stats) = (QueryOrigin::default(), QueryStats::default());
        let zero = Duration::ZERO;
        let (start, end) = (TimestampMs(0), TimestampMs(0));
        let report = QueryReport {
            query: "1\n+1",
            start,
            end,
            step_ms: 0,
            origin: &origin,
            waited: zero,
            prepared: zero,
            stats: &stats,
            error: None,
        };
        for lines in 1..3 {
            QueryLog::open(&path).expect("opens").add(&report, end).expect("is written");
            assert_eq!(std::fs::read_to_string(&path).expect("is there").lines().count(), lines);
        }
        assert!(QueryLog::open(folder.path()).is_err());
    }
}
