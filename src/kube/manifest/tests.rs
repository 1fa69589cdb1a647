//! What a submission becomes.

use serde_json::json;

use super::*;
use crate::exec::SecretValue;
use crate::kube::submission::ContextFile;
use crate::kube::{Format, PodSecurity, print};

fn submission() -> Submission {
    Submission {
        name: "app".to_owned(),
        token: "abcde".to_owned(),
        namespace: None,
        builder: "cooper:1".to_owned(),
        arguments: vec!["--push".to_owned()],
        image: "r/app:1".to_owned(),
        files: vec![
            ContextFile { name: "Dockerfile".to_owned(), content: b"FROM scratch\n".to_vec() },
            ContextFile { name: "context.tar.gz".to_owned(), content: vec![0x1f, 0x8b] },
        ],
        secrets: BTreeMap::from([("secret-0".to_owned(), SecretValue::new(&b"hidden"[..]))]),
        pushed_context: Some("r/app@sha256:1".to_owned()),
        registry_secret: None,
        logins: Logins::Carried(SecretValue::new(&b"hidden"[..])),
        pull_secrets: Vec::new(),
        requests: Limits::default(),
        limits: Limits::default(),
        store: Store::Empty { size: "4Gi".to_owned() },
        backoff_limit: 0,
        deadline: std::time::Duration::from_mins(1),
        keep: std::time::Duration::from_mins(1),
        node_selector: BTreeMap::new(),
        tolerations: Vec::new(),
        service_account: None,
        queue: None,
        security: PodSecurity::Privileged,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
    }
}

#[test]
fn text_and_bytes_have_their_places() {
    let map = serde_json::to_value(Objects::new(&submission()).config_map).unwrap();
    assert_eq!(map["data"], json!({"Dockerfile": "FROM scratch\n"}));
    assert_eq!(map["binaryData"], json!({"context.tar.gz": "H4s="}));
    assert_eq!(map["metadata"]["name"], "app-abcde");
    let nothing = Submission { files: Vec::new(), secrets: BTreeMap::new(), ..submission() };
    let objects = Objects::new(&nothing);
    assert_eq!((objects.config_map, objects.secret), (None, None));
}

#[test]
fn a_token_that_is_in_the_name_is_not_repeated() {
    let generated = Submission { name: "app-abcde".to_owned(), ..submission() };
    assert_eq!(generated.belongings(), "app-abcde");
    let job = serde_json::to_value(Objects::new(&generated).job).unwrap();
    let volumes = &job["spec"]["template"]["spec"]["volumes"];
    assert_eq!(volumes[1]["configMap"]["name"], "app-abcde");
    assert_eq!(volumes[2]["secret"]["secretName"], "app-abcde");
}

#[test]
fn what_belongs_to_a_job_is_owned_by_it() {
    let objects = Objects::new(&submission());
    let mut job = objects.job.clone();
    job.metadata.uid = Some("the-uid".to_owned());
    assert_eq!(context_annotation(&job), Some("r/app@sha256:1"));
    let owned = objects.owned_by(&job);
    let secrets = [owned.secret.unwrap().metadata, owned.logins.unwrap().metadata];
    for metadata in secrets.into_iter().chain([owned.config_map.unwrap().metadata]) {
        let owner = &metadata.owner_references.unwrap()[0];
        assert_eq!((owner.kind.as_str(), owner.name.as_str(), owner.uid.as_str()), ("Job", "app", "the-uid"));
    }
}

#[test]
fn a_pod_is_the_job_s() {
    let objects = Objects::new(&submission());
    let pod = objects.pod();
    assert_eq!(pod.spec, objects.job.spec.as_ref().unwrap().template.spec);
    assert_eq!(pod.metadata.name.as_deref(), Some("app"));
    let text = print(&objects, Format::Pod).unwrap();
    assert!(text.contains("kind: Pod\n") && !text.contains("kind: Job\n"), "{text}");
}

#[test]
fn secrets_are_not_shown() {
    let shown = format!("{:?}", submission());
    assert!(!shown.contains("hidden") && shown.contains("SecretValue"), "{shown}");
}
