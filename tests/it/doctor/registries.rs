//! Registries that are fine, and that are not.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};

use super::Doctor;
use crate::registry::{Effect, Fault, Flaw, Registry};
use crate::support::{DebianRegistry, Served, base_layout};

#[test]
fn a_registry_that_is_fine() {
    let registry = Registry::start_tls();
    Served::base().put(&registry, "team/app", "1");
    let doctor = Doctor::of(&format!("{}/team/app", registry.host()));
    let pem = doctor.at("authority.pem");
    registry.authority_pem(&pem);
    // An authority that everybody here trusts.
    let diagnosis = doctor.env("SSL_CERT_FILE", pem.display().to_string());
    let diagnosis = diagnosis.args(["--skip-tls-verify-registry", &registry.host()]).diagnose();
    diagnosis
        .has("ok", "registry-tls", &["of a known authority"], &[])
        .has("ok", "credentials-unneeded", &["wants no login"], &[])
        .has("ok", "push-allowed", &["`team/app`"], &[])
        .has("ok", "mount-supported", &["mounts blobs"], &[])
        .has("ok", "node-pull", &["without further ado"], &[])
        .has("note", "clock-unknown", &["does not say what time it is"], &[])
        .has("note", "node-pull-loopback", &["the node itself"], &["NodePort"]);
    assert_eq!(diagnosis.code, Some(0), "{:#}", diagnosis.report);
    assert_eq!(registry.open_sessions(), 0, "what was begun is given up");
}

#[test]
fn a_real_registry_with_a_password() {
    let registry = DebianRegistry::start();
    let doctor = Doctor::of(&format!("{}/team/app", registry.host())).log_in(registry.host(), "secret");
    let diagnosis = doctor.diagnose();
    diagnosis
        .has("note", "registry-plain-http", &["speaks plain HTTP"], &[])
        .has("ok", "clock-agrees", &[], &[])
        .has("ok", "credentials-accepted", &["docker/config.json"], &[])
        .has("ok", "push-allowed", &["`team/app`"], &[])
        .has("note", "mount-unknown", &["when there is an image"], &[]);
    registry.load(base_layout(), "latest", "team/app:1");
    doctor.diagnose().has("ok", "mount-supported", &[], &[]);
    // Without a name, the registries of config.json are meant.
    let diagnosis = Doctor::new().log_in(registry.host(), "secret").diagnose();
    let advice = format!("cooper doctor --registry {}/REPOSITORY", registry.host());
    diagnosis.has("note", "push-unknown", &["was not tried"], &[&advice]);
}

#[test]
fn plain_http_is_not_for_nodes() {
    let registry = Registry::start();
    let host = registry.host();
    let diagnosis = Doctor::of(&format!("{host}/app")).diagnose();
    let code = "node-pull-plain-http";
    diagnosis.has("note", "registry-plain-http", &["speaks plain HTTP"], &[]).has(
        "warning",
        code,
        &["http: server gave HTTP response to HTTPS client"],
        &["tell every node", "certificate"],
    );
    assert_eq!(diagnosis.code, Some(3));
    let name = host.replace(':', "-");
    for (path, text) in [
        (
            format!("/etc/containers/registries.conf.d/50-{name}.conf"),
            format!("[[registry]]\nlocation = \"{host}\"\ninsecure = true\n"),
        ),
        (
            format!("/etc/crio/crio.conf.d/50-{name}.conf"),
            format!("[crio.image]\ninsecure_registries = [\"{host}\"]\n"),
        ),
        (
            format!("/etc/containerd/certs.d/{host}/hosts.toml"),
            format!(
                "server = \"http://{host}\"\n\n[host.\"http://{host}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
            ),
        ),
        (
            "/etc/rancher/k3s/registries.yaml".to_owned(),
            format!("mirrors:\n  \"{host}\":\n    endpoint:\n      - \"http://{host}\"\n"),
        ),
    ] {
        assert_eq!(diagnosis.file(code, &path), text);
    }
}

