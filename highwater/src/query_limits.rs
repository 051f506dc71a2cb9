//! The flags that keep queries within bounds.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use model::{format_bytes, format_duration};

/// Where the machine does not say how much memory it has.
const UNKNOWN_MEMORY: u64 = 8 << 30;

#[derive(Debug, Clone, Args)]
pub struct QueryLimitArgs {
    /// Samples that one query may hold
    #[arg(long = "query.max-samples", value_name = "COUNT", default_value_t = 50_000_000)]
    pub max_samples: usize,
    /// Bytes that one query may hold, for example 2GB; 0: no limit
    #[arg(
        id = "query.max-memory",
        long = "query.max-memory",
        value_name = "SIZE",
        default_value = "1GB",
        value_parser = model::parse_bytes
    )]
    max_memory: u64,
    /// Bytes that all queries may hold together, answers included until they are sent; 0: no limit [default: a quarter of
    /// the machine's or container's memory]
    #[arg(long = "query.max-memory-total", value_name = "SIZE", value_parser = model::parse_bytes)]
    max_memory_total: Option<u64>,
    /// Series that one query may select [default: no limit]
    #[arg(id = "query.max-series", long = "query.max-series", value_name = "COUNT")]
    pub max_series: Option<usize>,
    /// Steps that a range query may have
    #[arg(long = "query.max-points", value_name = "COUNT", default_value_t = 11_000)]
    pub max_points: usize,
    /// Log queries that take longer than this, waiting included [default: none]
    #[arg(long = "query.log-slower-than", value_name = "DURATION", value_parser = model::parse_duration)]
    pub log_slower_than: Option<Duration>,
}

impl QueryLimitArgs {
    /// Bytes that one query may hold.
    pub fn max_memory(&self) -> Option<u64> {
        Some(self.max_memory).filter(|bytes| *bytes > 0)
    }

    /// Bytes that all queries may hold together.
    pub fn max_memory_total(&self) -> Option<u64> {
        Some(self.max_memory_total.unwrap_or_else(|| machine_memory() / 4)).filter(|bytes| *bytes > 0)
    }

    /// The flags as the status API shows them.
    pub fn shown(&self) -> [(&'static str, String); 6] {
        let size = |bytes: Option<u64>| bytes.map_or_else(|| "0".to_owned(), format_bytes);
        [
            ("query.max-samples", self.max_samples.to_string()),
            ("query.max-memory", size(self.max_memory())),
            ("query.max-memory-total", size(self.max_memory_total())),
            ("query.max-series", self.max_series.map(|count| count.to_string()).unwrap_or_default()),
            ("query.max-points", self.max_points.to_string()),
            ("query.log-slower-than", self.log_slower_than.map(format_duration).unwrap_or_default()),
        ]
    }
}

/// What the machine has, or the container may use where that is less.
fn machine_memory() -> u64 {
    let read = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap_or_default();
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    least_memory(&read("/proc/meminfo"), limits.map(read))
}

fn least_memory(meminfo: &str, limits: [String; 2]) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB"));
    let total = total.and_then(|kilobytes| kilobytes.trim().parse::<u64>().ok()).map(|kilobytes| kilobytes << 10);
    let limits = limits.iter().filter_map(|limit| limit.trim().parse::<u64>().ok()).filter(|bytes| *bytes > 0);
    total.into_iter().chain(limits).min().unwrap_or(UNKNOWN_MEMORY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_may_have_less_than_its_machine() {
        let meminfo = "MemFree: 1 kB\nMemTotal:       16000000 kB\n";
        for (meminfo, v2, v1, want) in [
            (meminfo, "max\n", "", 16_384_000_000),
            (meminfo, "2147483648\n", "", 2 << 30),
            (meminfo, "", "9223372036854771712\n", 16_384_000_000),
            ("", "", "1073741824\n", 1 << 30),
            ("nonsense", "", "", UNKNOWN_MEMORY),
        ] {
            assert_eq!(least_memory(meminfo, [v2.to_owned(), v1.to_owned()]), want);
        }
    }
}
