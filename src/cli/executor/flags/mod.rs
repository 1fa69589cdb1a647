//! The table of flags.

pub(super) mod build;
pub(super) mod registry;
pub(super) mod warmer;

use super::flag::Flag;

/// The flags about logging, which every command has.
pub(crate) const LOGGING: &[&Flag] = &[&build::VERBOSITY, &build::LOG_FORMAT, &build::LOG_TIMESTAMP];

/// The flags of `executor`.
pub(crate) fn executor() -> Vec<&'static Flag> {
    [LOGGING, build::FLAGS, registry::FLAGS, build::OLD_NAMES].concat()
}

/// The flags of `executor push`.
pub(crate) fn push() -> Vec<&'static Flag> {
    let own: &[&Flag] = &[
        &build::DESTINATION,
        &build::SKIP_PUSH_PERMISSION_CHECK,
        &build::DIGEST_FILE,
        &build::IMAGE_NAME_WITH_DIGEST_FILE,
        &build::IMAGE_NAME_TAG_WITH_DIGEST_FILE,
    ];
    [LOGGING, own, registry::FLAGS].concat()
}

/// The flags of `executor login`.
pub(crate) fn login() -> Vec<&'static Flag> {
    [LOGGING, registry::LOGIN].concat()
}

/// The flags of `warmer`.
pub(crate) fn warmer() -> Vec<&'static Flag> {
    [LOGGING, warmer::FLAGS, registry::PULL].concat()
}
