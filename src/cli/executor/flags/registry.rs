//! Flags about registries, which building, pushing and warming have in common.

use crate::cli::executor::flag::{Flag, Kind, Variable};

pub(crate) static INSECURE: Flag = Flag::switch("insecure", "Push to registries that may speak plain HTTP")
    .note(
        "both are tried at once, and TLS wins if it is there: no waiting for a port that a firewall closes",
    );
pub(crate) static SKIP_TLS_VERIFY: Flag =
    Flag::switch("skip-tls-verify", "Do not check the certificates of registries");
pub(crate) static INSECURE_PULL: Flag =
    Flag::switch("insecure-pull", "Pull from registries that may speak plain HTTP").note("as `--insecure`");
pub(crate) static SKIP_TLS_VERIFY_PULL: Flag =
    Flag::switch("skip-tls-verify-pull", "Do not check the certificates of registries that are pulled from")
        .better("Kaniko reads it and forgets it");
pub(crate) static PUSH_RETRY: Flag =
    Flag::number("push-retry", "How often a push that failed is tried again")
        .note("single requests and broken transfers are tried again in any case");
pub(crate) static PUSH_IGNORE_IMMUTABLE_TAG_ERRORS: Flag = Flag::switch(
    "push-ignore-immutable-tag-errors",
    "Take it for success when a registry refuses to overwrite a tag",
);
pub(crate) static IMAGE_DOWNLOAD_RETRY: Flag =
    Flag::number("image-download-retry", "How often looking up an image that failed is tried again")
        .note("single requests and broken transfers are tried again in any case");
pub(crate) static INSECURE_REGISTRY: Flag =
    Flag::of(Kind::Texts, "insecure-registry", "Registry that may speak plain HTTP. Can be repeated")
        .note("as `--insecure`");
pub(crate) static SKIP_TLS_VERIFY_REGISTRY: Flag = Flag::of(
    Kind::Texts,
    "skip-tls-verify-registry",
    "Registry whose certificate is not checked. Can be repeated",
);
pub(crate) static REGISTRY_CERTIFICATE: Flag = Flag::of(
    Kind::Pairs,
    "registry-certificate",
    "Authority to trust for a registry: my.registry.url=/path/to/certificate.pem. Can be repeated",
);
pub(crate) static REGISTRY_CLIENT_CERT: Flag = Flag::of(
    Kind::Pairs,
    "registry-client-cert",
    "Certificate to show to a registry: my.registry.url=/path/to/cert.pem,/path/to/key.pem. Can be repeated",
);
pub(crate) static REGISTRY_MAP: Flag = Flag::of(
    Kind::Maps,
    "registry-map",
    "Where to pull from instead: original.registry=new.registry;other.registry=new.registry/path. Can be repeated",
)
.variable("KANIKO_REGISTRY_MAP", Variable::Adds);
pub(crate) static REGISTRY_MIRROR: Flag = Flag::of(
    Kind::Texts,
    "registry-mirror",
    "Where to pull images of Docker Hub from instead. Can be repeated",
)
.variable("KANIKO_REGISTRY_MIRROR", Variable::Adds);
pub(crate) static SKIP_DEFAULT_REGISTRY_FALLBACK: Flag = Flag::switch(
    "skip-default-registry-fallback",
    "Do not ask the original registry for what its mirrors do not have",
);
pub(crate) static CREDENTIAL_HELPERS: Flag = Flag::of(
    Kind::Texts,
    "credential-helpers",
    "Where to look for logins besides the docker config: env, google, ecr, acr, gitlab; all if not given, none if empty. Can be repeated",
)
.fork()
.note("built in: no helper programs are needed");

/// For everything that pushes and pulls.
pub(crate) const FLAGS: &[&Flag] = &[
    &INSECURE,
    &SKIP_TLS_VERIFY,
    &INSECURE_PULL,
    &SKIP_TLS_VERIFY_PULL,
    &PUSH_RETRY,
    &PUSH_IGNORE_IMMUTABLE_TAG_ERRORS,
    &IMAGE_DOWNLOAD_RETRY,
    &INSECURE_REGISTRY,
    &SKIP_TLS_VERIFY_REGISTRY,
    &REGISTRY_CERTIFICATE,
    &REGISTRY_CLIENT_CERT,
    &REGISTRY_MAP,
    &REGISTRY_MIRROR,
    &SKIP_DEFAULT_REGISTRY_FALLBACK,
    &CREDENTIAL_HELPERS,
];

/// For what only pulls.
pub(crate) const PULL: &[&Flag] = &[
    &INSECURE_PULL,
    &SKIP_TLS_VERIFY_PULL,
    &INSECURE_REGISTRY,
    &SKIP_TLS_VERIFY_REGISTRY,
    &REGISTRY_CERTIFICATE,
    &REGISTRY_CLIENT_CERT,
    &REGISTRY_MAP,
    &REGISTRY_MIRROR,
    &SKIP_DEFAULT_REGISTRY_FALLBACK,
];

pub(crate) static USERNAME: Flag = Flag::text("username", "Name of the user").short('u').fork();
pub(crate) static PASSWORD: Flag = Flag::text("password", "Password of the user").short('p').fork();
pub(crate) static PASSWORD_STDIN: Flag =
    Flag::switch("password-stdin", "Read the password from standard input").fork();

/// For `login`.
pub(crate) const LOGIN: &[&Flag] = &[&USERNAME, &PASSWORD, &PASSWORD_STDIN];
