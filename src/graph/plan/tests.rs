//! Plans of small Dockerfiles.

use std::collections::BTreeMap;

use super::*;
use crate::dockerfile::{Source, parse};
use crate::image::ImageConfig;

/// What besides the Dockerfile takes part.
#[derive(Default)]
struct Given<'a> {
    build_args: &'a [(&'a str, &'a str)],
    target: Option<&'a str>,
    labels: &'a [(&'a str, &'a str)],
    contexts: &'a [(&'a str, NamedContext)],
    for_given_platform: bool,
    has_no_layers: bool,
    /// Config of every image.
    base: ImageConfig,
}

impl Given<'_> {
    /// Plans, with an image of this config for every name.
    fn plan(&self, text: &str) -> Result<Graph, Diagnostics> {
        let dockerfile = parse(Source::new("Dockerfile", text))?;
        let owned = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let platform: Platform = "linux/arm64".parse().unwrap();
        let build_platform: Platform = "linux/amd64".parse().unwrap();
        let contexts =
            self.contexts.iter().map(|(name, context)| ((*name).to_owned(), context.clone())).collect();
        let layer = crate::image::Layer {
            diff_id: crate::layer::DiffId(crate::layer::Digest::of("layer")),
            descriptor: crate::image::Descriptor::new(
                crate::image::MediaType::ImageLayerGzip,
                crate::layer::Digest::of("blob"),
                1,
            ),
        };
        let layers = if self.has_no_layers { Vec::new() } else { vec![layer] };
        let base = Base { config: self.base.clone(), layers, is_docker: false };
        let mut bases = Bases::new();
        for _ in 0..10 {
            let planned = plan(PlanRequest {
                dockerfile: &dockerfile,
                build_args: &owned(self.build_args),
                target: self.target,
                numbered_targets: false,
                platform: &platform,
                is_platform_given: self.for_given_platform,
                build_platform: &build_platform,
                contexts: &contexts,
                labels: &owned(self.labels),
                bases: &bases,
            })?;
            match planned {
                Planned::Graph(graph) => return Ok(*graph),
                Planned::Needs(needs) => bases.extend(needs.into_iter().map(|need| (need, base.clone()))),
            }
        }
        panic!("the same image is asked for again and again");
    }

    fn refused(&self, text: &str) -> String {
        self.plan(text).unwrap_err().render(false)
    }
}

fn names(graph: &Graph) -> Vec<&str> {
    graph.steps.iter().map(|step| step.name.as_str()).collect()
}

fn environment(graph: &Graph) -> Vec<&str> {
    graph.config.config.env.iter().map(String::as_str).filter(|pair| !pair.starts_with("PATH=")).collect()
}

#[test]
fn only_what_is_needed_is_planned() {
    let text = "FROM base AS one\nRUN one\nFROM base AS unused\nRUN unused\nFROM base AS two\n\
                COPY --from=one /a /a\nRUN two\nFROM base\nRUN last\n";
    for (target, expected) in [
        (None, vec!["[stage-3 1/2] FROM base", "[stage-3 2/2] RUN last"]),
        (Some("one"), vec!["[one 1/2] FROM base", "[one 2/2] RUN one"]),
        (
            Some("TWO"),
            vec![
                "[one 1/2] FROM base",
                "[one 2/2] RUN one",
                "[two 1/3] FROM base",
                "[two 2/3] COPY --from=one /a /a",
                "[two 3/3] RUN two",
            ],
        ),
    ] {
        let graph = Given { target, ..Given::default() }.plan(text).unwrap();
        let expected: Vec<&str> = expected;
        // The only planned stage of an unnamed target needs no name in front.
        let found: Vec<String> = names(&graph)
            .iter()
            .map(|name| name.replace("[1/2]", "[stage-3 1/2]").replace("[2/2]", "[stage-3 2/2]"))
            .collect();
        assert_eq!(found, expected, "{target:?}");
    }
}

