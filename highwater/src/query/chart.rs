//! A range as small charts in the terminal, one for each series, of braille characters: two dots wide, four high.

use std::fmt::Write;

use jiff::Timestamp;

use super::answer::{Point, Series, notation};
use super::print::milliseconds;

/// More series than this are counted only.
const MAX_CHARTS: usize = 20;
/// Lines of one chart.
const ROWS: usize = 6;
/// A narrower chart shows nothing.
const MIN_COLUMNS: usize = 16;
/// Samples further apart than so many steps are not joined by a line.
const JOINED_STEPS: f64 = 1.5;

const DOTS_PER_COLUMN: usize = 2;
const DOTS_PER_ROW: usize = 4;
/// The bits of a braille character by column and row of its dots.
const BITS: [[u8; DOTS_PER_ROW]; DOTS_PER_COLUMN] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
const EMPTY_BRAILLE: u32 = 0x2800;

/// The time that charts show, in seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub start: f64,
    pub end: f64,
    pub step: f64,
}

/// Charts that are no wider than `width` characters.
pub fn charts(series: &[Series], span: Span, width: usize) -> String {
    let mut out = String::new();
    for one in series.iter().take(MAX_CHARTS) {
        if !out.is_empty() {
            out.push('\n');
        }
        chart(&mut out, one, span, width);
    }
    if series.len() > MAX_CHARTS {
        // Writing to a string does not fail, here and below.
        let _ = writeln!(out, "\nand {} more series; aggregate them, or use another format", series.len() - MAX_CHARTS);
    }
    out
}

fn chart(out: &mut String, series: &Series, span: Span, width: usize) {
    let title: String = notation(&series.metric).chars().take(width.max(MIN_COLUMNS)).collect();
    let _ = writeln!(out, "{title}");
    let read = |Point(at, value): &Point| Some((*at, value.parse::<f64>().ok()?));
    let points: Vec<(f64, f64)> = series.points.iter().filter_map(read).collect();
    let finite: Vec<(f64, f64)> = points.iter().copied().filter(|(_, value)| value.is_finite()).collect();
    let (Some(low), Some(high)) =
        (finite.iter().map(|p| p.1).reduce(f64::min), finite.iter().map(|p| p.1).reduce(f64::max))
    else {
        let _ = writeln!(out, "no number to draw among {} samples", series.points.len());
        return;
    };
    // A flat line lies in the middle.
    let (bottom, top) = if low < high { (low, high) } else { (low - 1.0, high + 1.0) };
    let labels = [short(top), short(bottom / 2.0 + top / 2.0), short(bottom)];
    let margin = labels.iter().map(String::len).max().unwrap_or(0);
    let columns = width.saturating_sub(margin + 2).max(MIN_COLUMNS);
    let mut canvas = Canvas::new(columns);
    canvas.draw(&finite, span, bottom, top);
    for row in 0..ROWS {
        let label = match row {
            0 => labels[0].as_str(),
            row if row == (ROWS - 1) / 2 => labels[1].as_str(),
            row if row == ROWS - 1 => labels[2].as_str(),
            _ => "",
        };
        let tick = if label.is_empty() { '│' } else { '┤' };
        let _ = writeln!(out, "{label:>margin$} {tick}{}", canvas.row(row).trim_end_matches('\u{2800}'));
    }
    let _ = writeln!(out, "{:margin$} └{}", "", "─".repeat(columns));
    let _ = writeln!(out, "{:margin$}  {}", "", times(span, columns));
    let last = finite.last().map_or(low, |point| point.1);
    let odd = series.points.len() - finite.len();
    let odd = if odd > 0 { format!(", {odd} not drawn") } else { String::new() };
    let (samples, low, high) = (series.points.len(), short(low), short(high));
    let _ = writeln!(out, "{:margin$}  last {}  min {low}  max {high}  {samples} samples{odd}", "", short(last));
}

struct Canvas {
    columns: usize,
    cells: Vec<u8>,
}

impl Canvas {
    fn new(columns: usize) -> Self {
        Self { columns, cells: vec![0; columns * ROWS] }
    }

    fn draw(&mut self, points: &[(f64, f64)], span: Span, bottom: f64, top: f64) {
        let place = |share: f64, dots: usize| {
            let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
            // Within the number of dots, which is small.
            (share * (dots - 1) as f64).round() as usize
        };
        let (wide, high) = (self.columns * DOTS_PER_COLUMN, ROWS * DOTS_PER_ROW);
        // Halves keep the difference of large numbers finite.
        let height = |value: f64| (value / 2.0 - bottom / 2.0) / (top / 2.0 - bottom / 2.0);
        let dot = |(at, value): (f64, f64)| {
            let x = place((at - span.start) / (span.end - span.start), wide);
            (x, high - 1 - place(height(value), high))
        };
        let mut before: Option<(f64, (usize, usize))> = None;
        for point in points {
            let here = dot(*point);
            match before {
                Some((at, there)) if point.0 - at <= span.step * JOINED_STEPS => self.join(there, here),
                _ => self.set(here.0, here.1),
            }
            before = Some((point.0, here));
        }
    }

