//! HTTP clients as Prometheus configures them: authentication, TLS, headers, proxies.

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use config::{Mapping, Node, Secret, SecretSource};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Identity, Method, Proxy, RequestBuilder, Url, redirect};

use crate::tls;

/// A client that cannot be built, or a secret that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HttpClientError {
    /// A file that a setting names.
    #[error("cannot read {path}: {source}; check the path and its rights")]
    File {
        /// The file.
        path: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A `ca_file` that would trust nobody.
    #[error("{0} holds no certificate; write PEM blocks that begin with BEGIN CERTIFICATE")]
    NoCertificate(String),
    /// Certificates and keys of `tls_config`.
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
    /// A secret's file.
    #[error(transparent)]
    Secret(#[from] config::SecretError),
    /// What the library refused.
    #[error("cannot build an HTTP client: {0}")]
    Build(#[from] reqwest::Error),
    /// A secret with characters that no header can carry.
    #[error("the credentials in {0} contain characters that a header cannot carry")]
    Credentials(String),
}

/// How a client says who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication {
    /// `basic_auth`
    Basic {
        /// The user's name.
        username: String,
        /// The password.
        password: Option<SecretSource>,
    },
    /// `authorization`, `bearer_token`, `bearer_token_file`
    Scheme {
        /// For example `Bearer`.
        scheme: String,
        /// What follows it.
        credentials: SecretSource,
    },
}

/// The HTTP client settings that stand inside scrape, remote-write, Alertmanager and receiver sections.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HttpClientConfig {
    authentication: Option<Authentication>,
    ca_file: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
    insecure_skip_verify: bool,
    proxy_url: Option<Url>,
    no_redirects: bool,
    headers: Vec<(String, Secret)>,
}

impl HttpClientConfig {
    /// Asks a section for the client's keys; the caller goes on with its own and finishes the section.
    pub fn decode(fields: &Mapping<'_>) -> Self {
        let mut out = Self { authentication: authentication(fields), ..Self::default() };
        let tls = fields.get("tls_config");
        let tls_is_fine = tls.as_ref().is_none_or(|node| out.decode_tls(node));
        out.proxy_url = fields.get("proxy_url").and_then(|n| n.parse(Url::parse));
        out.no_redirects = fields.bool("follow_redirects") == Some(false);
        out.headers = headers(fields);
        fields.bool("enable_http2");
        for key in ["oauth2", "sigv4", "azuread", "google_iam"] {
            fields.unsupported(key, "use basic_auth, authorization or tls_config");
        }
        for key in ["no_proxy", "proxy_from_environment", "proxy_connect_header"] {
            fields.unsupported(key, "use proxy_url");
        }
        // What building refuses is found here, with its line: a reload that finds it later would be half applied.
        let may_fail = out.ca_file.is_some() || out.identity.is_some() || out.proxy_url.is_some();
        if may_fail
            && tls_is_fine
            && let Err(error) = out.build()
        {
            tls.unwrap_or(fields.node()).problem(error);
        }
        out
    }

    /// False where a problem was reported.
    fn decode_tls(&mut self, node: &Node<'_>) -> bool {
        let Some(fields) = node.mapping() else { return false };
        self.ca_file = fields.path("ca_file");
        self.insecure_skip_verify = fields.bool("insecure_skip_verify").unwrap_or(false);
        match (fields.path("cert_file"), fields.path("key_file")) {
            (Some(cert), Some(key)) => self.identity = Some((cert, key)),
            (None, None) => {}
            _ => node.problem("cert_file and key_file belong together; give both"),
        }
        for key in ["ca", "cert", "key", "key_ref", "cert_ref", "ca_ref"] {
            fields.unsupported(key, "put it into a file and use ca_file, cert_file and key_file");
        }
        for key in ["server_name", "min_version", "max_version"] {
            fields.unsupported(key, "remove it");
        }
        fields.finish();
        let mut fine = true;
        for path in self.ca_file.iter().chain(self.identity.iter().flat_map(|(c, k)| [c, k])) {
            if let Err(error) = std::fs::metadata(path) {
                node.problem(format!("cannot read {}: {error}; check the path", path.display()));
                fine = false;
            }
        }
        fine
    }

    /// The same settings with another authentication: for whoever has flags and no section.
    #[must_use]
    pub fn authenticated(self, authentication: Authentication) -> Self {
        Self { authentication: Some(authentication), ..self }
    }

    /// The same settings, trusting nobody but whom the certificates in a file vouch for.
    #[must_use]
    pub fn trusting(self, ca_file: PathBuf) -> Self {
        Self { ca_file: Some(ca_file), ..self }
    }

