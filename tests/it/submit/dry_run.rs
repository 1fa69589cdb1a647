//! What `--dry-run` prints.

use std::collections::BTreeMap;
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Submit;
use super::api::problems;

/// What would be created, by kind; each must be something that an API server takes.
pub(super) fn objects(submit: Submit) -> BTreeMap<String, Value> {
    let outcome = submit.args(["--dry-run=client", "-o", "json"]).run().success();
    let list: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(list["kind"], "List");
    let items = list["items"].as_array().unwrap().iter();
    let objects: BTreeMap<String, Value> =
        items.map(|item| (item["kind"].as_str().unwrap().to_owned(), item.clone())).collect();
    for (kind, object) in &objects {
        let plural = format!("{}s", kind.to_lowercase());
        assert_eq!(problems(&plural, object), Vec::<String>::new(), "{object:#}");
    }
    objects
}

pub(super) fn container(objects: &BTreeMap<String, Value>) -> &Value {
    &objects["Job"]["spec"]["template"]["spec"]["containers"][0]
}

pub(super) fn words(objects: &BTreeMap<String, Value>) -> Vec<&str> {
    container(objects)["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
}

/// The files of the context in the ConfigMap, with their modes.
fn archived(objects: &BTreeMap<String, Value>, key: &str) -> BTreeMap<String, (u32, String)> {
    let bytes = STANDARD.decode(objects["ConfigMap"]["binaryData"][key].as_str().unwrap()).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&bytes[..]));
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        files.insert(path, (entry.header().mode().unwrap(), text));
    }
    files
}

#[test]
fn the_job_is_as_the_issue_wants_it() {
    let objects =
        objects(Submit::nowhere().args(["--name", "app", "--registry-secret", "registry-credentials"]));
    let job = &objects["Job"];
    assert_eq!(job["metadata"]["name"], "app");
    assert_eq!(job["metadata"]["labels"]["app.kubernetes.io/managed-by"], "cooper");
    let spec = &job["spec"];
    assert_eq!(spec["backoffLimit"], 0);
    assert_eq!(spec["activeDeadlineSeconds"], 3600);
    assert_eq!(spec["ttlSecondsAfterFinished"], 3600);
    let pod = &spec["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["restartPolicy"], "Never");
    let container = container(&objects);
    let resources = json!({
        "requests": {"cpu": "500m", "memory": "256Mi"}, "limits": {"cpu": "2", "memory": "1Gi"},
    });
    assert_eq!(container["resources"], resources);
    assert_eq!(container["command"], json!(["/kaniko/cooper", "build"]));
    assert_eq!(
        words(&objects),
        [
            "tar:///kaniko/job/files/context.tar.gz",
            "--push",
            "--progress=plain",
            "--tag=registry.local:5000/team/app:1",
        ]
    );
    let volumes = pod["volumes"].as_array().unwrap();
    let credentials = volumes.iter().find(|volume| volume["name"] == "credentials").unwrap();
    assert_eq!(
        credentials["secret"],
        json!({"secretName": "registry-credentials", "items": [{"key": ".dockerconfigjson", "path": "config.json"}], "optional": false})
    );
    let mounts = container["volumeMounts"].as_array().unwrap();
    assert!(
        mounts.contains(&json!({"name": "credentials", "mountPath": "/kaniko/.docker", "readOnly": true}))
    );
    assert!(mounts.contains(&json!({"name": "store", "mountPath": "/kaniko/store"})));
    assert!(!objects.contains_key("Secret"));
}

#[test]
fn each_level_has_its_security_context() {
    let security = |level: &str| {
        let objects = objects(Submit::nowhere().args(["--pod-security", level]));
        (
            container(&objects)["securityContext"].clone(),
            objects["Job"]["spec"]["template"]["spec"]["securityContext"].clone(),
        )
    };
    let unconfined = json!({"type": "Unconfined"});
    assert_eq!(
        security("privileged"),
        (
            json!({"runAsUser": 0, "runAsNonRoot": false, "seccompProfile": unconfined, "appArmorProfile": unconfined}),
            Value::Null
        )
    );
    assert_eq!(security("baseline"), (json!({"runAsUser": 0, "runAsNonRoot": false}), Value::Null));
    let restricted = json!({
        "runAsUser": 1000, "runAsGroup": 1000, "runAsNonRoot": true, "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
    });
    assert_eq!(security("restricted"), (restricted, json!({"fsGroup": 1000})));
}

#[test]
fn options_of_the_job() {
    let objects = objects(Submit::nowhere().args([
        "--namespace=builds",
        "--queue=pis",
        "--requests=cpu=1",
        "--limits=memory=2Gi,ephemeral-storage=8Gi",
        "--store-claim=kept",
        "--deadline=30m",
        "--ttl=2h",
        "--backoff-limit=2",
        "--platform=linux/arm64",
        "--toleration=dedicated=builds:NoSchedule",
        "--image-pull-secret=pull",
        "--service-account=builder",
    ]));
    let job = &objects["Job"];
    assert_eq!(job["metadata"]["namespace"], "builds");
    assert_eq!(objects["ConfigMap"]["metadata"]["namespace"], "builds");
    assert_eq!(job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"], "pis");
    let spec = &job["spec"];
    assert_eq!(
        (&spec["activeDeadlineSeconds"], &spec["ttlSecondsAfterFinished"]),
        (&json!(1800), &json!(7200))
    );
    assert_eq!(spec["backoffLimit"], 2);
    let pod = &spec["template"]["spec"];
    assert_eq!(pod["nodeSelector"], json!({"kubernetes.io/arch": "arm64"}));
    assert_eq!(
        pod["tolerations"],
        json!([
            {"key": "dedicated", "operator": "Equal", "value": "builds", "effect": "NoSchedule"},
            {"key": "kubernetes.io/arch", "operator": "Equal", "value": "arm64", "effect": "NoSchedule"},
        ])
    );
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "pull"}]));
    assert_eq!(pod["serviceAccountName"], "builder");
    let resources = &container(&objects)["resources"];
    assert_eq!(resources["requests"], json!({"cpu": "1", "memory": "256Mi"}));
    assert_eq!(resources["limits"], json!({"cpu": "2", "memory": "2Gi", "ephemeral-storage": "8Gi"}));
    let volumes = pod["volumes"].as_array().unwrap();
    assert!(volumes.contains(&json!({"name": "store", "persistentVolumeClaim": {"claimName": "kept"}})));
    assert!(words(&objects).contains(&"--platform=linux/arm64"));

    // Several platforms are built wherever there is room.
    let several = self::objects(Submit::nowhere().arg("--platform=linux/amd64,linux/arm64"));
    assert_eq!(several["Job"]["spec"]["template"]["spec"]["nodeSelector"], Value::Null);
}

