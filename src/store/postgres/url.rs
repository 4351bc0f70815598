//! Where the database is and how it is reached, as `postgres://user:password@host:port/name?sslmode=…`. The password is
//! shown nowhere.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// The port of a server where none is said.
const PORT_DEFAULT: u16 = 5432;

/// How long a connection may be silent before the server is asked whether it is there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(10);

/// How long what was sent may stay without an acknowledgement.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Where a database is and how it is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    config: Config,
    trust: Trust,
}

/// How far the server's certificate is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Nothing is encrypted, or whoever answers is trusted: `disable`, `prefer`, `require` without certificates.
    Anybody,
    /// It is signed by one of these: `verify-ca`, and `require` where they are given.
    SignedBy(PathBuf),
    /// It is that, and names the host: `verify-full`.
    Named(PathBuf),
}

/// Why this is no place of a database. Never says what was given: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Another kind of store.
    #[error("a store is sqlite:DIR or postgres://USER@HOST/DATABASE")]
    Scheme,
    /// It cannot be read.
    #[error("cannot be read as a postgres:// URL{0}")]
    Unreadable(String),
    /// `sslmode` is none that is known.
    #[error("sslmode is disable, prefer, require, verify-ca or verify-full")]
    SslMode,
    /// Nobody could be verified.
    #[error("sslmode=verify-ca and verify-full need sslrootcert=FILE")]
    NoRoots,
    /// Certificates that nobody would be verified with.
    #[error("sslrootcert=FILE needs sslmode=require, verify-ca or verify-full")]
    NeedlessRoots,
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers = self.servers();
        let hosts = servers.iter().map(|(host, port)| match port {
            &PORT_DEFAULT => host.clone(),
            port => format!("{host}:{port}"),
        });
        let hosts: Vec<String> = hosts.collect();
        f.write_str("postgres://")?;
        if let Some(user) = self.config.get_user() {
            write!(f, "{user}@")?;
        }
        write!(f, "{}/{}", hosts.join(","), self.name())
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(UrlError::Scheme);
        }
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let (mut mode, mut roots, mut rest) = (None, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", value)) => roots = Some(decoded(value)?),
                Some(_) | None => rest.push(pair),
            }
        }
        let plain = match rest.is_empty() {
            true => base.to_owned(),
            false => format!("{base}?{}", rest.join("&")),
        };
        let mut config = Config::from_str(&plain).map_err(|_| UrlError::Unreadable(String::new()))?;
        let (mode, trust) = match (mode, roots.map(PathBuf::from)) {
            (Some("disable"), None) => (SslMode::Disable, Trust::Anybody),
            (Some("prefer") | None, None) => (SslMode::Prefer, Trust::Anybody),
            (Some("disable" | "prefer") | None, Some(_)) => return Err(UrlError::NeedlessRoots),
            (Some("require"), None) => (SslMode::Require, Trust::Anybody),
            (Some("require" | "verify-ca"), Some(roots)) => (SslMode::Require, Trust::SignedBy(roots)),
            (Some("verify-full"), Some(roots)) => (SslMode::Require, Trust::Named(roots)),
            (Some("verify-ca" | "verify-full"), None) => return Err(UrlError::NoRoots),
            (Some(_), _) => return Err(UrlError::SslMode),
        };
        config.ssl_mode(mode);
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(UrlError::Unreadable(": it names no host".to_owned()));
        }
        Ok(Self { config, trust })
    }
}

impl Url {
    /// Whether both name one database, and one schema in it, whoever they name and however they go there.
    pub(in crate::store) fn is_same_database(&self, other: &Self) -> bool {
        let of = |url: &Self| {
            (
                url.servers(),
                url.name(),
                url.config.get_options().map(str::to_owned),
            )
        };
        of(self) == of(other)
    }

    /// The servers that are tried, each with its port.
    fn servers(&self) -> Vec<(String, u16)> {
        let mut hosts: Vec<String> = self.config.get_hosts().iter().map(shown).collect();
        if hosts.is_empty() {
            hosts = self
                .config
                .get_hostaddrs()
                .iter()
                .map(ToString::to_string)
                .collect();
        }
        let ports = self.config.get_ports();
        // One port is every host's.
        let port = |at: usize| ports.get(at).or(ports.first()).copied().unwrap_or(PORT_DEFAULT);
        hosts
            .into_iter()
            .enumerate()
            .map(|(at, host)| (host, port(at)))
            .collect()
    }

