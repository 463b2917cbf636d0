//! The container image: its contents are laid out as the Dockerfile lays them out, and run as it says, without Docker.

use std::{
    collections::BTreeMap,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::json;
use tempfile::TempDir;

use super::{binary, printed, read, root, run};
use crate::support::{
    http_client::post,
    ports::free_port,
    service::{eventually, printed_secret},
    settings::wait_for_exit,
    stored_object::StoredObject,
};

/// What the image may weigh, and what of it may be other than the binary.
const LARGEST_REST: u64 = 6_000_000;

/// The user in the image.
const USER: u32 = 10001;

/// Puts the folder at $1 in place as the root of everything, for reading alone but for /data, as `docker run --read-only`
/// does with a volume there, and runs the rest of the arguments in it.
const RUN_IN_ROOT: &str = r#"
set -e
root=$1 data=$2
shift 2
mount --bind "$root" "$root"
mount --bind "$data" "$root/data"
mount -o remount,bind,ro "$root"
exec "$@"
"#;

#[test]
fn the_image_holds_the_binary_its_libraries_and_nothing_to_run_besides() {
    let image = Image::lay_out();
    let mut rest = 0;
    for (path, size) in image.files() {
        let name = path.rsplit('/').next().unwrap_or_default();
        let is_library = path.starts_with("/lib") && (name.contains(".so.") || name.starts_with("ld-linux"));
        let is_known = [
            "/usr/local/bin/heare-auth",
            "/etc/ssl/certs/ca-certificates.crt",
            "/etc/nsswitch.conf",
            "/etc/passwd",
            "/etc/group",
        ]
        .contains(&path.as_str());
        assert!(is_library || is_known, "{path}");
        if name != "heare-auth" {
            rest += size;
        }
    }
    assert!(rest < LARGEST_REST, "{rest} bytes beside the binary");
}

#[test]
fn the_image_serves_from_a_root_that_cannot_be_written_to_as_nobody_in_particular() {
    let image = Image::lay_out();
    let object = StoredObject::new();
    let port = free_port();
    let mut environment: BTreeMap<String, String> = object
        .environment()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.replace("127.0.0.1", "store.test")))
        .collect();
    environment.insert("PORT".to_owned(), port.to_string());
    environment.insert("REFRESH_URL".to_owned(), format!("http://localhost:{port}/refresh"));

    let mut service = image.start(&dockerfile_words("CMD"), &environment);
    let health = dockerfile_words("HEALTHCHECK");
    eventually("the health check of the image succeeds", || {
        assert!(service.is_running(), "it ended");
        image
            .command(&health, &environment)
            .output()
            .expect("it runs")
            .status
            .success()
    });
    let create = ["heare-auth", "create", "--name", "My Service"].map(str::to_owned);
    let created = image.command(&create, &environment).output().expect("it runs");
    let secret = printed_secret(&created);
    let address = ([127, 0, 0, 1], port).into();
    let answer = post(address, "/verify", json!({ "api_key": secret }).to_string().as_bytes());
    assert_eq!(answer.status_and_json().1["name"], "My Service");
    if is_root() {
        assert_eq!(service.user(), USER);
    }
    assert!(service.stop().success());
}

#[test]
fn without_a_bucket_the_image_keeps_keys_in_its_one_writable_folder() {
    let image = Image::lay_out();
    let environment = BTreeMap::new();
    let create = ["heare-auth", "create", "--name", "x", "--no-refresh"].map(str::to_owned);
    let created = image.command(&create, &environment).output().expect("it runs");
    printed(&created);
    let kept = std::fs::read_to_string(image.data().join("keys.json")).expect("the document is in /data");
    assert!(kept.contains("\"x\""), "{kept}");
}

#[test]
fn the_dockerfile_adds_nothing_to_what_is_laid_out() {
    let text = read("Dockerfile");
    let (build, image) = text.split_once("\nFROM scratch\n").expect("two stages");
    assert!(build.contains("RUN scripts/image /image \"$(scripts/build)\""));
    let toolchain = read("rust-toolchain.toml");
    let version = build
        .split_once("FROM rust:")
        .and_then(|(_, rest)| rest.split_once('-'));
    let (version, _) = version.expect("the image of a Rust version");
    assert!(toolchain.contains(&format!("channel = \"{version}")), "{version}");
    for line in image.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let word = line.split(' ').next().unwrap_or_default();
        match word {
            "COPY" => assert!(line.starts_with("COPY --from=build "), "{line}"),
            "USER" => assert_eq!(line, format!("USER {USER}:{USER}")),
            "ENV" | "EXPOSE" | "HEALTHCHECK" | "ENTRYPOINT" | "CMD" => {}
            _ => panic!("{line}"),
        }
    }
    let port = heare_auth::config::SETTINGS
        .iter()
        .find(|setting| setting.name == "PORT")
        .expect("a setting");
    assert!(image.contains(&format!("EXPOSE {}", port.default)), "{}", port.default);
}

