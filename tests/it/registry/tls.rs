//! HTTPS with an authority that nobody knows.

use std::net::TcpStream;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// A certificate authority and the server certificate it signed for `127.0.0.1` and `localhost`.
pub(crate) struct Authority {
    /// The authority's certificate.
    pub(crate) pem: String,
    /// A client's certificate and key, signed by the authority.
    pub(super) client: (String, String),
    config: Arc<ServerConfig>,
}

/// What is wrong with a server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Nothing.
    None,
    /// It was valid until 2020.
    Expired,
    /// It will be valid in 2090.
    NotYet,
    /// It is for `registry.example`.
    OtherName,
}

impl Authority {
    /// `is_mutual`: clients must show a certificate of the same authority.
    pub(crate) fn new(is_mutual: bool) -> Self {
        Self::make(is_mutual, Flaw::None)
    }

    /// One that has signed a certificate like this.
    pub(crate) fn flawed(flaw: Flaw) -> Self {
        Self::make(false, flaw)
    }

    fn make(is_mutual: bool, flaw: Flaw) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Authority of a test");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);

        let server_key = KeyPair::generate().unwrap();
        let names = match flaw {
            Flaw::OtherName => vec!["registry.example".to_owned()],
            _ => vec!["127.0.0.1".to_owned(), "localhost".to_owned()],
        };
        let mut server = CertificateParams::new(names).unwrap();
        match flaw {
            Flaw::Expired => server.not_after = rcgen::date_time_ymd(2020, 2, 29),
            Flaw::NotYet => server.not_before = rcgen::date_time_ymd(2090, 1, 1),
            Flaw::None | Flaw::OtherName => {}
        }
        let server = server.signed_by(&server_key, &issuer).unwrap();
        let server_key = PrivateKeyDer::try_from(server_key.serialize_der()).unwrap();

        let client_key = KeyPair::generate().unwrap();
        let client = CertificateParams::new(Vec::new()).unwrap().signed_by(&client_key, &issuer).unwrap();

        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = if is_mutual {
            let mut roots = RootCertStore::empty();
            roots.add(certificate.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let config = builder.with_single_cert(vec![server.der().clone()], server_key).unwrap();
        Self {
            pem: certificate.pem(),
            client: (client.pem(), client_key.serialize_pem()),
            config: Arc::new(config),
        }
    }

    /// The server's side of a connection; the handshake happens with the first read.
    pub(crate) fn accept(&self, stream: TcpStream) -> StreamOwned<ServerConnection, TcpStream> {
        StreamOwned::new(ServerConnection::new(Arc::clone(&self.config)).unwrap(), stream)
    }
}
