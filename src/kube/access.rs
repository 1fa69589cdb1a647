//! What the user may do, asked before anything is done.

use std::collections::BTreeMap;
use std::fmt;

use futures_util::future::try_join_all;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::{Api, PostParams};

use super::cluster::{Cluster, ask};
use super::error::{ApiError, KubeError};
use super::rollout::Workload;

/// Something that a Role can allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    verb: &'static str,
}

/// A set of permissions.
#[derive(Debug, Clone, Default)]
pub struct Permissions(Vec<Permission>);

impl Permissions {
    /// To see how a Job gets on.
    pub fn to_follow() -> Self {
        Self::default()
            .allow("batch", "jobs", &["list", "watch"])
            .allow("", "pods", &["list", "watch"])
            .allow("", "pods/log", &["get"])
            .allow("", "events", &["list", "watch"])
    }

    /// To create a Job and what belongs to it.
    pub fn to_create(has_files: bool, has_secrets: bool) -> Self {
        let jobs = Self::default().allow("batch", "jobs", &["create", "delete"]);
        let files = if has_files { jobs.allow("", "configmaps", &["create"]) } else { jobs };
        if has_secrets { files.allow("", "secrets", &["create"]) } else { files }
    }

    /// To change the image of a Deployment or what is like one, and wait for it.
    pub fn to_roll_out(workload: Workload) -> Self {
        let verbs = &["get", "list", "patch", "watch"];
        Self::default().allow("apps", workload.plural(), verbs).allow("", "pods", &["list"])
    }

    /// To keep what is known of builds in their Jobs.
    pub fn to_keep_records() -> Self {
        Self::default().allow("batch", "jobs", &["get", "list", "watch", "patch"])
    }

    /// To list Jobs.
    pub fn to_list() -> Self {
        Self::default().allow("batch", "jobs", &["list"])
    }

    /// To delete Jobs.
    pub fn to_delete() -> Self {
        Self::default().allow("batch", "jobs", &["list", "delete"])
    }

    /// These and those.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    fn allow(mut self, group: &'static str, resource: &'static str, verbs: &[&'static str]) -> Self {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let permission = |verb: &&'static str| Permission { group, resource, subresource, verb };
        self.0.extend(verbs.iter().map(permission));
        self
    }

    /// Fails with all that are missing. Who may not even ask finds out later.
    pub async fn require(mut self, cluster: &Cluster) -> Result<(), KubeError> {
        self.0.sort_unstable();
        self.0.dedup();
        let reviews: Api<SelfSubjectAccessReview> = Api::all(cluster.client().clone());
        let review = async |permission: Permission| {
            let attributes = ResourceAttributes {
                namespace: Some(cluster.namespace().to_owned()),
                verb: Some(permission.verb.to_owned()),
                group: Some(permission.group.to_owned()),
                resource: Some(permission.resource.to_owned()),
                subresource: Some(permission.subresource.to_owned()).filter(|name| !name.is_empty()),
                ..ResourceAttributes::default()
            };
            let spec = SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                ..SelfSubjectAccessReviewSpec::default()
            };
            let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
            let parameters = PostParams::default();
            match ask(|| reviews.create(&parameters, &review)).await {
                Ok(review) => {
                    let is_allowed = review.status.is_some_and(|status| status.allowed);
                    Ok((!is_allowed).then_some(permission))
                }
                Err(ApiError::Refused { code: 403, .. }) => Ok(None),
                Err(source) => Err(KubeError::Api {
                    action: format!("ask the cluster at {} what is permitted", cluster.address()),
                    source,
                }),
            }
        };
        let permissions: Vec<Permission> =
            try_join_all(self.0.into_iter().map(review)).await?.into_iter().flatten().collect();
        if permissions.is_empty() {
            return Ok(());
        }
        Err(KubeError::Missing { namespace: cluster.namespace().to_owned(), permissions })
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, verb, .. } = self;
        write!(f, "{verb} {}", self.path())?;
        if group.is_empty() { Ok(()) } else { write!(f, ".{group}") }
    }
}

impl Permission {
    fn path(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

/// Group, resource and verbs of the rules that allow all of these.
pub(super) fn rules(permissions: &[Permission]) -> Vec<(&'static str, String, Vec<&'static str>)> {
    let mut rules: BTreeMap<(&'static str, String), Vec<&'static str>> = BTreeMap::new();
    for permission in permissions {
        rules.entry((permission.group, permission.path())).or_default().push(permission.verb);
    }
    rules.into_iter().map(|((group, resource), verbs)| (group, resource, verbs)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_the_rules_to_add() {
        let permissions = Permissions::to_follow().and(Permissions::to_create(true, false));
        let error = KubeError::Missing { namespace: "ci".to_owned(), permissions: permissions.0 };
        let text = error.to_string();
        for part in [
            "in the namespace `ci`: list jobs.batch, watch jobs.batch, list pods, watch pods, get pods/log, ",
            "- apiGroups: [\"batch\"]\n    resources: [\"jobs\"]\n    verbs: [\"list\", \"watch\", \"create\", \"delete\"]",
            "- apiGroups: [\"\"]\n    resources: [\"pods/log\"]\n    verbs: [\"get\"]",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
