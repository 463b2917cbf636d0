//! A real proxy run from its files in documentation/examples, with nothing in them changed but addresses and paths.

use super::{ports::free_port, service::eventually, tool};
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Example {
    Nginx,
    Haproxy,
    Caddy,
    Envoy,
}

/// A running proxy; killed when dropped.
pub struct Proxy {
    pub address: SocketAddr,
    process: Child,
    _directory: TempDir,
}

impl Example {
    pub const ALL: [Self; 4] = [Self::Nginx, Self::Haproxy, Self::Caddy, Self::Envoy];

    /// In front of this backend, asking this service.
    pub fn start(self, service: SocketAddr, backend: SocketAddr) -> Proxy {
        self.start_changed(service, backend, |text| text)
    }

    /// As `start`, with one of its files changed besides.
    pub fn start_changed(self, service: SocketAddr, backend: SocketAddr, change: impl Fn(String) -> String) -> Proxy {
        // Another process may take the free port first, so a few ports are tried.
        (0..10)
            .find_map(|_| self.try_start(service, backend, &change))
            .unwrap_or_else(|| panic!("{self:?} starts"))
    }

    fn try_start(self, service: SocketAddr, backend: SocketAddr, change: &impl Fn(String) -> String) -> Option<Proxy> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        for name in self.files() {
            let text = fs::read_to_string(self.folder().join(name)).expect("the example is there");
            let text = substituted(&text, directory.path(), address, service, backend);
            fs::write(directory.path().join(name), change(text)).expect("the file is written");
        }
        let mut process = self
            .command(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("scripts/setup has installed it");
        let mut ended = false;
        eventually("the proxy listens or gives up", || {
            ended = process.try_wait().expect("a child can be asked").is_some();
            ended || TcpStream::connect(address).is_ok()
        });
        (!ended).then_some(Proxy {
            address,
            process,
            _directory: directory,
        })
    }

    fn files(self) -> &'static [&'static str] {
        match self {
            Self::Nginx => &["nginx.conf", "identity.conf"],
            Self::Haproxy => &["haproxy.cfg", "heare-auth.lua"],
            Self::Caddy => &["Caddyfile"],
            Self::Envoy => &["envoy.yaml"],
        }
    }

    fn folder(self) -> PathBuf {
        let name = match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Caddy => "caddy",
            Self::Envoy => "envoy",
        };
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("documentation/examples")
            .join(name)
    }

    /// One process in the foreground, so that killing it leaves nothing behind.
    fn command(self, directory: &Path) -> Command {
        let mut command = Command::new(match self {
            Self::Nginx => PathBuf::from("/usr/sbin/nginx"),
            Self::Haproxy => PathBuf::from("/usr/sbin/haproxy"),
            Self::Caddy => PathBuf::from("/usr/bin/caddy"),
            Self::Envoy => tool("venv/bin/envoy"),
        });
        let file = directory.join(self.files()[0]);
        match self {
            Self::Nginx => {
                let pid = directory.join("pid");
                let directives = format!("daemon off; master_process off; pid {};", pid.display());
                command.arg("-p").arg(directory).args(["-e", "stderr", "-c"]);
                command.arg(file).args(["-g", &directives]);
            }
            Self::Haproxy => {
                command.args(["-db", "-q", "-f"]).arg(file);
            }
            Self::Caddy => {
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
                command.env("HOME", directory).env("XDG_DATA_HOME", directory);
                command.env("XDG_CONFIG_HOME", directory);
            }
            Self::Envoy => {
                command.args(["--disable-hot-restart", "--concurrency", "1", "-l", "off", "-c"]);
                command.arg(file);
            }
        }
        command
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn substituted(text: &str, directory: &Path, listen: SocketAddr, service: SocketAddr, backend: SocketAddr) -> String {
    let directory = directory.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {directory}/{name}; "))
        .concat();
    text.replace("127.0.0.1:8080", &service.to_string())
        .replace("127.0.0.1:8000", &backend.to_string())
        .replace("listen 80;", &format!("listen {listen};"))
        .replace("bind :80\n", &format!("bind {listen}\n"))
        .replace(":80 {\n", &format!(":{} {{\n\tbind {}\n", listen.port(), listen.ip()))
        .replace(
            "address: 0.0.0.0, port_value: 80 ",
            &format!("address: {}, port_value: {} ", listen.ip(), listen.port()),
        )
        .replace("port_value: 8080 ", &format!("port_value: {} ", service.port()))
        .replace("port_value: 8000 ", &format!("port_value: {} ", backend.port()))
        .replace("/etc/haproxy/", &format!("{directory}/"))
        .replace("http {\n", &format!("http {{ access_log off; {temporary}\n"))
}
