//! Blocks on their way to object storage.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::buffered::BufWriter;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use prometheus_block::BlockMeta;
use reqwest::Url;
use tokio::io::AsyncWriteExt;
use tokio::runtime::Runtime;

use super::args::S3Args;
use super::export::{block_files, same_content};

/// Its presence makes a block valid for whoever reads it.
const DESCRIPTION: &str = "meta.json";
const TOMBSTONES: &str = "tombstones";

/// A place in object storage, and what drives the requests to it.
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: ObjectPath,
    runtime: Runtime,
}

/// What became of a block.
#[derive(Debug, PartialEq, Eq)]
pub enum Uploaded {
    /// So many bytes were sent.
    Now(u64),
    /// A block with the same content is there, under this id.
    Before(String),
}

impl Bucket {
    /// Opens `s3://BUCKET/PREFIX` or `file:///FOLDER`. Nothing is asked of it yet.
    pub fn open(url: &str, s3: &S3Args) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("cannot start the runtime")?;
        let parsed = Url::parse(url).with_context(|| format!("{url:?} is not a URL; write s3://BUCKET/PREFIX"))?;
        let (store, prefix): (Arc<dyn ObjectStore>, _) = match parsed.scheme() {
            "file" => {
                let folder = parsed.to_file_path().map_err(|()| anyhow!("{url:?} names no folder of this machine"))?;
                std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
                let store = LocalFileSystem::new_with_prefix(&folder)?.with_fsync(true);
                (Arc::new(store), ObjectPath::default())
            }
            "s3" => {
                let prefix = ObjectPath::from_url_path(parsed.path()).with_context(|| format!("in {url:?}"))?;
                (Arc::new(s3_store(&parsed, s3)?), prefix)
            }
            other => bail!("{other:?} is not supported; write s3://BUCKET/PREFIX or file:///FOLDER"),
        };
        Ok(Self { store, prefix, runtime })
    }

    /// Copies a block, its description last, unless one with the same content is there.
    pub fn upload(&self, block: &Path, meta: &BlockMeta) -> Result<Uploaded> {
        self.runtime.block_on(async {
            if let Some(id) = same_content(&meta.ulid, &self.complete_blocks(meta).await?) {
                return Ok(Uploaded::Before(id.clone()));
            }
            let mut sent = 0;
            // As Thanos itself: there is nothing in the tombstones, and nobody looks for them there.
            for (name, bytes) in block_files(block)?.into_iter().filter(|(name, _)| name.as_os_str() != TOMBSTONES) {
                self.send(&block.join(&name), self.object(&meta.ulid, &name)).await?;
                sent += bytes;
            }
            Ok(Uploaded::Now(sent))
        })
    }

    fn object(&self, ulid: &str, name: &Path) -> ObjectPath {
        let parts = name.iter().map(|part| part.to_string_lossy().into_owned());
        parts.fold(self.prefix.clone().join(ulid), |path, part| path.join(part))
    }

    /// Ids of blocks that may have the same content as this one and whose description is there.
    async fn complete_blocks(&self, meta: &BlockMeta) -> Result<HashSet<String>> {
        let folders = self.store.list_with_delimiter(Some(&self.prefix)).await.context("cannot list object storage")?;
        let names = folders.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_owned));
        let mut out = HashSet::new();
        if let Some(id) = same_content(&meta.ulid, &names.collect()) {
            let folder = self.prefix.clone().join(id.as_str());
            let listed = self.store.list_with_delimiter(Some(&folder)).await.context("cannot list object storage")?;
            if listed.objects.iter().any(|object| object.location.filename() == Some(DESCRIPTION)) {
                out.insert(id.clone());
            }
        }
        Ok(out)
    }

    /// Copies a file, in parts where it is large.
    async fn send(&self, file: &PathBuf, to: ObjectPath) -> Result<()> {
        let failed = || format!("cannot upload {} to {to}", file.display());
        let mut from = tokio::fs::File::open(file).await.with_context(failed)?;
        let mut writer = BufWriter::new(self.store.clone(), to.clone());
        let copied = tokio::io::copy(&mut from, &mut writer).await;
        if copied.is_err() {
            // What was begun must not stay there unfinished; the first failure is the one to tell.
            let _ = writer.abort().await;
        }
        copied.with_context(failed)?;
        writer.shutdown().await.with_context(failed)
    }
}

fn s3_store(url: &Url, args: &S3Args) -> Result<object_store::aws::AmazonS3> {
    let bucket = url.host_str().filter(|host| !host.is_empty());
    let bucket = bucket.ok_or_else(|| anyhow!("{url} names no bucket; write s3://BUCKET/PREFIX"))?;
    runtime::install_tls();
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    if let Some(endpoint) = &args.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = &args.region {
        builder = builder.with_region(region);
    }
    if let (Some(id), Some(file)) = (&args.access_key_id, &args.secret_access_key_file) {
        let secret = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        builder = builder.with_access_key_id(id).with_secret_access_key(secret.trim());
    }
    // Whoever names an endpoint without TLS means it.
    let endpoint = args.endpoint.clone().or_else(|| {
        ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"].iter().find_map(|name| std::env::var(name).ok())
    });
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
        builder = builder.with_allow_http(true);
    }
    builder.build().context("cannot use this object storage; check --s3.endpoint, --s3.region and the credentials")
}
