//! `highwater query`: questions to any server that speaks Prometheus' HTTP API, as `promtool query` asks them.

mod answer;
mod args;
mod chart;
mod client;
mod print;
#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind, IsTerminal, Write};

use anyhow::{Context, Result, bail};
use model::TimestampMs;
use serde_json::Value as Json;

use answer::{Metric, QueryData, notation};
pub use args::QueryCommand;
use args::{
    Format, InstantArgs, LabelsArgs, OutputArgs, RangeArgs, SeriesArgs, SpanArgs, server_and_last, server_and_name,
};
use chart::Span;
use client::Client;

/// What promtool shows where no start is given.
const DEFAULT_SPAN_MS: i64 = 300_000;
/// Into how many steps a span is cut where none is given.
const DEFAULT_STEPS: i64 = 250;
/// Where nobody says how wide the terminal is.
const DEFAULT_WIDTH: usize = 80;

/// What is to be printed, and what to say beside it.
struct Printed {
    text: String,
    remarks: Vec<String>,
}

/// Asks, and prints the answer to standard output, warnings and infos to standard error.
pub fn run(command: QueryCommand) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let printed = runtime.block_on(answer(command, runtime::now(), &Screen::of_this_process()))?;
    printed.remarks.iter().for_each(|remark| eprintln!("{remark}"));
    match io::stdout().lock().write_all(printed.text.as_bytes()) {
        // Whoever read had enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("cannot print the answer"),
    }
}

/// What we print to.
struct Screen {
    is_terminal: bool,
    width: usize,
}

impl Screen {
    fn of_this_process() -> Self {
        let told = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
        let width = size.or(told).filter(|width| *width > 0).unwrap_or(DEFAULT_WIDTH);
        Self { is_terminal: io::stdout().is_terminal(), width }
    }

    fn format(&self, output: &OutputArgs) -> Format {
        output.format.unwrap_or(if self.is_terminal { Format::Table } else { Format::Plain })
    }
}

async fn answer(command: QueryCommand, now: TimestampMs, screen: &Screen) -> Result<Printed> {
    match command {
        QueryCommand::Instant(args) => instant(&args, now, screen).await,
        QueryCommand::Range(args) => range(&args, now, screen).await,
        QueryCommand::Series(args) => series(&args, now, screen).await,
        QueryCommand::Labels(args) => labels(&args, now, screen).await,
    }
}

async fn instant(args: &InstantArgs, now: TimestampMs, screen: &Screen) -> Result<Printed> {
    let (server, query) = server_and_last(&args.words, &args.server.url);
    let at = args.time.map_or(now, |when| when.at(now));
    let parameters =
        [("query", query.to_owned()), ("time", seconds(at)), ("timeout", model::format_duration(args.server.timeout))];
    let (data, remarks) = ask(server, &args.server, &["query"], &parameters).await?;
    let text = match screen.format(&args.output) {
        Format::Json => json(data.get("result").unwrap_or(&Json::Null)),
        Format::Table => print::samples_as_table(&QueryData::of(&data)?.series()),
        Format::Csv => print::samples_as_csv(&QueryData::of(&data)?.series()),
        Format::Plain => print::plain(&QueryData::of(&data)?),
        Format::Chart => bail!("a chart needs a time; use query range"),
    };
    Ok(Printed { text, remarks })
}

async fn range(args: &RangeArgs, now: TimestampMs, screen: &Screen) -> Result<Printed> {
    let (server, query) = server_and_last(&args.words, &args.server.url);
    let end = args.span.end.map_or(now, |when| when.at(now));
    let start = args.span.start.map_or(TimestampMs(end.0.saturating_sub(DEFAULT_SPAN_MS)), |when| when.at(now));
    if start > end {
        bail!("--start is after --end");
    }
    let step_ms = match args.step {
        Some(step) => i64::try_from(step.as_millis()).unwrap_or(i64::MAX),
        // Whole seconds, as promtool's.
        None => (end.0.saturating_sub(start.0) / 1000 / DEFAULT_STEPS).max(1) * 1000,
    };
    let parameters = [
        ("query", query.to_owned()),
        ("start", seconds(start)),
        ("end", seconds(end)),
        ("step", seconds(TimestampMs(step_ms))),
        ("timeout", model::format_duration(args.server.timeout)),
    ];
    let (data, remarks) = ask(server, &args.server, &["query_range"], &parameters).await?;
    let as_seconds = |ms: i64| ms as f64 / 1000.0;
    let text = match screen.format(&args.output) {
        Format::Json => json(data.get("result").unwrap_or(&Json::Null)),
        Format::Table => print::samples_as_table(&QueryData::of(&data)?.series()),
        Format::Csv => print::samples_as_csv(&QueryData::of(&data)?.series()),
        Format::Plain => print::plain(&QueryData::of(&data)?),
        Format::Chart => {
            let span = Span { start: as_seconds(start.0), end: as_seconds(end.0), step: as_seconds(step_ms) };
            chart::charts(&QueryData::of(&data)?.series(), span, screen.width)
        }
    };
    Ok(Printed { text, remarks })
}

