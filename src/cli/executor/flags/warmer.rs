//! Flags that only the warmer has, or that mean something else to it.

use crate::cli::executor::flag::{Flag, Kind};

pub(crate) static IMAGE: Flag = Flag::of(Kind::Texts, "image", "Image to fetch. Can be repeated").short('i');
pub(crate) static CACHE_DIR: Flag =
    Flag::text("cache-dir", "Directory in which images are kept").short('c').default("/cache");
pub(crate) static FORCE: Flag = Flag::switch("force", "Fetch images that are there already")
    .short('f')
    .accepted("the registry is always asked which image it is; layers are kept by their digest");
pub(crate) static CACHE_TTL: Flag =
    Flag::of(Kind::Duration, "cache-ttl", "How long a kept image is good for, like 6h")
        .default("336h0m0s")
        .accepted("as `--force`: what is kept is never stale");
pub(crate) static CUSTOM_PLATFORM: Flag =
    Flag::text("customPlatform", "Platform of the images, if not that of this machine");
pub(crate) static DOCKERFILE: Flag =
    Flag::text("dockerfile", "Dockerfile whose base images are fetched").short('d');
pub(crate) static BUILD_ARG: Flag =
    Flag::of(Kind::Texts, "build-arg", "Value of an ARG that the Dockerfile's FROM use. Can be repeated");

pub(crate) const FLAGS: &[&Flag] =
    &[&IMAGE, &CACHE_DIR, &FORCE, &CACHE_TTL, &CUSTOM_PLATFORM, &DOCKERFILE, &BUILD_ARG];
