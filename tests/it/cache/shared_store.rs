//! Builds that share a store.

use std::process::Stdio;

use crate::support::{Build, Outcome};

#[test]
fn two_builds_at_once_do_a_step_once() {
    // Each execution leaves a line in a directory that outlives the build.
    let text = "FROM base\nRUN --mount=type=cache,target=/count echo . >> /count/lines; sleep 1; echo made > /made\n";
    let build = Build::new(text).args(["--offline", "--output=type=oci,dest=-"]);
    let running: Vec<_> = (0..3)
        .map(|_| build.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    for process in running {
        Outcome::of(process.wait_with_output().unwrap()).success();
    }
    let count = "FROM base\nRUN --mount=type=cache,target=/count wc -l < /count/lines > /executions\n";
    let image = Build::new(count).arg("--offline").store(build.store_path()).image();
    assert_eq!(image.text("executions").trim(), "1");
}

#[test]
fn a_kept_store_reads_no_file_twice() {
    let build = Build::new("FROM scratch\nCOPY . /\n").args(["--offline", "--output=type=oci,dest=-"]);
    let build = (0..30).fold(build, |build, number| build.file(&format!("dir/{number}"), number.to_string()));
    // What has just been written may change again within one tick of the clock.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let opened = || {
        let command = build.command();
        let traced = std::process::Command::new("strace")
            .args(["-f", "-qq", "-e", "trace=openat,openat2"])
            .arg(command.get_program())
            .args(command.get_args())
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(Stdio::null())
            .output()
            .expect("strace is installed: run tests/tools/packages.sh");
        assert!(traced.status.success());
        String::from_utf8_lossy(&traced.stderr).matches("\"dir/").count()
    };
    assert_eq!(opened(), 30, "once, for the key and for the layer: small files are kept in between");
    assert_eq!(opened(), 0);
}
