//! The runbooks in documentation/runbooks, and the move from the Python service: each is played through with the real S3 server, PostgreSQL and openssl, and what
//! happens in it does happen.

use std::path::{Path, PathBuf};

use crate::support::{
    certificates::{Authority, Key, put},
    console::{self, Stage},
    fault_proxy::Fault,
    ports::free_port,
    postgres::Database,
    python,
    service::{Service, Settings, eventually},
    stored_object::StoredObject,
    tool,
};

/// The instances by the addresses that the runbooks write, which stay theirs over restarts.
const SHOWN: [&str; 2] = ["localhost:8080", "localhost:8081"];

struct Instances {
    /// Of the commands, and of each instance that is started.
    settings: Settings,
    ports: [u16; 2],
    running: [Option<Service>; 2],
    past_log: Vec<String>,
}

impl Instances {
    /// None is running yet.
    fn with(settings: Settings) -> Self {
        let binaries = Path::new(env!("CARGO_BIN_EXE_heare-auth"))
            .parent()
            .expect("a directory");
        let aws = tool("venv/bin/aws");
        let tools = aws.parent().expect("a directory");
        let path = std::env::var("PATH").unwrap_or_default();
        let ports = [free_port(), free_port()];
        let settings = settings
            .with("PATH", format!("{}:{}:{path}", binaries.display(), tools.display()))
            .with("AWS_DEFAULT_REGION", "us-east-1")
            .with("POLL_INTERVAL", "100ms")
            .with("PORT", ports[0].to_string())
            .with("REFRESH_URL", format!("http://127.0.0.1:{}/refresh", ports[0]));
        Self {
            settings,
            ports,
            running: [None, None],
            past_log: Vec::new(),
        }
    }

    fn set(&mut self, name: &str, value: impl Into<String>) {
        self.settings = self.settings.clone().with(name, value);
    }

    /// With a snapshot it is a file of its own.
    fn start(&mut self, which: usize) {
        let mut settings = self.settings.clone().with("PORT", self.ports[which].to_string());
        if let Some(path) = settings.get("SNAPSHOT_PATH").filter(|_| which > 0) {
            settings = settings.with("SNAPSHOT_PATH", format!("{path}.{which}"));
        }
        self.running[which] = Some(settings.start());
    }

    fn start_all(&mut self) {
        (0..SHOWN.len()).for_each(|which| self.start(which));
        (0..SHOWN.len()).for_each(|which| self.instance(which).wait_until_ready());
    }

    fn stop(&mut self, which: usize) {
        let mut service = self.running[which].take().expect("it runs");
        service.signal("TERM");
        assert!(service.wait_for_exit().success());
        service.wait_for_event("shutdown", |_| true);
        self.past_log.extend(service.log_lines());
    }

    fn stop_all(&mut self) {
        (0..SHOWN.len()).for_each(|which| self.stop(which));
    }

    fn restart_all(&mut self) {
        self.stop_all();
        self.start_all();
    }

    fn instance(&self, which: usize) -> &Service {
        self.running[which].as_ref().expect("it runs")
    }

    fn each(&self) -> impl Iterator<Item = &Service> {
        self.running.iter().flatten()
    }

    /// Until each of them says this error.
    fn wait_for_error(&self, error: &str) {
        for service in self.each() {
            eventually(&format!("an instance says {error}"), || {
                service.ready().1["last_error"] == error
            });
        }
    }
}

/// The instances, and what a runbook's comments do to the world around them.
struct Scene<A> {
    instances: Instances,
    act: A,
}

impl<A: FnMut(&mut Instances, &str)> Stage for Scene<A> {
    fn settings(&self) -> Settings {
        self.instances.settings.clone()
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        let ports = self.instances.ports.iter();
        let actual = ports.map(|port| format!("127.0.0.1:{port}"));
        SHOWN.into_iter().zip(actual).collect()
    }

    fn log(&self) -> Vec<String> {
        let past = self.instances.past_log.iter().cloned();
        past.chain(self.instances.each().flat_map(Service::log_lines)).collect()
    }

    fn meanwhile(&mut self, event: &str) {
        (self.act)(&mut self.instances, event);
    }
}

fn play(name: &str, instances: Instances, act: impl FnMut(&mut Instances, &str)) {
    console::run_document(name, &mut Scene { instances, act });
}

fn unknown(event: &str) -> ! {
    panic!("the test does not know how this is done: {event}")
}

