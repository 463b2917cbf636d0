//! `scan`: looks for leaked secrets in files, by their form and checksum, and says whose they are where the store knows.

use std::{
    fmt::{Display, Write as _},
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::Serialize;

use super::{
    args::{Args, Settings},
    failure::{FAILED, Failure},
    output::{self, note, shown},
    record::{Status, unescaped},
    store::DocumentStore,
};
use crate::{
    config,
    core::{
        id::{Beginnings, OtherPrefix},
        index::{Entry, Index},
        scan::{self as form, Found, MAX_TOKEN},
        secret::Secret,
        time::Timestamp,
    },
};

/// How much of a file is looked at in one piece.
const PIECE: usize = 256 * 1024;
/// A zero byte in the first so many says that a file is no text, as it does for git.
const SNIFFED: usize = 8000;
/// Folders in which nothing is looked for.
const PASSED_OVER: [&str; 3] = [".git", ".hg", ".svn"];

/// `scan --json`.
#[derive(Serialize, Default)]
struct Report {
    found: Vec<Hit>,
    /// Files that were looked at.
    files: usize,
    /// What was met in folders and is no text, or no file.
    skipped: usize,
    unreadable: usize,
}

#[derive(Serialize)]
struct Hit {
    path: String,
    line: usize,
    column: usize,
    secret_prefix: String,
    key_id: Option<String>,
    status: Option<Status>,
}

/// A place, with what stands there. The secret is compared and never shown.
struct Suspect {
    path: String,
    line: usize,
    column: usize,
    prefix: String,
    secret: Secret,
    is_certain: bool,
}

pub async fn scan(mut args: Args) -> Result<ExitCode, Failure> {
    args.store_flags()?;
    let json = args.contains("--json");
    let offline = args.contains("--offline");
    let others = other_prefixes(&args.options("--prefix")?)?;
    let mut paths = Vec::new();
    while let Some(path) = args.free()? {
        paths.push(PathBuf::from(path));
    }
    let settings = args.settings()?;
    if paths.is_empty() {
        return Err(Failure::usage("PATH is missing"));
    }
    let prefixes = config::key_prefixes(&|name| settings.get(name))?;
    let mut search = Search {
        report: Report::default(),
        suspects: Vec::new(),
        is_offline: offline,
        beginnings: Beginnings::new(&prefixes, &others),
    };
    for path in paths {
        search.look_at(&path);
    }
    let Search {
        mut report, suspects, ..
    } = search;
    let known = if offline || suspects.is_empty() {
        None
    } else {
        read_keys(&settings).await
    };
    report.found = suspects
        .into_iter()
        .filter_map(|suspect| judged(suspect, known.as_ref()))
        .collect();
    output::answer(&if json {
        output::json_line(&report)
    } else {
        report.lines(known.is_some())
    })?;
    Ok(if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        FAILED.into()
    })
}

fn other_prefixes(texts: &[String]) -> Result<Vec<OtherPrefix>, Failure> {
    let read = texts.iter().map(|text| text.parse());
    read.collect::<Result<_, _>>().map_err(|_| {
        Failure::usage("--prefix must be how secrets begin, such as acme_live_: 2 to 24 characters that end in _")
    })
}

/// All keys, and the time by which they are judged.
struct Known {
    index: Index,
    now: Timestamp,
}

/// Without the keys a leaked secret is a leaked secret all the same, so that they cannot be read is only a warning.
async fn read_keys(settings: &Settings) -> Option<Known> {
    let read = async {
        let store = DocumentStore::open(settings).await?;
        let document = store.read().await?;
        let index = Index::build(&document.to_json()).map_err(|error| Failure::Failed(error.to_string()))?;
        Ok::<_, Failure>(Known {
            index,
            now: store.now(),
        })
    };
    match read.await {
        Ok(known) => Some(known),
        Err(Failure::Failed(sentence) | Failure::Usage(sentence)) => {
            let first = sentence.lines().next().unwrap_or_default().to_owned();
            note(&format!("⚠️  Warning: whose the secrets are is not known: {first}\n"));
            None
        }
    }
}

