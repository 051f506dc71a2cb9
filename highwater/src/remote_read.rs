//! The flags of remote read, under Prometheus' names.

use clap::Args;
use model::format_bytes;
use tier::RemoteReadLimits;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Remote read")]
pub struct RemoteReadArgs {
    /// Samples of one query that is not answered in chunks; 0 is no limit
    #[arg(
        id = "storage.remote.read-sample-limit",
        long = "storage.remote.read-sample-limit",
        value_name = "COUNT",
        default_value_t = RemoteReadLimits::default().max_samples
    )]
    max_samples: usize,
    /// Remote reads that are answered at once, others wait; 0 is no limit
    #[arg(
        long = "storage.remote.read-concurrent-limit",
        value_name = "COUNT",
        default_value_t = RemoteReadLimits::default().concurrency
    )]
    concurrency: usize,
    /// Bytes of one frame of chunks
    #[arg(
        long = "storage.remote.read-max-bytes-in-frame",
        value_name = "SIZE",
        default_value = "1MiB",
        value_parser = model::parse_bytes
    )]
    max_frame_bytes: u64,
}

impl RemoteReadArgs {
    /// What the flags say.
    pub fn limits(&self) -> RemoteReadLimits {
        RemoteReadLimits {
            max_samples: self.max_samples,
            concurrency: self.concurrency,
            max_frame_bytes: usize::try_from(self.max_frame_bytes).unwrap_or(usize::MAX),
        }
    }

    /// The flags, for the status API.
    pub fn shown(&self) -> Vec<(&'static str, String)> {
        vec![
            ("storage.remote.read-sample-limit", self.max_samples.to_string()),
            ("storage.remote.read-concurrent-limit", self.concurrency.to_string()),
            ("storage.remote.read-max-bytes-in-frame", format_bytes(self.max_frame_bytes)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        remote_read: RemoteReadArgs,
    }

    #[test]
    fn the_flags_mean_what_they_say() {
        let read = |flags: &[&str]| Flags::parse_from(std::iter::once(&"x").chain(flags)).remote_read;
        assert_eq!(read(&[]).limits(), RemoteReadLimits::default());
        let given = read(&[
            "--storage.remote.read-sample-limit=7",
            "--storage.remote.read-concurrent-limit=0",
            "--storage.remote.read-max-bytes-in-frame=1048576",
        ]);
        assert_eq!(given.limits(), RemoteReadLimits { max_samples: 7, concurrency: 0, max_frame_bytes: 1 << 20 });
        let shown: Vec<_> = given.shown().into_iter().map(|(_, value)| value).collect();
        assert_eq!(shown, ["7", "0", "1MB"]);
    }
}
