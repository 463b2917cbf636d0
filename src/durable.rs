//! Replaces a file as a whole: whoever reads it, and whenever the writer dies, sees the old content or the new.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown},
    path::{Path, PathBuf},
};

use crate::clock::Clock;

/// Puts `bytes` in the place of the file, on disk when this returns. One writer at a time for one path: what an
/// earlier writer left unfinished is removed on the way.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = directory(path);
    create_directory(dir)?;
    remove_leftovers(path);
    let (mut file, temporary) = create_temporary(path)?;
    let placed = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = placed {
        // The failed write is what is reported; a file that cannot be removed either is removed by the next write.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_directory(dir)
}

/// Puts `bytes` into a new file, on disk when this returns. Nobody ever sees a part of them. False when there is such a
/// file already, which stays as it is.
pub fn create_new(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let dir = directory(path);
    create_directory(dir)?;
    let (mut file, temporary) = create_temporary(path)?;
    let placed = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&temporary, path));
    // The next `replace` removes one that stays.
    let _ = fs::remove_file(&temporary);
    match placed {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        placed => {
            placed?;
            sync_directory(dir)?;
            Ok(true)
        }
    }
}

/// Whether there could be a new file at `path`: an empty one is put beside it, or into the nearest folder above that is there,
/// and taken away again.
pub fn takes_new_file(path: &Path) -> io::Result<()> {
    let is_there = |dir: &&Path| match fs::symlink_metadata(dir) {
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    };
    let nearest = directory(path).ancestors().find(is_there).unwrap_or(Path::new("."));
    let (_, temporary) = create_temporary(&nearest.join(path.file_name().unwrap_or_default()))?;
    match fs::remove_file(temporary) {
        // A writer has taken it for a leftover.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Opens a file that only its owner may read, made if it is missing. It belongs to whom its neighbours belong, so that
/// a command run by root leaves nothing behind that the service cannot open.
pub fn open_private(path: &Path, owner: Option<&Metadata>, options: &mut OpenOptions) -> io::Result<File> {
    let file = options.write(true).mode(0o600).open(path)?;
    if let Some(owner) = owner
        && owner.uid() != file.metadata()?.uid()
    {
        // Only root may give a file away; for anybody else it stays the writer's own.
        let _ = fchown(&file, Some(owner.uid()), Some(owner.gid()));
    }
    Ok(file)
}

/// Whose a new file at `path` shall be: the owner of what it replaces, or else of the directory.
pub fn owner_for(path: &Path) -> Option<Metadata> {
    fs::metadata(path).or_else(|_| fs::metadata(directory(path))).ok()
}

/// The directory a file is in. A bare name is in the current one.
pub fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes a directory, and those above it, for nobody but its owner; each is on disk before something is put into it.
pub fn create_directory(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = directory(dir);
    create_directory(above)?;
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_directory(above),
    }
}

fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn create_temporary(path: &Path) -> io::Result<(File, PathBuf)> {
    let owner = owner_for(path);
    loop {
        let mut name = temporary_prefix(path);
        name.push(format!("{}-{}.tmp", std::process::id(), Clock::wall_micros()));
        let temporary = path.with_file_name(name);
        match open_private(&temporary, owner.as_ref(), OpenOptions::new().create_new(true)) {
            Ok(file) => return Ok((file, temporary)),
            // Another container on the same volume can have our process id; the next microsecond is free.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// `.keys.json.`: hidden, and told apart from every other file's leftovers.
fn temporary_prefix(path: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".");
    prefix
}

/// Removes what a killed writer left behind. Leftovers harm nobody, so one that cannot be removed stops nothing.
fn remove_leftovers(path: &Path) {
    let prefix = temporary_prefix(path);
    let entries = fs::read_dir(directory(path)).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| is_leftover(&entry.file_name(), &prefix)) {
        let _ = fs::remove_file(entry.path());
    }
}

fn is_leftover(name: &OsStr, prefix: &OsStr) -> bool {
    let numbers = || {
        let rest = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes())?;
        std::str::from_utf8(rest.strip_suffix(b".tmp")?).ok()?.split_once('-')
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // The leftovers of `keys` must not be confused with those of `keys.json`, whose writer may be at work.
    numbers().is_some_and(|(process, moment)| is_number(process) && is_number(moment))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names_in(dir: &Path) -> Vec<OsString> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_file_and_its_directories_are_for_their_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/keys.json");
        replace(&path, b"one").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&dir.path().join("a")), 0o700);
        assert_eq!(mode(&dir.path().join("a/b")), 0o700);
    }

    #[test]
    fn a_file_that_others_could_read_is_private_after_the_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        fs::write(&path, "one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn what_a_killed_writer_left_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        for name in [
            ".keys.json.77-1.tmp",
            ".other.json.77-1.tmp",
            ".keys.json.bak.77-1.tmp",
            ".keys.json.mine.tmp",
            "keys.json.tmp",
            ".keys.json.swp",
        ] {
            fs::write(dir.path().join(name), "{\"ke").unwrap();
        }
        replace(&path, b"whole").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        let left = [
            ".keys.json.bak.77-1.tmp",
            ".keys.json.mine.tmp",
            ".keys.json.swp",
            ".other.json.77-1.tmp",
            "keys.json",
            "keys.json.tmp",
        ];
        assert_eq!(names_in(dir.path()), left);
    }

    #[test]
    fn a_write_that_fails_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        fs::create_dir_all(path.join("in the way")).unwrap();
        assert!(replace(&path, b"two").is_err());
        assert_eq!(names_in(dir.path()), ["keys.json"]);
    }

    #[test]
    fn of_many_who_make_a_new_file_one_succeeds_and_all_read_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/jwt-secret");
        let made: Vec<bool> = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..8_u8)
                .map(|number| {
                    scope.spawn({
                        let path = &path;
                        move || create_new(path, &[number; 64]).unwrap()
                    })
                })
                .collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        assert_eq!(made.iter().filter(|made| **made).count(), 1);
        let winner = u8::try_from(made.iter().position(|made| *made).unwrap()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), [winner; 64]);
        assert_eq!(mode(&path), 0o600);
        assert_eq!(names_in(path.parent().unwrap()), ["jwt-secret"]);
    }

    #[test]
    fn a_folder_is_tried_by_a_file_that_does_not_stay() {
        let dir = tempfile::tempdir().unwrap();
        takes_new_file(&dir.path().join("a/b/keys.json")).unwrap();
        takes_new_file(&dir.path().join("keys.json")).unwrap();
        assert_eq!(names_in(dir.path()), Vec::<OsString>::new());
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(takes_new_file(&dir.path().join("file/keys.json")).is_err());
        assert!(takes_new_file(Path::new("/proc/no/keys.json")).is_err());
    }

    #[test]
    fn a_bare_file_name_is_in_the_current_directory() {
        assert_eq!(directory(Path::new("keys.json")), Path::new("."));
        assert_eq!(directory(Path::new("/data/keys.json")), Path::new("/data"));
    }
}
