//! A real nginx that shares requests out to two instances, run from documentation/examples/balancer with nothing in it
//! changed but addresses and paths.

use super::{certificates::Pair, ports::free_port, service::eventually};
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// Running; killed when dropped.
pub struct Balancer {
    pub address: SocketAddr,
    process: Child,
    _directory: TempDir,
}

impl Balancer {
    pub fn in_front_of(instances: [SocketAddr; 2], pair: &Pair) -> Self {
        // Another process may take the free port first, so a few ports are tried.
        (0..10)
            .find_map(|_| Self::try_start(instances, pair))
            .expect("nginx starts")
    }

    fn try_start([one, two]: [SocketAddr; 2], pair: &Pair) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("documentation/examples/balancer/nginx.conf");
        let place = directory.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {place}/{name}; "))
            .concat();
        let text = fs::read_to_string(example)
            .expect("the example is there")
            .replace("127.0.0.1:8080", &one.to_string())
            .replace("127.0.0.1:8081", &two.to_string())
            .replace("listen 443 ssl;", &format!("listen {address} ssl;"))
            .replace("/etc/nginx/cert.pem", &pair.certificate.display().to_string())
            .replace("/etc/nginx/key.pem", &pair.key.display().to_string())
            .replace("http {\n", &format!("http {{ access_log off; {temporary}\n"));
        let file = directory.path().join("nginx.conf");
        fs::write(&file, text).expect("the configuration is written");
        let directives = format!("daemon off; master_process off; pid {place}/pid;");
        let mut process = Command::new("/usr/sbin/nginx")
            .arg("-p")
            .arg(directory.path())
            .args(["-e", "stderr", "-c"])
            .arg(&file)
            .args(["-g", &directives])
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

impl Drop for Balancer {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
