//! `RUN --mount`.

use super::pairs::split_at_equals;
use crate::dockerfile::ast::{
    BindMount, CacheMount, CacheSharing, Mount, MountOption, RunMount, SecretMount, SshMount, TmpfsMount,
};
use crate::dockerfile::code::Code;
use crate::dockerfile::csv;
use crate::dockerfile::diagnostic::Diagnostic;
use crate::dockerfile::directive::{Escape, parse_boolean};
use crate::dockerfile::expand::{Variables, expand};
use crate::dockerfile::source::Span;
use crate::dockerfile::suggest::did_you_mean;
use crate::dockerfile::value::parse_size;
use crate::dockerfile::word::Word;

const TYPES: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];

/// The keys with their second names, and the types that take them.
const KEYS: [(&[&str], &[&str]); 13] = [
    (&["type"], &TYPES),
    (&["from"], &["bind", "cache", "secret"]),
    (&["source", "src"], &["bind", "cache", "secret", "ssh"]),
    (&["target", "dst", "destination"], &TYPES),
    (&["readonly", "ro"], &["bind", "cache", "secret", "ssh"]),
    (&["readwrite", "rw"], &["bind", "cache", "tmpfs"]),
    (&["id"], &["cache", "secret", "ssh"]),
    (&["sharing"], &TYPES),
    (&["required"], &["secret", "ssh"]),
    (&["size"], &["tmpfs"]),
    (&["mode"], &TYPES),
    (&["uid", "gid"], &TYPES),
    (&["env"], &["secret"]),
];

/// Parses the value of a `--mount`. Where it uses no variables, also its meaning is checked.
pub(super) fn parse_mount(flag: Word, escape: Escape) -> Result<RunMount, Diagnostic> {
    let fields = csv::split(&flag).map_err(|message| {
        Diagnostic::error(Code::InvalidMount, format!("failed to parse csv mounts: {message}"), flag.span)
    })?;
    let options = fields.iter().map(parse_option).collect::<Result<Vec<_>, _>>()?;
    let from = options.iter().rev().find(|option| option.key.text == "from");
    let from = from.and_then(|option| option.value.clone()).filter(|from| !from.text.is_empty());
    if let Some(from) = from.as_ref().filter(|from| from.text.contains('$')) {
        let message = "'from' doesn't support variable expansion, define alias stage instead";
        return Err(Diagnostic::error(Code::InvalidMount, message, from.span));
    }
    let variable = options.iter().filter_map(|option| option.value.as_ref()).any(|v| v.text.contains('$'));
    let mount = RunMount { flag, from, options };
    if !variable {
        mount.resolve(&(), escape)?;
    }
    Ok(mount)
}

fn parse_option(field: &Word) -> Result<MountOption, Diagnostic> {
    let (mut key, value) = match split_at_equals(field) {
        Some((key, value)) => (key, Some(value)),
        None => (field.clone(), None),
    };
    key = Word::new(key.text.to_lowercase(), key.span);
    let known: Vec<&str> = KEYS.iter().flat_map(|(names, _)| names.iter().copied()).collect();
    let error = |message: String| Diagnostic::error(Code::InvalidMount, message, field.span);
    if value.is_none() && !["readonly", "ro", "readwrite", "rw", "required"].contains(&key.text.as_str()) {
        return Err(error(format!("invalid field '{}' must be a key=value pair", field.text)));
    }
    if !known.contains(&key.text.as_str()) {
        let hint = did_you_mean(&key.text, &known);
        return Err(error(format!("unexpected key '{}' in '{}'{hint}", key.text, field.text)));
    }
    Ok(MountOption { key, value })
}

impl RunMount {
    /// The mount with its values expanded, checked and completed.
    pub fn resolve(
        &self,
        variables: &(impl Variables + ?Sized),
        escape: Escape,
    ) -> Result<Mount, Diagnostic> {
        let mut values = Vec::new();
        for option in &self.options {
            let value = match &option.value {
                Some(value) => Some(expand(value, variables, escape)?.text),
                None => None,
            };
            let span = option.value.as_ref().map_or(option.key.span, |value| value.span);
            values.push(Expanded { key: &option.key, text: value, span });
        }
        let fields = Fields { values, span: self.span() };
        let kind = fields.kind()?;
        fields.check_keys(kind)?;
        match kind {
            "cache" => fields.cache().map(Mount::Cache),
            "tmpfs" => fields.tmpfs().map(Mount::Tmpfs),
            "secret" => fields.secret().map(Mount::Secret),
            "ssh" => fields.ssh().map(Mount::Ssh),
            _ => fields.bind().map(Mount::Bind),
        }
    }
}

