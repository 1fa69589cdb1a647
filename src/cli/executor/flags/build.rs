//! Flags of the executor that are not about registries.

use crate::cli::executor::flag::{Flag, Kind, Variable, Visibility};

pub(crate) static VERBOSITY: Flag =
    Flag::text("verbosity", "How much is logged: trace, debug, info, warn, error, fatal or panic")
        .short('v')
        .default("info");
pub(crate) static LOG_FORMAT: Flag =
    Flag::text("log-format", "How it is logged: text, color or json").default("color");
pub(crate) static LOG_TIMESTAMP: Flag = Flag::switch("log-timestamp", "Log the time of day");

pub(crate) static FORCE: Flag = Flag::switch("force", "Build outside of a container")
    .accepted("no file of the machine is touched, so building is safe everywhere");
pub(crate) static DOCKERFILE: Flag =
    Flag::text("dockerfile", "Path or URL of the Dockerfile").short('f').default("Dockerfile");
pub(crate) static CONTEXT: Flag = Flag::text(
    "context",
    "Directory with the files that COPY and ADD see, or dir://, tar://, gs://, s3://, git:// or https:// of them",
)
.short('c')
.default("/workspace/");
pub(crate) static CONTEXT_SUB_PATH: Flag =
    Flag::text("context-sub-path", "Directory within the context that is used instead of the whole")
        .better("Kaniko ignores it for plain directories");
pub(crate) static BUCKET: Flag = Flag::text("bucket", "Bucket with the context as an archive")
    .short('b')
    .visibility(Visibility::Hidden)
    .note("the old form of `--context gs://…`");
pub(crate) static DESTINATION: Flag =
    Flag::of(Kind::Texts, "destination", "Name under which the image is pushed. Can be repeated").short('d');
pub(crate) static SNAPSHOT_MODE: Flag =
    Flag::text("snapshot-mode", "How changes were looked for: full, redo or time")
        .default("full")
        .accepted("changes are found by one method that is fast and misses none; the value is checked");
pub(crate) static CUSTOM_PLATFORM: Flag =
    Flag::text("custom-platform", "Platform of the image, if not that of this machine");
pub(crate) static BUILD_ARG: Flag = Flag::of(
    Kind::Texts,
    "build-arg",
    "Value of an ARG; without a value, that of the environment variable. Can be repeated",
);
pub(crate) static IMAGE_FS_EXTRACT_RETRY: Flag =
    Flag::number("image-fs-extract-retry", "How often fetching a base's layers that failed is tried again")
        .note("a download that breaks off goes on where it broke, in any case");
pub(crate) static KANIKO_DIR: Flag =
    Flag::text("kaniko-dir", "Directory for what is only needed while building")
        .default("/kaniko")
        .variable("KANIKO_DIR", Variable::Default)
        .note("the program stays where it is. If it is not given, `COOPER_STORE` names the place");
pub(crate) static TAR_PATH: Flag = Flag::text("tar-path", "Write an archive for `docker load` to this file");
pub(crate) static SINGLE_SNAPSHOT: Flag =
    Flag::switch("single-snapshot", "Make one layer of all that the Dockerfile adds to the base");
pub(crate) static REPRODUCIBLE: Flag = Flag::switch("reproducible", "Take the present out of the image")
    .better("times of new files are 1970-01-01, or SOURCE_DATE_EPOCH; the base's layers stay as they are, and nothing is held in memory");
pub(crate) static TARGET: Flag = Flag::of(
    Kind::List,
    "target",
    "Stage to build; of several the first is the image, and the others are built too",
);
pub(crate) static NO_PUSH: Flag =
    Flag::switch("no-push", "Do not push the image").variable("KANIKO_NO_PUSH", Variable::Overrides);
pub(crate) static NO_PUSH_CACHE: Flag = Flag::switch("no-push-cache", "Do not push results to the cache");
pub(crate) static CACHE_REPO: Flag = Flag::text(
    "cache-repo",
    "Repository for the cache, or oci:DIRECTORY; `cache` below the first destination if not given",
)
.note("in Cooper's own format; what other builders have put there is passed over");
pub(crate) static CACHE_DIR: Flag = Flag::text("cache-dir", "Directory of a local cache")
    .default("/cache")
    .better("with `--cache` it holds results of RUN and COPY too, not only what the warmer has put there");
pub(crate) static CACHE: Flag = Flag::switch("cache", "Use and keep results of steps");
pub(crate) static CACHE_TTL: Flag =
    Flag::of(Kind::Duration, "cache-ttl", "How long a cached result is good for, like 6h")
        .default("336h0m0s");
