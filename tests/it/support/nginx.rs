//! A real nginx as a reverse proxy on the same host, with everything that it writes in a temporary directory.

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
        // Another process may take the free port first, so a few ports are tried.
        (0..10)
            .find_map(|_| Self::try_start(upstream, directives))
            .expect("nginx starts")
    }

    fn try_start(upstream: SocketAddr, directives: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let file = directory.path().join("nginx.conf");
        fs::write(&file, configuration(directory.path(), address, upstream, directives))
            .expect("the configuration is written");
        let mut process = Command::new("/usr/sbin/nginx")
            .arg("-p")
            .arg(directory.path())
            .args(["-e", "stderr", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
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
fn configuration(directory: &Path, listen: SocketAddr, upstream: SocketAddr, directives: &str) -> String {
    let directory = directory.display();
    format!(
        "daemon off;
        master_process off;
        pid {directory}/pid;
        events {{}}
        http {{
            access_log off;
            client_body_temp_path {directory}/body;
            proxy_temp_path {directory}/proxy;
            fastcgi_temp_path {directory}/fastcgi;
            uwsgi_temp_path {directory}/uwsgi;
            scgi_temp_path {directory}/scgi;
            server {{
                listen {listen};
                location / {{
                    proxy_pass http://{upstream};
                    {directives}
                }}
            }}
        }}
        "
    )
}
