//! Keys of SSH hosts that somebody has vouched for. See the format of `ssh_known_hosts` in `sshd(8)`.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit as _, Mac as _};
use russh::keys::PublicKey;
use russh::keys::ssh_key::known_hosts::{HostPatterns, Marker};
use sha1::Sha1;

/// The longest file that is read, in bytes.
const MAX_FILE: u64 = 16 << 20;

/// The port that lines do not name.
const USUAL_PORT: u16 = 22;

/// What files say of one host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct KnownKeys {
    /// Its keys.
    pub(super) trusted: Vec<PublicKey>,
    /// Keys that are not its own any more.
    pub(super) revoked: Vec<PublicKey>,
    /// Where an authority is said to vouch for it: the file, and the line from 1.
    pub(super) authority: Option<(PathBuf, usize)>,
}

impl KnownKeys {
    /// What `files` say of `host`. Files that do not exist do not count, and neither do lines that make no sense, as
    /// with OpenSSH.
    pub(super) fn read(files: &[PathBuf], host: &str, port: u16) -> Result<Self, (PathBuf, io::Error)> {
        let mut keys = Self::default();
        for path in files {
            let text = read(path).map_err(|error| (path.clone(), error))?;
            keys.add(path, &text.unwrap_or_default(), &name(host, port));
        }
        let Self { trusted, revoked, .. } = &mut keys;
        trusted.retain(|key| !revoked.iter().any(|other| other.key_data() == key.key_data()));
        Ok(keys)
    }

    fn add(&mut self, path: &Path, text: &str, name: &str) {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            let (marker, rest) = match line.split_once(char::is_whitespace) {
                Some((first, rest)) if first.starts_with('@') => match first.parse::<Marker>() {
                    Ok(marker) => (Some(marker), rest.trim_start()),
                    Err(_) => continue,
                },
                _ => (None, line),
            };
            let Some((hosts, key)) = rest.split_once(char::is_whitespace) else { continue };
            if hosts.starts_with('#') || !hosts.parse().is_ok_and(|hosts| matches(&hosts, name)) {
                continue;
            }
            // What comes after the key is a comment.
            let words: Vec<&str> = key.split_whitespace().take(2).collect();
            let Ok(key) = PublicKey::from_openssh(&words.join(" ")) else { continue };
            match marker {
                None => self.trusted.push(key),
                Some(Marker::Revoked) => self.revoked.push(key),
                Some(Marker::CertAuthority) => {
                    self.authority.get_or_insert_with(|| (path.to_owned(), number + 1));
                }
            }
        }
    }
}

fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// The host as lines name it.
fn name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == USUAL_PORT { host } else { format!("[{host}]:{port}") }
}

/// Whether a line is about `name`: one of its patterns must match, and none of those with `!`.
fn matches(hosts: &HostPatterns, name: &str) -> bool {
    match hosts {
        HostPatterns::HashedName { salt, hash } => Hmac::<Sha1>::new_from_slice(salt)
            .is_ok_and(|mac| mac.chain_update(name).verify_slice(hash).is_ok()),
        HostPatterns::Patterns(patterns) => {
            let is_excluded =
                |pattern: &String| pattern.strip_prefix('!').is_some_and(|pattern| is_match(pattern, name));
            patterns.iter().any(|pattern| is_match(pattern, name)) && !patterns.iter().any(is_excluded)
        }
    }
}

/// `*` stands for any characters, `?` for one. Case does not count.
fn is_match(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut in_name) = (0, 0);
    // Where the last `*` is, and how far the name was when it was met.
    let mut star: Option<(usize, usize)> = None;
    while in_name < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(one) if *one == b'?' || one.eq_ignore_ascii_case(&name[in_name]) => {
                at += 1;
                in_name += 1;
            }
            _ => match &mut star {
                Some((place, taken)) => {
                    *taken += 1;
                    (at, in_name) = (*place + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|rest| *rest == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const TWO: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILIG2T/B0l0gaqj3puu510tu9N1OkQ4znY3LYuEm5zCF";

    fn keys(text: &str, host: &str, port: u16) -> KnownKeys {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let files = [PathBuf::from("/no/such/file"), file.path().to_owned()];
        let keys = KnownKeys::read(&files, host, port).unwrap();
        KnownKeys { authority: keys.authority.map(|(_, line)| (PathBuf::new(), line)), ..keys }
    }

    fn key(text: &str) -> PublicKey {
        PublicKey::from_openssh(text).unwrap()
    }

    #[test]
    fn lines_are_about_the_hosts_they_match() {
        for (hosts, host, port, is_known) in [
            ("git.example", "git.example", 22, true),
            ("git.example", "Git.Example", 22, true),
            ("git.example", "git.example", 2222, false),
            ("[git.example]:2222", "git.example", 2222, true),
            ("a.example,10.0.0.1", "10.0.0.1", 22, true),
            ("*.example", "git.example", 22, true),
            ("*.example", "example", 22, false),
            ("*.example,!secret.example", "git.example", 22, true),
            ("*.example,!secret.example", "secret.example", 22, false),
            ("!secret.example", "git.example", 22, false),
            ("10.0.?.*", "10.0.7.12", 22, true),
            ("10.0.?.*", "10.0.17.12", 22, false),
            ("[*]:2222", "git.example", 2222, true),
            ("*", "git.example", 2222, true),
            ("#git.example", "git.example", 22, false),
            // ssh-keygen -H of `example.com`.
            ("|1|O33ESRMWPVkMYIwJ1Uw+n877jTo=|nuuC5vEqXlEZ/8BXQR7m619W6Ak=", "example.com", 22, true),
            ("|1|O33ESRMWPVkMYIwJ1Uw+n877jTo=|nuuC5vEqXlEZ/8BXQR7m619W6Ak=", "example.org", 22, false),
            ("|1|nonsense", "nonsense", 22, false),
        ] {
            let found = keys(&format!("# keys\n\n{hosts}\t{ONE} comment of two words\n"), host, port);
            assert_eq!(found.trusted, if is_known { vec![key(ONE)] } else { vec![] }, "{hosts} {host}");
        }
    }

    #[test]
    fn markers_and_nonsense() {
        let text = format!("h\nh ssh-ed25519 AAAA\n@other h {ONE}\nh {ONE}\nh {TWO}\n@revoked * {TWO}\n");
        let found = keys(&text, "h", 22);
        assert_eq!((found.trusted, found.revoked), (vec![key(ONE)], vec![key(TWO)]));
        assert_eq!(found.authority, None);
        let found = keys(&format!("@cert-authority *.example {ONE}\n"), "git.example", 22);
        assert_eq!((found.trusted.len(), found.authority), (0, Some((PathBuf::new(), 1))));
        assert_eq!(keys(&format!("@cert-authority *.example {ONE}\n"), "h", 22), KnownKeys::default());
    }
}
