//! `aio2 exec`, `probe` and `dump`, as a user calls them.

mod common;

use common::{err, json, noise, out, run};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::process::Stdio;

#[test]
fn exec_has_the_result_of_the_syscall() {
    let mut command = common::aio2();
    let child = command.args(["--json", "exec", "getpid"]).stdout(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(json(&output)["result"], pid);
}

#[test]
fn exec_returns_the_attributes_that_were_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "123456789").unwrap();
    let file = format!("fd:{}", path.display());
    let args = ["--json", "exec", "pread64", &file, "buf:16", "16", "0", "--attr", "timing"];
    let output = run(args.into_iter().chain(["--attr", "checksum,required", "--attr", "42=00ff"]));
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let value = json(&output);
    assert_eq!(value["result"], 9);
    assert_eq!(value["buffers"][0]["hex"], "31323334353637383900000000000000");
    let attributes = value["attributes"].as_array().unwrap();
    assert_eq!(attributes.len(), 3);
    assert!(attributes[0]["ran_ns"].is_u64());
    // The check value of CRC-32C.
    assert_eq!(
        (&attributes[1]["value"], &attributes[1]["bytes"]),
        (&"0xe3069283".into(), &9.into())
    );
    assert!(attributes[2]["status"].as_str().unwrap().contains("EOPNOTSUPP"));
}

