//! The manifests for Kubernetes: its schemas take them, they fit together and to the image, and name nothing that is not there.

use std::collections::BTreeSet;

use heare_auth::config::{Config, SETTINGS};
use serde_json::{Value, json};

use super::{printed, read, root, run};
use crate::support::{http_client::get, python::yaml, service::Settings, tool};

const FOLDER: &str = "deployment/kubernetes";

/// What the AWS SDK reads by itself.
const OF_THE_SDK: [&str; 2] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];

#[test]
fn the_schemas_of_kubernetes_take_every_manifest() {
    let validate = tool("venv/bin/kubernetes-validate");
    let files: Vec<String> = resources()
        .chain(["secret.example.yaml".to_owned()])
        .map(|file| path(&file))
        .collect();
    let mut arguments = vec!["--strict"];
    arguments.extend(files.iter().map(String::as_str));
    printed(&run(validate.to_str().expect("UTF-8"), &arguments));
}

#[test]
fn every_manifest_but_the_secret_is_applied() {
    let mut present: Vec<String> = std::fs::read_dir(root().join(FOLDER))
        .expect("a readable folder")
        .map(|entry| {
            entry
                .expect("a readable entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| !["kustomization.yaml", "secret.example.yaml"].contains(&name.as_str()))
        .collect();
    present.sort();
    let mut applied: Vec<String> = resources().collect();
    applied.sort();
    assert_eq!(applied, present);
}

#[test]
fn whatever_selects_the_pods_selects_them() {
    let deployment = manifest("deployment.yaml");
    let pods = &deployment["spec"]["template"]["metadata"]["labels"];
    for selector in [
        &deployment["spec"]["selector"]["matchLabels"],
        &deployment["spec"]["template"]["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
        &manifest("service.yaml")["spec"]["selector"],
        &manifest("disruption.yaml")["spec"]["selector"]["matchLabels"],
        &manifest("network.yaml")["spec"]["podSelector"]["matchLabels"],
    ] {
        assert_eq!(selector, pods);
    }
    let names: Vec<Value> = [
        &container()["envFrom"][0]["configMapRef"],
        &container()["envFrom"][1]["secretRef"],
    ]
    .map(|reference| reference["name"].clone())
    .to_vec();
    let held = ["settings.yaml", "secret.example.yaml"].map(|file| manifest(file)["metadata"]["name"].clone());
    assert_eq!(names, held);
    let port = &container()["ports"][0]["name"];
    assert_eq!(&manifest("service.yaml")["spec"]["ports"][0]["targetPort"], port);
    assert_eq!(
        &manifest("network.yaml")["spec"]["ingress"][0]["ports"][0]["port"],
        port
    );
}

#[test]
fn the_settings_are_settings_and_start_a_service() {
    let settings = &manifest("settings.yaml")["data"];
    let secrets = &manifest("secret.example.yaml")["stringData"];
    let known: BTreeSet<&str> = SETTINGS.iter().map(|setting| setting.name).chain(OF_THE_SDK).collect();
    for group in [settings, secrets] {
        for name in group.as_object().expect("names and values").keys() {
            assert!(known.contains(name.as_str()), "{name}");
        }
    }
    let lookup = |name: &str| {
        let value = settings
            .get(name)
            .or_else(|| secrets.get(name))?
            .as_str()
            .expect("a text");
        // What is left out is for somebody to fill in.
        Some(if value == "…" {
            "s".repeat(40)
        } else {
            value.replace('…', "secret")
        })
    };
    let config = Config::from_lookup(&lookup).expect("a service can start with them");
    assert_eq!(json!(config.listen.port()), container()["ports"][0]["containerPort"]);
}

#[test]
fn the_probes_ask_what_the_service_answers() {
    let service = Settings::file_store().start_ready();
    for probe in ["livenessProbe", "readinessProbe"] {
        let ask = &container()[probe]["httpGet"];
        assert_eq!(ask["port"], "http");
        assert_eq!(
            service.get(ask["path"].as_str().expect("a path")).status,
            200,
            "{probe}"
        );
    }
}

#[test]
fn prometheus_finds_the_metrics_where_the_annotations_say() {
    let service = Settings::file_store().with("ADMIN_LISTEN", "127.0.0.1:0").start();
    let pod = &manifest("deployment.yaml")["spec"]["template"];
    let annotation = |name: &str| {
        let value = &pod["metadata"]["annotations"][format!("prometheus.io/{name}")];
        value.as_str().expect("a text").to_owned()
    };
    assert_eq!(annotation("scrape"), "true");
    assert_eq!(get(service.admin_address(), &annotation("path")).status, 200);
    let settings = &manifest("settings.yaml")["data"];
    assert_eq!(settings["ADMIN_LISTEN"], format!("0.0.0.0:{}", annotation("port")));
    let refresh = format!("http://localhost:{}/refresh", annotation("port"));
    assert_eq!(settings["REFRESH_URL"], refresh);
    assert_eq!(container()["ports"][1]["containerPort"].to_string(), annotation("port"));
}

#[test]
fn the_pod_asks_for_no_more_than_the_image_needs() {
    let dockerfile = read("Dockerfile");
    let pod = &manifest("deployment.yaml")["spec"]["template"]["spec"];
    let user = &pod["securityContext"]["runAsUser"];
    assert!(dockerfile.contains(&format!("USER {user}:{}", pod["securityContext"]["runAsGroup"])));
    assert_eq!(container()["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container()["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(container()["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
    let written = container()["volumeMounts"][0]["mountPath"]
        .as_str()
        .expect("a path")
        .to_owned();
    assert!(dockerfile.contains(&format!("DATA_DIR={written}")));
    let command = container()["args"].to_string().replace(',', ", ");
    assert!(dockerfile.contains(&format!("CMD {command}")), "{command}");
    let image = format!("heare-auth:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(container()["image"], image);
    // Time for the endpoint to go, and for what is in flight.
    let before = &container()["lifecycle"]["preStop"]["sleep"]["seconds"];
    assert!(pod["terminationGracePeriodSeconds"].as_u64() > before.as_u64().map(|seconds| seconds + 10));
}

fn container() -> Value {
    manifest("deployment.yaml")["spec"]["template"]["spec"]["containers"][0].clone()
}

fn resources() -> impl Iterator<Item = String> {
    let list = manifest("kustomization.yaml")["resources"].clone();
    let names: Vec<String> = serde_json::from_value(list).expect("names of files");
    names.into_iter()
}

fn path(file: &str) -> String {
    format!("{FOLDER}/{file}")
}

fn manifest(file: &str) -> Value {
    yaml(&path(file))
}
