//! `RUN --mount` where nothing can be mounted, and where it can.

use super::bundle::{Pod, SECRET};
use super::has_pods;
use super::variant::{CONTAINERD, CRIO, Seccomp, Variant};

const DOCKERFILE: &str = r#"FROM base AS made
RUN mkdir -p /produced/deep && echo text > /produced/deep/file && chown 1000:50 /produced/deep/file
FROM base
WORKDIR /app
RUN --mount=from=made,source=/produced,target=m --mount=source=Dockerfile,target=/root/it \
    test "$(cat m/deep/file)" = text && test "$(stat -c %u:%g m/deep/file)" = 1000:50 && grep -q made /root/it
RUN --mount=from=made,source=/produced,target=m,rw echo changed > m/deep/file && rm -r m/deep && echo > m/new
RUN --mount=from=made,source=/produced,target=m cp m/deep/file seen
RUN --mount=type=cache,target=/var/cache/apt echo one > /var/cache/apt/log
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked cp /var/cache/apt/log cached
RUN --mount=type=cache,target=/c,uid=1000,mode=0700 stat -c '%u:%g %a' /c > owner
RUN --mount=type=secret,id=token,env=TOKEN test ! -e /run/secrets && test ${#TOKEN} = 21
RUN --mount=type=secret,id=token --mount=type=secret,id=missing,target=/etc/missing \
    test $(wc -c < /run/secrets/token) = 21 && stat -c '%u:%g %a' -L /run/secrets/token > mode \
    && test $(stat -f -c %T /run/secrets/token) = tmpfs && test ! -e /etc/missing
USER app
RUN --mount=type=secret,id=token,uid=1000,target=/app/token test $(wc -c < /app/token) = 21
RUN --mount=type=secret,id=token ! cat /run/secrets/token
RUN --mount=type=tmpfs,target=/mem touch /mem/file
RUN <<'EOF'
#!/bin/busybox sh
echo "$0" > /tmp/script
EOF
"#;

#[test]
fn mounts_show_the_same_in_every_pod() {
    if !has_pods() {
        return;
    }
    for (variant, isolation) in [
        (Variant::root("CRI-O", CRIO, Seccomp::RuntimeDefault), "in-place"),
        (Variant::root("containerd, volume", CONTAINERD, Seccomp::RuntimeDefault).with_volume(), "in-place"),
        (Variant::root("CRI-O, unconfined", CRIO, Seccomp::Unconfined), "userns"),
        (Variant::root("CRI-O, unconfined, volume", CRIO, Seccomp::Unconfined).with_volume(), "overlay"),
    ] {
        let name = variant.name;
        let arguments = vec!["--secret=id=token,env=PASSWORD"];
        let pod = Pod::new(&Variant { arguments, ..variant }, DOCKERFILE);
        let output = pod.run();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}:\n{log}");
        assert_eq!(super::isolation(&log), Some(isolation), "{name}");
        assert!(!log.contains(SECRET), "{name}:\n{log}");
        for place in [pod.upper(), pod.image()] {
            for entry in walkdir::WalkDir::new(place).into_iter().map(Result::unwrap) {
                if entry.file_type().is_file() {
                    let bytes = std::fs::read(entry.path()).unwrap();
                    let found = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
                    assert!(!found, "{name}: {}", entry.path().display());
                }
            }
        }
        let image = tempfile::tempdir().unwrap();
        let rootfs = image.path().join("rootfs");
        let source = format!("oci:{}", pod.image().display());
        let copy = format!("oci:{}:image", image.path().join("copy").display());
        crate::support::tool("skopeo", ["copy", "-q", &source, &copy]);
        let layout = format!("{}:image", image.path().join("copy").display());
        crate::support::tool("umoci", ["raw", "unpack", "--image", &layout, &rootfs.display().to_string()]);
        for (file, text) in [
            ("app/seen", "text\n"),
            ("app/cached", "one\n"),
            ("app/owner", "1000:0 700\n"),
            ("app/mode", "0:0 400\n"),
            ("tmp/script", "/dev/pipes/EOF\n"),
        ] {
            assert_eq!(std::fs::read_to_string(rootfs.join(file)).unwrap(), text, "{name}: {file}");
        }
        for stub in ["run", "mem", "c", "var", "app/m", "app/token", "dev", "etc/missing"] {
            assert!(rootfs.join(stub).symlink_metadata().is_err(), "{name}: {stub}");
        }
    }
}
