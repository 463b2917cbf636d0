//! A certificate and its private key, out of two files, or the sentence that says which of them is wrong.

use std::{fs, io, path::Path, sync::Arc};

use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject as _},
};
use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::{
    self, InconsistentKeys, ServerConfig,
    crypto::{CryptoProvider, ring},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use zeroize::Zeroizing;

use crate::{
    config::TlsFiles,
    core::{certificate, time::Timestamp},
};

const CERTFILE: &str = "SSL_CERTFILE";
const KEYFILE: &str = "SSL_KEYFILE";

/// No chain and no key is longer.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What is wrong with the files. It never shows what is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable} {problem}")]
pub struct TlsError {
    pub variable: &'static str,
    pub problem: &'static str,
}

/// Both files as they were read.
pub struct Files {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

/// Which contents two files had, or what was wrong with reading them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Read([u8; 32]),
    Unreadable(TlsError),
}

/// What new connections are secured by.
pub struct Pair {
    pub config: Arc<ServerConfig>,
    pub not_after: Timestamp,
}

impl Files {
    /// Waits for the disk: not for a thread that answers requests.
    pub fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self {
            certificate: read(&files.certificate, CERTFILE)?.to_vec(),
            key: read(&files.key, KEYFILE)?,
        })
    }

    pub fn version(&self) -> Version {
        let mut hash = Sha256::new();
        hash.update(self.certificate.len().to_le_bytes());
        hash.update(&self.certificate);
        hash.update(&*self.key);
        Version::Read(hash.finalize().into())
    }

    pub fn pair(&self, now: Timestamp) -> Result<Pair, TlsError> {
        let chain = chain(&self.certificate)?;
        let not_after = chain.first().and_then(|first| certificate::not_after(first));
        let not_after = not_after.ok_or_else(|| of_certificate(BAD_CERTIFICATE))?;
        if not_after < now {
            return Err(of_certificate("holds a certificate that has expired"));
        }
        let provider = ring::default_provider();
        let certified = certified(chain, private_key(&self.key)?, &provider)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("the provider has suites for both versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let config = Arc::new(config);
        Ok(Pair { config, not_after })
    }
}

const BAD_CERTIFICATE: &str = "holds a certificate that cannot be read";

const fn of_certificate(problem: &'static str) -> TlsError {
    TlsError {
        variable: CERTFILE,
        problem,
    }
}

const fn of_key(problem: &'static str) -> TlsError {
    TlsError {
        variable: KEYFILE,
        problem,
    }
}

fn read(path: &Path, variable: &'static str) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let wrong = |problem| TlsError { variable, problem };
    let unread = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => wrong("names a file that is not there"),
        io::ErrorKind::PermissionDenied => wrong("names a file that this user may not read"),
        _ => wrong("names a file that cannot be read"),
    };
    let found = fs::metadata(path).map_err(unread)?;
    if !found.is_file() || found.len() > MAX_FILE_BYTES {
        return Err(wrong("must name a file in PEM form"));
    }
    fs::read(path).map(Zeroizing::new).map_err(unread)
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) | Err(pem::Error::NoItemsFound) => Err(of_certificate("holds no certificate in PEM form")),
        Err(_) => Err(of_certificate(BAD_CERTIFICATE)),
    }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    if pem.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED) {
        return Err(of_key("holds an encrypted key; store it without a passphrase"));
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pem::Error::NoItemsFound => of_key("holds no private key in PEM form"),
        _ => of_key("holds a private key that cannot be read"),
    })
}

const ENCRYPTED: &[u8] = b"ENCRYPTED";

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|_| {
        of_key(
            "holds a private key that cannot be used; it must be RSA from 2048 bits, ECDSA (P-256, P-384) or Ed25519",
        )
    })?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InvalidCertificate(_)) => Err(of_certificate(BAD_CERTIFICATE)),
        Err(_) => Err(of_key("does not belong to the certificate in SSL_CERTFILE")),
    }
}
