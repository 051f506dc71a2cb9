//! Queries from a grammar and a seed.
//!
//! Two engines agree on an answer to 1e-9, so the grammar keeps what jumps (comparisons, rounding, ranks, ties) and what
//! cancels (differences) to operands on which they agree to the last bit, and additions under those to whole numbers:
//! every production is told the [`Precision`] it needs. Every window ends at a multiple of 5 s and is 2 s longer than
//! one: see [`super::data`].

use super::data::{FAMILIES, Family, LENGTH, Precision, START};
use super::random::Random;
use super::servers::When;
use Precision::{Exact, Rough, Whole};

const WINDOWS: &[&str] = &["17s", "32s", "1m2s", "2m2s", "5m2s", "10m2s", "17m2s", "1h2s"];
const RESOLUTIONS: &[&str] = &["", "5s", "15s", "30s", "1m", "2m", "5m"];
const OFFSETS: &[&str] = &["30s", "1m", "5m", "25m", "-1m", "-20m"];
const PATTERNS: &[&str] = &[".*", ".+", "a.*", "api|web", "[a-c]:9090", "", "x|", "2..", "(?i:GET)", "[^0-9]+"];
const VALUES: &[&str] = &["api", "web", "a:9090", "b:9090", "get", "200", "x", "", "0", "+Inf", "nothing"];
const NUMBERS: &[&str] = &["0", "1", "2", "-1", "3", "10", "100", "0.5", "1e6", "Inf", "-Inf", "NaN", "0x1F"];
const QUANTILES: &[&str] = &["0.37", "0.913", "0", "1", "-1", "2", "NaN", "0.999"];

/// A generated query.
#[derive(Debug)]
pub struct Generated {
    pub text: String,
    pub when: When,
}

