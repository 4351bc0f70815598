//! The certificate and its key: whether they can be read, belong together, and will be good for a while.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::{Findings, with_causes};
use crate::config::Tls;

/// How long before its end a certificate is worth a word.
const SOON: Duration = Duration::from_secs(30 * DAY_S);

const DAY_S: u64 = 24 * 60 * 60;

pub(super) fn look(tls: &Tls, found: &mut Findings) {
    let chain = tls.cert.as_deref().and_then(|path| certificates(path, found));
    let key = tls.key.as_deref().and_then(|path| private_key(path, found));
    if let Some(chain) = &chain {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        for (at, certificate) in chain.iter().enumerate() {
            lifetime(at, certificate, now, found);
        }
    }
    if let (Some(chain), Some(key)) = (chain, key)
        && let Err(error) = CertifiedKey::from_der(chain, key, &ring::default_provider())
    {
        found.error("tls", format!("cert and key are not usable together: {error}"));
    }
}

fn read(key: &'static str, path: &Path, found: &mut Findings) -> Option<Vec<u8>> {
    match fs::read(path) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            found.error(key, format!("{} cannot be read: {error}", path.display()));
            None
        }
    }
}

fn certificates(path: &Path, found: &mut Findings) -> Option<Vec<CertificateDer<'static>>> {
    let bytes = read("tls.cert", path, found)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => return Some(chain),
        Ok(_) => found.error(
            "tls.cert",
            format!("{} holds no certificate in PEM", path.display()),
        ),
        Err(error) => found.error("tls.cert", format!("{}: {}", path.display(), with_causes(&error))),
    }
    None
}

fn private_key(path: &Path, found: &mut Findings) -> Option<PrivateKeyDer<'static>> {
    let bytes = read("tls.key", path, found)?;
    let mode = fs::metadata(path).map_or(0, |found| found.permissions().mode());
    if mode & 0o077 != 0 {
        let text = format!("{} is open to other users: chmod 600", path.display());
        found.warning("tls.key", text);
    }
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => Some(key),
        Err(_) => {
            found.error(
                "tls.key",
                format!("{} holds no private key in PEM", path.display()),
            );
            None
        }
    }
}

/// Whether a certificate is good now, and for how long yet.
fn lifetime(at: usize, certificate: &CertificateDer<'_>, now: Duration, found: &mut Findings) {
    let name = if at == 0 {
        "the certificate".to_owned()
    } else {
        format!("certificate {} of the chain", at + 1)
    };
    let Ok(read) = Certificate::from_der(certificate) else {
        found.error("tls.cert", format!("{name} cannot be read"));
        return;
    };
    let validity = read.tbs_certificate.validity;
    let (begin, end) = (
        validity.not_before.to_unix_duration(),
        validity.not_after.to_unix_duration(),
    );
    if now < begin {
        found.error("tls.cert", format!("{name} is not valid yet"));
    }
    match end.checked_sub(now) {
        None => found.error("tls.cert", format!("{name} has expired")),
        Some(left) if left < SOON => {
            let text = format!("{name} expires in {} days", left.as_secs() / DAY_S);
            found.warning("tls.cert", text);
        }
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;
    use crate::cli::check::Level;

    /// What is found of a certificate that ends then, and of a key.
    fn found(end: i32, own_key: bool) -> Vec<(Level, String)> {
        let dir = tempfile::tempdir().expect("a folder");
        let [cert, key] = ["cert", "key"].map(|name| dir.path().join(name));
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(end, 1, 1);
        let pair = KeyPair::generate().expect("a key");
        let signed = params.self_signed(&pair).expect("a certificate");
        fs::write(&cert, signed.pem()).expect("written");
        let other = KeyPair::generate().expect("a key");
        let pair = if own_key { pair } else { other };
        fs::write(&key, pair.serialize_pem()).expect("written");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("closed");
        let tls = Tls {
            cert: Some(cert),
            key: Some(key),
        };
        let mut found = Findings::default();
        look(&tls, &mut found);
        found
            .0
            .into_iter()
            .map(|finding| (finding.level, finding.text))
            .collect()
    }

    #[test]
    fn a_good_pair_is_good() {
        assert_eq!(found(2100, true), []);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let expired = found(2021, true);
        assert_eq!(
            expired,
            [(Level::Error, "the certificate has expired".to_owned())]
        );
        let other = found(2100, false);
        assert!(
            matches!(&other[..], [(Level::Error, text)] if text.contains("together")),
            "{other:?}"
        );
        let mut missing = Findings::default();
        let tls = Tls {
            cert: Some("no/such/cert".into()),
            key: Some("Cargo.toml".into()),
        };
        look(&tls, &mut missing);
        assert_eq!(missing.count(Level::Error), 2, "{missing:?}");
    }
}
