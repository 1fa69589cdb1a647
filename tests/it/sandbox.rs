//! Commands in sandboxes, and the layers that come of them. The rootfs is Debian's `busybox-static`.
#![expect(clippy::unwrap_used, reason = "what fails here is to fail the test")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Cursor, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cooper::cancel::Cancel;
use cooper::exec::sandbox::{
    Access, DiffSettings, Exit, Isolation, IsolationChoice, LayerSource, Mount, MountKind, Network,
    OutputStream, Rootfs, RunSpec, Sandbox, SandboxError,
};
use cooper::layer::{Digest, Entry, EntryKind, Metadata, TarReader, TarWriter};
use tempfile::TempDir;

const HELPER: &str = env!("CARGO_BIN_EXE_cooper");

/// What the reason of the sandboxes is to end with, where it is not the usual.
const EXPECTED_IDS: &str = "COOPER_TEST_EXPECTED_IDS";

const BOTH: [Isolation; 2] = [Isolation::Overlay, Isolation::Userns];

/// A tar in the making.
struct Tar(TarWriter<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(TarWriter::new(Vec::new()))
    }

    fn entry(mut self, entry: &Entry) -> Self {
        self.0.append(entry, std::io::empty()).unwrap();
        self
    }

    fn directory(self, path: &str, mode: u32) -> Self {
        self.entry(&Entry::directory(path, metadata(mode)))
    }

    fn file(mut self, path: &str, mode: u32, contents: impl AsRef<[u8]>) -> Self {
        let contents = contents.as_ref();
        let entry = Entry::file(path, metadata(mode), contents.len() as u64);
        self.0.append(&entry, contents).unwrap();
        self
    }

    fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(&Entry {
            path: path.into(),
            metadata: metadata(0o777),
            kind: EntryKind::Symlink(target.into()),
        })
    }

    fn hardlink(self, path: &str, target: &str) -> Self {
        self.entry(&Entry {
            path: path.into(),
            metadata: Metadata::default(),
            kind: EntryKind::Hardlink(target.into()),
        })
    }

    fn finish(self) -> Vec<u8> {
        self.0.finish().unwrap()
    }
}

fn metadata(mode: u32) -> Metadata {
    Metadata { mtime: 1_000_000_000, ..Metadata::with_mode(mode) }
}

/// A root with busybox, users, and files to change.
fn base() -> Vec<u8> {
    let busybox = std::fs::read("/bin/busybox").expect("busybox-static is installed");
    let applets = [
        "sh", "ls", "cat", "id", "env", "pwd", "rm", "rmdir", "mkdir", "mv", "cp", "ln", "chmod", "chown",
        "touch", "echo", "sleep", "stat", "true", "false", "head", "mkfifo", "mknod", "mount", "umount",
        "ifconfig", "hostname", "ps", "kill", "setsid", "find", "sort", "wc", "test", "dd", "nslookup",
        "grep", "tail", "su", "adduser", "addgroup", "readlink", "unshare", "chroot", "od", "sync", "tr",
    ];
    let mut tar = Tar::new().directory("bin", 0o755).file("bin/busybox", 0o755, busybox);
    for applet in applets {
        tar = tar.hardlink(&format!("bin/{applet}"), "bin/busybox");
    }
    tar.directory("etc", 0o755)
        .file("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\n")
        .file("etc/group", 0o644, "root:x:0:\nbin:x:1:root\nwheel:x:10:root,app\napp:x:1001:\n")
        .directory("tmp", 0o1777)
        .directory("data", 0o755)
        .file("data/one", 0o644, "one")
        .file("data/two", 0o600, "two")
        .hardlink("data/zwei", "data/two")
        .directory("data/sub", 0o750)
        .file("data/sub/file", 0o644, "file")
        .file("data/sub/other", 0o644, "other")
        .directory("data/sub/deeper", 0o755)
        .file("data/sub/deeper/end", 0o644, "end")
        .symlink("data/link", "one")
        .finish()
}

struct Fixture {
    store: TempDir,
    cancel: Cancel,
}

impl Fixture {
    fn new() -> Self {
        Self { store: TempDir::new().unwrap(), cancel: Cancel::new().unwrap() }
    }

    fn sandbox(&self, isolation: Isolation) -> Sandbox {
        let sandbox =
            Sandbox::choose(IsolationChoice::Only(isolation), self.store.path(), Path::new(HELPER)).unwrap();
        let ids = std::env::var(EXPECTED_IDS).unwrap_or("all ids mapped to themselves".into());
        assert!(sandbox.reason().ends_with(&ids), "{}", sandbox.reason());
        sandbox
    }

    /// Where `layers` and `builds` are: below a directory named after the id map.
    fn directory(&self) -> PathBuf {
        let maps = std::fs::read_dir(self.store.path().join("rootfs")).unwrap();
        maps.map(|map| map.unwrap().path()).next().unwrap()
    }

    fn layers(&self) -> usize {
        std::fs::read_dir(self.directory().join("layers")).unwrap().count()
    }

    fn builds(&self) -> usize {
        std::fs::read_dir(self.directory().join("builds")).unwrap().count()
    }

    fn rootfs(&self, isolation: Isolation, layers: &[Vec<u8>]) -> Rootfs {
        self.try_rootfs(isolation, layers).unwrap()
    }

    fn try_rootfs(&self, isolation: Isolation, layers: &[Vec<u8>]) -> Result<Rootfs, SandboxError> {
        let mut names = Vec::new();
        let layers = layers.iter().map(|tar| {
            names.push(Digest::of(tar).to_string());
            layer(Digest::of(names.join(" ")), tar.clone())
        });
        self.sandbox(isolation).rootfs(layers.collect(), &self.cancel)
    }

    /// Executes a shell script; gives its exit and all it printed.
    fn run(&self, rootfs: &mut Rootfs, script: &str) -> (Exit, String) {
        self.run_spec(rootfs, &shell(script))
    }

