//! Whether a cached build is the build: random Dockerfiles and edits, with what earlier builds have left and without.
//!
//! 50 pairs in every run; `COOPER_SOUNDNESS_PAIRS=1000` for the nightly one (`make nightly`). A failure names its seed,
//! and `COOPER_SOUNDNESS_SEED` repeats it.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::support::{Build, small_base_layout};

/// What a project is made of, so that it can be changed bit by bit.
#[derive(Debug, Clone)]
struct Project {
    stages: Vec<Vec<Step>>,
    files: Vec<(String, u8, u32)>,
    arguments: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Step {
    Copy { from: Option<usize>, source: usize, target: usize, flags: usize },
    Directory(usize),
    Variable(usize, u8),
    Argument(usize),
    Run(usize, u8),
    User(usize),
    Inline(usize, u8),
    Archive(usize),
}

/// Multiplicative congruential numbers: enough to mix choices, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % sides as u64).unwrap()
    }

    fn byte(&mut self, sides: u8) -> u8 {
        u8::try_from(self.roll(sides.into())).unwrap()
    }
}

const PATHS: [&str; 6] = ["a", "b", "dir/a", "dir/b", "dir/deep/c", "other/a"];
const SOURCES: [&str; 7] = ["a", "dir", "dir/a", ".", "di*", "dir/deep/", "other"];
const TARGETS: [&str; 8] =
    ["/x/", "/lib/", "/dir", "/etc/", "relative/", "/home/app/", "/usr/lib/deep/", "./"];
const FLAGS: [&str; 8] = [
    "",
    "--chown=app ",
    "--chmod=750 ",
    "--link ",
    "--chown=1:staff --chmod=u+x ",
    "--exclude=**/a ",
    "--parents ",
    "--link --chown=app ",
];
const DIRECTORIES: [&str; 5] = ["/x", "work", "/lib/w", "/home/app", "/etc"];
const USERS: [&str; 3] = ["app", "1", "root"];

/// What a RUN does: all of it comes to the same each time, given the same files. `N` is a number.
const COMMANDS: [&str; 6] = [
    "echo N > /run-N; touch -d @1 /run-N",
    "cat /x/* > /seen 2>/dev/null; echo $V$A >> /seen; touch -d @N /seen",
    "rm -rf /x/a /dir; mkdir -p /made; touch -d @N /made",
    "ls /lib /etc /x > /listed 2>/dev/null; touch -d @2 /listed; true",
    "chmod 70N /etc; mv /x /moved-N 2>/dev/null; true",
    "echo N > /tmp/same; touch -d @3 /tmp/same",
];

impl Project {
    fn new(dice: &mut Dice) -> Self {
        let mut stages = Vec::new();
        for stage in 0..=dice.roll(3) {
            let count = 1 + dice.roll(5);
            stages.push((0..count).map(|_| Step::new(dice, stage)).collect());
        }
        let files = PATHS.iter().map(|path| ((*path).to_owned(), dice.byte(4), 0o644)).collect();
        Self { stages, files, arguments: vec![0, 0] }
    }

    /// Changes one thing, or nothing but times.
    fn edit(&mut self, dice: &mut Dice) {
        let last = self.stages.len() - 1;
        let stage = dice.roll(last + 1);
        let steps = self.stages[stage].len();
        match dice.roll(8) {
            0 | 1 => {
                let file = dice.roll(self.files.len());
                self.files[file].1 = dice.byte(6);
            }
            2 => {
                let file = dice.roll(self.files.len());
                self.files[file].2 = [0o644, 0o600, 0o755][dice.roll(3)];
            }
            3 => {
                let at = dice.roll(steps);
                self.stages[stage][at] = Step::new(dice, stage);
            }
            4 => {
                let at = dice.roll(steps + 1);
                let step = Step::new(dice, stage);
                self.stages[stage].insert(at, step);
            }
            5 if steps > 1 => {
                let at = dice.roll(steps);
                self.stages[stage].remove(at);
            }
            6 => {
                let argument = dice.roll(2);
                self.arguments[argument] = dice.byte(3);
            }
            _ => {}
        }
    }

    fn dockerfile(&self) -> String {
        let mut text = String::new();
        for (number, steps) in self.stages.iter().enumerate() {
            writeln!(text, "FROM base AS s{number}\nENV V=0 A=0").unwrap();
            for step in steps {
                step.write(&mut text);
            }
        }
        text
    }

    /// Puts the files into a context, with times that no two builds have in common.
    fn lay_out(&self, context: &Path, time: u64) {
        use std::os::unix::fs::PermissionsExt as _;
        for (path, content, mode) in &self.files {
            let path = context.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, format!("content {content}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(*mode)).unwrap();
            // Later than what SOURCE_DATE_EPOCH lets through.
            let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000 + time);
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
        }
        std::fs::write(context.join("archive.tar"), tar(self.files[0].1)).unwrap();
    }
}

/// A tar with one file.
fn tar(content: u8) -> Vec<u8> {
    use cooper::layer::{Entry, Metadata, TarWriter};
    let text = format!("archived {content}");
    let mut tar = TarWriter::new(Vec::new());
    let metadata = Metadata { mtime: 5, ..Metadata::with_mode(0o644) };
    tar.append(&Entry::file("unpacked/file", metadata, text.len() as u64), text.as_bytes()).unwrap();
    tar.finish().unwrap()
}

