//! Signatures of webhooks: HMAC with SHA-256.
//!
//! Those of [Standard Webhooks](https://www.standardwebhooks.com/) are over `ID.TIMESTAMP.BODY`, in the headers
//! `webhook-id`, `webhook-timestamp` (seconds since 1970) and `webhook-signature` (`v1,BASE64`, several with spaces
//! between them). A secret that begins with `whsec_` is the rest of it, decoded from base64; others are themselves.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::registry::Secret;

/// The header with the name of a message.
pub(super) const ID: &str = "webhook-id";
/// The header with the time of an attempt.
pub(super) const TIMESTAMP: &str = "webhook-timestamp";
/// The header with the signatures.
pub(super) const SIGNATURE: &str = "webhook-signature";

/// How far the time of a message may be from ours, in seconds.
pub(super) const TOLERANCE: i64 = 5 * 60;

fn code(key: &[u8], parts: &[&[u8]]) -> Option<[u8; 32]> {
    // Keys of any length are taken.
    let mut code = Hmac::<Sha256>::new_from_slice(key).ok()?;
    for part in parts {
        code.update(part);
    }
    Some(code.finalize().into_bytes().into())
}

fn standard_key(secret: &Secret) -> Vec<u8> {
    let text = secret.reveal();
    let encoded = text.strip_prefix("whsec_").and_then(|rest| STANDARD.decode(rest).ok());
    encoded.unwrap_or_else(|| text.as_bytes().to_vec())
}

fn standard_code(secret: &Secret, id: &str, timestamp: i64, body: &[u8]) -> Option<[u8; 32]> {
    let head = format!("{id}.{timestamp}.");
    code(&standard_key(secret), &[head.as_bytes(), body])
}

/// Whether `hex` is the code of `body` with one of the secrets. Takes as long whichever it is.
pub(super) fn matches_hex(secrets: &[Secret], hex: &str, body: &[u8]) -> bool {
    let Ok(given) = format!("sha256:{hex}").parse::<crate::layer::Digest>() else { return false };
    let mut found = false;
    for secret in secrets {
        let expected = code(secret.reveal().as_bytes(), &[body]);
        found |= expected.is_some_and(|expected| bool::from(expected.ct_eq(given.as_bytes())));
    }
    found
}

/// Whether one of the signatures in a header is that of one of the secrets.
pub(super) fn matches_standard(
    secrets: &[Secret],
    id: &str,
    timestamp: i64,
    signatures: &str,
    body: &[u8],
) -> bool {
    let given: Vec<Vec<u8>> = signatures
        .split(' ')
        .filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok())
        .take(10)
        .collect();
    let mut found = false;
    for secret in secrets {
        let Some(expected) = standard_code(secret, id, timestamp, body) else { continue };
        for given in &given {
            found |= bool::from(expected.as_slice().ct_eq(given.as_slice()));
        }
    }
    found
}

/// Whether a text is one of the secrets. Lengths are no secret.
pub(super) fn is_one_of(secrets: &[Secret], text: &str) -> bool {
    let mut found = false;
    for secret in secrets {
        found |= bool::from(secret.reveal().as_bytes().ct_eq(text.as_bytes()));
    }
    found
}

/// The header with a signature by each of the secrets.
pub(super) fn standard(secrets: &[Secret], id: &str, timestamp: i64, body: &[u8]) -> String {
    let signatures = secrets.iter().filter_map(|secret| {
        let code = standard_code(secret, id, timestamp, body)?;
        Some(format!("v1,{}", STANDARD.encode(code)))
    });
    signatures.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GitHub's own example, in "Validating webhook deliveries".
    #[test]
    fn github_signs_so() {
        let hex = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let secrets = [Secret::new("old"), Secret::new("It's a Secret to Everybody")];
        assert!(matches_hex(&secrets, hex, b"Hello, World!"));
        assert!(!matches_hex(&secrets, hex, b"Hello, World?"));
        assert!(!matches_hex(&secrets[..1], hex, b"Hello, World!"));
        assert!(!matches_hex(&secrets, &hex[1..], b"Hello, World!"));
        assert!(!matches_hex(&secrets, "", b"Hello, World!"));
    }

    /// The example of the Standard Webhooks' specification and libraries.
    #[test]
    fn standard_webhooks_are_signed_so() {
        let secret = [Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")];
        let (id, timestamp, body) =
            ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(standard(&secret, id, timestamp, body), expected);
        let several = format!("v1a,AAAA v1,AAAA {expected}");
        assert!(matches_standard(&secret, id, timestamp, &several, body));
        for (id, timestamp, signature) in [
            ("msg_2", timestamp, expected),
            (id, timestamp + 1, expected),
            (id, timestamp, "v1,AAAA"),
            (id, timestamp, ""),
        ] {
            assert!(!matches_standard(&secret, id, timestamp, signature, body));
        }
        assert!(!matches_standard(&[Secret::new("other")], id, timestamp, expected, body));
    }
}