/// Makes queries.
pub struct Generator {
    random: Random,
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed) }
    }

    pub fn query(&mut self) -> Generated {
        let depth = self.random.between(0, 4) as u32;
        let text = match self.random.below(40) {
            0 => self.scalar(depth),
            1 => self.range(0, Rough),
            2 => self.mistyped(depth),
            _ => self.vector(depth, Rough),
        };
        let start = (START + self.random.between(-180, LENGTH / 5_000 + 180) * 5_000) / 1000;
        let steps = self.random.between(0, 25);
        let step = self.random.between(1, 60) * 5;
        let over = When::Over { start, end: start + steps * step + self.random.between(0, 4) * 5, step };
        Generated { text, when: if self.random.one_in(2) { When::At(start) } else { over } }
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        self.random.pick(from)
    }

    /// A family of at least this precision.
    fn family(&mut self, need: Precision, counter: bool) -> &'static Family {
        let fit: Vec<&Family> = FAMILIES.iter().filter(|f| f.precision >= need && (f.counter || !counter)).collect();
        fit[self.random.below(fit.len())]
    }

    fn label(&mut self, of: &Family) -> &'static str {
        if of.labels.is_empty() || self.random.one_in(10) {
            return self.pick(&["job", "instance", "nowhere", "__name__", "le"]);
        }
        self.pick(of.labels)
    }

    fn matchers(&mut self, family: &Family) -> String {
        let count = [0, 0, 1, 1, 2][self.random.below(5)];
        let one = |this: &mut Self| {
            let label = if family.labels.is_empty() { "job" } else { this.pick(family.labels) };
            if this.random.one_in(2) {
                format!("{label}{}\"{}\"", this.pick(&["=~", "!~"]), this.pick(PATTERNS))
            } else {
                format!("{label}{}\"{}\"", this.pick(&["=", "!="]), this.pick(VALUES))
            }
        };
        let list: Vec<String> = (0..count).map(|_| one(self)).collect();
        if list.is_empty() { String::new() } else { format!("{{{}}}", list.join(",")) }
    }

    /// `offset` and `@`, in either order, mostly neither.
    fn modifiers(&mut self) -> String {
        let offset = if self.random.one_in(8) { format!(" offset {}", self.pick(OFFSETS)) } else { String::new() };
        let at = match self.random.below(24) {
            0 => " @ start()".to_owned(),
            1 => " @ end()".to_owned(),
            2 => format!(" @ {}", START / 1000 + self.random.between(0, LENGTH / 5_000) * 5),
            _ => String::new(),
        };
        if self.random.one_in(2) { format!("{offset}{at}") } else { format!("{at}{offset}") }
    }

    fn of_family(&mut self, family: &Family) -> String {
        format!("{}{}{}", family.name, self.matchers(family), self.modifiers())
    }

    fn selector(&mut self, need: Precision) -> String {
        if self.random.one_in(30) {
            // Names without the exact metrics, so that any need is met.
            let names = self.pick(&["requests_total|errors_total", "queue_length|sparse", ".*ing|up", "latency_.+"]);
            return format!("{{__name__=~\"{names}\"{}}}{}", self.pick(&["", ",job=\"api\""]), self.modifiers());
        }
        let family = self.family(need, false);
        self.of_family(family)
    }

    fn ranged(&mut self, family: &Family) -> String {
        format!("{}{}[{}]{}", family.name, self.matchers(family), self.pick(WINDOWS), self.modifiers())
    }

    /// A range vector: of a metric or a subquery.
    fn range(&mut self, depth: u32, need: Precision) -> String {
        if depth < 2 || !self.random.one_in(4) {
            let family = self.family(need, false);
            return self.ranged(family);
        }
        let inner = self.vector(depth - 2, need);
        let (window, resolution) = (self.pick(WINDOWS), self.pick(RESOLUTIONS));
        format!("({inner})[{window}:{resolution}]{}", self.modifiers())
    }

    /// rate() and increase() read counters, and subqueries of one that was always there: see `data::counters`.
    fn counted(&mut self, depth: u32) -> String {
        if depth >= 2 && self.random.one_in(6) {
            let inner = self.pick(&["steady_total", "sum(steady_total)", "max by (instance) (steady_total)"]);
            return format!("{inner}[{}:{}]{}", self.pick(WINDOWS), self.pick(RESOLUTIONS), self.modifiers());
        }
        let family = self.family(Whole, true);
        self.ranged(family)
    }

    pub fn scalar(&mut self, depth: u32) -> String {
        match self.random.below(if depth == 0 { 3 } else { 9 }) {
            0 | 1 => self.pick(NUMBERS).to_owned(),
            2 => self.pick(&["time()", "pi()", "5"]).to_owned(),
            3 => format!("scalar({})", self.vector(depth - 1, Exact)),
            4 => format!("scalar({})", self.selector(Whole)),
            5 => format!("-({})", self.scalar(depth - 1)),
            6 => {
                let op = self.pick(&["==", "!=", "<", "<=", ">", ">="]);
                format!("({} {op} bool {})", self.scalar(depth - 1), self.scalar(depth - 1))
            }
            _ => {
                let op = self.pick(&["+", "-", "*", "/", "%"]);
                format!("({} {op} {})", self.scalar(depth - 1), self.scalar(depth - 1))
            }
        }
    }

    /// An instant vector.
    pub fn vector(&mut self, depth: u32, need: Precision) -> String {
        if depth == 0 {
            return self.selector(need);
        }
        match self.random.below(25) {
            0 | 1 => self.selector(need),
            2..=4 => self.mapped(depth - 1, need),
            5..=8 => self.over_time(depth, need),
            9..=12 => self.aggregation(depth - 1, need),
            13..=15 => self.arithmetic(depth - 1, need),
            16 | 17 => self.comparison(depth - 1, need),
            18 | 19 => self.set(depth - 1, need),
            20 => self.relabelled(depth - 1, need),
            21 => format!("({})", self.vector(depth - 1, need)),
            22 => {
                format!("{}({})", self.pick(&["sort", "sort_desc", "-", "+"]), self.vector(depth - 1, need.max(Exact)))
            }
            23 if need == Rough => self.quantile_of_buckets(depth - 1),
            _ => self.made_up(depth - 1, need),
        }
    }

    fn mapped(&mut self, depth: u32, need: Precision) -> String {
        if need == Rough && self.random.one_in(2) {
            // Neither sinh nor cosh, which Go lets overflow before their time.
            let function = self.pick(&[
                "exp", "ln", "log2", "log10", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "tanh", "asinh",
                "acosh", "atanh", "deg", "rad",
            ]);
            return format!("{function}({})", self.vector(depth, Exact));
        }
        let arg = self.vector(depth, need.max(Exact));
        match self.random.below(9) {
            0..=3 => format!("{}({arg})", self.pick(&["abs", "ceil", "floor", "round", "sgn"])),
            4 => format!("clamp({arg}, {}, {})", self.pick(NUMBERS), self.pick(NUMBERS)),
            5 => format!("clamp_min({arg}, {})", self.pick(NUMBERS)),
            6 => format!("clamp_max({arg}, {})", self.scalar(0)),
            7 if need < Whole => format!("round({arg}, {})", self.pick(&["0.1", "5", "0.25", "1e3"])),
            _ => self.date(),
        }
    }

    /// Of moments only: what a date of NaN or of an age of 1e300 seconds is depends on the processor in Go.
    fn date(&mut self) -> String {
        let function = self.pick(&[
            "minute",
            "hour",
            "day_of_week",
            "day_of_month",
            "day_of_year",
            "days_in_month",
            "month",
            "year",
        ]);
        let family = self.family(Whole, true);
        let moment = match self.random.below(4) {
            0 => String::new(),
            1 => format!("timestamp({}{})", family.name, self.matchers(family)),
            2 => format!("vector(time() * {})", self.pick(&["1", "-1", "3", "0.01"])),
            _ => format!("{} * 1e3", self.of_family(family)),
        };
        format!("{function}({moment})")
    }

    fn over_time(&mut self, depth: u32, need: Precision) -> String {
        match (need, self.random.below(if need == Rough { 20 } else { 8 })) {
            (Whole, 0..=4) | (_, 0) => {
                let function =
                    self.pick(&["changes", "resets", "count_over_time", "present_over_time", "absent_over_time"]);
                format!("{function}({})", self.range(depth, Exact))
            }
            (_, 1..=4) => {
                let function = self.pick(&["last_over_time", "min_over_time", "max_over_time", "idelta"]);
                format!("{function}({})", self.range(depth, need.max(Exact)))
            }
            (Rough, 5..=9) => format!("{}({})", self.pick(&["rate", "rate", "increase"]), self.counted(depth)),
            (Rough, 10 | 11) => {
                let function =
                    self.pick(&["irate", "delta", "deriv", "avg_over_time", "stddev_over_time", "stdvar_over_time"]);
                format!("{function}({})", self.range(depth, Whole))
            }
            (Rough, 12 | 13) => {
                format!("{}({})", self.pick(&["avg_over_time", "sum_over_time"]), self.range(depth, Whole))
            }
            (Rough, 14 | 15) => format!("quantile_over_time({}, {})", self.pick(QUANTILES), self.range(depth, Exact)),
            (Rough, 16) => {
                let family = self.family(Whole, false);
                let range = format!("{}{}[{}]", family.name, self.matchers(family), self.pick(WINDOWS));
                format!("predict_linear({range}, {})", self.pick(&["60", "3600", "-60"]))
            }
            (Rough, 17) => {
                let range = self.range(depth, Whole);
                format!(
                    "double_exponential_smoothing({range}, {}, {})",
                    self.pick(&["0.3", "0.9"]),
                    self.pick(&["0.1", "0.7"])
                )
            }
            _ => format!("sum_over_time({})", self.range(depth, Whole)),
        }
    }

    fn labels(&mut self, from: &Family) -> String {
        let count = self.random.below(4);
        let mut labels: Vec<_> = (0..count).map(|_| self.label(from)).filter(|l| *l != "__name__").collect();
        labels.sort_unstable();
        labels.dedup();
        labels.join(", ")
    }

    fn grouping(&mut self) -> String {
        let family = self.family(Rough, false);
        match self.random.below(5) {
            0 | 1 => format!(" by ({})", self.labels(family)),
            2 => format!(" without ({})", self.labels(family)),
            3 => format!(" by ({})", self.pick(&["job", "instance", "le", "job, instance"])),
            _ => String::new(),
        }
    }

    fn aggregation(&mut self, depth: u32, need: Precision) -> String {
        let grouping = self.grouping();
        let (function, parameter, need) = match self.random.below(if need == Rough { 14 } else { 8 }) {
            0 | 1 => ("sum", String::new(), Whole),
            2 => (self.pick(&["count", "group"]), String::new(), Exact),
            3 | 4 => (self.pick(&["min", "max"]), String::new(), need),
            5 => ("count_values", format!("\"{}\", ", self.pick(&["value", "job", "_1"])), Exact),
            6 | 7 => return self.best(&grouping, need),
            8..=11 => return format!("{}{grouping} ({})", self.pick(&["sum", "avg"]), self.positive(depth)),
            12 => return format!("{}{grouping} ({})", self.pick(&["stddev", "stdvar"]), self.finite()),
            _ => ("quantile", format!("{}, ", self.pick(QUANTILES)), Exact),
        };
        let inner = self.vector(depth, need);
        if self.random.one_in(4) && !grouping.is_empty() {
            return format!("{function}({parameter}{inner}){grouping}");
        }
        format!("{function}{grouping} ({parameter}{inner})")
    }

    /// What can be added up without cancelling: the last bits are all that is left of a sum that does.
    fn positive(&mut self, depth: u32) -> String {
        match self.random.below(4) {
            0 | 1 => format!("{}({})", self.pick(&["rate", "increase"]), self.counted(depth)),
            2 => format!("{}{}", self.pick(&["usage", "extreme", "latency_seconds_bucket"]), self.modifiers()),
            _ => self.vector(depth, Whole),
        }
    }

    /// The spread of NaN and the infinities is 0 in Prometheus 2.
    fn finite(&mut self) -> String {
        let names = ["temperature", "usage", "queue_length", "requests_total", "same", "up"];
        format!("{}{}", self.pick(&names), self.modifiers())
    }

    /// Which of equal values `topk` keeps follows from how its heap moves them, which Prometheus 3 changed for more than
    /// one (see `known.rs`), and from a map's order where the values come from anything but a selector. The sum is the same.
    fn best(&mut self, grouping: &str, need: Precision) -> String {
        let function = self.pick(&["topk", "bottomk"]);
        if self.random.one_in(3) {
            return format!("{function}{grouping} (1, {})", self.selector(need.max(Exact)));
        }
        let operand = self.selector(Whole);
        // Prometheus takes the parameter of the first step only where `@` holds the operand.
        let moving = if operand.contains('@') { "4" } else { "scalar(lonely)" };
        let k = self.pick(&["2", "3", "5", "0", "-1", "100", moving]);
        format!("sum{grouping} ({function}{grouping} ({k}, {operand}))")
    }

    /// Two sides that often match: the same metric twice, a metric and its aggregate, or anything.
    fn matched(&mut self, depth: u32, op: &str, need: Precision, sets: bool) -> String {
        let family = self.family(need, false);
        let label = self.label(family);
        match self.random.below(6) {
            0 | 1 => format!("{} {op} {}", self.of_family(family), self.of_family(family)),
            2 => {
                let (left, right) = (self.of_family(family), self.of_family(family));
                format!("max by ({label}) ({left}) {op} min by ({label}) ({right})")
            }
            3 if !sets => {
                let one = format!("max by ({label}) ({})", self.of_family(family));
                let include = self.pick(&["", " ()", " (job)", " (nowhere)"]);
                if self.random.one_in(2) {
                    return format!("{} {op} on ({label}) group_left{include} {one}", self.of_family(family));
                }
                format!("{one} {op} on ({label}) group_right{include} {}", self.of_family(family))
            }
            4 => {
                let keyword = self.pick(&["on", "ignoring"]);
                let (left, right) = (self.vector(depth, need), self.vector(depth, need));
                format!("({left}) {op} {keyword} ({}) ({right})", self.labels(family))
            }
            _ => format!("({}) {op} ({})", self.vector(depth, need), self.vector(depth, need)),
        }
    }

    fn arithmetic(&mut self, depth: u32, need: Precision) -> String {
        let (op, need) = match need {
            Whole => (self.pick(&["+", "-", "*"]), Whole),
            _ => match self.random.below(8) {
                0..=2 => (self.pick(&["+", "-"]), Exact),
                3 => ("%", Exact),
                4 if need == Rough => ("^", Exact),
                _ => (self.pick(&["*", "/"]), need),
            },
        };
        match self.random.below(4) {
            0 => format!(
                "({}) {op} {}",
                self.vector(depth, need),
                if need == Whole { "3".to_owned() } else { self.scalar(depth) }
            ),
            1 => format!(
                "{} {op} ({})",
                if need == Whole { "2".to_owned() } else { self.scalar(0) },
                self.vector(depth, need)
            ),
            _ => self.matched(depth, op, need, false),
        }
    }

    fn comparison(&mut self, depth: u32, need: Precision) -> String {
        let mut op = self.pick(&["==", "!=", "<", "<=", ">", ">="]).to_owned();
        if self.random.one_in(3) {
            op += " bool";
        }
        let need = need.max(Exact);
        match self.random.below(4) {
            0 | 1 => format!("({}) {op} {}", self.vector(depth, need), self.scalar(0)),
            2 => format!("{} {op} ({})", self.scalar(depth), self.vector(depth, need)),
            _ => self.matched(depth, &op, need, false),
        }
    }

    fn set(&mut self, depth: u32, need: Precision) -> String {
        let op = self.pick(&["and", "or", "unless"]);
        self.matched(depth, op, need, true)
    }

    fn relabelled(&mut self, depth: u32, need: Precision) -> String {
        let inner = self.vector(depth, need);
        let destination = self.pick(&["job", "made", "instance", "__name__"]);
        let source = self.pick(&["job", "instance", "le", "__name__", "nowhere"]);
        if self.random.one_in(3) {
            return format!(
                "label_join({inner}, \"{destination}\", \"{}\", \"{source}\", \"a\")",
                self.pick(&["-", "", ", "])
            );
        }
        let replacement = self.pick(&["$1", "x$1", "", "${1}_$2", "$first", "fixed", "$$1", "$9"]);
        let pattern = self.pick(&["(.*)", "(.).*", "(?P<first>[a-z]+):?(.*)", "a|b", "", "nothing"]);
        format!("label_replace({inner}, \"{destination}\", \"{replacement}\", \"{source}\", \"{pattern}\")")
    }

    /// The ranks stay off the edges of buckets, where the last bit decides which bucket it is.
    fn quantile_of_buckets(&mut self, depth: u32) -> String {
        let buckets = match self.random.below(5) {
            0 => "broken_bucket".to_owned(),
            1 => format!("latency_seconds_bucket{}", self.modifiers()),
            2 => format!("rate(latency_seconds_bucket[{}])", self.pick(WINDOWS)),
            3 => format!(
                "sum by ({}) (rate(latency_seconds_bucket[{}]))",
                self.pick(&["le", "le, path"]),
                self.pick(WINDOWS)
            ),
            _ => self.vector(depth, Whole),
        };
        let quantile =
            if self.random.one_in(5) { self.pick(QUANTILES) } else { self.pick(&["0.371", "0.913", "0.503"]) };
        format!("histogram_quantile({quantile}, {buckets})")
    }

    fn made_up(&mut self, depth: u32, need: Precision) -> String {
        match self.random.below(4) {
            0 => format!("absent({})", self.selector(Rough)),
            1 if need < Whole => self.timestamp(depth),
            2 => format!("vector({})", if need == Whole { self.pick(NUMBERS).to_owned() } else { self.scalar(depth) }),
            _ => self.selector(need),
        }
    }

    /// Prometheus 2 loses the timestamps of what `@` holds inside of another function.
    fn timestamp(&mut self, depth: u32) -> String {
        let of = self.vector(depth, Rough);
        let of = if of.contains('@') { "errors_total" } else { &of };
        format!("timestamp({of})")
    }

    /// What the types forbid.
    fn mistyped(&mut self, depth: u32) -> String {
        let (vector, scalar) = (self.vector(depth, Rough), self.scalar(depth));
        let family = self.family(Rough, false);
        let range = self.ranged(family);
        match self.random.below(12) {
            0 => format!("rate({vector})"),
            1 => format!("abs({range})"),
            2 => format!("sum({scalar})"),
            3 => format!("sum({range})"),
            4 => format!("({range}) + 1"),
            5 => format!("({vector}) and {scalar}"),
            6 => format!("{scalar} > {scalar}"),
            7 => format!("topk({vector}, {vector})"),
            8 => format!("vector({vector})"),
            9 => format!("-({range})"),
            10 => format!("label_replace({vector}, {scalar}, \"\", \"\", \"\")"),
            _ => format!("histogram_quantile({vector}, {scalar})"),
        }
    }
}
