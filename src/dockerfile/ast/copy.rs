//! `COPY` and `ADD`.

use super::Word;

/// `COPY`. All words are unexpanded; `from` and `exclude` are never expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// What is copied; at least one.
    pub sources: Vec<CopySource>,
    /// Where to.
    pub destination: Word,
    /// `--from`: a stage's name or index, a named context or an image. Has no `$`, is not blank.
    pub from: Option<Word>,
    /// `--chown`: `user[:group]`.
    pub chown: Option<Word>,
    /// `--chmod`: see [`parse_chmod`](crate::dockerfile::parse_chmod).
    pub chmod: Option<Word>,
    /// `--link`.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude`, in order.
    pub exclude: Vec<Word>,
}

/// `ADD`: a `COPY` that also takes archives, URLs and git repositories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// What is added; at least one.
    pub sources: Vec<CopySource>,
    /// Where to.
    pub destination: Word,
    /// `--chown`: `user[:group]`.
    pub chown: Option<Word>,
    /// `--chmod`: see [`parse_chmod`](crate::dockerfile::parse_chmod).
    pub chmod: Option<Word>,
    /// `--checksum`.
    pub checksum: Option<Word>,
    /// `--link`.
    pub link: bool,
    /// `--exclude`, in order.
    pub exclude: Vec<Word>,
    /// `--unpack`: whether archives are unpacked; by default local ones are and remote ones are not.
    pub unpack: Option<bool>,
    /// `--keep-git-dir`: whether a git source keeps its `.git`.
    pub keep_git_dir: Option<bool>,
}

/// One source of a `COPY` or `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopySource {
    /// A path, with wildcards; for `ADD` also a URL or a git repository.
    Path(Word),
    /// A file written in the Dockerfile.
    Heredoc(Heredoc),
}

/// A here-document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The delimiter without quotes: also the name of the file.
    pub name: String,
    /// The operator and delimiter, like `<<-"EOF"`.
    pub operator: Word,
    /// The contents, with a line break at the end unless empty; the tabs that `<<-` takes away are gone.
    pub body: Word,
    /// Whether variables in the contents are expanded: the delimiter was not quoted. Means nothing for `RUN`,
    /// where the shell expands.
    pub expand: bool,
}