    /// The same settings, trusting whoever answers.
    #[must_use]
    pub fn trusting_anyone(self) -> Self {
        Self { insecure_skip_verify: true, ..self }
    }

    /// The same settings with a certificate of our own and its key.
    #[must_use]
    pub fn identified(self, cert_file: PathBuf, key_file: PathBuf) -> Self {
        Self { identity: Some((cert_file, key_file)), ..self }
    }

    /// The same settings with one more header.
    ///
    /// # Errors
    /// When it is no header, with what to do.
    pub fn with_header(mut self, name: &str, value: Secret) -> Result<Self, String> {
        if HeaderName::try_from(name).is_err() || HeaderValue::try_from(value.expose()).is_err() {
            return Err(format!("{name:?} with this value is not an HTTP header; use visible ASCII"));
        }
        self.headers.push((name.to_owned(), value));
        Ok(self)
    }

    /// Builds the client. Timeouts are for each request to set.
    ///
    /// # Errors
    /// When a certificate or key cannot be read or is malformed.
    pub fn build(&self) -> Result<HttpClient, HttpClientError> {
        install_tls();
        let mut builder = reqwest::Client::builder()
            .user_agent(user_agent())
            .connect_timeout(Duration::from_secs(10))
            .tcp_nodelay(true)
            .tls_danger_accept_invalid_certs(self.insecure_skip_verify);
        let trusted = match &self.ca_file {
            Some(path) => tls::certificates(&read(path)?)?,
            None => Vec::new(),
        };
        if let Some(path) = self.ca_file.as_ref().filter(|_| trusted.is_empty()) {
            return Err(HttpClientError::NoCertificate(path.display().to_string()));
        }
        let identity = match &self.identity {
            Some((cert, key)) => Some((read(cert)?, read(key)?)),
            None => None,
        };
        if !trusted.is_empty() && !self.insecure_skip_verify {
            builder = builder.tls_backend_preconfigured(tls::client(trusted, identity)?);
        } else if let Some((cert, key)) = identity {
            builder = builder.identity(Identity::from_pem(&[cert, b"\n".to_vec(), key].concat())?);
        }
        // Like Prometheus, the environment's proxies do not count unless the configuration says so.
        builder = match &self.proxy_url {
            Some(url) => builder.proxy(Proxy::all(url.clone())?),
            None => builder.no_proxy(),
        };
        if self.no_redirects {
            builder = builder.redirect(redirect::Policy::none());
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            // Both were checked when the section was decoded.
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value.expose())) {
                headers.append(name, value);
            }
        }
        let client = builder.default_headers(headers).build()?;
        Ok(HttpClient { client, authentication: self.authentication.clone() })
    }
}

fn authentication(fields: &Mapping<'_>) -> Option<Authentication> {
    let basic = fields.get("basic_auth").and_then(|n| {
        let fields = n.mapping()?;
        let username = fields.string("username").unwrap_or_default();
        let password = SecretSource::decode(&fields, "password", "password_file");
        fields.unsupported("username_file", "use username");
        fields.finish();
        Some(Authentication::Basic { username, password })
    });
    let scheme = fields.get("authorization").and_then(|n| {
        let fields = n.mapping()?;
        let scheme = fields.string("type").unwrap_or_else(|| "Bearer".to_owned());
        if scheme.eq_ignore_ascii_case("basic") {
            n.problem("type must not be basic; use basic_auth");
        }
        let credentials = SecretSource::decode(&fields, "credentials", "credentials_file");
        if credentials.is_none() {
            n.problem("credentials are missing; give credentials or credentials_file");
        }
        fields.finish();
        Some(Authentication::Scheme { scheme, credentials: credentials? })
    });
    let bearer = SecretSource::decode(fields, "bearer_token", "bearer_token_file")
        .map(|credentials| Authentication::Scheme { scheme: "Bearer".to_owned(), credentials });
    let mut given = [basic, scheme, bearer].into_iter().flatten();
    let first = given.next();
    if given.next().is_some() {
        fields.node().problem("at most one of basic_auth, authorization and bearer_token may be given; keep one");
    }
    first
}

