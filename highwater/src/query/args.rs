//! The command line of `highwater query`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use model::TimestampMs;

use crate::moment::parse_moment;

const DEFAULT_URL: &str = "http://localhost:9090";

const INSTANT_EXAMPLES: &str = "Examples:
  highwater query instant 'sum by (job) (up)'
  highwater query instant http://central:9090 'up == 0' --time 2026-01-31T12:00:00Z
  highwater query instant --format csv 'node_load1' > load.csv";
const RANGE_EXAMPLES: &str = "Examples:
  highwater query range 'sum(rate(http_requests_total[5m]))' --format chart
  highwater query range http://central:9090 'up' --start 1h --step 1m
  highwater query range 'up' --start 2026-01-31T12:00:00Z --end 2026-01-31T13:00:00Z --format json";
const SERIES_EXAMPLES: &str = "Examples:
  highwater query series --match 'up{job=\"node\"}'
  highwater query series http://central:9090 --match up --match node_load1 --start 1d --format csv";
const LABELS_EXAMPLES: &str = "Examples:
  highwater query labels
  highwater query labels job --match 'up'
  highwater query labels http://central:9090 instance --start 1h";

#[derive(Debug, Subcommand)]
pub enum QueryCommand {
    /// Evaluate an expression at one moment
    #[command(after_help = INSTANT_EXAMPLES)]
    Instant(InstantArgs),
    /// Evaluate an expression over a time, as table, CSV, JSON or a chart in the terminal
    #[command(after_help = RANGE_EXAMPLES)]
    Range(RangeArgs),
    /// List series
    #[command(after_help = SERIES_EXAMPLES)]
    Series(SeriesArgs),
    /// List the names of labels, or the values of one
    #[command(after_help = LABELS_EXAMPLES)]
    Labels(LabelsArgs),
}

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns
    Table,
    /// What the server answered
    Json,
    /// One line for each sample or series, labels in columns
    Csv,
    /// One small chart for each series; for a range only
    Chart,
    /// As promtool prints it
    #[value(alias = "promql")]
    Plain,
}

/// Which server, and how to reach it.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// URL of a Prometheus-compatible server, where it is not given as the first argument
    #[arg(long, value_name = "URL", env = "HIGHWATER_URL", default_value = DEFAULT_URL)]
    pub url: String,
    /// How long to wait for the answer; queries get it as their timeout too
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = model::parse_duration)]
    pub timeout: Duration,
    /// Header to send, as 'X-Scope-OrgID: a'; repeat for several
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// User for basic authentication
    #[arg(long, value_name = "NAME", conflicts_with = "bearer_token_file")]
    pub user: Option<String>,
    /// File with the user's password
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,
    /// File with a bearer token
    #[arg(long, value_name = "FILE")]
    pub bearer_token_file: Option<PathBuf>,
    /// File with the certificates of those who may vouch for the server
    #[arg(long, value_name = "FILE")]
    pub tls_ca_file: Option<PathBuf>,
    /// File with our own certificate
    #[arg(long, value_name = "FILE", requires = "tls_key_file")]
    pub tls_cert_file: Option<PathBuf>,
    /// File with the key of our own certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    pub tls_key_file: Option<PathBuf>,
    /// Take any certificate for the server's
    #[arg(long)]
    pub tls_insecure_skip_verify: bool,
}

/// How to print.
#[derive(Debug, Clone, Args)]
pub struct OutputArgs {
    /// How answers are printed [default: table on a terminal, plain elsewhere]
    #[arg(long, short = 'o', value_enum, value_name = "FORMAT")]
    pub format: Option<Format>,
}

/// Two moments. Moments are RFC 3339, seconds since 1970, or how long ago as 1h.
#[derive(Debug, Clone, Args)]
pub struct SpanArgs {
    /// From when on: RFC 3339, seconds since 1970, or a duration as 1h for that long ago
    #[arg(long, value_name = "TIME", value_parser = parse_when, allow_negative_numbers = true)]
    pub start: Option<When>,
    /// Until when, in the same forms [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_when, allow_negative_numbers = true)]
    pub end: Option<When>,
}

#[derive(Debug, Args)]
pub struct InstantArgs {
    /// [SERVER] EXPRESSION
    #[arg(required = true, num_args = 1..=2, value_names = ["SERVER", "EXPRESSION"])]
    pub words: Vec<String>,
    /// The moment: RFC 3339, seconds since 1970, or a duration as 1h for that long ago [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_when, allow_negative_numbers = true)]
    pub time: Option<When>,
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten, next_help_heading = "Server")]
    pub server: ServerArgs,
}