    fn run_spec(&self, rootfs: &mut Rootfs, spec: &RunSpec) -> (Exit, String) {
        let mut printed = Vec::new();
        let exit = rootfs
            .run(spec, &mut |_, bytes| printed.extend_from_slice(bytes), &self.cancel)
            .unwrap_or_else(|error| panic!("{:?}: {}", spec.argv, chain(&error)));
        (exit, String::from_utf8_lossy(&printed).into_owned())
    }

    #[track_caller]
    fn succeed(&self, rootfs: &mut Rootfs, script: &str) -> String {
        let (exit, printed) = self.run(rootfs, script);
        assert!(exit.success(), "{script}: {exit:?}\n{printed}");
        printed
    }

    fn commit(&self, rootfs: &mut Rootfs) -> Vec<u8> {
        let mut tar = Vec::new();
        rootfs
            .commit(DiffSettings::default(), &mut tar, &self.cancel)
            .unwrap_or_else(|error| panic!("{}", chain(&error)));
        tar
    }
}

/// Times of two runs differ otherwise.
fn early() -> DiffSettings {
    DiffSettings { latest_mtime: Some(1_000_000_001), ..DiffSettings::default() }
}

fn layer(chain: Digest, tar: Vec<u8>) -> LayerSource {
    LayerSource { chain, open: Box::new(move || Ok(Box::new(Cursor::new(tar)))) }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(text, ": {error}").unwrap();
        cause = error.source();
    }
    text
}

fn shell(script: &str) -> RunSpec {
    command(&["/bin/sh", "-c", script])
}

fn command(argv: &[&str]) -> RunSpec {
    RunSpec {
        argv: argv.iter().map(ToString::to_string).collect(),
        env: vec![("PATH".to_owned(), "/bin".to_owned())],
        cwd: "/".to_owned(),
        user: String::new(),
        hostname: "buildkitsandbox".to_owned(),
        network: Network::Host,
        mounts: Vec::new(),
        extra_hosts: Vec::new(),
        shm_size: None,
        ulimits: Vec::new(),
        emulator: None,
    }
}

/// One line per entry: type, mode, owner, path, and what else distinguishes it.
fn listing(tar: &[u8]) -> Vec<String> {
    let mut reader = TarReader::new(tar);
    let mut lines = Vec::new();
    while let Some((entry, mut contents)) = reader.next_entry().unwrap() {
        let Metadata { mode, uid, gid, xattrs, .. } = &entry.metadata;
        let path = entry.path.display();
        let mut text = String::new();
        contents.read_to_string(&mut text).unwrap();
        let attributes: BTreeMap<_, _> = xattrs.iter().map(|(name, value)| (name, value.len())).collect();
        let mut line = match &entry.kind {
            EntryKind::Whiteout => format!("gone {path}"),
            EntryKind::OpaqueWhiteout => format!("opaque {path}"),
            EntryKind::Hardlink(target) => format!("hard {path} = {}", target.display()),
            EntryKind::Directory => format!("dir {mode:o} {uid}:{gid} {path}"),
            EntryKind::File { .. } => format!("file {mode:o} {uid}:{gid} {path} [{}]", text.trim_end()),
            EntryKind::Symlink(target) => format!("link {uid}:{gid} {path} -> {}", target.display()),
            EntryKind::Fifo => format!("fifo {mode:o} {uid}:{gid} {path}"),
            EntryKind::CharDevice(_) | EntryKind::BlockDevice(_) => format!("device {path}"),
        };
        if !attributes.is_empty() {
            write!(line, " {attributes:?}").unwrap();
        }
        lines.push(line);
    }
    lines
}

#[test]
fn exit_codes_and_signals_are_passed_on() {
    let fixture = Fixture::new();
    for isolation in BOTH {
        let mut rootfs = fixture.rootfs(isolation, &[base()]);
        for (script, exit) in [
            ("true", Exit::Code(0)),
            ("false", Exit::Code(1)),
            ("exit 3", Exit::Code(3)),
            ("kill -9 $$", Exit::Signal(9)),
            ("kill $$", Exit::Signal(15)),
        ] {
            assert_eq!(fixture.run(&mut rootfs, script).0, exit, "{isolation}: {script}");
        }
        assert_eq!(listing(&fixture.commit(&mut rootfs)), [""; 0], "{isolation}");
    }
}

#[test]
fn output_is_streamed_while_the_command_runs() {
    let fixture = Fixture::new();
    let mut rootfs = fixture.rootfs(Isolation::Overlay, &[base()]);
    let pipe = fixture.store.path().join("shared");
    std::fs::create_dir(&pipe).unwrap();
    let mut spec =
        shell("echo first; echo second >&2; while ! test -e /shared/go; do sleep 0.01; done; echo third");
    spec.mounts.push(Mount {
        target: "/shared".into(),
        kind: MountKind::Bind { source: pipe.clone(), access: Access::ReadOnly },
    });
    let mut seen = Vec::new();
    let exit = rootfs
        .run(
            &spec,
            &mut |stream, bytes| {
                seen.push((stream, String::from_utf8_lossy(bytes).into_owned()));
                if seen.len() == 2 {
                    // The command ends only if its output comes before its end.
                    std::fs::write(pipe.join("go"), "").unwrap();
                }
            },
            &fixture.cancel,
        )
        .unwrap();
    assert!(exit.success());
    seen[..2].sort_by_key(|(stream, _)| *stream == OutputStream::Stderr);
    assert_eq!(
        seen,
        [
            (OutputStream::Stdout, "first\n".to_owned()),
            (OutputStream::Stderr, "second\n".to_owned()),
            (OutputStream::Stdout, "third\n".to_owned())
        ]
    );
}