/// `headers: {Name: value}` as in `remote_write`, and `http_headers: {Name: {values: [..], secrets: [..]}}`.
fn headers(fields: &Mapping<'_>) -> Vec<(String, Secret)> {
    let mut out = Vec::new();
    let mut add = |name: &str, value: Node<'_>| {
        let Some(text) = value.text() else { return };
        if HeaderName::try_from(name).is_err() || HeaderValue::try_from(text).is_err() {
            value.problem(format!("{name:?} with this value is not an HTTP header; use visible ASCII"));
        } else if ["authorization", "host", "content-encoding", "content-length", "content-type"]
            .contains(&name.to_ascii_lowercase().as_str())
        {
            value.problem(format!(
                "the header {name:?} is set by Highwater; remove it (authorization has a section of its own)"
            ));
        } else {
            out.push((name.to_owned(), Secret::new(text)));
        }
    };
    if let Some(section) = fields.get("headers").and_then(|n| n.mapping()) {
        section.entries().for_each(|(name, _, value)| add(name, value));
    }
    if let Some(section) = fields.get("http_headers").and_then(|n| n.mapping()) {
        for (name, _, value) in section.entries() {
            let Some(fields) = value.mapping() else { continue };
            for item in fields.items("values").into_iter().chain(fields.items("secrets")) {
                add(name, item);
            }
            fields.unsupported("files", "use values or secrets");
            fields.finish();
        }
    }
    out
}

fn read(path: &Path) -> Result<Vec<u8>, HttpClientError> {
    std::fs::read(path).map_err(|source| HttpClientError::File { path: path.display().to_string(), source })
}

/// A client with its authentication. Cheap to clone; connections are shared and kept alive.
#[derive(Debug, Clone)]
pub struct HttpClient {
    client: reqwest::Client,
    authentication: Option<Authentication>,
}

impl HttpClient {
    /// Begins a request, authentication included.
    ///
    /// # Errors
    /// When a credentials file cannot be read now.
    pub fn request(&self, method: Method, url: Url) -> Result<RequestBuilder, HttpClientError> {
        let request = self.client.request(method, url);
        Ok(match &self.authentication {
            None => request,
            Some(Authentication::Basic { username, password }) => {
                request.basic_auth(username, password.as_ref().map(SecretSource::read).transpose()?)
            }
            Some(Authentication::Scheme { scheme, credentials }) => {
                let mut value = HeaderValue::try_from(format!("{scheme} {}", credentials.read()?)).map_err(|_| {
                    HttpClientError::Credentials(match credentials {
                        SecretSource::Inline(_) => "the configuration".to_owned(),
                        SecretSource::File(path) => path.display().to_string(),
                    })
                })?;
                value.set_sensitive(true);
                request.header(AUTHORIZATION, value)
            }
        })
    }
}

/// Makes ring the process' TLS provider; later calls do nothing.
pub fn install_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Fails only when a provider is there already, which then is the one we want.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// `Highwater/VERSION`.
pub fn user_agent() -> &'static str {
    concat!("Highwater/", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::Document;

    fn check(text: &str) -> (HttpClientConfig, Vec<String>) {
        let document = Document::parse("c.yml".as_ref(), text).expect("is YAML");
        let fields = document.root().mapping().expect("is a mapping");
        let client = HttpClientConfig::decode(&fields);
        fields.finish();
        let problems = document.finish().err().map(|p| p.0.into_iter().map(|p| p.message).collect());
        (client, problems.unwrap_or_default())
    }

    #[test]
    fn decodes_what_prometheus_knows() {
        let (client, problems) = check(
            "basic_auth: {username: u, password: p}\nheaders: {X-Scope: a}\ntls_config: {insecure_skip_verify: true}\n",
        );
        assert_eq!(problems, Vec::<String>::new());
        assert!(client.insecure_skip_verify);
        let request =
            client.build().and_then(|c| c.request(Method::GET, Url::parse("http://127.0.0.1:1/").expect("a URL")));
        let request = request.expect("builds").build().expect("is a request");
        assert_eq!(request.headers()[AUTHORIZATION], "Basic dTpw");
        assert!(!format!("{client:?}").contains("\"p\""));
    }

    #[test]
    fn certificates_are_read_before_they_are_needed() {
        // This file exists and is no certificate.
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        for key in [format!("ca_file: {file}"), format!("cert_file: {file}, key_file: {file}")] {
            let (_, problems) = check(&format!("tls_config: {{{key}}}\n"));
            assert_eq!(problems.len(), 1, "{key}: {problems:?}");
        }
    }

    #[test]
    fn names_what_does_not_fit() {
        let cases = [
            ("bearer_token: a\nbasic_auth: {username: b}\n", "at most one of basic_auth"),
            ("authorization: {type: Basic, credentials: x}\n", "use basic_auth"),
            ("tls_config: {ca_file: /nonexistent/ca.pem}\n", "cannot read /nonexistent/ca.pem"),
            ("tls_config: {cert_file: a}\n", "belong together"),
            ("proxy_url: ':'\n", "relative URL"),
            ("oauth2: {}\n", "oauth2 is not supported yet"),
            ("headers: {Host: x}\n", "set by Highwater"),
        ];
        for (text, want) in cases {
            let (_, problems) = check(text);
            assert!(problems.iter().any(|p| p.contains(want)), "{text:?}: {problems:?}");
        }
    }
}
