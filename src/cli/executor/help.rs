//! `--help`, in the form that Kaniko's library gives it.

use std::fmt::Write as _;

use super::flag::{Flag, Kind, Visibility};

/// A command as its help shows it.
#[derive(Debug)]
pub(super) struct Command {
    /// How it is called: `executor push`.
    pub(super) path: &'static str,
    /// What comes after its name, besides flags.
    pub(super) arguments: &'static str,
    /// What it is for; may be empty.
    pub(super) about: &'static str,
    /// Its commands, with what they are for.
    pub(super) commands: &'static [(&'static str, &'static str)],
    /// Its flags.
    pub(super) flags: Vec<&'static Flag>,
}

impl Command {
    /// What `--help` prints.
    pub(super) fn help(&self) -> String {
        let usage = self.usage();
        if self.about.is_empty() { usage } else { format!("{}\n\n{usage}", self.about) }
    }

    /// What is printed after a mistake.
    pub(super) fn usage(&self) -> String {
        let mut text = String::from("Usage:\n");
        let arguments =
            if self.arguments.is_empty() { String::new() } else { format!(" {}", self.arguments) };
        let _ = writeln!(text, "  {}{arguments} [flags]", self.path);
        if !self.commands.is_empty() {
            let _ = writeln!(text, "  {} [command]\n\nAvailable Commands:", self.path);
            for (name, about) in self.commands {
                let _ = writeln!(text, "  {name:<11} {about}");
            }
        }
        let _ = write!(text, "\nFlags:\n{}", flags(&self.flags, self.path));
        if !self.commands.is_empty() {
            let _ = writeln!(
                text,
                "\nUse \"{} [command] --help\" for more information about a command.",
                self.path
            );
        }
        text
    }
}

/// A line per flag, sorted by name, with the help beginning in one column.
fn flags(flags: &[&'static Flag], path: &str) -> String {
    let mut lines: Vec<(&str, String, String)> = flags
        .iter()
        .filter(|flag| !matches!(flag.visibility, Visibility::Hidden | Visibility::Deprecated(_)))
        .map(|flag| (flag.name, beginning(flag), described(flag)))
        .collect();
    lines.push(("help", "  -h, --help".to_owned(), format!("help for {path}")));
    lines.sort_by_key(|(name, ..)| *name);
    let width = lines.iter().map(|(_, beginning, _)| beginning.len()).max().unwrap_or_default();
    let mut text = String::new();
    for (_, beginning, described) in lines {
        let _ = writeln!(text, "{beginning:<width$}   {described}");
    }
    text
}

fn beginning(flag: &Flag) -> String {
    let short = flag.short.map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
    let value = flag.value_name();
    let space = if value.is_empty() { "" } else { " " };
    format!("  {short}--{}{space}{value}", flag.name)
}

fn described(flag: &Flag) -> String {
    let help = flag.help;
    match (flag.kind, flag.default) {
        (_, "" | "0") | (Kind::Switch, "false") => help.to_owned(),
        (Kind::Text, default) => format!("{help} (default {default:?})"),
        (_, default) => format!("{help} (default {default})"),
    }
}
