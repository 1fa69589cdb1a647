//! `--secret`, as the fork reads it.

use crate::exec::SecretSource;

/// Reads `id=ID[,src=FILE|,env=VARIABLE][,type=file|env]`. Without a source, the secret is in the variable that is
/// called like it, or else in the file.
pub(super) fn parse(
    text: &str,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<(String, SecretSource), String> {
    let (mut id, mut file, mut variable, mut kind) = (None, None, None, None);
    for part in text.split(',') {
        let (key, value) = part.split_once('=').ok_or_else(|| format!("invalid secret format: {part:?}"))?;
        match key {
            "id" => id = Some(value),
            "type" if matches!(value, "file" | "env") => kind = Some(value),
            "type" => return Err(format!("invalid secret type: {value:?} (file|env)")),
            "src" | "source" => file = Some(value),
            "env" => variable = Some(value),
            _ => return Err(format!("unknown key {key:?} in secret")),
        }
    }
    let set = |value: Option<&str>| value.filter(|value| !value.is_empty()).map(str::to_owned);
    let (id, file, variable) = (set(id).ok_or("secret requires id=ID")?, set(file), set(variable));
    let source = match (kind, file, variable) {
        (_, Some(_), Some(_)) => return Err("only one of src or env may be specified".to_owned()),
        (Some("file"), _, Some(_)) => {
            return Err("env cannot be specified for file type secrets".to_owned());
        }
        (Some("env"), Some(variable), None) | (_, None, Some(variable)) => {
            SecretSource::Environment(variable)
        }
        (_, Some(file), None) => SecretSource::File(file.into()),
        (Some("env"), None, None) => SecretSource::Environment(id.clone()),
        (None, None, None) if environment(&id).is_some() => SecretSource::Environment(id.clone()),
        (_, None, None) => SecretSource::File(id.clone().into()),
    };
    Ok((id, source))
}
