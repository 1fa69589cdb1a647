//! `docker-credential-NAME get`: the protocol of docker's credential helpers.
//!
//! The registry goes to standard input; `{"Username":…,"Secret":…}` comes from standard output. A user name of
//! `<token>` says that the secret is an identity token.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::{CredentialsError, Login, Secret, config};
use crate::registry::answer::printable;

/// Helpers of cloud providers make a few requests; more than this is a hang.
const LIMIT: Duration = Duration::from_secs(30);
/// Tokens are a few kilobytes.
const OUTPUT_LIMIT: u64 = 256 << 10;
/// What the reference implementation prints when it has no login. It is not a failure.
const NOT_FOUND: &str = "credentials not found in native keychain";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: Secret,
}

/// Asks the helper `name` for the login of the normalised `key`. `None` when it has none.
pub(super) async fn ask(
    name: &str,
    key: &str,
    path: Option<&OsStr>,
) -> Result<Option<Login>, CredentialsError> {
    let program = find(name, key, path)?;
    let run_failed = |source| CredentialsError::HelperRun { name: name.to_owned(), source };
    let mut command = Command::new(program);
    // A RUN `in-place` can read the environment of what the builder starts, though not the builder's own.
    command.env_remove("DOCKER_AUTH_CONFIG");
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.kill_on_drop(true).spawn().map_err(run_failed)?;
    let conversation = converse(child, config::helper_key(key));
    let Ok(result) = tokio::time::timeout(LIMIT, conversation).await else {
        let (name, key) = (name.to_owned(), key.to_owned());
        return Err(CredentialsError::HelperTimeout { name, key, seconds: LIMIT.as_secs() });
    };
    let Outcome { success, stdout, stderr } = result.map_err(run_failed)?;
    if !success {
        // Helpers print their message to either stream.
        let message = if stdout.is_empty() { stderr } else { stdout };
        let message = String::from_utf8_lossy(&message);
        if message.contains(NOT_FOUND) {
            return Ok(None);
        }
        let (name, key) = (name.to_owned(), key.to_owned());
        return Err(CredentialsError::HelperFailed { name, key, message: printable(&message) });
    }
    let answer: Answer = serde_json::from_slice(&stdout)
        .map_err(|_| CredentialsError::HelperAnswer { name: name.to_owned(), key: key.to_owned() })?;
    Ok(match (answer.username.as_str(), answer.secret) {
        (_, secret) if secret.is_empty() => None,
        ("<token>", token) => Some(Login::IdentityToken { user: None, token }),
        (user, password) => Some(Login::Password { user: user.to_owned(), password }),
    })
}

struct Outcome {
    success: bool,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

async fn converse(mut child: Child, key: &str) -> std::io::Result<Outcome> {
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input may still answer.
        match stdin.write_all(key.as_bytes()).await {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(error),
            _ => drop(stdin),
        }
    }
    let (stdout, stderr) = tokio::try_join!(read_some(child.stdout.take()), read_some(child.stderr.take()))?;
    Ok(Outcome { success: child.wait().await?.success(), stdout, stderr })
}

async fn read_some(stream: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        stream.take(OUTPUT_LIMIT).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

fn find(name: &str, key: &str, path: Option<&OsStr>) -> Result<PathBuf, CredentialsError> {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !name.bytes().all(harmless) {
        return Err(CredentialsError::HelperName { name: printable(name) });
    }
    let program = format!("docker-credential-{name}");
    let directories = path.map(std::env::split_paths).into_iter().flatten();
    directories
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(&program))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| CredentialsError::HelperMissing { name: name.to_owned(), key: key.to_owned() })
}