#[test]
fn surroundings_of_a_command() {
    let fixture = Fixture::new();
    for isolation in BOTH {
        let mut rootfs = fixture.rootfs(isolation, &[base()]);
        for (script, expected) in [
            ("env | sort", "HOME=/root\nHOSTNAME=buildkitsandbox\nPATH=/bin\nPWD=/\nSHLVL=1\n"),
            ("pwd; hostname; umask", "/\nbuildkitsandbox\n0022\n"),
            ("cat; echo end", "end\n"),
            ("echo a >/dev/stdout; echo b >/dev/stderr; echo c >/dev/null", "a\nb\n"),
            (
                "cat /etc/hosts",
                "127.0.0.1\tlocalhost buildkitsandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n",
            ),
            ("ls /proc/self/fd | tr '\\n' ' '", "0 1 2 3 "),
            (
                "ls /dev | tr '\\n' ' '",
                "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero ",
            ),
            ("head -c 4 /dev/zero | od -An -tx1; head -c 0 /dev/urandom; touch /dev/shm/x", " 00 00 00 00\n"),
            ("test -d /proc/self && test -e /sys/kernel && echo yes", "yes\n"),
            (
                "grep -c Cap /proc/self/status; grep CapEff /proc/self/status",
                "5\nCapEff:\t00000000a80425fb\n",
            ),
            (
                "grep -E 'Cap(Bnd|Inh|Amb)' /proc/self/status",
                "CapInh:\t0000000000000000\nCapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\n",
            ),
            // What is below the real-time signals is the first 31 bits.
            ("grep -E 'SigIgn:.*[08]0000000$' /proc/self/status >/dev/null && echo none", "none\n"),
        ] {
            assert_eq!(fixture.succeed(&mut rootfs, script), expected, "{isolation}: {script}");
        }
        let mut spec = shell("env | sort; pwd");
        spec.env = [("A", "b=c"), ("HOME", "/else"), ("EMPTY", "")].map(|(n, v)| (n.into(), v.into())).into();
        spec.cwd = "/new/dir".into();
        assert_eq!(
            fixture.run_spec(&mut rootfs, &spec).1,
            "A=b=c\nEMPTY=\nHOME=/else\nHOSTNAME=buildkitsandbox\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nPWD=/new/dir\nSHLVL=1\n/new/dir\n"
        );
        // A working directory that did not exist stays; nothing else came of all that.
        assert_eq!(listing(&fixture.commit(&mut rootfs)), ["dir 755 0:0 new", "dir 755 0:0 new/dir"]);
    }
}

#[test]
fn users_and_groups_are_those_of_the_rootfs() {
    let fixture = Fixture::new();
    let mut rootfs = fixture.rootfs(Isolation::Overlay, &[base()]);
    for (user, expected) in [
        ("", "0 0 0 1 10 /root\n"),
        ("app", "1000 1001 10 1001 /home/app\n"),
        ("1000", "1000 1001 10 1001 /home/app\n"),
        ("app:wheel", "1000 10 10 /home/app\n"),
        ("77", "77 0 0 /\n"),
        ("77:88", "77 88 88 /\n"),
    ] {
        let mut spec =
            shell("echo $(id -u) $(id -g) $(id -G | tr ' ' '\\n' | sort -nu) $HOME; echo x >/dev/stderr");
        spec.user = user.into();
        assert_eq!(fixture.run_spec(&mut rootfs, &spec).1.replace("x\n", ""), expected, "{user}");
    }
    let mut spec =
        shell("grep CapEff /proc/self/status; ls /root-only 2>&1; mount -t tmpfs x /tmp 2>&1 || echo no");
    spec.user = "app".into();
    assert!(fixture.run_spec(&mut rootfs, &spec).1.contains("CapEff:\t0000000000000000"));
    spec.user = "stranger".into();
    let error = rootfs.run(&spec, &mut |_, _| {}, &fixture.cancel).unwrap_err();
    assert_eq!(error.to_string(), "unable to find user stranger: no matching entries in passwd file");
    spec.user = "app:stranger".into();
    let error = rootfs.run(&spec, &mut |_, _| {}, &fixture.cancel).unwrap_err();
    assert_eq!(error.to_string(), "unable to find group stranger: no matching entries in group file");
}

#[test]
fn programs_that_cannot_be_executed() {
    let fixture = Fixture::new();
    let mut rootfs = fixture.rootfs(Isolation::Overlay, &[base()]);
    for (argv, expected) in [
        (&["nothing"][..], "cannot execute `nothing`: No such file or directory (os error 2)"),
        (&["/data/one"], "cannot execute `/data/one`: Permission denied (os error 13)"),
        (&["/data"], "cannot execute `/data`: Permission denied (os error 13)"),
        (&[], "cannot execute ``: No such file or directory (os error 2)"),
    ] {
        let error = rootfs.run(&command(argv), &mut |_, _| {}, &fixture.cancel).unwrap_err();
        assert_eq!(chain(&error), expected);
    }
    assert_eq!(fixture.run_spec(&mut rootfs, &command(&["sh", "-c", "echo found"])).1, "found\n");
}

