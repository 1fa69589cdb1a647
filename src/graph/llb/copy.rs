//! COPY and ADD as file operations.

use std::path::Path;
use std::sync::Arc;

use bollard_buildkit_proto::pb;
use bollard_buildkit_proto::pb::file_action::Action;

use super::definition::Output;
use super::{EMPTY, SKIP_OUTPUT, Writer};
use crate::dockerfile::Chmod;
use crate::graph::{CopyInput, CopyStep, Located, Step};
use crate::rootfs::clean;

/// No time is given: files get that of the copying.
pub(super) const NO_TIME: i64 = -1;

impl Writer<'_> {
    pub(super) fn copy(&mut self, copy: &CopyStep, step: &Step) -> Output {
        let parent = self.output(copy.parent);
        // As in BuildKit, a mode cannot be set on a layer of its own.
        let on_top = copy.link && copy.mode.is_none();
        let below = if on_top { None } else { parent.clone() };
        let mut inputs: Vec<Output> = below.into_iter().collect();
        let base = if inputs.is_empty() { EMPTY } else { 0 };
        let actions: Vec<(i64, pb::FileActionCopy)> =
            copy.sources.iter().map(|source| self.copied(source, copy, step, base, &mut inputs)).collect();
        let op = pb::op::Op::File(pb::FileOp { actions: chained(actions, base, inputs.len()) });
        let made = self.definition.vertex(&inputs, op, &step.name, Some(&step.place));
        match parent {
            Some(parent) if on_top => self.merged(&[parent, made], step),
            _ => made,
        }
    }

    fn merged(&mut self, inputs: &[Output], step: &Step) -> Output {
        let merged = (0..).zip(inputs).map(|(input, _)| pb::MergeInput { input }).collect();
        let op = pb::op::Op::Merge(pb::MergeOp { inputs: merged });
        self.definition.vertex(inputs, op, &format!("LINK {}", step.name), Some(&step.place))
    }

    /// One source: the position of its files among the inputs, and what is copied of them.
    fn copied(
        &mut self,
        source: &CopyInput,
        copy: &CopyStep,
        step: &Step,
        base: i64,
        inputs: &mut Vec<Output>,
    ) -> (i64, pb::FileActionCopy) {
        let action = begin(copy, base);
        match source {
            CopyInput::Files { from, pattern } => {
                let files = self.files(from);
                let action = pb::FileActionCopy {
                    follow_symlink: true,
                    dir_copy_contents: true,
                    attempt_unpack_docker_compatibility: copy.unpack_local,
                    allow_wildcard: true,
                    allow_empty_wildcard: true,
                    ..action
                };
                (input(files, inputs), paths(action, &pattern.value, copy.parents))
            }
            CopyInput::Remote { url, checksum, unpack } => {
                let (file, name) = self.remote(&url.value, *checksum, step);
                let action = pb::FileActionCopy {
                    src: format!("/{name}"),
                    attempt_unpack_docker_compatibility: *unpack,
                    ..action
                };
                (input(Some(file), inputs), action)
            }
            CopyInput::Git(repository) => {
                let files = self.repository(&repository.value, step);
                (input(Some(files), inputs), pb::FileActionCopy { src: "/".to_owned(), ..action })
            }
            CopyInput::Inline { name, text } => {
                let file = self.inline(name, text, 0o644);
                (input(Some(file), inputs), pb::FileActionCopy { src: absolute(name), ..action })
            }
        }
    }

    /// A file with this text, alone in a file system.
    pub(super) fn inline(&mut self, name: &str, text: &Arc<[u8]>, mode: i32) -> Output {
        let action = Action::Mkfile(pb::FileActionMkFile {
            path: absolute(name),
            mode,
            data: text.to_vec(),
            owner: None,
            timestamp: NO_TIME,
        });
        let action = pb::FileAction { input: EMPTY, secondary_input: EMPTY, output: 0, action: Some(action) };
        let op = pb::op::Op::File(pb::FileOp { actions: vec![action] });
        self.definition.vertex(&[], op, "[internal] preparing inline document", None)
    }
}

