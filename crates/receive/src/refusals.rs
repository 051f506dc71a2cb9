//! What a sender hears of samples that were not stored: how many for which reason, and the first offenders by name.

use std::collections::BTreeMap;
use std::fmt;

use model::{AppendReport, EncodedRow, Labels, RefusalReason};

/// Offenders of one reason that are named.
const MAX_NAMED: usize = 3;
/// Bytes of a name; label sets may be far larger.
const MAX_NAME_BYTES: usize = 1_000;

#[derive(Default)]
struct Offenders {
    count: usize,
    named: Vec<String>,
}

/// The refusals of one request, by reason.
#[derive(Default)]
pub(crate) struct Refusals(BTreeMap<RefusalReason, Offenders>);

impl Refusals {
    /// Labels are read again, by `explain`, for the few rows that are named.
    pub(crate) fn of(
        report: &AppendReport,
        rows: &[EncodedRow<'_>],
        explain: &dyn Fn(&[u8]) -> Result<Labels, String>,
    ) -> Self {
        let mut out = Self::default();
        for refusal in &report.refused {
            let offenders = out.0.entry(refusal.reason).or_default();
            offenders.count += 1;
            if let Some(row) = rows.get(refusal.row).filter(|_| offenders.named.len() < MAX_NAMED) {
                offenders.named.push(match explain(row.labels) {
                    Ok(labels) => {
                        let name = brief(labels.to_string());
                        format!("{}: {name} at {} ms", refusal.reason, row.sample.timestamp)
                    }
                    Err(reason) => brief(reason),
                });
            }
        }
        out
    }

    /// Counts what is not named.
    pub(crate) fn add(&mut self, reason: RefusalReason, count: usize) {
        if count > 0 {
            self.0.entry(reason).or_default().count += count;
        }
    }

    pub(crate) fn counts(&self) -> impl Iterator<Item = (RefusalReason, usize)> {
        self.0.iter().map(|(reason, offenders)| (*reason, offenders.count))
    }
}

impl fmt::Display for Refusals {
    /// Nothing where nothing was refused.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: usize = self.counts().map(|(_, count)| count).sum();
        if total == 0 {
            return Ok(());
        }
        let counts: Vec<String> = self.counts().map(|(reason, n)| format!("{}={n}", reason.as_str())).collect();
        let were = if total == 1 { "sample was" } else { "samples were" };
        writeln!(f, "{total} {were} not stored ({}), every other sample was; for example:", counts.join(", "))?;
        self.0.values().flat_map(|offenders| &offenders.named).try_for_each(|name| writeln!(f, "{name}"))
    }
}

fn brief(mut name: String) -> String {
    if name.len() > MAX_NAME_BYTES {
        let end = (0..=MAX_NAME_BYTES).rev().find(|at| name.is_char_boundary(*at));
        name.truncate(end.unwrap_or(0));
        name.push_str("...");
    }
    name
}
