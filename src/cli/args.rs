//! Reads a command's arguments and joins them with the environment and the settings file: flag over environment
//! over file over default. The only place that reads the environment.

use std::{
    convert::Infallible,
    env,
    ffi::{OsStr, OsString},
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use pico_args::Arguments;
use serde::Deserialize;

use super::{
    client::Url,
    failure::{Failure, is_plain_word},
    trail::Trail,
};
use crate::{
    config::{SETTINGS, default_refresh_url},
    core::id,
};

const SETTINGS_FILE: &str = ".heare-auth.toml";

/// The flags that stand for a setting, wherever a command opens the store.
const STORE_FLAGS: [(&str, &str); 4] = [
    ("--bucket", "S3_BUCKET"),
    ("--key", "S3_KEY"),
    ("--region", "S3_REGION"),
    ("--storage-secret", "STORAGE_SECRET"),
];

/// A command's arguments, taken out one by one; `settings` or `finish` refuses what is left.
pub struct Args {
    arguments: Arguments,
    taken: Vec<&'static str>,
    flags: Vec<Flag>,
    trail: Trail,
}

/// A setting that was given as a flag.
struct Flag {
    name: &'static str,
    variable: &'static str,
    value: String,
}

impl Args {
    pub fn new(arguments: Arguments) -> Self {
        Self {
            arguments,
            taken: Vec::new(),
            flags: Vec::new(),
            trail: Trail::default(),
        }
    }

    /// Where the changes that the command makes are put down.
    pub fn trail(&self) -> Trail {
        self.trail.clone()
    }

    pub fn contains(&mut self, long: &'static str) -> bool {
        self.taken.push(long);
        self.arguments.contains(long)
    }

    pub fn contains_either(&mut self, short: &'static str, long: &'static str) -> bool {
        self.taken.extend([short, long]);
        self.arguments.contains([short, long])
    }

    /// The value of `--flag VALUE` or `--flag=VALUE`.
    pub fn option(&mut self, flag: &'static str) -> Result<Option<String>, Failure> {
        self.taken.push(flag);
        let value = self
            .arguments
            .opt_value_from_str::<_, String>(flag)
            .map_err(|error| match error {
                pico_args::Error::NonUtf8Argument => Failure::Usage(format!("{flag} must be UTF-8 text")),
                _ => Failure::Usage(format!("{flag} needs a value")),
            })?;
        // `--name --json` has forgotten the name rather than chosen this one.
        match value {
            Some(value) if value.starts_with("--") => Err(Failure::Usage(format!("{flag} needs a value"))),
            value => Ok(value),
        }
    }

    /// Every value of an option that may be given more than once, in their order.
    pub fn options(&mut self, flag: &'static str) -> Result<Vec<String>, Failure> {
        let mut values = Vec::new();
        while let Some(value) = self.option(flag)? {
            values.push(value);
        }
        Ok(values)
    }

    /// Takes a flag that stands for a setting.
    pub fn setting(&mut self, flag: &'static str, variable: &'static str) -> Result<(), Failure> {
        let Some(value) = self.option(flag)? else {
            return Ok(());
        };
        if value.is_empty() {
            return Err(Failure::Usage(format!("{flag} needs a value")));
        }
        self.flags.push(Flag {
            name: flag,
            variable,
            value,
        });
        Ok(())
    }

    pub fn store_flags(&mut self) -> Result<(), Failure> {
        STORE_FLAGS
            .into_iter()
            .try_for_each(|(flag, variable)| self.setting(flag, variable))
    }

    /// The one argument that is no option; to be taken after all options.
    pub fn key_id(&mut self) -> Result<String, Failure> {
        self.optional_key_id()?
            .ok_or_else(|| Failure::usage("KEY_ID is missing"))
    }

    /// The same, where it may be left out.
    pub fn optional_key_id(&mut self) -> Result<Option<String>, Failure> {
        let Some(id) = self.text("KEY_ID")? else {
            return Ok(None);
        };
        if id::may_be_secret(&id) {
            Err(Failure::usage("KEY_ID must be the key's id (key_...), not its secret"))
        } else {
            Ok(Some(id))
        }
    }

    /// The one argument that is no option, where it is one of a few words.
    pub fn word(&mut self, name: &str, words: &[&'static str]) -> Result<&'static str, Failure> {
        let given = self.text(name)?;
        let known = words.iter().find(|word| given.as_deref() == Some(**word));
        known
            .copied()
            .ok_or_else(|| Failure::Usage(format!("{name} must be one of: {}", words.join(", "))))
    }

    /// The one argument that is no option, whatever it says; to be taken after all options.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Failure> {
        match self.free()?.map(OsString::into_string) {
            Some(Ok(text)) if text == "-" => Err(self.unexpected(OsStr::new(&text))),
            Some(Ok(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
            Some(Err(_)) => Err(Failure::Usage(format!("{name} is missing"))),
            None => Ok(None),
        }
    }

    /// An argument that is no option; to be taken after all options. `-` alone is one.
    pub fn free(&mut self) -> Result<Option<OsString>, Failure> {
        let next = self
            .arguments
            .opt_free_from_os_str::<_, Infallible>(|text| Ok(text.to_owned()));
        match next.unwrap_or_default() {
            Some(text) if text.as_encoded_bytes().starts_with(b"-") && text != "-" => Err(self.unexpected(&text)),
            free => Ok(free),
        }
    }

    /// All settings, when nothing unknown is left.
    pub fn settings(mut self) -> Result<Settings, Failure> {
        self.refuse_rest()?;
        Ok(Settings {
            flags: self.flags,
            file: SettingsFile::load()?,
            trail: self.trail,
        })
    }

    /// The environment's settings alone, when nothing unknown is left: for what runs as a service.
    pub fn environment(mut self) -> Result<Settings, Failure> {
        self.refuse_rest()?;
        refuse_binary_values()?;
        Ok(Settings {
            flags: self.flags,
            file: SettingsFile::default(),
            trail: self.trail,
        })
    }

    /// Of a command that needs no settings: nothing unknown is left.
    pub fn end(mut self) -> Result<(), Failure> {
        self.refuse_rest()
    }

    fn refuse_rest(&mut self) -> Result<(), Failure> {
        let rest = std::mem::replace(&mut self.arguments, Arguments::from_vec(Vec::new())).finish();
        rest.first().map_or(Ok(()), |first| Err(self.unexpected(first)))
    }

    /// An argument may be a secret in the wrong place: only what looks like an option is repeated.
    fn unexpected(&self, argument: &OsStr) -> Failure {
        let text = argument.to_string_lossy();
        let name = text.split('=').next().unwrap_or_default();
        if let Some(known) = self.taken.iter().find(|flag| **flag == name) {
            return Failure::Usage(format!("{known} is given twice or with a value it does not take"));
        }
        if !name.starts_with('-') {
            Failure::usage("there is an argument too many")
        } else if is_plain_word(name) {
            Failure::Usage(format!("there is no option {name}"))
        } else {
            Failure::usage("there is no such option")
        }
    }
}

/// Flag over environment over file; the defaults are `config`'s.
pub struct Settings {
    flags: Vec<Flag>,
    file: SettingsFile,
    pub trail: Trail,
}

impl Settings {
    pub fn get(&self, variable: &str) -> Option<String> {
        let flag = self.flags.iter().find(|flag| flag.variable == variable);
        flag.map(|flag| flag.value.clone())
            .or_else(|| environment(variable))
            .or_else(|| self.file.get(variable).map(ToOwned::to_owned))
    }

    /// One that was given as a flag.
    pub fn first_flag(&self) -> Option<&'static str> {
        self.flags.first().map(|flag| flag.name)
    }

    /// The URL to call after a change, and by `refresh`.
    pub fn refresh_url(&self) -> Result<Url, Failure> {
        let (text, certificate) = (self.get("REFRESH_URL"), self.own_certificate());
        let text = text.as_deref().unwrap_or(default_refresh_url(certificate.is_some()));
        let url = Url::parse(text).ok_or_else(|| self.wrong_refresh_url())?;
        Ok(url.trusting(certificate))
    }

    /// The file of the certificate that the service beside this command shows.
    pub fn own_certificate(&self) -> Option<PathBuf> {
        self.get("SSL_CERTFILE").map(PathBuf::from)
    }

    fn wrong_refresh_url(&self) -> Failure {
        let problem = "must be a URL such as http://localhost:8080/refresh";
        if let Some(flag) = self.flags.iter().find(|flag| flag.variable == "REFRESH_URL") {
            Failure::Usage(format!("{} {problem}", flag.name))
        } else if environment("REFRESH_URL").is_some() {
            Failure::Failed(format!("REFRESH_URL {problem}"))
        } else {
            Failure::Failed(format!("refresh_url in ~/{SETTINGS_FILE} {problem}"))
        }
    }
}

/// `~/.heare-auth.toml`. Other tables and members are somebody else's.
#[derive(Default, Deserialize)]
struct SettingsFile {
    #[serde(default)]
    default: FileSettings,
}

#[derive(Default, Deserialize)]
struct FileSettings {
    s3_bucket: Option<String>,
    s3_key: Option<String>,
    s3_region: Option<String>,
    refresh_url: Option<String>,
}

impl SettingsFile {
    fn load() -> Result<Self, Failure> {
        refuse_binary_values()?;
        let Some(home) = home() else {
            return Ok(Self::default());
        };
        Self::read(&home.join(SETTINGS_FILE)).map_err(|problem| Failure::Failed(format!("~/{SETTINGS_FILE} {problem}")))
    }

    fn read(path: &Path) -> Result<Self, &'static str> {
        match fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).map_err(|_| "must be TOML with texts under [default]"),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(Self::default()),
            Err(error) if error.kind() == ErrorKind::InvalidData => Err("must be UTF-8 text"),
            Err(_) => Err("cannot be read"),
        }
    }

    fn get(&self, variable: &str) -> Option<&str> {
        let value = match variable {
            "S3_BUCKET" => &self.default.s3_bucket,
            "S3_KEY" => &self.default.s3_key,
            "S3_REGION" => &self.default.s3_region,
            "REFRESH_URL" => &self.default.refresh_url,
            _ => &None,
        };
        value.as_deref().filter(|value| !value.is_empty())
    }
}

fn environment(variable: &str) -> Option<String> {
    env::var(variable).ok().filter(|value| !value.is_empty())
}

/// A value that is not text would otherwise be taken for one that is not set.
fn refuse_binary_values() -> Result<(), Failure> {
    let is_binary = |variable: &str| env::var_os(variable).is_some_and(|value| value.to_str().is_none());
    match SETTINGS.iter().find(|setting| is_binary(setting.name)) {
        Some(setting) => Err(Failure::Failed(format!("{} must be UTF-8 text", setting.name))),
        None => Ok(()),
    }
}

fn home() -> Option<PathBuf> {
    env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
}

/// How this program was called, for commands that are shown to be typed in the same way.
pub fn program() -> String {
    let called = env::args_os().next().unwrap_or_else(|| OsString::from("heare-auth"));
    let called = called.to_string_lossy();
    if env::var_os("CARGO").is_some() && called.contains("target/") {
        let release = if called.contains("target/release/") {
            " --release"
        } else {
            ""
        };
        return format!("cargo run -q{release} --");
    }
    called.into_owned()
}
