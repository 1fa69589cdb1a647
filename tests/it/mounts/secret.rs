//! `type=secret`.

use std::io::Read as _;
use std::path::Path;

use super::ISOLATIONS;
use crate::support::Build;

/// What must be found nowhere. In base64 and hexadecimal it would look different, but nobody writes it so.
const SECRET: &str = "vEry-s3cret-c0oper-va1ue";

/// The files below `directory` that have the secret in them, as they are or decompressed.
fn files_with_secret(directory: &Path) -> Vec<String> {
    let holds = |bytes: &[u8]| bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
    let mut found = Vec::new();
    let mut seen = 0;
    for entry in walkdir::WalkDir::new(directory) {
        let entry = entry.unwrap();
        if !entry.file_type().is_file() {
            continue;
        }
        seen += 1;
        let bytes = std::fs::read(entry.path()).unwrap();
        let mut inflated = Vec::new();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut inflated).unwrap();
        }
        if holds(&bytes) || holds(&inflated) || entry.path().to_string_lossy().contains(SECRET) {
            found.push(entry.path().display().to_string());
        }
    }
    assert!(seen > 5, "there is nothing in {}", directory.display());
    found
}

#[test]
fn a_secret_is_found_nowhere_afterwards() {
    let dockerfile = "FROM base\n\
        WORKDIR /app\n\
        RUN --mount=type=secret,id=token --mount=type=secret,id=variable,env=TOKEN \
        --mount=type=secret,id=token,target=/root/file,env=BOTH \
        --mount=type=secret,id=token,target=relative \
        test \"$(cat /run/secrets/token)\" = \"$TOKEN\" && test \"$TOKEN\" = \"$(cat /root/file)\" && \
        test \"$BOTH\" = \"$TOKEN\" && test \"$(cat /app/relative)\" = \"$TOKEN\" && test ${#TOKEN} = 24 && \
        test ! -e /run/secrets/variable && sha256sum /run/secrets/token > /tmp/sum\n\
        RUN test -z \"$TOKEN\" && test ! -e /run && test ! -e /app/relative && test ! -e /root/file && echo executed\n";
    for isolation in ISOLATIONS {
        let build = Build::new(dockerfile);
        let token = build.beside("token");
        std::fs::write(&token, SECRET).unwrap();
        let layout = build.beside("layout");
        let build = build
            .args(["--isolation", isolation])
            .args(["--secret", &format!("id=token,src={}", token.display())])
            .args(["--secret", "id=variable,env=MY_TOKEN"])
            .args(["--output", &format!("type=oci,dest={}", layout.display())])
            .args(["--metadata-file", &layout.with_extension("json").display().to_string()])
            .env("MY_TOKEN", SECRET);
        let outcome = build.run().success();
        assert!(!outcome.stderr.contains(SECRET) && !outcome.stdout.contains(SECRET), "{}", outcome.stderr);
        for place in [build.store_path(), &layout] {
            assert_eq!(files_with_secret(place), [""; 0]);
        }
        assert!(!std::fs::read_to_string(layout.with_extension("json")).unwrap().contains(SECRET));
        // The same step with another value is the same step.
        std::fs::write(&token, "something else").unwrap();
        let again = build.run().success();
        assert!(!again.stderr.contains("| executed"), "{}", again.stderr);
    }
}

#[test]
fn a_failing_command_does_not_tell_its_secrets() {
    let build = Build::new("FROM base\nRUN --mount=type=secret,id=a,env=TOKEN ! test -n \"$TOKEN\"\n")
        .args(["--secret", "id=a,env=MY_TOKEN"])
        .env("MY_TOKEN", SECRET);
    let outcome = build.run().failure(1, &["Dockerfile:2"]);
    assert!(!outcome.stderr.contains(SECRET) && !outcome.stdout.contains(SECRET), "{}", outcome.stderr);
    assert_eq!(files_with_secret(build.store_path()), [""; 0]);
}

