//! Commit statuses, as GitHub, GitLab and Gitea take them:
//! <https://docs.github.com/en/rest/commits/statuses>, <https://docs.gitlab.com/api/commits/#set-commit-pipeline-status>,
//! <https://docs.gitea.com/api/> (`repoCreateStatus`).

use serde::Serialize;
use url::Url;

use super::herald::Happened;
use super::letter::{Letter, Target};
use crate::serve::build::{Build, Origin, State};
use crate::serve::config::{Config, Provider};

/// GitHub takes no longer description, in characters.
const MAX_DESCRIPTION: usize = 140;

/// What GitHub and Gitea take.
#[derive(Serialize)]
struct Status<'a> {
    state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_url: Option<String>,
    description: &'a str,
    context: &'a str,
}

/// What GitLab takes.
#[derive(Serialize)]
struct PipelineStatus<'a> {
    state: &'a str,
    r#ref: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_url: Option<String>,
    description: &'a str,
}

/// Where people find a build.
pub(super) fn page(public_url: &Url, build: &Build) -> String {
    format!("{}/#/builds/{}", public_url.as_str().trim_end_matches('/'), build.id)
}

/// The status of the commit that `build` is for, if somebody wants one.
pub(super) fn letter(
    config: &Config,
    public_url: Option<&Url>,
    build: &Build,
    happened: Happened,
) -> Option<Letter> {
    let origin = build.origin.as_ref()?;
    let hook = config.hook(&origin.hook)?;
    let statuses = hook.statuses.as_ref()?;
    let repository = config.repository(&hook.name, &origin.repository)?;
    if !repository.has_statuses {
        return None;
    }
    // Names of repositories and commits were checked; they are parts of a path nevertheless.
    let mut url = statuses.api.clone();
    {
        let mut path = url.path_segments_mut().ok()?;
        path.pop_if_empty();
        match hook.provider {
            Provider::Gitlab => {
                path.extend(["projects", &repository.name, "statuses", &origin.commit]);
            }
            Provider::Github | Provider::Gitea => {
                path.push("repos").extend(repository.name.split('/'));
                path.extend(["statuses", &origin.commit]);
            }
            Provider::Generic => return None,
        }
    }
    let label = match origin.rule.as_str() {
        "default" => statuses.label.clone(),
        rule => format!("{}/{rule}", statuses.label),
    };
    let subject = word(hook.provider, build, happened);
    let description = description(build, happened);
    let target_url = public_url.map(|url| page(url, build));
    let body = match hook.provider {
        Provider::Gitlab => serde_json::to_string(&PipelineStatus {
            state: subject,
            r#ref: short(origin),
            name: &label,
            target_url,
            description: &description,
        }),
        _ => serde_json::to_string(&Status {
            state: subject,
            target_url,
            description: &description,
            context: &label,
        }),
    };
    let target =
        Target::Status { provider: hook.provider, url: url.to_string(), token: statuses.token.clone() };
    // Texts are always written.
    Some(Letter { build: build.id.clone(), subject: subject.to_owned(), target, body: body.ok()? })
}

/// The name of the branch or tag.
fn short(origin: &Origin) -> &str {
    let reference = origin.reference.as_str();
    reference
        .strip_prefix("refs/heads/")
        .or_else(|| reference.strip_prefix("refs/tags/"))
        .unwrap_or(reference)
}

fn word(provider: Provider, build: &Build, happened: Happened) -> &'static str {
    let is_gitlab = provider == Provider::Gitlab;
    match (happened, build.state) {
        (Happened::Begun, _) if is_gitlab => "running",
        (Happened::Accepted | Happened::Begun, _) => "pending",
        (Happened::Ended, State::Succeeded) => "success",
        (Happened::Ended, State::Cancelled) if is_gitlab => "canceled",
        (Happened::Ended, State::Failed) if is_gitlab => "failed",
        // The build itself has failed; everything else is no fault of the commit.
        (Happened::Ended, State::Failed) if build.exit_code.is_some() => "failure",
        (Happened::Ended, _) => "error",
    }
}

fn description(build: &Build, happened: Happened) -> String {
    let first_line =
        |text: &Option<String>| text.as_deref().and_then(|text| text.lines().next()).map(str::to_owned);
    let text = match (happened, build.state) {
        (Happened::Accepted, _) => "waits for its turn".to_owned(),
        (Happened::Begun, _) => "is being built".to_owned(),
        (Happened::Ended, State::Succeeded) => match &build.result {
            Some(built) => format!("pushed {}", built.digest),
            None => "pushed".to_owned(),
        },
        (Happened::Ended, _) => first_line(&build.error).unwrap_or_else(|| build.state.name().to_owned()),
    };
    text.chars().filter(|c| !c.is_control()).take(MAX_DESCRIPTION).collect()
}