/// A script, and the layer that must come of it, whatever the isolation.
const CHANGES: &[(&str, &[&str])] = &[
    ("true", &[]),
    ("echo new >/data/new", &["dir 755 0:0 data", "file 644 0:0 data/new [new]"]),
    ("echo more >>/data/one", &["dir 755 0:0 data", "file 644 0:0 data/one [onemore]"]),
    ("rm /data/one", &["dir 755 0:0 data", "gone data/one"]),
    ("rm -r /data/sub", &["dir 755 0:0 data", "gone data/sub"]),
    ("rm -r /data", &["gone data"]),
    (
        "rm /data/sub/deeper/end",
        &[
            "dir 755 0:0 data",
            "dir 750 0:0 data/sub",
            "dir 755 0:0 data/sub/deeper",
            "gone data/sub/deeper/end",
        ],
    ),
    ("mv /data/one /data/uno", &["dir 755 0:0 data", "gone data/one", "file 644 0:0 data/uno [one]"]),
    (
        "mv /data/sub /data/moved",
        &[
            "dir 755 0:0 data",
            "dir 750 0:0 data/moved",
            "dir 755 0:0 data/moved/deeper",
            "file 644 0:0 data/moved/deeper/end [end]",
            "file 644 0:0 data/moved/file [file]",
            "file 644 0:0 data/moved/other [other]",
            "gone data/sub",
        ],
    ),
    (
        "ln /data/one /data/eins",
        &["dir 755 0:0 data", "file 644 0:0 data/eins [one]", "hard data/one = data/eins"],
    ),
    (
        "echo x >/a; ln /a /b; ln /a /data/c",
        &["file 644 0:0 a [x]", "hard b = a", "dir 755 0:0 data", "hard data/c = a"],
    ),
    ("chmod 4711 /data/one", &["dir 755 0:0 data", "file 4711 0:0 data/one [one]"]),
    ("chmod 2775 /data/sub", &["dir 755 0:0 data", "dir 2775 0:0 data/sub"]),
    ("chown 1000:1001 /data/one /data/link", &["dir 755 0:0 data", "file 644 1000:1001 data/one [one]"]),
    ("chown -h 12:34 /data/link", &["dir 755 0:0 data", "link 12:34 data/link -> one"]),
    ("chmod 644 /data/one; chown 0:0 /data/one /data/sub; touch -h -d @1000000000 /data/link", &[]),
    (
        "cp -p /data/one /tmp/x; cat /tmp/x >/data/one; touch -d @1000000000 /data/one; rm /tmp/x; touch -d @1000000000 /tmp",
        &[],
    ),
    (
        "printf eno >/data/one; touch -d @1000000000 /data/one",
        &["dir 755 0:0 data", "file 644 0:0 data/one [eno]"],
    ),
    (
        "printf eno >/tmp/x; touch -d @1000000000 /tmp/x; mv /tmp/x /data/one; touch -d @1000000000 /tmp /data",
        &["dir 755 0:0 data", "file 644 0:0 data/one [eno]"],
    ),
    (
        "rm /data/one; mkdir /data/one; echo x >/data/one/x",
        &["dir 755 0:0 data", "dir 755 0:0 data/one", "file 644 0:0 data/one/x [x]"],
    ),
    ("rm -r /data/sub; echo flat >/data/sub", &["dir 755 0:0 data", "file 644 0:0 data/sub [flat]"]),
    ("rm -r /data/sub; ln -s one /data/sub", &["dir 755 0:0 data", "link 0:0 data/sub -> one"]),
    (
        "rm -r /data/sub; mkdir /data/sub; echo x >/data/sub/file",
        &[
            "dir 755 0:0 data",
            "dir 755 0:0 data/sub",
            "gone data/sub/deeper",
            "file 644 0:0 data/sub/file [x]",
            "gone data/sub/other",
        ],
    ),
    (
        "rm -r /data/sub; mkdir -p /data/sub/deeper; touch -d @1000000000 /data/sub/deeper",
        &[
            "dir 755 0:0 data",
            "dir 755 0:0 data/sub",
            "dir 755 0:0 data/sub/deeper",
            "gone data/sub/deeper/end",
            "gone data/sub/file",
            "gone data/sub/other",
        ],
    ),
    ("mkfifo /data/pipe", &["dir 755 0:0 data", "fifo 644 0:0 data/pipe"]),
    ("rm /data/one; mkfifo /data/one", &["dir 755 0:0 data", "fifo 644 0:0 data/one"]),
    (
        "mkdir -p /x/y/z; chmod 000 /x/y; chown 5 /x/y/z",
        &["dir 755 0:0 x", "dir 0 0:0 x/y", "dir 755 5:0 x/y/z"],
    ),
    ("echo x >/data/f; rm /data/f", &["dir 755 0:0 data"]),
    ("echo x >/data/f; rm /data/f; touch -d @1000000000 /data", &[]),
    ("ln -sfn two /data/link", &["dir 755 0:0 data", "link 0:0 data/link -> two"]),
    ("chmod 700 / && touch /", &[]),
    (
        "echo x >/etc/motd; echo y >/dev/shm/y; echo z >/dev/z",
        &["dir 755 0:0 etc", "file 644 0:0 etc/motd [x]"],
    ),
    ("echo x >/etc/hosts 2>/dev/null || true; rm /etc/resolv.conf 2>/dev/null || true", &[]),
    (
        "cd /data; for i in 1 2 3; do echo $i >$i; done; (sleep 1000 &) ; mkdir -m 1777 t",
        &[
            "dir 755 0:0 data",
            "file 644 0:0 data/1 [1]",
            "file 644 0:0 data/2 [2]",
            "file 644 0:0 data/3 [3]",
            "dir 1777 0:0 data/t",
        ],
    ),
];

#[test]
fn changes_become_the_same_layer_in_every_isolation() {
    let fixture = Fixture::new();
    for (script, expected) in CHANGES {
        let tars = BOTH.map(|isolation| {
            let mut rootfs = fixture.rootfs(isolation, &[base()]);
            fixture.succeed(&mut rootfs, script);
            let mut tar = Vec::new();
            rootfs.commit(early(), &mut tar, &fixture.cancel).unwrap();
            assert_eq!(listing(&tar), *expected, "{isolation}: {script}");
            tar
        });
        assert!(tars[0] == tars[1], "{script}");
    }
}

