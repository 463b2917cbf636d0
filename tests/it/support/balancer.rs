//! A real nginx that shares requests out to two instances, run from documentation/examples/balancer with nothing in it
//! changed but addresses and paths.

use super::{certificates::Pair, nginx::Nginx};
use std::{fs, net::SocketAddr, path::Path};

/// Running; killed when dropped.
pub struct Balancer {
    pub address: SocketAddr,
    _nginx: Nginx,
}

impl Balancer {
    pub fn in_front_of([one, two]: [SocketAddr; 2], pair: &Pair) -> Self {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("documentation/examples/balancer/nginx.conf");
        let text = fs::read_to_string(example)
            .expect("the example is there")
            .replace("127.0.0.1:8080", &one.to_string())
            .replace("127.0.0.1:8081", &two.to_string())
            .replace("/etc/nginx/cert.pem", &pair.certificate.display().to_string())
            .replace("/etc/nginx/key.pem", &pair.key.display().to_string());
        let nginx = Nginx::start(|address, paths| {
            text.replace("listen 443 ssl;", &format!("listen {address} ssl;"))
                .replace("http {\n", &format!("http {{ {paths}\n"))
        });
        Self {
            address: nginx.address,
            _nginx: nginx,
        }
    }
}
