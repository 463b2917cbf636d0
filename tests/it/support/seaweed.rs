//! A real S3 server (`SeaweedFS`), started when the first test asks for it, gone with the test process.

use super::tool;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::{
    Client,
    config::{Builder, Credentials, SharedCredentialsProvider},
    primitives::ByteStream,
    types::{BucketVersioningStatus, VersioningConfiguration},
};
use heare_auth::store::{
    Store,
    s3::{S3Limits, S3Store},
};
use rand::RngExt;
use std::{
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

const BUCKET: &str = "heare-auth-test";
const VERSIONED_BUCKET: &str = "heare-auth-versions";
const ACCESS_KEY: &str = "AKIAHEAREAUTHTEST";
const SECRET_KEY: &str = "only-for-the-server-started-by-these-tests";
const MAX_BYTES: usize = 64 << 20;

/// The wrapper keeps the server for as long as the pipe to it is open, which the kernel closes whatever ends the tests.
const WRAPPER: &str = r#"
"$@" >"$DIR/log" 2>&1 </dev/null &
cat >/dev/null
kill -9 $!
wait $! 2>/dev/null
rm -rf "$DIR"
for port in $PORTS; do rm -f /tmp/seaweedfs-*-$port.sock; done
"#;

pub struct Seaweed {
    port: u16,
    bucket: &'static str,
    keys_given: AtomicUsize,
    versioned: OnceLock<&'static str>,
    _wrapper: Child,
}

impl Seaweed {
    /// The server that knows one access key.
    pub fn get() -> &'static Self {
        static SERVER: OnceLock<Seaweed> = OnceLock::new();
        SERVER.get_or_init(|| Self::start(true))
    }

    /// A server that takes every request without looking at its signature, so that a proxy may change it on the way.
    pub fn unsigned() -> &'static Self {
        static SERVER: OnceLock<Seaweed> = OnceLock::new();
        SERVER.get_or_init(|| Self::start(false))
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub fn bucket(&self) -> &'static str {
        self.bucket
    }

    /// An object key that no other test uses.
    pub fn fresh_key(&self) -> String {
        format!("keys-{}.json", self.keys_given.fetch_add(1, Ordering::Relaxed))
    }

    /// What a process needs to use the server, or a proxy in front of it.
    pub fn environment(&self, through: SocketAddr, key: &str) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", format!("http://{through}")),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("S3_BUCKET", self.bucket.to_owned()),
            ("S3_KEY", key.to_owned()),
        ]
    }

    /// The same for a store inside the test process.
    pub fn store(&self, through: SocketAddr, key: &str) -> Store {
        self.store_with(through, key, MAX_BYTES, S3Limits::default())
    }

    pub fn store_with(&self, through: SocketAddr, key: &str, max_bytes: usize, limits: S3Limits) -> Store {
        let sdk = sdk_config(through);
        Store::S3(S3Store::from_sdk_config(
            &sdk,
            self.bucket.to_owned(),
            key.to_owned(),
            max_bytes,
            limits,
        ))
    }

    /// What is stored, as anybody with the access key sees it.
    pub async fn object(&self, key: &str) -> Option<Vec<u8>> {
        let answer = client(self.address())
            .get_object()
            .bucket(self.bucket)
            .key(key)
            .send()
            .await
            .ok()?;
        Some(answer.body.collect().await.expect("the object").to_vec())
    }

    pub async fn put_object(&self, key: &str, bytes: &[u8]) {
        self.put_object_in(self.bucket, key, bytes).await;
    }

    pub async fn put_object_in(&self, bucket: &str, key: &str, bytes: &[u8]) {
        put(self.address(), bucket, key, bytes.to_vec())
            .await
            .expect("the object is stored");
    }

    pub async fn delete_object(&self, key: &str) {
        let request = client(self.address()).delete_object().bucket(self.bucket).key(key);
        request.send().await.expect("the object is deleted");
    }

    pub async fn create_bucket(&self, name: &str) {
        let request = client(self.address()).create_bucket().bucket(name);
        request.send().await.expect("the bucket is made");
    }

    /// The name of a bucket that keeps every version of its objects, made when it is asked for first.
    pub fn versioned_bucket(&'static self) -> &'static str {
        self.versioned.get_or_init(|| {
            blocking(async move { self.create_versioned_bucket(VERSIONED_BUCKET).await });
            VERSIONED_BUCKET
        })
    }

    async fn create_versioned_bucket(&self, name: &str) {
        self.create_bucket(name).await;
        let on = VersioningConfiguration::builder()
            .status(BucketVersioningStatus::Enabled)
            .build();
        let request = client(self.address()).put_bucket_versioning().bucket(name);
        request
            .versioning_configuration(on)
            .send()
            .await
            .expect("versioning is switched on");
    }

    pub async fn delete_object_in(&self, bucket: &str, key: &str) {
        let request = client(self.address()).delete_object().bucket(bucket).key(key);
        request.send().await.expect("the object is deleted");
    }

    fn start(signed: bool) -> Self {
        let weed = tool("venv/bin/weed");
        let port = free_ports();
        let directory = tempfile::Builder::new()
            .prefix("heare-auth-weed-")
            .tempdir()
            .expect("a directory")
            .keep();
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", WRAPPER, "weed"])
            .arg(weed)
            .args(arguments(port, &directory, signed));
        command.env("DIR", &directory).env(
            "PORTS",
            ports_of(port).fold(String::new(), |mut list, port| {
                let _ = write!(list, "{port} ");
                list
            }),
        );
        // In a group of its own the wrapper outlives an interrupt at the terminal and cleans up.
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let wrapper = command.spawn().expect("the server starts");
        let server = Self {
            port,
            bucket: BUCKET,
            keys_given: AtomicUsize::new(0),
            versioned: OnceLock::new(),
            _wrapper: wrapper,
        };
        server.wait_until_ready(&directory);
        server
    }

    /// Ready means that an object can be stored, which is later than that a port is open.
    fn wait_until_ready(&self, directory: &Path) {
        let address = self.address();
        let ready = blocking(async move {
            let end = Instant::now() + Duration::from_mins(1);
            while Instant::now() < end {
                let bucket = client(address).create_bucket().bucket(BUCKET).send().await;
                if bucket.is_ok() && put(address, BUCKET, "ready", b"ready".to_vec()).await.is_ok() {
                    return true;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            false
        });
        let log = || std::fs::read_to_string(directory.join("log")).unwrap_or_default();
        assert!(ready, "SeaweedFS is not ready: {}", log());
    }
}

/// Runs a future to its end from anywhere, also from inside another runtime.
pub fn blocking<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    let run = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(future)
    };
    std::thread::spawn(run).join().expect("the future ends")
}