#[test]
fn rough_commands_leave_something_that_can_be_recorded() {
    let fixture = Fixture::new();
    for (script, expected) in [
        (
            "rm -rf /* 2>/dev/null; true",
            &["gone bin", "gone data", "dir 755 0:0 etc", "gone etc/group", "gone etc/passwd", "gone tmp"][..],
        ),
        (
            "mkdir /d; cd /d; i=0; while test $i -lt 300; do mkdir d; cd d; i=$((i+1)); done; rm -r /d; touch -d @1 /",
            &[],
        ),
        (
            "mkdir -p /a/b; echo x >/a/b/c; chmod 0 /a/b/c /a/b /a",
            &["dir 0 0:0 a", "dir 0 0:0 a/b", "file 0 0:0 a/b/c [x]"],
        ),
        ("touch \"/tmp/$(printf 'a\\nb\\377')\"; rm /tmp/*; touch -d @1000000000 /tmp", &[]),
        (
            "i=0; while test $i -lt 2000; do echo $i >/tmp/f$i; i=$((i+1)); done; rm /tmp/f*",
            &["dir 1777 0:0 tmp"],
        ),
        (
            "ln -sfn /nowhere /etc/mtab; mkdir /proc/x 2>/dev/null; mkdir /dev/x",
            &["dir 755 0:0 etc", "link 0:0 etc/mtab -> /nowhere"],
        ),
    ] {
        let tars = BOTH.map(|isolation| {
            let mut rootfs = fixture.rootfs(isolation, &[base()]);
            let (_, printed) = fixture.run(&mut rootfs, script);
            let mut tar = Vec::new();
            rootfs.commit(early(), &mut tar, &fixture.cancel).unwrap();
            assert_eq!(listing(&tar), expected, "{isolation}: {script}: {printed}");
            tar
        });
        assert!(tars[0] == tars[1], "{script}");
    }
}

#[test]
fn each_commit_holds_what_came_after_the_one_before() {
    let fixture = Fixture::new();
    for isolation in BOTH {
        let mut rootfs = fixture.rootfs(isolation, &[base()]);
        fixture.succeed(&mut rootfs, "mkdir /app; echo 1 >/app/one; echo 2 >/app/two; rm -r /data/sub");
        let first = fixture.commit(&mut rootfs);
        let chain = Digest::of("first");
        rootfs.keep_as(&chain).unwrap();
        fixture.succeed(&mut rootfs, "test ! -e /data/sub; rm /app/one; mkdir /data/sub; cat /app/two");
        let second = fixture.commit(&mut rootfs);
        assert_eq!(
            listing(&second),
            ["dir 755 0:0 app", "gone app/one", "dir 755 0:0 data", "dir 755 0:0 data/sub"],
            "{isolation}"
        );
        // A COPY in between.
        let copied = Tar::new().directory("app", 0o755).file("app/copied", 0o644, "copied").finish();
        rootfs.apply(layer(Digest::of("third"), copied), &fixture.cancel).unwrap();
        assert_eq!(
            fixture.succeed(&mut rootfs, "cat /app/*; ls /data; chmod 644 /app/copied"),
            "copied2\nlink\none\nsub\ntwo\nzwei\n"
        );
        assert_eq!(listing(&fixture.commit(&mut rootfs)), [""; 0], "{isolation}");
        // A command's own file, touched for nothing after the COPY.
        fixture.succeed(&mut rootfs, "chmod 600 /app/two; chmod 644 /app/two");
        assert_eq!(listing(&fixture.commit(&mut rootfs)), [""; 0], "{isolation}");
        fixture.succeed(&mut rootfs, "touch -d @1 /app/two");
        assert_eq!(listing(&fixture.commit(&mut rootfs)), ["dir 755 0:0 app", "file 644 0:0 app/two [2]"]);
        drop(rootfs);
        // What was written can be unpacked, and gives the same.
        let mut again = fixture.rootfs(isolation, &[base(), first, second]);
        assert_eq!(
            fixture.succeed(&mut again, "cat /app/*; find /data | sort"),
            "2\n/data\n/data/link\n/data/one\n/data/sub\n/data/two\n/data/zwei\n"
        );
    }
}

/// How many child processes this one has. A test is a process.
fn children() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let children =
        tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("children")).ok());
    children.map(|children| children.split_whitespace().count()).sum()
}

#[test]
fn a_helper_waits_for_the_diff_of_its_command_and_for_nothing_else() {
    let fixture = Fixture::new();
    for isolation in BOTH {
        let mut rootfs = fixture.rootfs(isolation, &[base()]);
        assert_eq!(children(), 0, "{isolation}");
        fixture.succeed(&mut rootfs, "echo 1 >/data/three");
        assert_eq!(children(), 1, "{isolation}: one that can tell what has changed");
        // Nobody has asked it: what it knows of, the next one finds too.
        fixture.run(&mut rootfs, "echo 2 >/data/four; exit 1");
        assert_eq!(children(), 1, "{isolation}");
        assert_eq!(
            listing(&fixture.commit(&mut rootfs)),
            ["dir 755 0:0 data", "file 644 0:0 data/four [2]", "file 644 0:0 data/three [1]"]
        );
        assert_eq!(children(), 0, "{isolation}");
        assert_eq!(listing(&fixture.commit(&mut rootfs)), [""; 0], "{isolation}: without a command");
        fixture.succeed(&mut rootfs, "true");
        drop(rootfs);
        assert_eq!(children(), 0, "{isolation}");
    }
}

/// Takes nothing.
struct Full;

impl std::io::Write for Full {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_layer_that_cannot_be_written_ends_the_helper_in_the_middle() {
    let fixture = Fixture::new();
    for isolation in BOTH {
        let mut rootfs = fixture.rootfs(isolation, &[base()]);
        fixture.succeed(&mut rootfs, "dd if=/dev/zero of=/large bs=1024 count=8192");
        let error = rootfs.commit(early(), &mut Full, &fixture.cancel).unwrap_err();
        assert!(matches!(error, SandboxError::WriteLayer(_)), "{isolation}: {error:?}");
        drop(rootfs);
        assert_eq!(fixture.builds(), 0, "{isolation}");
    }
}

#[test]
fn scratch_stays_empty() {
    let fixture = Fixture::new();
    let busybox = std::fs::read("/bin/busybox").unwrap();
    for isolation in BOTH {
        let mut rootfs = fixture.rootfs(isolation, &[Tar::new().file("busybox", 0o755, &busybox).finish()]);
        let spec = command(&["/busybox", "sh", "-c", "/busybox test -e /dev/null"]);
        assert_eq!(fixture.run_spec(&mut rootfs, &spec).0, Exit::Code(0));
        assert_eq!(listing(&fixture.commit(&mut rootfs)), [""; 0], "{isolation}");
        let mut rootfs = fixture.rootfs(isolation, &[]);
        let error = rootfs.run(&command(&["/x"]), &mut |_, _| {}, &fixture.cancel).unwrap_err();
        assert!(matches!(error, SandboxError::Program { .. }), "{error:?}");
        assert_eq!(listing(&fixture.commit(&mut rootfs)), [""; 0], "{isolation}");
    }
}

#[test]
fn daemons_do_not_outlive_their_command() {
    let fixture = Fixture::new();
    for isolation in BOTH {
        let mut rootfs = fixture.rootfs(isolation, &[base()]);
        let seconds = unique(1);
        let script = format!(
            "setsid sh -c 'while :; do sleep {seconds}; done' & \
             (setsid sleep {seconds} >/dev/null 2>&1 &); sleep {seconds} & echo started"
        );
        assert_eq!(fixture.succeed(&mut rootfs, &script), "started\n");
        assert!(!is_running(&seconds), "{isolation}");
    }
}

#[track_caller]
fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "it does not come about");
        std::thread::yield_now();
    }
}

