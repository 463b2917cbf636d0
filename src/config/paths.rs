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
}