#[test]
fn the_context_is_what_a_local_build_would_see() {
    let submit = Submit::nowhere()
        .file(".dockerignore", "node_modules\nDockerfile\n")
        .file("node_modules/x", "x")
        .file("bin/tool", "#!/bin/sh\n");
    let tool = submit.context().join("bin/tool");
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let objects = objects(submit);
    let files = archived(&objects, "context.tar.gz");
    let paths: Vec<&str> = files.keys().map(|path| path.trim_end_matches('/')).collect();
    assert_eq!(paths, [".dockerignore", "a", "bin", "bin/tool"]);
    assert_eq!(files["bin/tool"], (0o755, "#!/bin/sh\n".to_owned()));
    // It is left out of the context, but a build reads it all the same.
    assert_eq!(objects["ConfigMap"]["data"]["Dockerfile"], "FROM scratch\nCOPY a /\n");
    assert!(words(&objects).contains(&"--file=/kaniko/job/files/Dockerfile"));
}

#[test]
fn dockerfiles_elsewhere_and_named_contexts() {
    let inside = Submit::nowhere().file("docker/app.Dockerfile", "FROM scratch\n");
    let path = inside.context().join("docker/app.Dockerfile").display().to_string();
    let objects_inside = objects(inside.args(["-f", &path]));
    assert!(words(&objects_inside).contains(&"--file=docker/app.Dockerfile"));
    assert_eq!(objects_inside["ConfigMap"]["data"], Value::Null);

    let beside = Submit::nowhere();
    let (dockerfile, named) = (beside.beside("other"), beside.beside("named"));
    std::fs::write(&dockerfile, "FROM scratch\nCOPY --from=n b /\n").unwrap();
    std::fs::create_dir(&named).unwrap();
    std::fs::write(named.join("b"), "b").unwrap();
    let (file, context) = (dockerfile.display().to_string(), format!("n={}", named.display()));
    let objects = objects(beside.args(["-f", &file, "--build-context", &context]).args([
        "--build-context=base=docker-image://alpine:3",
        "--build-context=lib=https://host/lib.git#main",
    ]));
    assert_eq!(objects["ConfigMap"]["data"]["Dockerfile"], "FROM scratch\nCOPY --from=n b /\n");
    let words = words(&objects);
    for word in [
        "--file=/kaniko/job/files/Dockerfile",
        "--build-context=n=tar:///kaniko/job/files/context-1.tar.gz",
        "--build-context=base=docker-image://docker.io/library/alpine:3",
        "--build-context=lib=https://host/lib.git#main",
    ] {
        assert!(words.contains(&word), "{word}: {words:?}");
    }
    assert_eq!(archived(&objects, "context-1.tar.gz")["b"].1, "b");
}

