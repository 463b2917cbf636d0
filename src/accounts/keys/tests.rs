use std::fs;

use super::*;
use crate::core::secret::Secret;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn later(millis: i64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() + millis)
}

fn given(private_key: Option<PrivateKey>, secret_key: Option<&str>) -> SigningConfig {
    SigningConfig::Given(GivenKeys {
        private_key,
        secret_key: secret_key.map(Secret::new),
        previous: None,
    })
}

struct PemFile {
    _dir: tempfile::TempDir,
    path: PathBuf,
    rotations: u8,
}

impl PemFile {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut file = Self {
            path: dir.path().join("keys.pem"),
            _dir: dir,
            rotations: 0,
        };
        file.rotate();
        file
    }

    fn rotate(&mut self) {
        self.rotations += 1;
        let number = self.rotations;
        key_file::rotate(&self.path, Form::Pem, None, NOW, &mut |bytes| bytes.fill(number)).unwrap();
    }

    fn open(&self) -> Keys {
        let config = given(Some(PrivateKey::File(self.path.clone())), None);
        Keys::open(&config, NOW, &mut |_| panic!("nothing is made"))
            .unwrap()
            .unwrap()
    }
}

#[test]
fn a_new_key_is_published_for_three_seconds_before_it_signs() {
    let mut file = PemFile::new();
    let keys = file.open();
    let old = keys.current().signing().id().unwrap().to_owned();
    assert_eq!(keys.look(NOW), Look::Same);
    file.rotate();
    assert_eq!(keys.look(later(1000)), Look::Changed);
    let published = keys.current();
    assert_eq!(published.iter().count(), 2);
    assert_eq!(published.signing().id(), Some(old.as_str()));
    assert_eq!(keys.look(later(3999)), Look::Same);
    assert_eq!(keys.look(later(4000)), Look::Changed);
    let turned = keys.current();
    assert_ne!(turned.signing().id(), Some(old.as_str()));
    assert_eq!(turned.iter().count(), 2);
    assert_eq!(keys.look(later(100_000)), Look::Same);
    // Whoever starts now signs by the new key at once.
    assert!(file.open().current().signing().is(turned.signing()));
}

#[test]
fn a_key_that_is_taken_out_of_the_file_is_out_of_force_at_the_next_look() {
    let mut file = PemFile::new();
    let keys = file.open();
    let token = keys.current().signing().sign("{}");
    fs::remove_file(&file.path).unwrap();
    file.rotate();
    assert_eq!(keys.look(later(1)), Look::Changed);
    assert_eq!(keys.current().open(token.expose()), None);
    assert!(keys.current().first().is(keys.current().signing()));
}

#[test]
fn a_file_that_is_broken_or_gone_changes_nothing_and_is_told_once() {
    let mut file = PemFile::new();
    let keys = file.open();
    let token = keys.current().signing().sign("{}");
    for (number, break_it) in [
        (|path: &Path| fs::write(path, "-----BEGIN PRIV").unwrap()) as fn(&Path),
        |path| fs::remove_file(path).unwrap(),
        |path| fs::write(path, "").unwrap(),
    ]
    .into_iter()
    .enumerate()
    {
        break_it(&file.path);
        assert!(
            matches!(keys.look(NOW), Look::Failed(KeysError::PrivateKeyFile(_))),
            "{number}"
        );
        assert_eq!(keys.look(NOW), Look::Same, "{number}");
        assert!(keys.current().open(token.expose()).is_some());
    }
    fs::remove_file(&file.path).unwrap();
    file.rotate();
    assert_eq!(keys.look(NOW), Look::Changed);
}

#[test]
fn while_moving_the_private_key_signs_and_the_secret_still_verifies() {
    let file = PemFile::new();
    let secret = "0123456789abcdef0123456789abcdef";
    let before = Keys::open(&given(None, Some(secret)), NOW, &mut |_| {})
        .unwrap()
        .unwrap();
    let token = before.current().signing().sign("{}");
    assert_eq!(before.look(NOW), Look::Same);
    let config = given(Some(PrivateKey::File(file.path.clone())), Some(secret));
    let keys = Keys::open(&config, NOW, &mut |_| {}).unwrap().unwrap();
    assert!(keys.current().signing().id().is_some());
    assert!(keys.current().open(token.expose()).is_some());
}

#[test]
fn a_start_without_readable_keys_names_the_setting() {
    let open = |config| {
        Keys::open(&config, NOW, &mut |bytes| bytes.fill(1))
            .err()
            .map(|error| error.to_string())
    };
    let missing = given(Some(PrivateKey::File("/nowhere/keys.pem".into())), None);
    assert_eq!(
        open(missing).as_deref(),
        Some("JWT_PRIVATE_KEY names a file that cannot be read: entity not found")
    );
    let text = given(
        Some(PrivateKey::Pem(Secret::new("-----BEGIN RSA PRIVATE KEY-----"))),
        None,
    );
    assert_eq!(
        open(text).as_deref(),
        Some("JWT_PRIVATE_KEY must hold Ed25519 private keys in PEM form (PKCS#8) and nothing else")
    );
    let own = SigningConfig::Own {
        path: "/proc/nowhere/jwt-secret".into(),
    };
    assert!(
        open(own)
            .unwrap()
            .starts_with("jwt-secret in DATA_DIR cannot be written")
    );
    assert!(Keys::open(&SigningConfig::Missing, NOW, &mut |_| {}).unwrap().is_none());
}

#[test]
fn a_secret_of_our_own_is_made_once_and_rotated_in_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jwt-secret");
    let config = SigningConfig::Own { path: path.clone() };
    let keys = Keys::open(&config, NOW, &mut |bytes| bytes.fill(1)).unwrap().unwrap();
    let again = Keys::open(&config, NOW, &mut |_| panic!("it is made once"))
        .unwrap()
        .unwrap();
    assert!(keys.current().signing().is(again.current().signing()));
    let token = keys.current().signing().sign("{}");
    key_file::rotate(&path, Form::Lines, None, NOW, &mut |bytes| bytes.fill(2)).unwrap();
    assert_eq!(again.look(NOW), Look::Changed);
    assert!(again.current().open(token.expose()).is_some());
}
