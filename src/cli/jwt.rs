//! `jwt`: the keys that sign tokens get a successor, and go on to verify.

use std::{fmt::Write as _, path::Path, process::ExitCode, time::Duration};

use rand::{TryRng, rngs::SysRng};
use serde::Serialize;

use super::{
    args::{Args, Settings},
    failure::Failure,
    output::{self, note, shown},
};
use crate::{
    accounts::key_file::{self, Form, KeyFileError, Rotated},
    clock::Clock,
    config::{DatabasePlace, GivenKeys, PrivateKey, SigningConfig, token_ttl},
    core::secret::Secret,
    usage::Action,
};

/// A key goes on to sign for some seconds after another was put before it, and clocks differ.
const MARGIN: Duration = Duration::from_mins(1);

/// `jwt rotate --json`.
#[derive(Serialize)]
struct Answer<'a> {
    algorithm: &'static str,
    rotated: bool,
    file: Option<String>,
    kid: Option<&'a str>,
    kept: usize,
    dropped: usize,
    /// Where there is no file: the new value of the setting.
    new: Option<&'a str>,
}

struct Asked {
    init: bool,
    drop_old: bool,
    json: bool,
}

pub fn jwt(mut args: Args) -> Result<ExitCode, Failure> {
    let asked = Asked {
        init: args.contains("--init"),
        drop_old: args.contains("--drop-old"),
        json: args.contains("--json"),
    };
    args.word("ACTION", &["rotate"])?;
    let settings = args.settings()?;
    match SigningConfig::from_lookup(&|name| settings.get(name))? {
        SigningConfig::Own { path } => in_file(&settings, &path, Form::Lines, &asked),
        SigningConfig::Given(GivenKeys {
            private_key: Some(PrivateKey::File(path)),
            ..
        }) => in_file(&settings, &path, Form::Pem, &asked),
        SigningConfig::Given(GivenKeys {
            private_key: Some(PrivateKey::Pem(_)),
            ..
        }) => shown_once(&new_key(key_file::new_pem)?, &PEM, &asked),
        SigningConfig::Given(given) => {
            let sentences = if given.previous.is_some() {
                &SECRET_AGAIN
            } else {
                &SECRET
            };
            shown_once(&new_key(key_file::new_secret)?, sentences, &asked)
        }
        SigningConfig::Missing => shown_once(&new_key(key_file::new_secret)?, &FIRST_SECRET, &asked),
    }
}

fn in_file(settings: &Settings, path: &Path, form: Form, asked: &Asked) -> Result<ExitCode, Failure> {
    let failed = |error: KeyFileError| Failure::Failed(format!("{} {error}", shown(&path.display().to_string())));
    let is_there = path.exists();
    if asked.init && is_there {
        let count = key_file::read(path, form).map_err(failed)?.len();
        return tell_file(path, form, asked, None, count - 1);
    }
    // Settings that cannot be used stop the command while nothing has happened yet.
    let ttl = token_ttl(&|name| settings.get(name))?;
    let place = DatabasePlace::from_lookup(&|name| settings.get(name))?;
    let drop_after = asked.drop_old.then(|| ttl + MARGIN);
    let now = Clock::default().now();
    let mut refused = false;
    let mut fill = |bytes: &mut [u8]| refused |= SysRng.try_fill_bytes(bytes).is_err();
    let rotated = key_file::rotate(path, form, drop_after, now, &mut fill).map_err(failed)?;
    settings
        .trail
        .add_account(&place, Action::RotateSigningKey, rotated.id.clone(), now);
    tell_file(path, form, asked, Some(&rotated), rotated.kept)
}