/// What all sources of a COPY have in common.
fn begin(copy: &CopyStep, base: i64) -> pb::FileActionCopy {
    let mut dest = copy.destination.to_string_lossy().into_owned();
    if copy.into_directory && !dest.ends_with('/') {
        dest.push('/');
    }
    let (mode, mode_str) = match &copy.mode {
        None => (-1, String::new()),
        Some(Chmod::Octal(mode)) => (i32::try_from(*mode).unwrap_or(-1), String::new()),
        Some(symbolic @ Chmod::Symbolic(_)) => (0, symbolic.to_string()),
    };
    pb::FileActionCopy {
        dest,
        owner: copy.owner.as_ref().map(|Located { value, .. }| owner(value, base)),
        mode,
        mode_str,
        create_dest_path: true,
        timestamp: NO_TIME,
        exclude_patterns: copy.exclude.iter().map(|pattern| pattern.value.clone()).collect(),
        ..pb::FileActionCopy::default()
    }
}

/// Source and patterns: with `--parents`, all below the pivot `/./` is found by a pattern.
fn paths(action: pb::FileActionCopy, source: &str, parents: bool) -> pb::FileActionCopy {
    if !parents {
        return pb::FileActionCopy { src: absolute(source), ..action };
    }
    let (pivot, pattern) = source.split_once("/./").unwrap_or(("/", source));
    let (src, pattern) = (absolute(pivot), absolute(pattern));
    let has_wildcards = |text: &str| text.contains(['*', '?', '[']);
    let required = format!("{}{pattern}", src.trim_end_matches('/'));
    pb::FileActionCopy {
        required_paths: if has_wildcards(&required) { Vec::new() } else { vec![required] },
        include_patterns: vec![pattern.trim_start_matches('/').to_owned()],
        src,
        ..action
    }
}

/// A path from the root, cleaned by its letters as BuildKit does; `..` leads nowhere.
pub(super) fn absolute(path: &str) -> String {
    format!("/{}", clean(Path::new(path)).display())
}

/// The position of `output` among the inputs of a vertex, which it joins if it is not there.
fn input(output: Option<Output>, inputs: &mut Vec<Output>) -> i64 {
    let Some(output) = output else { return EMPTY };
    let position = inputs.iter().position(|known| *known == output).unwrap_or_else(|| {
        inputs.push(output);
        inputs.len() - 1
    });
    i64::try_from(position).unwrap_or(EMPTY)
}

/// Each action works on what the one before made. Results are numbered behind the inputs, and only the last is kept.
fn chained(actions: Vec<(i64, pb::FileActionCopy)>, base: i64, inputs: usize) -> Vec<pb::FileAction> {
    let inputs = i64::try_from(inputs).unwrap_or_default();
    let last = actions.len().saturating_sub(1);
    let numbered = (0_i64..).zip(actions).enumerate();
    numbered
        .map(|(position, (number, (secondary_input, copy)))| pb::FileAction {
            input: if position == 0 { base } else { inputs + number - 1 },
            secondary_input,
            output: if position == last { 0 } else { SKIP_OUTPUT },
            action: Some(Action::Copy(copy)),
        })
        .collect()
}

/// `USER[:GROUP]`; names are looked up in the file system at `base`.
pub(super) fn owner(text: &str, base: i64) -> pb::ChownOpt {
    let one = |text: &str| {
        let user = text.parse().map_or_else(
            |_| pb::user_opt::User::ByName(pb::NamedUserOpt { name: text.to_owned(), input: base }),
            pb::user_opt::User::ById,
        );
        pb::UserOpt { user: Some(user) }
    };
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    pb::ChownOpt { user: Some(one(user)), group: group.map(one) }
}
