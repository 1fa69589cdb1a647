//! `type=cache`.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{ISOLATIONS, cache_with, caches};
use crate::support::{Build, Outcome};

#[test]
fn a_cache_is_shared_by_steps_and_builds_and_is_not_in_the_image() {
    for isolation in ISOLATIONS {
        let build = Build::new(
            "FROM base\n\
             WORKDIR /app\n\
             RUN --mount=type=cache,target=/var/cache/apt echo one >> /var/cache/apt/log\n\
             RUN --mount=type=cache,target=/var/cache/../cache/./apt/ echo two >> /var/cache/apt/log\n\
             RUN --mount=type=cache,id=/var/cache/apt,target=log cat log/log && stat -c '%u:%g %a' log\n\
             RUN --mount=type=cache,id=/var/cache/apt,target=/c,ro ! echo > /c/new\n",
        )
        .args(["--isolation", isolation]);
        let store = build.store_path().to_owned();
        let outcome = build.run().success();
        assert!(outcome.stderr.contains("| one") && outcome.stderr.contains("| two"), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("| 0:0 755"), "{}", outcome.stderr);
        let again = Build::new(
            "FROM base\n\
             RUN --mount=type=cache,target=/var/cache/apt cp /var/cache/apt/log /tmp/log\n",
        )
        .store(&store)
        .args(["--no-cache", "--isolation", isolation])
        .image();
        assert_eq!(again.text("tmp/log"), "one\ntwo\n");
        assert!(!again.files.contains_key("var"));
        assert_eq!(caches(&store).len(), 1);
    }
}

#[test]
fn mode_and_owner_make_another_cache_which_is_new_without_cache() {
    let dockerfile = "FROM base\n\
        RUN --mount=type=cache,target=/c,mode=0770,uid=1000,gid=50 echo a >> /c/log; \
        stat -c '%u:%g %a' /c > /tmp/stat; cat /c/log > /tmp/first\n\
        RUN --mount=type=cache,target=/c,mode=0770,uid=1000,gid=50 echo b >> /c/log; cat /c/log > /tmp/second\n\
        RUN --mount=type=cache,target=/c,mode=0700 test ! -e /c/log\n\
        RUN --mount=type=cache,target=/c echo kept >> /c/kept; cat /c/kept > /tmp/kept\n";
    let build = Build::new(dockerfile);
    let store = build.store_path().to_owned();
    build.run().success();
    assert_eq!(caches(&store).len(), 3);
    let image = Build::new(dockerfile).store(&store).arg("--no-cache").image();
    assert_eq!(image.text("tmp/stat"), "1000:50 770\n");
    assert_eq!(image.text("tmp/first"), "a\n", "the directory is new");
    assert_eq!(image.text("tmp/second"), "a\nb\n", "but only once in a build");
    assert_eq!(image.text("tmp/kept"), "kept\nkept\n", "one without mode and owner is kept");
    assert_eq!(caches(&store).len(), 3);
    // A mode alone is not what makes it new.
    let image = Build::new(&format!(
        "{dockerfile}RUN --mount=type=cache,target=/c,mode=0770,uid=1000,gid=50 cp /c/log /tmp/third\n"
    ))
    .store(&store)
    .image();
    assert_eq!(image.text("tmp/third"), "a\nb\n");
}

#[test]
fn a_cache_begins_with_what_it_is_from() {
    let dockerfile = |seed: &str| {
        format!(
            "FROM base AS seed\n\
             RUN mkdir -p /s/d && echo {seed} > /s/d/file && chown 1000:50 /s/d/file /s && chmod 775 /s\n\
             FROM base\n\
             RUN --mount=type=cache,from=seed,source=/s,target=/c echo more >> /c/d/file; \
             stat -c '%u:%g %a' /c /c/d/file > /tmp/stat\n\
             RUN --mount=type=cache,from=seed,source=/s,target=/c cp /c/d/file /tmp/file\n\
             RUN --mount=type=cache,from=seed,source=/s,target=/c,uid=7 cp /c/d/file /tmp/other; \
             stat -c '%u:%g %a' /c >> /tmp/stat\n\
             RUN --mount=type=cache,target=/c test ! -e /c/d\n"
        )
    };
    let image = Build::new(&dockerfile("one")).image();
    assert_eq!(image.text("tmp/file"), "one\nmore\n");
    assert_eq!(image.text("tmp/other"), "one\n");
    assert_eq!(image.text("tmp/stat"), "1000:50 775\n1000:50 644\n7:50 775\n");
    let build = Build::new(&dockerfile("one"));
    let store = build.store_path().to_owned();
    build.run().success();
    let image = Build::new(&dockerfile("two")).store(&store).image();
    assert_eq!(image.text("tmp/file"), "two\nmore\n", "another seed is another cache");
}

