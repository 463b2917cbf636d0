//! What Python does with YAML, and with an object: as the Python service did, with the same libraries, the same calls, the same bytes.

use super::{stored_object::StoredObject, tool};
use serde_json::Value;
use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

const WRITE: &str = "
import base64, hashlib, json, os, sys, boto3
from botocore.config import Config
from cryptography.fernet import Fernet
body, secret = json.dumps(json.load(sys.stdin), indent=2).encode('utf-8'), os.environ.get('STORAGE_SECRET')
if secret:
    fernet = Fernet(base64.urlsafe_b64encode(hashlib.sha256(secret.encode()).digest()))
    body = b'HEARE_ENCRYPTED_V1:' + fernet.encrypt(body)
s3 = boto3.client('s3', region_name='us-east-1', config=Config(s3={'addressing_style': 'path'}))
s3.put_object(Bucket=os.environ['S3_BUCKET'], Key=os.environ['S3_KEY'], Body=body,
    ContentType='application/octet-stream' if secret else 'application/json')
";

const FILL: &str = "
import os, sys, boto3
from botocore.config import Config
s3 = boto3.client('s3', region_name='us-east-1', config=Config(s3={'addressing_style': 'path'}))
s3.put_object(Bucket=os.environ['S3_BUCKET'], Key=os.environ['S3_KEY'], Body=b'x' * int(sys.stdin.read()))
";

const OPEN: &str = "
import base64, hashlib, os, sys
from cryptography.fernet import Fernet
body, header = sys.stdin.buffer.read(), b'HEARE_ENCRYPTED_V1:'
assert body.startswith(header)
key = hashlib.sha256(os.environ['STORAGE_SECRET'].encode()).digest()
sys.stdout.buffer.write(Fernet(base64.urlsafe_b64encode(key)).decrypt(body[len(header):]))
";

const YAML: &str = "import json, sys, yaml\njson.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";

/// A YAML file of the repository, with all that it refers to in its place.
pub fn yaml(path: &str) -> Value {
    let output = Command::new(tool("venv/bin/python"))
        .args(["-c", YAML])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .output()
        .expect("python runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{path}: {errors}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Stores the document, encrypted if there is a storage secret.
pub fn write(object: &StoredObject, storage_secret: Option<&str>, document: &Value) {
    run(WRITE, object, storage_secret, document.to_string().as_bytes());
}

/// Stores so many bytes that are no document, which takes the test process itself much longer.
pub fn fill(object: &StoredObject, size: usize) {
    run(FILL, object, None, size.to_string().as_bytes());
}

/// The text of the stored document; encrypted exactly if there is a storage secret.
pub fn read(object: &StoredObject, storage_secret: Option<&str>) -> String {
    let mut bytes = object.bytes();
    if storage_secret.is_some() {
        bytes = run(OPEN, object, storage_secret, &bytes);
    }
    String::from_utf8(bytes).expect("a document is text")
}

fn run(script: &str, object: &StoredObject, storage_secret: Option<&str>, input: &[u8]) -> Vec<u8> {
    let mut command = Command::new(tool("venv/bin/python"));
    command
        .args(["-c", script])
        .env_remove("STORAGE_SECRET")
        .envs(object.environment())
        .envs(storage_secret.map(|secret| ("STORAGE_SECRET", secret)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut process = command.spawn().expect("scripts/setup installs Python's libraries");
    let mut stdin = process.stdin.take().expect("stdin is piped");
    stdin.write_all(input).expect("the script reads its input");
    drop(stdin);
    let output = process.wait_with_output().expect("the script ends");
    assert!(output.status.success());
    output.stdout
}
