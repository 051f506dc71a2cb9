//! Proof of delivery: real processes are killed, cut off, slowed down and lied to, and afterwards every sample that an edge
//! scraped is in both centrals exactly once. `make test` runs a short form; CHAOS_ROUNDS=10 (`make chaos`) the long one.

mod centrals;
mod checker;
mod claims;
mod disk;
mod exporter;
mod fleet;
mod kills;
mod links;
mod member;
mod outage;
mod pair;
mod proxy;
mod resend;
mod skew;
mod splitting;
mod strangers;
mod wire;

/// How often a test does its worst.
fn rounds() -> usize {
    let asked = std::env::var("CHAOS_ROUNDS").ok();
    asked.map_or(1, |text| text.parse().expect("CHAOS_ROUNDS is a number"))
}

/// Fleets take turns, since these tests measure times.
async fn turn() -> tokio::sync::MutexGuard<'static, ()> {
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    TURN.lock().await
}
