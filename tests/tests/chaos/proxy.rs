//! A TCP proxy that misbehaves on demand: it delays, limits, corrupts, breaks, swallows and cuts, per direction, and is
//! switched while connections are open. It knows nothing of HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

/// Bytes read at once.
const PIECE: usize = 16 * 1024;
/// Pieces under way in one direction; together with [`RECEIVE_BUFFER`], what a sender can write without being read.
const UNDER_WAY: usize = 64;
/// The kernel's share of that: small, so that a slow reader is felt.
const RECEIVE_BUFFER: u32 = 64 * 1024;

/// Whether connections get through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Link {
    #[default]
    Up,
    /// Open connections are reset, new ones at once.
    Cut,
    /// What is sent disappears, nothing is answered, nothing ends. A connection that met this stays so until its client
    /// gives up, as when a machine in between lost its memory.
    HalfOpen,
}

/// What happens to bytes in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Way {
    pub delay: Duration,
    pub bytes_per_second: Option<u64>,
    /// Of so many bytes above 127 one is changed. Text, such as HTTP's heads, stays as it is.
    pub corrupt_one_in: Option<u64>,
    /// Each connection is reset after so many bytes.
    pub break_after: Option<u64>,
}

/// Everything that can be wrong at a time; nothing by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    pub link: Link,
    /// From the client to the server.
    pub up: Way,
    /// From the server to the client.
    pub down: Way,
}

/// What happened so far.
#[derive(Debug, Default)]
pub struct Counts {
    pub connections: AtomicU64,
    pub bytes_up: AtomicU64,
    pub corrupted: AtomicU64,
    pub broken: AtomicU64,
}

