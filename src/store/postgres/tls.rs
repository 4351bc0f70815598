//! Encryption of the connections to the database, with the provider that the server has as well.

use std::future::poll_fn;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::fault::{Fault, Said, failed};
use super::url::{Trust, Url};

/// Notifications that wait to be read.
const HEARD_MAX: usize = 1_000;

/// What fails where `sslrootcert` is not what it should be.
const READING_ROOTS: &str = "reading what the database's certificate is verified with";

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

    /// A connection; what it receives is read by a task that ends with it.
    pub(super) async fn connect(&self, url: &Url) -> Result<Client, Fault> {
        let config = url.config(&self.application);
        let connected = config.connect(self.tls.clone()).await;
        let (client, connection) = connected.map_err(failed("connecting to PostgreSQL"))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = %Said::from(error), "a connection to the database has ended");
            }
        });
        Ok(client)
    }

    /// A connection that listens to a channel, and what it hears there until it ends.
    pub(super) async fn listen(
        &self,
        url: &Url,
        channel: &str,
    ) -> Result<(Client, mpsc::Receiver<String>), Fault> {
        let config = url.config(&self.application);
        let connected = config.connect(self.tls.clone()).await;
        let (client, mut connection) = connected.map_err(failed("connecting to PostgreSQL"))?;
        let (heard, payloads) = mpsc::channel(HEARD_MAX);
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notification(notification) = message
                    && heard.send(notification.payload().to_owned()).await.is_err()
                {
                    return;
                }
            }
        });
        let listen = format!("LISTEN \"{channel}\"");
        client
            .batch_execute(&listen)
            .await
            .map_err(failed("listening to replicas"))?;
        Ok((client, payloads))
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
