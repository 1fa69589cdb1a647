//! From a submission to the objects of the API.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, EnvVar, EnvVarSource, KeyToPath,
    LocalObjectReference, PersistentVolumeClaimVolumeSource, Pod, PodSpec, PodTemplateSpec,
    ResourceRequirements, Secret, SecretKeySelector, SecretVolumeSource, Toleration as PodToleration, Volume,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::submission::{FILES, Limits, Logins, SECRETS, Store, Submission};

/// The value of the label `app.kubernetes.io/managed-by`, by which Cooper finds its Jobs.
pub const MANAGED_BY: &str = "cooper";

/// The pod's container.
pub const BUILD_CONTAINER: &str = "build";

/// Annotation of a Job: the image that it makes.
pub(super) const IMAGE_ANNOTATION: &str = "cooper/image";

/// Annotation of a Job: the artifact in a registry that is its context.
const CONTEXT_ANNOTATION: &str = "cooper/context";

/// Annotation of a Job: tells it from another one of the same name.
pub(super) const TOKEN_ANNOTATION: &str = "cooper/submission";

/// Kueue's label; see its documentation, "Run a Job".
const QUEUE_LABEL: &str = "kueue.x-k8s.io/queue-name";

/// Where the pod has docker's `config.json`.
const DOCKER_CONFIG: &str = "/kaniko/.docker";

/// The key of a Secret of the type `kubernetes.io/dockerconfigjson`.
const DOCKER_CONFIG_KEY: &str = ".dockerconfigjson";

/// Where the pod has the store.
const STORE: &str = "/kaniko/store";

/// Of a Secret or ConfigMap. It is the default, but Podman 4.3 falls over a Secret that does not say it.
const MUST_BE_THERE: Option<bool> = Some(false);

/// What a submission creates.
#[derive(Debug, Clone, PartialEq)]
pub struct Objects {
    /// The Job, which owns the others.
    pub job: Job,
    /// The build's files, if there are any.
    pub config_map: Option<ConfigMap>,
    /// The build's secrets, if there are any.
    pub secret: Option<Secret>,
    /// The logins for registries, if they go with the Job. They are never printed.
    pub logins: Option<Secret>,
}

impl Objects {
    /// The objects of a submission.
    pub fn new(submission: &Submission) -> Self {
        Self {
            job: job(submission),
            config_map: config_map(submission),
            secret: secret(submission),
            logins: logins(submission),
        }
    }

    /// The same, owned by the Job as the API server has made it: they go when it goes.
    #[must_use]
    pub fn owned_by(mut self, job: &Job) -> Self {
        let owner = OwnerReference {
            api_version: "batch/v1".to_owned(),
            kind: "Job".to_owned(),
            name: job.metadata.name.clone().unwrap_or_default(),
            uid: job.metadata.uid.clone().unwrap_or_default(),
            controller: None,
            block_owner_deletion: Some(false),
        };
        if let Some(map) = &mut self.config_map {
            map.metadata.owner_references = Some(vec![owner.clone()]);
        }
        for secret in [&mut self.secret, &mut self.logins].into_iter().flatten() {
            secret.metadata.owner_references = Some(vec![owner.clone()]);
        }
        self
    }

    /// The Job's pod, for who has pods and no Jobs.
    pub fn pod(&self) -> Pod {
        let template = self.job.spec.clone().unwrap_or_default().template;
        let labels = template.metadata.and_then(|metadata| metadata.labels);
        let metadata = ObjectMeta { labels, annotations: None, ..self.job.metadata.clone() };
        Pod { metadata, spec: template.spec, status: None }
    }
}

/// The artifact that is the context of a Job, as `repository@digest`.
pub fn context_annotation(job: &Job) -> Option<&str> {
    job.metadata.annotations.as_ref()?.get(CONTEXT_ANNOTATION).map(String::as_str)
}

fn labels() -> BTreeMap<String, String> {
    [("name", "cooper"), ("component", "build"), ("managed-by", MANAGED_BY)]
        .map(|(key, value)| (format!("app.kubernetes.io/{key}"), value.to_owned()))
        .into()
}

