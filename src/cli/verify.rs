//! `verify`: whether a secret read from standard input is good, asked of the running service or of the store itself.

use std::{
    io::{self, IsTerminal, Read},
    net::IpAddr,
    process::ExitCode,
};

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::{
    args::{Args, Settings},
    client::{self, Url},
    failure::{FAILED, Failure},
    output::{self, note, shown},
    record::{on_one_line, unescaped},
    service::refusal,
    store::DocumentStore,
};
use crate::core::{
    index::Index,
    network,
    request::MAX_API_KEY_CHARS,
    scope::Scope,
    secret::Secret,
    verify::{self, Asked},
};

/// `verify --json`; a key that is not good has a code, a good one has the rest.
#[derive(Debug, Default, Serialize)]
struct Verdict {
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Box<RawValue>>,
}

pub async fn verify(mut args: Args) -> Result<ExitCode, Failure> {
    args.store_flags()?;
    let url = args.option("--url")?;
    let json = args.contains("--json");
    let offline = args.contains("--offline");
    let asked = asked(&mut args)?;
    let settings = args.settings()?;
    if offline && url.is_some() {
        return Err(Failure::usage("--url and --offline exclude each other"));
    }
    if let Some(flag) = settings.first_flag().filter(|_| !offline) {
        return Err(Failure::Usage(format!(
            "{flag} is for --offline: a running service has its own store"
        )));
    }
    let verdict = if offline {
        from_store(&settings, &read_secret()?, &asked).await?
    } else {
        let url = verify_url(url, &settings)?;
        from_service(&url, &read_secret()?, &asked).await?
    };
    output::answer(&if json {
        output::json_line(&verdict)
    } else {
        lines(&verdict)
    })?;
    Ok(if verdict.valid {
        ExitCode::SUCCESS
    } else {
        FAILED.into()
    })
}

/// What a backend would tell the service about the request in its hands.
fn asked(args: &mut Args) -> Result<Asked<'static>, Failure> {
    let client_ip = args.option("--client-ip")?.map(|text| {
        network::address(&text).ok_or_else(|| Failure::usage("--client-ip must be an IPv4 or IPv6 address"))
    });
    let mut required_scopes = Vec::new();
    while let Some(text) = args.option("--scope")? {
        required_scopes.push(Scope::parse(text).map_err(|error| Failure::Usage(format!("--scope: {error}")))?);
    }
    Ok(Asked {
        client_ip: client_ip.transpose()?,
        required_scopes,
    })
}

fn verify_url(url: Option<String>, settings: &Settings) -> Result<Url, Failure> {
    match url {
        Some(text) => {
            Url::parse(&text).ok_or_else(|| Failure::usage("--url must be a URL such as http://localhost:8080/verify"))
        }
        None => Ok(settings.refresh_url()?.beside("verify")),
    }
}

/// One line. A secret in argv would stand in every process list.
fn read_secret() -> Result<Secret, Failure> {
    if io::stdin().is_terminal() {
        note("Secret (as you type it, it is visible): ");
    }
    let mut text = Zeroizing::new(String::with_capacity(4 * MAX_API_KEY_CHARS + 2));
    let limit = u64::try_from(text.capacity()).unwrap_or(u64::MAX);
    let read = io::BufRead::read_line(&mut io::BufReader::new(io::stdin().lock().take(limit)), &mut text);
    let secret = text.trim_end_matches(['\r', '\n']);
    match read {
        Ok(_) if secret.is_empty() => Err(Failure::usage("the secret is missing on standard input")),
        Ok(_) if secret.chars().count() > MAX_API_KEY_CHARS => Err(Failure::Failed(format!(
            "a secret has at most {MAX_API_KEY_CHARS} characters"
        ))),
        Ok(_) => Ok(Secret::new(secret)),
        Err(_) => Err(Failure::failed("the secret on standard input must be UTF-8 text")),
    }
}

#[derive(Serialize)]
struct Question<'a> {
    api_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    required_scopes: Vec<&'a str>,
}

async fn from_service(url: &Url, secret: &Secret, asked: &Asked<'_>) -> Result<Verdict, Failure> {
    let question = Question {
        api_key: secret.expose(),
        client_ip: asked.client_ip,
        required_scopes: asked.required_scopes.iter().map(Scope::as_str).collect(),
    };
    let body = serde_json::to_vec(&question).expect("a text is always JSON");
    let answer = client::post(url, body.into())
        .await
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let text = |member: &str| answer.json[member].as_str().map(ToOwned::to_owned);
    let denied = answer.json["valid"] == false || answer.json["detail"]["valid"] == false;
    match answer.status {
        StatusCode::OK if answer.json["valid"] == true => Ok(Verdict {
            valid: true,
            code: None,
            key_id: text("key_id"),
            name: text("name"),
            metadata: metadata_in(&answer.body),
        }),
        StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS if denied => {
            Ok(refused(text("code").as_deref().unwrap_or("invalid")))
        }
        _ => Err(Failure::Failed(refusal(&answer))),
    }
}

async fn from_store(settings: &Settings, secret: &Secret, asked: &Asked<'_>) -> Result<Verdict, Failure> {
    let store = DocumentStore::open(settings).await?;
    let document = store.read().await?;
    let index = Index::build(&document.to_json()).map_err(|error| Failure::Failed(error.to_string()))?;
    let digest = index.digest_by_trial(secret.expose());
    Ok(match verify::verify_digest(&index, &digest, asked, store.now()) {
        Err(refusal) => refused(refusal.code()),
        Ok(entry) => Verdict {
            valid: true,
            code: None,
            key_id: unescaped(entry.id),
            name: unescaped(entry.name),
            metadata: RawValue::from_string(entry.metadata.to_owned()).ok(),
        },
    })
}

/// Numbers and the order of members are the key's own, so they are not read.
#[derive(Deserialize)]
struct WithMetadata {
    metadata: Box<RawValue>,
}

fn metadata_in(answer: &[u8]) -> Option<Box<RawValue>> {
    let answer: WithMetadata = serde_json::from_slice(answer).ok()?;
    Some(on_one_line(&answer.metadata).into_owned())
}

fn refused(code: &str) -> Verdict {
    Verdict {
        code: Some(code.to_owned()),
        ..Verdict::default()
    }
}

fn lines(verdict: &Verdict) -> String {
    if !verdict.valid {
        return format!("✗ Not valid: {}\n", shown(verdict.code.as_deref().unwrap_or("invalid")));
    }
    let text = |member: &Option<String>| shown(member.as_deref().unwrap_or("-"));
    let metadata = verdict.metadata.as_deref().unwrap_or(RawValue::NULL);
    format!(
        "✓ Valid\n  ID:          {}\n  Name:        {}\n  Metadata:    {}\n",
        text(&verdict.key_id),
        text(&verdict.name),
        output::compact(metadata),
    )
}