/// Nothing, when only the form is that of a secret and no key has it.
fn judged(suspect: Suspect, known: Option<&Known>) -> Option<Hit> {
    let holder = known.and_then(|known| {
        let digest = known.index.digest_by_trial(suspect.secret.expose());
        let entry = known.index.find(&digest)?;
        Some((unescaped(entry.id), status(&entry, known.now)))
    });
    if !suspect.is_certain && holder.is_none() {
        return None;
    }
    let (key_id, status) = holder.unzip();
    Some(Hit {
        path: suspect.path,
        line: suspect.line,
        column: suspect.column,
        secret_prefix: suspect.prefix,
        key_id: key_id.flatten(),
        status,
    })
}

/// Of the secret: an earlier one of a good key may have expired.
fn status(entry: &Entry<'_>, now: Timestamp) -> Status {
    if entry.is_revoked(now) {
        Status::Revoked
    } else if entry.has_expired(now) || entry.is_outdated(now) {
        Status::Expired
    } else {
        Status::Good
    }
}

struct Search {
    report: Report,
    suspects: Vec<Suspect>,
    /// Nobody will be asked about what has no checksum.
    is_offline: bool,
    beginnings: Beginnings,
}

impl Search {
    /// What was named is looked at, whatever it is: also where a link leads, and what comes out of a pipe.
    fn look_at(&mut self, named: &Path) {
        if named == Path::new("-") {
            let content = self.look_into("(standard input)", &mut io::stdin().lock());
            return self.expect_text(Path::new("(standard input)"), content);
        }
        match fs::metadata(named) {
            Ok(there) if there.is_dir() => self.go_through(named),
            Ok(_) => {
                let content = self.open(named);
                self.expect_text(named, content);
            }
            Err(error) => self.cannot_read(named, error.kind()),
        }
    }

    /// Goes through folders without following links, so that no file is met twice and none outside is met at all.
    fn go_through(&mut self, folder: &Path) {
        let mut left = Vec::new();
        self.enter(folder, &mut left);
        while let Some(path) = left.pop() {
            match fs::symlink_metadata(&path) {
                Ok(outside) if outside.is_dir() => self.enter(&path, &mut left),
                Ok(outside) if outside.is_file() => match self.open(&path) {
                    Content::Text | Content::Unreadable => {}
                    Content::NoText => self.report.skipped += 1,
                },
                // Links, pipes and devices.
                Ok(_) => self.report.skipped += 1,
                Err(error) => self.cannot_read(&path, error.kind()),
            }
        }
    }

    /// Who named it takes it for looked at.
    fn expect_text(&mut self, named: &Path, content: Content) {
        match content {
            Content::Text | Content::Unreadable => {}
            Content::NoText => self.cannot_read(named, "it is no text"),
        }
    }

