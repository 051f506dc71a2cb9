//! The gate without clocks: futures are polled by hand.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use super::*;

fn gate(slots: usize, max_waiting: usize) -> (QueryGate, Metrics) {
    let metrics = Metrics::new("test").expect("is fresh");
    (QueryGate::new(GateOptions { slots, max_waiting }, &metrics).expect("is registered once"), metrics)
}

fn caller(address: &str) -> Caller {
    Caller { address: address.to_owned(), name: String::new() }
}

fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    poll(pin!(future))
}

#[test]
fn each_class_keeps_a_share_from_the_other() {
    let (gate, _) = gate(10, 100);
    let callers: Vec<Pass> =
        std::iter::from_fn(|| now(gate.enter(&caller("a")))).map(|pass| pass.expect("has room")).take(20).collect();
    assert_eq!(callers.len(), 8);
    let rules: Vec<Pass> = std::iter::from_fn(|| now(gate.enter_for_rules())).take(20).collect();
    assert_eq!(rules.len(), 2, "the gate is full");
    drop((callers, rules));
    let rules: Vec<Pass> = std::iter::from_fn(|| now(gate.enter_for_rules())).take(20).collect();
    assert_eq!(rules.len(), 8);
    assert!(now(gate.enter(&caller("a"))).is_some());
}

#[test]
fn rules_come_first_and_callers_take_turns() {
    let (gate, _) = gate(1, 100);
    let (a, b) = (caller("a"), caller("b"));
    let first = now(gate.enter(&a)).expect("is free").expect("has room");
    let mut a2 = pin!(gate.enter(&a));
    let mut a3 = pin!(gate.enter(&a));
    let mut b1 = pin!(gate.enter(&b));
    let mut rule = pin!(gate.enter_for_rules());
    assert!(poll(a2.as_mut()).is_none() && poll(a3.as_mut()).is_none() && poll(b1.as_mut()).is_none());
    assert!(poll(rule.as_mut()).is_none());
    drop(first);
    assert!(poll(a2.as_mut()).is_none());
    drop(poll(rule.as_mut()).expect("rules are first"));
    assert!(poll(b1.as_mut()).is_none() && poll(a3.as_mut()).is_none());
    drop(poll(a2.as_mut()).expect("a has waited longest"));
    assert!(poll(a3.as_mut()).is_none());
    drop(poll(b1.as_mut()).expect("then b"));
    assert!(poll(a3.as_mut()).expect("then a again").is_ok());
}

#[test]
fn who_leaves_gives_up_place_and_slot() {
    let (gate, metrics) = gate(1, 2);
    let [a, b, c] = ["a", "b", "c"].map(caller);
    let first = now(gate.enter(&a)).expect("is free");
    let mut left = Box::pin(gate.enter(&a));
    let mut served = Box::pin(gate.enter(&b));
    let mut rule = Box::pin(gate.enter_for_rules());
    assert!(poll(left.as_mut()).is_none() && poll(served.as_mut()).is_none() && poll(rule.as_mut()).is_none());
    drop((left, rule));
    // The slot is handed to b, who leaves without taking it.
    drop(first);
    drop(served);
    assert!(now(gate.enter(&c)).is_some_and(|pass| pass.is_ok()));
    let text = String::from_utf8(metrics.render()).expect("is text");
    for line in [
        "prometheus_engine_queries 0",
        "prometheus_engine_queries_concurrent_max 1",
        r#"highwater_queries_waiting{class="interactive"} 0"#,
        r#"highwater_queries_running{class="rules"} 0"#,
    ] {
        assert!(text.lines().any(|l| l == line), "{line}:\n{text}");
    }
}

#[test]
fn a_full_queue_refuses_whoever_has_most() {
    let (gate, metrics) = gate(1, 2);
    let [a, b] = ["a", "b"].map(caller);
    let _first = now(gate.enter(&a)).expect("is free");
    let mut a1 = pin!(gate.enter(&a));
    let mut a2 = pin!(gate.enter(&a));
    assert!(poll(a1.as_mut()).is_none() && poll(a2.as_mut()).is_none());
    assert_eq!(now(gate.enter(&a)).expect("at once").expect_err("is refused"), GateError::Full);
    let mut b1 = pin!(gate.enter(&b));
    assert!(poll(b1.as_mut()).is_none());
    assert_eq!(poll(a2.as_mut()).expect("gives way").expect_err("is refused"), GateError::Full);
    assert!(poll(a1.as_mut()).is_none());
    assert!(String::from_utf8_lossy(&metrics.render()).contains("highwater_queries_refused_total 2"));
}

#[test]
fn a_gate_without_a_queue_still_lets_in() {
    let (gate, _) = gate(1, 0);
    let [a, b] = ["a", "b"].map(caller);
    let first = now(gate.enter(&a)).expect("is free").expect("has room");
    assert_eq!(now(gate.enter(&b)).expect("at once").expect_err("is refused"), GateError::Full);
    drop(first);
    assert!(now(gate.enter(&b)).expect("is free").is_ok());
}

#[tokio::test]
async fn time_in_the_queue_counts() {
    let (gate, _) = gate(1, 10);
    let pass = gate.enter(&caller("a")).await.expect("is free");
    let soon = Instant::now();
    assert_eq!(gate.run(&caller("a"), soon, |_| ()).await, Err(GateError::LateInQueue));
    drop(pass);
    let later = Instant::now() + Duration::from_secs(60);
    assert_eq!(gate.run(&caller("a"), later, |_| 7).await, Ok(7));
    assert_eq!(gate.run_for_rules(|turn| turn.waited < Duration::from_secs(60)).await, Ok(true));
    let broken = gate.run_for_rules(|_| assert!(std::hint::black_box(false), "on purpose")).await;
    assert_eq!(broken, Err(GateError::Panicked));
    let (started, wait) = oneshot::channel();
    let (go, held) = std::sync::mpsc::channel::<()>();
    let stuck = async {
        let work = move |_| {
            let _ = started.send(());
            held.recv()
        };
        gate.run(&caller("a"), Instant::now() + Duration::from_millis(20), work).await.map(|_| ())
    };
    let (outcome, begun) = tokio::join!(stuck, wait);
    assert_eq!((outcome, begun), (Err(GateError::Late), Ok(())));
    assert!(now(gate.enter(&caller("b"))).is_none(), "what runs keeps its slot");
    go.send(()).expect("it waits");
    assert_eq!(gate.run(&caller("b"), later, |_| 8).await, Ok(8));
}
