//! Certificates and keys of every kind, made by openssl in a directory of their own.

use std::{
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// How openssl is asked for a private key.
#[derive(Clone, Copy, Debug)]
pub enum Key {
    P256,
    P384,
    Ed25519,
    Rsa,
}

/// An authority that vouches for certificates of `localhost`.
pub struct Authority {
    directory: TempDir,
}

/// A certificate with its chain, and its private key.
#[derive(Clone, Debug)]
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Key {
    fn arguments(self) -> &'static str {
        match self {
            Self::P256 => "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
            Self::P384 => "-algorithm EC -pkeyopt ec_paramgen_curve:P-384",
            Self::Ed25519 => "-algorithm ED25519",
            Self::Rsa => "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
        }
    }
}

impl Authority {
    /// One that signs by another one that it vouches for.
    pub fn new() -> Self {
        let authority = Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
        };
        let key = Key::P256.arguments();
        authority.run(&format!(
            "openssl genpkey {key} -out root.key
             openssl req -x509 -new -key root.key -days 2 -subj /CN=root -out root.pem
             openssl genpkey {key} -out middle.key
             openssl req -new -key middle.key -subj /CN=middle -out middle.csr
             printf 'basicConstraints=critical,CA:TRUE' > middle.ext
             openssl x509 -req -in middle.csr -CA root.pem -CAkey root.key -CAcreateserial -days 2 -extfile middle.ext -out middle.pem"
        ));
        authority
    }

    /// What a client has to trust.
    pub fn root(&self) -> PathBuf {
        self.file("root.pem")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A certificate by this name for `localhost` and 127.0.0.1, with its chain.
    pub fn issue(&self, name: &str, key: Key) -> Pair {
        let key = key.arguments();
        self.run(&format!(
            "openssl genpkey {key} -out {name}.key
             openssl req -new -key {name}.key -subj /CN={name} -out {name}.csr
             printf 'basicConstraints=CA:FALSE\\nsubjectAltName=DNS:localhost,IP:127.0.0.1' > {name}.ext
             openssl x509 -req -in {name}.csr -CA middle.pem -CAkey middle.key -CAcreateserial -days 2 -extfile {name}.ext -out {name}.crt
             cat {name}.crt middle.pem > {name}.pem"
        ));
        Pair {
            certificate: self.file(&format!("{name}.pem")),
            key: self.file(&format!("{name}.key")),
        }
    }

    /// Runs a script among the files.
    pub fn run(&self, script: &str) {
        let ran = Command::new("sh")
            .args(["-ec", script])
            .current_dir(self.directory.path())
            .output();
        let ran = ran.expect("sh runs");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }
}

impl Pair {
    /// Puts another certificate and key in the place of these, each file whole.
    pub fn replace_by(&self, other: &Self) {
        put(&other.certificate, &self.certificate);
        put(&other.key, &self.key);
    }
}

/// Replaces a file whole.
pub fn put(from: &Path, to: &Path) {
    let beside = to.with_extension("new");
    std::fs::copy(from, &beside).expect("a file can be copied");
    std::fs::rename(&beside, to).expect("a file can be replaced");
}
