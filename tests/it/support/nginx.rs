//! A real nginx in the foreground, with everything that it writes in a temporary directory: as a reverse proxy on the same
//! host, or with a configuration of somebody else's.

use super::{ports::free_port, service::eventually};
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// A running nginx; killed when dropped.
pub struct Nginx {
    pub address: SocketAddr,
    process: Child,
    _directory: TempDir,
}

impl Nginx {
    /// Passes everything on to `upstream` by a plain `proxy_pass`, with these directives besides.
    pub fn in_front_of(upstream: SocketAddr, directives: &str) -> Self {
        Self::start(|address, paths| {
            format!(
                "events {{}}
                http {{
                    {paths}
                    server {{
                        listen {address};
                        location / {{
                            proxy_pass http://{upstream};
                            {directives}
                        }}
                    }}
                }}
                "
            )
        })
    }

    /// With the configuration that is made for an address to listen on and the directives that, within `http`, send what
    /// nginx writes to the temporary directory.
    pub fn start(configuration: impl Fn(SocketAddr, &str) -> String) -> Self {
        // Another process may take the free port first, so a few ports are tried.
        (0..10)
            .find_map(|_| Self::try_start(&configuration))
            .expect("nginx starts")
    }

    fn try_start(configuration: impl Fn(SocketAddr, &str) -> String) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let file = directory.path().join("nginx.conf");
        let text = configuration(address, &temporary_paths(directory.path()));
        fs::write(&file, text).expect("the configuration is written");
        let mut process = command(directory.path(), &file)
            .spawn()
            .expect("scripts/setup has installed nginx");
        let mut ended = false;
        eventually("nginx listens or gives up", || {
            ended = process.try_wait().expect("a child can be asked").is_some();
            ended || TcpStream::connect(address).is_ok()
        });
        (!ended).then_some(Self {
            address,
            process,
            _directory: directory,
        })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One process in the foreground, so that killing it leaves nothing behind.
fn command(directory: &Path, configuration: &Path) -> Command {
    let directives = format!("daemon off; master_process off; pid {}/pid;", directory.display());
    let mut command = Command::new("/usr/sbin/nginx");
    command
        .arg("-p")
        .arg(directory)
        .args(["-e", "stderr", "-c"])
        .arg(configuration)
        .args(["-g", &directives])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn temporary_paths(directory: &Path) -> String {
    let place = directory.display();
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {place}/{name}; "))
        .concat();
    format!("access_log off; {paths}")
}