async fn series(args: &SeriesArgs, now: TimestampMs, screen: &Screen) -> Result<Printed> {
    let server = args.server_word.as_deref().unwrap_or(&args.server.url);
    let mut parameters = span(&args.span, now);
    parameters.extend(args.matches.iter().map(|selector| ("match[]", selector.clone())));
    let (data, remarks) = ask(server, &args.server, &["series"], &parameters).await?;
    let format = screen.format(&args.output);
    let metrics = || serde_json::from_value::<Vec<Metric>>(data.clone()).context("the server answered no series");
    let text = match format {
        Format::Json => json(&data),
        Format::Table => print::metrics_as_table(&metrics()?),
        Format::Csv => print::metrics_as_csv(&metrics()?),
        Format::Plain => print::lines(metrics()?.iter().map(notation)),
        Format::Chart => bail!("series have no chart; use query range"),
    };
    Ok(Printed { text, remarks })
}

async fn labels(args: &LabelsArgs, now: TimestampMs, screen: &Screen) -> Result<Printed> {
    let (server, name) = server_and_name(&args.words, &args.server.url);
    let mut parameters = span(&args.span, now);
    parameters.extend(args.matches.iter().map(|selector| ("match[]", selector.clone())));
    let escaped;
    let path: &[&str] = match name {
        None => &["labels"],
        Some(name) => {
            escaped = escape(name);
            &["label", escaped.as_str(), "values"]
        }
    };
    let (data, remarks) = ask(server, &args.server, path, &parameters).await?;
    let texts = || serde_json::from_value::<Vec<String>>(data.clone()).context("the server answered no labels");
    let text = match screen.format(&args.output) {
        Format::Json => json(&data),
        Format::Table | Format::Plain => print::lines(texts()?),
        Format::Csv => print::column_as_csv(name.unwrap_or("label"), &texts()?),
        Format::Chart => bail!("labels have no chart; use query range"),
    };
    Ok(Printed { text, remarks })
}

/// The start and end that were given; a server knows what to do without.
fn span(span: &SpanArgs, now: TimestampMs) -> Vec<(&'static str, String)> {
    let given = [("start", span.start), ("end", span.end)].into_iter();
    given.filter_map(|(name, when)| Some((name, seconds(when?.at(now))))).collect()
}

/// The data of the answer, and what the server remarks on them.
async fn ask(
    server: &str,
    args: &args::ServerArgs,
    path: &[&str],
    parameters: &[(&str, String)],
) -> Result<(Json, Vec<String>)> {
    let client = Client::new(server, args)?;
    // Values of a label are only there to GET.
    let answer = client.ask(path, parameters, path[0] != "label").await?;
    let told = |kind: &str, texts: &[String]| texts.iter().map(|text| format!("{kind}: {text}")).collect::<Vec<_>>();
    let remarks = [told("warning", &answer.warnings), told("info", &answer.infos)].concat();
    Ok((answer.data()?, remarks))
}

/// Names that are not of Prometheus' old alphabet go into a path as Prometheus 3 escapes them.
fn escape(name: &str) -> String {
    if model::is_legacy_label_name(name) && !name.starts_with("U__") {
        return name.to_owned();
    }
    let mut out = "U__".to_owned();
    for (index, c) in name.chars().enumerate() {
        match c {
            '_' => out.push_str("__"),
            c if c.is_ascii_alphabetic() || c == ':' || (index > 0 && c.is_ascii_digit()) => out.push(c),
            c => out.push_str(&format!("_{:x}_", u32::from(c))),
        }
    }
    out
}

fn json(data: &Json) -> String {
    format!("{data}\n")
}

/// Seconds with milliseconds, as the API takes them.
fn seconds(at: TimestampMs) -> String {
    format!("{}.{:03}", at.0.div_euclid(1000), at.0.rem_euclid(1000))
}