#[test]
fn a_leaked_key_is_found_ended_and_replaced() {
    let object = StoredObject::new();
    let settings = object.settings();
    let database = settings.home().join("use.db");
    let mut instances = Instances::with(settings.with("DATABASE_URL", format!("sqlite:{}", database.display())));
    instances.start_all();
    play("documentation/runbooks/leaked-key.md", instances, |_, event| {
        unknown(event)
    });
}

#[test]
fn a_lost_document_comes_back_from_a_version_a_snapshot_or_an_export() {
    let object = StoredObject::new();
    let (settings, stored) = object.versioned();
    let mut instances = Instances::with(settings);
    let snapshot = instances.settings.home().join("snapshot.json");
    instances.set("SNAPSHOT_PATH", snapshot.to_str().expect("temporary paths are UTF-8"));
    instances.start_all();
    // Of the document with the second key, of the one that was rolled back to, and of that brought back from a snapshot.
    let mut generations = [2, 3, 3].into_iter();
    play(
        "documentation/runbooks/lost-document.md",
        instances,
        |instances, event| match event {
            "somebody deletes the object" => {
                // What was written last has to be in the snapshots before, and an instance may not have heard of it yet.
                let newest = generations.next().expect("it is deleted three times");
                for which in ["", ".1"] {
                    let file = PathBuf::from(format!("{}{which}", snapshot.display()));
                    eventually("the snapshot is written", || {
                        let text = std::fs::read(&file).unwrap_or_default();
                        serde_json::from_slice(&text).is_ok_and(|json: serde_json::Value| json["generation"] == newest)
                    });
                }
                stored.delete();
                instances.wait_for_error("object_gone");
            }
            "the instances see it" => instances.each().for_each(|service| {
                eventually("an instance has the document", || {
                    service.ready().1["last_error"].is_null()
                });
            }),
            "the instances see that it is older" => instances.wait_for_error("older_generation"),
            _ => unknown(event),
        },
    );
}

#[test]
fn an_outage_of_s3_is_sat_out() {
    let object = StoredObject::unsigned();
    let proxy = object.proxy();
    let mut instances = Instances::with(object.settings_through(&proxy));
    let snapshot = instances.settings.home().join("snapshot.json");
    instances.set("SNAPSHOT_PATH", snapshot.to_str().expect("temporary paths are UTF-8"));
    instances.start_all();
    play(
        "documentation/runbooks/s3-outage.md",
        instances,
        |instances, event| match event {
            "the store goes away" => {
                eventually("the snapshot is written", || snapshot.exists());
                proxy.set(Fault::Refuse);
                instances.wait_for_error("store_unreachable");
            }
            "an instance is restarted by its platform" => {
                instances.stop(0);
                instances.start(0);
                instances.instance(0).wait_until_ready();
            }
            "the store comes back" => proxy.heal(),
            _ => unknown(event),
        },
    );
}

#[test]
fn a_document_moves_to_another_bucket_without_a_refused_key() {
    let object = StoredObject::new();
    let bucket = object.unused_bucket();
    let mut instances = Instances::with(object.settings());
    let snapshot = instances.settings.home().join("snapshot.json");
    instances.set("SNAPSHOT_PATH", snapshot.to_str().expect("temporary paths are UTF-8"));
    instances.set("NEW_BUCKET", bucket);
    instances.start_all();
    play(
        "documentation/runbooks/move-buckets.md",
        instances,
        |instances, event| match event {
            "the instances are restarted one by one with the new bucket" => {
                let old = instances.settings.get("S3_BUCKET").expect("it is set");
                let new = instances.settings.get("NEW_BUCKET").expect("it is set");
                instances.set("OLD_BUCKET", old);
                instances.set("S3_BUCKET", new);
                for which in 0..SHOWN.len() {
                    instances.stop(which);
                    let own = if which == 0 { String::new() } else { format!(".{which}") };
                    let _ = std::fs::remove_file(format!("{}{own}", snapshot.display()));
                    instances.start(which);
                    instances.instance(which).wait_until_ready();
                }
            }
            _ => unknown(event),
        },
    );
}

