//! `import`: reads a file, shows what it would do, and does it in one write.

use std::{
    ffi::OsStr,
    fmt::Write as _,
    fs::File,
    io::{self, Read},
    process::ExitCode,
};

use rand::{TryRng, rngs::SysRng};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{
    args::Args,
    failure::{FAILED, Failure},
    keys::tell_sealed,
    output::{self, is_agreed, note, shown},
    progress::Progress,
    service::{AfterChange, RefreshOutcome, RefreshPlan},
    store::DocumentStore,
};
use crate::core::{
    change::Change,
    id,
    import::{self, Format, Import, Incoming, Plan},
    time::Timestamp,
};

/// How many lines of a kind are shown to people; `--json` has them all.
const SHOWN: usize = 20;

/// `import --json`.
#[derive(Serialize)]
struct Report {
    new: usize,
    identical: usize,
    conflicting: Vec<Problem>,
    invalid: Vec<Problem>,
    imported: usize,
    total: Option<usize>,
    sealed: usize,
    generation: Option<u64>,
    refresh: RefreshOutcome,
}

/// A row that is in the way of all others.
#[derive(Serialize)]
struct Problem {
    line: usize,
    id: Option<String>,
    reason: String,
}

struct Asked {
    dry_run: bool,
    yes: bool,
    json: bool,
}

pub async fn import(mut args: Args) -> Result<ExitCode, Failure> {
    args.store_flags()?;
    args.setting("--refresh-url", "REFRESH_URL")?;
    let format = args.option("--format")?;
    let asked = Asked {
        dry_run: args.contains("--dry-run"),
        yes: args.contains_either("-y", "--yes"),
        json: args.contains("--json"),
    };
    let no_refresh = args.contains("--no-refresh");
    let file = args.free()?.ok_or_else(|| Failure::usage("FILE is missing"))?;
    let settings = args.settings()?;
    let format = format.as_deref().map(parse_format).transpose()?;
    if file == "-" && !asked.yes && !asked.dry_run {
        return Err(Failure::usage("keys from standard input need --yes or --dry-run"));
    }
    let refresh = RefreshPlan::new(&settings, no_refresh)?;
    let store = DocumentStore::open(&settings).await?;
    let text = read_file(&file)?;
    let (incoming, invalid) = read_rows(&text, format, store.now())?;
    drop(text);
    let plan = import::plan(&store.read().await?, &incoming);
    let report = Report::new(plan, invalid);
    carry_out(&store, incoming, report, refresh, &asked).await
}

pub fn parse_format(word: &str) -> Result<Format, Failure> {
    match word {
        "json" => Ok(Format::Json),
        "csv" => Ok(Format::Csv),
        _ => Err(Failure::usage("--format must be json or csv")),
    }
}

async fn carry_out(
    store: &DocumentStore,
    incoming: Vec<Incoming>,
    mut report: Report,
    refresh: RefreshPlan,
    asked: &Asked,
) -> Result<ExitCode, Failure> {
    if !asked.json {
        output::answer(&report.lines(&store.store.location()))?;
    }
    if !report.is_possible() {
        report.print_json(asked)?;
        if !asked.dry_run {
            note("Error: nothing was imported: all rows must be good\n");
        }
        return Ok(FAILED.into());
    }
    if asked.dry_run || report.new == 0 {
        if !asked.json && !asked.dry_run {
            output::answer("✓ Nothing to import.\n")?;
        }
        report.print_json(asked)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !asked.yes && !is_agreed(&format!("Import {} keys?", report.new)) {
        if !asked.json {
            output::answer("Cancelled.\n")?;
        }
        report.print_json(asked)?;
        return Ok(ExitCode::SUCCESS);
    }
    write(store, incoming, &mut report, refresh, asked).await?;
    report.print_json(asked)?;
    Ok(ExitCode::SUCCESS)
}

async fn write(
    store: &DocumentStore,
    incoming: Vec<Incoming>,
    report: &mut Report,
    refresh: RefreshPlan,
    asked: &Asked,
) -> Result<(), Failure> {
    let change = Change::Import(Import(incoming.into()));
    let committed = store.commit(&change, &refresh).await?;
    tell_sealed(committed.applied.sealed);
    report.imported = report.new;
    report.total = Some(committed.keys_count);
    report.sealed = committed.applied.sealed;
    report.generation = Some(committed.generation);
    if !asked.json {
        output::answer(&format!(
            "✓ Imported {} keys, {} in all.\n",
            report.new, committed.keys_count
        ))?;
    }
    let after = AfterChange {
        happened: "The keys were imported",
        remedy: "Run 'heare-auth refresh' manually to load them.",
    };
    report.refresh = refresh.carry_out(&after).await;
    if !asked.json {
        output::answer(&report.refresh.line())?;
    }
    Ok(())
}

/// The file may hold plaintext secrets, so its text is wiped when it is no longer needed.
pub fn read_file(file: &OsStr) -> Result<Zeroizing<String>, Failure> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = if file == "-" {
        io::stdin().lock().read_to_end(&mut bytes)
    } else {
        let size = |file: &File| file.metadata().map_or(0, |outside| outside.len());
        File::open(file).and_then(|mut file| {
            // Room for all of it at once: a buffer that grows leaves copies behind that nobody wipes.
            bytes.reserve(usize::try_from(size(&file)).unwrap_or_default() + 1);
            file.read_to_end(&mut bytes)
        })
    };
    if let Err(error) = read {
        return Err(Failure::Failed(format!("the file cannot be read: {}", error.kind())));
    }
    String::from_utf8(std::mem::take(&mut *bytes))
        .map(Zeroizing::new)
        .map_err(|error| {
            drop(Zeroizing::new(error.into_bytes()));
            Failure::failed("the file must be UTF-8 text")
        })
}