#[test]
fn namespaces_keep_caches_apart() {
    let dockerfile = "FROM base\nRUN --mount=type=cache,target=/c,id=x ls /c > /tmp/list; echo > /c/file\n";
    let build = Build::new(dockerfile);
    let store = build.store_path().to_owned();
    build.run().success();
    let namespace = |name: &str| {
        let build = Build::new(dockerfile).store(&store).arg("--no-cache");
        build.args(["--build-arg", &format!("BUILDKIT_CACHE_MOUNT_NS={name}")]).image().text("tmp/list")
    };
    assert_eq!([namespace("a"), namespace("a"), namespace("b")], ["", "file\n", ""]);
}

#[test]
fn two_mounts_of_one_cache_in_one_step_are_one_directory() {
    Build::new(
        "FROM base\n\
         RUN --mount=type=cache,id=x,target=/one,sharing=locked --mount=type=cache,id=x,target=/two \
         --mount=type=cache,id=x,target=/three,sharing=private echo > /one/file && ls /two/file /three/file\n",
    )
    .run()
    .success();
}

/// A build in another process whose RUN holds the cache `x` with this sharing until it is told to end.
struct Holder {
    child: Child,
    directory: PathBuf,
    /// Has the store, which others use as well.
    build: Build,
}

impl Holder {
    fn begin(sharing: &str) -> Self {
        let build = Build::new(&format!(
            "FROM base\n\
             RUN --mount=type=cache,id=x,target=/c,sharing={sharing} \
             touch /c/begun; while test ! -e /c/go; do usleep 20000; done; touch /c/ended\n"
        ));
        let mut child = build.command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let directory = wait(&mut child, || cache_with(build.store_path(), "begun"));
        Self { child, directory, build }
    }

    fn store(&self) -> PathBuf {
        self.build.store_path().to_owned()
    }

    fn end(&mut self) {
        std::fs::write(self.directory.join("go"), "").unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something is there, as long as the process lives.
fn wait<T>(child: &mut Child, mut found: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert_eq!(child.try_wait().unwrap(), None, "it has ended");
        assert!(begun.elapsed() < Duration::from_mins(1), "nothing happens");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a command line with its standard error in a file.
fn start(mut command: Command, stderr: &std::path::Path) -> Child {
    command.stdout(Stdio::null()).stderr(std::fs::File::create(stderr).unwrap()).spawn().unwrap()
}

#[test]
fn a_locked_cache_is_waited_for() {
    for (held, wanted) in [("locked", "locked"), ("locked", "shared"), ("shared", "locked")] {
        let mut holder = Holder::begin(held);
        let build = Build::new(&format!(
            "FROM base\nRUN --mount=type=cache,id=x,target=/c,sharing={wanted} test -e /c/ended\n"
        ))
        .store(holder.store());
        let log = build.beside("log");
        let mut second = start(build.command(), &log);
        wait(&mut second, || {
            std::fs::read_to_string(&log).ok().filter(|text| text.contains("waiting for the cache `x`"))
        });
        assert_eq!(second.try_wait().unwrap(), None);
        holder.end();
        assert!(second.wait().unwrap().success(), "{}", std::fs::read_to_string(&log).unwrap());
    }
}

#[test]
fn who_waits_for_a_cache_can_be_interrupted() {
    let mut holder = Holder::begin("locked");
    let build = Build::new("FROM base\nRUN --mount=type=cache,id=x,target=/c,sharing=locked true\n")
        .store(holder.store());
    let log = build.beside("log");
    let mut second = start(build.command(), &log);
    wait(&mut second, || {
        std::fs::read_to_string(&log).ok().filter(|text| text.contains("waiting for the cache `x`"))
    });
    let process = rustix::process::Pid::from_child(&second);
    rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    assert_eq!(second.wait().unwrap().code(), Some(130));
    holder.end();
}

#[test]
fn a_shared_cache_is_used_at_the_same_time_and_a_private_one_is_not() {
    let mut holder = Holder::begin("shared");
    let run = |test: &str, sharing: &str, store: PathBuf| -> Outcome {
        let mount = format!("--mount=type=cache,id=x,target=/c,sharing={sharing}");
        Build::new(&format!("FROM base\nRUN {mount} {test}\n")).store(store).run()
    };
    run("test -e /c/begun && test ! -e /c/ended", "shared", holder.store()).success();
    run("test ! -e /c/begun && touch /c/mine", "private", holder.store()).success();
    run("test -e /c/mine && ls", "private", holder.store()).success();
    assert!(!holder.directory.join("mine").exists());
    assert_eq!(caches(&holder.store()).len(), 2);
    holder.end();
}