/// A running proxy; it ends, and cuts what is open, with its handle.
pub struct Proxy {
    address: SocketAddr,
    faults: watch::Sender<Faults>,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Listens on a free port and connects whoever comes with `target`.
    pub fn start(target: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(RECEIVE_BUFFER).expect("a small buffer");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("binds");
        let listener = socket.listen(256).expect("listens");
        let address = listener.local_addr().expect("has an address");
        let (faults, counts) = (watch::Sender::new(Faults::default()), Arc::new(Counts::default()));
        let task = tokio::spawn(accept(listener, target, faults.subscribe(), counts.clone()));
        Self { address, faults, counts, task }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, for open connections too.
    pub fn set(&self, faults: Faults) {
        self.faults.send_replace(faults);
    }

    /// The link alone, with no other fault.
    pub fn link(&self, link: Link) {
        self.set(Faults { link, ..Faults::default() });
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, faults: watch::Receiver<Faults>, counts: Arc<Counts>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    counts.connections.fetch_add(1, Ordering::Relaxed);
                    connections.spawn(connection(client, target, faults.clone(), counts.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection until it ends, is cut, or is swallowed.
async fn connection(
    mut client: TcpStream,
    target: SocketAddr,
    mut faults: watch::Receiver<Faults>,
    counts: Arc<Counts>,
) {
    let link = faults.borrow_and_update().link;
    if link == Link::Up {
        let Ok(mut server) = TcpStream::connect(target).await else {
            let _ = client.set_zero_linger();
            return;
        };
        let mut watched = faults.clone();
        let whole = tokio::select! {
            _ = watched.wait_for(|f| f.link != Link::Up) => false,
            whole = pump_both(&mut client, &mut server, &faults, &counts) => whole,
        };
        if whole {
            return;
        }
        let _ = server.set_zero_linger();
    }
    let link = faults.borrow_and_update().link;
    if link == Link::HalfOpen {
        swallow(&mut client, &mut faults).await;
    }
    let _ = client.set_zero_linger();
}

/// Reads until the client gives up or the link is cut.
async fn swallow(client: &mut TcpStream, faults: &mut watch::Receiver<Faults>) {
    let mut piece = vec![0; PIECE];
    loop {
        tokio::select! {
            read = client.read(&mut piece) => if !matches!(read, Ok(1..)) { return },
            _ = faults.wait_for(|f| f.link == Link::Cut) => return,
        }
    }
}

/// Whether both directions ended by themselves.
async fn pump_both(
    client: &mut TcpStream,
    server: &mut TcpStream,
    faults: &watch::Receiver<Faults>,
    counts: &Counts,
) -> bool {
    let ((client_read, client_write), (server_read, server_write)) = (client.split(), server.split());
    let up = pump(client_read, server_write, || faults.borrow().up, counts, Some(&counts.bytes_up));
    let down = pump(server_read, client_write, || faults.borrow().down, counts, None);
    tokio::try_join!(up, down).is_ok()
}

/// A connection that was to be reset.
struct Broken;

async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    way: impl Fn() -> Way,
    counts: &Counts,
    passed: Option<&AtomicU64>,
) -> Result<(), Broken> {
    let (send, mut receive) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let read = async {
        let mut piece = vec![0; PIECE];
        while let Ok(n @ 1..) = from.read(&mut piece).await {
            if send.send((Instant::now() + way().delay, piece[..n].to_vec())).await.is_err() {
                break;
            }
        }
        drop(send);
        Ok(())
    };
    let write = async {
        let (mut written, mut random) = (0, 0x9E37_79B9_7F4A_7C15);
        while let Some((due, mut piece)) = receive.recv().await {
            sleep_until(due).await;
            let way = way();
            if let Some(one_in) = way.corrupt_one_in {
                counts.corrupted.fetch_add(corrupt(&mut piece, one_in, &mut random), Ordering::Relaxed);
            }
            let room = way.break_after.map_or(u64::MAX, |limit| limit.saturating_sub(written));
            piece.truncate(usize::try_from(room).unwrap_or(usize::MAX));
            let sent = write_at_rate(&mut to, &piece, way.bytes_per_second).await;
            written += piece.len() as u64;
            if let Some(passed) = passed {
                passed.fetch_add(piece.len() as u64, Ordering::Relaxed);
            }
            if way.break_after.is_some_and(|limit| written >= limit) {
                counts.broken.fetch_add(1, Ordering::Relaxed);
                return Err(Broken);
            }
            if sent.is_err() {
                return Err(Broken);
            }
        }
        let _ = to.shutdown().await;
        Ok(())
    };
    tokio::try_join!(read, write).map(|_| ())
}

/// In twentieths of a second, where there is a limit.
async fn write_at_rate(to: &mut (impl AsyncWriteExt + Unpin), piece: &[u8], rate: Option<u64>) -> std::io::Result<()> {
    let Some(rate) = rate else { return to.write_all(piece).await };
    for part in piece.chunks((rate / 20).max(1) as usize) {
        sleep(Duration::from_secs_f64(part.len() as f64 / rate as f64)).await;
        to.write_all(part).await?;
    }
    Ok(())
}

/// Changes one bit of about one in `one_in` of the bytes that are not ASCII; returns how many.
fn corrupt(piece: &mut [u8], one_in: u64, random: &mut u64) -> u64 {
    let mut changed = 0;
    for byte in piece.iter_mut().filter(|byte| !byte.is_ascii()) {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if (*random >> 33).is_multiple_of(one_in.max(1)) {
            *byte ^= 1 << ((*random >> 20) % 7);
            changed += 1;
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends back what it gets.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("has an address");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        address
    }

    /// Sends `bytes`, and reads as many back.
    async fn exchange(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        let (mut read, mut write) = stream.split();
        let mut back = vec![0; bytes.len()];
        tokio::try_join!(write.write_all(bytes), read.read_exact(&mut back))?;
        Ok(back)
    }

    async fn through(faults: Faults) -> (Proxy, TcpStream) {
        let proxy = Proxy::start(echo().await);
        proxy.set(faults);
        let stream = TcpStream::connect(proxy.address()).await.expect("connects");
        (proxy, stream)
    }

    fn up(up: Way) -> Faults {
        Faults { up, ..Faults::default() }
    }

    #[tokio::test]
    async fn passes_everything_and_every_end() {
        let (proxy, mut stream) = through(Faults::default()).await;
        let bytes: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
        assert_eq!(exchange(&mut stream, &bytes).await.expect("comes back"), bytes);
        stream.shutdown().await.expect("ends");
        assert_eq!(stream.read(&mut [0; 8]).await.expect("ends too"), 0);
        assert_eq!(proxy.counts().bytes_up.load(Ordering::Relaxed), 300_000);
    }

    #[tokio::test]
    async fn delays_and_limits() {
        let delay = Duration::from_millis(120);
        let (proxy, mut stream) = through(up(Way { delay, ..Way::default() })).await;
        let begun = Instant::now();
        exchange(&mut stream, b"late").await.expect("comes back");
        assert!(begun.elapsed() >= delay);

        proxy.set(up(Way { bytes_per_second: Some(50_000), ..Way::default() }));
        let begun = Instant::now();
        exchange(&mut stream, &[7; 10_000]).await.expect("comes back");
        assert!(begun.elapsed() >= Duration::from_millis(190), "{:?}", begun.elapsed());

        proxy.set(Faults::default());
        exchange(&mut stream, &[7; 10_000]).await.expect("comes back");
    }

    #[tokio::test]
    async fn corrupts_what_is_not_text() {
        let (proxy, mut stream) = through(up(Way { corrupt_one_in: Some(100), ..Way::default() })).await;
        assert_eq!(exchange(&mut stream, &[b'a'; 10_000]).await.expect("comes back"), [b'a'; 10_000]);
        let back = exchange(&mut stream, &[0xAA; 10_000]).await.expect("comes back");
        let changed = back.iter().filter(|byte| **byte != 0xAA).count() as u64;
        assert!((50..200).contains(&changed), "{changed}");
        assert_eq!(proxy.counts().corrupted.load(Ordering::Relaxed), changed);
    }

    #[tokio::test]
    async fn breaks_in_the_middle() {
        let (proxy, mut stream) = through(up(Way { break_after: Some(5_000), ..Way::default() })).await;
        assert!(exchange(&mut stream, &[1; 10_000]).await.is_err());
        assert_eq!(proxy.counts().broken.load(Ordering::Relaxed), 1);
        // The next one has as much again.
        let mut again = TcpStream::connect(proxy.address()).await.expect("connects");
        assert!(exchange(&mut again, &[1; 4_000]).await.is_ok());
    }

    #[tokio::test]
    async fn cuts_what_is_open_and_what_comes_and_heals() {
        let (proxy, mut stream) = through(Faults::default()).await;
        exchange(&mut stream, b"fine").await.expect("comes back");
        proxy.link(Link::Cut);
        assert!(stream.read(&mut [0; 8]).await.is_err(), "reset, not ended");
        let mut new = TcpStream::connect(proxy.address()).await.expect("is accepted");
        assert!(exchange(&mut new, b"cut").await.is_err());
        proxy.link(Link::Up);
        let mut new = TcpStream::connect(proxy.address()).await.expect("connects");
        exchange(&mut new, b"fine").await.expect("comes back");
    }

    #[tokio::test]
    async fn half_open_is_silence_for_as_long_as_the_client_waits() {
        let (proxy, mut old) = through(Faults::default()).await;
        exchange(&mut old, b"fine").await.expect("comes back");
        proxy.link(Link::HalfOpen);
        let mut new = TcpStream::connect(proxy.address()).await.expect("is accepted");
        let wait = Duration::from_millis(50);
        for stream in [&mut old, &mut new] {
            assert!(tokio::time::timeout(wait, exchange(stream, b"lost")).await.is_err());
        }
        proxy.link(Link::Up);
        assert!(tokio::time::timeout(wait, exchange(&mut new, b"lost")).await.is_err());
        let mut newer = TcpStream::connect(proxy.address()).await.expect("connects");
        exchange(&mut newer, b"fine").await.expect("comes back");
        // A cut ends them.
        proxy.link(Link::Cut);
        assert!(new.read(&mut [0; 8]).await.is_err());
    }
}