#[test]
fn whatever_the_build_needs_is_sent_to_docker() {
    let ignored = read(".dockerignore");
    for needed in [
        "Cargo.toml",
        "Cargo.lock",
        "rust-toolchain.toml",
        "ARCHITECTURE.md",
        "src",
        "migrations",
        "scripts",
    ] {
        assert!(root().join(needed).exists(), "{needed}");
        assert!(
            !ignored.lines().any(|line| line.trim_matches('/') == needed),
            "{needed}"
        );
    }
}

/// What `scripts/image` has laid out, with the files that Docker adds when it starts a container.
struct Image {
    folder: TempDir,
}

impl Image {
    fn lay_out() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let image = folder.path().join("image");
        let binary = binary();
        let arguments = [&image, &binary].map(|path| path.to_str().expect("UTF-8"));
        printed(&run("scripts/image", &arguments));
        let image = Self { folder };
        if is_root() {
            chown(image.data(), Some(USER), Some(USER)).expect("root may");
        }
        image
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("image/root")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("image/owned/data")
    }

    fn files(&self) -> Vec<(String, u64)> {
        let mut found = Vec::new();
        let mut folders = vec![self.root()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a readable folder") {
                let path = entry.expect("a readable entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let inside = path.strip_prefix(self.root()).expect("below the root");
                    let size = path.metadata().expect("a file").len();
                    found.push((format!("/{}", inside.display()), size));
                }
            }
        }
        found
    }

    /// A program of the image, with the image's own environment and this besides.
    fn command(&self, words: &[String], environment: &BTreeMap<String, String>) -> Command {
        self.add_what_docker_adds();
        let mut command = Command::new("unshare");
        if !is_root() {
            command.arg("--map-root-user");
        }
        command.args(["--mount", "bash", "-c", RUN_IN_ROOT, "run-in-root"]);
        command.args([self.root(), self.data()]);
        command.args(["env", "-i"]);
        command.args(dockerfile_environment());
        command.args(environment.iter().map(|(name, value)| format!("{name}={value}")));
        command.arg("/usr/sbin/chroot");
        if is_root() {
            command.arg(format!("--userspec={USER}:{USER}"));
        }
        command.arg(self.root()).args(words);
        command.stdin(Stdio::null());
        command
    }

    fn start(&self, words: &[String], environment: &BTreeMap<String, String>) -> Running {
        let mut command = self.command(words, environment);
        command.stdout(Stdio::null()).process_group(0);
        Running(command.spawn().expect("unshare runs"))
    }

    fn add_what_docker_adds(&self) {
        let hosts = self.root().join("etc/hosts");
        std::fs::write(hosts, "127.0.0.1 localhost store.test\n").expect("it can be written");
        std::fs::create_dir_all(self.root().join("data")).expect("the folder can be made");
    }
}

/// A container's only process: every program before it has become it, so it has the pid that was started.
struct Running(Child);

impl Running {
    fn is_running(&mut self) -> bool {
        self.0.try_wait().expect("a child can be asked").is_none()
    }

    fn user(&self) -> u32 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("it runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("Uid:"))
            .expect("a user");
        line.split_whitespace()
            .next()
            .and_then(|uid| uid.parse().ok())
            .expect("a number")
    }

    /// As `docker stop` does.
    fn stop(mut self) -> std::process::ExitStatus {
        let pid = self.0.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .expect("kill runs")
                .success()
        );
        wait_for_exit(&mut self.0).expect("it ends")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program that an instruction of the Dockerfile names.
fn dockerfile_words(instruction: &str) -> Vec<String> {
    let text = read("Dockerfile");
    let line = text
        .lines()
        .find(|line| line.starts_with(instruction))
        .expect(instruction);
    let list = line.find('[').map(|at| &line[at..]).expect("a list of words");
    serde_json::from_str(list).expect("a list of words")
}

fn dockerfile_environment() -> Vec<String> {
    let text = read("Dockerfile");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("ENV "))
        .expect("an environment");
    line.split(' ').map(str::to_owned).collect()
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    Path::new("/proc/self").metadata().expect("proc is there").uid() == 0
}