#[derive(Debug, Args)]
pub struct RangeArgs {
    /// [SERVER] EXPRESSION
    #[arg(required = true, num_args = 1..=2, value_names = ["SERVER", "EXPRESSION"])]
    pub words: Vec<String>,
    #[command(flatten)]
    pub span: SpanArgs,
    /// Time between two evaluations [default: a 250th of the span, at least 1s]
    #[arg(long, value_name = "DURATION", value_parser = parse_step)]
    pub step: Option<Duration>,
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten, next_help_heading = "Server")]
    pub server: ServerArgs,
}

#[derive(Debug, Args)]
pub struct SeriesArgs {
    /// Server to ask
    pub server_word: Option<String>,
    /// Series that this selects, as 'up{job="node"}'; repeat for several
    #[arg(long = "match", alias = "match[]", value_name = "SELECTOR", required = true)]
    pub matches: Vec<String>,
    #[command(flatten)]
    pub span: SpanArgs,
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten, next_help_heading = "Server")]
    pub server: ServerArgs,
}

#[derive(Debug, Args)]
pub struct LabelsArgs {
    /// [SERVER] [NAME]: without a name, the names of labels; an argument alone is a server where it begins with http
    #[arg(num_args = 0..=2, value_names = ["SERVER", "NAME"])]
    pub words: Vec<String>,
    /// Only of series that this selects; repeat for several
    #[arg(long = "match", alias = "match[]", value_name = "SELECTOR")]
    pub matches: Vec<String>,
    #[command(flatten)]
    pub span: SpanArgs,
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten, next_help_heading = "Server")]
    pub server: ServerArgs,
}

/// A moment, or how long ago it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    At(TimestampMs),
    Ago(Duration),
}

impl When {
    pub fn at(self, now: TimestampMs) -> TimestampMs {
        match self {
            Self::At(at) => at,
            Self::Ago(age) => TimestampMs(now.0.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))),
        }
    }
}

fn parse_when(text: &str) -> Result<When, String> {
    if text == "now" {
        return Ok(When::Ago(Duration::ZERO));
    }
    let age = text.trim_start_matches("now").trim_start_matches('-');
    match parse_moment(text) {
        Ok(at) => Ok(When::At(at)),
        Err(reason) => model::parse_duration(age).map(When::Ago).map_err(|_| format!("{reason}, or a duration as 1h")),
    }
}

/// A duration, or a number of seconds as in the HTTP API.
fn parse_step(text: &str) -> Result<Duration, String> {
    let step = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?,
        Err(_) => model::parse_duration(text).map_err(|error| error.to_string())?,
    };
    if step < Duration::from_millis(1) { Err("must be at least 1ms".to_owned()) } else { Ok(step) }
}

/// The server and the other argument, of a command whose only or last word is the other.
pub fn server_and_last<'a>(words: &'a [String], url: &'a str) -> (&'a str, &'a str) {
    match words {
        [server, last] => (server, last),
        [last] => (url, last),
        _ => (url, ""),
    }
}

/// The same where the other may be left out.
pub fn server_and_name<'a>(words: &'a [String], url: &'a str) -> (&'a str, Option<&'a str>) {
    match words {
        [only] if only.starts_with("http://") || only.starts_with("https://") => (only, None),
        [only] => (url, Some(only)),
        [server, name] => (server, Some(name)),
        _ => (url, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let now = TimestampMs(10_000_000_000);
        for (text, want) in [
            ("now", 10_000_000_000),
            ("1h", 9_996_400_000),
            ("-1h", 9_996_400_000),
            ("now-1m", 9_999_940_000),
            ("1000000", 1_000_000_000),
            ("1970-01-01T00:00:01.5Z", 1500),
        ] {
            assert_eq!(parse_when(text).map(|when| when.at(now).0), Ok(want), "{text}");
        }
        for text in ["", "yesterday", "1x", "now+1h"] {
            assert!(parse_when(text).is_err(), "{text}");
        }
        assert_eq!(
            (parse_step("1.5"), parse_step("2m")),
            (Ok(Duration::from_millis(1500)), Ok(Duration::from_secs(120)))
        );
        for text in ["0", "-1", "x", "1e300"] {
            assert!(parse_step(text).is_err(), "{text}");
        }
    }

    #[test]
    fn words() {
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        assert_eq!(server_and_last(&words(&["up"]), "u"), ("u", "up"));
        assert_eq!(server_and_last(&words(&["s", "up"]), "u"), ("s", "up"));
        assert_eq!(server_and_name(&words(&[]), "u"), ("u", None));
        assert_eq!(server_and_name(&words(&["http://s"]), "u"), ("http://s", None));
        assert_eq!(server_and_name(&words(&["job"]), "u"), ("u", Some("job")));
        assert_eq!(server_and_name(&words(&["s", "job"]), "u"), ("s", Some("job")));
    }
}
