//! What differs between Prometheus 2.42 and 3, with the reason. What is not here must be the same.

use super::answer::Answer;
use super::data::START;
use super::servers::{Servers, When};

/// Names that Prometheus 3 gave to functions that were there before.
const RENAMED: &[(&str, &str)] = &[("double_exponential_smoothing", "holt_winters")];

/// The query as Prometheus 2.42 understands it.
pub fn in_prometheus_2(query: &str) -> String {
    // As long as the new name, so that errors stay where they are.
    RENAMED
        .iter()
        .fold(query.to_owned(), |query, (new, old)| query.replace(new, &format!("{old:width$}", width = new.len())))
}

/// Words of an error in Prometheus 2.42, those in Prometheus 3, and why they are others.
const REWORDED: &[(&str, &str, &str)] = &[
    ("Scalar value NaN overflows int64", "Parameter value is NaN", "NaN for topk has a message of its own"),
    ("holt_winters", "double_exponential_smoothing", "the new name"),
];

/// An answer of Prometheus 2.42 as Prometheus 3 would put it.
pub fn as_in_prometheus_3(answer: Answer) -> Answer {
    match comparable(answer) {
        Answer::Failed { status, kind, message } => {
            // Prometheus 2.42 names the parameter for instants only.
            let named = kind != "bad_data" || message.starts_with("invalid parameter");
            let message = if named { message } else { format!("invalid parameter \"query\": {message}") };
            let message = REWORDED.iter().fold(message, |message, (old, new, _)| message.replace(old, new));
            Answer::Failed { status, kind, message }
        }
        other => other,
    }
}

/// Without what depends on the order in which groups are met: which of several duplicates an error names.
pub fn comparable(answer: Answer) -> Answer {
    const DUPLICATE: &str = "found duplicate series for the match group";
    match answer {
        Answer::Failed { status, kind, message } if message.starts_with(DUPLICATE) => {
            let side = if message.contains("on the left hand-side") { "left" } else { "right" };
            Answer::Failed { status, kind, message: format!("{DUPLICATE} on the {side}") }
        }
        other => other,
    }
}

/// Prometheus 2.42 looks at what a comparison between vectors keeps, Prometheus 3 at what it compares: a query may fail
/// for the latter alone. Answers the query that makes 2.42 keep everything, too.
pub fn without_filters(query: &str, ours: &Answer) -> Option<String> {
    let Answer::Failed { message, .. } = ours else { return None };
    let keeping = |query: String, op: &str| {
        query.replace(&format!(" {op} "), &format!(" {op} bool ")).replace("bool bool", "bool")
    };
    let all = ["==", "!=", "<", "<=", ">", ">="].into_iter().fold(in_prometheus_2(query), keeping);
    message.starts_with("multiple matches for labels").then_some(all)
}

/// A query whose answer Prometheus 3 changed, at so many seconds after the beginning of the data.
struct Changed {
    reason: &'static str,
    query: &'static str,
    at: i64,
    before: &'static str,
    now: &'static str,
}

