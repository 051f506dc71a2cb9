//! Who is heard, who is told of it, and who has to wait for others.

use sources::Sources;

use super::*;

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    PROMETHEUS.iter().chain(more).copied().collect()
}

#[tokio::test]
async fn every_request_that_is_taken_is_told_of_and_others_are_not() {
    let sources = Arc::new(Sources::default());
    let sink = Arc::new(Sink::default());
    let router = receiver(sink, Labels::empty(), |options| options.sources = sources.clone());
    let newest = || remote_write::encode(&batch(&[1.0, -1.0]));
    ask(&router, "POST", &PROMETHEUS, newest()).await;
    let head =
        with(&[("highwater-source", "edge/a"), ("highwater-watermark-ms", "17"), ("highwater-lane", "backfill")]);
    assert_eq!(ask(&router, "POST", &head, newest()).await.status, StatusCode::BAD_REQUEST);
    let rubbish = ask(&router, "POST", &with(&[("highwater-source", "edge/b")]), b"rubbish".to_vec()).await;
    assert_eq!(rubbish.status, StatusCode::BAD_REQUEST);
    let told = sources.statuses(runtime::now());
    let names: Vec<_> = told.iter().map(|s| (s.source.to_string(), s.direct.as_ref().map(|d| d.samples))).collect();
    assert_eq!(names, [("edge/a".to_owned(), Some(2)), ("remote/0.0.0.0".to_owned(), Some(2))]);
    assert_eq!(told[0].watermark, Some(TimestampMs(17)));
}

#[tokio::test]
async fn a_sender_without_samples_is_heard_all_the_same() {
    let sources = Arc::new(Sources::default());
    let sink = Arc::new(Sink { fails: Some(AppendError::Closed), ..Sink::default() });
    let router = receiver(sink, Labels::empty(), |options| options.sources = sources.clone());
    let head = [("highwater-source", "edge/a"), ("highwater-watermark-ms", "17")];
    let answer = ask(&router, "POST", &head, Body::empty()).await;
    assert_eq!((answer.status, answer.written.as_str()), (StatusCode::NO_CONTENT, "0"));
    assert_eq!(sources.statuses(runtime::now())[0].watermark, Some(TimestampMs(17)));
    let stranger = ask(&router, "POST", &[], Body::empty()).await;
    assert_eq!(stranger.status, StatusCode::BAD_REQUEST, "an empty body is no message");
}

#[tokio::test]
async fn a_source_over_its_rate_waits_and_others_do_not() {
    let sink = Arc::new(Sink::default());
    let router = receiver(sink.clone(), Labels::empty(), |options| options.limits.max_samples_per_second = Some(1));
    let send = |source| {
        let (router, head) = (router.clone(), with(&[("highwater-source", source)]));
        async move { ask(&router, "POST", &head, remote_write::encode(&batch(&[1.0; 100]))).await }
    };
    assert_eq!(send("edge/a").await.status, StatusCode::NO_CONTENT);
    let second = send("edge/a").await;
    assert_eq!((second.status, second.written.as_str()), (StatusCode::TOO_MANY_REQUESTS, "0"));
    let seconds: u64 = second.retry_after.expect("says when").parse().expect("is a number");
    assert!((90..=98).contains(&seconds), "{seconds}");
    assert!(second.text.contains("edge/a sends more samples than it may"), "{}", second.text);
    assert_eq!(send("edge/b").await.status, StatusCode::NO_CONTENT);
    let heartbeat = ask(&router, "POST", &[("highwater-source", "edge/a")], Body::empty()).await;
    assert_eq!(heartbeat.status, StatusCode::NO_CONTENT);
    assert_eq!(sink.stored.lock().len(), 2);
}

/// Three places for decoding, all busy with one source's requests but one: that is somebody else's.
#[tokio::test(flavor = "multi_thread")]
async fn who_fills_the_queue_is_refused_while_others_get_through() {
    struct Gate(Mutex<std::sync::mpsc::Receiver<()>>, tokio::sync::mpsc::UnboundedSender<()>);
    impl Append for Gate {
        fn append(&self, batch: &Batch) -> Result<AppendReport, AppendError> {
            let _ = self.1.send(());
            let _ = self.0.lock().recv();
            Ok(AppendReport { appended: batch.rows.len(), ..AppendReport::default() })
        }
    }
    let (open, gate) = std::sync::mpsc::channel();
    let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let sink = Arc::new(Gate(Mutex::new(gate), begun));
    let router = receiver(sink, Labels::empty(), |options| options.pool = CpuPool::new(4, 0));
    let send = |source: &str| {
        let (router, head) = (router.clone(), vec![("highwater-source".to_owned(), source.to_owned())]);
        tokio::spawn(async move {
            let head: Vec<_> = head.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            ask(&router, "POST", &head, remote_write::encode(&batch(&[1.0]))).await
        })
    };
    let mut under_way = Vec::new();
    for _ in 0..2 {
        under_way.push(send("edge/a"));
        begins.recv().await.expect("begins");
    }
    let refused = send("edge/a").await.expect("answers");
    assert_eq!((refused.status, refused.retry_after.as_deref()), (StatusCode::TOO_MANY_REQUESTS, Some("1")));
    under_way.push(send("edge/b"));
    begins.recv().await.expect("begins: half of the places are not for one source");
    for _ in 0..3 {
        open.send(()).expect("the store waits");
    }
    for answer in under_way {
        assert_eq!(answer.await.expect("answers").status, StatusCode::NO_CONTENT);
    }
}
