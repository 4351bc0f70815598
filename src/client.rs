//! Talking to a sessiond: where it is, a connection to it, and why it said no.
//!
//! [`Client`] is one connection with a namespace; it gives out the generated clients of [`crate::pb::client`], set so
//! that every answer which the service may give fits. [`Failure`] is a failed call with its reason. [`play`] writes
//! conversations as a live thread. Nothing here retries a call unless it says so, and nothing here knows the server.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use crate::pb::client::engine_service_client::EngineServiceClient;
use crate::pb::client::session_service_client::SessionServiceClient;
use crate::pb::client::thread_service_client::ThreadServiceClient;

pub mod engine;
mod failure;
pub mod play;

pub use failure::{Failure, Violation, code_name};

/// The port of an address that names none.
pub const PORT_DEFAULT: u16 = 50551;

/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a silent connection is asked whether it lives, and how long it may take to answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer: a single record, with room for what stands around it.
const ANSWER_BYTES_MAX: usize = 80 << 20;

/// Where a sessiond listens: `host:port`, `http://host:port`, `https://host:port` or `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    uri: String,
}

/// A text that is no address.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is no address: {reason}")]
pub struct InvalidAddress {
    text: String,
    reason: &'static str,
}

/// A connection that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot reach {address}")]
pub struct ConnectError {
    /// Where it was tried.
    pub address: Address,
    #[source]
    source: tonic::transport::Error,
}

/// One connection to a sessiond, for one namespace. Cheap to clone; reconnects by itself when the server was away.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    namespace: String,
}

impl Address {
    /// The address as a URI: `http://host:port`, `https://host:port` or `unix:PATH`.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Whether what is said there is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.uri.starts_with("https:")
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = |reason| InvalidAddress {
            text: text.to_owned(),
            reason,
        };
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.strip_prefix("//").unwrap_or(path) {
                "" => Err(invalid("a path follows `unix:`")),
                path => Ok(Self {
                    uri: format!("unix:{path}"),
                }),
            };
        }
        let (scheme, rest) = match text.strip_prefix("https://") {
            Some(rest) => ("https", rest),
            None => ("http", text.strip_prefix("http://").unwrap_or(text)),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let authority: http::uri::Authority = match rest {
            port if port.starts_with(':') => format!("127.0.0.1{port}").parse(),
            host => host.parse(),
        }
        .map_err(|_| invalid("want `host:port`, `http://host:port`, `https://host:port` or `unix:PATH`"))?;
        // An authority takes any text after the colon; here it must be a port.
        match authority.as_str().rsplit_once(':') {
            Some((_, port)) if !port.contains(']') && authority.port_u16().is_none() => {
                Err(invalid("what follows the colon is no port"))
            }
            Some(_) | None => {
                let port = authority.port_u16().unwrap_or(PORT_DEFAULT);
                Ok(Self {
                    uri: format!("{scheme}://{}:{port}", authority.host()),
                })
            }
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.uri.strip_prefix("http://").unwrap_or(&self.uri))
    }
}

impl Client {
    /// Connects to `address`; what is called through the client is called in `namespace`, empty meaning `default`.
    pub async fn connect(address: &Address, namespace: impl Into<String>) -> Result<Self, ConnectError> {
        Self::connect_trusting(address, namespace, None).await
    }

    /// Connects as [`Client::connect`] does; an encrypted address must show a certificate by `authority`, in PEM.
    pub async fn connect_trusting(
        address: &Address,
        namespace: impl Into<String>,
        authority: Option<&[u8]>,
    ) -> Result<Self, ConnectError> {
        let failed = |source| ConnectError {
            address: address.clone(),
            source,
        };
        let mut endpoint = Endpoint::from_shared(address.uri.clone())
            .map_err(failed)?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT);
        if address.is_encrypted() {
            let certificates = authority.map(Certificate::from_pem);
            let tls = ClientTlsConfig::new().ca_certificates(certificates);
            endpoint = endpoint.tls_config(tls).map_err(failed)?;
        }
        let channel = endpoint.connect().await.map_err(failed)?;
        Ok(Self {
            channel,
            namespace: namespace.into(),
        })
    }

    /// The namespace, for a request.
    pub fn namespace(&self) -> String {
        self.namespace.clone()
    }

    /// Sessions: save, fork, resume, read, search, keep and move them.
    pub fn sessions(&self) -> SessionServiceClient<Channel> {
        SessionServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Threads, their turns and items.
    pub fn threads(&self) -> ThreadServiceClient<Channel> {
        ThreadServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Engines.
    pub fn engines(&self) -> EngineServiceClient<Channel> {
        EngineServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }
}

/// A new `request_id`: time-ordered, so that its index stays cheap.
pub fn request_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_take_the_forms_people_write() {
        for (text, uri) in [
            ("127.0.0.1:1", "http://127.0.0.1:1"),
            ("localhost", "http://localhost:50551"),
            (":7", "http://127.0.0.1:7"),
            ("[::1]", "http://[::1]:50551"),
            ("[::1]:9", "http://[::1]:9"),
            ("http://example.org:80/", "http://example.org:80"),
            ("https://example.org", "https://example.org:50551"),
            ("unix:/run/sessiond.sock", "unix:/run/sessiond.sock"),
            ("unix:///run/sessiond.sock", "unix:/run/sessiond.sock"),
            ("unix:relative", "unix:relative"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().uri(), uri, "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_addresses() {
        for text in [
            "",
            "unix:",
            "https://",
            "a b",
            "host:port",
            "host:70000",
            "host:",
            "a/b",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