/// An option, expanded.
struct Expanded<'a> {
    key: &'a Word,
    text: Option<String>,
    span: Span,
}

struct Fields<'a> {
    values: Vec<Expanded<'a>>,
    span: Span,
}

impl Fields<'_> {
    fn error(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(Code::InvalidMount, message, self.span)
    }

    fn last(&self, keys: &[&str]) -> Option<&Expanded<'_>> {
        self.values.iter().rev().find(|value| keys.contains(&value.key.text.as_str()))
    }

    /// A value that is not empty.
    fn text(&self, keys: &[&str]) -> Option<String> {
        self.last(keys)?.text.clone().filter(|text| !text.is_empty())
    }

    fn kind(&self) -> Result<&'static str, Diagnostic> {
        let Some(value) = self.last(&["type"]) else { return Ok("bind") };
        let text = value.text.clone().unwrap_or_default();
        let known = TYPES.iter().find(|kind| text.eq_ignore_ascii_case(kind));
        known.copied().ok_or_else(|| {
            let hint = did_you_mean(&text, &TYPES);
            let message = format!("unsupported mount type {text:?}{hint}");
            Diagnostic::error(Code::InvalidMount, message, value.span)
        })
    }

    fn check_keys(&self, kind: &str) -> Result<(), Diagnostic> {
        for Expanded { key, .. } in &self.values {
            let name = key.text.as_str();
            let taken = KEYS.iter().any(|(names, kinds)| names.contains(&name) && kinds.contains(&kind));
            let message = match (name, kind) {
                ("from", "secret") => "secret mount should not have a from".to_owned(),
                ("sharing", "secret") => "secret mount should not define sharing".to_owned(),
                ("source" | "src", "ssh") => "ssh does not support source".to_owned(),
                ("sharing", kind) if kind != "cache" => format!("invalid cache sharing set for {kind} mount"),
                ("mode" | "uid" | "gid", "bind" | "tmpfs") => {
                    format!("{name} not allowed for {kind:?} type mounts")
                }
                (name, kind) if !taken => {
                    format!("unexpected key '{name}' for mount type '{kind}'")
                }
                _ => continue,
            };
            return Err(Diagnostic::error(Code::InvalidMount, message, key.span));
        }
        Ok(())
    }

    /// A truth value; a lone key is true.
    fn boolean(&self, keys: &[&str]) -> Result<Option<bool>, Diagnostic> {
        let Some(value) = self.last(keys) else { return Ok(None) };
        let Some(text) = &value.text else { return Ok(Some(true)) };
        parse_boolean(text).map(Some).ok_or_else(|| {
            let message = format!("invalid value for {}: {text}", value.key.text);
            Diagnostic::error(Code::InvalidMount, message, value.span)
        })
    }

    /// Whether it is read-only, by whichever of the two keys comes last.
    fn read_only(&self) -> Result<Option<bool>, Diagnostic> {
        let read_only = ["readonly", "ro"];
        let Some(last) = self.last(&["readonly", "ro", "readwrite", "rw"]) else { return Ok(None) };
        if read_only.contains(&last.key.text.as_str()) {
            self.boolean(&read_only)
        } else {
            Ok(self.boolean(&["readwrite", "rw"])?.map(|writable| !writable))
        }
    }

    fn number(&self, key: &str, radix: u32, most: u32) -> Result<Option<u32>, Diagnostic> {
        let Some(value) = self.last(&[key]) else { return Ok(None) };
        let text = value.text.as_deref().unwrap_or_default();
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let number = u32::from_str_radix(text, radix).ok().filter(|number| digits && *number <= most);
        number.map(Some).ok_or_else(|| {
            let message = format!("invalid value {text} for {key}");
            Diagnostic::error(Code::InvalidMount, message, value.span)
        })
    }

    fn mode(&self) -> Result<Option<u32>, Diagnostic> {
        self.number("mode", 8, 0o7777)
    }

    fn uid(&self) -> Result<Option<u32>, Diagnostic> {
        self.number("uid", 10, u32::MAX)
    }

    fn gid(&self) -> Result<Option<u32>, Diagnostic> {
        self.number("gid", 10, u32::MAX)
    }

    /// The target, which there must be and which must not be the root.
    fn target(&self) -> Result<String, Diagnostic> {
        let target = self.text(&["target", "dst", "destination"]).unwrap_or_default();
        let root = target.split('/').all(|part| matches!(part, "" | "." | ".."));
        let relative = !target.is_empty() && !target.starts_with('/');
        if root && !relative {
            return Err(self.error("invalid mount target \"/\"").advise("say where with target=/path"));
        }
        Ok(target)
    }

    fn source(&self) -> String {
        self.text(&["source", "src"]).unwrap_or_else(|| "/".to_owned())
    }

    fn bind(&self) -> Result<BindMount, Diagnostic> {
        Ok(BindMount {
            from: self.text(&["from"]),
            source: self.source(),
            target: self.target()?,
            read_write: !self.read_only()?.unwrap_or(true),
        })
    }

    fn cache(&self) -> Result<CacheMount, Diagnostic> {
        Ok(CacheMount {
            id: self.text(&["id"]),
            target: self.target()?,
            sharing: self.sharing()?,
            from: self.text(&["from"]),
            source: self.source(),
            mode: self.mode()?,
            uid: self.uid()?,
            gid: self.gid()?,
            read_only: self.read_only()?.unwrap_or(false),
        })
    }

    fn sharing(&self) -> Result<CacheSharing, Diagnostic> {
        let Some(value) = self.last(&["sharing"]) else { return Ok(CacheSharing::Shared) };
        let text = value.text.as_deref().unwrap_or_default();
        match text.to_ascii_lowercase().as_str() {
            "shared" => Ok(CacheSharing::Shared),
            "private" => Ok(CacheSharing::Private),
            "locked" => Ok(CacheSharing::Locked),
            _ => {
                let hint = did_you_mean(text, &["shared", "private", "locked"]);
                let message = format!("unsupported sharing value {text:?}{hint}");
                Err(Diagnostic::error(Code::InvalidMount, message, value.span))
            }
        }
    }

    fn tmpfs(&self) -> Result<TmpfsMount, Diagnostic> {
        let size = match self.last(&["size"]) {
            None => None,
            Some(value) => {
                let text = value.text.as_deref().unwrap_or_default();
                Some(parse_size(text).ok_or_else(|| {
                    let message = format!("invalid value for size: {text}");
                    Diagnostic::error(Code::InvalidMount, message, value.span)
                })?)
            }
        };
        // Zero is no limit, as for the kernel.
        Ok(TmpfsMount { target: self.target()?, size: size.filter(|size| *size > 0) })
    }

    fn secret(&self) -> Result<SecretMount, Diagnostic> {
        let (id, source) = (self.text(&["id"]), self.text(&["source", "src"]));
        let target = self.text(&["target", "dst", "destination"]);
        if id.is_some() && source.is_some() {
            return Err(self.error("both source and id can't be set"));
        }
        let named = id.or(source).or_else(|| target.as_deref().map(|target| base_name(target).to_owned()));
        let id = named.filter(|id| !id.is_empty()).ok_or_else(|| {
            self.error("invalid secret mount. one of source, target required").advise("name it with id=NAME")
        })?;
        let env = self.text(&["env"]);
        let default = || format!("/run/secrets/{}", base_name(&id));
        let target = if env.is_some() { target } else { Some(target.unwrap_or_else(default)) };
        Ok(SecretMount {
            target,
            env,
            required: self.boolean(&["required"])?.unwrap_or(false),
            mode: self.mode()?.unwrap_or(0o400),
            uid: self.uid()?.unwrap_or(0),
            gid: self.gid()?.unwrap_or(0),
            id,
        })
    }

    fn ssh(&self) -> Result<SshMount, Diagnostic> {
        Ok(SshMount {
            id: self.text(&["id"]).unwrap_or_else(|| "default".to_owned()),
            target: self.text(&["target", "dst", "destination"]),
            required: self.boolean(&["required"])?.unwrap_or(false),
            mode: self.mode()?.unwrap_or(0o600),
            uid: self.uid()?.unwrap_or(0),
            gid: self.gid()?.unwrap_or(0),
        })
    }
}

/// The last component of a path.
fn base_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}