pub(crate) static CACHE_COPY_LAYERS: Flag = Flag::switch("cache-copy-layers", "Cache COPY and ADD").better(
    "in the local store a COPY whose files are the same is always found again; it is about the repository",
);
pub(crate) static CACHE_RUN_LAYERS: Flag = Flag::switch("cache-run-layers", "Cache RUN").default("true");
pub(crate) static COMPRESSED_CACHING: Flag =
    Flag::switch("compressed-caching", "Keep compressed layers in memory")
        .default("true")
        .accepted("layers are compressed once, as they are written, and never held in memory");
pub(crate) static DIGEST_FILE: Flag =
    Flag::text("digest-file", "Write the image's digest to this file, or PUT it to this https:// URL");
pub(crate) static IMAGE_NAME_WITH_DIGEST_FILE: Flag =
    Flag::text("image-name-with-digest-file", "Write repository@digest to this file, a line per destination")
        .better("never holds tags; Kaniko writes them here too when both files are asked for");
pub(crate) static IMAGE_NAME_TAG_WITH_DIGEST_FILE: Flag = Flag::text(
    "image-name-tag-with-digest-file",
    "Write repository:tag@digest to this file, a line per destination",
);
pub(crate) static OCI_LAYOUT_PATH: Flag =
    Flag::text("oci-layout-path", "Write the image to this directory as an OCI layout");
pub(crate) static COMPRESSION: Flag =
    Flag::of(Kind::Compression, "compression", "How layers are compressed: gzip or zstd");
pub(crate) static COMPRESSION_LEVEL: Flag =
    Flag::number("compression-level", "How hard they are compressed: 1 to 9, for zstd to 22").default("-1");
pub(crate) static IMAGE_FORMAT: Flag = Flag::of(
    Kind::Format,
    "image-format",
    "Media types of the image: docker or oci; the base's if not given",
)
.fork();
pub(crate) static CLEANUP: Flag =
    Flag::switch("cleanup", "Remove what the build has left in the Kaniko directory")
        .variable("KANIKO_CLEANUP", Variable::Default)
        .better("nothing else is ever in the way of another build in the same container");
pub(crate) static PRE_CLEANUP: Flag = Flag::switch("pre-cleanup", "Empty the file system before the build")
    .variable("KANIKO_PRE_CLEANUP", Variable::Default)
    .fork()
    .accepted("a build never begins with the container's own files");
pub(crate) static PRESERVE_CONTEXT: Flag =
    Flag::switch("preserve-context", "Restore the file system after the build")
        .variable("KANIKO_PRESERVE_CONTEXT", Variable::Default)
        .fork()
        .accepted("the container's own files are not changed");
pub(crate) static MATERIALIZE: Flag =
    Flag::switch("materialize", "Leave the image's files in the container after the build")
        .fork()
        .accepted("the container's own files are not changed, which is warned of; `cooper build -o type=local,dest=DIR` writes an image's files");
pub(crate) static IGNORE_VAR_RUN: Flag = Flag::switch("ignore-var-run", "Leave out /var/run")
    .default("true")
    .accepted("mounts of the pod below /var/run are never seen, and what the image has there is its own");
pub(crate) static IGNORE_PATH: Flag =
    Flag::of(Kind::Texts, "ignore-path", "Leave this path out of new layers. Can be repeated");
pub(crate) static LABEL: Flag =
    Flag::of(Kind::Texts, "label", "Label of the image: key=value. Can be repeated");
pub(crate) static ANNOTATION: Flag =
    Flag::of(Kind::Pairs, "annotation", "Annotation of the image's manifest: key=value. Can be repeated")
        .fork();
pub(crate) static SECRET: Flag = Flag::of(
    Kind::Secret,
    "secret",
    "Secret for RUN --mount=type=secret: id=ID[,src=FILE|,env=VARIABLE][,type=file|env]. Can be repeated",
)
.fork();
pub(crate) static GIT: Flag = Flag::of(
    Kind::Git,
    "git",
    "How a git context is fetched: branch=, single-branch=, depth=, recurse-submodules=, insecure-skip-tls=. Can be repeated",
)
.default("branch=,single-branch=false,depth=0,recurse-submodules=false,insecure-skip-tls=false");
pub(crate) static USE_NEW_RUN: Flag = Flag::switch("use-new-run", "Look for changes of RUN by time")
    .accepted("changes are found by one method that is fast and misses none");
pub(crate) static SKIP_PUSH_PERMISSION_CHECK: Flag =
    Flag::switch("skip-push-permission-check", "Do not find out before the build whether pushing is allowed");
