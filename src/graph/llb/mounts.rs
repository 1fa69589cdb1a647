//! `RUN --mount` as mounts of an exec operation.

use bollard_buildkit_proto::pb;

use super::definition::Output;
use super::run::special;
use super::{EMPTY, SKIP_OUTPUT, Writer, copy};
use crate::dockerfile::{CacheMount, CacheSharing, Mount};
use crate::graph::RunMount;

/// The mounts of one exec operation, with the files they show.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    /// Those with files or directories of BuildKit's, which it wants sorted by target.
    files: Vec<(Option<Output>, pb::Mount)>,
    /// Secrets, then agents.
    secrets: Vec<pb::Mount>,
    agents: Vec<pb::Mount>,
}

impl Mounts {
    pub(super) fn add(&mut self, target: &str, files: Option<Output>, mount: pb::Mount) {
        self.files.push((files, pb::Mount { dest: target.to_owned(), ..mount }));
    }

    /// The inputs, and the mounts that number them.
    pub(super) fn finish(mut self) -> (Vec<Output>, Vec<pb::Mount>) {
        self.files.sort_by(|(_, a), (_, b)| a.dest.cmp(&b.dest));
        let mut inputs: Vec<Output> = Vec::new();
        let mut mounts = Vec::new();
        for (files, mount) in self.files {
            let position = files.map(|files| {
                inputs.iter().position(|known| *known == files).unwrap_or_else(|| {
                    inputs.push(files);
                    inputs.len() - 1
                })
            });
            let input = position.and_then(|position| i64::try_from(position).ok()).unwrap_or(EMPTY);
            mounts.push(pb::Mount { input, ..mount });
        }
        mounts.extend(self.secrets);
        mounts.extend(self.agents);
        (inputs, mounts)
    }
}

impl Writer<'_> {
    pub(super) fn mount(&mut self, mount: &RunMount, mounts: &mut Mounts) {
        let files = mount.from.as_ref().and_then(|from| self.files(from));
        match &mount.mount {
            Mount::Bind(bind) => {
                let selector = selector(&bind.source);
                let shown = pb::Mount {
                    selector,
                    readonly: !bind.read_write,
                    output: SKIP_OUTPUT,
                    ..pb::Mount::default()
                };
                mounts.add(&bind.target, files, shown);
            }
            Mount::Cache(cache) => {
                let (files, shown) = self.cache(cache, files);
                mounts.add(&cache.target, files, shown);
            }
            Mount::Tmpfs(tmpfs) => {
                let size = tmpfs.size.and_then(|size| i64::try_from(size).ok()).unwrap_or_default();
                let options = Some(pb::TmpfsOpt { size });
                let shown = pb::Mount { tmpfs_opt: options, ..special(pb::MountType::Tmpfs) };
                mounts.add(&tmpfs.target, None, shown);
            }
            Mount::Secret(secret) => {
                let Some(target) = &secret.target else { return };
                let options = pb::SecretOpt {
                    id: secret.id.clone(),
                    uid: secret.uid,
                    gid: secret.gid,
                    mode: secret.mode,
                    optional: !secret.required,
                };
                mounts.secrets.push(pb::Mount {
                    dest: target.clone(),
                    secret_opt: Some(options),
                    ..special(pb::MountType::Secret)
                });
            }
            Mount::Ssh(agent) => {
                let options = pb::SshOpt {
                    id: agent.id.clone(),
                    uid: agent.uid,
                    gid: agent.gid,
                    mode: agent.mode,
                    optional: !agent.required,
                };
                mounts.agents.push(pb::Mount {
                    dest: agent.target.clone().unwrap_or_default(),
                    ssh_opt: Some(options),
                    ..special(pb::MountType::Ssh)
                });
            }
        }
    }

    /// A cache; one with an owner or a mode begins as a directory that has them.
    fn cache(&mut self, cache: &CacheMount, files: Option<Output>) -> (Option<Output>, pb::Mount) {
        let sharing = match cache.sharing {
            CacheSharing::Shared => pb::CacheSharingOpt::Shared,
            CacheSharing::Private => pb::CacheSharingOpt::Private,
            CacheSharing::Locked => pb::CacheSharingOpt::Locked,
        };
        // The frontend puts the namespace, by default an empty one, and a slash before every id; the plan has put
        // the namespace there already if there is one.
        let id = cache.id.as_deref().unwrap_or(&cache.target);
        let shown = pb::Mount {
            selector: selector(&cache.source),
            readonly: cache.read_only,
            cache_opt: Some(pb::CacheOpt { id: id.to_owned(), sharing: sharing.into() }),
            ..special(pb::MountType::Cache)
        };
        let has_owner = cache.uid.is_some() || cache.gid.is_some() || cache.mode.is_some();
        if !shown.selector.is_empty() || !has_owner {
            return (files, shown);
        }
        let made = self.cache_directory(cache, files);
        (Some(made), pb::Mount { selector: "/cache".to_owned(), ..shown })
    }

    fn cache_directory(&mut self, cache: &CacheMount, files: Option<Output>) -> Output {
        let inputs: Vec<Output> = files.into_iter().collect();
        let base = if inputs.is_empty() { EMPTY } else { 0 };
        let (uid, gid) = (cache.uid.unwrap_or_default(), cache.gid.unwrap_or_default());
        let action = pb::file_action::Action::Mkdir(pb::FileActionMkDir {
            path: "/cache".to_owned(),
            mode: cache.mode.and_then(|mode| i32::try_from(mode).ok()).unwrap_or(0o755),
            make_parents: false,
            owner: Some(copy::owner(&format!("{uid}:{gid}"), base)),
            timestamp: copy::NO_TIME,
        });
        let action = pb::FileAction { input: base, secondary_input: EMPTY, output: 0, action: Some(action) };
        let op = pb::op::Op::File(pb::FileOp { actions: vec![action] });
        self.definition.vertex(&inputs, op, "[internal] setting cache mount permissions", None)
    }
}

/// The part of some files that a mount shows; empty for all.
fn selector(source: &str) -> String {
    let path = copy::absolute(source);
    if path == "/" { String::new() } else { path }
}
