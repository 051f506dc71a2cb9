//! The relay that takes our mail: how to reach it, how to say who we are, what its replies mean.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use config::{Mapping, Node, Secret, SecretSource};
use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters, TlsParametersBuilder,
};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};

use crate::SendError;
use crate::http::one_line;

/// For the whole conversation.
const TIMEOUT: Duration = Duration::from_secs(30);
const SUBMISSIONS_PORT: u16 = 465;

/// What `global` says about mail.
#[derive(Debug, Clone, Default)]
pub(crate) struct SmtpDefaults {
    pub(crate) from: Option<String>,
    hello: Option<String>,
    smarthost: Option<(String, u16)>,
    username: Option<String>,
    password: Option<SecretSource>,
    identity: Option<String>,
    require_tls: Option<bool>,
    implicit_tls: Option<bool>,
    tls: Option<TlsSettings>,
}

#[derive(Debug, Clone, Default)]
struct TlsSettings {
    ca_file: Option<PathBuf>,
    insecure_skip_verify: bool,
    server_name: Option<String>,
}

impl SmtpDefaults {
    /// Asks the `global` section for its `smtp_*` keys.
    pub(crate) fn decode(fields: &Mapping<'_>) -> Self {
        for key in ["smtp_auth_secret", "smtp_auth_secret_file"] {
            fields.unsupported(key, "CRAM-MD5 is obsolete; use smtp_auth_password");
        }
        Self {
            from: fields.string("smtp_from"),
            hello: fields.string("smtp_hello"),
            smarthost: fields.get("smtp_smarthost").and_then(|n| n.parse(parse_smarthost)),
            username: fields.string("smtp_auth_username"),
            password: SecretSource::decode(fields, "smtp_auth_password", "smtp_auth_password_file"),
            identity: fields.string("smtp_auth_identity"),
            require_tls: fields.bool("smtp_require_tls"),
            implicit_tls: fields.bool("smtp_force_implicit_tls"),
            tls: fields.get("smtp_tls_config").and_then(|n| TlsSettings::decode(&n)),
        }
    }
}

impl TlsSettings {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let fields = node.mapping()?;
        let out = Self {
            ca_file: fields.path("ca_file"),
            insecure_skip_verify: fields.bool("insecure_skip_verify").unwrap_or(false),
            server_name: fields.string("server_name"),
        };
        for key in ["ca", "cert", "key", "cert_file", "key_file", "min_version", "max_version"] {
            fields.unsupported(key, "use ca_file, insecure_skip_verify and server_name");
        }
        fields.finish();
        Some(out)
    }

    fn build(&self, host: &str) -> Result<TlsParameters, String> {
        let name = self.server_name.clone().unwrap_or_else(|| host.to_owned());
        let mut builder = TlsParametersBuilder::new(name).dangerous_accept_invalid_certs(self.insecure_skip_verify);
        if let Some(path) = &self.ca_file {
            let path_shown = path.display();
            let pem = std::fs::read(path).map_err(|e| format!("cannot read {path_shown}: {e}; check the path"))?;
            let certificate = Certificate::from_pem(&pem).map_err(|e| format!("{path_shown}: {e}"))?;
            builder = builder.certificate_store(CertificateStore::None).add_root_certificate(certificate);
        }
        builder.build().map_err(|e| e.to_string())
    }
}

fn parse_smarthost(written: &str) -> Result<(String, u16), String> {
    let problem = || format!("{written:?} is not HOST:PORT; write for example smtp.example.com:587");
    let (host, port) = written.rsplit_once(':').ok_or_else(problem)?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().map_err(|_| problem())?;
    if host.is_empty() || host.contains(char::is_whitespace) { Err(problem()) } else { Ok((host.to_owned(), port)) }
}

struct Login {
    username: String,
    password: Option<SecretSource>,
    identity: String,
}

enum Encryption {
    None,
    StartTls(TlsParameters),
    Implicit(TlsParameters),
}

/// A smarthost and how to talk to it.
pub(crate) struct Relay {
    host: String,
    port: u16,
    hello: ClientId,
    login: Option<Login>,
    encryption: Encryption,
}

impl Relay {
    /// Asks an `email_configs` entry for what concerns the relay.
    pub(crate) fn decode(fields: &Mapping<'_>, defaults: &SmtpDefaults) -> Option<Self> {
        let own_host = fields.get("smarthost").map(|n| n.parse(parse_smarthost));
        let smarthost = own_host.unwrap_or_else(|| {
            if defaults.smarthost.is_none() {
                fields.node().problem("smarthost is missing; give smarthost, or smtp_smarthost in global");
            }
            defaults.smarthost.clone()
        });
        for key in ["auth_secret", "auth_secret_file"] {
            fields.unsupported(key, "CRAM-MD5 is obsolete; use auth_password");
        }
        let username = fields.string("auth_username").or_else(|| defaults.username.clone()).filter(|u| !u.is_empty());
        let password = SecretSource::decode(fields, "auth_password", "auth_password_file");
        let password = password.or_else(|| defaults.password.clone());
        let identity = fields.string("auth_identity").or_else(|| defaults.identity.clone()).unwrap_or_default();
        let hello = fields.string("hello").or_else(|| defaults.hello.clone());
        let require_tls = fields.bool("require_tls").or(defaults.require_tls).unwrap_or(true);
        let implicit = fields.bool("force_implicit_tls").or(defaults.implicit_tls);
        let tls = fields.get("tls_config").map(|n| TlsSettings::decode(&n));
        let (host, port) = smarthost?;
        let tls = match tls {
            Some(own) => own?,
            None => defaults.tls.clone().unwrap_or_default(),
        };
        let parameters = tls.build(&host).map_err(|e| fields.node().problem(e)).ok()?;
        let encryption = if implicit.unwrap_or(port == SUBMISSIONS_PORT) {
            Encryption::Implicit(parameters)
        } else if require_tls {
            Encryption::StartTls(parameters)
        } else {
            Encryption::None
        };
        let hello = ClientId::Domain(hello.unwrap_or_else(|| "localhost".to_owned()));
        Some(Self {
            host,
            port,
            hello,
            login: username.map(|username| Login { username, password, identity }),
            encryption,
        })
    }

