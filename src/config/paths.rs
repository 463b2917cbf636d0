//! Whether files can be where the settings say, as far as the disk tells before anything is written.

use std::path::{Path, PathBuf, absolute};

use super::{Config, ConfigError, DATABASE_FILE, DatabasePlace, Location, PrivateKey, SigningConfig, wrong};

/// A file that the service reads or writes, and how a sentence names it.
struct Owned<'a> {
    variable: &'static str,
    name: &'static str,
    path: &'a Path,
    /// Certificate and key may well be one file, as nobody writes there.
    is_written: bool,
}

impl Config {
    /// Told at the start, as a service on such a path would wait for a document for ever. A directory that is missing
    /// is made when it is needed, and rights can change, so only what is in the way counts.
    pub fn check_paths(&self) -> Result<(), ConfigError> {
        if let Location::File { path } = &self.store.location
            && is_obstructed(path.parent())
        {
            return Err(wrong("DATA_DIR", "must be a directory, and there is something else"));
        }
        let owned = self.owned_files();
        for (number, file) in owned.iter().enumerate() {
            // Each is written without looking at what the other one holds.
            let is_shared = |other: &&Owned<'_>| {
                (file.is_written || other.is_written) && real_path(file.path) == real_path(other.path)
            };
            if let Some(other) = owned[..number].iter().find(is_shared) {
                return Err(wrong(
                    file.variable,
                    &format!("must be another file than {}", other.name),
                ));
            }
        }
        let snapshot = self.snapshot_path.as_deref().map(|path| ("SNAPSHOT_PATH", path));
        self.database_file().into_iter().chain(snapshot).try_for_each(is_free)
    }

    fn owned_files(&self) -> Vec<Owned<'_>> {
        let mut owned = Vec::new();
        let mut add = |variable, name, path, is_written| {
            owned.push(Owned {
                variable,
                name,
                path,
                is_written,
            });
        };
        if let Location::File { path } = &self.store.location {
            add("DATA_DIR", "the stored document in DATA_DIR", path, true);
        }
        match &self.tokens.signing {
            SigningConfig::Own { path } => add("DATA_DIR", "jwt-secret in DATA_DIR", path, true),
            SigningConfig::Given(given) => {
                if let Some(PrivateKey::File(path)) = &given.private_key {
                    add("JWT_PRIVATE_KEY", "that of JWT_PRIVATE_KEY", path, true);
                }
            }
            SigningConfig::Missing => {}
        }
        if let Some((variable, path)) = self.database_file() {
            let name = if variable == "DATA_DIR" {
                "the database in DATA_DIR"
            } else {
                "the database of DATABASE_URL"
            };
            add(variable, name, path, true);
        }
        if let Some(files) = &self.gateway.tls {
            add("SSL_CERTFILE", "that of SSL_CERTFILE", &files.certificate, false);
            add("SSL_KEYFILE", "that of SSL_KEYFILE", &files.key, false);
        }
        if let Some(path) = &self.snapshot_path {
            add("SNAPSHOT_PATH", "that of SNAPSHOT_PATH", path, true);
        }
        owned
    }

    /// The file of SQLite, and the setting that names it.
    fn database_file(&self) -> Option<(&'static str, &Path)> {
        let DatabasePlace::Sqlite { path } = &self.usage.database else {
            return None;
        };
        let is_usual = matches!(
            &self.store.location,
            Location::File { path: document } if *path == document.with_file_name(DATABASE_FILE)
        );
        Some((if is_usual { "DATA_DIR" } else { "DATABASE_URL" }, path))
    }
}