fn tell_file(
    path: &Path,
    form: Form,
    asked: &Asked,
    rotated: Option<&Rotated>,
    kept: usize,
) -> Result<ExitCode, Failure> {
    let file = path.display().to_string();
    if asked.json {
        output::answer(&output::json_line(&Answer {
            algorithm: algorithm(form),
            rotated: rotated.is_some(),
            file: Some(file),
            kid: rotated.and_then(|rotated| rotated.id.as_deref()),
            kept,
            dropped: rotated.map_or(0, |rotated| rotated.dropped),
            new: None,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let file = shown(&file);
    let Some(rotated) = rotated else {
        output::answer(&format!("✓ There are keys already: {file}\n"))?;
        return Ok(ExitCode::SUCCESS);
    };
    let done = if rotated.kept + rotated.dropped == 0 {
        "Made"
    } else {
        "Rotated"
    };
    let mut text = format!("✓ {done}: {file}\n");
    if let Some(id) = &rotated.id {
        push_line(&mut text, "New key", id);
    }
    if rotated.kept + rotated.dropped > 0 {
        push_line(
            &mut text,
            "Kept",
            &format!("{} to verify what they signed", rotated.kept),
        );
        push_line(&mut text, "Dropped", &rotated.dropped.to_string());
        text.push_str("A running service signs by it within 5 seconds.\n");
    }
    output::answer(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn push_line(text: &mut String, label: &str, value: &str) {
    writeln!(text, "  {:<10}{value}", format!("{label}:")).expect("a String takes everything");
}

const fn algorithm(form: Form) -> &'static str {
    match form {
        Form::Pem => "EdDSA",
        Form::Lines => "HS256",
    }
}

/// How a key is put into the settings, where no file keeps it.
struct Sentences {
    form: Form,
    how: &'static str,
}

const SECRET: Sentences = Sentences {
    form: Form::Lines,
    how: "This is a new SECRET_KEY; it is shown only now. So nobody has to log in again:\n\
          \x20 1. Set it as SECRET_KEY_PREVIOUS on all instances, beside the present SECRET_KEY.\n\
          \x20 2. Then set it as SECRET_KEY, and the present one as SECRET_KEY_PREVIOUS.\n\
          \x20 3. When TOKEN_TTL has passed, remove SECRET_KEY_PREVIOUS.\n\
          With one instance the first step can be left out.\n",
};

const SECRET_AGAIN: Sentences = Sentences {
    form: Form::Lines,
    how: "This is a new SECRET_KEY; it is shown only now. SECRET_KEY_PREVIOUS is still set: let TOKEN_TTL pass since the\n\
          last rotation. Then set the new one as SECRET_KEY, and the present one as SECRET_KEY_PREVIOUS.\n",
};

const FIRST_SECRET: Sentences = Sentences {
    form: Form::Lines,
    how: "This is a SECRET_KEY; it is shown only now. Set it on all instances.\n",
};

const PEM: Sentences = Sentences {
    form: Form::Pem,
    how: "This is a new key; it is shown only now. Put it behind the present one in JWT_PRIVATE_KEY on all instances, then\n\
          before it. When TOKEN_TTL has passed, the older one can go. In a file, 'heare-auth jwt rotate' does all that.\n",
};

fn shown_once(key: &Secret, sentences: &Sentences, asked: &Asked) -> Result<ExitCode, Failure> {
    if asked.drop_old || asked.init {
        return Err(Failure::usage(
            "--init and --drop-old are for keys that are kept in a file",
        ));
    }
    let text = if asked.json {
        output::json_line(&Answer {
            algorithm: algorithm(sentences.form),
            rotated: false,
            file: None,
            kid: None,
            kept: 0,
            dropped: 0,
            new: Some(key.expose()),
        })
    } else {
        note(sentences.how);
        format!("{}\n", key.expose())
    };
    let text = zeroize::Zeroizing::new(text);
    output::write_stdout(&text).map_err(|_| Failure::failed("the key could not be written to standard output"))?;
    Ok(ExitCode::SUCCESS)
}

fn new_key(make: fn(key_file::Fill<'_>) -> Secret) -> Result<Secret, Failure> {
    let mut refused = false;
    let key = make(&mut |bytes| refused |= SysRng.try_fill_bytes(bytes).is_err());
    if refused {
        return Err(Failure::failed("the system gives no random numbers"));
    }
    Ok(key)
}
