//! Asking the server.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use config::{Secret, SecretSource};
use reqwest::{Method, StatusCode, Url};
use runtime::{Authentication, HttpClient, HttpClientConfig};

use super::answer::Envelope;
use super::args::ServerArgs;

/// A larger answer is refused; nobody reads it in a terminal.
const MAX_ANSWER_BYTES: usize = 1 << 30;
/// How much of an answer that is no JSON is shown.
const SHOWN_CHARS: usize = 200;
/// What the server's own timeout gets, so that its message arrives before we give up.
const GRACE: Duration = Duration::from_secs(5);

/// One server.
pub struct Client {
    http: HttpClient,
    base: Url,
    timeout: Duration,
}

impl Client {
    /// # Errors
    /// When the URL is none, or a file of credentials or certificates cannot be used.
    pub fn new(server: &str, args: &ServerArgs) -> Result<Self> {
        let with_scheme = if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
        let base = Url::parse(&with_scheme).with_context(|| format!("{server:?} is not a URL"))?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            bail!("{server:?} is not the URL of an HTTP server; write for example http://localhost:9090");
        }
        Ok(Self { http: settings(args)?.build()?, base, timeout: args.timeout })
    }

    /// Asks one endpoint below `/api/v1`. Parameters go in a form, so that a query may be long, where the server takes
    /// one.
    ///
    /// # Errors
    /// When the server cannot be reached, or answers nothing that Prometheus would.
    pub async fn ask(&self, path: &[&str], parameters: &[(&str, String)], as_form: bool) -> Result<Envelope> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        if as_form {
            let (status, body) = self.send(self.http.request(Method::POST, url.clone())?.form(parameters)).await?;
            // Some proxies let only GET pass.
            if status != StatusCode::METHOD_NOT_ALLOWED {
                return envelope(&url, status, &body);
            }
        }
        let (status, body) = self.send(self.http.request(Method::GET, url.clone())?.query(parameters)).await?;
        envelope(&url, status, &body)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<(StatusCode, Vec<u8>)> {
        let sent = request.timeout(self.timeout.saturating_add(GRACE)).send().await;
        let mut response = sent.map_err(|error| anyhow!("cannot ask the server: {}", with_causes(&error)))?;
        let (status, mut body) = (response.status(), Vec::new());
        loop {
            let chunk = response.chunk().await;
            let chunk = chunk.map_err(|error| anyhow!("the answer did not arrive whole: {}", with_causes(&error)))?;
            let Some(chunk) = chunk else { return Ok((status, body)) };
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                bail!("the answer is larger than 1 GiB; ask for fewer series, or a longer step");
            }
            body.extend_from_slice(&chunk);
        }
    }
}

/// What the library says, with what it was told by others: its own message is "error sending request".
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        if !text.contains(&inner.to_string()) {
            text = format!("{text}: {inner}");
        }
        cause = inner.source();
    }
    text
}

fn envelope(url: &Url, status: StatusCode, body: &[u8]) -> Result<Envelope> {
    serde_json::from_slice(body).map_err(|_| {
        let shown: String = String::from_utf8_lossy(body).trim().chars().take(SHOWN_CHARS).collect();
        let shown = if shown.is_empty() { String::new() } else { format!(": {shown}") };
        anyhow!("{} answered {status}, and no JSON of Prometheus{shown}", url.path())
    })
}

/// The flags as settings of a client.
fn settings(args: &ServerArgs) -> Result<HttpClientConfig> {
    let file = |path: &PathBuf| SecretSource::File(path.clone());
    let mut settings = HttpClientConfig::default();
    if let Some(username) = &args.user {
        let password = args.password_file.as_ref().map(file);
        settings = settings.authenticated(Authentication::Basic { username: username.clone(), password });
    }
    if let Some(path) = &args.bearer_token_file {
        let credentials = file(path);
        settings = settings.authenticated(Authentication::Scheme { scheme: "Bearer".to_owned(), credentials });
    }
    if let Some(path) = &args.tls_ca_file {
        settings = settings.trusting(path.clone());
    }
    if let (Some(cert), Some(key)) = (&args.tls_cert_file, &args.tls_key_file) {
        settings = settings.identified(cert.clone(), key.clone());
    }
    if args.tls_insecure_skip_verify {
        settings = settings.trusting_anyone();
    }
    for header in &args.headers {
        let (name, value) = header
            .split_once([':', '='])
            .with_context(|| format!("{header:?} is not a header; write 'NAME: VALUE'"))?;
        settings = settings.with_header(name.trim(), Secret::new(value.trim())).map_err(|error| anyhow!(error))?;
    }
    Ok(settings)
}