    fn enter(&mut self, folder: &Path, left: &mut Vec<PathBuf>) {
        match fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => {
                let first = left.len();
                let is_wanted = |entry: &fs::DirEntry| !PASSED_OVER.iter().any(|name| entry.file_name() == *name);
                left.extend(entries.into_iter().filter(is_wanted).map(|entry| entry.path()));
                // The last is looked at first, so that a run finds in the order of the names.
                left[first..].sort_unstable_by(|a, b| b.cmp(a));
            }
            Err(error) => self.cannot_read(folder, error.kind()),
        }
    }

    fn open(&mut self, path: &Path) -> Content {
        match fs::File::open(path) {
            Ok(mut file) => self.look_into(&path.to_string_lossy(), &mut file),
            Err(error) => {
                self.cannot_read(path, error.kind());
                Content::Unreadable
            }
        }
    }

    fn look_into(&mut self, path: &str, source: &mut dyn Read) -> Content {
        let mut place = Place { line: 1, column: 1 };
        let mut bytes = Vec::new();
        let mut is_first = true;
        loop {
            let before = bytes.len();
            if let Err(error) = source.take(PIECE as u64).read_to_end(&mut bytes) {
                self.cannot_read(Path::new(path), error.kind());
                return Content::Unreadable;
            }
            if std::mem::take(&mut is_first) {
                if bytes.iter().take(SNIFFED).any(|byte| *byte == 0) {
                    return Content::NoText;
                }
                self.report.files += 1;
            }
            let is_end = bytes.len() == before;
            // What begins further back may go on in the next piece.
            let settled = if is_end {
                bytes.len()
            } else {
                bytes.len().saturating_sub(MAX_TOKEN)
            };
            self.note(path, &bytes, settled, &mut place);
            if is_end {
                return Content::Text;
            }
            bytes.drain(..settled);
        }
    }

    /// Moves the place to the end of what is settled.
    fn note(&mut self, path: &str, bytes: &[u8], settled: usize, place: &mut Place) {
        let mut at = 0;
        let is_offline = self.is_offline;
        let is_wanted = |found: &Found<'_>| found.offset < settled && (found.certain || !is_offline);
        let mut wanted: Vec<_> = form::find(bytes, &self.beginnings).filter(is_wanted).collect();
        // They come by the ends of their prefixes, and one may stand inside another.
        wanted.sort_by_key(|found| found.offset);
        for found in wanted {
            place.pass(&bytes[at..found.offset]);
            at = found.offset;
            self.suspects.push(Suspect::new(path, place, &found));
        }
        place.pass(&bytes[at..settled]);
    }

    fn cannot_read(&mut self, path: &Path, why: impl Display) {
        self.report.unreadable += 1;
        note(&format!(
            "⚠️  Warning: {} cannot be read: {why}\n",
            shown(&path.to_string_lossy())
        ));
    }
}

/// What came of a look into something.
#[derive(Clone, Copy)]
enum Content {
    Text,
    NoText,
    /// Said already.
    Unreadable,
}

/// Both are counted from 1, columns in characters.
struct Place {
    line: usize,
    column: usize,
}

impl Place {
    fn pass(&mut self, bytes: &[u8]) {
        let mut begin = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            self.line += 1;
            self.column = 1;
            begin = end + 1;
        }
        // Every character has one byte that goes on nothing.
        self.column += bytes[begin..].iter().filter(|byte| **byte & 0xc0 != 0x80).count();
    }
}

impl Suspect {
    fn new(path: &str, place: &Place, found: &Found<'_>) -> Self {
        Self {
            path: path.to_owned(),
            line: place.line,
            column: place.column,
            prefix: found.prefix.to_owned(),
            secret: Secret::new(found.token),
            is_certain: found.certain,
        }
    }
}

impl Report {
    /// What could not be read was not found to be clean.
    fn is_clean(&self) -> bool {
        self.found.is_empty() && self.unreadable == 0
    }

    /// `is_compared`: there were keys to look the secrets up in.
    fn lines(&self, is_compared: bool) -> String {
        let mut lines: String = self.found.iter().map(|hit| hit.sentence(is_compared)).collect();
        let (found, files) = (self.found.len(), self.files);
        let summary = match found {
            0 if self.is_clean() => format!("✓ No secrets found in {files} files."),
            0 => format!("No secrets found in the {files} files that could be read."),
            _ => format!("✗ {found} secrets found in {files} files. Rotate or revoke their keys."),
        };
        lines.push_str(&summary);
        if self.skipped > 0 {
            write!(lines, " Passed over: {}, no text or no files.", self.skipped).expect("a String takes everything");
        }
        lines.push('\n');
        lines
    }
}

impl Hit {
    fn sentence(&self, is_compared: bool) -> String {
        let holder = match (&self.key_id, self.status) {
            (Some(id), Some(Status::Good)) => shown(id),
            (Some(id), Some(status)) => format!("{} ({})", shown(id), status.word()),
            _ if is_compared => "no known key".to_owned(),
            _ => "key not looked up".to_owned(),
        };
        format!(
            "{}:{}:{}: {}… {holder}\n",
            shown(&self.path),
            self.line,
            self.column,
            self.secret_prefix
        )
    }
}
