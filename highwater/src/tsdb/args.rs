//! The command line of `highwater tsdb`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use model::{Matcher, TimeRange, TimestampMs};

use crate::moment::parse_moment;

#[derive(Debug, Subcommand)]
pub enum TsdbCommand {
    /// List the blocks of a store
    List(ListArgs),
    /// Show which metrics and labels a store is full of, and what its bytes go into
    Analyze(AnalyzeArgs),
    /// Print stored samples
    Dump(DumpArgs),
    /// Read everything, compare every checksum, and name what is damaged
    Verify(VerifyArgs),
    /// Copy the history of a Prometheus into a store
    ///
    /// Reads the blocks and the write-ahead log of a Prometheus data folder (Prometheus 2.0 and later) and stores every
    /// float sample. The folder is only read. Run it again after an interruption, or to fetch what came since: what is
    /// stored already stays as it is. Native histograms and exemplars are counted and left out.
    Import(ImportArgs),
    /// Write Prometheus blocks, for Prometheus, promtool, Thanos and Mimir
    ///
    /// One block for each two hours of samples, cut where Prometheus cuts them. A folder with such blocks can be given to
    /// Prometheus as its data folder. With --thanos-label and --upload, blocks go where Thanos or Mimir read them; what is
    /// there already with the same content is not written again.
    Export(ExportArgs),
}

/// Which store.
#[derive(Debug, Clone, Args)]
pub struct StoreArgs {
    /// Folder of the store: what a process has as its --storage.path
    #[arg(long = "storage.path", alias = "storage.tsdb.path", value_name = "FOLDER")]
    pub path: PathBuf,
}

/// Which series, and when.
#[derive(Debug, Clone, Args)]
pub struct SelectionArgs {
    /// Only series that this selects, as '{job="node"}'; repeat for series that any of several selects
    #[arg(long = "match", value_name = "SELECTOR", value_parser = parse_selector)]
    pub matches: Vec<Selector>,
    /// Only samples from then on: RFC 3339, or a number of seconds (or, from 13 digits on, milliseconds) since 1970
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_negative_numbers = true)]
    pub min_time: Option<TimestampMs>,
    /// Only samples until then, that instant included
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_negative_numbers = true)]
    pub max_time: Option<TimestampMs>,
}

/// The matchers of one selector.
#[derive(Debug, Clone)]
pub struct Selector(pub Vec<Matcher>);

fn parse_selector(text: &str) -> Result<Selector, String> {
    promql::parse_selector(text).map(Selector).map_err(|error| error.to_string())
}

impl SelectionArgs {
    /// The time that is selected.
    pub fn range(&self) -> TimeRange {
        TimeRange {
            start: self.min_time.unwrap_or(TimeRange::ALL.start),
            end: self.max_time.unwrap_or(TimeRange::ALL.end),
        }
    }
}

#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// Print JSON, with sizes in bytes and times in milliseconds since 1970
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct AnalyzeArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// Lines of each list
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    pub limit: usize,
    /// Only this block, as `list` names it; without it, all of them
    #[arg(long, value_name = "ID")]
    pub block: Option<String>,
}

/// How samples are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DumpFormat {
    /// As `promtool tsdb dump`: labels, value, milliseconds
    Promtool,
    /// Prometheus' text format, with timestamps
    Text,
    /// OpenMetrics, as `promtool tsdb create-blocks-from openmetrics` reads it
    Openmetrics,
    /// Native histograms instead of samples: labels, the encoded histogram in hexadecimal digits, milliseconds
    Histograms,
}

#[derive(Debug, Args)]
pub struct DumpArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// How samples are printed
    #[arg(long, value_enum, default_value = "promtool")]
    pub format: DumpFormat,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub store: StoreArgs,
}

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Data folder of a Prometheus (its --storage.tsdb.path)
    #[arg(long, value_name = "FOLDER")]
    pub from: PathBuf,
    #[command(flatten)]
    pub store: StoreArgs,
    /// Read blocks again that an earlier import finished
    #[arg(long)]
    pub again: bool,
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Folder for the blocks, created where it is missing; may be left out with --upload
    #[arg(long, value_name = "FOLDER", required_unless_present = "upload")]
    pub output: Option<PathBuf>,
    /// External label for Thanos, as region=eu; repeat for several. Thanos needs at least one that differs for each source
    #[arg(long = "thanos-label", value_name = "NAME=VALUE", value_parser = parse_label)]
    pub thanos_labels: Vec<(String, String)>,
    /// Also copy the blocks to object storage: s3://BUCKET/PREFIX or file:///FOLDER
    #[arg(long, value_name = "URL")]
    pub upload: Option<String>,
    #[command(flatten)]
    pub s3: S3Args,
}

/// Where object storage is and who we are there. Whatever is not given is taken from the usual AWS_ variables.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Object storage")]
pub struct S3Args {
    /// URL of the service, for others than Amazon's; http:// is allowed [env: AWS_ENDPOINT_URL]
    #[arg(long = "s3.endpoint", value_name = "URL")]
    pub endpoint: Option<String>,
    /// Region of the bucket [env: AWS_REGION]
    #[arg(long = "s3.region", value_name = "NAME")]
    pub region: Option<String>,
    /// Id of the access key [env: AWS_ACCESS_KEY_ID]
    #[arg(long = "s3.access-key-id", value_name = "ID", requires = "secret_access_key_file")]
    pub access_key_id: Option<String>,
    /// File with the secret access key [env: AWS_SECRET_ACCESS_KEY holds the key itself]
    #[arg(long = "s3.secret-access-key-file", value_name = "FILE", requires = "access_key_id")]
    pub secret_access_key_file: Option<PathBuf>,
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if model::is_legacy_label_name(name) && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("write NAME=VALUE with a name of letters, digits and underscores".to_owned()),
    }
}