#[test]
fn exec_names_the_error_of_the_syscall() {
    let output = run(["exec", "openat", "-100", "str:/does/not/exist", "0", "0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains("= -2 ENOENT"), "{}", out(&output));
    let output = run(["exec", "nop", "--attr", "41,required"]);
    assert!(out(&output).contains("EOPNOTSUPP"), "{}", out(&output));
}

#[test]
fn exec_says_what_a_wrong_command_line_should_be() {
    for (args, says) in [
        (&["exec", "pread64", "0"][..], "fd buf count offset"),
        (&["exec", "ptrace"], "probe -v"),
        (&["exec", "getpid", "1"], "no arguments"),
        (&["exec", "close", "many"], "buf:"),
        (&["exec", "getpid", "--attr", "speed"], "timing"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(err(&output).contains(says), "{args:?}: {}", err(&output));
    }
}

#[test]
fn probe_tells_what_there_is() {
    let value = json(&run(["--json", "--requests", "100", "probe"]));
    assert_eq!(value["max_requests"], 100);
    assert!(value["returns"].as_array().unwrap().contains(&"timing".into()), "{value}");
    assert!(value["syscalls"].as_array().unwrap().contains(&"pread64".into()), "{value}");
    let text = out(&run(["probe", "-v"]));
    for part in ["io_uring", "Linux AIO", "features", "pread64", "limits", "sizes"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn what_exec_saves_dump_decodes() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (iocb, event) = (at("iocb"), at("event"));
    let args = ["exec", "lseek", "fd:/proc/version", "0", "0", "--attr", "path", "--attr"];
    let args = args.into_iter().chain(["cache=drop", "--save-iocb", &iocb, "--save-event", &event]);
    let output = run(args);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let text = out(&run(["dump", &iocb]));
    for part in ["lseek(fd=", "offset=0", "whence=0", "hint drop", "1 records, 0 problems"] {
        assert!(text.contains(part), "{text}");
    }
    let text = out(&run(["dump", &event]));
    for part in ["result 0", "where", "EOPNOTSUPP", "1 records, 0 problems"] {
        assert!(text.contains(part), "{text}");
    }
    let lines = out(&run(["--json", "dump", "--as", "event", &event]));
    let values: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(values.len(), 2);
    assert_eq!(values[0]["result"], 0);
    assert_eq!(values[1]["problems"], 0);
}

#[test]
fn dump_goes_on_behind_a_bad_record() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("iocbs");
    let saved = dir.path().join("iocb");
    let args = ["exec", "getpid", "--save-iocb"].map(OsStr::new);
    assert!(run(args.into_iter().chain([saved.as_os_str()])).status.success());
    let good = fs::read(&saved).unwrap();
    let mut bad = good.clone();
    bad[12] = 1; // the reserved field
    fs::write(&path, [&good[..], &bad, &good, &good[..20]].concat()).unwrap();
    let output = run([OsStr::new("dump"), "--as".as_ref(), "iocb".as_ref(), path.as_ref()]);
    let text = out(&output);
    assert_eq!(output.status.code(), Some(1));
    for part in
        ["0x00000020 PROBLEM: reserved", "0x00000060 PROBLEM: 20 bytes", "2 records, 2 problems"]
    {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn dump_survives_any_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("noise");
    for seed in 0..20 {
        fs::write(&path, noise(seed, 37 * seed as usize)).unwrap();
        for form in ["iocb", "event", "ring"] {
            let args = ["dump", "--as", form].map(OsStr::new);
            let output = run(args.into_iter().chain([path.as_os_str()]));
            assert!(matches!(output.status.code(), Some(0 | 1)), "{seed}: {}", err(&output));
        }
        let output = run([OsStr::new("dump"), path.as_os_str()]);
        assert!(output.status.code().is_some_and(|code| code <= 2), "{}", err(&output));
    }
}

#[test]
fn exec_ends_a_length_that_is_too_large_with_efault() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, noise(1, 100_000)).unwrap();
    let file = format!("fd:{}", path.display());
    for (args, result) in [
        (["pread64", &file, "buf:16", "16", "0"], "= 16"),
        (["pread64", &file, "buf:16", "100000", "0"], "= 16"),
        (["pread64", &file, "buf:0", "100000", "0"], "EFAULT"),
        (["pwrite64", "1", "in:abc", "100000", "0"], "E"),
    ] {
        let output = run(["exec"].into_iter().chain(args));
        assert!(output.status.code().is_some_and(|code| code < 2), "{args:?}: {}", err(&output));
        assert!(out(&output).contains(result), "{args:?}: {}", out(&output));
    }
}

#[test]
fn exec_shows_strings_as_strings() {
    let text = out(&run(["exec", "openat", "-100", "str:/no \"such\"\\n", "0", "0"]));
    assert!(text.contains(r#"pathname="/no \"such\"\n""#), "{text}");
    let text = out(&run(["exec", "readlinkat", "-100", "str:/proc/self/exe", "buf:8", "8"]));
    assert!(text.contains("buf=[8 bytes]"), "{text}");
}

#[test]
fn what_means_nothing_to_a_command_is_refused() {
    for (args, says) in [
        (&["exec", "nop", "--attr", "deadline=5"][..], "deadline"),
        (&["exec", "nop", "--attr", "group=5"], "group"),
        (&["exec", "nop", "--attr", "5=00"], "exec"),
        (&["exec", "--ring", "4096", "nop"], "--ring"),
        (&["--ring", "4096", "exec", "nop"], "--ring"),
        (&["--requests", "4", "exec", "nop"], "--requests"),
        (&["dump", "--backend", "engine", "-"], "--backend"),
        (&["--backend", "engine", "dump", "-"], "--backend"),
        (&["-j", "4", "dump", "-"], "--concurrency"),
        (&["probe", "-j", "0"], "0"),
        (&["cp", "-j", "0", "a", "b"], "0"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(err(&output).contains(says), "{args:?}: {}", err(&output));
    }
    assert!(!out(&run(["dump", "--help"])).contains("--ring"));
    assert!(!out(&run(["exec", "--help"])).contains("deadline=NS"));
}

#[test]
fn a_low_limit_of_file_sizes_kills_no_command() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), "x").unwrap();
    for (limit, args, status) in [
        ("16", "exec getpid", Some(0)),
        ("16", "cp --no-sync f d", Some(0)),
        ("0", "probe", Some(2)),
    ] {
        let script = format!("ulimit -c 0; ulimit -f {limit}; exec $AIO2 {args}");
        let mut command = std::process::Command::new("bash");
        command.args(["-c", &script]).current_dir(dir.path());
        let output = command.env("AIO2", env!("CARGO_BIN_EXE_aio2")).output().unwrap();
        assert_eq!(output.status.code(), status, "{args}: {}", err(&output));
    }
}

#[test]
fn the_readme_says_how_the_command_is_installed() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let line = "cargo install --locked --profile dist --path userspace/cli";
    assert!(readme.contains(line));
    assert!(fs::read_to_string(root.join("Cargo.toml")).unwrap().contains("[profile.dist]"));
    assert!(root.join("userspace/cli/Cargo.toml").exists());
}