fn read_rows(text: &str, format: Option<Format>, now: Timestamp) -> Result<(Vec<Incoming>, Vec<Problem>), Failure> {
    let found = import::read(text, format.unwrap_or_else(|| Format::of(text)))
        .map_err(|error| Failure::Failed(format!("{error}; nothing was imported")))?;
    let mut progress = Progress::new("reading keys", found.len());
    let mut refused = false;
    let mut fill = |bytes: &mut [u8]| refused |= SysRng.try_fill_bytes(bytes).is_err();
    let mut new_id = || id::new_key_id(now, &mut fill);
    let (mut incoming, mut invalid) = (Vec::with_capacity(found.len()), Vec::new());
    for row in found {
        let line = row.line;
        match Incoming::new(row, &mut new_id, now) {
            Ok(one) => incoming.push(one),
            Err(flaw) => invalid.push(Problem {
                line,
                id: None,
                reason: flaw.to_string(),
            }),
        }
        progress.step();
    }
    if refused {
        return Err(Failure::failed(
            "the system gives no random numbers; nothing was imported",
        ));
    }
    Ok((incoming, invalid))
}

impl Report {
    fn new(plan: Plan, invalid: Vec<Problem>) -> Self {
        let conflicting = plan.conflicts.into_iter().map(|conflict| Problem {
            line: conflict.line,
            id: conflict.id,
            reason: conflict.reason.to_string(),
        });
        Self {
            new: plan.new.len(),
            identical: plan.identical,
            conflicting: conflicting.collect(),
            invalid,
            imported: 0,
            total: None,
            sealed: 0,
            generation: None,
            refresh: RefreshOutcome::Skipped(()),
        }
    }

    fn is_possible(&self) -> bool {
        self.conflicting.is_empty() && self.invalid.is_empty()
    }

    fn print_json(&self, asked: &Asked) -> Result<(), Failure> {
        if asked.json {
            output::answer(&output::json_line(self))
        } else {
            Ok(())
        }
    }

    fn lines(&self, location: &str) -> String {
        let mut lines = format!("Import into {}:\n", shown(location));
        for (kind, count) in [
            ("new", self.new),
            ("identical", self.identical),
            ("conflicting", self.conflicting.len()),
            ("invalid", self.invalid.len()),
        ] {
            writeln!(lines, "  {kind:<12} {count}").expect("a String takes everything");
            let problems = match kind {
                "conflicting" => &*self.conflicting,
                "invalid" => &*self.invalid,
                _ => &[],
            };
            push_problems(&mut lines, problems);
        }
        lines
    }
}

fn push_problems(lines: &mut String, problems: &[Problem]) {
    for problem in problems.iter().take(SHOWN) {
        let id = problem
            .id
            .as_ref()
            .map_or_else(String::new, |id| format!("{}: ", shown(id)));
        writeln!(lines, "    line {}: {id}{}", problem.line, shown(&problem.reason))
            .expect("a String takes everything");
    }
    if let Some(more @ 1..) = problems.len().checked_sub(SHOWN) {
        writeln!(lines, "    and {more} more").expect("a String takes everything");
    }
}
