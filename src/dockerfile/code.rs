//! What a diagnostic is about.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// What a [`Diagnostic`](super::Diagnostic) is about: a lint rule under BuildKit's name, or a kind of error.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $name,)+
        }

        impl Code {
            /// The name that is shown and that `# check=skip=` takes.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }
        }
    };
}

codes! {
    // Lint rules, see `lint`.
    /// Stage names should be lower case.
    StageNameCasing,
    /// `FROM` and `AS` should have the same case.
    FromAsCasing,
    /// Empty lines inside a continued instruction will become errors.
    NoEmptyContinuation,
    /// All instructions should have the same case.
    ConsistentInstructionCasing,
    /// Two stages should not have the same name.
    DuplicateStageName,
    /// `scratch` and `context` are no names for stages.
    ReservedStageName,
    /// The shell form of `CMD` and `ENTRYPOINT` keeps signals from the program.
    JSONArgsRecommended,
    /// `MAINTAINER` is deprecated.
    MaintainerDeprecated,
    /// `FROM` uses an argument that is not declared before it.
    UndefinedArgInFrom,
    /// A relative `WORKDIR` depends on the base image.
    WorkdirRelativePath,
    /// A variable is used that nobody sets.
    UndefinedVar,
    /// Only the last of several such instructions counts.
    MultipleInstructionsDisallowed,
    /// `ENV key value` instead of `ENV key=value`.
    LegacyKeyValueFormat,
    /// The base image is for another platform than the one asked for.
    InvalidBaseImagePlatform,
    /// `FROM --platform=$TARGETPLATFORM` says what is the default.
    RedundantTargetPlatform,
    /// A secret in `ARG` or `ENV` stays in the image.
    SecretsUsedInArgOrEnv,
    /// The defaults of the global arguments give no valid base image.
    InvalidDefaultArgInFrom,
    /// A constant `--platform` in `FROM`.
    FromPlatformFlagConstDisallowed,
    /// `COPY` of a file that `.dockerignore` excludes.
    CopyIgnoredFile,
    /// The comment of a stage or argument does not begin with its name.
    InvalidDefinitionDescription,
    /// The protocol of `EXPOSE` should be lower case.
    ExposeProtoCasing,
    /// `EXPOSE` takes no addresses and no host ports.
    ExposeInvalidFormat,

    /// There are warnings, and `# check=error=true` is in force.
    LintViolation,

    // Kinds of errors of the language.
    /// A physical line is longer than 65535 bytes.
    LineTooLong,
    /// There is nothing to build.
    NothingToBuild,
    /// A parser directive that cannot be.
    InvalidDirective,
    /// An instruction nobody knows.
    UnknownInstruction,
    /// An instruction that is not allowed at its place.
    MisplacedInstruction,
    /// Too many, too few, or wrong arguments.
    InvalidArguments,
    /// An unknown, repeated or incomplete flag.
    InvalidFlag,
    /// A JSON array of other things than strings, or a missing one.
    InvalidJsonForm,
    /// A here-document that does not end, or has no place here.
    InvalidHeredoc,
    /// A name no stage can have.
    InvalidStageName,
    /// A `--mount` that cannot be.
    InvalidMount,
    /// A port, signal, duration, mode or number that is none.
    InvalidValue,
    /// A `${…}` that cannot be understood, or that fails on purpose.
    InvalidExpansion,
    /// Valid, but beyond this builder.
    Unsupported,

    // Kinds of errors that planning adds.
    /// A stage or image that is referred to does not exist.
    UnknownStage,
    /// Stages that need each other.
    CircularDependency,
    /// A base image name that is blank or malformed.
    InvalidBaseName,
    /// A source that is not there.
    NotFound,

    // Of other files.
    /// A configuration that cannot be.
    InvalidConfig,

    // What carrying out a step adds.
    /// A step could not be carried out.
    StepFailed,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
