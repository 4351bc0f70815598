//! Encryption of the connections to the database, with the provider that the server has as well.

use std::future::poll_fn;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_postgres::{AsyncMessage, Client};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::sync::CancellationToken;

use super::fault::{Fault, Said, failed};
use super::url::{Trust, Url};

/// Notifications that wait to be read.
const HEARD_MAX: usize = 1_000;

/// What fails where `sslrootcert` is not what it should be.
const READING_ROOTS: &str = "reading what the database's certificate is verified with";

/// Has the server notice within half a minute that nobody is at the other end any more: it holds locks for whoever was.
pub(super) const NOTICED: &str = "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; \
    SET tcp_keepalives_count = 3; SET tcp_user_timeout = 25000;";

/// How long a statement of a connection that listens may take.
const NOTIFIED_WITHIN: Duration = Duration::from_secs(5);

/// What a connection hears.
#[derive(Debug)]
pub(super) struct Heard {
    payloads: mpsc::Receiver<String>,
    has_lost: Arc<AtomicBool>,
}

impl Heard {
    /// The next payload; `None` after the end of the connection.
    pub(super) async fn next(&mut self) -> Option<String> {
        self.payloads.recv().await
    }

    /// Whether any was left out since this was asked last, for want of room.
    pub(super) fn takes_loss(&self) -> bool {
        self.has_lost.swap(false, Ordering::AcqRel)
    }
}

/// Makes connections.
#[derive(Clone)]
pub(super) struct Connector {
    tls: MakeRustlsConnect,
    application: String,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl Connector {
    /// A connector for `url`; its connections bear the name of `application`.
    pub(super) fn new(url: &Url, application: String) -> Result<Self, Fault> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let failed = |error: &dyn std::error::Error| Fault::Database {
            operation: READING_ROOTS,
            said: Said::of(error.to_string()),
        };
        let builder = ClientConfig::builder_with_provider(provider.clone());
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?;
        let config = match url.trust() {
            Trust::Anybody => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody(provider))),
            Trust::SignedBy(file) => {
                let roots = Arc::new(roots(file)?);
                let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
                let verifier = verifier.map_err(|error| failed(&error))?;
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(AnyName(verifier)))
            }
            Trust::Named(file) => builder.with_root_certificates(roots(file)?),
        };
        Ok(Self {
            tls: MakeRustlsConnect::new(config.with_no_client_auth()),
            application,
        })
    }

    /// A connection; what it receives is read by a task that ends with it, which the token tells.
    pub(super) async fn connect(&self, url: &Url) -> Result<(Client, CancellationToken), Fault> {
        let config = url.config(&self.application);
        let connected = config.connect(self.tls.clone()).await;
        let (client, connection) = connected.map_err(failed("connecting to PostgreSQL"))?;
        let ended = CancellationToken::new();
        let ends = ended.clone().drop_guard();
        tokio::spawn(async move {
            let _ends = ends;
            if let Err(error) = connection.await {
                tracing::debug!(error = %Said::from(error), "a connection to the database has ended");
            }
        });
        Ok((client, ended))
    }

    /// A connection that listens to a channel, and what it hears there until it ends. The task that reads it never waits
    /// for whoever listens: he may wait for an answer that only it can read.
    pub(super) async fn listen(&self, url: &Url, channel: &str) -> Result<(Client, Heard), Fault> {
        let config = url.config(&self.application);
        let connected = config.connect(self.tls.clone()).await;
        let (client, mut connection) = connected.map_err(failed("connecting to PostgreSQL"))?;
        let (heard, payloads) = mpsc::channel(HEARD_MAX);
        let has_lost = Arc::new(AtomicBool::new(false));
        let lost = has_lost.clone();
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                let AsyncMessage::Notification(notification) = message else {
                    continue;
                };
                match heard.try_send(notification.payload().to_owned()) {
                    Ok(()) => {}
                    Err(TrySendError::Full(_)) => lost.store(true, Ordering::Release),
                    Err(TrySendError::Closed(_)) => return,
                }
            }
        });
        // Hints need not be on disk: their commit must not wait for it.
        let listen = format!(
            "{NOTICED} SET synchronous_commit = off; SET statement_timeout = {}; LISTEN \"{channel}\"",
            NOTIFIED_WITHIN.as_millis()
        );
        client
            .batch_execute(&listen)
            .await
            .map_err(failed("listening to replicas"))?;
        Ok((client, Heard { payloads, has_lost }))
    }

    /// What encrypts, for a request to cancel a statement.
    pub(super) fn tls(&self) -> MakeRustlsConnect {
        self.tls.clone()
    }
}

fn roots(file: &Path) -> Result<RootCertStore, Fault> {
    let failed = |error: &dyn std::fmt::Display| Fault::Database {
        operation: READING_ROOTS,
        said: Said::of(format!("{}: {error}", file.display())),
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| failed(&error))? {
        let certificate = certificate.map_err(|error| failed(&error))?;
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    if roots.is_empty() {
        return Err(failed(&"it holds no certificate in PEM"));
    }
    Ok(roots)
}

/// Encrypts without a look at who answers, as `sslmode=require` has it.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Verifies who signed a certificate, not whom it names, as `sslmode=verify-ca` has it.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self
            .0
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // The name is looked at last.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