fn metadata(submission: &Submission, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: submission.namespace.clone(),
        labels: Some(labels()),
        ..ObjectMeta::default()
    }
}

fn config_map(submission: &Submission) -> Option<ConfigMap> {
    let (mut text, mut binary) = (BTreeMap::new(), BTreeMap::new());
    for file in &submission.files {
        match std::str::from_utf8(&file.content) {
            Ok(content) => drop(text.insert(file.name.clone(), content.to_owned())),
            Err(_) => drop(binary.insert(file.name.clone(), ByteString(file.content.clone()))),
        }
    }
    (!submission.files.is_empty()).then(|| ConfigMap {
        metadata: metadata(submission, &submission.belongings()),
        data: Some(text).filter(|text| !text.is_empty()),
        binary_data: Some(binary).filter(|binary| !binary.is_empty()),
        immutable: Some(true),
    })
}

fn secret(submission: &Submission) -> Option<Secret> {
    let data = submission.secrets.iter();
    let data: BTreeMap<_, _> =
        data.map(|(name, value)| (name.clone(), ByteString(value.reveal().to_vec()))).collect();
    (!data.is_empty()).then(|| Secret {
        metadata: metadata(submission, &submission.belongings()),
        data: Some(data),
        immutable: Some(true),
        type_: Some("Opaque".to_owned()),
        string_data: None,
    })
}

fn logins(submission: &Submission) -> Option<Secret> {
    let Logins::Carried(config) = &submission.logins else { return None };
    Some(Secret {
        metadata: metadata(submission, &submission.logins_secret()?),
        data: Some([(DOCKER_CONFIG_KEY.to_owned(), ByteString(config.reveal().to_vec()))].into()),
        immutable: Some(true),
        type_: Some("kubernetes.io/dockerconfigjson".to_owned()),
        string_data: None,
    })
}

fn job(submission: &Submission) -> Job {
    let mut metadata = metadata(submission, &submission.name);
    if let Some(queue) = &submission.queue {
        metadata.labels.get_or_insert_default().insert(QUEUE_LABEL.to_owned(), queue.clone());
    }
    let image = (IMAGE_ANNOTATION.to_owned(), submission.image.clone());
    let token = (TOKEN_ANNOTATION.to_owned(), submission.token.clone());
    let context =
        submission.pushed_context.iter().map(|context| (CONTEXT_ANNOTATION.to_owned(), context.clone()));
    let own = submission.annotations.clone().into_iter();
    metadata.annotations = Some(own.chain(context).chain([image, token]).collect());
    metadata.labels.get_or_insert_default().extend(submission.labels.clone());
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels()), ..ObjectMeta::default() }),
        spec: Some(pod_spec(submission)),
    };
    // A pod that had to make room for others has not failed: it counts for nothing and is replaced.
    let evicted = PodFailurePolicyRule {
        action: "Ignore".to_owned(),
        on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
            type_: "DisruptionTarget".to_owned(),
            status: "True".to_owned(),
        }]),
        on_exit_codes: None,
    };
    Job {
        metadata,
        spec: Some(JobSpec {
            backoff_limit: Some(submission.backoff_limit.try_into().unwrap_or(i32::MAX)),
            active_deadline_seconds: Some(submission.deadline.as_secs().try_into().unwrap_or(i64::MAX)),
            ttl_seconds_after_finished: Some(submission.keep.as_secs().try_into().unwrap_or(i32::MAX)),
            pod_failure_policy: Some(PodFailurePolicy { rules: vec![evicted] }),
            template,
            ..JobSpec::default()
        }),
        status: None,
    }
}

