//! placeholder, replaced by the language branch
use std::path::Path;
/// Ignore.
#[derive(Debug, Default)]
pub struct Ignore;
impl Ignore {
    /// Parse.
    pub fn parse(_text: &str) -> Result<Self, std::convert::Infallible> { Ok(Self) }
    /// Excl.
    pub fn excludes(&self, _path: &Path) -> bool { false }
    /// Below.
    pub fn may_include_below(&self, _path: &Path) -> bool { true }
}
