//! `cooper registry ls` and `cooper registry tags`.

use clap::Args;
use serde::Serialize;

use super::error::CommandError;
use super::place::Shelf;
use super::{Connection, Verdict};

/// What `cooper registry ls` takes.
#[derive(Debug, Args)]
pub(super) struct LsArguments {
    /// The registry, as HOST[:PORT]
    #[arg(value_name = "REGISTRY")]
    registry: Shelf,
    #[command(flatten)]
    connection: Connection,
}

/// What `cooper registry tags` takes.
#[derive(Debug, Args)]
pub(super) struct TagsArguments {
    /// The repository, as HOST[:PORT]/PATH
    #[arg(value_name = "REPOSITORY")]
    repository: Shelf,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Serialize)]
struct Repositories {
    registry: String,
    repositories: Vec<String>,
}

#[derive(Serialize)]
struct Tags {
    repository: String,
    tags: Vec<String>,
}

pub(super) async fn ls(arguments: &LsArguments) -> Result<Verdict, CommandError> {
    let Shelf::Registry(registry) = &arguments.registry else {
        let text = "`ls` lists the repositories of a registry; for those of a repository there is `tags`";
        return Err(CommandError::Usage(text.to_owned()));
    };
    let mut repositories = arguments.connection.registries()?.list_repositories(registry).await?;
    repositories.sort();
    let result = Repositories { registry: registry.clone(), repositories };
    arguments.connection.print(&result, || lines(&result.repositories))?;
    Ok(Verdict::Good)
}

pub(super) async fn tags(arguments: &TagsArguments) -> Result<Verdict, CommandError> {
    let Shelf::Repository(name) = &arguments.repository else {
        let text = "`tags` lists the tags of a repository; for the repositories of a registry there is `ls`";
        return Err(CommandError::Usage(text.to_owned()));
    };
    let mut tags = arguments.connection.registries()?.repository(name)?.list_tags().await?;
    tags.sort();
    let result = Tags { repository: name.to_string(), tags };
    arguments.connection.print(&result, || lines(&result.tags))?;
    Ok(Verdict::Good)
}

fn lines(names: &[String]) -> String {
    names.iter().flat_map(|name| [name.as_str(), "\n"]).collect()
}