/// A long time to sleep, in seconds, by which a process is recognised.
fn unique(number: u32) -> String {
    format!("{}{number}", std::process::id())
}

/// Whether any process has this argument.
fn is_running(argument: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().any(|entry| {
        let command = std::fs::read(entry.unwrap().path().join("cmdline")).unwrap_or_default();
        command.split(|byte| *byte == 0).any(|word| word == argument.as_bytes())
    })
}

#[test]
fn cancelling_kills_everything_and_removes_what_was_made() {
    let fixture = Fixture::new();
    for isolation in BOTH {
        let cancel = Cancel::new().unwrap();
        let mut rootfs = fixture.rootfs(isolation, &[base()]);
        let seconds = unique(2);
        let spec = shell(&format!("setsid sleep {seconds} & echo up; sleep {seconds}"));
        let error = rootfs.run(&spec, &mut |_, _| cancel.cancel(), &cancel).unwrap_err();
        assert!(matches!(error, SandboxError::Cancelled), "{error:?}");
        assert!(!is_running(&seconds), "{isolation}");
        drop(rootfs);
    }
    assert_eq!(fixture.builds(), 0);
}

#[test]
fn no_network_but_loopback() {
    let fixture = Fixture::new();
    let mut rootfs = fixture.rootfs(Isolation::Overlay, &[base()]);
    let mut spec = shell(
        "cat /proc/net/dev | tail -n +3 | grep -o '[a-z0-9]*:'; ifconfig lo | grep -o 'inet addr:127.0.0.1'",
    );
    spec.network = Network::None;
    assert_eq!(fixture.run_spec(&mut rootfs, &spec).1, "lo:\ninet addr:127.0.0.1\n");
}

#[test]
fn mounts_leave_nothing_behind() {
    let fixture = Fixture::new();
    let outside = TempDir::new().unwrap();
    std::fs::write(outside.path().join("file"), "outside").unwrap();
    // The namespace's root may be somebody else outside.
    std::fs::set_permissions(outside.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    for isolation in BOTH {
        let mut rootfs = fixture.rootfs(isolation, &[base()]);
        let bind = |target: &str, source: &str, access| Mount {
            target: target.into(),
            kind: MountKind::Bind { source: outside.path().join(source), access },
        };
        let mut spec = shell(
            "cat /run/secrets/one /mnt/deep/er/file relative/file; (echo x >/mnt/deep/er/file) 2>/dev/null || echo read-only; \
             echo y >/data/sub/tmp/y; echo made >/rw/made; ls /data/sub",
        );
        spec.cwd = "/data".into();
        spec.mounts = vec![
            bind("/run/secrets/one", "file", Access::ReadOnly),
            bind("/mnt/deep/er", "", Access::ReadOnly),
            bind("relative", "", Access::ReadOnly),
            Mount { target: "/data/sub".into(), kind: MountKind::Tmpfs { size: Some(1 << 20) } },
            Mount { target: "/data/sub/tmp".into(), kind: MountKind::Tmpfs { size: None } },
            bind("/rw", "", Access::ReadWrite),
        ];
        let (exit, printed) = fixture.run_spec(&mut rootfs, &spec);
        assert!(exit.success(), "{printed}");
        assert!(printed.starts_with("outsideoutsideoutside"), "{printed}");
        assert!(printed.contains("read-only\n") && printed.ends_with("tmp\n"), "{printed}");
        assert_eq!(
            std::fs::read_to_string(outside.path().join("made")).unwrap(),
            "made
"
        );
        assert_eq!(listing(&fixture.commit(&mut rootfs)), [""; 0], "{isolation}");
    }
}

#[test]
fn hostile_layers_stay_inside() {
    let outside = TempDir::new().unwrap();
    let victim = outside.path().join("victim");
    std::fs::write(&victim, "untouched").unwrap();
    let far = outside.path().to_str().unwrap();
    let layers = [
        Tar::new().symlink("out", far).file("out/victim", 0o644, "hit").finish(),
        Tar::new()
            .symlink("up", "../../../../../../../../../..")
            .file(&format!("up{far}/victim"), 0o644, "hit")
            .finish(),
        Tar::new().symlink("victim", &format!("{far}/victim")).file("victim", 0o644, "hit").finish(),
        Tar::new()
            .symlink("a", far)
            .symlink("b", "a")
            .directory("b", 0o755)
            .file("b/victim", 0o644, "hit")
            .finish(),
        Tar::new().symlink("out", far).hardlink("mine", "out/victim").finish(),
        Tar::new().symlink("out", far).entry(&Entry::whiteout("out/victim")).finish(),
        Tar::new()
            .symlink("out", far)
            .entry(&Entry {
                path: "out".into(),
                metadata: Metadata::default(),
                kind: EntryKind::OpaqueWhiteout,
            })
            .finish(),
    ];
    for isolation in BOTH {
        for (number, tar) in layers.iter().enumerate() {
            let fixture = Fixture::new();
            // Some are refused, some unpacked inside; none gets out.
            let _ = fixture.try_rootfs(isolation, &[base(), tar.clone()]);
            assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched", "{isolation} {number}");
            assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1, "{isolation} {number}");
        }
    }
}

