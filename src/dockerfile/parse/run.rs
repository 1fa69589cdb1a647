//! `RUN`.

use super::copy::check_heredoc_name;
use super::instruction::Reading;
use super::mount::parse_mount;
use crate::dockerfile::ast::{Network, Run, RunCommand};
use crate::dockerfile::code::Code;
use crate::dockerfile::diagnostic::Diagnostic;
use crate::dockerfile::flags::{Flags, Kind};
use crate::dockerfile::suggest::did_you_mean;
use crate::dockerfile::word::{Word, WordBuilder};

/// Parses `RUN`.
pub(super) fn parse_run(reading: &Reading<'_>) -> Result<Run, Diagnostic> {
    let flags = reading.flags(&[
        ("mount", Kind::Texts),
        ("network", Kind::Text),
        ("security", Kind::Text),
        ("device", Kind::Texts),
    ])?;
    let mounts = flags.texts("mount").into_iter().map(|flag| parse_mount(flag, reading.escape));
    let mounts = mounts.collect::<Result<_, _>>()?;
    let network = parse_network(flags.text("network").as_ref())?;
    check_privileges(&flags)?;
    Ok(Run { command: parse_command(reading)?, mounts, network })
}

fn parse_network(flag: Option<&Word>) -> Result<Network, Diagnostic> {
    let Some(flag) = flag else { return Ok(Network::Default) };
    match flag.text.as_str() {
        "default" => Ok(Network::Default),
        "none" => Ok(Network::None),
        "host" => Ok(Network::Host),
        other => {
            let hint = did_you_mean(other, &["default", "none", "host"]);
            let message = format!("invalid network mode {other:?}{hint}");
            Err(Diagnostic::error(Code::InvalidFlag, message, flag.span)
                .advise("the modes are default, none and host"))
        }
    }
}

/// Refuses what needs privileges that a builder in an ordinary pod does not have.
fn check_privileges(flags: &Flags<'_>) -> Result<(), Diagnostic> {
    if let Some(security) = flags.text("security") {
        match security.text.as_str() {
            "sandbox" => {}
            "insecure" => {
                let message = "--security=insecure is not supported: builds run without privileges";
                return Err(Diagnostic::error(Code::Unsupported, message, security.span));
            }
            other => {
                let message = format!("security {other:?} is not valid");
                return Err(Diagnostic::error(Code::InvalidFlag, message, security.span));
            }
        }
    }
    if let Some(device) = flags.texts("device").first() {
        let message = "--device is not supported: builds have no devices of the host";
        return Err(Diagnostic::error(Code::Unsupported, message, device.span));
    }
    Ok(())
}

fn parse_command(reading: &Reading<'_>) -> Result<RunCommand, Diagnostic> {
    let arguments = reading.arguments();
    match reading.json()? {
        Some(words) if words.is_empty() => return Err(reading.at_least_one()),
        Some(words) => return Ok(RunCommand::Exec(words)),
        None if arguments.text.is_empty() => return Err(reading.at_least_one()),
        None => {}
    }
    let mut heredocs = reading.heredocs();
    if let [(operator, body, _)] = heredocs.as_slice()
        && operator.range == (0..arguments.text.len())
    {
        let script = body.raw.text.starts_with("#!");
        let heredoc = heredocs.pop().map(|(_, _, heredoc)| heredoc);
        return Ok(match heredoc {
            Some(heredoc) if script => {
                check_heredoc_name(&heredoc)?;
                RunCommand::Script(heredoc)
            }
            Some(heredoc) => RunCommand::Shell(heredoc.body),
            None => RunCommand::Shell(arguments.clone()),
        });
    }
    // The shell reads the here-documents itself: it gets the text as it would be in a script.
    let mut builder = WordBuilder::default();
    builder.push_word(arguments);
    let mut span = arguments.span;
    for (operator, body, _) in &heredocs {
        builder.push("\n", span.end);
        builder.push_word(&body.raw);
        builder.push(&operator.name, body.raw.span.end);
        span.end = body.raw.span.end + operator.name.len();
    }
    Ok(RunCommand::Shell(builder.finish(span)))
}