impl Step {
    fn new(dice: &mut Dice, stage: usize) -> Self {
        match dice.roll(12) {
            0..=2 => Self::Copy {
                from: (stage > 0 && dice.roll(2) == 0).then(|| dice.roll(stage)),
                source: dice.roll(SOURCES.len()),
                target: dice.roll(TARGETS.len()),
                flags: dice.roll(FLAGS.len()),
            },
            3 => Self::Directory(dice.roll(DIRECTORIES.len())),
            4 => Self::Variable(dice.roll(2), dice.byte(3)),
            5 => Self::Argument(dice.roll(2)),
            6 => Self::User(dice.roll(USERS.len())),
            7 => Self::Inline(dice.roll(TARGETS.len()), dice.byte(3)),
            8 => Self::Archive(dice.roll(TARGETS.len())),
            _ => Self::Run(dice.roll(COMMANDS.len()), dice.byte(4)),
        }
    }

    fn write(&self, text: &mut String) {
        match self {
            Self::Copy { from, source, target, flags } => {
                let (source, flags) = (SOURCES[*source], FLAGS[*flags]);
                match from {
                    // Of another stage, what is there for sure; `*` matches what the builds have made.
                    Some(from) => writeln!(
                        text,
                        "COPY --from=s{from} {flags}{} {}",
                        ["/etc/passwd", "/usr/lib", "/x*", "/l*", "/home", "/run-*", "/tmp"]
                            [source.len() % 7],
                        TARGETS[*target]
                    ),
                    None => writeln!(text, "COPY {flags}{source} {}", TARGETS[*target]),
                }
            }
            Self::Directory(path) => writeln!(text, "WORKDIR {}", DIRECTORIES[*path]),
            Self::Variable(name, value) => writeln!(text, "ENV {}={value}", ["V", "W"][*name]),
            Self::Argument(name) => writeln!(text, "ARG {}\nENV A=${{{0}}}", ["ONE", "TWO"][*name]),
            Self::Run(command, number) => {
                writeln!(text, "USER root\nRUN {}", COMMANDS[*command].replace('N', &number.to_string()))
            }
            Self::User(user) => writeln!(text, "USER {}", USERS[*user]),
            Self::Inline(target, number) => {
                writeln!(text, "COPY <<inline {}\nline {number} $V\ninline", TARGETS[*target])
            }
            Self::Archive(target) => writeln!(text, "ADD archive.tar {}", TARGETS[*target]),
        }
        .unwrap();
    }
}

/// What a build comes to: the digest of the image, or what it says of its failure.
fn outcome(project: &Project, time: u64, store: Option<&Path>, more: &[String]) -> Result<String, String> {
    let build = Build::new(&project.dockerfile())
        .base(small_base_layout())
        .prepare(|context| project.lay_out(context, time))
        .env("SOURCE_DATE_EPOCH", "1000000000")
        .arg("--offline")
        .args(["--build-arg".to_owned(), format!("ONE={}", project.arguments[0])])
        .args(["--build-arg".to_owned(), format!("TWO={}", project.arguments[1])])
        .args(more.to_vec());
    let metadata = build.beside("metadata.json");
    let archive = build.beside("image.tar");
    let build = build
        .args(["--metadata-file".to_owned(), metadata.display().to_string()])
        .args(["--output".to_owned(), format!("type=oci,dest={}", archive.display())]);
    let build = match store {
        Some(store) => build.store(store),
        None => build,
    };
    let run = build.run();
    if run.code == Some(0) {
        let text = std::fs::read_to_string(metadata).unwrap();
        let metadata: serde_json::Value = serde_json::from_str(&text).unwrap();
        return Ok(metadata["containerimage.digest"].as_str().unwrap().to_owned());
    }
    let error =
        run.stderr.lines().find(|line| line.starts_with("error")).unwrap_or_else(|| {
            panic!("a build that fails says why:\n{}\n{}", run.stderr, project.dockerfile())
        });
    Err(error.to_owned())
}

/// So many builds are made of each project, with an edit before each but the first.
const EDITS: u64 = 5;

#[test]
fn cached_builds_are_the_builds() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let pairs = number("COOPER_SOUNDNESS_PAIRS").unwrap_or(50);
    let seed = number("COOPER_SOUNDNESS_SEED");
    let first = seed.unwrap_or_else(|| u64::from(std::process::id()) << 20);
    let projects = if seed.is_some() { 1 } else { pairs.div_ceil(EDITS) };
    let next = std::sync::atomic::AtomicU64::new(0);
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                // All projects of a worker share a store and a cache: none may get what is another's.
                let shared = tempfile::tempdir().unwrap();
                loop {
                    let project = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if project >= projects {
                        break;
                    }
                    check(first + project, shared.path());
                }
            });
        }
    });
}

fn check(seed: u64, shared: &Path) {
    let (store, cache) = (shared.join("store"), shared.join("cache"));
    let caches = ["from", "to"].map(|end| format!("--cache-{end}=oci:{}", cache.display()));
    let mut dice = Dice(seed);
    let mut project = Project::new(&mut dice);
    for edit in 0..EDITS {
        let direct = outcome(&project, edit, None, &["--no-cache".to_owned()]);
        // In turns: what the store has, and what an empty store gets from the cache.
        let kept = (edit % 2 == 0).then_some(store.as_path());
        let cached = outcome(&project, EDITS + edit, kept, &caches);
        assert_eq!(cached, direct, "COOPER_SOUNDNESS_SEED={seed}, build {edit} of\n{}", project.dockerfile());
        project.edit(&mut dice);
    }
}