#[test]
fn a_secret_has_the_mode_and_owner_that_are_wanted() {
    for isolation in ISOLATIONS {
        let image = Build::new(
            "FROM base\n\
             RUN --mount=type=secret,id=a/b/token stat -c '%u:%g %a %n' /run/secrets/token > /tmp/default; \
             grep -q ' /run/secrets/token tmpfs ro,' /proc/mounts\n\
             RUN --mount=type=secret,source=a/b/token,mode=0644,uid=7,gid=8,dst=/t stat -c '%u:%g %a' /t > /tmp/given\n\
             USER app\n\
             RUN --mount=type=secret,id=a/b/token,uid=1000 cat /run/secrets/token > /tmp/mine\n\
             RUN --mount=type=secret,target=/x/token ! test -e /x/token\n\
             RUN --mount=type=secret,id=a/b/token ! cat /run/secrets/token 2> /dev/null && \
             ! ls /proc/1/root/ 2> /dev/null\n\
             RUN --mount=type=secret,id=a/b/token,uid=1000,mode=0600 ! echo > /run/secrets/token\n",
        )
        .args(["--secret", "id=a/b/token,env=VALUE", "--isolation", isolation])
        .env("VALUE", "text")
        .image();
        assert_eq!(image.text("tmp/default"), "0:0 400 /run/secrets/token\n");
        assert_eq!(image.text("tmp/given"), "7:8 644\n");
        assert_eq!(image.text("tmp/mine"), "text");
    }
}

#[test]
fn a_missing_secret_is_skipped_unless_it_is_required() {
    let image = Build::new(
        "FROM base\n\
         ENV SET=image\n\
         RUN --mount=type=secret,id=a --mount=type=secret,id=b,env=B --mount=type=secret,id=c,env=SET \
         test ! -e /run/secrets && test \"${B-unset}\" = '' && test \"$SET\" = '' && echo \"[$B]\" > /tmp/b\n\
         RUN test \"$SET\" = image\n",
    )
    .image();
    assert_eq!(image.text("tmp/b"), "[]\n");
}

#[test]
fn secrets_that_cannot_be_are_refused_at_once() {
    let dockerfile = "FROM base\nRUN --mount=type=secret,id=a,env=A true\n";
    let run = |secret: &str| Build::new(dockerfile).args(["--secret", secret]).run();
    run("id=a,src=/nowhere/at/all").failure(1, &["cannot read the secret `a` from `/nowhere/at/all`"]);
    run("id=a,env=NOT_SET_AT_ALL").failure(1, &["`NOT_SET_AT_ALL`, which is not set"]);
    run("a").failure(2, &["write id=ID,src=FILE or id=ID,env=VARIABLE"]);
    let build = Build::new(dockerfile);
    let path = build.beside("large");
    std::fs::write(&path, vec![b'x'; (500 << 10) + 1]).unwrap();
    let argument = format!("id=a,src={}", path.display());
    build.args(["--secret", &argument]).run().failure(1, &["the secret `a` has more than 500 KiB"]);
    let build = Build::new(dockerfile);
    let path = build.beside("binary");
    std::fs::write(&path, [0xff, 0, 1]).unwrap();
    let argument = format!("id=a,src={}", path.display());
    build
        .args(["--secret", &argument])
        .run()
        .failure(1, &["secret a: it is no UTF-8 text", "Dockerfile:2:13"]);
}

#[test]
fn a_large_secret_arrives_whole() {
    let build = Build::new("FROM base\nRUN --mount=type=secret,id=a sha256sum < /run/secrets/a > /tmp/sum\n");
    let path = build.beside("large");
    let bytes: Vec<u8> = (0..500_u32 << 10).map(|number| (number % 251) as u8).collect();
    std::fs::write(&path, &bytes).unwrap();
    let argument = format!("id=a,src={}", path.display());
    let image = build.args(["--secret", &argument]).image();
    assert_eq!(image.text("tmp/sum"), format!("{}  -\n", cooper::layer::Digest::of(&bytes).hex()));
}
