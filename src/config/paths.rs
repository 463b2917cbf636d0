//! Whether files can be where the settings say, as far as the disk tells before anything is written.

use std::path::Path;

use super::{Config, ConfigError, Location, wrong};

impl Config {
    /// Told at the start, as a service on such a path would wait for a document for ever. A directory that is missing
    /// is made when it is needed, and rights can change, so only what is in the way counts.
    pub fn check_paths(&self) -> Result<(), ConfigError> {
        if let Location::File { path } = &self.store.location
            && is_obstructed(path.parent())
        {
            return Err(wrong("DATA_DIR", "must be a directory, and there is something else"));
        }
        if let (Some(snapshot), Location::File { path }) = (&self.snapshot_path, &self.store.location)
            && is_same_file(snapshot, path)
        {
            // The snapshot would be written without looking at what others wrote.
            let problem = "must be another file than the stored document in DATA_DIR";
            return Err(wrong("SNAPSHOT_PATH", problem));
        }
        match &self.snapshot_path {
            Some(path) if path.is_dir() => Err(wrong("SNAPSHOT_PATH", "must be a file, and there is a directory")),
            Some(path) if is_obstructed(path.parent()) => Err(wrong(
                "SNAPSHOT_PATH",
                "must be a file in a directory, and there is something else",
            )),
            Some(_) | None => Ok(()),
        }
    }
}

/// Also when one of them is written differently, as far as their directories exist.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new(".")).canonicalize().ok()?;
        Some(directory.join(path.file_name()?))
    };
    one == other || real(one).is_some_and(|one| Some(one) == real(other))
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