fn pod_spec(submission: &Submission) -> PodSpec {
    let (volumes, mounts): (Vec<Volume>, Vec<VolumeMount>) = volumes(submission).into_iter().unzip();
    let secrets = submission.pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() });
    let secrets: Vec<_> = secrets.collect();
    let tolerations: Vec<_> = submission
        .tolerations
        .iter()
        .map(|toleration| PodToleration {
            key: Some(toleration.key.clone()),
            operator: Some(if toleration.value.is_some() { "Equal" } else { "Exists" }.to_owned()),
            value: toleration.value.clone(),
            effect: toleration.effect.clone(),
            toleration_seconds: None,
        })
        .collect();
    PodSpec {
        restart_policy: Some("Never".to_owned()),
        // A build asks the cluster for nothing.
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        service_account_name: submission.service_account.clone(),
        image_pull_secrets: Some(secrets).filter(|secrets| !secrets.is_empty()),
        node_selector: Some(submission.node_selector.clone()).filter(|selector| !selector.is_empty()),
        tolerations: Some(tolerations).filter(|tolerations| !tolerations.is_empty()),
        security_context: submission.security.of_pod(),
        containers: vec![container(submission, mounts)],
        volumes: Some(volumes),
        ..PodSpec::default()
    }
}

fn container(submission: &Submission, mounts: Vec<VolumeMount>) -> Container {
    let variable = |name: &str, value: &str| EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        value_from: None,
    };
    let logins = submission.logins_secret().map(|name| EnvVar {
        name: "DOCKER_AUTH_CONFIG".to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name,
                key: DOCKER_CONFIG_KEY.to_owned(),
                optional: MUST_BE_THERE,
            }),
            ..EnvVarSource::default()
        }),
    });
    let env = [variable("COOPER_STORE", STORE), variable("DOCKER_CONFIG", DOCKER_CONFIG)];
    let env = env.into_iter().chain(logins).collect();
    let quantities = |limits: &Limits| {
        let limits = limits.0.iter();
        Some(limits.map(|(name, value)| (name.clone(), Quantity(value.clone()))).collect())
    };
    Container {
        name: BUILD_CONTAINER.to_owned(),
        image: Some(submission.builder.clone()),
        command: Some(vec!["/kaniko/cooper".to_owned(), "build".to_owned()]),
        args: Some(submission.arguments.clone()),
        env: Some(env),
        resources: Some(ResourceRequirements {
            requests: quantities(&submission.requests),
            limits: quantities(&submission.limits),
            claims: None,
        }),
        security_context: Some(submission.security.of_container()),
        // What is killed leaves no message: the end of its log is better than nothing.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

fn volumes(submission: &Submission) -> Vec<(Volume, VolumeMount)> {
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    let volume = |name: &str| Volume { name: name.to_owned(), ..Volume::default() };
    let store = match &submission.store {
        // Overlay mounts need a file system that is not an overlay itself.
        Store::Empty { size } => Volume {
            empty_dir: Some(EmptyDirVolumeSource { size_limit: Some(Quantity(size.clone())), medium: None }),
            ..volume("store")
        },
        Store::Claim(claim) => Volume {
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim.clone(),
                read_only: None,
            }),
            ..volume("store")
        },
    };
    let mut volumes = vec![(store, mount("store", STORE, false))];
    if !submission.files.is_empty() {
        let source = ConfigMapVolumeSource {
            name: submission.belongings(),
            optional: MUST_BE_THERE,
            ..ConfigMapVolumeSource::default()
        };
        volumes.push((Volume { config_map: Some(source), ..volume("files") }, mount("files", FILES, true)));
    }
    if !submission.secrets.is_empty() {
        let source = SecretVolumeSource {
            secret_name: Some(submission.belongings()),
            optional: MUST_BE_THERE,
            ..SecretVolumeSource::default()
        };
        volumes.push((Volume { secret: Some(source), ..volume("secrets") }, mount("secrets", SECRETS, true)));
    }
    if let Some(name) = &submission.registry_secret {
        let item =
            KeyToPath { key: DOCKER_CONFIG_KEY.to_owned(), path: "config.json".to_owned(), mode: None };
        let source = SecretVolumeSource {
            secret_name: Some(name.clone()),
            optional: MUST_BE_THERE,
            items: Some(vec![item]),
            ..SecretVolumeSource::default()
        };
        volumes.push((
            Volume { secret: Some(source), ..volume("credentials") },
            mount("credentials", DOCKER_CONFIG, true),
        ));
    }
    volumes
}

#[cfg(test)]
mod tests;
