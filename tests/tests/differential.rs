//! The same samples and the same queries to Debian's prometheus (2.42) and to a central, in one process group: the
//! answers are the same but for what Prometheus 3 changed, which `known.rs` lists with its reasons.
//!
//! `DIFFERENTIAL_SEED=7 DIFFERENTIAL_QUERIES=100000` choose other generated queries, and how many;
//! `DIFFERENTIAL_SHOWN=1000` shows more than the first 20 failures.

mod answer;
mod data;
mod generate;
mod known;
mod random;
mod servers;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use answer::{Answer, difference};
use generate::Generator;
use servers::{Servers, When};

/// Written by hand, one query per line; each is asked at several times.
const WRITTEN: &str = include_str!("differential/queries.txt");

/// One question, and where it comes from.
struct Question {
    origin: String,
    text: String,
    when: When,
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

fn generated() -> Vec<Question> {
    let (seed, count) = (setting("DIFFERENTIAL_SEED", 4), setting("DIFFERENTIAL_QUERIES", 3000));
    let mut generator = Generator::new(seed);
    let question = |i: u64| {
        let query = generator.query();
        Question { origin: format!("DIFFERENTIAL_SEED={seed}, query {i}"), text: query.text, when: query.when }
    };
    (0..count).map(question).collect()
}

/// Early, in the middle, late, and over most of the data.
fn written() -> Vec<Question> {
    let start = data::START / 1000;
    let times = [
        When::At(start + 3_605),
        When::At(start + 605),
        When::Over { start: start - 300, end: start + 7_500, step: 325 },
        When::Over { start: start + 3_600, end: start + 3_900, step: 15 },
    ];
    let lines = WRITTEN.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let question = |(number, line): (usize, &str), when| Question {
        origin: format!("queries.txt:{}", number + 1),
        text: line.to_owned(),
        when,
    };
    lines.flat_map(|line| times.map(|when| question(line, when))).collect()
}

/// Whether the answer's order is part of it: nothing stands around `sort` or an ungrouped `topk`.
fn is_ordered(query: &str) -> bool {
    let call = ["sort(", "sort_desc(", "topk(", "topk (", "bottomk(", "bottomk ("]
        .into_iter()
        .find_map(|f| query.strip_prefix(f));
    let mut depth = 1;
    let mut end = call.into_iter().flat_map(|rest| rest.char_indices().map(move |(at, c)| (rest.len() - at, c)));
    let closes = end.find(|(_, c)| {
        depth += i32::from(*c == '(') - i32::from(*c == ')');
        depth == 0
    });
    closes.is_some_and(|(left, _)| left == 1)
}

async fn ask(servers: &Servers, question: &Question) -> (Result<(), String>, bool) {
    let (text, when) = (&question.text, question.when);
    let asked = servers.ask(&known::in_prometheus_2(text), text, when).await;
    let (theirs, ours) = match asked {
        Ok(both) => both,
        Err(problem) => return (Err(format!("{}: {when:?} {text}\n    {problem}", question.origin)), false),
    };
    let ordered = is_ordered(text) && matches!(when, When::At(_));
    let (mut theirs, ours) = (known::as_in_prometheus_3(theirs), known::comparable(ours));
    let mut differing = difference(&theirs, &ours, ordered);
    if differing.is_some()
        && let Some(query) = known::without_filters(text, &ours)
        && let Ok((again, _)) = servers.ask(&query, "0", when).await
    {
        theirs = known::as_in_prometheus_3(again);
        differing = difference(&theirs, &ours, ordered);
    }
    let same = differing.map_or(Ok(()), |what| {
        let cut = |answer: &Answer| answer.to_string().chars().take(1500).collect::<String>();
        let (theirs, ours) = (cut(&theirs), cut(&ours));
        Err(format!(
            "{}: {when:?} {text}\n    {what}\n    prometheus: {theirs}\n    here:       {ours}",
            question.origin
        ))
    });
    (same, theirs.len() > 0)
}

/// Asks everything, a few at once; what fails, and how many answers had something in them.
async fn ask_all(servers: &Servers, questions: &[Question]) -> (Vec<String>, usize) {
    let (next, filled, failures) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let worker = || async {
        while let Some(question) = questions.get(next.fetch_add(1, Relaxed)) {
            let (same, some) = ask(servers, question).await;
            filled.fetch_add(usize::from(some), Relaxed);
            if let Err(failure) = same {
                failures.lock().expect("nobody panicked").push(failure);
            }
        }
    };
    tokio::join!(worker(), worker(), worker(), worker());
    (failures.into_inner().expect("nobody panicked"), filled.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_and_a_central_answer_the_same() {
    let servers = Servers::start().await;
    let mut failures = known::check(&servers).await;
    let questions: Vec<Question> = written().into_iter().chain(generated()).collect();
    let (differing, filled) = ask_all(&servers, &questions).await;
    failures.extend(differing);
    servers.stop().await;
    // A test in which most answers are empty or errors would show little.
    assert!(filled * 2 > questions.len(), "only {filled} of {} answers had something in them", questions.len());
    let shown =
        failures.iter().take(setting("DIFFERENTIAL_SHOWN", 20) as usize).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} of {} answers differ:\n{shown}", failures.len(), questions.len());
}

#[test]
fn the_order_of_sorted_answers_counts() {
    for (query, ordered) in [
        ("sort(up)", true),
        ("topk(3, sum by (job) (up))", true),
        ("topk by (job) (3, up)", false),
        ("sort(up) + sort(up)", false),
        ("(sort(up))", false),
        ("up", false),
    ] {
        assert_eq!(is_ordered(query), ordered, "{query}");
    }
}
