//! `highwater tsdb dump`: stored samples as text.

use std::fmt::Write as _;
use std::io::{self, BufWriter};

use anyhow::Result;
use exposition::{Writer, write_value};
use model::{HistogramBuffer, Labels, Queryable, SampleBuffer, TimestampMs, is_stale};

use super::args::{DumpArgs, DumpFormat};
use super::select::{Damages, selected};

/// Prints every selected sample, series in order of labels.
pub fn run(args: &DumpArgs, store: &dyn Queryable) -> Result<()> {
    let mut out = BufWriter::with_capacity(1 << 18, io::stdout().lock());
    let mut damages = Damages::default();
    let printed = match args.format {
        DumpFormat::Histograms => print_histograms(args, store, &mut damages, &mut out),
        _ => print(args, store, &mut damages, &mut out),
    };
    let LeftOut { markers, histograms } = match printed {
        // Whoever reads wants no more.
        Err(error) if is_broken_pipe(&error) => return Ok(()),
        other => other?,
    };
    if histograms > 0 {
        eprintln!("{histograms} native histograms are no samples and were left out; --format histograms shows them");
    }
    if markers > 0 {
        eprintln!(
            "{markers} staleness markers have no form in this format and were left out; --format promtool shows them"
        );
    }
    damages.end()
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// What a format has no form for.
#[derive(Debug, Default)]
struct LeftOut {
    markers: u64,
    histograms: u64,
}

/// Prints native histograms and nothing else.
fn print_histograms(
    args: &DumpArgs,
    store: &dyn Queryable,
    damages: &mut Damages,
    out: &mut dyn io::Write,
) -> Result<LeftOut> {
    let range = args.selection.range();
    let mut histograms = HistogramBuffer::default();
    for series in selected(store, &args.selection.matches, range)? {
        if !damages.read_histograms(&*series, range, &mut histograms) || histograms.is_empty() {
            continue;
        }
        let labels = promtool_labels(series.labels());
        for (timestamp, histogram) in histograms.iter() {
            let digits: String = histogram.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(out, "{labels} {digits} {timestamp}")?;
        }
    }
    out.flush()?;
    Ok(LeftOut::default())
}

fn print(args: &DumpArgs, store: &dyn Queryable, damages: &mut Damages, out: &mut dyn io::Write) -> Result<LeftOut> {
    let range = args.selection.range();
    let (mut samples, mut text, mut left_out) = (SampleBuffer::default(), String::new(), LeftOut::default());
    let mut histograms = HistogramBuffer::default();
    for series in selected(store, &args.selection.matches, range)? {
        if damages.read_histograms(&*series, range, &mut histograms) {
            left_out.histograms += histograms.len() as u64;
        }
        if !damages.read(&*series, range, &mut samples) {
            continue;
        }
        let labels = series.labels();
        text.clear();
        let written = match args.format {
            DumpFormat::Promtool => promtool_labels(labels),
            DumpFormat::Text | DumpFormat::Openmetrics | DumpFormat::Histograms => String::new(),
        };
        for (timestamp, value) in samples.timestamps.iter().zip(&samples.values) {
            if args.format != DumpFormat::Promtool && is_stale(*value) {
                left_out.markers += 1;
                continue;
            }
            match args.format {
                DumpFormat::Promtool => {
                    text.push_str(&written);
                    text.push(' ');
                    write_value(&mut text, *value);
                    // Writing to a string cannot fail.
                    let _ = writeln!(text, " {timestamp}");
                }
                DumpFormat::Text => Writer::new(&mut text).sample(labels, *value, Some(TimestampMs(*timestamp))),
                DumpFormat::Openmetrics | DumpFormat::Histograms => {
                    Writer::new(&mut text).sample(labels, *value, None);
                    text.pop();
                    let _ = writeln!(text, " {}", seconds(*timestamp));
                }
            }
        }
        out.write_all(text.as_bytes())?;
    }
    if args.format == DumpFormat::Openmetrics {
        out.write_all(b"# EOF\n")?;
    }
    out.flush()?;
    Ok(left_out)
}

/// Exact seconds with three decimals.
fn seconds(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    format!("{sign}{}.{:03}", ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000)
}

/// `{a="b", c="d"}` with the metric name among the labels, quoted as Go quotes.
fn promtool_labels(labels: &Labels) -> String {
    let mut out = "{".to_owned();
    for (at, (name, value)) in labels.iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        out.push_str(name);
        out.push_str("=\"");
        for c in value.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                    let _ = write!(out, "\\x{:02x}", c as u32);
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_quoted_as_promtool_does() {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "a\"b\\c\nd\u{1}ü")]);
        assert_eq!(promtool_labels(&labels), "{__name__=\"up\", job=\"a\\\"b\\\\c\\nd\\x01ü\"}");
    }

    #[test]
    fn seconds_are_exact() {
        for (ms, text) in [(0, "0.000"), (-1, "-0.001"), (1_700_000_000_123, "1700000000.123")] {
            assert_eq!(seconds(ms), text);
        }
    }
}
