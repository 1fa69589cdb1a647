//! `executor login`: writing a login into docker's `config.json`.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::flags::registry as flags;
use super::parse::Parsed;
use super::{Mistake, only_argument, variable};

/// Longer passwords are mistakes: tokens have a few kilobytes.
const MAX_PASSWORD: u64 = 1 << 20;

/// Under which docker keeps the login for Docker Hub.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

pub(super) fn run(parsed: &Parsed) -> Result<ExitCode, Mistake> {
    let registry = only_argument(parsed)?;
    let said = |text: &str| Mistake::Said(text.to_owned());
    let user = parsed.some(&flags::USERNAME).ok_or_else(|| said("username required"))?;
    let reads_stdin = parsed.is_on(&flags::PASSWORD_STDIN);
    let password = match (parsed.some(&flags::PASSWORD), reads_stdin) {
        (None, false) => {
            return Err(said("a password must be supplied via --password or --password-stdin"));
        }
        (Some(_), true) => return Err(said("only one of --password or --password-stdin may be specified")),
        (Some(password), false) => password.to_owned(),
        (None, true) => read_password()?,
    };
    let path = config_path()?;
    let shown = path.display();
    store(&path, registry, user, &password)
        .map_err(|reason| Mistake::Said(format!("cannot write the login to `{shown}`: {reason}")))?;
    Ok(ExitCode::SUCCESS)
}

fn read_password() -> Result<String, Mistake> {
    let mut text = String::new();
    io::stdin()
        .take(MAX_PASSWORD)
        .read_to_string(&mut text)
        .map_err(|error| Mistake::Said(format!("cannot read standard input: {error}")))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() { Err(Mistake::Said("password is blank".to_owned())) } else { Ok(text.to_owned()) }
}

/// `$DOCKER_CONFIG`, a directory or the file itself, else below `$HOME`.
fn config_path() -> Result<PathBuf, Mistake> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    match (set("DOCKER_CONFIG"), set("HOME")) {
        (Some(path), _) if path.is_file() => Ok(path),
        (Some(directory), _) => Ok(directory.join("config.json")),
        (None, Some(home)) => Ok(home.join(".docker/config.json")),
        (None, None) => {
            Err(Mistake::Said("neither DOCKER_CONFIG nor HOME says where config.json is".to_owned()))
        }
    }
}

/// Adds the login to the file, keeping all else that is in it. Whoever reads the file meanwhile sees the old or the new
/// one.
fn store(path: &Path, registry: &str, user: &str, password: &str) -> Result<(), String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => "{}".to_owned(),
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => "{}".to_owned(),
        Err(error) => return Err(error.to_string()),
    };
    // serde_json's own message may quote the text, which holds secrets.
    let mut config: Map<String, Value> = serde_json::from_str(&text)
        .map_err(|error| format!("line {} is not the expected JSON", error.line()))?;
    let key = match registry {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
        other => other,
    };
    let auths = config.entry("auths").or_insert_with(|| Value::Object(Map::new()));
    let auths = auths.as_object_mut().ok_or("`auths` is not an object")?;
    let auth = STANDARD.encode(format!("{user}:{password}"));
    auths.insert(key.to_owned(), serde_json::json!({"auth": auth}));
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory).map_err(|error| error.to_string())?;
    // The file is for its owner only, as a temporary file is from the beginning.
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(|error| error.to_string())?;
    serde_json::to_writer_pretty(&mut file, &config).map_err(|error| error.to_string())?;
    file.persist(path).map_err(|error| error.error.to_string())?;
    Ok(())
}