#[test]
fn a_lost_database_comes_back_from_a_dump_and_gives_no_id_twice() {
    let database = Database::alone();
    let object = StoredObject::new();
    let settings = object.settings().with("DATABASE_URL", database.url());
    let mut instances = Instances::with(settings.with("SECRET_KEY", "k".repeat(40)));
    instances.start_all();
    play(
        "documentation/runbooks/lost-database.md",
        instances,
        |instances, event| match event {
            "the database goes away" => {
                database.server.stop();
                instances.instance(0).verify("guess");
                instances.instance(0).wait_for_event("usage_failed", |_| true);
            }
            "the database comes back" => database.server.start_again(),
            "an empty server takes its place" => {
                let name = &database.name;
                database
                    .server
                    .sql("postgres", &format!("DROP DATABASE {name} WITH (FORCE)"));
                database.server.sql("postgres", &format!("CREATE DATABASE {name}"));
            }
            "the instances are restarted" => instances.restart_all(),
            _ => unknown(event),
        },
    );
}

#[test]
fn a_certificate_is_replaced_without_a_restart() {
    let authority = Authority::new();
    let [old, new, other] = ["old", "new", "other"].map(|name| authority.issue(name, Key::P256));
    let settings = Settings::file_store();
    let home = settings.home().to_owned();
    put(&old.certificate, &home.join("cert.pem"));
    put(&old.key, &home.join("key.pem"));
    put(&new.certificate, &home.join("fullchain.pem"));
    put(&new.key, &home.join("privkey.pem"));
    put(&authority.root(), &home.join("root.pem"));
    let file = |name: &str| home.join(name).display().to_string();
    let mut instances = Instances::with(
        settings
            .with("SSL_CERTFILE", file("cert.pem"))
            .with("SSL_KEYFILE", file("key.pem")),
    );
    let refresh = format!("https://127.0.0.1:{}/refresh", instances.ports[0]);
    instances.set("REFRESH_URL", refresh);
    instances.start(0);
    play(
        "documentation/runbooks/certificate.md",
        instances,
        |_, event| match event {
            "somebody puts a key there that is not the certificate's" => put(&other.key, &home.join("key.pem")),
            _ => unknown(event),
        },
    );
}

#[test]
fn with_every_instance_down_the_keys_are_served_again_from_what_is_left() {
    let object = StoredObject::unsigned();
    let proxy = object.proxy();
    let mut instances = Instances::with(object.settings_through(&proxy));
    instances.start_all();
    play(
        "documentation/runbooks/every-instance-down.md",
        instances,
        |instances, event| match event {
            "every instance goes down, and the store with them" => {
                instances.stop_all();
                proxy.set(Fault::Refuse);
            }
            "an instance is started" => instances.start(0),
            "an instance is started on the local directory" => {
                instances.stop(0);
                for name in ["S3_BUCKET", "S3_KEY"] {
                    let value = instances.settings.get(name).expect("it is set");
                    instances.set(&format!("OLD_{name}"), value);
                }
                let directory = instances.settings.home().join("rescue");
                instances.settings = instances
                    .settings
                    .clone()
                    .without("S3_BUCKET")
                    .without("S3_KEY")
                    .with("DATA_DIR", directory.to_str().expect("temporary paths are UTF-8"));
                instances.start(0);
                instances.instance(0).wait_until_ready();
            }
            "the store comes back" => proxy.heal(),
            "the instances are started on the bucket again" => {
                instances.stop(0);
                for name in ["S3_BUCKET", "S3_KEY"] {
                    let value = instances.settings.get(&format!("OLD_{name}")).expect("it was set");
                    instances.set(name, value);
                }
                instances.start_all();
            }
            _ => unknown(event),
        },
    );
}

#[test]
fn the_python_services_bucket_is_taken_over_and_could_be_given_back() {
    let object = StoredObject::new();
    let key = |id: &str, secret: &str, name: &str| {
        serde_json::json!({
            "id": id,
            "secret": secret,
            "name": name,
            "secret_type": "shared_secret",
            "created_at": "2025-10-28T16:45:18.123456Z",
            "metadata": {"environment": "production"},
        })
    };
    let keys = [
        key("key_0001vDmowdgLBqEcDYe", "sec_0001vDmowg2tzwvpaFL", "Production API"),
        key("key_0001vDmoxAgLBqEcDYf", "sec_0001vDmoxg7uQwvpaGM", "Staging API"),
    ];
    python::write(&object, None, &serde_json::json!({ "keys": keys }));
    let mut instances = Instances::with(object.settings());
    instances.start(0);
    instances.instance(0).wait_until_ready();
    play("documentation/migration/python-service.md", instances, |_, event| {
        unknown(event)
    });
}