#[test]
fn an_unknown_authority() {
    let registry = Registry::start_tls().auth("user", "secret");
    let host = registry.host();
    let doctor = Doctor::of(&format!("{host}/app")).log_in(&host, "secret");
    let diagnosis = doctor.diagnose();
    diagnosis
        .has(
            "error",
            "registry-untrusted",
            &["signed by an unknown authority"],
            &[&format!("--registry-certificate {host}=FILE.pem"), "--skip-tls-verify-registry"],
        )
        .has("warning", "node-pull-unknown-authority", &["x509"], &["ca.crt"]);
    assert_eq!(diagnosis.code, Some(1));
    let sent = registry.requests().iter().any(|request| request.authorization.is_some());
    assert!(!sent, "no credentials go to whom is not believed");

    let pem = doctor.at("authority.pem");
    registry.authority_pem(&pem);
    let named = format!("{host}={}", pem.display());
    let diagnosis = doctor.args(["--registry-certificate".to_owned(), named]).diagnose();
    let code = "node-pull-unknown-authority";
    diagnosis
        .has("ok", "registry-tls", &["of the authority that was named"], &[])
        .has("ok", "push-allowed", &[], &[])
        .has("warning", code, &["certificate signed by unknown authority"], &["ca.crt"]);
    assert_eq!(diagnosis.code, Some(3));
    diagnosis.file(code, &format!("/etc/containers/certs.d/{host}/ca.crt"));
    let hosts = diagnosis.file(code, &format!("/etc/containerd/certs.d/{host}/hosts.toml"));
    assert!(hosts.contains(&format!("ca = \"/etc/containerd/certs.d/{host}/ca.crt\"")), "{hosts}");
}

#[test]
fn tls_that_wants_more() {
    let registry = Registry::start_mutual_tls();
    let host = registry.host();
    let doctor = Doctor::of(&format!("{host}/app"));
    let pem = doctor.at("authority.pem");
    registry.authority_pem(&pem);
    let named = format!("{host}={}", pem.display());
    let diagnosis = doctor.args(["--registry-certificate".to_owned(), named]).diagnose();
    let advice = format!("--registry-client-cert {host}=");
    diagnosis.has("error", "registry-tls-broken", &["client certificate"], &[&advice]);
}

#[test]
fn certificates_that_are_not_valid() {
    for (flaw, said, advised) in [
        (Flaw::Expired, "certificate expired", ["have it renewed", "--skip-tls-verify-registry"]),
        (Flaw::NotYet, "not valid yet", ["compare the clocks", "timedatectl"]),
        (Flaw::OtherName, "registry.example", ["subjectAltName has `127.0.0.1`", "of type IP"]),
    ] {
        let registry = Registry::start_flawed_tls(flaw).auth("user", "secret");
        let host = registry.host();
        let doctor = Doctor::of(&format!("{host}/app")).log_in(&host, "secret");
        let pem = doctor.at("authority.pem");
        registry.authority_pem(&pem);
        let doctor = doctor.env("SSL_CERT_FILE", pem.display().to_string());
        let diagnosis = doctor.diagnose();
        diagnosis.has("error", "registry-tls-broken", &["certificate", "is not valid", said], &advised);
        diagnosis.has_not("registry-untrusted").has_not("credentials-accepted").has_not("node-pull");
        assert_eq!(diagnosis.code, Some(1), "{flaw:?}");
        let sent = registry.requests().iter().any(|request| request.authorization.is_some());
        assert!(!sent, "no credentials go to whom is not believed");
        // What is said to do without the check does so.
        let diagnosis = doctor.args(["--skip-tls-verify-registry", &host]).diagnose();
        diagnosis.has("ok", "registry-tls", &["which is not checked"], &[]).has(
            "ok",
            "push-allowed",
            &[],
            &[],
        );
    }
}

#[test]
fn an_authority_that_was_made_anew() {
    let (registry, former) = (Registry::start_tls(), Registry::start_tls());
    let doctor = Doctor::of(&format!("{}/app", registry.host()));
    let pem = doctor.at("authority.pem");
    // Of the same name, with another key.
    former.authority_pem(&pem);
    let named = format!("{}={}", registry.host(), pem.display());
    let diagnosis = doctor.args(["--registry-certificate".to_owned(), named]).diagnose();
    let advice = [&*format!("--registry-certificate {}=FILE.pem", registry.host())];
    diagnosis.has("error", "registry-untrusted", &["signed by an unknown authority"], &advice);
    diagnosis.has_not("registry-tls-broken");
}

/// A server that knows only what nobody speaks any more: it answers each greeting with a fatal alert of this number.
fn old_server(alert: u8) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            // A record with an alert, in the version of TLS 1.0. The rest of what was said is read, so that the alert is.
            let _ = stream.write_all(&[21, 3, 1, 0, 2, 2, alert]);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    address
}

#[test]
fn tls_that_does_not_come_about() {
    for (alert, said, advised) in
        [(70, "ProtocolVersion", "TLS 1.2 or 1.3"), (40, "HandshakeFailure", "cipher suites")]
    {
        let host = old_server(alert).to_string();
        let diagnosis = Doctor::of(&format!("{host}/app")).diagnose();
        diagnosis.has("error", "registry-tls-broken", &["no TLS connection", said], &[advised]);
        diagnosis.has_not("registry-down").has_not("registry-strange");
        assert_eq!(diagnosis.code, Some(1));
    }
}

