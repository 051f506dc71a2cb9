//! Columns: sessions, and what becomes of numbers in them.

use std::collections::HashMap;

use ::columns::{ExemplarEntry, Form, Message};
use proptest::prelude::*;

use super::*;

const SESSION: &str = "00112233445566778899aabbccddeeff";

fn labels(name: &str) -> Labels {
    Labels::from_pairs([("__name__", name), ("region", "claimed")])
}

/// A message that announces some series and has a sample of others.
fn message(announced: &[(u32, &str)], rows: &[(u32, f64)]) -> Vec<u8> {
    let definitions: Vec<_> = announced.iter().map(|(number, name)| (*number, labels(name))).collect();
    let numbers: Vec<_> = rows.iter().map(|(number, _)| *number).collect();
    let values: Vec<_> = rows.iter().map(|(_, value)| *value).collect();
    let exemplars: Vec<_> = numbers
        .iter()
        .map(|number| ExemplarEntry {
            number: *number,
            exemplar: Exemplar { labels: Labels::empty(), value: 1.0, timestamp: TimestampMs(1) },
        })
        .collect();
    let timestamps = vec![1; rows.len()];
    let message = Message {
        definitions: &definitions,
        numbers: &numbers,
        timestamps: &timestamps,
        values: &values,
        exemplars: &exemplars,
        ..Message::default()
    };
    ::columns::Encoder::default().encode(&message, Form::Wire).to_vec()
}

async fn send(router: &axum::Router, source: &str, session: &str, body: Vec<u8>) -> Answer {
    let head =
        [("content-type", ::columns::CONTENT_TYPE), ("highwater-source", source), ("highwater-session", session)];
    ask(router, "POST", &head, body).await
}

fn stored(sink: &Sink) -> Vec<String> {
    let batches = std::mem::take(&mut *sink.stored.lock());
    batches.iter().flat_map(|batch| &batch.rows).map(|row| row.labels.to_string()).collect()
}

