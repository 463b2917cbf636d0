//! What is given to others: the archive, the list of its parts, the checksums and the signature, and who notices a change.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{binary, printed, root, run};
use crate::support::tool;

const SIGNER: &str = "somebody@example.org";

/// Holds the list of parts against the schema of `CycloneDX`, strictly.
const JUDGE: &str = "
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
problem = JsonStrictValidator(SchemaVersion.V1_5).validate_str(sys.stdin.read())
sys.exit(str(problem) if problem else 0)
";

#[test]
fn a_release_is_whole_signed_and_refused_once_a_byte_of_it_differs() {
    let release = Release::make();
    let told = printed(&release.verify(&release.signers()));
    assert!(
        told.contains(&format!("Good \"heare-auth-release\" signature for {SIGNER}")),
        "{told}"
    );
    release.has_what_the_list_says();

    let archive = release.folder().join(&release.names()[0]);
    let mut bytes = std::fs::read(&archive).expect("the archive");
    *bytes.last_mut().expect("a byte") ^= 1;
    std::fs::write(&archive, bytes).expect("it can be written");
    assert!(!release.verify(&release.signers()).status.success());
}

#[test]
fn a_release_that_somebody_else_has_signed_is_refused() {
    let release = Release::make();
    let other = TempDir::new().expect("a temporary directory");
    let answer = release.verify(&key(other.path()).1);
    assert!(!answer.status.success());
    let told = String::from_utf8_lossy(&answer.stderr);
    assert!(told.contains("is by nobody who is named in"), "{told}");
}

#[test]
fn a_release_needs_somebody_who_signs_it() {
    let answer = run("scripts/release", &["--draft"]);
    assert!(!answer.status.success());
    let told = String::from_utf8_lossy(&answer.stderr);
    assert!(told.contains("--sign-with KEY"), "{told}");
}

#[test]
fn the_list_of_parts_is_the_same_each_time_and_of_the_form_it_says() {
    let list = printed(&run("scripts/sbom", &[]));
    assert_eq!(printed(&run("scripts/sbom", &[])), list);
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), &list).expect("it can be written");
    let judged = Command::new(tool("venv/bin/python"))
        .args(["-c", JUDGE])
        .stdin(std::fs::File::open(file.path()).expect("it can be read"))
        .output()
        .expect("python runs");
    printed(&judged);
}

#[test]
fn the_list_of_parts_names_what_is_compiled_in_and_no_tool_of_the_tests() {
    let list: Value = serde_json::from_str(&printed(&run("scripts/sbom", &[]))).expect("JSON");
    let parts: BTreeSet<&str> = list["components"]
        .as_array()
        .expect("parts")
        .iter()
        .map(|part| part["name"].as_str().expect("a name"))
        .collect();
    for name in ["hyper", "ring", "aws-sdk-s3", "libsqlite3-sys", "tokio"] {
        assert!(parts.contains(name), "{name}");
    }
    for name in ["criterion", "proptest", "insta", "heare-auth"] {
        assert!(!parts.contains(name), "{name}");
    }
    assert_eq!(list["metadata"]["component"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn every_part_goes_out_with_the_text_of_its_licence() {
    let text = printed(&run("scripts/sbom", &["--licences"]));
    let (list, texts) = text.split_once("\n====").expect("a list and texts");
    for line in list
        .lines()
        .filter(|line| line.starts_with("aws-") || line.starts_with("ring "))
    {
        let (name, licence) = line.split_once(": ").expect("a part and its licence");
        assert!(!licence.is_empty() && texts.contains(name), "{line}");
    }
    assert!(texts.contains("Permission is hereby granted, free of charge"));
    assert!(texts.contains("Version 2.0, January 2004"));
}

/// Made of the binary under test, for a rehearsal.
struct Release {
    directory: TempDir,
    signers: PathBuf,
}

impl Release {
    fn make() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let (key, signers) = key(directory.path());
        let made = Command::new("scripts/release")
            .args(["--draft", "--sign-with"])
            .arg(key)
            .arg("--binary")
            .arg(stripped(directory.path()))
            .arg("--output")
            .arg(directory.path().join("dist"))
            .env("SOURCE_DATE_EPOCH", "1700000000")
            .current_dir(root())
            .output()
            .expect("it runs");
        printed(&made);
        Self { directory, signers }
    }

    fn folder(&self) -> PathBuf {
        self.directory.path().join("dist")
    }

    fn signers(&self) -> PathBuf {
        self.signers.clone()
    }

    /// What the checksums are of.
    fn names(&self) -> Vec<String> {
        let sums = std::fs::read_to_string(self.folder().join("SHA256SUMS")).expect("checksums");
        let names = sums
            .lines()
            .map(|line| line.split_once("  ").expect("a sum and a name").1);
        names.map(str::to_owned).collect()
    }

    fn verify(&self, signers: &Path) -> Output {
        let [folder, signers] = [&self.folder(), signers].map(|path| path.to_str().expect("UTF-8").to_owned());
        run("scripts/verify-release", &[&folder, &signers])
    }

    fn has_what_the_list_says(&self) {
        let names = self.names();
        assert!(
            names[0].ends_with(".tar.gz") && names[1].ends_with(".cdx.json"),
            "{names:?}"
        );
        let archive = self.folder().join(&names[0]);
        let listed = printed(&run("tar", &["-tvzf", archive.to_str().expect("UTF-8")]));
        for name in [
            "/heare-auth\n",
            "/LICENSE\n",
            "/LICENCES-OF-PARTS.txt\n",
            "/heare-auth.1\n",
            "/completions/zsh\n",
            "/deployment/systemd/heare-auth.service\n",
        ] {
            assert!(listed.contains(name), "{name}");
        }
        let is_anonymous = |line: &str| line.contains(" 0/0 ") && line.contains(" 2023-11-1");
        assert!(listed.lines().all(is_anonymous), "{listed}");
    }
}

/// The binary without what debuggers need, which is most of it.
fn stripped(folder: &Path) -> PathBuf {
    let smaller = folder.join("heare-auth");
    let status = Command::new("strip").arg("-o").arg(&smaller).arg(binary()).status();
    assert!(status.expect("strip comes with the linker").success());
    smaller
}

/// A private key, and the file that names whoever has it.
fn key(folder: &Path) -> (PathBuf, PathBuf) {
    let (key, signers) = (folder.join("key"), folder.join("signers"));
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", SIGNER, "-f"])
        .arg(&key)
        .output()
        .expect("scripts/setup has installed ssh-keygen");
    printed(&made);
    let public = std::fs::read_to_string(key.with_extension("pub")).expect("the public key");
    std::fs::write(&signers, format!("{SIGNER} {public}")).expect("it can be written");
    (key, signers)
}
