//! What the definitions hold, and that a second implementation of the encoding writes the same.

use std::collections::BTreeMap;

use bollard_buildkit_proto::pb;
use prost::Message as _;

use super::*;
use crate::dockerfile::{Source, parse};
use crate::graph::{Bases, NamedContext, PlanRequest, Planned, plan};
use crate::image::{Descriptor, ImageConfig, Layer, MediaType};
use crate::layer::{DiffId, Digest};

fn graph(dockerfile: &str, contexts: &BTreeMap<String, NamedContext>) -> Graph {
    let dockerfile = parse(Source::new("Dockerfile", dockerfile)).unwrap();
    let platform: Platform = "linux/arm64".parse().unwrap();
    let mut bases = Bases::new();
    loop {
        let planned = plan(PlanRequest {
            dockerfile: &dockerfile,
            build_args: &BTreeMap::new(),
            numbered_targets: false,
            target: None,
            platform: &platform,
            is_platform_given: true,
            build_platform: &platform,
            contexts,
            labels: &BTreeMap::new(),
            bases: &bases,
        });
        match planned.unwrap() {
            Planned::Graph(graph) => return *graph,
            Planned::Needs(needs) => bases.extend(needs.into_iter().map(|need| {
                let config = ImageConfig::for_platform(&need.platform);
                // Without any layer it would be an empty file system.
                let descriptor = Descriptor::new(MediaType::ImageLayerGzip, Digest::of("blob"), 1);
                let layer = Layer { diff_id: DiffId(Digest::of("layer")), descriptor };
                (need, crate::graph::Base { config, layers: vec![layer], is_docker: false })
            })),
        }
    }
}

fn try_written(dockerfile: &str) -> Result<Llb, LlbError> {
    let ignored = BTreeMap::from([(None, vec!["*.log".to_owned(), "!keep.log".to_owned()])]);
    let options = LlbOptions {
        platform: &"linux/arm64".parse().unwrap(),
        ignored: &ignored,
        extra_hosts: &[("registry.local".to_owned(), "10.0.0.1".parse().unwrap())],
        use_cache: true,
    };
    llb(&graph(dockerfile, &BTreeMap::new()), &options)
}

fn definition(dockerfile: &str) -> pb::Definition {
    let written = try_written(dockerfile).unwrap();
    assert_eq!(written, try_written(dockerfile).unwrap(), "equal graphs give equal bytes");
    let definition = pb::Definition::decode(written.definition.as_slice()).unwrap();
    check(&definition);
    definition
}

/// Every input is the digest of an operation that comes before; the last operation only names the result.
fn check(definition: &pb::Definition) {
    let ops = ops(definition);
    let mut known: Vec<String> = Vec::new();
    for (op, bytes) in ops.iter().zip(&definition.def) {
        assert!(op.inputs.iter().all(|input| known.contains(&input.digest) && input.index == 0), "{op:?}");
        known.push(Digest::of(bytes).to_string());
    }
    let last = ops.last().unwrap();
    assert!(last.op.is_none() && last.inputs.len() == 1, "{last:?}");
    known.pop();
    assert_eq!(
        definition.metadata.keys().cloned().collect::<std::collections::BTreeSet<_>>(),
        known.into_iter().collect()
    );
}

fn ops(definition: &pb::Definition) -> Vec<pb::Op> {
    definition.def.iter().map(|bytes| pb::Op::decode(bytes.as_slice()).unwrap()).collect()
}

fn execs(definition: &pb::Definition) -> Vec<pb::ExecOp> {
    let ops = ops(definition).into_iter();
    ops.filter_map(|op| match op.op {
        Some(pb::op::Op::Exec(exec)) => Some(exec),
        _ => None,
    })
    .collect()
}

fn sources(definition: &pb::Definition) -> Vec<pb::SourceOp> {
    let ops = ops(definition).into_iter();
    ops.filter_map(|op| match op.op {
        Some(pb::op::Op::Source(source)) => Some(source),
        _ => None,
    })
    .collect()
}

fn copies(definition: &pb::Definition) -> Vec<(pb::FileAction, pb::FileActionCopy)> {
    let ops = ops(definition).into_iter();
    ops.filter_map(|op| match op.op {
        Some(pb::op::Op::File(file)) => Some(file.actions),
        _ => None,
    })
    .flatten()
    .filter_map(|action| match action.action.clone() {
        Some(pb::file_action::Action::Copy(copy)) => Some((action, copy)),
        _ => None,
    })
    .collect()
}