#[test]
fn inputs_come_before_what_uses_them() {
    let graph = Given::default()
        .plan("FROM a AS one\nRUN x\nFROM b AS two\nCOPY --from=one /x /x\nFROM two\nCOPY --from=c /y /y\n")
        .unwrap();
    for (position, step) in graph.steps.iter().enumerate() {
        if let Some(parent) = step.operation.parent() {
            assert!(parent.position() < position);
        }
        if let Operation::Copy(copy) = &step.operation {
            for source in &copy.sources {
                if let crate::graph::CopyInput::Files { from: crate::graph::Files::Step(from), .. } = source {
                    assert!(from.position() < position);
                }
            }
        }
    }
    assert_eq!(graph.chain(graph.result).len(), 3);
}

#[test]
fn arguments_and_environment() {
    for (text, build_args, expected) in [
        // 1.6: --build-arg > own default > (bare ARG) global value > predefined
        ("FROM a\nARG A=1\nENV B=$A\n", &[][..], vec!["B=1"]),
        ("FROM a\nARG A=1\nENV B=$A\n", &[("A", "2")][..], vec!["B=2"]),
        ("ARG A=0\nFROM a\nARG A=1\nENV B=$A\n", &[], vec!["B=1"]),
        ("ARG A=0\nFROM a\nARG A\nENV B=$A\n", &[], vec!["B=0"]),
        ("ARG A=0\nFROM a\nENV B=$A\n", &[], vec!["B="]),
        ("FROM a\nARG A\nENV B=${A-unset}\n", &[], vec!["B=unset"]),
        ("FROM a\nARG A=\nENV B=${A-unset}\n", &[], vec!["B="]),
        // Scope: into stages FROM that stage, not into others
        ("FROM a AS one\nARG A=1\nFROM one\nENV B=$A\n", &[], vec!["B=1"]),
        ("FROM a AS one\nARG A=1\nFROM a\nENV B=$A\n", &[], vec!["B="]),
        // 1.14: an ARG after an ENV wins for expansion, though the image keeps the ENV's value
        ("FROM a\nENV A=1\nARG A=2\nENV B=$A\n", &[], vec!["A=1", "B=2"]),
        ("FROM a\nARG A=2\nENV A=1\nENV B=$A\n", &[("A", "3")], vec!["A=1", "B=1"]),
        // Default expression is not evaluated when overridden
        ("FROM a\nARG A=${N:?none}\nENV B=$A\n", &[("A", "3")], vec!["B=3"]),
        // Sequential within one ARG instruction, unlike ENV
        ("FROM a\nARG A=1 C=$A\nENV B=$C D=$B\n", &[], vec!["B=1", "D="]),
        // Platform arguments
        (
            "FROM a\nARG TARGETARCH\nARG BUILDPLATFORM\nENV B=$TARGETARCH,$BUILDPLATFORM\n",
            &[],
            vec!["B=arm64,linux/amd64"],
        ),
        ("FROM a\nENV B=<$TARGETARCH>\n", &[], vec!["B=<>"]),
        ("FROM a\nARG TARGETARCH\nENV B=$TARGETARCH\n", &[("TARGETARCH", "x")], vec!["B=x"]),
        ("FROM a\nARG TARGETARCH=mine\nENV B=$TARGETARCH\n", &[], vec!["B=mine"]),
        ("FROM a\nARG TARGETSTAGE\nENV B=$TARGETSTAGE\n", &[], vec!["B=default"]),
        ("FROM a AS c\nARG TARGETSTAGE\nENV B=$TARGETSTAGE\n", &[], vec!["B=c"]),
    ] {
        let graph = Given { build_args, ..Given::default() }.plan(text).unwrap();
        assert_eq!(environment(&graph), expected, "{text}");
    }
}

