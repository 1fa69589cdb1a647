//! The security context of the pod: the best isolation of RUN that a namespace admits. See `docs/isolation.md`.

use std::fmt;
use std::str::FromStr;

use k8s_openapi::api::core::v1::{
    AppArmorProfile, Capabilities, PodSecurityContext, SeccompProfile, SecurityContext,
};

/// What a namespace admits, by the names of the Pod Security Standards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PodSecurity {
    /// Everything.
    #[default]
    Privileged,
    /// No profile may be `Unconfined`; root may be.
    Baseline,
    /// Neither root nor capabilities: builds without RUN.
    Restricted,
}

/// A text is no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there are privileged, baseline and restricted")]
pub struct ParsePodSecurityError;

/// The user of a pod that may not be root. Anybody but root will do.
const USER: i64 = 1000;

impl PodSecurity {
    /// The container's.
    pub(super) fn of_container(self) -> SecurityContext {
        let profile = |kind: &str| SeccompProfile { type_: kind.to_owned(), ..SeccompProfile::default() };
        match self {
            // User namespaces, and mounts in them: RuntimeDefault refuses the first, AppArmor's default the second.
            Self::Privileged => SecurityContext {
                run_as_user: Some(0),
                run_as_non_root: Some(false),
                seccomp_profile: Some(profile("Unconfined")),
                app_armor_profile: Some(AppArmorProfile {
                    type_: "Unconfined".to_owned(),
                    ..AppArmorProfile::default()
                }),
                ..SecurityContext::default()
            },
            // A profile that is not named may be none, and that is better than RuntimeDefault.
            Self::Baseline => SecurityContext {
                run_as_user: Some(0),
                run_as_non_root: Some(false),
                ..SecurityContext::default()
            },
            Self::Restricted => SecurityContext {
                run_as_user: Some(USER),
                run_as_group: Some(USER),
                run_as_non_root: Some(true),
                allow_privilege_escalation: Some(false),
                capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
                seccomp_profile: Some(profile("RuntimeDefault")),
                ..SecurityContext::default()
            },
        }
    }

    /// The pod's.
    pub(super) fn of_pod(self) -> Option<PodSecurityContext> {
        // Volumes belong to root unless they are given to a group.
        let context = PodSecurityContext { fs_group: Some(USER), ..PodSecurityContext::default() };
        (self == Self::Restricted).then_some(context)
    }
}

impl fmt::Display for PodSecurity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        })
    }
}

impl FromStr for PodSecurity {
    type Err = ParsePodSecurityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "privileged" => Ok(Self::Privileged),
            "baseline" => Ok(Self::Baseline),
            "restricted" => Ok(Self::Restricted),
            _ => Err(ParsePodSecurityError),
        }
    }
}