    /// The database's name; without one it is the user's.
    fn name(&self) -> String {
        let name = self.config.get_dbname().or(self.config.get_user());
        name.unwrap_or_default().to_owned()
    }

    /// The driver's configuration for a connection of this name, unless the URL gives its connections one.
    pub(super) fn config(&self, application: &str) -> Config {
        let mut config = self.config.clone();
        if config.get_application_name().is_none() {
            config.application_name(application);
        }
        config.connect_timeout(super::CONNECT_TIMEOUT);
        // Of several servers the one that takes writes: what a standby has may be of yesterday.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        // A server that is gone without a word is noticed.
        config.keepalives_idle(KEEPALIVE_AFTER);
        config.keepalives_interval(KEEPALIVE_AFTER / 2);
        config.keepalives_retries(3);
        config.tcp_user_timeout(SILENCE_MAX);
        config
    }

    /// How far the server's certificate is looked at.
    pub(super) fn trust(&self) -> &Trust {
        &self.trust
    }
}

fn shown(host: &Host) -> String {
    match host {
        Host::Tcp(name) if name.contains(':') => format!("[{name}]"),
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(path) => path.display().to_string(),
    }
}

/// A value without its percent escapes.
fn decoded(value: &str) -> Result<String, UrlError> {
    let wrong = || UrlError::Unreadable(": sslrootcert cannot be read".to_owned());
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (high, low) = (digit(rest.next()), digit(rest.next()));
        let (Some(high), Some(low)) = (high, low) else {
            return Err(wrong());
        };
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| wrong())?);
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_shown_nowhere() {
        let url = Url::from_str("postgres://me:s3cret@db.example:5433/talks?sslmode=require").expect("a URL");
        assert_eq!(url.to_string(), "postgres://me@db.example:5433/talks");
        assert!(!format!("{url:?} {:?}", Some(&url)).contains("s3cret"));
        let error = Url::from_str("postgres://me:s3cret@db:port/x").expect_err("no port");
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }

    #[test]
    fn connections_bear_the_name_that_the_url_gives_them() {
        let name = |url: &str| {
            let config = Url::from_str(url).expect("a URL").config("sessiond/1");
            config.get_application_name().map(str::to_owned)
        };
        assert_eq!(name("postgres://me@db/x").as_deref(), Some("sessiond/1"));
        let own = name("postgres://me@db/x?application_name=talks");
        assert_eq!(own.as_deref(), Some("talks"));
    }

    #[test]
    fn who_is_trusted_follows_from_sslmode() {
        let trust = |query: &str| {
            let url = Url::from_str(&format!("postgres://me@db/x{query}"))?;
            Ok((url.config.get_ssl_mode(), url.trust))
        };
        assert_eq!(trust(""), Ok((SslMode::Prefer, Trust::Anybody)));
        assert_eq!(trust("?sslmode=disable"), Ok((SslMode::Disable, Trust::Anybody)));
        assert_eq!(trust("?sslmode=verify-full"), Err(UrlError::NoRoots));
        assert_eq!(
            trust("?sslrootcert=/etc/ca%20s.pem&sslmode=verify-full"),
            Ok((SslMode::Require, Trust::Named(PathBuf::from("/etc/ca s.pem"))))
        );
        assert_eq!(trust("?sslmode=require"), Ok((SslMode::Require, Trust::Anybody)));
        assert_eq!(
            trust("?sslmode=require&sslrootcert=ca.pem"),
            Ok((SslMode::Require, Trust::SignedBy(PathBuf::from("ca.pem"))))
        );
        for needless in ["", "&sslmode=prefer", "&sslmode=disable"] {
            let found = trust(&format!("?sslrootcert=ca.pem{needless}"));
            assert_eq!(found, Err(UrlError::NeedlessRoots), "{needless}");
        }
        assert_eq!(trust("?sslmode=maybe"), Err(UrlError::SslMode));
        assert!(matches!(Url::from_str("mysql://x"), Err(UrlError::Scheme)));
    }
}