#[test]
fn a_run_sees_arguments_and_proxies() {
    let build_args = &[("A", "1"), ("https_proxy", "p"), ("UNUSED", "x")];
    let graph = Given { build_args, ..Given::default() }
        .plan("FROM a\nENV E=1\nARG A\nARG BUILDKIT_SBOM_SCAN_STAGE=1 SOURCE_DATE_EPOCH=7\nWORKDIR /w\nUSER app\nRUN x\n")
        .unwrap();
    let Operation::Run(run) = &graph.step(graph.result).operation else { panic!("{:?}", names(&graph)) };
    let pairs = |pairs: &[(String, String)]| -> Vec<String> {
        pairs
            .iter()
            .filter(|(name, _)| name != "PATH")
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    };
    assert_eq!(pairs(&run.env), ["E=1", "A=1", "SOURCE_DATE_EPOCH=7"]);
    assert_eq!(pairs(&run.proxies), ["HTTPS_PROXY=p", "https_proxy=p"]);
    assert_eq!((run.cwd.as_str(), run.user.as_str()), ("/w", "app"));
    assert_eq!(run.argv, ["/bin/sh", "-c", "x"]);
}

#[test]
fn labels_of_the_request_come_last() {
    let given = Given { labels: &[("a", "9")], ..Given::default() };
    let graph = given.plan("FROM a\nLABEL a=1 b=2\n").unwrap();
    let labels: Vec<String> =
        graph.config.config.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(labels, ["a=9", "b=2"]);
}

#[test]
fn triggers_fire_once() {
    let mut base = ImageConfig::for_platform(&"linux/arm64".parse().unwrap());
    base.config.on_build = vec!["ENV A=1".to_owned(), "RUN trigger $A".to_owned()];
    let given = Given { base, ..Given::default() };
    let graph = given.plan("FROM a AS one\nENV B=$A\nFROM one\nRUN own\n").unwrap();
    assert_eq!(environment(&graph), ["A=1", "B=1"]);
    assert!(graph.config.config.on_build.is_empty());
    assert_eq!(graph.chain(graph.result).len(), 3);

    let mut base = ImageConfig::for_platform(&"linux/arm64".parse().unwrap());
    base.config.on_build = vec!["CPOY a b".to_owned()];
    let said = Given { base, ..Given::default() }.refused("FROM a\n");
    assert!(said.contains("unknown instruction: CPOY") && said.contains("ONBUILD trigger of a"), "{said}");
}

#[test]
fn named_contexts_stand_for_images() {
    let contexts = &[
        ("docker.io/library/alpine:latest", NamedContext::Image("mirror.invalid/alpine:3".parse().unwrap())),
        ("files", NamedContext::Directory("/files".into())),
    ];
    let given = Given { contexts, ..Given::default() };
    let graph = given.plan("FROM alpine\nCOPY --from=files a /a\n").unwrap();
    let Operation::Base(request) = &graph.steps[0].operation else { panic!("{:?}", names(&graph)) };
    assert_eq!(request.source.to_string(), "mirror.invalid/alpine:3");
    let Operation::Copy(copy) = &graph.steps[1].operation else { panic!("{:?}", names(&graph)) };
    assert!(matches!(
        &copy.sources[0],
        crate::graph::CopyInput::Files { from: crate::graph::Files::Context(Some(name)), .. } if name == "files"
    ));
    let graph = given.plan("FROM files\nRUN x\n").unwrap();
    let Operation::Copy(copy) = &graph.steps[1].operation else { panic!("{:?}", names(&graph)) };
    assert!(matches!(
        &copy.sources[0],
        crate::graph::CopyInput::Files { from: crate::graph::Files::Context(Some(name)), .. } if name == "files"
    ));
    assert_eq!(graph.history.len(), 1, "only RUN has an entry: {:?}", graph.history);
}

