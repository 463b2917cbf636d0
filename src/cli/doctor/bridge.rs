//! Looks at the stats bridge, where one is named.

use std::{net::SocketAddr, time::Duration};

use tokio::{net, time::timeout};

use crate::{
    cli::args::Settings,
    config::{BridgeConfig, Protocol},
};

use super::report::Report;

/// How long the stats bridge may take to be found and to take a connection.
const BRIDGE_TIMEOUT: Duration = Duration::from_secs(5);

pub async fn check(settings: &Settings, report: &mut Report) {
    // A wrong setting has been named with the settings.
    let Ok(Some(bridge)) = BridgeConfig::from_lookup(&|name| settings.get(name)) else {
        return;
    };
    match timeout(BRIDGE_TIMEOUT, reach(&bridge)).await {
        Ok(Ok(message)) => report.ok("metrics", message),
        Ok(Err(problem)) => report.warn(
            "metrics",
            problem,
            "Check DEST_HOST and DEST_PORT; the service works without metrics.",
        ),
        Err(_) => report.warn(
            "metrics",
            "the stats bridge did not answer in time",
            "Check DEST_HOST and DEST_PORT; the service works without metrics.",
        ),
    }
}

async fn reach(bridge: &BridgeConfig) -> Result<String, &'static str> {
    let found = net::lookup_host((bridge.host.as_str(), bridge.port)).await;
    let addresses: Vec<SocketAddr> = found.map_err(|_| "DEST_HOST cannot be resolved")?.collect();
    if bridge.protocol == Protocol::Udp {
        return Ok("the stats bridge's name resolves (udp tells no more)".to_owned());
    }
    match net::TcpStream::connect(addresses.as_slice()).await {
        Ok(_) => Ok("the stats bridge takes connections".to_owned()),
        Err(_) => Err("the stats bridge takes no connection"),
    }
}
