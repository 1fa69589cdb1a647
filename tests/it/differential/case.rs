//! One rule of the language, as a Dockerfile with its context and what is expected.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use serde_json::Value;

use super::peer;
use super::view::View;
use crate::support::{Build, small_base_layout};

/// One rule of the language, as a Dockerfile with its context and what is expected.
#[derive(Clone)]
#[must_use]
pub(crate) struct Case {
    rule: &'static str,
    pub(super) dockerfile: &'static str,
    files: Vec<File>,
    /// Arguments that both builders understand.
    pub(super) arguments: Vec<&'static str>,
    /// An image that each builder builds first, with itself: its name and Dockerfile.
    pub(super) earlier: Option<(&'static str, &'static str)>,
    /// Paths that are not compared.
    uncompared: Vec<&'static str>,
    expected: Expected,
    reason: Option<&'static str>,
}

/// Something in the context.
#[derive(Clone)]
enum File {
    Text(&'static str, &'static str),
    Directory(&'static str),
    Mode(&'static str, u32),
    Link(&'static str, &'static str),
    HardLink(&'static str, &'static str),
    Capability(&'static str),
    Socket(&'static str),
    Fifo(&'static str),
}

#[derive(Clone)]
enum Expected {
    /// What Buildah makes of it.
    Same,
    /// What is written here.
    Written {
        files: Option<&'static [&'static str]>,
        config: Vec<(&'static str, Value)>,
        history: Option<&'static [&'static str]>,
    },
    /// An error of Cooper that says this.
    Refused(&'static [&'static str]),
}

/// A case: `rule` names the section of the checklist (`spec/dockerfile.md`) and what it says.
pub(crate) fn case(rule: &'static str, dockerfile: &'static str) -> Case {
    Case {
        rule,
        dockerfile,
        files: Vec::new(),
        arguments: Vec::new(),
        earlier: None,
        uncompared: Vec::new(),
        expected: Expected::Same,
        reason: None,
    }
}

impl Case {
    /// Adds a file of mode 0644, and its parents, to the context.
    pub(crate) fn file(self, path: &'static str, text: &'static str) -> Self {
        self.with(File::Text(path, text))
    }

    /// Adds files that contain their own names.
    pub(crate) fn files(self, paths: &[&'static str]) -> Self {
        paths.iter().fold(self, |case, path| case.file(path, path))
    }

    /// Adds an empty directory of mode 0755.
    pub(crate) fn directory(self, path: &'static str) -> Self {
        self.with(File::Directory(path))
    }

    /// Changes the mode of something in the context.
    pub(crate) fn mode(self, path: &'static str, mode: u32) -> Self {
        self.with(File::Mode(path, mode))
    }

    /// Adds a symbolic link.
    pub(crate) fn link(self, path: &'static str, target: &'static str) -> Self {
        self.with(File::Link(path, target))
    }

    /// Adds another name of a file.
    pub(crate) fn hard_link(self, path: &'static str, first: &'static str) -> Self {
        self.with(File::HardLink(path, first))
    }

    /// Gives a file the capability to bind low ports, and an attribute that nobody wants.
    pub(crate) fn capability(self, path: &'static str) -> Self {
        self.with(File::Capability(path))
    }

    /// Adds a socket that nobody listens at.
    pub(crate) fn socket(self, path: &'static str) -> Self {
        self.with(File::Socket(path))
    }

    /// Adds a named pipe.
    pub(crate) fn fifo(self, path: &'static str) -> Self {
        self.with(File::Fifo(path))
    }

    fn with(mut self, file: File) -> Self {
        self.files.push(file);
        self
    }

    /// Adds arguments for both builders.
    pub(crate) fn args(mut self, arguments: &[&'static str]) -> Self {
        self.arguments.extend(arguments);
        self
    }

    /// An image that is built before, by the same builder, and that the Dockerfile names.
    pub(crate) fn after(mut self, name: &'static str, dockerfile: &'static str) -> Self {
        self.earlier = Some((name, dockerfile));
        self
    }

    /// Does not compare a path and what is below it, because of `reason`.
    pub(crate) fn without(mut self, path: &'static str, reason: &'static str) -> Self {
        self.uncompared.push(path);
        self.reason = Some(reason);
        self
    }

    /// Buildah makes something else, because of `reason`; what follows says what is expected instead.
    pub(crate) fn written(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self.expected = Expected::Written { files: None, config: Vec::new(), history: None };
        self
    }

    /// What a written case adds to its base or changes there, each in the form of [`View::lines`].
    pub(crate) fn makes(mut self, expected: &'static [&'static str]) -> Self {
        if let Expected::Written { files, .. } = &mut self.expected {
            *files = Some(expected);
        }
        self
    }

    /// A value in the config's `config`, or at a JSON pointer in the whole config.
    pub(crate) fn config(mut self, key: &'static str, value: Value) -> Self {
        if let Expected::Written { config, .. } = &mut self.expected {
            config.push((key, value));
        }
        self
    }

    /// `created_by` of what a written case adds to the history; with a `*` in front where there is no layer.
    pub(crate) fn history(mut self, expected: &'static [&'static str]) -> Self {
        if let Expected::Written { history, .. } = &mut self.expected {
            *history = Some(expected);
        }
        self
    }

    /// An error that both builders make; Cooper's says this.
    pub(crate) fn refused(mut self, said: &'static [&'static str]) -> Self {
        self.expected = Expected::Refused(said);
        self
    }

    /// For an error that Buildah does not make: why not.
    pub(crate) fn though_buildah(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// What of the checklist this is about.
    pub(super) fn rule(&self) -> &'static str {
        self.rule
    }

    /// Why this case is not compared, or not as a whole.
    pub(super) fn exception(&self) -> Option<&'static str> {
        self.reason
    }

    /// Builds and compares.
    #[track_caller]
    pub(crate) fn check(&self) {
        match &self.expected {
            Expected::Same => self.check_same(),
            Expected::Written { files, config, history } => {
                let view = self.built_by_cooper();
                if let Some(files) = files {
                    let mut own = view.clone();
                    if own.is_based_on_base() {
                        own.subtract(&View::base());
                    }
                    let expected: Vec<String> = files.iter().map(|line| (*line).to_owned()).collect();
                    assert_eq!(own.lines(), expected, "{}", self.rule);
                }
                for (key, value) in config {
                    assert_eq!(view.config_value(key), *value, "{}: {key}", self.rule);
                }
                if let Some(history) = history {
                    assert_eq!(view.history(), *history, "{}", self.rule);
                }
                let keys: Vec<&str> = config.iter().map(|(key, _)| *key).collect();
                self.check_reason(&view, &keys, history.is_some());
            }
            Expected::Refused(said) => {
                let outcome = self.cooper().run();
                assert_ne!(outcome.code, Some(0), "{}: Cooper builds it", self.rule);
                for text in *said {
                    assert!(outcome.stderr.contains(text), "{text:?} is not in:\n{}", outcome.stderr);
                }
                let build = self.cooper();
                let other = peer::build(self, &build.context(), &build.beside("buildah"));
                match self.reason {
                    None => assert!(other.is_err(), "{}: Buildah builds it", self.rule),
                    Some(_) => self.assert_reason(other.is_ok(), "it fails there, too"),
                }
            }
        }
    }

    /// Tries the reason of a written case: Buildah must fail, or make something else of it.
    #[track_caller]
    #[expect(clippy::print_stdout, reason = "who writes a reason wants to see what it stands for")]
    fn check_reason(&self, cooper: &View, keys: &[&str], with_history: bool) {
        let build = self.cooper();
        let directory = build.beside("buildah");
        let differs = match peer::build(self, &build.context(), &directory) {
            Err(said) => {
                println!("Buildah fails: {said}");
                true
            }
            Ok(source) => {
                let mut buildah = View::of(&source, &directory);
                buildah.forget_mount_points(cooper);
                let mut difference = cooper.difference(&buildah);
                difference.extend(
                    keys.iter()
                        .filter(|key| cooper.config_value(key) != buildah.config_value(key))
                        .map(|key| format!("- {key}: {}", buildah.config_value(key))),
                );
                println!("Cooper (+), Buildah (-)\n{}", difference.join("\n"));
                !difference.is_empty() || (with_history && cooper.history() != buildah.history())
            }
        };
        self.assert_reason(differs, "it makes the same of it");
    }

    /// A reason must be true of the version of Buildah that it was written for; a newer one may have caught up.
    #[track_caller]
    #[expect(clippy::print_stdout, reason = "with another version it is news, not a failure")]
    fn assert_reason(&self, holds: bool, instead: &str) {
        let reason = self.reason.unwrap_or_default();
        let text = format!("{}: \"{reason}\" is not so: {instead}", self.rule);
        if peer::is_as_written_for() {
            assert!(holds, "{text}");
        } else if !holds {
            println!("{text}");
        }
    }

    #[track_caller]
    fn check_same(&self) {
        let mut cooper = self.built_by_cooper();
        let build = self.cooper();
        let directory = build.beside("buildah");
        let mut buildah = match peer::build(self, &build.context(), &directory) {
            Ok(source) => View::of(&source, &directory),
            Err(said) => panic!("{}: Buildah fails: {said}", self.rule),
        };
        buildah.forget_mount_points(&cooper);
        if self.reason.is_some() {
            self.assert_reason(!cooper.difference(&buildah).is_empty(), "it makes the same of it");
        }
        for path in &self.uncompared {
            cooper.forget(path);
            buildah.forget(path);
        }
        let difference = cooper.difference(&buildah);
        assert!(difference.is_empty(), "{}: Cooper (+), Buildah (-)\n{}", self.rule, difference.join("\n"));
    }

    #[track_caller]
    fn built_by_cooper(&self) -> View {
        let mut build = self.cooper();
        if let Some((name, dockerfile)) = self.earlier {
            let layout = build.beside("earlier");
            let output = format!("type=oci,dest={}", layout.display());
            Build::new(dockerfile).base(small_base_layout()).arg("--output").arg(output).run().success();
            build = build.arg(format!("--build-context={name}=oci-layout://{}", layout.display()));
        }
        let layout = build.beside("image");
        let build = build.arg("--output").arg(format!("type=oci,dest={}", layout.display()));
        build.run().success();
        View::of(&format!("oci:{}", layout.display()), &build.beside("view"))
    }

    /// A build in a context of its own.
    fn cooper(&self) -> Build {
        let build =
            Build::new(self.dockerfile).base(small_base_layout()).args(self.arguments.iter().copied());
        build.prepare(|context| {
            for file in &self.files {
                file.write(context);
            }
        })
    }
}

impl File {
    fn write(&self, context: &Path) {
        let set_mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let make_parents = |path: &Path| {
            let parent = path.parent().unwrap();
            if !parent.is_dir() {
                std::fs::create_dir_all(parent).unwrap();
            }
        };
        match self {
            Self::Text(path, text) => {
                let path = context.join(path);
                make_parents(&path);
                std::fs::write(&path, text).unwrap();
                set_mode(&path, 0o644);
            }
            Self::Directory(path) => {
                std::fs::create_dir_all(context.join(path)).unwrap();
                set_mode(&context.join(path), 0o755);
            }
            Self::Mode(path, mode) => set_mode(&context.join(path), *mode),
            Self::Link(path, target) => {
                make_parents(&context.join(path));
                symlink(target, context.join(path)).unwrap();
            }
            Self::Capability(path) => {
                // `struct vfs_cap_data`, revision 2: CAP_NET_BIND_SERVICE, permitted and effective.
                let mut data = [0_u8; 20];
                data[..8].copy_from_slice(&[1, 0, 0, 2, 0, 4, 0, 0]);
                let flags = rustix::fs::XattrFlags::empty();
                for (name, value) in [("user.comment", &b"x"[..]), ("security.capability", &data[..])] {
                    rustix::fs::setxattr(context.join(path), name, value, flags).unwrap();
                }
            }
            Self::Socket(path) => {
                make_parents(&context.join(path));
                drop(std::os::unix::net::UnixListener::bind(context.join(path)).unwrap());
            }
            Self::Fifo(path) => {
                make_parents(&context.join(path));
                let mode = rustix::fs::Mode::from_raw_mode(0o644);
                rustix::fs::mknodat(rustix::fs::CWD, context.join(path), rustix::fs::FileType::Fifo, mode, 0)
                    .unwrap();
            }
            Self::HardLink(path, first) => {
                std::fs::hard_link(context.join(first), context.join(path)).unwrap();
            }
        }
    }
}