#[tokio::test]
async fn a_series_is_announced_once_and_stamped_always() {
    let sink = Arc::new(Sink::default());
    let router = receiver(sink.clone(), Labels::from_pairs([("region", "eu")]), |_| ());
    let first = send(&router, "edge/a", SESSION, message(&[(7, "a"), (9, "b")], &[(9, 1.0), (7, 2.0)])).await;
    assert_eq!((first.status, first.written.as_str(), first.exemplars.as_str()), (StatusCode::NO_CONTENT, "2", "2"));
    assert_eq!(stored(&sink), [r#"b{region="eu"}"#, r#"a{region="eu"}"#]);
    let second = send(&router, "edge/a", SESSION, message(&[(8, "c")], &[(7, 1.0), (8, 1.0)])).await;
    assert_eq!((second.status, second.written.as_str()), (StatusCode::NO_CONTENT, "2"));
    assert_eq!(stored(&sink), [r#"a{region="eu"}"#, r#"c{region="eu"}"#]);
    let announced_again = send(&router, "edge/a", SESSION, message(&[(7, "a")], &[(7, 1.0)])).await;
    assert_eq!(announced_again.status, StatusCode::NO_CONTENT);
    assert!(sink.exemplars.lock().iter().all(|row| row.series.get("region") == Some("eu")));
}

#[tokio::test]
async fn who_is_not_known_announces_again_and_nothing_is_stored() {
    let sink = Arc::new(Sink::default());
    let router = receiver(sink.clone(), Labels::empty(), |_| ());
    let other = "ffeeddccbbaa99887766554433221100";
    send(&router, "edge/a", SESSION, message(&[(1, "a")], &[])).await;
    let of = |announced: &[(u32, &str)], rows: &[(u32, f64)]| message(announced, rows);
    for (source, session, body) in [
        ("edge/a", other, of(&[], &[(1, 1.0)])),
        ("edge/b", SESSION, of(&[], &[(1, 1.0)])),
        ("edge/a", SESSION, of(&[(2, "b")], &[(1, 1.0), (2, 1.0), (3, 1.0)])),
        // What it announced there does not count; and a number never changes its meaning.
        ("edge/a", SESSION, of(&[], &[(2, 1.0)])),
        ("edge/a", SESSION, of(&[(1, "b")], &[(1, 1.0)])),
        ("edge/a", SESSION, of(&[], &[(1, 1.0)])),
    ] {
        let answer = send(&router, source, session, body).await;
        let says = answer.head.get("highwater-session").and_then(|v| v.to_str().ok());
        assert_eq!((answer.status, says, answer.written.as_str()), (StatusCode::CONFLICT, Some("unknown"), "0"));
    }
    assert_eq!(stored(&sink), [""; 0]);
    assert_eq!(send(&router, "edge/a", SESSION, of(&[(1, "b")], &[(1, 1.0)])).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn the_session_that_was_not_used_for_longest_goes_first() {
    let sink = Arc::new(Sink::default());
    let router = receiver(sink, Labels::empty(), |options| options.limits.max_session_bytes = 2_000);
    let announce = || message(&[(1, "a")], &[(1, 1.0)]);
    for source in ["edge/a", "edge/b", "edge/a", "edge/c", "edge/d"] {
        assert_eq!(send(&router, source, SESSION, announce()).await.status, StatusCode::NO_CONTENT, "{source}");
    }
    for (source, want) in
        [("edge/b", StatusCode::CONFLICT), ("edge/c", StatusCode::NO_CONTENT), ("edge/d", StatusCode::NO_CONTENT)]
    {
        assert_eq!(send(&router, source, SESSION, message(&[], &[(1, 1.0)])).await.status, want, "{source}");
    }
}

#[tokio::test]
async fn contexts_of_sessions_differ_though_their_ids_are_the_same() {
    /// Remembers contexts.
    #[derive(Default)]
    struct Contexts(Mutex<Vec<Vec<u8>>>);
    impl Append for Contexts {
        fn append(&self, _: &Batch) -> Result<AppendReport, AppendError> {
            Ok(AppendReport::default())
        }
        fn append_encoded(&self, batch: &model::EncodedBatch<'_>) -> Result<AppendReport, AppendError> {
            assert!(batch.rows.iter().all(|row| row.labels.len() == 4));
            self.0.lock().push(batch.context.to_vec());
            Ok(AppendReport::default())
        }
    }
    let sink = Arc::new(Contexts::default());
    let stamp = Stamp::new(Labels::empty());
    let router = receiver(sink.clone(), Labels::empty(), |options| options.stamp = stamp.clone());
    let announce = |name| message(&[(1, name)], &[(1, 1.0)]);
    send(&router, "edge/a", SESSION, announce("a")).await;
    send(&router, "edge/a", SESSION, message(&[], &[(1, 1.0)])).await;
    send(&router, "edge/b", SESSION, announce("a")).await;
    // A mistake ends the session; one of the same id begins.
    send(&router, "edge/a", SESSION, announce("b")).await;
    send(&router, "edge/a", SESSION, announce("b")).await;
    stamp.set(Labels::from_pairs([("region", "eu")]));
    send(&router, "edge/a", SESSION, announce("b")).await;
    let mut contexts = sink.0.lock().clone();
    assert_eq!(contexts.len(), 5);
    assert_eq!(contexts[0], contexts[1]);
    contexts.sort_unstable();
    contexts.dedup();
    assert_eq!(contexts.len(), 4);
}

#[tokio::test]
async fn bad_labels_cost_their_series_and_bad_messages_themselves() {
    let sink = Arc::new(Sink::default());
    let router = receiver(sink.clone(), Labels::empty(), |_| ());
    let nameless = {
        let definitions = [(1, Labels::from_pairs([("a", "b")])), (2, labels("good"))];
        let message = Message {
            definitions: &definitions,
            numbers: &[1, 2],
            timestamps: &[5, 5],
            values: &[1.0, 1.0],
            ..Message::default()
        };
        ::columns::Encoder::default().encode(&message, Form::Stored).to_vec()
    };
    let answer = send(&router, "edge/a", SESSION, nameless).await;
    assert_eq!((answer.status, answer.written.as_str()), (StatusCode::BAD_REQUEST, "1"));
    assert!(answer.text.contains(r#"series {a="b"} has no metric name"#), "{}", answer.text);
    assert_eq!(stored(&sink), [r#"good{region="claimed"}"#]);
    let fine = || message(&[(1, "a")], &[(1, 1.0)]);
    for (session, body, says) in [
        (SESSION, b"rubbish".to_vec(), "message"),
        ("", fine(), "32 hexadecimal digits"),
        ("+0112233445566778899aabbccddeeff", fine(), "32 hexadecimal digits"),
    ] {
        let answer = send(&router, "edge/a", session, body).await;
        assert!(answer.status == StatusCode::BAD_REQUEST && answer.text.contains(says), "{}", answer.text);
    }
    let head =
        [("content-type", ::columns::CONTENT_TYPE), ("content-encoding", "zstd"), ("highwater-session", SESSION)];
    assert_eq!(ask(&router, "POST", &head, fine()).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

/// A request: who sends it in which session, what it announces, and of which numbers it has samples.
type Step = (usize, usize, Vec<(u32, usize)>, Vec<u32>);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is announced and sent by whom: a sample is stored under the name that its own session gave the number,
    /// or not at all, and then nothing of its request is.
    #[test]
    fn sessions_never_mix(steps in prop::collection::vec(
        (0usize..2, 0usize..2, prop::collection::vec((0u32..4, 0usize..2), 0..3), prop::collection::vec(0u32..4, 0..4)),
        1..12,
    )) {
        let (sink, names) = (Arc::new(Sink::default()), ["a", "b"]);
        let router = receiver(sink.clone(), Labels::empty(), |_| ());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("starts");
        let mut model: HashMap<(usize, usize), HashMap<u32, usize>> = HashMap::new();
        let steps: Vec<Step> = steps;
        for (source, session, announced, rows) in steps {
            let sent: Vec<_> = announced.iter().map(|(number, name)| (*number, names[*name])).collect();
            let values: Vec<_> = rows.iter().map(|number| (*number, 1.0)).collect();
            let (source_name, id) = (format!("edge/{source}"), format!("{session:032x}"));
            let answer = runtime.block_on(send(&router, &source_name, &id, message(&sent, &values)));
            let known = model.get(&(source, session)).cloned().unwrap_or_default();
            let announced: HashMap<_, _> = announced.into_iter().collect();
            let contradicts = announced.iter().any(|(number, name)| known.get(number).is_some_and(|known| known != name));
            let mut now = known.clone();
            now.extend(&announced);
            let is_known = rows.iter().all(|number| now.contains_key(number));
            let mut want = Vec::new();
            if is_known && contradicts {
                model.remove(&(source, session));
            } else if is_known {
                want = rows.iter().map(|number| format!(r#"{}{{region="claimed"}}"#, names[now[number]])).collect();
                model.insert((source, session), now);
            }
            let status = if is_known && !contradicts { StatusCode::NO_CONTENT } else { StatusCode::CONFLICT };
            prop_assert_eq!(answer.status, status);
            prop_assert_eq!(stored(&sink), want);
        }
    }

    #[test]
    fn hostile_bodies_are_answered(body in prop::collection::vec(any::<u8>(), 0..200), damage in any::<prop::sample::Index>()) {
        let router = receiver(Arc::new(Sink::default()), Labels::empty(), |_| ());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("starts");
        let mut damaged = message(&[(1, "a"), (2, "b")], &[(1, 1.0), (2, 2.0)]);
        let at = damage.index(damaged.len());
        damaged[at] ^= body.first().copied().unwrap_or(1);
        for body in [body, damaged] {
            let answer = runtime.block_on(send(&router, "edge/a", SESSION, body));
            prop_assert!(answer.status.is_success() || answer.status.is_client_error(), "{}", answer.status);
        }
    }
}
