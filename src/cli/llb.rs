//! `cooper llb`: a build, written down for BuildKit.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::build::{BuildArguments, Failure, complain, request, run_with_own_credentials, write_file};
use crate::event::Events;
use crate::pipeline::{self, LlbBuild};
use crate::request::{BuildRequest, ContextSource, Output};

/// What `cooper llb` takes.
#[derive(Debug, Args)]
#[command(after_help = NOTES, args_override_self = true)]
pub(super) struct LlbArguments {
    #[command(flatten)]
    build: BuildArguments,
    /// Write the value of `buildctl build --output` to this file: names, and the image's config
    #[arg(long, value_name = "PATH")]
    exporter_file: Option<PathBuf>,
}

const NOTES: &str = "\
Takes the options of `cooper build`; those about executing and exporting have no effect here. Base images are looked
up, nothing else is fetched. LLB holds the files' making only: the image's config goes to the exporter.

Example:
  cooper llb -t registry:5000/app:1 --push --exporter-file app.exporter . > app.llb
  buildctl build --local context=. --output \"$(cat app.exporter)\" < app.llb";

/// Writes the definition to standard output, and what to do with it to standard error.
pub(super) fn run(arguments: &LlbArguments) -> ExitCode {
    let events = Events::new(arguments.build.progress.reporter());
    let result = write(arguments, &events);
    events.finish();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn write(arguments: &LlbArguments, events: &Events) -> Result<(), Failure> {
    if io::stdout().is_terminal() {
        let text = "LLB is not for reading: send it to a file or to `buildctl build`, with `>` or `|`";
        return Err(Failure::Other(text.to_owned()));
    }
    let request = request(&arguments.build).map_err(Failure::Other)?;
    if !matches!(request.context, ContextSource::Directory(_) | ContextSource::Empty) {
        let text =
            "`buildctl` sends directories of this machine: fetch the context first, and name its directory";
        return Err(Failure::Other(text.to_owned()));
    }
    let built =
        run_with_own_credentials(events, async |environment| pipeline::llb(&request, environment).await)?;
    if let Some(path) = &arguments.exporter_file {
        write_file(path, format!("{}\n", exporter(&request, &built)).as_bytes())?;
    }
    let failed = |error| Failure::Other(format!("cannot write to standard output: {error}"));
    let mut output = io::stdout().lock();
    output.write_all(&built.definition).and_then(|()| output.flush()).map_err(failed)?;
    complain(&advice(arguments, &built));
    Ok(())
}

/// The value of `--output` as the comma-separated fields that `buildctl` reads; the config holds commas and quotes.
fn exporter(request: &BuildRequest, built: &LlbBuild) -> String {
    let names: Vec<String> = request.tags.iter().map(ToString::to_string).collect();
    let mut fields = vec!["type=image".to_owned()];
    if !names.is_empty() {
        fields.push(quoted(&format!("name={}", names.join(","))));
    }
    if request.outputs.contains(&Output::Push) {
        fields.push("push=true".to_owned());
    }
    let config = String::from_utf8_lossy(&built.config);
    fields.push(quoted(&format!("containerimage.config={config}")));
    fields.join(",")
}

/// A field of comma-separated values, see RFC 4180.
fn quoted(field: &str) -> String {
    format!("\"{}\"", field.replace('"', "\"\""))
}

/// The command that builds it.
fn advice(arguments: &LlbArguments, built: &LlbBuild) -> String {
    let locals = built.locals.iter().map(|(name, path)| format!(" --local {name}={}", path.display()));
    let output = arguments
        .exporter_file
        .as_ref()
        .map(|path| format!(" --output \"$(cat {})\"", path.display()))
        .unwrap_or_default();
    format!("build it with: buildctl build{}{output} < FILE", locals.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_with_quotes_are_quoted() {
        assert_eq!(quoted(r#"a={"b":1,"c":2}"#), r#""a={""b"":1,""c"":2}""#);
    }
}
