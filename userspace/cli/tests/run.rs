//! `aio2 run`, `report` and `plot`: a program that is not ours, and what is said
//! of it.

use aio2_link::{LIBAIO, POSIX, run};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A directory with the drop-in, the program, its file and its fifo.
struct Stage(TempDir);

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let test = std::env::current_exe().expect("a test has a path");
        let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        for drop_in in [LIBAIO, POSIX] {
            let archive = drop_in.newest_archive(test.parent().expect("it lies in deps"));
            let archive = archive.expect("Cargo has built the static library");
            let object = dir.path().join(drop_in.soname);
            drop_in.link(&crate_dir.join("../.."), &archive, &object).unwrap();
        }
        let object = dir.path().join(LIBAIO.soname);
        let mut gcc = Command::new("gcc");
        gcc.args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o"]).arg(dir.path().join("slow"));
        run(gcc.arg(crate_dir.join("tests/slow.c")).arg(&object).arg("-lpthread")).unwrap();
        let mut gcc = Command::new("gcc");
        gcc.args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o"]).arg(dir.path().join("odd"));
        run(gcc.arg(crate_dir.join("tests/odd.c")).arg(&object)).unwrap();
        let mut gcc = Command::new("gcc");
        gcc.arg(crate_dir.join("../compat/posix/tests/versions.c")).arg("-o");
        run(gcc.arg(dir.path().join("posix"))).unwrap();
        fs::write(dir.path().join("file"), vec![7; 64 * 4096]).unwrap();
        run(Command::new("mkfifo").arg(dir.path().join("fifo"))).unwrap();
        Stage(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn aio2(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aio2"));
        command.current_dir(self.0.path()).env("AIO2_DROP_INS", self.0.path());
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        self.aio2().args(args).output().unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_report_names_the_slow_file_and_the_reason() {
    let stage = Stage::new();
    let args = ["run", "--record", "kept", "--", "./slow", "file", "fifo"];
    let output = stage.output(&args);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert_eq!(text(&output.stdout), "the program's own output\n");
    let reasons = said.split_once("not truly asynchronous:").map(|(_, reasons)| reasons);
    let first = reasons.and_then(|reasons| reasons.lines().nth(1)).unwrap_or_default();
    assert!(first.contains("/fifo") && first.contains("needed a worker"), "{said}");
    assert!(said.contains("1010 requests by 1 threads of 1 processes"), "{said}");

    let output = stage.output(&["--json", "report", "--trace", "t.json", "--hdr", "h.log", "kept"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = report["rows"].as_array().unwrap();
    let row = |end: &str| {
        rows.iter()
            .find(|row| row["file"].as_str().is_some_and(|name| name.ends_with(end)))
            .unwrap()
    };
    assert_eq!((&row("/fifo")["count"], &row("/file")["count"]), (&10.into(), &1000.into()));
    assert_eq!(
        row("/file")["hit_bytes"].as_u64().unwrap() + row("/file")["miss_bytes"].as_u64().unwrap(),
        1000 * 4096
    );
    assert!(
        row("/fifo")["latency_ns"]["p50"].as_u64() > row("/file")["latency_ns"]["p50"].as_u64()
    );

    let trace: serde_json::Value =
        serde_json::from_slice(&fs::read(stage.path("t.json")).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let count = |phase: &str| events.iter().filter(|event| event["ph"] == phase).count();
    assert_eq!((count("X"), count("b"), count("e")), (1010, 1010, 1010));
    assert!(count("M") >= 2, "a lane for the thread, one for a worker");
    assert!(events.iter().all(|event| event["ts"].as_f64().is_none_or(|ts| ts >= 0.0)));

    let log = fs::read(stage.path("h.log")).unwrap();
    let mut entries = 0;
    for entry in hdrhistogram::serialization::interval_log::IntervalLogIterator::new(&log) {
        use hdrhistogram::serialization::interval_log::LogEntry;
        if let LogEntry::Interval(interval) = entry.unwrap() {
            assert_eq!(interval.tag().map(|tag| tag.as_str().to_owned()), Some("pread64".into()));
            entries += 1;
        }
    }
    assert_eq!(entries, 1);

    let output = stage.output(&["plot", "kept", "p.svg"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let svg = fs::read_to_string(stage.path("p.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    for word in [
        "from the page cache",
        "percentile of requests",
        "time since the first submission",
        "slowest",
        "/fifo",
    ] {
        assert!(svg.contains(word), "{word}");
    }
}

#[test]
fn a_program_that_uses_posix_aio_is_reported() {
    let stage = Stage::new();
    let output = stage.output(&["--json", "run", "--record", "kept", "--", "./posix"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let row = &report["rows"][0];
    assert_eq!((&row["count"], &row["operation"]), (&3.into(), &"pread64".into()));
    assert_eq!(row["file"], "/etc/passwd");
}

/// A program that uses AIO2 itself: this command.
#[test]
fn a_copy_is_recorded_by_option_and_by_environment() {
    let stage = Stage::new();
    let reported = |args: &[&str], record: Option<&str>| {
        let output = stage.output(args);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let output = match record {
            Some(record) => stage.output(&["--json", "report", record]),
            None => output,
        };
        // Behind what the program itself has said.
        let said = text(&output.stdout);
        let report = said.lines().last().unwrap_or_default();
        let report: serde_json::Value = serde_json::from_str(report).unwrap();
        let rows = report["rows"].as_array().unwrap().clone();
        let requests = |operation: &str, end: &str| {
            let rows = rows.iter().filter(|row| {
                row["operation"] == operation
                    && row["file"].as_str().is_some_and(|name| name.ends_with(end))
            });
            rows.map(|row| row["count"].as_u64().unwrap()).sum::<u64>()
        };
        assert!(requests("pread64", "/file") + requests("read", "/file") > 0, "{report}");
        // A copy has no name before it is whole; the kernel may make it.
        let writes = requests("pwrite64", "") + requests("write", "");
        assert!(writes > 0 || record.is_none(), "{report}");
    };
    reported(&["cp", "--record", "kept", "file", "copy"], Some("kept"));
    let aio2 = env!("CARGO_BIN_EXE_aio2");
    reported(&["--json", "run", "--", aio2, "cp", "--verify", "file", "copy"], None);
}

#[test]
fn odd_programs_are_reported_and_keep_what_is_theirs() {
    let stage = Stage::new();
    for (what, status, requests, processes) in [
        ("closes all descriptors", 0, 2, 1),
        ("becomes another program", 0, 2, 1),
        ("preloads something else", 0, 2, 1),
        ("has a child that dies", 0, 3, 2),
        ("leaves without its handlers", 4, 1, 1),
    ] {
        let output = stage.output(&["--json", "run", "--", "./odd", what]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{what}: {said}");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let rows = report["rows"].as_array().unwrap();
        let count: u64 = rows.iter().filter_map(|row| row["count"].as_u64()).sum();
        assert_eq!((count, &report["processes"]), (requests, &processes.into()), "{what}: {said}");
        assert!(rows.iter().all(|row| row["file"] == "/etc/passwd"), "{what}: {report}");
    }
}

/// The program's own request, and that of a process which outlives it.
#[test]
fn a_daemon_is_waited_for_and_the_report_says_so() {
    let stage = Stage::new();
    let output = stage.output(&["--json", "run", "--", "./odd", "becomes a daemon"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("ended later: the report is of all"), "{said}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = report["rows"].as_array().unwrap();
    let count: u64 = rows.iter().filter_map(|row| row["count"].as_u64()).sum();
    assert_eq!((count, &report["processes"]), (2, &2.into()), "{said}");
}

#[test]
fn a_signal_ends_the_wait_for_a_daemon() {
    use std::io::{BufRead, BufReader};
    let stage = Stage::new();
    // It stays as long as its standard input is open.
    let mut child = stage
        .aio2()
        .args(["run", "--", "./odd", "becomes a daemon"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stays = child.stdin.take();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line.contains("whose end is waited for")));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let rest: Vec<String> = said.collect();
    assert_eq!(child.wait().unwrap().code(), Some(3), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("pread64")), "{rest:?}");
    assert!(rest.last().unwrap().contains("run on"), "{rest:?}");
    drop(stays);
}

/// A record would decide on the implementation.
#[test]
fn a_look_at_what_there_is_records_nothing() {
    let stage = Stage::new();
    let output = stage.aio2().arg("probe").env("AIO2_RECORD", stage.path("kept")).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!stage.path("kept").exists());
}

#[test]
fn a_program_without_calls_is_told_and_keeps_its_status() {
    let stage = Stage::new();
    let output = stage.output(&["run", "--", "sh", "-c", "exit 9"]);
    assert_eq!(output.status.code(), Some(9));
    assert!(text(&output.stderr).contains("never called a drop-in"), "{}", text(&output.stderr));
    let output = stage.output(&["run", "--", "sh", "-c", "kill -USR1 $$"]);
    assert_eq!(output.status.code(), Some(128 + 10));
    let output = stage.output(&["run", "--", "./there-is-no-such-program"]);
    assert_eq!(output.status.code(), Some(2));
    let output = stage.output(&["run", "--drop-ins", "/nowhere", "--", "true"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("cargo xtask install"), "{}", text(&output.stderr));
}

/// Waits until the program has recorded something.
fn wait_for(record: &Path) {
    let begin = Instant::now();
    while fs::metadata(record).map_or(0, |m| m.len()) < 1000 {
        assert!(begin.elapsed() < Duration::from_secs(60), "nothing is recorded");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn signals_are_handed_on_and_the_report_comes_all_the_same() {
    let stage = Stage::new();
    let child = stage
        .aio2()
        .args(["run", "--record", "kept", "--", "./slow", "file", "fifo", "forever"])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(&stage.path("kept"));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(128 + 15));
    assert!(text(&output.stderr).contains("pread64"), "{}", text(&output.stderr));
}

#[test]
fn a_killed_programs_record_is_read_up_to_its_last_block() {
    let stage = Stage::new();
    let mut child = Command::new(stage.path("slow"))
        .args([stage.path("file"), stage.path("fifo"), "forever".into()])
        .env("LD_LIBRARY_PATH", stage.0.path())
        .env("AIO2_RECORD", stage.path("kept"))
        .spawn()
        .unwrap();
    wait_for(&stage.path("kept"));
    child.kill().unwrap();
    child.wait().unwrap();
    let output = stage.output(&["--json", "report", "kept"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["rows"][0]["count"].as_u64() > Some(0));
    // Cut off in the midst of a block.
    let whole = fs::read(stage.path("kept")).unwrap();
    fs::write(stage.path("cut"), &whole[..whole.len() - 20]).unwrap();
    let output = stage.output(&["report", "cut"]);
    assert!(text(&output.stdout).contains("the record is cut off"), "{}", text(&output.stdout));
}