#[test]
fn passwords_that_are_wrong_or_missing() {
    for registry in [Registry::start().auth("user", "secret"), Registry::start().token_auth("user", "secret")]
    {
        let host = registry.host();
        let doctor = || Doctor::of(&format!("{host}/app"));
        let diagnosis = doctor().log_in(&host, "wrong").diagnose();
        let advice = ["check user name and password"];
        diagnosis.has("error", "credentials-refused", &["docker/config.json"], &advice);
        assert_eq!(diagnosis.code, Some(1));
        diagnosis.has_not("push-allowed");
        let said = diagnosis.report.to_string();
        assert!(!said.contains("wrong") && !said.contains("dXNlcj"), "{said}");
        let diagnosis = doctor().diagnose();
        let advice =
            ["kubectl create secret docker-registry", &format!("--docker-server={host}"), "DOCKER_CONFIG"];
        diagnosis.has("error", "credentials-missing", &["there are no credentials"], &advice);
        doctor().log_in(&host, "secret").diagnose().has("ok", "push-allowed", &[], &[]);
    }
    let registry = Registry::start().token_auth("user", "secret").anonymous_pull();
    let diagnosis = Doctor::of(&format!("{}/app", registry.host())).diagnose();
    diagnosis.has("ok", "credentials-unneeded", &["lets in anybody, with a token"], &[]);
    assert_eq!(diagnosis.code, Some(1), "pushing is another matter: {:#}", diagnosis.report);

    let diagnosis = Doctor::new().config("{no json").diagnose();
    diagnosis.has("error", "credentials-failed", &["is not a docker config"], &["docker login"]);
}

#[test]
fn registries_that_take_no_pushes() {
    let registry = DebianRegistry::start_read_only();
    let doctor = Doctor::of(&format!("{}/team/app", registry.host())).log_in(registry.host(), "secret");
    let diagnosis = doctor.diagnose();
    diagnosis.has("ok", "credentials-accepted", &[], &[]).has(
        "error",
        "push-read-only",
        &["read-only"],
        &["storage.maintenance.readonly.enabled"],
    );
    assert_eq!(diagnosis.code, Some(1));

    let refused = Effect::Refuse(403, "DENIED", "no right to push");
    let registry = Registry::start().auth("user", "secret");
    let registry = registry.fault(Fault::on("POST", "uploads", refused).always());
    let host = registry.host();
    let diagnosis = Doctor::of(&format!("{host}/team/app")).log_in(&host, "secret").diagnose();
    diagnosis.has("error", "push-denied", &["the user `user`", "`team/app`"], &["the right to push"]);
}

#[test]
fn registries_that_do_not_mount() {
    let registry = Registry::start().fault(Fault::on("POST", "mount=", Effect::Status(405)).always());
    Served::base().put(&registry, "app", "1");
    let diagnosis = Doctor::of(&format!("{}/app", registry.host())).diagnose();
    diagnosis.has("note", "mount-unsupported", &["does not mount"], &["nothing needs to be done"]);
}

#[test]
fn clocks_that_do_not_agree() {
    let date = "Sun, 22 Nov 2020 08:00:00 GMT".to_owned();
    let registry = Registry::start().fault(Fault::on_any("/v2/", Effect::Header("Date", date)).always());
    let diagnosis = Doctor::of(&format!("{}/app", registry.host())).diagnose();
    diagnosis.has("warning", "clock-skew", &["s behind ours"], &["chrony"]);
}

#[test]
fn nobody_is_there() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let diagnosis = Doctor::of(&format!("{free}/app")).diagnose();
    diagnosis.has("error", "registry-down", &["refuses the connection"], &["that the registry is running"]);
    assert_eq!(diagnosis.code, Some(1));

    let registry = Registry::start().fault(Fault::on_any("/v2/", Effect::Status(404)).always());
    let diagnosis = Doctor::of(&format!("{}/app", registry.host())).diagnose();
    diagnosis.has("error", "registry-strange", &["answers 404"], &["check host and port"]);

    let diagnosis = Doctor::of("registry.invalid/app").diagnose();
    diagnosis.has("error", "registry-not-found", &["no such host"], &["NAME.NAMESPACE.svc"]);
}

#[test]
fn a_firewall_is_silent() {
    // Connections are accepted by the kernel; nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = silent.local_addr().unwrap();
    let diagnosis = Doctor::of(&format!("{host}/app")).diagnose();
    diagnosis.has("error", "registry-down", &["did not answer within"], &["NetworkPolicy"]);
}