    /// Hands one mail over.
    pub(crate) async fn deliver(&self, from: Address, to: &[Address], mail: &[u8]) -> Result<(), SendError> {
        match tokio::time::timeout(TIMEOUT, self.converse(from, to, mail)).await {
            Ok(result) => result,
            Err(_) => Err(SendError::retry(format!("{}:{} did not answer in time", self.host, self.port))),
        }
    }

    async fn converse(&self, from: Address, to: &[Address], mail: &[u8]) -> Result<(), SendError> {
        let mut connection = self.connect().await?;
        if let Some(login) = &self.login {
            login.say(&mut connection).await?;
        }
        let mut parameters = Vec::new();
        let international = std::iter::once(&from).chain(to).any(|a| !AsRef::<str>::as_ref(a).is_ascii());
        if international {
            parameters.push(MailParameter::SmtpUtfEight);
        }
        if !mail.is_ascii() && connection.server_info().supports_feature(Extension::EightBitMime) {
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        connection.command(Mail::new(Some(from), parameters)).await.map_err(|e| classify("the sender", &e))?;
        address(&mut connection, to).await?;
        connection.command(Data).await.map_err(|e| classify("the mail", &e))?;
        connection.message(mail).await.map_err(|e| classify("the mail", &e))?;
        // The mail is theirs now; how the conversation ends does not matter.
        let _ = connection.quit().await;
        Ok(())
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, SendError> {
        let implicit = match &self.encryption {
            Encryption::Implicit(parameters) => Some(parameters.clone()),
            _ => None,
        };
        let server = (self.host.as_str(), self.port);
        let connected = AsyncSmtpConnection::connect_tokio1(server, Some(TIMEOUT), &self.hello, implicit, None);
        let mut connection = connected.await.map_err(|e| classify("the connection", &e))?;
        if let Encryption::StartTls(parameters) = &self.encryption {
            if !connection.can_starttls() {
                return Err(SendError::permanent(format!(
                    "{}:{} does not offer STARTTLS; use another port, or require_tls: false",
                    self.host, self.port
                )));
            }
            connection.starttls(parameters.clone(), &self.hello).await.map_err(|e| classify("STARTTLS", &e))?;
        }
        Ok(connection)
    }
}

impl Login {
    async fn say(&self, connection: &mut AsyncSmtpConnection) -> Result<(), SendError> {
        let password = match &self.password {
            Some(source) => Secret::new(source.read()?),
            None => Secret::new(""),
        };
        let plain = connection.server_info().supports_auth_mechanism(Mechanism::Plain);
        let said = if plain && !self.identity.is_empty() {
            // To act for somebody else; lettre's own way cannot say so.
            let message = format!("{}\0{}\0{}", self.identity, self.username, password.expose());
            connection.command(format!("AUTH PLAIN {}\r\n", STANDARD.encode(message))).await
        } else {
            let credentials = Credentials::new(self.username.clone(), password.expose().to_owned());
            connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await
        };
        said.map(|_| ()).map_err(|e| classify("the login", &e))
    }
}

/// Names the recipients. One that is refused for good does not keep the others from hearing; one that is refused for
/// now makes the whole mail wait, since nothing was sent yet.
async fn address(connection: &mut AsyncSmtpConnection, to: &[Address]) -> Result<(), SendError> {
    let mut refusals = Vec::new();
    for recipient in to {
        match connection.command(Rcpt::new(recipient.clone(), Vec::new())).await {
            Ok(_) => {}
            Err(error) if error.is_permanent() => refusals.push((recipient, classify("the recipient", &error))),
            Err(error) => return Err(classify("the recipient", &error)),
        }
    }
    for (recipient, error) in &refusals {
        tracing::warn!(%recipient, %error, "a recipient was refused; correct the address");
    }
    match refusals.pop() {
        Some((_, error)) if refusals.len() + 1 == to.len() => Err(error),
        _ => Ok(()),
    }
}

/// 4xx, broken connections and TLS may pass; 5xx and what the server cannot do stay.
fn classify(what: &str, error: &Error) -> SendError {
    let mut reason = format!("{what}: {error}");
    let mut source = std::error::Error::source(error).and_then(std::error::Error::source);
    while let Some(cause) = source {
        reason.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    let reason = one_line(&reason);
    if error.is_permanent() || error.is_client() { SendError::permanent(reason) } else { SendError::retry(reason) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smarthosts_are_host_and_port() {
        let cases = [("a.example:25", Some(("a.example", 25))), ("[::1]:587", Some(("::1", 587)))];
        for (written, want) in cases {
            assert_eq!(parse_smarthost(written).ok(), want.map(|(h, p)| (h.to_owned(), p)), "{written}");
        }
        for written in ["", "a", ":25", "a:x", "a:70000", "a b:25"] {
            assert!(parse_smarthost(written).is_err(), "{written}");
        }
    }
}