#[test]
fn the_sample_app() {
    let definition = definition(
        "FROM node:20-alpine\nWORKDIR /app\nCOPY package.json server.js ./\n\
         RUN addgroup -g 1001 app\nUSER app\nCMD [\"node\", \"server.js\"]\n",
    );
    let identifiers: Vec<String> = sources(&definition).into_iter().map(|source| source.identifier).collect();
    assert_eq!(identifiers, ["docker-image://docker.io/library/node:20-alpine", "local://context"]);
    let copied = copies(&definition);
    let [(first, from), (second, _)] = copied.as_slice() else { panic!("{copied:?}") };
    assert_eq!((from.src.as_str(), from.dest.as_str(), from.mode), ("/package.json", "/app/", -1));
    // inputs: 0 the parent, 1 the context; the second copy works on the first one's result, which is number 2
    assert_eq!((first.input, first.secondary_input, first.output), (0, 1, -1));
    assert_eq!((second.input, second.secondary_input, second.output), (2, 1, 0));
    let [exec] = execs(&definition).try_into().unwrap();
    let meta = exec.meta.unwrap();
    assert_eq!(meta.args, ["/bin/sh", "-c", "addgroup -g 1001 app"]);
    assert_eq!(meta.cwd, "/app");
    assert_eq!(meta.extra_hosts[0].ip, "10.0.0.1");
    assert_eq!(exec.mounts.len(), 1);
    let platforms = ops(&definition).into_iter().filter_map(|op| op.platform);
    assert!(platforms.into_iter().all(|platform| platform.architecture == "arm64"));
}

