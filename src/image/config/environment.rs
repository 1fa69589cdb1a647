//! Environment variables of a config: a list that is used as a map.

use super::RunConfig;

impl RunConfig {
    /// The value of a variable. One without `=` is empty; the last of several counts, as for the kernel's `execve`
    /// callers.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env_pairs().filter(|(candidate, _)| *candidate == name).last().map(|(_, value)| value)
    }

    /// All variables in order.
    pub fn env_pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.env.iter().map(|variable| variable.split_once('=').unwrap_or((variable, "")))
    }

    /// Sets a variable in its place, or at the end when it is new.
    pub fn set_env(&mut self, name: &str, value: &str) {
        let is_named = |variable: &String| {
            variable.split_once('=').map_or(variable.as_str(), |(candidate, _)| candidate) == name
        };
        let text = format!("{name}={value}");
        match self.env.iter().position(is_named) {
            None => self.env.push(text),
            Some(first) => {
                let mut index = 0;
                self.env.retain(|variable| {
                    index += 1;
                    index <= first + 1 || !is_named(variable)
                });
                self.env[first] = text;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_in_place() {
        let mut config = RunConfig::default();
        for (name, value) in [("PATH", "/bin"), ("A", "1"), ("B", "x=y"), ("PATH", "/sbin")] {
            config.set_env(name, value);
        }
        assert_eq!(config.env, ["PATH=/sbin", "A=1", "B=x=y"]);
        assert_eq!((config.env("B"), config.env("PAT"), config.env("PATH=")), (Some("x=y"), None, None));
    }

    #[test]
    fn copes_with_odd_lists() {
        let mut config =
            RunConfig { env: ["A=1", "B", "A=2", ""].map(str::to_owned).to_vec(), ..RunConfig::default() };
        assert_eq!((config.env("A"), config.env("B")), (Some("2"), Some("")));
        config.set_env("A", "3");
        config.set_env("B", "4");
        assert_eq!(config.env, ["A=3", "B=4", ""]);
    }
}
