//! The flags as a table in Markdown, which `docs/kaniko.md` shows.

use std::fmt::Write as _;

use super::flag::{Flag, Origin, Treatment, Variable, Visibility};
use super::flags;

/// The tables of all programs, each under its heading.
pub(super) fn markdown() -> String {
    let mut text = String::new();
    for (heading, flags) in [
        ("executor", flags::executor()),
        ("executor push", flags::push()),
        ("executor login", flags::login()),
        ("warmer", flags::warmer()),
    ] {
        let _ = write!(text, "### `{heading}`\n\n| flag | of | Cooper | |\n|---|---|---|---|\n");
        let mut flags = flags;
        flags.sort_by_key(|flag| flag.name);
        for flag in flags {
            text.push_str(&row(flag));
        }
        text.push('\n');
    }
    text
}

fn row(flag: &Flag) -> String {
    let mut name = format!("`--{}`", flag.name);
    if let Some(short) = flag.short {
        let _ = write!(name, ", `-{short}`");
    }
    if let Some((variable, how)) = flag.variable {
        let how = match how {
            Variable::Default => "",
            Variable::Overrides => " (wins over the flag)",
            Variable::Adds => " (one more value)",
        };
        let _ = write!(name, "<br>`${variable}`{how}");
    }
    let origin = match flag.origin {
        Origin::Both => "both",
        Origin::Fork => "fork",
        Origin::Cooper => "Cooper",
    };
    let treatment = match flag.treatment {
        Treatment::Honoured => "honoured",
        Treatment::Accepted => "accepted",
        Treatment::Better => "better",
    };
    let mut about = match flag.visibility {
        Visibility::Renamed(_) => String::new(),
        _ => flag.help.trim_end_matches('.').to_owned(),
    };
    if !matches!(flag.default, "" | "0" | "false") {
        let _ = write!(about, " (`{}` if not given)", flag.default);
    }
    if !flag.note.is_empty() {
        let colon = if about.is_empty() { "" } else { ": " };
        let _ = write!(about, "{colon}{}", flag.note);
    }
    format!("| {name} | {origin} | {treatment} | {} |\n", about.replace('|', "\\|"))
}