#[test]
fn secrets_arguments_and_certificates_are_carried() {
    let submit = Submit::nowhere();
    let (secret, certificate) = (submit.beside("secret"), submit.beside("ca.pem"));
    std::fs::write(&secret, b"\xff\x00binary").unwrap();
    std::fs::write(&certificate, "-----BEGIN CERTIFICATE-----\n").unwrap();
    let objects = objects(
        submit
            .arg(format!("--secret=id=npm/rc,src={}", secret.display()))
            .args([
                "--secret",
                "id=token,env=TOKEN",
                "--build-arg",
                "FROM_ENV",
                "--build-arg=B=c d",
                "--no-cache",
            ])
            .arg(format!("--registry-certificate=registry.local:5000={}", certificate.display()))
            .env("TOKEN", "s3cret".as_ref())
            .env("FROM_ENV", "value".as_ref())
            .env("SOURCE_DATE_EPOCH", "1700000000".as_ref()),
    );
    let data = &objects["Secret"]["data"];
    assert_eq!(data["secret-0"], STANDARD.encode(b"\xff\x00binary"));
    assert_eq!(data["secret-1"], STANDARD.encode("s3cret"));
    assert_eq!(objects["ConfigMap"]["data"]["certificate-0.pem"], "-----BEGIN CERTIFICATE-----\n");
    let words = words(&objects);
    for word in [
        "--secret=id=npm/rc,src=/kaniko/job/secrets/secret-0",
        "--secret=id=token,src=/kaniko/job/secrets/secret-1",
        "--build-arg=FROM_ENV=value",
        "--build-arg=B=c d",
        "--build-arg=SOURCE_DATE_EPOCH=1700000000",
        "--registry-certificate=registry.local:5000=/kaniko/job/files/certificate-0.pem",
        "--no-cache",
    ] {
        assert!(words.contains(&word), "{word}: {words:?}");
    }
    let job = objects["Job"].to_string();
    assert!(!job.contains("s3cret"), "{job}");
}

#[test]
fn contexts_elsewhere_are_named() {
    let run = |source: &str| Submit::nowhere().args(["--dry-run", "-o", "json"]).source(source).run();
    let list: Value = serde_json::from_str(&run("https://host/app.git#main:web").success().stdout).unwrap();
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "there is nothing to carry");
    let words = &items[0]["spec"]["template"]["spec"]["containers"][0]["args"];
    assert_eq!(words[0], "https://host/app.git#main:web");
    run("-").failure(1, &["standard input is not in the Job's pod"]);
    run("https://me:token@host/app.git").failure(1, &["has a password", "GIT_AUTH_TOKEN"]);
    run("tar:///context.tar").failure(1, &["the archive is not in the Job's pod"]);
}

#[test]
fn what_cannot_be_is_refused_at_once() {
    let refused = |arguments: &[&str], said: &[&str]| {
        let submit = Submit::nowhere().args(arguments.iter().copied());
        submit.arg("--dry-run=client").run().failure(1, said);
    };
    refused(&["--ssh", "default=/run/agent"], &["`--ssh` is not for a Job", "GIT_AUTH_TOKEN"]);
    refused(&["--store=/x"], &["`--store` is not for a Job", "--store-claim"]);
    refused(&["--metadata-file=x"], &["`--metadata-file` is not for a Job"]);
    refused(&["--cache-to=oci:/cache"], &["`--cache-to` is not for a Job", "name a repository"]);
    refused(&["--build-context=a=oci-layout://x"], &["`--build-context` is not for a Job"]);
    refused(&["--name=A_b"], &["`A_b` is no name for a Job"]);
    refused(&["--secret=id=a,src=/none"], &["/none"]);
    Submit::nowhere().args(["-o", "type=oci,dest=x"]).run().failure(2, &["a Job's image is always pushed"]);
    let broken = Submit::nowhere().file("Dockerfile", "FROM scratch\nCOPPY a /\n").arg("--dry-run=client");
    broken.run().failure(1, &["COPPY", "Dockerfile:2"]);
    let unnamed = Submit::bare().args(["submit", "--builder-image=x", "--dry-run=client"]);
    unnamed.run().failure(1, &["name it with `--tag REGISTRY/NAME:TAG`"]);
    let no_builder = Submit::bare().args(["submit", "-t", "r/app:1", "--dry-run=client"]);
    no_builder.run().failure(1, &["--builder-image", "COOPER_BUILDER_IMAGE"]);
}

#[test]
fn yaml_means_what_json_means() {
    let arguments = ["--name=app", "--build-arg=A=yes", "--build-arg=B=: #\n- x", "--dry-run=client"];
    let submit = Submit::nowhere().args(arguments);
    let yaml = submit.run().success().stdout;
    let submit = submit.args(["-o", "json"]);
    let list: Value = serde_json::from_str(&submit.run().success().stdout).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&yaml).unwrap();
    let mut items = list["items"].as_array().unwrap().clone();
    assert_eq!(documents.len(), items.len());
    // Each run has a token of its own.
    let token = |object: &Value| {
        let text = object.to_string();
        let name = text.split("\"name\":\"app-").nth(1).map(|rest| rest[..5].to_owned());
        name.unwrap_or_else(|| {
            object["metadata"]["annotations"]["cooper/submission"].as_str().unwrap().to_owned()
        })
    };
    for (item, document) in items.iter_mut().zip(&documents) {
        let text = item.to_string().replace(&token(item), &token(document));
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), *document);
    }
}
