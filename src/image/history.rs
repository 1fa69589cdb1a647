//! placeholder, replaced by the layer branch
use super::config::Healthcheck;
fn list(v: &[String]) -> String { format!("[{}]", v.join(" ")) }
fn quoted(v: &[String]) -> String { format!("[{}]", v.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>().join(" ")) }
pub fn cmd(v: &[String]) -> String { format!("CMD {}", quoted(v)) }
pub fn entrypoint(v: &[String]) -> String { format!("ENTRYPOINT {}", quoted(v)) }
pub fn shell(v: &[String]) -> String { format!("SHELL {}", list(v)) }
pub fn volume(v: &[String]) -> String { format!("VOLUME {}", list(v)) }
pub fn expose(v: &[String]) -> String { format!("EXPOSE {}", list(v)) }
pub fn healthcheck(h: &Healthcheck) -> String { format!("HEALTHCHECK {:?}", h.test) }
pub fn run(a: &[(String,String)], argv: &[String]) -> String { let mut s = String::from("RUN "); if !a.is_empty() { s.push_str(&format!("|{} ", a.len())); for (k,v) in a { s.push_str(&format!("{k}={v} ")); } } s.push_str(&argv.join(" ")); with_marker(&s) }
pub fn with_marker(s: &str) -> String { format!("{s} # buildkit") }
