//! Instructions that only change the image's config.

use super::stage::{StageState, Text};
use crate::dockerfile::{
    Assignment, Code, Command, Diagnostic, Healthcheck, Word, expand_words, parse_port_spec, parse_signal,
};
use crate::image::{self, Nanoseconds, history};

impl StageState {
    pub(super) fn set_environment(&mut self, pairs: &[Assignment], text: &Text) -> Result<(), Diagnostic> {
        let pairs = self.expand_pairs(pairs, text)?;
        for (name, value) in &pairs {
            self.environment.set(name, value);
            self.config.config.set_env(name, value);
        }
        self.record(history::pairs("ENV", shown(&pairs)));
        Ok(())
    }

    pub(super) fn set_labels(&mut self, pairs: &[Assignment], text: &Text) -> Result<(), Diagnostic> {
        let pairs = self.expand_pairs(pairs, text)?;
        self.config.config.labels.extend(pairs.iter().cloned());
        self.record(history::pairs("LABEL", shown(&pairs)));
        Ok(())
    }

    /// All values see the environment as it was before the instruction.
    fn expand_pairs(&self, pairs: &[Assignment], text: &Text) -> Result<Vec<(String, String)>, Diagnostic> {
        pairs
            .iter()
            .map(|pair| Ok((self.expand(&pair.name, text)?, self.expand(&pair.value, text)?)))
            .collect()
    }

    pub(super) fn set_cmd(&mut self, command: &Command) {
        let argv = self.argv(command);
        self.record(history::quoted_list("CMD", &argv));
        self.config.config.cmd = argv;
        // BuildKit sets this deprecated field for every CMD.
        self.config.config.args_escaped = true;
        self.cmd_is_set = true;
    }

    pub(super) fn set_entrypoint(&mut self, command: &Command) {
        let argv = self.argv(command);
        self.record(history::quoted_list("ENTRYPOINT", &argv));
        self.config.config.entrypoint = argv;
        if !self.cmd_is_set {
            self.config.config.cmd.clear();
        }
    }

    /// The arguments of a command, with the shell in front of a shell form.
    pub(super) fn argv(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(words) => texts(words),
            Command::Shell(word) => self.in_shell(&word.text),
        }
    }

    /// `line` as an argument of the shell.
    pub(super) fn in_shell(&self, line: &str) -> Vec<String> {
        let mut argv = self.shell();
        argv.push(line.to_owned());
        argv
    }

    pub(super) fn set_shell(&mut self, words: &[Word]) {
        let shell = texts(words);
        self.record(history::plain_list("SHELL", &shell));
        self.config.config.shell = shell;
    }

    pub(super) fn set_user(&mut self, word: &Word, text: &Text) -> Result<(), Diagnostic> {
        let user = self.expand(word, text)?;
        self.record(format!("USER {user}"));
        self.config.config.user = user;
        Ok(())
    }

    pub(super) fn expose(&mut self, words: &[Word], text: &Text) -> Result<(), Diagnostic> {
        let mut ports = Vec::new();
        for word in words {
            for port in expand_words(word, &self.environment, text.escape)?.words {
                let spec = parse_port_spec(&port)
                    .map_err(|error| Diagnostic::error(Code::InvalidValue, error.to_string(), word.span))?;
                ports.extend(spec.ports());
            }
        }
        self.record(history::plain_list("EXPOSE", &ports));
        self.config.config.exposed_ports.extend(ports);
        Ok(())
    }

    pub(super) fn add_volumes(&mut self, words: &[Word], text: &Text) -> Result<(), Diagnostic> {
        let mut volumes = Vec::new();
        for word in words {
            let volume = self.expand(word, text)?;
            if volume.is_empty() {
                let message = "VOLUME specified can not be an empty string";
                return Err(Diagnostic::error(Code::InvalidArguments, message, word.span));
            }
            volumes.push(volume);
        }
        self.record(history::plain_list("VOLUME", &volumes));
        self.config.config.volumes.extend(volumes);
        Ok(())
    }

    pub(super) fn set_stop_signal(&mut self, word: &Word, text: &Text) -> Result<(), Diagnostic> {
        let signal = self.expand(word, text)?;
        parse_signal(&signal)
            .map_err(|error| Diagnostic::error(Code::InvalidValue, error.to_string(), word.span))?;
        self.record(format!("STOPSIGNAL {signal}"));
        self.config.config.stop_signal = signal;
        Ok(())
    }

    pub(super) fn set_maintainer(&mut self, word: &Word) {
        self.record(format!("MAINTAINER {}", word.text));
        self.config.author.clone_from(&word.text);
    }

    pub(super) fn set_healthcheck(&mut self, check: &Healthcheck) {
        let check = match check {
            Healthcheck::None => image::Healthcheck { test: vec!["NONE".to_owned()], ..Default::default() },
            Healthcheck::Check { test, options } => {
                let test = match test {
                    Command::Exec(words) => [vec!["CMD".to_owned()], texts(words)].concat(),
                    Command::Shell(word) => vec!["CMD-SHELL".to_owned(), word.text.clone()],
                };
                image::Healthcheck {
                    test,
                    interval: nanoseconds(options.interval),
                    timeout: nanoseconds(options.timeout),
                    start_period: nanoseconds(options.start_period),
                    start_interval: nanoseconds(options.start_interval),
                    retries: i64::from(options.retries),
                    ..Default::default()
                }
            }
        };
        self.record(history::healthcheck(&check));
        self.config.config.healthcheck = Some(check);
    }
}

fn nanoseconds(duration: std::time::Duration) -> Nanoseconds {
    Nanoseconds(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

pub(super) fn texts(words: &[Word]) -> Vec<String> {
    words.iter().map(|word| word.text.clone()).collect()
}

fn shown(pairs: &[(String, String)]) -> impl Iterator<Item = (&str, Option<&str>)> {
    pairs.iter().map(|(name, value)| (name.as_str(), Some(value.as_str())))
}