const CHANGED: &[Changed] = &[
    Changed {
        reason: "windows are open on the left",
        query: "count_over_time(lonely[1m])",
        at: 3_600,
        before: "{} 5",
        now: "{} 4",
    },
    Changed {
        reason: "the lookback is open on the left",
        query: "lonely @ 1700007882",
        at: 0,
        before: r#"{__name__="lonely"} 11"#,
        now: "",
    },
    Changed {
        reason: "subqueries are open on the left",
        query: "count_over_time(vector(1)[1m:15s])",
        at: 3_600,
        before: "{} 5",
        now: "{} 4",
    },
    Changed {
        reason: "a dot matches line feeds",
        query: r#"lines{text=~"one.two"}"#,
        at: 30,
        before: "",
        now: r#"{__name__="lines", text="one\ntwo"} 1"#,
    },
    Changed {
        reason: "atan2 drops the name as other arithmetic does",
        query: "lonely atan2 0",
        at: 15,
        before: r#"{__name__="lonely"} 1.5707963267948966"#,
        now: "{} 1.5707963267948966",
    },
    Changed {
        reason: "the spread of NaN is NaN",
        query: "stddev(odd{kind=\"nan\"})",
        at: 0,
        before: "{} 0",
        now: "{} NaN",
    },
    Changed {
        reason: "label names may be any text",
        query: r#"label_replace(lonely, "1st", "x", "", "")"#,
        at: 15,
        before: "422 execution: invalid destination label name in label_replace(): 1st",
        now: r#"{1st="x", __name__="lonely"} 1"#,
    },
    Changed {
        reason: "a label made of counted values may have any name",
        query: r#"count_values("a b", lonely)"#,
        at: 0,
        before: r#"422 execution: invalid label name "a b""#,
        now: r#"{a b="0"} 1"#,
    },
    Changed {
        reason: "names of labels may be quoted",
        query: r#"sum by ("job") (job:requests:sum{job="api"} > bool 0)"#,
        at: 0,
        before: "400 bad_data: invalid parameter \"query\": 1:9: parse error: unexpected string \"\\\"job\\\"\" in grouping opts, expected label",
        now: r#"{job="api"} 1"#,
    },
    Changed {
        reason: "numbers are durations in seconds",
        query: "count_over_time(lonely[65])",
        at: 3_600,
        before: "400 bad_data: invalid parameter \"query\": 1:24: parse error: missing unit character in duration",
        now: "{} 5",
    },
    Changed {
        reason: "numbers may have underscores",
        query: "1_000",
        at: 0,
        before: "400 bad_data: invalid parameter \"query\": 1:1: parse error: bad number or duration syntax: \"1\"",
        now: "{} 1000",
    },
    Changed {
        reason: "durations are expressions",
        query: "lonely[]",
        at: 0,
        before: "400 bad_data: invalid parameter \"query\": 1:8: parse error: missing unit character in duration",
        now: "400 bad_data: invalid parameter \"query\": 1:8: parse error: unexpected \"]\" in subquery or range selector, expected number, duration, step(), or range()",
    },
    Changed {
        reason: "durations are expressions",
        query: "lonely[-5m]",
        at: 0,
        before: "400 bad_data: invalid parameter \"query\": 1:8: parse error: missing unit character in duration",
        now: "400 bad_data: invalid parameter \"query\": 1:8: parse error: duration must be greater than 0",
    },
    Changed {
        reason: "durations are expressions",
        query: "lonely[:5m]",
        at: 0,
        before: "400 bad_data: invalid parameter \"query\": 1:8: parse error: missing unit character in duration",
        now: "400 bad_data: invalid parameter \"query\": 1:9: parse error: unexpected colon before duration in duration expression",
    },
    Changed {
        reason: "durations are expressions",
        query: "lonely offset",
        at: 0,
        before: "400 bad_data: invalid parameter \"query\": 1:14: parse error: unexpected end of input in offset, expected duration",
        now: "400 bad_data: invalid parameter \"query\": 1:14: parse error: unexpected end of input in offset, expected number, duration, step(), or range()",
    },
    Changed {
        reason: "durations are expressions",
        query: "lonely offset up",
        at: 0,
        before: "400 bad_data: invalid parameter \"query\": 1:15: parse error: unexpected identifier \"up\" in offset, expected duration",
        now: "400 bad_data: invalid parameter \"query\": 1:15: parse error: unexpected identifier \"up\" in offset, expected number, duration, step(), or range()",
    },
    Changed {
        reason: "what is no number is no duration either",
        query: "1e",
        at: 0,
        before: "400 bad_data: invalid parameter \"query\": 1:1: parse error: error parsing number: strconv.ParseFloat: parsing \"1e\": invalid syntax",
        now: "400 bad_data: invalid parameter \"query\": 1:1: parse error: bad number or duration syntax: \"1e\"",
    },
    Changed {
        reason: "the pattern is named as it was written",
        query: r#"lonely{job=~"("}"#,
        at: 0,
        before: "400 bad_data: invalid parameter \"query\": 1:8: parse error: error parsing regexp: missing closing ): `^(?:()$`",
        now: "400 bad_data: invalid parameter \"query\": 1:8: parse error: error parsing regexp: missing closing ): `(`",
    },
    Changed {
        reason: "of equal NaN, topk keeps the first",
        query: r#"topk(1, odd{kind="nan"} or vector(NaN))"#,
        at: 0,
        before: "{} NaN",
        now: r#"{__name__="odd", job="api", kind="nan"} NaN"#,
    },
    Changed {
        reason: "a window that @ holds stays where it is",
        query: "last_over_time(predict_linear(lonely[32s] @ 1700000580, 0)[1m2s:15s])",
        at: 240,
        before: "{} 13",
        now: "{} 16",
    },
    Changed {
        reason: "the sum of a negative zero is zero",
        query: "1 / sum(vector(-0))",
        at: 0,
        before: "{} -inf",
        now: "{} inf",
    },
    Changed {
        reason: "timestamps of what @ holds are there inside of another function, too",
        query: r#"hour(timestamp(steady_total{instance="a:9090"} offset 5m @ start()))"#,
        at: 600,
        before: "",
        now: r#"{instance="a:9090"} 22"#,
    },
    Changed {
        reason: "a better value takes the place of the worst at once, instead of entering after that has left",
        query: "bottomk(3, errors_total)",
        at: 7175,
        before: r#"{__name__="errors_total", instance="b:9090", job="web"} 101047; {__name__="errors_total", instance="a:9090", job="web"} 101067; {__name__="errors_total", instance="b:9090", job="db"} 101071"#,
        now: r#"{__name__="errors_total", instance="b:9090", job="web"} 101047; {__name__="errors_total", instance="a:9090", job="web"} 101067; {__name__="errors_total", instance="a:9090", job="db"} 101071"#,
    },
    Changed {
        reason: "matching is checked before a comparison filters",
        query: "up > on (instance) build_info",
        at: 600,
        before: "",
        now: "422 execution: multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
    },
];

/// Asks both servers for what changed; what is not as the list says.
pub async fn check(servers: &Servers) -> Vec<String> {
    let mut failures = Vec::new();
    for Changed { reason, query, at, before, now } in CHANGED {
        let asked = servers.ask(query, query, When::At(START / 1000 + at)).await;
        let (theirs, ours) = asked.map_or_else(|e| (e.clone(), e), |(a, b)| (a.to_string(), b.to_string()));
        if (theirs.as_str(), ours.as_str()) != (before, now) {
            failures.push(format!("{query} ({reason}):\n    prometheus: {theirs}\n    here:       {ours}"));
        }
    }
    failures
}