#[test]
fn errors_say_what_users_know_and_where() {
    for (text, target, expected, place) in [
        (
            "FROM a AS build\nFROM a AS test\n",
            Some("biuld"),
            "target stage \"biuld\" could not be found (did you mean build?)",
            "",
        ),
        ("FROM a AS build\n", Some("zzz"), "target stage \"zzz\" could not be found", ""),
        (
            "FROM a AS one\nCOPY --from=two /x /x\nFROM a AS two\n",
            Some("one"),
            "cannot copy from stage \"two\", it needs to be defined before current stage \"one\"",
            "Dockerfile:2:13",
        ),
        (
            "FROM a\nCOPY --from=two /x /x\nFROM a AS two\nFROM a\nCOPY --from=0 /x /x\n",
            None,
            "cannot copy from stage \"two\", it needs to be defined before current stage \"stage-0\"",
            "Dockerfile:2:13",
        ),
        (
            "FROM a AS one\nCOPY --from=one /x /x\n",
            None,
            "circular dependency detected on stage: one",
            "Dockerfile:2:13",
        ),
        (
            "FROM a\nCOPY --from=0 /x /x\n",
            None,
            "cannot copy from stage 0: it is this one",
            "Dockerfile:2:13",
        ),
        ("FROM a\nFROM a\nCOPY --from=7 /x /x\n", None, "invalid stage index 7", "Dockerfile:3:13"),
        ("FROM ${NONE}\n", None, "base name (${NONE}) should not be blank", "Dockerfile:1:6"),
        ("FROM Upper/Case\n", None, "Upper/Case", "Dockerfile:1:6"),
        ("FROM --platform=$NONE a\n", None, "empty platform value from expression $NONE", "Dockerfile:1:17"),
        ("FROM --platform=a/b/c/d a\n", None, "a/b/c/d", "Dockerfile:1:17"),
        (
            "FROM a AS buld\nFROM a\nCOPY --from=Buld! /x /x\n",
            None,
            "did you mean the stage `buld`?",
            "Dockerfile:3:13",
        ),
        (
            "FROM a AS one\nRUN --mount=from=two,target=/x x\nFROM a AS two\n",
            Some("one"),
            "cannot mount from stage \"two\" to",
            "Dockerfile:2:",
        ),
        ("FROM a\nENV A=${B:?none}\n", None, "B: none", "Dockerfile:2:"),
        (
            "FROM a\nCOPY --chmod=8 a b\n",
            None,
            "invalid chmod parameter: '8'. it should be octal string and between 0 and 07777",
            "Dockerfile:2:14",
        ),
        ("FROM a\nEXPOSE $P\nEXPOSE x\n", None, "invalid containerPort: x", "Dockerfile:3:8"),
        ("FROM a\nVOLUME $V\n", None, "VOLUME specified can not be an empty string", "Dockerfile:2:8"),
        (
            "FROM a\nCOPY git@example.invalid:x y\n",
            None,
            "source can't be a git ref for COPY",
            "Dockerfile:2:6",
        ),
    ] {
        let said = Given { target, ..Given::default() }.refused(text);
        assert!(said.contains(expected) && said.contains(place), "{text}\n{expected} {place}\n{said}");
    }
}

#[test]
fn a_mistake_is_shown_where_it_was_made() {
    let mut base = ImageConfig::for_platform(&"linux/arm64".parse().unwrap());
    base.config.on_build = vec!["COPY --from=maker /x /x".to_owned()];
    let given = Given { base, ..Given::default() };
    // Only the trigger needs the stage, whose mistake is in the Dockerfile all the same.
    let said = given.refused("FROM scratch AS maker\nCOPY --chmod=9$NONE a /x\nFROM a\n");
    assert!(said.contains("Dockerfile:2:14") && said.contains("COPY --chmod=9$NONE a /x"), "{said}");
    // The trigger's own mistakes are in its text.
    let mut base = ImageConfig::for_platform(&"linux/arm64".parse().unwrap());
    base.config.on_build = vec!["COPY --chmod=8$NONE a b".to_owned()];
    let said = Given { base, ..Given::default() }.refused("FROM a\n");
    assert!(said.contains("ONBUILD trigger of a:1:14"), "{said}");
}

#[test]
fn a_mount_is_from_a_name() {
    let said = Given::default().refused("FROM a\nFROM a\nRUN --mount=from=0,target=/x true\n");
    assert!(said.contains("a mount is from a stage with a name or from an image, not from `0`"), "{said}");
    assert!(said.contains("Dockerfile:3:18") && said.contains("FROM … AS name"), "{said}");
}