/// Whether there can be a file here: nothing yet, or one that can be read to its end.
fn is_free((variable, path): (&'static str, &Path)) -> Result<(), ConfigError> {
    let problem = match path.metadata() {
        Ok(found) if found.is_dir() => "must be a file, and there is a directory",
        Ok(found) if !found.is_file() => "must be a file, and there is something else",
        Err(_) if is_obstructed(path.parent()) => "must be a file in a directory, and there is something else",
        Ok(_) | Err(_) => return Ok(()),
    };
    Err(wrong(variable, problem))
}

/// The same for one file however it is written, as far as it and its directories exist.
fn real_path(path: &Path) -> PathBuf {
    let path = absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = path.ancestors().find_map(|existing| {
        let real = existing.canonicalize().ok()?;
        Some(real.join(path.strip_prefix(existing).ok()?))
    });
    real.unwrap_or(path)
}

/// Whether the path, or the part of it that exists, is no directory.
fn is_obstructed(directory: Option<&Path>) -> bool {
    let existing = directory
        .into_iter()
        .flat_map(Path::ancestors)
        .find_map(|path| path.metadata().ok());
    existing.is_some_and(|found| !found.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(variable: &str, path: &Path) -> Option<&'static str> {
        let config = Config::from_lookup(&|name| (name == variable).then(|| path.to_str().unwrap().to_owned()));
        config.unwrap().check_paths().err().map(|error| error.variable)
    }

    #[test]
    fn a_path_may_be_missing_but_not_obstructed() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        std::fs::write(&file, "").unwrap();
        for (variable, path, refused) in [
            ("DATA_DIR", home.path().to_owned(), false),
            ("DATA_DIR", home.path().join("not/yet"), false),
            ("DATA_DIR", "relative".into(), false),
            ("DATA_DIR", file.clone(), true),
            ("DATA_DIR", file.join("below"), true),
            ("SNAPSHOT_PATH", file.clone(), false),
            ("SNAPSHOT_PATH", home.path().join("not/yet"), false),
            ("SNAPSHOT_PATH", "relative".into(), false),
            ("SNAPSHOT_PATH", home.path().to_owned(), true),
            ("SNAPSHOT_PATH", file.join("below"), true),
            ("SNAPSHOT_PATH", "/dev/null".into(), true),
        ] {
            assert_eq!(
                checked(variable, &path),
                refused.then_some(variable),
                "{}",
                path.display()
            );
        }
    }

    #[test]
    fn the_database_is_a_file_like_the_others() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        std::fs::write(&file, "").unwrap();
        for (path, refused) in [
            (file.clone(), false),
            (home.path().join("not/yet.db"), false),
            (home.path().to_owned(), true),
            (file.join("below.db"), true),
            ("/dev/null".into(), true),
        ] {
            let url = format!("sqlite:{}", path.display());
            assert_eq!(
                checked("DATABASE_URL", Path::new(&url)),
                refused.then_some("DATABASE_URL"),
                "{url}"
            );
        }
    }

    #[test]
    fn two_settings_must_not_name_one_file() {
        const SECRET: &str = "0123456789abcdef0123456789abcdef";
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
        let sqlite = |name: &str| format!("sqlite:{}", at(name));
        let refused = |settings: &[(&str, String)]| {
            let found = |name: &str| settings.iter().find(|(setting, _)| *setting == name);
            let config = Config::from_lookup(&|name| match found(name) {
                Some((_, value)) => Some(value.clone()),
                None => (name == "DATA_DIR").then(|| at("data")),
            });
            config.unwrap().check_paths().err().map(|error| error.to_string())
        };
        for (settings, other) in [
            (
                &[("SNAPSHOT_PATH", at("data/heare-auth.db"))][..],
                "the database in DATA_DIR",
            ),
            (&[("SNAPSHOT_PATH", at("data/jwt-secret"))], "jwt-secret in DATA_DIR"),
            (
                &[("SNAPSHOT_PATH", at("own.db")), ("DATABASE_URL", sqlite("own.db"))],
                "the database of DATABASE_URL",
            ),
            (
                &[("SNAPSHOT_PATH", at("keys.pem")), ("JWT_PRIVATE_KEY", at("keys.pem"))],
                "that of JWT_PRIVATE_KEY",
            ),
            (
                &[
                    ("SNAPSHOT_PATH", at("tls.pem")),
                    ("SSL_CERTFILE", at("tls.pem")),
                    ("SSL_KEYFILE", at("tls.pem")),
                ],
                "that of SSL_CERTFILE",
            ),
            (
                &[("DATABASE_URL", sqlite("data/keys.json"))],
                "the stored document in DATA_DIR",
            ),
            (
                &[("DATABASE_URL", sqlite("data/./jwt-secret"))],
                "jwt-secret in DATA_DIR",
            ),
        ] {
            let expected = format!("{} must be another file than {other}", settings[0].0);
            assert_eq!(refused(settings), Some(expected), "{settings:?}");
        }
        for settings in [
            &[("DATABASE_URL", sqlite("data/heare-auth.db"))][..],
            &[("SSL_CERTFILE", at("tls.pem")), ("SSL_KEYFILE", at("tls.pem"))],
            &[
                ("SNAPSHOT_PATH", at("data/jwt-secret")),
                ("SECRET_KEY", SECRET.to_owned()),
            ],
        ] {
            assert_eq!(refused(settings), None, "{settings:?}");
        }
    }

    #[test]
    fn a_snapshot_must_not_replace_the_stored_document() {
        let home = tempfile::tempdir().unwrap();
        let linked = home.path().join("linked");
        std::os::unix::fs::symlink(home.path(), &linked).unwrap();
        for (snapshot, refused) in [
            (home.path().join("keys.json"), true),
            (home.path().join("../keys.json"), false),
            (linked.join("keys.json"), true),
            (home.path().join("snapshot.json"), false),
            (home.path().join("new/keys.json"), false),
        ] {
            let config = Config::from_lookup(&|name| match name {
                "DATA_DIR" => Some(home.path().to_str().unwrap().to_owned()),
                "SNAPSHOT_PATH" => Some(snapshot.to_str().unwrap().to_owned()),
                _ => None,
            });
            let error = config.unwrap().check_paths().err();
            assert_eq!(
                error.map(|error| error.variable),
                refused.then_some("SNAPSHOT_PATH"),
                "{}",
                snapshot.display()
            );
        }
    }
}
