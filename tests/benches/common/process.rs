//! A program under measurement: started, watched through /proc, ended.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Clock ticks a second in /proc: fixed on Linux.
const TICKS: f64 = 100.0;

/// A running program; killed when it is dropped.
pub struct Process(Child);

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// Where a program is, when it is installed.
pub fn installed(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(|p| p.is_file())
}

/// The release binary.
pub fn highwater() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/highwater")
}

impl Process {
    pub fn start(program: &Path, arguments: &[String]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().expect("the program starts"))
    }

    /// Sends `signal` and waits for the end. Returns seconds.
    pub fn end(mut self, signal: &str) -> f64 {
        let started = Instant::now();
        let sent = Command::new("kill").args([format!("-{signal}"), self.0.id().to_string()]).status();
        assert!(sent.is_ok_and(|s| s.success()), "cannot signal a process");
        self.0.wait().expect("the process ends");
        started.elapsed().as_secs_f64()
    }

    /// CPU seconds so far.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0);
        (ticks(11) + ticks(12)) / TICKS
    }

    /// The most memory it had since its start, or since [`Process::forget_peak`], in bytes.
    pub fn peak_rss_bytes(&self) -> f64 {
        self.status_bytes("VmHWM:")
    }

    /// From now on the peak is counted anew. Returns the memory it has now, in bytes.
    pub fn forget_peak(&self) -> f64 {
        // The kernel takes 5 for that (proc(5), clear_refs).
        std::fs::write(format!("/proc/{}/clear_refs", self.0.id()), "5").expect("is ours");
        self.status_bytes("VmRSS:")
    }

    fn status_bytes(&self, key: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix(key)).unwrap_or_default();
        line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) * 1024.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
