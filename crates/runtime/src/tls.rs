//! Trust in the certificates of a `ca_file`: in what they have signed, and in a server that shows one of them itself.
//!
//! A certificate that `openssl req -x509` made is its own authority, and is what people put into `ca_file` and give to the
//! server (Prometheus' guide to TLS does). rustls alone refuses it: authorities must not serve.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// What webpki says of an authority that serves. It looks at the dates before.
const IS_AUTHORITY: &str = "CaUsedAsEndEntity";

/// Files that are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No PEM, or not of the kind that was asked for.
    #[error("cannot read PEM: {0}; write blocks that begin with BEGIN CERTIFICATE or BEGIN PRIVATE KEY")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// Certificates and keys that rustls refuses.
    #[error("cannot use a certificate: {0}; check what the file holds")]
    Refused(#[from] Error),
    /// The same, while trust was set up.
    #[error("cannot use the certificates of ca_file: {0}; check what the file holds")]
    Trust(#[from] rustls::client::VerifierBuilderError),
}

/// The certificates of a file; perhaps none.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    Ok(CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>()?)
}

/// A client that trusts these certificates, of which there is one at least, and shows those of `identity` (PEM of
/// certificates, and of their key).
pub(crate) fn client(
    trusted: Vec<CertificateDer<'static>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in &trusted {
        roots.add(certificate.clone())?;
    }
    let webpki = WebPkiServerVerifier::builder(Arc::new(roots)).build()?;
    let builder =
        ClientConfig::builder().dangerous().with_custom_certificate_verifier(Arc::new(Verifier { webpki, trusted }));
    let mut config = match identity {
        Some((own, key)) => builder.with_client_auth_cert(certificates(&own)?, PrivateKeyDer::from_pem_slice(&key)?)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[derive(Debug)]
struct Verifier {
    webpki: Arc<WebPkiServerVerifier>,
    trusted: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.webpki.verify_server_cert(shown, intermediates, name, ocsp, now) {
            Err(Error::InvalidCertificate(CertificateError::Other(why)))
                if why.to_string() == IS_AUTHORITY && self.trusted.iter().any(|known| known == shown) =>
            {
                rustls::client::verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, shown, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, KeyPair};

    use super::*;

    fn certificate(name: &str, is_ca: IsCa, is_over: bool) -> Certificate {
        let mut params = CertificateParams::new([name.to_owned()]).expect("is a name");
        params.is_ca = is_ca;
        if is_over {
            params.not_after = rcgen::date_time_ymd(2000, 1, 1);
        }
        params.self_signed(&KeyPair::generate().expect("makes a key")).expect("signs")
    }

    #[test]
    fn a_server_may_show_what_is_trusted_and_nothing_else() {
        crate::install_tls();
        let authority = || IsCa::Ca(BasicConstraints::Unconstrained);
        let [own, plain, other, over] = [
            certificate("a.example", authority(), false),
            certificate("a.example", IsCa::NoCa, false),
            certificate("a.example", authority(), false),
            certificate("a.example", authority(), true),
        ];
        let verifies = |shown: &Certificate, name: &'static str| {
            let trusted: Vec<_> = [&own, &plain, &over].map(|c| c.der().clone()).into();
            let mut roots = RootCertStore::empty();
            trusted.iter().for_each(|c| roots.add(c.clone()).expect("is a certificate"));
            let webpki = WebPkiServerVerifier::builder(Arc::new(roots)).build().expect("builds");
            let name = ServerName::try_from(name).expect("is a name");
            Verifier { webpki, trusted }.verify_server_cert(shown.der(), &[], &name, &[], UnixTime::now()).is_ok()
        };
        assert!(verifies(&own, "a.example"));
        assert!(verifies(&plain, "a.example"));
        assert!(!verifies(&own, "b.example"), "another name");
        assert!(!verifies(&other, "a.example"), "another authority");
        assert!(!verifies(&over, "a.example"), "over");
    }
}
