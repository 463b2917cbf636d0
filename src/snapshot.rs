//! The last good document on local disk, so that a restart works while the store is down. Digests only, mode 0600.

use std::{
    borrow::Cow,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::{
    core::{change::seal_secrets, document::Document},
    durable,
    envelope::Envelope,
};

/// Stands before a snapshot that is encrypted although the store's object was not. Without it, the first restart after
/// `STORAGE_SECRET` was set would take the snapshot for proof that the object had been encrypted already.
const OF_PLAIN_OBJECT: &[u8] = b"HEARE_SNAPSHOT_OF_PLAIN_OBJECT:";

#[derive(Clone)]
pub struct SnapshotFile {
    pub path: PathBuf,
    pub envelope: Envelope,
    /// Of the document that it was made from.
    pub max_document_bytes: usize,
}

/// What a snapshot tells after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    pub document: Vec<u8>,
    /// Whether the object that it was taken from was encrypted.
    pub object_sealed: bool,
}

impl SnapshotFile {
    /// The document that was saved last (opened), or `None` when there is no file that opens.
    pub fn load(&self) -> Option<Saved> {
        let file = read_capped(&self.path, self.max_bytes())?;
        let (sealed, of_plain_object) = match file.strip_prefix(OF_PLAIN_OBJECT) {
            Some(sealed) => (sealed, true),
            None => (file.as_slice(), false),
        };
        let object_sealed = Envelope::is_sealed(sealed) && !of_plain_object;
        let document = self.envelope.open(sealed).ok().map(Cow::into_owned)?;
        Some(Saved {
            document,
            object_sealed,
        })
    }

    /// A digest is longer than a short secret in its place, and an encrypted document a third longer than a plain one.
    const fn max_bytes(&self) -> u64 {
        (self.max_document_bytes as u64).saturating_mul(3).saturating_add(1024)
    }

    /// Replaces the file atomically. Plaintext secrets in the document become digests on the way; everything else,
    /// its generation too, stays as it is.
    pub fn save(&self, document: &[u8], object_sealed: bool) -> io::Result<()> {
        let mut document = Document::parse(document).map_err(io::Error::other)?;
        seal_secrets(&mut document);
        let mut file = self.envelope.seal(document.to_json());
        if self.envelope.seals() && !object_sealed {
            file.splice(..0, OF_PLAIN_OBJECT.iter().copied());
        }
        durable::replace(&self.path, &file)
    }
}

/// Nothing where there is more than that. Opening a pipe or a device could block, and reading it never end.
fn read_capped(path: &Path, most: u64) -> Option<Vec<u8>> {
    let found = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let mut bytes = Vec::with_capacity(usize::try_from(found.len().min(most)).ok()?);
    let mut file = File::open(path).ok()?.take(most.saturating_add(1));
    file.read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= most).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::core::secret::Secret;

    const DOCUMENT: &str = r#"{"keys":[{"id":"key_1","secret":"sec_private","name":"one","team":"a"}],"generation":7,"write_id":"w","note":1}"#;

    fn snapshot(secret: Option<&str>) -> (tempfile::TempDir, SnapshotFile) {
        let dir = tempfile::tempdir().unwrap();
        let envelope = Envelope::new(secret.map(Secret::new).as_ref());
        let path = dir.path().join("state/snapshot.json");
        let max_document_bytes = DOCUMENT.len();
        (
            dir,
            SnapshotFile {
                path,
                envelope,
                max_document_bytes,
            },
        )
    }

    #[test]
    fn a_snapshot_holds_digests_and_everything_else_as_it_was() {
        let (_dir, snapshot) = snapshot(None);
        snapshot.save(DOCUMENT.as_bytes(), false).unwrap();
        let text = fs::read_to_string(&snapshot.path).unwrap();
        assert!(!text.contains("sec_private"), "{text}");
        let saved = Document::parse(&snapshot.load().unwrap().document).unwrap();
        assert_eq!((saved.generation(), saved.write_id()), (Some(7), Some("w")));
        let record = saved.records().next().unwrap().get();
        assert!(record.contains(&Secret::new("sec_private").digest().to_string()));
        assert!(record.contains(r#""team":"a""#));
        assert!(text.contains(r#""note""#));
    }

    #[test]
    fn a_snapshot_is_for_its_owner_only() {
        let (_dir, snapshot) = snapshot(None);
        snapshot.save(DOCUMENT.as_bytes(), false).unwrap();
        let mode = fs::metadata(&snapshot.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn with_a_storage_secret_a_snapshot_is_encrypted_and_knows_whether_the_object_was() {
        for object_sealed in [true, false] {
            let (_dir, snapshot) = snapshot(Some("storage"));
            snapshot.save(DOCUMENT.as_bytes(), object_sealed).unwrap();
            assert!(!fs::read_to_string(&snapshot.path).unwrap().contains("key_1"));
            assert_eq!(snapshot.load().unwrap().object_sealed, object_sealed);
        }
    }

    #[test]
    fn a_snapshot_that_is_missing_or_does_not_open_is_none() {
        let (_dir, sealing) = snapshot(Some("storage"));
        assert_eq!(sealing.load(), None);
        sealing.save(DOCUMENT.as_bytes(), true).unwrap();
        for secret in [None, Some("other")] {
            let envelope = Envelope::new(secret.map(Secret::new).as_ref());
            let other = SnapshotFile {
                envelope,
                ..sealing.clone()
            };
            assert_eq!(other.load(), None);
        }
    }

    #[test]
    fn a_snapshot_that_no_document_makes_so_large_is_none() {
        let (_dir, snapshot) = snapshot(None);
        snapshot.save(DOCUMENT.as_bytes(), false).unwrap();
        assert!(snapshot.load().is_some());
        let mut file = fs::read(&snapshot.path).unwrap();
        file.resize(usize::try_from(snapshot.max_bytes()).unwrap(), b' ');
        fs::write(&snapshot.path, &file).unwrap();
        assert!(snapshot.load().is_some());
        file.push(b' ');
        fs::write(&snapshot.path, &file).unwrap();
        assert_eq!(snapshot.load(), None);
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let (_dir, mut snapshot) = snapshot(None);
        for path in ["/dev/zero", "/"] {
            snapshot.path = path.into();
            assert_eq!(snapshot.load(), None);
        }
    }

    #[test]
    fn what_is_no_document_is_not_saved() {
        let (_dir, snapshot) = snapshot(None);
        snapshot.save(DOCUMENT.as_bytes(), false).unwrap();
        let before = fs::read(&snapshot.path).unwrap();
        assert!(snapshot.save(b"<html>", false).is_err());
        assert_eq!(fs::read(&snapshot.path).unwrap(), before);
    }
}