pub(crate) static DRYRUN: Flag = Flag::switch("dryrun", "Print what would be done").fork();
pub(crate) static SKIP_UNUSED_STAGES: Flag =
    Flag::switch("skip-unused-stages", "Build only the stages that the image needs")
        .accepted("that is always so, as in BuildKit and the fork; name others with `--target`");
pub(crate) static FORCE_BUILD_METADATA: Flag =
    Flag::switch("force-build-metadata", "Make layers for instructions without files")
        .accepted("such instructions are in the history, and make no layers");
pub(crate) static WHITELIST_VAR_RUN: Flag = Flag::switch("whitelist-var-run", "Leave out /var/run")
    .default("true")
    .visibility(Visibility::Deprecated("Please use ignore-var-run instead."))
    .accepted("the old name of `--ignore-var-run`");
pub(crate) static AZURE_CONTAINER_REGISTRY_CONFIG: Flag =
    Flag::text("azure-container-registry-config", "Path of a configuration of Azure Container Registry")
        .visibility(Visibility::Hidden)
        .accepted("comes from a library of Kaniko's, which does not use it; logins are found by themselves");
pub(crate) static ISOLATION: Flag =
    Flag::text("isolation", "How RUN is confined: auto, overlay, userns, in-place or chroot")
        .default("auto")
        .cooper();

pub(crate) static TERMINATION_LOG: Flag = Flag::text(
    "termination-log",
    "Write to this file what came of the build, as JSON; a pod's termination message if not given",
)
.cooper();

pub(crate) static SNAPSHOT_MODE_OLD: Flag =
    Flag::text("snapshotMode", "This flag is deprecated. Please use '--snapshot-mode'.")
        .visibility(Visibility::Renamed(&SNAPSHOT_MODE))
        .accepted("the old name of `--snapshot-mode`");
pub(crate) static CUSTOM_PLATFORM_OLD: Flag =
    Flag::text("customPlatform", "This flag is deprecated. Please use '--custom-platform'.")
        .visibility(Visibility::Renamed(&CUSTOM_PLATFORM))
        .note("the old name of `--custom-platform`");
pub(crate) static TAR_PATH_OLD: Flag =
    Flag::text("tarPath", "This flag is deprecated. Please use '--tar-path'.")
        .visibility(Visibility::Renamed(&TAR_PATH))
        .note("the old name of `--tar-path`");

pub(crate) const OLD_NAMES: &[&Flag] =
    &[&SNAPSHOT_MODE_OLD, &CUSTOM_PLATFORM_OLD, &TAR_PATH_OLD, &WHITELIST_VAR_RUN];

pub(crate) const FLAGS: &[&Flag] = &[
    &FORCE,
    &DOCKERFILE,
    &CONTEXT,
    &CONTEXT_SUB_PATH,
    &BUCKET,
    &DESTINATION,
    &SNAPSHOT_MODE,
    &CUSTOM_PLATFORM,
    &BUILD_ARG,
    &IMAGE_FS_EXTRACT_RETRY,
    &KANIKO_DIR,
    &TAR_PATH,
    &SINGLE_SNAPSHOT,
    &REPRODUCIBLE,
    &TARGET,
    &NO_PUSH,
    &NO_PUSH_CACHE,
    &CACHE_REPO,
    &CACHE_DIR,
    &DIGEST_FILE,
    &IMAGE_NAME_WITH_DIGEST_FILE,
    &IMAGE_NAME_TAG_WITH_DIGEST_FILE,
    &OCI_LAYOUT_PATH,
    &COMPRESSION,
    &IMAGE_FORMAT,
    &COMPRESSION_LEVEL,
    &CACHE,
    &COMPRESSED_CACHING,
    &PRE_CLEANUP,
    &CLEANUP,
    &CACHE_TTL,
    &IGNORE_VAR_RUN,
    &LABEL,
    &USE_NEW_RUN,
    &GIT,
    &CACHE_COPY_LAYERS,
    &CACHE_RUN_LAYERS,
    &IGNORE_PATH,
    &SKIP_PUSH_PERMISSION_CHECK,
    &ANNOTATION,
    &PRESERVE_CONTEXT,
    &MATERIALIZE,
    &SECRET,
    &DRYRUN,
    &SKIP_UNUSED_STAGES,
    &FORCE_BUILD_METADATA,
    &AZURE_CONTAINER_REGISTRY_CONFIG,
    &ISOLATION,
    &TERMINATION_LOG,
];
