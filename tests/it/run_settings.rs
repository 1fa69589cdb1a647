//! What a command line says of all RUNs at once: `--shm-size`, `--ulimit`, `--emulator`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::support::Build;

#[test]
fn the_size_of_shared_memory_and_limits_are_kept_to() {
    let dockerfile = "FROM base\nRUN test \"$(df -k /dev/shm | tail -n 1 | tr -s ' ' | cut -d' ' -f2)\" = 8192 && \
                      test \"$(ulimit -n)\" = 300 && test \"$(ulimit -H -n)\" = 400\n";
    for isolation in ["overlay", "userns"] {
        Build::new(dockerfile)
            .args(["--isolation", isolation, "--shm-size=8m", "--ulimit=nofile=300:400"])
            .run()
            .success();
    }
    let said = ["there is no limit `files`; there are core, cpu"];
    Build::new("FROM base\n").args(["--ulimit=files=1"]).run().failure(2, &said);
}

/// A program for arm64 that prints `hello` and ends.
fn hello() -> Vec<u8> {
    let code: [u32; 8] = [
        0xd280_0020, // mov x0, #1
        0x1000_00e1, // adr x1, the text, which follows the code
        0xd280_00c2, // mov x2, #6
        0xd280_0808, // mov x8, #64: write
        0xd400_0001, // svc #0
        0xd280_0000, // mov x0, #0
        0xd280_0ba8, // mov x8, #93: exit
        0xd400_0001, // svc #0
    ];
    let text = b"hello\n";
    let length = 64 + 56 + code.len() * 4 + text.len();
    let mut program = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0\x01\0\0\0".to_vec();
    let numbers = |program: &mut Vec<u8>, numbers: &[u64]| {
        program.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    };
    // Where it begins, where the segments are described; then sizes and counts.
    numbers(&mut program, &[0x40_0078, 64, 0]);
    program.extend(0_u32.to_le_bytes());
    for number in [64_u16, 56, 1, 0, 0, 0] {
        program.extend(number.to_le_bytes());
    }
    // One segment, loaded, to be read and executed.
    program.extend([1_u32, 5].into_iter().flat_map(u32::to_le_bytes));
    numbers(&mut program, &[0, 0x40_0000, 0x40_0000, length as u64, length as u64, 0x1_0000]);
    program.extend(code.into_iter().flat_map(u32::to_le_bytes));
    program.extend(text);
    program
}

fn build() -> Build {
    Build::new("FROM scratch\nCOPY hello /hello\nRUN [\"/hello\"]\n")
        .prepare(|context| {
            let path = context.join("hello");
            std::fs::write(&path, hello()).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        })
        .arg("--platform=linux/arm64")
}

/// Whether this machine executes programs for arm64 by itself.
fn is_registered() -> bool {
    cfg!(target_arch = "aarch64") || Path::new("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists()
}

#[test]
fn commands_for_another_architecture_are_emulated() {
    let emulator = Path::new("/usr/bin/qemu-aarch64-static");
    if !emulator.exists() {
        eprintln!("skipped: there is no {}; run tests/tools/packages.sh", emulator.display());
        return;
    }
    for isolation in ["overlay", "userns"] {
        let named = build()
            .args(["--isolation", isolation, "--emulator", &emulator.display().to_string()])
            .env("PATH", "")
            .run()
            .success();
        assert!(named.stderr.contains("| hello"), "{}", named.stderr);
        let found = build().args(["--isolation", isolation]).env("PATH", "/bin:/usr/bin").run().success();
        assert!(found.stderr.contains("| hello"), "{}", found.stderr);
    }
}

#[test]
fn without_an_emulator_it_is_said_what_is_missing() {
    if is_registered() {
        eprintln!("skipped: this machine executes programs for arm64");
        return;
    }
    build().env("PATH", "").run().failure(
        1,
        &[
            "Dockerfile:3",
            "`/hello` is for linux/arm64, which this machine (linux/amd64) does not execute: give a static emulator \
             with `--emulator PATH`",
        ],
    );
    let named = build().args(["--emulator", "/etc/passwd"]).run();
    named.failure(1, &["`/etc/passwd` cannot execute programs for arm64: it must be a static program"]);
}