#[test]
fn contexts_leave_out_what_is_ignored() {
    let definition = definition("FROM scratch\nCOPY . /\n");
    let [source] = sources(&definition).try_into().unwrap();
    assert_eq!(source.attrs["local.excludepatterns"], r#"["*.log","!keep.log"]"#);
}

#[test]
fn places_lead_to_the_line() {
    let definition = definition("FROM scratch\n\nCOPY a /\n");
    let source = definition.source.unwrap();
    assert_eq!(source.infos[0].filename, "Dockerfile");
    let lines: Vec<i32> = source
        .locations
        .values()
        .flat_map(|locations| &locations.locations)
        .filter_map(|location| Some(location.ranges.first()?.start?.line))
        .collect();
    assert_eq!(lines, [3]);
}

#[test]
fn flags_of_copy() {
    let definition = definition(
        "FROM node AS base\nFROM scratch\nCOPY --from=base --chown=node:7 --chmod=u+x,g=o a b /x/\n\
         COPY --parents --exclude=*.md src/./*/a /y/\nADD --checksum=sha256:\
         1111111111111111111111111111111111111111111111111111111111111111 https://x.org/p/f.tar /z\n\
         COPY <<EOF /hello\nhi\nEOF\n",
    );
    let copied = copies(&definition);
    let (action, first) = &copied[0];
    assert_eq!((action.input, action.secondary_input), (EMPTY, 0));
    assert_eq!((first.mode_str.as_str(), first.mode), ("u+x,g=o", 0));
    let owner = first.owner.clone().unwrap();
    let name = pb::NamedUserOpt { name: "node".to_owned(), input: EMPTY };
    assert_eq!(owner.user.unwrap().user, Some(pb::user_opt::User::ByName(name)));
    assert_eq!(owner.group.unwrap().user, Some(pb::user_opt::User::ById(7)));
    let (_, parents) = &copied[2];
    assert_eq!(
        (parents.src.as_str(), parents.include_patterns.as_slice()),
        ("/src", ["*/a".to_owned()].as_slice())
    );
    assert_eq!(parents.exclude_patterns, ["*.md"]);
    assert!(parents.required_paths.is_empty());
    let url = sources(&definition).into_iter().find(|source| source.identifier.starts_with("https")).unwrap();
    assert_eq!((url.attrs["http.filename"].as_str(), copied[3].1.src.as_str()), ("f.tar", "/f.tar"));
    assert_eq!(copied[4].1.src, "/EOF");
}

#[test]
fn a_linked_copy_is_merged() {
    let definition = definition("FROM node\nCOPY --link a /a\n");
    let ops = ops(&definition);
    let merge = ops.iter().find(|op| matches!(op.op, Some(pb::op::Op::Merge(_)))).unwrap();
    assert_eq!(merge.inputs.len(), 2);
    assert_eq!(copies(&definition)[0].0.input, EMPTY);
}

#[test]
fn mounts_of_run() {
    let definition = definition(
        "FROM node AS tools\nFROM alpine\nRUN --network=none \
         --mount=type=bind,from=tools,source=/opt,target=/opt \
         --mount=type=cache,target=/root/.npm,uid=5,sharing=locked \
         --mount=type=tmpfs,target=/tmp,size=1m --mount=type=secret,id=token,env=TOKEN \
         --mount=type=ssh true\n",
    );
    let [exec] = execs(&definition).try_into().unwrap();
    assert_eq!(exec.network, i32::from(pb::NetMode::None));
    let targets: Vec<&str> = exec.mounts.iter().map(|mount| mount.dest.as_str()).collect();
    assert_eq!(targets, ["/", "/opt", "/root/.npm", "/tmp", "/run/buildkit/ssh_agent.0"]);
    let [root, bind, cache, tmpfs, agent] = exec.mounts.as_slice() else { panic!("{:?}", exec.mounts) };
    assert_eq!((root.input, root.output), (0, 0));
    assert_eq!((bind.input, bind.selector.as_str(), bind.readonly, bind.output), (1, "/opt", true, -1));
    let options = cache.cache_opt.clone().unwrap();
    assert_eq!((options.id.as_str(), options.sharing), ("/root/.npm", pb::CacheSharingOpt::Locked.into()));
    assert_eq!((cache.selector.as_str(), cache.input), ("/cache", 2));
    assert_eq!(tmpfs.tmpfs_opt.unwrap().size, 1 << 20);
    assert_eq!(agent.ssh_opt.clone().unwrap().id, "default");
    assert_eq!(exec.secretenv[0].name, "TOKEN");
    let env = exec.meta.unwrap().env;
    assert!(env.contains(&"SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0".to_owned()), "{env:?}");
}

#[test]
fn what_cannot_be_written_is_an_error() {
    assert!(matches!(try_written("FROM scratch\nLABEL a=b\n"), Err(LlbError::Empty)));
    let contexts = BTreeMap::from([("base".to_owned(), NamedContext::Layout("oci-layout://x:1".to_owned()))]);
    let options = LlbOptions {
        platform: &"linux/arm64".parse().unwrap(),
        ignored: &BTreeMap::new(),
        extra_hosts: &[],
        use_cache: true,
    };
    let error = llb(&graph("FROM base\nCOPY a /\n", &contexts), &options).unwrap_err();
    assert!(matches!(error, LlbError::Layout { .. }), "{error:?}");
}

/// `buildkit-llb` is another implementation of the encoding. It is older than platforms and some of the fields, so
/// that what it has to say is compared: sources, actions, commands and mounts.
#[test]
fn another_implementation_says_the_same() {
    use buildkit_llb::prelude::*;

    let image = Source::image("docker.io/library/node:20-alpine");
    let context = Source::local("context");
    let copy = FileSystem::sequence().append(
        FileSystem::copy()
            .from(LayerPath::Other(context.output(), "/server.js"))
            .to(OutputIdx(0), LayerPath::Other(image.output(), "/app/")),
    );
    let run = Command::run("/bin/sh").args(["-c", "true"]).cwd("/").mount(Mount::Layer(
        OutputIdx(0),
        copy.output(0),
        "/",
    ));
    let mut bytes = Vec::new();
    Terminal::with(run.output(0)).write_definition(&mut bytes).unwrap();
    let theirs = pb::Definition::decode(bytes.as_slice()).unwrap();
    let ours = definition("FROM node:20-alpine\nCOPY server.js /app/\nRUN true\n");

    let identifiers = |definition: &pb::Definition| {
        let mut all: Vec<String> = sources(definition).into_iter().map(|source| source.identifier).collect();
        all.sort();
        all
    };
    assert_eq!(identifiers(&ours), identifiers(&theirs));
    // The inputs may come in any order: what is compared is what they stand for.
    let shape = |definition: &pb::Definition| {
        let [(action, copy)] = copies(definition).try_into().unwrap();
        let all = ops(definition);
        let is_copy = |op: &&pb::Op| matches!(op.op, Some(pb::op::Op::File(_)));
        let inputs = &all.iter().find(is_copy).unwrap().inputs;
        let identifier = |index: i64| {
            let digest = &inputs[usize::try_from(index).unwrap()].digest;
            let vertex =
                definition.def.iter().position(|bytes| Digest::of(bytes).to_string() == *digest).unwrap();
            match &all[vertex].op {
                Some(pb::op::Op::Source(source)) => source.identifier.clone(),
                other => panic!("{other:?}"),
            }
        };
        let (below, from) = (identifier(action.input), identifier(action.secondary_input));
        (below, from, action.output, copy.src, copy.dest, copy.mode, copy.timestamp)
    };
    assert_eq!(shape(&ours), shape(&theirs));
    let command = |definition: &pb::Definition| {
        let [exec] = execs(definition).try_into().unwrap();
        let meta = exec.meta.unwrap();
        let mount = exec.mounts[0].clone();
        // It says "root" where BuildKit's frontend and we leave the user out, which means the same.
        (meta.args, meta.cwd, mount.input, mount.dest, mount.output, mount.readonly, exec.mounts.len())
    };
    assert_eq!(command(&ours), command(&theirs));
}