#[test]
fn platforms() {
    let platforms = |given: &Given<'_>, text: &str| -> (Vec<String>, String) {
        let graph = given.plan(text).unwrap();
        let of = |step: &Step| match &step.operation {
            Operation::Base(request) => Some(format!("{} {}", request.source, request.platform)),
            _ => None,
        };
        let mut bases: Vec<String> = graph.steps.iter().filter_map(of).collect();
        bases.sort();
        (bases, graph.config.platform().to_string())
    };
    // What is built for is linux/arm64, what is built on is linux/amd64; all bases are for linux/amd64.
    let base = ImageConfig::for_platform(&"linux/amd64".parse().unwrap());
    let implied = Given { base: base.clone(), ..Given::default() };
    let given = Given { base, for_given_platform: true, ..Given::default() };
    for (text, bases, platform) in [
        ("FROM a:1\n", vec!["docker.io/library/a:1 linux/arm64"], "linux/arm64"),
        // Files of images are the target's, also in a stage for another platform.
        (
            "FROM --platform=$BUILDPLATFORM a:1\nCOPY --from=b:1 /x /x\nRUN --mount=from=c:1,target=/c true\n",
            vec![
                "docker.io/library/a:1 linux/amd64",
                "docker.io/library/b:1 linux/arm64",
                "docker.io/library/c:1 linux/arm64",
            ],
            "linux/arm64",
        ),
        ("FROM --platform=linux/arm/v6 scratch\n", vec![], "linux/arm64"),
        ("FROM --platform=$TARGETPLATFORM a:1\n", vec!["docker.io/library/a:1 linux/arm64"], "linux/arm64"),
    ] {
        let (bases, platform): (Vec<&str>, &str) = (bases, platform);
        let found = platforms(&given, text);
        assert_eq!(
            (found.0.iter().map(String::as_str).collect(), found.1.as_str()),
            (bases, platform),
            "{text}"
        );
    }
    // Nobody asked for a platform: the image is for what its base is for.
    assert_eq!(platforms(&implied, "FROM a\n").1, "linux/amd64");
    assert_eq!(platforms(&implied, "FROM scratch\n").1, "linux/arm64");
}

#[test]
fn an_image_without_layers_keeps_its_history() {
    let mut base = ImageConfig::for_platform(&"linux/arm64".parse().unwrap());
    base.config.set_env("A", "1");
    let history =
        crate::image::History { created_by: "ENV A=1".to_owned(), empty_layer: true, ..Default::default() };
    base.history = vec![history];
    let given = Given { base, has_no_layers: true, ..Given::default() };
    let graph = given.plan("FROM a\nENV B=$A\n").unwrap();
    assert!(matches!(graph.steps[0].operation, Operation::Scratch));
    assert_eq!((environment(&graph), graph.history.len()), (vec!["A=1", "B=1"], 2));
}

#[test]
fn a_tower_of_stages() {
    let stage = |number| format!("FROM s{number} AS s{}\nCOPY --from=s{number} /x /x\n", number + 1);
    let text: Vec<String> =
        std::iter::once("FROM a AS s0\n".to_owned()).chain((0..1999).map(stage)).collect();
    let graph = Given::default().plan(&text.concat()).unwrap();
    assert_eq!(graph.chain(graph.result).len(), 2000);
}

#[test]
fn a_named_context_beats_a_stage() {
    let contexts = &[("one", NamedContext::Image("other.invalid/one:1".parse().unwrap()))];
    let given = Given { contexts, ..Given::default() };
    let graph = given.plan("FROM a AS one\nRUN x\nFROM scratch\nCOPY --from=one /x /x\n").unwrap();
    let bases: Vec<String> = graph
        .steps
        .iter()
        .filter_map(|step| match &step.operation {
            Operation::Base(request) => Some(request.source.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(bases, ["other.invalid/one:1"]);
}
