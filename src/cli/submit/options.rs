//! The options of `cooper build`, as they were typed: those that a Job can have are given to it.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::super::build::BuildArguments;

/// The options of a build, understood and as typed.
#[derive(Debug)]
pub(super) struct BuildOptions {
    pub(super) arguments: BuildArguments,
    given: Vec<Given>,
}

/// An option as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Given {
    id: String,
    option: String,
    /// None for one without values.
    values: Option<Vec<OsString>>,
}

/// What becomes of an option of a build that becomes a Job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The Job gets it as it is.
    Passed,
    /// The Job gets something made of it.
    Replaced,
    /// A Job cannot have it, and this is why.
    Refused(&'static str),
}

fn fate(id: &str) -> Fate {
    match id {
        "context"
        | "file"
        | "push"
        | "progress"
        | "build_args"
        | "build_contexts"
        | "secrets"
        | "registry_certificates" => Fate::Replaced,
        "outputs" => {
            Fate::Refused("the image of a Job is pushed; write it to files with `cooper registry copy`")
        }
        "store" => Fate::Refused("`--store-size` and `--store-claim` say where a Job keeps it"),
        "trace" | "metadata_file" | "iidfile" | "termination_log" => {
            Fate::Refused("the file would be written in the Job's pod; the digest is printed at the end")
        }
        "offline" => Fate::Refused("a Job has nothing but what it fetches"),
        "agents" => Fate::Refused(
            "an SSH agent cannot be reached from the cluster; give a token as `--secret id=GIT_AUTH_TOKEN,env=NAME`",
        ),
        "emulator" => {
            Fate::Refused("the file would have to be in the Job's pod; choose nodes by `--platform`")
        }
        _ => Fate::Passed,
    }
}

/// The name of a flag as in messages.
fn own_arguments() -> Command {
    BuildArguments::augment_args(Command::new("build"))
}

impl BuildOptions {
    /// The first option that a Job cannot have, and why.
    pub(super) fn refused(&self) -> Option<(&str, &'static str)> {
        self.given.iter().find_map(|given| match fate(&given.id) {
            Fate::Refused(reason) => Some((given.option.as_str(), reason)),
            _ => None,
        })
    }

    /// The options that the Job gets as they are. Fails with one that is not text.
    pub(super) fn passed(&self) -> Result<Vec<String>, OsString> {
        let mut words = Vec::new();
        for Given { id, option, values } in &self.given {
            if fate(id) != Fate::Passed {
                continue;
            }
            match values {
                None => words.push(option.clone()),
                Some(values) => {
                    for value in values {
                        let value = value.to_str().ok_or_else(|| value.clone())?;
                        words.push(format!("{option}={value}"));
                    }
                }
            }
        }
        Ok(words)
    }

    /// What was typed for an option, or for the context.
    pub(super) fn typed(&self, id: &str) -> Vec<OsString> {
        let given = self.given.iter().find(|given| given.id == id);
        given.and_then(|given| given.values.clone()).unwrap_or_default()
    }
}

impl FromArgMatches for BuildOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Vec::new();
        for argument in own_arguments().get_arguments() {
            let id = argument.get_id().as_str();
            if matches.value_source(id) != Some(ValueSource::CommandLine) {
                continue;
            }
            let option = argument.get_long().map(|long| format!("--{long}")).unwrap_or_default();
            let values = match argument.get_action() {
                ArgAction::SetTrue => None,
                _ => Some(matches.get_raw(id).into_iter().flatten().map(ToOwned::to_owned).collect()),
            };
            given.push(Given { id: id.to_owned(), option, values });
        }
        Ok(Self { arguments: BuildArguments::from_arg_matches(matches)?, given })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for BuildOptions {
    fn augment_args(command: Command) -> Command {
        // `-o` is the format of manifests here, as with `kubectl`; who asks for an output is told why there is none.
        BuildArguments::augment_args(command).mut_arg("outputs", |argument| {
            argument.short(None::<char>).long("build-output").alias("image-output").hide(true)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> BuildOptions {
        let command = BuildOptions::augment_args(Command::new("submit"));
        let matches = command.try_get_matches_from([&["submit"], words].concat()).unwrap();
        BuildOptions::from_arg_matches(&matches).unwrap()
    }

    #[test]
    fn what_is_not_local_is_passed() {
        let words = [
            "--no-cache",
            "--platform",
            "linux/amd64,linux/arm64",
            "-t",
            "r/a:1",
            "--tag=r/a:2",
            "--push",
            "--label",
            "a=b c",
            "--cache-from",
            "r/cache",
            "--compression=zstd",
            "--build-arg",
            "A=1",
            "--secret",
            "id=a,env=PATH",
            ".",
        ];
        let passed = parse(&words).passed().unwrap();
        assert_eq!(
            passed,
            [
                "--tag=r/a:1",
                "--tag=r/a:2",
                "--platform=linux/amd64",
                "--platform=linux/arm64",
                "--label=a=b c",
                "--no-cache",
                "--cache-from=r/cache",
                "--compression=zstd",
            ]
        );
        assert_eq!(parse(&words).refused(), None);
        assert_eq!(parse(&words).typed("context"), ["."]);
    }

    #[test]
    fn what_is_local_is_refused() {
        for (words, option) in [
            (&["--store", "x"][..], "--store"),
            (&["--offline"], "--offline"),
            (&["--iidfile=x"], "--iidfile"),
            (&["--ssh", "default=/run/agent"], "--ssh"),
            (&["--emulator", "x"], "--emulator"),
            (&["--build-output", "type=oci,dest=x"], "--output"),
        ] {
            let options = parse(&[words, &["."]].concat());
            assert_eq!(options.refused().map(|(option, _)| option), Some(option), "{words:?}");
        }
    }

    /// Whoever adds an option to `cooper build` decides here whether a Job can have it.
    #[test]
    fn every_option_is_decided() {
        const PASSED: [&str; 21] = [
            "tags",
            "target",
            "platforms",
            "labels",
            "no_cache",
            "from",
            "to",
            "explain_cache",
            "compression",
            "compression_level",
            "isolation",
            "hosts",
            "shm_size",
            "ulimits",
            "image_format",
            "insecure_registries",
            "registry_mirrors",
            "source_reach",
            "help",
            "version",
            "fingerprint",
        ];
        for argument in own_arguments().get_arguments() {
            let id = argument.get_id().as_str();
            assert!(fate(id) != Fate::Passed || PASSED.contains(&id), "{id}");
        }
    }
}
