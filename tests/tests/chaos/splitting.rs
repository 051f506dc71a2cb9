//! A region that outgrew its cascade gets a second one: docs/operating.md, "Splitting a cascade", step by step and under load.

use std::net::SocketAddr;

use xxhash_rust::xxh3::xxh3_64;

use super::checker::{Stored, agree};
use super::exporter::Exporter;
use super::fleet::behind;
use super::member::Member;
use super::wire;
use crate::harness::until;

/// An edge with the exporter that it scrapes.
struct Cell {
    name: String,
    exporter: Exporter,
    edge: Member,
}

impl Cell {
    async fn new(name: &str) -> Self {
        let (exporter, edge) = (Exporter::start(10, None).await, Member::new("edge", name, " "));
        Self { name: name.to_owned(), exporter, edge }
    }

    /// Sends to these cascades from the next start or reload on.
    fn sends_to(&mut self, cascades: &[SocketAddr]) {
        let urls: Vec<String> = cascades.iter().map(|to| format!("'http://{to}/api/v1/write'")).collect();
        self.edge.configure(&format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, external_labels: {{metacluster: {}}}}}\n\
             scrape_configs: [{{job_name: paged, static_configs: [{{targets: ['{}']}}]}}]\n\
             remote_write: [{{name: cascade, choose: hash, remote_timeout: 2s, urls: [{}]}}]\n",
            self.name,
            self.exporter.address(),
            urls.join(", ")
        ));
    }
}

/// A cascade of the one region. The sums of a second one get a label of their own, since both are of the same region.
fn cascade(name: &str, central: SocketAddr, part: Option<&str>) -> Member {
    let apart = part.map(|part| {
        format!(
            ", write_relabel_configs: [{{source_labels: [__name__], regex: 'region:.+', target_label: part, \
             replacement: '{part}'}}]"
        )
    });
    let config = format!(
        "global: {{evaluation_interval: 1s, external_labels: {{region: region-a}}}}\n\
         rule_files: [rules.yml]\n\
         remote_write: [{{name: central, remote_timeout: 2s, url: 'http://{central}/api/v1/write'{}}}]\n",
        apart.unwrap_or_default()
    );
    let member = Member::new("cascade", name, &config);
    member.write("rules.yml", "groups: [{name: region, rules: [{record: 'region:cells:count', expr: 'count(last_over_time(up{job=\"paged\"}[3s]))'}]}]\n");
    member
}

/// Two metaclusters of which the first prefers the first of the cascades and the second the second: the address with the
/// highest XXH3 of name, zero byte and URL.
fn names(cascades: &[SocketAddr; 2]) -> [String; 2] {
    let hash = |name: &str, to: SocketAddr| xxh3_64(format!("{name}\0http://{to}/api/v1/write").as_bytes());
    let is_first = |name: &String| hash(name, cascades[0]) > hash(name, cascades[1]);
    let mut all = (0..1_000).map(|number| format!("cell-{number}"));
    let stays = all.clone().find(&is_first).expect("half of them do");
    let moves = all.find(|name| !is_first(name)).expect("half of them do");
    [stays, moves]
}

/// Waits until a tier has a sample of a metacluster that was scraped after the call.
async fn is_live(at: SocketAddr, cell: &str) {
    let begun = std::time::Instant::now();
    until(&format!("{cell} to be live at {at}"), || async {
        let seconds = behind(at, cell, 0).await?;
        if seconds < begun.elapsed().as_secs_f64() { Ok(()) } else { Err(format!("{seconds} s behind")) }
    })
    .await;
}

/// What each edge scraped from the start until now is at central once, and nothing else.
async fn is_whole(cells: &[Cell; 2], central: SocketAddr, from_ms: i64) -> usize {
    let to_ms = runtime::now().0;
    let mut samples = 0;
    for cell in cells {
        // Pages are scraped one after the other: with a newer one, everything until now is there.
        until("another scrape", || async {
            let newer = wire::read(cell.edge.address(), &[("__name__", "up")], to_ms + 1, to_ms + 60_000).await?;
            newer.first().map(|_| ()).ok_or_else(|| "none yet".to_owned())
        })
        .await;
        let job = ("job", "paged");
        let there = [job, ("metacluster", cell.name.as_str())];
        samples += agree((cell.edge.address(), &[job]), (&[central], &there), from_ms, to_ms).await.samples();
    }
    samples
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_a_region_moves_to_a_second_cascade() {
    let _turn = super::turn().await;
    runtime::install_tls();
    let started_ms = runtime::now().0;
    let mut central = Member::new("central", "central", " ");
    let mut first = cascade("cascade-1", central.address(), None);
    let mut second = cascade("cascade-2", central.address(), Some("2"));
    let both = [first.address(), second.address()];
    let [stays, moves] = names(&both);
    let mut cells = [Cell::new(&stays).await, Cell::new(&moves).await];
    central.start().await;
    first.start().await;
    for cell in &mut cells {
        cell.sends_to(&both[..1]);
        cell.edge.start().await;
    }
    for cell in &cells {
        is_live(central.address(), &cell.name).await;
    }

    // 1. The second cascade, beside the first. 2. Every edge hears of it, one after the other.
    second.start().await;
    for cell in &mut cells {
        cell.sends_to(&both);
        cell.edge.process().signal("HUP");
    }
    is_live(second.address(), &moves).await;
    is_live(first.address(), &stays).await;
    let of_stays = [("job", "paged"), ("metacluster", stays.as_str())];
    let strange = Stored::read(second.address(), &of_stays, started_ms, runtime::now().0).await.expect("answers");
    assert_eq!(strange.samples(), 0, "{stays} had no reason to move");
    let before = is_whole(&cells, central.address(), started_ms).await;

    // Both cascades count what they have, and the sum over the parts of the region is right: each cell once.
    until("the parts of the region", || async {
        let found =
            crate::harness::query(central.address(), "sum by (region) (last_over_time(region:cells:count[1m]))")
                .await?;
        let parts = crate::harness::query(central.address(), "count(last_over_time(region:cells:count[1m]))").await?;
        let is_right = parts.first().is_some_and(|e| e.value == 2.0) && found.first().is_some_and(|e| e.value == 2.0);
        if is_right { Ok(()) } else { Err(format!("{found:?}, {parts:?}")) }
    })
    .await;

    // The new one dies under load: its half goes back to the first. What it had taken it delivers when it is back.
    second.kill().await;
    is_live(central.address(), &moves).await;
    second.start().await;
    let after = is_whole(&cells, central.address(), started_ms).await;
    assert!(after > before);
}