#[test]
fn layers_that_rely_on_lower_ones() {
    let usr = Tar::new()
        .directory("usr", 0o755)
        .directory("usr/bin", 0o711)
        .file("usr/bin/old", 0o755, "old")
        .file("usr/bin/gone", 0o755, "gone")
        .symlink("sbin", "usr/bin")
        .finish();
    let tool = Tar::new()
        .file("sbin/tool", 0o755, "tool")
        .entry(&Entry::whiteout("sbin/gone"))
        .hardlink("usr/bin/older", "usr/bin/old")
        .file("usr/share/new/x", 0o644, "x")
        .finish();
    let fixture = Fixture::new();
    let seen = BOTH.map(|isolation| {
        let mut rootfs = fixture.rootfs(isolation, &[base(), usr.clone(), tool.clone()]);
        fixture.succeed(&mut rootfs, "readlink /sbin; cd /usr; find . | sort; cat bin/tool bin/older; stat -c '%n %a %Y' bin share bin/old")
    });
    assert_eq!(
        seen[0],
        "usr/bin\n.\n./bin\n./bin/old\n./bin/older\n./bin/tool\n./share\n./share/new\n./share/new/x\ntoolold\
         bin 711 1000000000\nshare 755 0\nbin/old 755 1000000000\n"
    );
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn capabilities_and_owners_survive() {
    // cap_net_raw+ep, revision 2.
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].to_vec();
    let mut entry = Entry::file("ping", metadata(0o755), 4);
    entry.metadata.xattrs.insert("security.capability".to_owned(), capability.clone());
    entry.metadata.xattrs.insert("user.note".to_owned(), b"x".to_vec());
    (entry.metadata.uid, entry.metadata.gid) = (65_534, 4242);
    let mut tar = Tar::new();
    tar.0.append(&entry, &b"ping"[..]).unwrap();
    let tar = tar.finish();
    let fixture = Fixture::new();
    for isolation in BOTH {
        let mut rootfs = fixture.rootfs(isolation, &[base(), tar.clone()]);
        fixture.succeed(&mut rootfs, "mkdir /keep; mv /ping /keep/ping");
        assert_eq!(
            listing(&fixture.commit(&mut rootfs)),
            [
                "dir 755 0:0 keep",
                "file 755 65534:4242 keep/ping [ping] {\"security.capability\": 20}",
                "gone ping"
            ],
            "{isolation}"
        );
    }
}

#[test]
fn layers_are_unpacked_once_and_a_broken_one_never() {
    let fixture = Fixture::new();
    let broken = {
        let mut tar = base();
        tar.truncate(tar.len() / 2);
        tar
    };
    for isolation in BOTH {
        let error = fixture.try_rootfs(isolation, std::slice::from_ref(&broken)).unwrap_err();
        assert!(chain(&error).contains("incomplete"), "{}", chain(&error));
    }
    assert_eq!(fixture.layers(), 0);
    drop(fixture.rootfs(Isolation::Overlay, &[base()]));
    assert_eq!(fixture.layers(), 1);
    let known = LayerSource {
        chain: Digest::of(Digest::of(base()).to_string()),
        open: Box::new(|| panic!("opened")),
    };
    fixture.sandbox(Isolation::Overlay).rootfs(vec![known], &fixture.cancel).unwrap();
    let failing: LayerSource = LayerSource {
        chain: Digest::of("failing"),
        open: Box::new(|| Ok(Box::new(Cursor::new(base()).chain(Failing)))),
    };
    let error = fixture.sandbox(Isolation::Overlay).rootfs(vec![failing], &fixture.cancel).unwrap_err();
    assert!(chain(&error).ends_with("corrupt blob"), "{}", chain(&error));
    assert_eq!(fixture.layers(), 1);
}

/// A source that finds at its end that it is corrupt.
struct Failing;

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("corrupt blob"))
    }
}

#[test]
fn a_command_cannot_see_or_change_the_builder() {
    let fixture = Fixture::new();
    let builder = std::process::id();
    let store = fixture.store.path().display().to_string();
    for isolation in BOTH {
        let mut rootfs = fixture.rootfs(isolation, &[base()]);
        for script in [
            format!("ls {store}"),
            format!("cat /proc/{builder}/environ"),
            format!("ls /proc/{builder}/root"),
            "mount -t tmpfs none /tmp".to_owned(),
            "mount --bind /data /tmp".to_owned(),
            "umount /etc/hosts".to_owned(),
            "echo 1 >/proc/sys/kernel/printk".to_owned(),
            "echo b >/proc/sysrq-trigger".to_owned(),
            "echo x >/sys/kernel/uevent_helper".to_owned(),
            "echo x >/etc/hosts".to_owned(),
            "mknod /tmp/disk b 8 0".to_owned(),
            "hostname changed".to_owned(),
            "chroot /proc/1/root true".to_owned(),
        ] {
            let (exit, printed) = fixture.run(&mut rootfs, &script);
            assert!(!exit.success(), "{isolation}: {script}: {printed}");
        }
    }
}

