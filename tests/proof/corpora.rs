//! What the fuzzers start from, held against their oracles by every test run, with some changes of each input: so that an
//! oracle that does not hold any more is found without a fuzzer.

#[path = "../../fuzz/oracles/certificate.rs"]
mod certificate;
#[path = "../../fuzz/oracles/document.rs"]
mod document;
#[path = "../../fuzz/oracles/envelope.rs"]
mod envelope;
#[path = "../../fuzz/oracles/import.rs"]
mod import;
#[path = "../../fuzz/oracles/json.rs"]
mod json;
#[path = "../../fuzz/oracles/keys_and_ids.rs"]
mod keys_and_ids;
#[path = "../../fuzz/oracles/networks.rs"]
mod networks;
#[path = "../../fuzz/oracles/proxies.rs"]
mod proxies;
#[path = "../../fuzz/oracles/token.rs"]
mod token;
#[path = "../../fuzz/oracles/verify_body.rs"]
mod verify_body;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{fs, path::Path};

/// Changed copies of each input.
const CHANGES: usize = 8;

/// What has to hold of any input.
type Oracle = fn(&[u8]);

const TARGETS: [(&str, Oracle); 10] = [
    ("certificate", certificate::check),
    ("document", document::check),
    ("envelope", envelope::check),
    ("import", import::check),
    ("json", json::check),
    ("keys_and_ids", keys_and_ids::check),
    ("networks", networks::check),
    ("proxies", proxies::check),
    ("token", token::check),
    ("verify_body", verify_body::check),
];

#[test]
fn what_fuzzers_start_from_holds_and_so_do_changes_of_it() {
    let mut rng = StdRng::seed_from_u64(7);
    for (name, check) in TARGETS {
        let inputs = inputs(name);
        assert!(inputs.len() >= 3, "{name} has a corpus");
        for input in &inputs {
            check(input);
            for _ in 0..CHANGES {
                check(&changed(input, &inputs, &mut rng));
            }
        }
    }
}

/// Every target has an oracle that is run here, too.
#[test]
fn every_fuzz_target_is_among_them() {
    let folder = fs::read_dir(fuzz().join("fuzz_targets")).expect("a folder");
    let mut found: Vec<String> = folder
        .map(|entry| entry.expect("an entry").path())
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    found.sort();
    assert_eq!(found, TARGETS.map(|(name, _)| name));
}

fn inputs(target: &str) -> Vec<Vec<u8>> {
    let folder = fs::read_dir(fuzz().join("corpus").join(target)).expect("a corpus");
    let mut paths: Vec<_> = folder.map(|entry| entry.expect("an entry").path()).collect();
    // In one order everywhere, so that the changes are the same, too.
    paths.sort();
    let read = |path: &std::path::PathBuf| fs::read(path).expect("an input");
    paths.iter().map(read).collect()
}

/// As fuzzers do it: a byte flipped, a stretch taken out, put in twice or taken from another input.
fn changed(input: &[u8], others: &[Vec<u8>], rng: &mut StdRng) -> Vec<u8> {
    let mut changed = input.to_vec();
    let at = rng.random_range(0..=changed.len());
    let to = rng.random_range(at..=changed.len());
    match rng.random_range(0..4) {
        0 if at < changed.len() => changed[at] ^= 1 << rng.random_range(0..8),
        1 => drop(changed.drain(at..to)),
        2 => changed.extend_from_within(at..to),
        _ => {
            let other = &others[rng.random_range(0..others.len())];
            let from = rng.random_range(0..=other.len());
            changed.splice(at..to, other[from..].iter().copied());
        }
    }
    changed
}

fn fuzz() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz"))
}