    /// A line from one dot to another that is not left of it; steep ones have no holes.
    fn join(&mut self, from: (usize, usize), to: (usize, usize)) {
        let across = to.0.saturating_sub(from.0).max(1);
        let at = |step: usize| {
            let (a, b) = (from.1 as f64, to.1 as f64);
            (a + (b - a) * step as f64 / across as f64).round() as usize
        };
        for step in 0..=across {
            let x = (from.0 + step).min(to.0);
            let (y, next) = (at(step), at((step + 1).min(across)));
            // The half of the way up or down that belongs to this column.
            let turn = y.midpoint(next);
            (y.min(turn)..=y.max(turn)).for_each(|y| self.set(x, y));
            if step < across {
                let x = (x + 1).min(to.0);
                (turn.min(next)..=turn.max(next)).for_each(|y| self.set(x, y));
            }
        }
    }

    fn set(&mut self, x: usize, y: usize) {
        let cell = y / DOTS_PER_ROW * self.columns + x / DOTS_PER_COLUMN;
        if let Some(cell) = self.cells.get_mut(cell) {
            *cell |= BITS[x % DOTS_PER_COLUMN][y % DOTS_PER_ROW];
        }
    }

    fn row(&self, row: usize) -> String {
        let cells = &self.cells[row * self.columns..(row + 1) * self.columns];
        cells.iter().filter_map(|bits| char::from_u32(EMPTY_BRAILLE + u32::from(*bits))).collect()
    }
}

/// Start, middle and end, as far as there is room; in UTC.
fn times(span: Span, columns: usize) -> String {
    let format = if span.end - span.start <= 86_400.0 { "%H:%M:%S" } else { "%m-%d %H:%M" };
    let show = |at: f64| {
        let at = Timestamp::from_millisecond(milliseconds(at));
        at.map_or_else(|_| "?".to_owned(), |at| at.strftime(format).to_string())
    };
    let (start, middle, end) = (show(span.start), show(span.start / 2.0 + span.end / 2.0), show(span.end));
    let room = columns.saturating_sub(start.len() + end.len());
    if room < 1 {
        return start;
    }
    if room < middle.len() + 4 {
        return format!("{start}{end:>rest$}", rest = room + end.len());
    }
    let left = (room - middle.len()) / 2;
    let right = room - middle.len() - left;
    format!("{start}{:left$}{middle}{:right$}{end}", "", "")
}

/// A number in few characters: six digits, or an exponent.
fn short(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e9).contains(&size) {
        return format!("{value:.3e}");
    }
    let whole_digits = if size < 1.0 { 1 } else { size.log10().floor() as usize + 1 };
    let text = format!("{value:.decimals$}", decimals = 6usize.saturating_sub(whole_digits));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: f64 = 1_700_000_000.0;

    fn series(values: impl Iterator<Item = (f64, f64)>) -> Series {
        let points = values.map(|(at, value)| Point(START + at, value.to_string())).collect();
        Series { metric: [("__name__".to_owned(), "m".to_owned())].into(), points }
    }

    fn span(seconds: f64, step: f64) -> Span {
        Span { start: START, end: START + seconds, step }
    }

    #[test]
    fn numbers_are_short() {
        for (value, want) in [
            (0.0, "0"),
            (1.0, "1"),
            (-2.5, "-2.5"),
            (123.456_789, "123.457"),
            (99_999_999.0, "99999999"),
            (1e9, "1.000e9"),
            (0.000_01, "1.000e-5"),
            (0.1, "0.1"),
        ] {
            assert_eq!(short(value), want);
        }
    }

    #[test]
    fn a_rising_line() {
        let rising = series((0..=60).map(|i| (f64::from(i), f64::from(i) / 10.0)));
        let want = "\
m
6 ┤⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⣠⠴⠋
  │⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⣀⡴⠋⠁
3 ┤⠀⠀⠀⠀⠀⠀⠀⠀⣀⡴⠋⠁
  │⠀⠀⠀⠀⠀⣀⡴⠚⠁
  │⠀⠀⢀⡤⠞⠁
0 ┤⣠⠞⠉
  └─────────────────
   22:13:20 22:14:20
   last 6  min 0  max 6  61 samples
";
        assert_eq!(charts(&[rising], span(60.0, 1.0), 20), want);
    }

    #[test]
    fn odd_values() {
        let flat = charts(&[series([(0.0, 5.0), (1.0, 5.0)].into_iter())], span(1.0, 1.0), 40);
        assert!(flat.contains("5 ┤⣀⣀"), "{flat}");
        let none = charts(&[series([(0.0, f64::NAN)].into_iter())], span(1.0, 1.0), 40);
        assert!(none.contains("no number to draw among 1 samples"), "{none}");
        let extreme = [(0.0, f64::MAX), (1.0, f64::MIN), (2.0, f64::INFINITY), (3.0, 1.0)];
        let drawn = charts(&[series(extreme.into_iter())], span(0.0, 0.0), 0);
        assert!(drawn.contains("4 samples, 1 not drawn"), "{drawn}");
        let many: Vec<Series> = (0..30).map(|_| series([(0.0, 1.0)].into_iter())).collect();
        assert!(charts(&many, span(1.0, 1.0), 80).contains("and 10 more series"));
    }

    #[test]
    fn gaps_are_not_joined() {
        let joined = charts(&[series([(0.0, 0.0), (10.0, 1.0)].into_iter())], span(10.0, 10.0), 40);
        let apart = charts(&[series([(0.0, 0.0), (10.0, 1.0)].into_iter())], span(10.0, 1.0), 40);
        let dots = |text: &str| text.chars().filter(|c| ('\u{2801}'..='\u{28ff}').contains(c)).count();
        assert_eq!(dots(&apart), 2, "{apart}");
        assert!(dots(&joined) > 20, "{joined}");
    }
}