#[test]
fn all_of_this_works_with_the_capabilities_of_cri_o() {
    let allowed =
        "-all,+chown,+dac_override,+fsetid,+fowner,+setgid,+setuid,+setpcap,+net_bind_service,+kill";
    let output = Command::new("setpriv")
        .args(["--bounding-set", allowed])
        .arg(std::env::current_exe().unwrap())
        .args([
            "sandbox::",
            "--skip",
            "all_of_this_works",
            "--skip",
            "sandbox::where_",
            "--skip",
            "a_helper_waits",
        ])
        .env(EXPECTED_IDS, "ids shifted by one")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Runs tests of this file, with `--ignored` perhaps, as a shell in other surroundings starts them.
fn elsewhere(program: &str, arguments: &[&str], setup: &str, tests: &[&str], store: &Path) {
    let output = Command::new(program)
        .args(arguments)
        .args(["sh", "-ec", &format!(r#"{setup}; exec "$@""#), "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(tests)
        .env("COOPER_TEST_STORE", store)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains("running 0 tests"), "{text}");
}

#[test]
fn where_the_runtime_masks_proc_the_pods_own_is_bound() {
    // A new instance would show what is masked, so the kernel refuses it.
    elsewhere(
        "unshare",
        &["--mount"],
        "mount -t tmpfs none /proc/bus",
        &[
            "sandbox::exit_codes",
            "sandbox::daemons",
            "sandbox::a_command_cannot",
            "sandbox::each_commit",
            "sandbox::processes_of_the_pod",
            "--include-ignored",
        ],
        Path::new("/"),
    );
}

#[test]
#[ignore = "started by the test above"]
fn processes_of_the_pod() {
    let fixture = Fixture::new();
    let mut rootfs = fixture.rootfs(Isolation::Overlay, &[base()]);
    let seen = format!("test -d /proc/{} && ! test -e /proc/bus/x", std::process::id());
    fixture.succeed(&mut rootfs, &seen);
}

#[test]
fn where_the_store_is_on_an_overlay_a_plain_directory_does() {
    let directory = TempDir::new().unwrap();
    let setup = r#"cd "$COOPER_TEST_STORE"; mkdir lower upper work store
        mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work none store
        export COOPER_TEST_STORE="$COOPER_TEST_STORE/store""#;
    let tests = ["sandbox::on_an_overlay", "--ignored"];
    elsewhere("unshare", &["--mount"], setup, &tests, directory.path());
}

#[test]
#[ignore = "started by the test above"]
fn on_an_overlay() {
    let store = std::env::var_os("COOPER_TEST_STORE").unwrap();
    let store = Path::new(&store);
    let sandbox = Sandbox::choose(IsolationChoice::Auto, store, Path::new(HELPER)).unwrap();
    assert_eq!(sandbox.isolation(), Isolation::Userns);
    assert!(
        sandbox.reason().starts_with("mounting an overlay in the store is refused"),
        "{}",
        sandbox.reason()
    );
    let cancel = Cancel::new().unwrap();
    let mut rootfs = sandbox.rootfs(vec![layer(Digest::of("base"), base())], &cancel).unwrap();
    let script = "rm -r /data/sub; ln /data/one /data/eins; chmod 600 /data/one";
    assert!(rootfs.run(&shell(script), &mut |_, _| {}, &cancel).unwrap().success());
    let mut tar = Vec::new();
    rootfs.commit(DiffSettings::default(), &mut tar, &cancel).unwrap();
    let expected =
        ["dir 755 0:0 data", "file 600 0:0 data/eins [one]", "hard data/one = data/eins", "gone data/sub"];
    assert_eq!(listing(&tar), expected);
    let choice = IsolationChoice::Only(Isolation::Overlay);
    let error = Sandbox::choose(choice, store, Path::new(HELPER)).unwrap_err();
    assert!(error.to_string().contains("volumes: [{name: store, emptyDir: {}}]"), "{error}");
}

#[test]
fn where_namespaces_are_forbidden_the_error_says_what_to_change() {
    let directory = TempDir::new().unwrap();
    let setup = "echo 0 >/proc/sys/user/max_user_namespaces";
    let tests = ["sandbox::without_namespaces", "--ignored"];
    elsewhere("unshare", &["--user", "--map-root-user"], setup, &tests, directory.path());
}

#[test]
#[ignore = "started by the test above"]
fn without_namespaces() {
    let store = std::env::var_os("COOPER_TEST_STORE").unwrap();
    let error =
        Sandbox::choose(IsolationChoice::Auto, Path::new(&store), Path::new(HELPER)).unwrap_err().to_string();
    for part in
        ["making a user namespace is refused", "in-place: this is no container", "max_user_namespaces"]
    {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
#[ignore = "started by the test below, and killed"]
fn a_builder_to_be_killed() {
    let store = std::env::var_os("COOPER_TEST_STORE").unwrap();
    let sandbox = Sandbox::choose(IsolationChoice::Auto, Path::new(&store), Path::new(HELPER)).unwrap();
    let cancel = Cancel::new().unwrap();
    let mut rootfs = sandbox.rootfs(vec![layer(Digest::of("base"), base())], &cancel).unwrap();
    let mut tell = |_, bytes: &[u8]| eprint!("{}", String::from_utf8_lossy(bytes));
    let seconds = std::env::var("COOPER_TEST_SECONDS").unwrap();
    let script = format!("setsid sleep {seconds} & echo working; sleep {seconds}");
    rootfs.run(&shell(&script), &mut tell, &cancel).unwrap();
}

/// A process that does not outlive the test, should that fail.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        // Fails if it has ended, which is as well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn nothing_outlives_a_builder_that_is_killed() {
    let fixture = Fixture::new();
    let seconds = unique(3);
    let builder = Command::new(std::env::current_exe().unwrap())
        .args(["sandbox::a_builder_to_be_killed", "--exact", "--ignored", "--nocapture"])
        .env("COOPER_TEST_STORE", fixture.store.path())
        .env("COOPER_TEST_SECONDS", &seconds)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut builder = Guarded(builder);
    let mut printed = BufReader::new(builder.0.stderr.take().unwrap()).lines();
    assert!(printed.any(|line| line.unwrap() == "working"));
    wait_until(|| is_running(&seconds));
    builder.0.kill().unwrap();
    assert_eq!(builder.0.wait().unwrap().signal(), Some(9));
    wait_until(|| !is_running(&seconds));
    // The next build tidies up.
    assert_eq!(fixture.builds(), 2);
    let sandbox = Sandbox::choose(IsolationChoice::Auto, fixture.store.path(), Path::new(HELPER)).unwrap();
    assert_eq!((sandbox.isolation(), fixture.builds(), fixture.layers()), (Isolation::Overlay, 0, 1));
}
