//! placeholder, replaced by the language branch
use std::path::Path;
/// Pattern.
#[derive(Debug, Clone)]
pub struct Pattern(pub String);
/// Wild?
pub fn has_wildcards(text: &str) -> bool { text.contains(['*','?','[']) }
/// Bad.
#[derive(Debug, thiserror::Error)]
#[error("bad")]
pub struct Bad;
/// Match.
pub fn matches(pattern: &str, name: &str) -> Result<bool, Bad> {
    fn go(p: &[u8], n: &[u8]) -> bool { match (p.first(), n.first()) { (None, None) => true, (Some(b'*'), _) => go(&p[1..], n) || (!n.is_empty() && go(p, &n[1..])), (Some(b'?'), Some(_)) => go(&p[1..], &n[1..]), (Some(a), Some(b)) if a == b => go(&p[1..], &n[1..]), _ => false } }
    Ok(go(pattern.as_bytes(), name.as_bytes()))
}
/// Excluded.
pub fn excluded(_patterns: &[Pattern], _path: &Path) -> bool { false }
