//! What a flag is: its name, how its value is read, which Kaniko has it and what Cooper does with it.

/// One flag of the executor or the warmer. All that is said or done about a flag comes from here: parsing, `--help`,
/// `docs/kaniko.md`, and the tests that try each one.
#[derive(Debug)]
pub(crate) struct Flag {
    /// Without dashes.
    pub(crate) name: &'static str,
    /// The one-letter form.
    pub(crate) short: Option<char>,
    /// How its value is read.
    pub(crate) kind: Kind,
    /// What holds if it is not given, as one would type it; empty for nothing.
    pub(crate) default: &'static str,
    /// The environment variable that stands for it.
    pub(crate) variable: Option<(&'static str, Variable)>,
    /// Whether `--help` lists it.
    pub(crate) visibility: Visibility,
    /// Which Kaniko has it.
    pub(crate) origin: Origin,
    /// What Cooper does with it.
    pub(crate) treatment: Treatment,
    /// More on that; may be empty.
    pub(crate) note: &'static str,
    /// One line for `--help`.
    pub(crate) help: &'static str,
}

/// How a value is read. Names in the comments are those of Go's pflag, and of Kaniko's own types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `string`.
    Text,
    /// `bool`: without a value it is true.
    Switch,
    /// `int`.
    Number,
    /// `duration`: `336h`, `1h30m`.
    Duration,
    /// May be repeated; commas do not separate.
    Texts,
    /// May be repeated; commas separate, as in a line of CSV.
    List,
    /// `key=value`, may be repeated; the last of a key counts.
    Pairs,
    /// `key=value;key=value`, may be repeated; all values of a key count.
    Maps,
    /// `gitoptions`: `key=value`, each key once.
    Git,
    /// `gzip` or `zstd`.
    Compression,
    /// `docker` or `oci`.
    Format,
    /// `id=…,src=…`.
    Secret,
}

/// How an environment variable stands for a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variable {
    /// It is what holds if the flag is not given.
    Default,
    /// It wins over the flag.
    Overrides,
    /// It is one more value.
    Adds,
}

/// Whether a flag is listed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Visibility {
    /// It is.
    Shown,
    /// It is not.
    Hidden,
    /// It is not, and whoever uses it is told this.
    Deprecated(&'static str),
    /// It is, as an old name of another one, and whoever uses it is told so.
    Renamed(&'static Flag),
}

/// Which program knows the flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Google's Kaniko 1.23.2 and 1.24.0, and the fork.
    Both,
    /// The fork 1.28.3 only.
    Fork,
    /// Cooper only.
    Cooper,
}

/// What Cooper does with a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// What Kaniko does.
    Honoured,
    /// It is checked and changes nothing, because nothing is there to be changed.
    Accepted,
    /// What was meant rather than what Kaniko does.
    Better,
}

impl Flag {
    const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self {
            name,
            short: None,
            kind,
            default: "",
            variable: None,
            visibility: Visibility::Shown,
            origin: Origin::Both,
            treatment: Treatment::Honoured,
            note: "",
            help,
        }
    }

    pub(super) const fn text(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Text, help)
    }

    pub(super) const fn switch(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Switch, help).default("false")
    }

    pub(super) const fn number(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Number, help).default("0")
    }

    pub(super) const fn of(kind: Kind, name: &'static str, help: &'static str) -> Self {
        Self::new(name, kind, help)
    }

    pub(super) const fn short(self, short: char) -> Self {
        Self { short: Some(short), ..self }
    }

    pub(super) const fn default(self, default: &'static str) -> Self {
        Self { default, ..self }
    }

    pub(super) const fn variable(self, name: &'static str, how: Variable) -> Self {
        Self { variable: Some((name, how)), ..self }
    }

    pub(super) const fn visibility(self, visibility: Visibility) -> Self {
        Self { visibility, ..self }
    }

    pub(super) const fn fork(self) -> Self {
        Self { origin: Origin::Fork, ..self }
    }

    pub(super) const fn cooper(self) -> Self {
        Self { origin: Origin::Cooper, ..self }
    }

    pub(super) const fn note(self, note: &'static str) -> Self {
        Self { note, ..self }
    }

    pub(super) const fn accepted(self, why: &'static str) -> Self {
        Self { treatment: Treatment::Accepted, note: why, ..self }
    }

    pub(super) const fn better(self, how: &'static str) -> Self {
        Self { treatment: Treatment::Better, note: how, ..self }
    }

    /// What a value is called in `--help`; nothing for a switch.
    pub(super) fn value_name(&self) -> &'static str {
        match self.kind {
            Kind::Text => "string",
            Kind::Switch => "",
            Kind::Number => "int",
            Kind::Duration => "duration",
            Kind::Texts => "multi-arg type",
            Kind::List => "strings",
            Kind::Pairs => "key-value-arg type",
            Kind::Maps => "key-multi-value-arg type",
            Kind::Git => "gitoptions",
            Kind::Compression => "compression",
            Kind::Format => "imageformat",
            Kind::Secret => "secret",
        }
    }
}