pub fn sdk_config(address: SocketAddr) -> SdkConfig {
    let credentials = Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(format!("http://{address}"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

fn client(address: SocketAddr) -> Client {
    let http = aws_smithy_http_client::Builder::new().build_http();
    Client::from_conf(
        Builder::from(&sdk_config(address))
            .http_client(http)
            .force_path_style(true)
            .build(),
    )
}

async fn put(address: SocketAddr, bucket: &str, key: &str, bytes: Vec<u8>) -> Result<(), String> {
    let request = client(address)
        .put_object()
        .bucket(bucket)
        .key(key)
        .body(ByteStream::from(bytes));
    request.send().await.map(drop).map_err(|error| format!("{error:?}"))
}

/// The ports for S3, master, volume and filer; each has a second one for gRPC 10000 above.
fn ports_of(first: u16) -> impl Iterator<Item = u16> {
    (first..first + 4).flat_map(|port| [port, port + 10_000])
}

/// The first of a row of ports that nobody uses, below those the system gives to clients.
fn free_ports() -> u16 {
    let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    (0..1000)
        .map(|_| rand::rng().random_range(10_000..20_000))
        .find(|first| ports_of(*first).all(is_free))
        .expect("eight free ports")
}

fn arguments(port: u16, directory: &Path, signed: bool) -> Vec<String> {
    let directory = directory.to_str().expect("temporary paths are UTF-8");
    let mut arguments: Vec<String> = format!(
        "server -ip=127.0.0.1 -dir={directory} -s3 -s3.port={port} -master.port={} -volume.port={} -filer.port={} \
         -s3.port.iceberg=0 -s3.port.lance=0 -s3.iam=false -s3.autoCreateBucket=false \
         -master.telemetry=false -master.volumeSizeLimitMB=1024 -volume.max=40",
        port + 1,
        port + 2,
        port + 3,
    )
    .split_whitespace()
    .map(str::to_owned)
    .collect();
    if signed {
        let config = format!("{directory}/s3.json");
        std::fs::write(&config, identities()).expect("the list of access keys is written");
        arguments.push(format!("-s3.config={config}"));
    }
    arguments
}

fn identities() -> String {
    let credentials = serde_json::json!([{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]);
    serde_json::json!({"identities": [{"name": "test", "credentials": credentials, "actions": ["Admin"]}]}).to_string()
}
