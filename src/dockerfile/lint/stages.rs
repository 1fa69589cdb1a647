//! `FROM` lines.

use std::collections::{BTreeMap, BTreeSet};

use super::BaseImage;
use super::globals::{Base, Globals};
use crate::dockerfile::ast::{Dockerfile, Stage};
use crate::dockerfile::code::Code;
use crate::dockerfile::diagnostic::Diagnostic;
use crate::dockerfile::directive::Escape;
use crate::dockerfile::expand::expand;
use crate::dockerfile::suggest::did_you_mean;
use crate::dockerfile::word::Word;
use crate::image::{ImageRef, Platform};

pub(super) fn check(
    dockerfile: &Dockerfile,
    globals: &Globals,
    bases: &BTreeMap<usize, BaseImage>,
    found: &mut Vec<Diagnostic>,
) {
    let escape = dockerfile.directives.escape;
    let mut names = BTreeSet::new();
    for stage in &dockerfile.stages {
        if let Some(name) = &stage.name {
            check_name(name, !names.insert(name.text.as_str()), found);
        }
        check_arguments(&stage.base, globals, escape, found);
        check_default(stage, globals, found);
        if let Some(platform) = &stage.platform {
            check_arguments(platform, globals, escape, found);
            check_platform(platform, stage, found);
        }
        if let (Base::Image(name), Some(image)) = (globals.base(stage), bases.get(&stage.index)) {
            check_image(name, image, stage, found);
        }
    }
}

/// `InvalidBaseImagePlatform`. Variants and versions are not compared: machines run those of their elders.
fn check_image(name: &str, image: &BaseImage, stage: &Stage, found: &mut Vec<Diagnostic>) {
    let (actual, wanted) = (&image.platform, &image.wanted);
    if actual.os() != wanted.os() || actual.architecture() != wanted.architecture() {
        let message = format!(
            "Base image {name} was pulled with platform \"{actual}\", expected \"{wanted}\" for current build"
        );
        found.push(
            Diagnostic::warning(Code::InvalidBaseImagePlatform, message, stage.base.span)
                .advise("programs of another platform do not run here; is there an image for this one?"),
        );
    }
}

/// `ReservedStageName` and `DuplicateStageName`.
fn check_name(name: &Word, taken: bool, found: &mut Vec<Diagnostic>) {
    if ["context", "scratch"].contains(&name.text.as_str()) {
        let message = format!("Stage name should not use the same name as reserved stage {:?}", name.text);
        found.push(
            Diagnostic::warning(Code::ReservedStageName, message, name.span)
                .advise("call it something else: `FROM` and `--from` mean something of their own by it"),
        );
    }
    if taken {
        let message = format!("Duplicate stage name {:?}, stage names should be unique", name.text);
        found.push(
            Diagnostic::warning(Code::DuplicateStageName, message, name.span)
                .advise("call it something else: what comes after means the last one"),
        );
    }
}

/// `UndefinedArgInFrom`.
fn check_arguments(word: &Word, globals: &Globals, escape: Escape, found: &mut Vec<Diagnostic>) {
    let Ok(expanded) = expand(word, &globals.values, escape) else { return };
    for undefined in expanded.undefined {
        if globals.declared.contains(&undefined.name) {
            continue;
        }
        let known: Vec<&str> = globals.declared.iter().map(String::as_str).collect();
        let hint = did_you_mean(&undefined.name, &known);
        let message = format!("FROM argument '{}' is not declared{hint}", undefined.name);
        found.push(
            Diagnostic::warning(Code::UndefinedArgInFrom, message, undefined.span)
                .advise("declare it with ARG before the first FROM"),
        );
    }
}

/// `InvalidDefaultArgInFrom`.
fn check_default(stage: &Stage, globals: &Globals, found: &mut Vec<Diagnostic>) {
    if let Base::Image(name) = globals.default_base(stage)
        && !name.starts_with("oci-layout://")
        && name.parse::<ImageRef>().is_err()
    {
        let message =
            format!("Default value for ARG {} results in empty or invalid base image name", stage.base.text);
        found.push(Diagnostic::warning(Code::InvalidDefaultArgInFrom, message, stage.base.span).advise(
            "give the ARG before the first FROM a default, so that the build works without --build-arg",
        ));
    }
}

/// `RedundantTargetPlatform` and `FromPlatformFlagConstDisallowed`.
fn check_platform(platform: &Word, stage: &Stage, found: &mut Vec<Diagnostic>) {
    let text = platform.text.as_str();
    if ["$TARGETPLATFORM", "${TARGETPLATFORM}"].contains(&text) {
        let message = format!(
            "Setting platform to predefined {text} in FROM is redundant as this is the default behavior"
        );
        found.push(
            Diagnostic::warning(Code::RedundantTargetPlatform, message, platform.span)
                .advise("leave the flag out"),
        );
    }
    let Ok(constant) = text.parse::<Platform>() else { return };
    // A stage that says in its name what it is for is meant so.
    let named = |part: &str| stage.name.as_ref().is_some_and(|name| name.text.contains(part));
    if !named(constant.os()) && !named(constant.architecture()) {
        let message = format!("FROM --platform flag should not use constant value {text:?}");
        found.push(
            Diagnostic::warning(Code::FromPlatformFlagConstDisallowed, message, platform.span)
                .advise("leave it to `--platform` on the command line, or use $BUILDPLATFORM"),
        );
    }
}
