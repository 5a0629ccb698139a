//! The C header and the Rust types are the same bytes.
//!
//! Nothing is left to a list that could be forgotten: the names of all
//! constants, structures and fields are taken from the header's text, a C
//! program made of them is compiled against the header, and what it prints is
//! compared with what Rust says. A name that stands on one side only fails.
//!
//! SPEC: the tables of sections 4 to 8.

use aio2_abi::{attr, event, iocb, op, ring, setup, wait};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What one side says: constants by name, `struct` by size, and
/// `struct.field` by offset and size.
type Facts = BTreeMap<String, Vec<u64>>;

fn include_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include")
}

fn header() -> String {
    std::fs::read_to_string(include_dir().join("linux/aio2.h")).expect("the header is readable")
}

/// The constants that the header defines.
fn constants(header: &str) -> Vec<&str> {
    header
        .lines()
        .filter_map(|line| line.strip_prefix("#define"))
        .filter_map(|rest| rest.split_whitespace().next())
        .filter(|name| *name != "_UAPI_LINUX_AIO2_H")
        .collect()
}

/// The structures of the header and their fields; a flexible array has no size.
fn structures(header: &str) -> Vec<(&str, Vec<(&str, bool)>)> {
    let mut found: Vec<(&str, Vec<(&str, bool)>)> = Vec::new();
    let mut inside = false;
    for line in header.lines() {
        if let Some(name) = line.strip_prefix("struct ").and_then(|l| l.strip_suffix(" {")) {
            found.push((name, Vec::new()));
            inside = true;
        } else if line == "};" {
            inside = false;
        } else if inside {
            let declaration = line.trim().strip_suffix(';').expect("a field ends in ;");
            let name = declaration.split_whitespace().last().expect("a field has a name");
            let flexible = name.ends_with("[]");
            let name = name.split('[').next().unwrap_or(name);
            found.last_mut().expect("inside of a structure").1.push((name, flexible));
        }
    }
    found
}

/// A C program that prints what the compiler makes of each name.
fn program(header: &str) -> String {
    let mut c = String::from(
        "#include <stdio.h>\n#include <stddef.h>\n#include <linux/aio2.h>\n\
         #define C(n) printf(#n \" %llu\\n\", (unsigned long long)(n));\n\
         #define S(s) printf(#s \" %zu\\n\", sizeof(struct s));\n\
         #define F(s, f) printf(#s \".\" #f \" %zu %zu\\n\", offsetof(struct s, f), sizeof(((struct s *)0)->f));\n\
         #define A(s, f) printf(#s \".\" #f \" %zu\\n\", offsetof(struct s, f));\n\
         int main(void) {\n",
    );
    for name in constants(header) {
        writeln!(c, "C({name})").expect("a String takes everything");
    }
    for (structure, fields) in structures(header) {
        writeln!(c, "S({structure})").expect("a String takes everything");
        for (field, flexible) in fields {
            let print = if flexible { 'A' } else { 'F' };
            writeln!(c, "{print}({structure}, {field})").expect("a String takes everything");
        }
    }
    c.push_str("return 0; }\n");
    c
}

/// Compiles `source` with `compiler`, every warning and any padding an error.
fn compile(compiler: &str, source: &Path, output: &Path, flags: &[&str]) {
    let result = Command::new(compiler)
        .args(["-Wall", "-Wextra", "-Wpadded", "-Werror", "-I"])
        .arg(include_dir())
        .args(flags)
        .arg(source)
        .arg("-o")
        .arg(output)
        .output()
        .unwrap_or_else(|e| panic!("cannot run {compiler}: {e}"));
    assert!(result.status.success(), "{compiler}: {}", String::from_utf8_lossy(&result.stderr));
}

fn facts_of_c() -> Facts {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (source, binary) = (dir.path().join("layout.c"), dir.path().join("layout"));
    std::fs::write(&source, program(&header())).expect("the program is written");
    compile("gcc", &source, &binary, &[]);
    let output = Command::new(&binary).output().expect("the program runs");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("the program prints text");
    text.lines()
        .map(|line| {
            let mut words = line.split(' ');
            let name = words.next().expect("a name").to_owned();
            (name, words.map(|w| w.parse().expect("a number")).collect())
        })
        .collect()
}

/// Size of the type of a field, found from a way to reach it.
fn size_of_field<S, F>(_: fn(&S) -> &F) -> u64 {
    size_of::<F>() as u64
}

macro_rules! structures {
    ($($c:ident = $rust:ty { $($field:ident),* $(,)? })*) => {{
        let mut facts = Facts::new();
        $(
            facts.insert(stringify!($c).into(), vec![size_of::<$rust>() as u64]);
            $(
                facts.insert(
                    concat!(stringify!($c), ".", stringify!($field)).into(),
                    vec![
                        core::mem::offset_of!($rust, $field) as u64,
                        size_of_field(|s: &$rust| &s.$field),
                    ],
                );
            )*
        )*
        facts
    }};
}

fn structures_of_rust() -> Facts {
    let mut facts = structures! {
        aio2_setup = setup::Setup {
            version, flags, hints, ring_bytes, max_requests, concurrency, eventfd, fd, features,
            attrs, returns, ops, syscalls, iocb_max, event_max, map_offset, map_consumer,
            map_producer, map_data, map_bytes,
        }
        aio2_ring_consumer = ring::ConsumerPage { head, resv0, notify, resv1 }
        aio2_ring_producer = ring::ProducerPage {
            magic, version, ring_bytes, event_max, resv0, tail, flags, overflowed, bad_heads,
            next_map, resv1,
        }
        aio2_iocb = iocb::Header { len, nr_args, flags, nr, resv, user_data, id }
        aio2_attr = attr::Header { id, len, flags }
        aio2_event = event::Header { len, flags, user_data, res }
        aio2_return = attr::ReturnHeader { id, len, status }
        aio2_priority = attr::Priority { ioprio, resv }
        aio2_deadline = attr::Deadline { timeout_ns }
        aio2_signal = attr::Signal { signo, tid, value }
        aio2_group = attr::Group { key }
        aio2_after = attr::After { target, kind, resv }
        aio2_cache = attr::Cache { hint, resv }
        aio2_cache_return = attr::CacheReturn { hit, miss }
        aio2_tag = attr::Tag { tag }
        aio2_timing_return = attr::TimingReturn { submitted, started, completed }
        aio2_path_return = attr::PathReturn { place, cpu, blocked_ns }
        aio2_checksum = attr::Checksum { kind, resv }
        aio2_checksum_return = attr::ChecksumReturn { kind, value, bytes }
        aio2_getevents = wait::GetEvents {
            flags, min_events, timeout, gather, sigmask, sigmask_bytes, event_bytes, events, iocbs,
            iocb_bytes, submitted, id, nr_events, resv,
        }
        aio2_cancel = wait::Cancel {
            flags, fd, nr, resv, id, user_data, timeout, cancelled, interrupted, too_late, resv2,
        }
    };
    // A keyword in Rust.
    let place = facts.remove("aio2_path_return.place").expect("the field has just been added");
    facts.insert("aio2_path_return.where".into(), place);
    // Arguments follow the fixed part; Rust has no field for them.
    facts.insert("aio2_iocb.args".into(), vec![iocb::HEADER_BYTES as u64]);
    facts
}

fn constants_of_rust() -> Facts {
    let mut facts = Facts::new();
    let mut add = |prefix: &str, name: &str, value: u64| {
        let again = facts.insert(format!("AIO2_{prefix}{name}"), vec![value]);
        assert_eq!(again, None, "AIO2_{prefix}{name} twice");
    };
    // Flags come from the types themselves, so that none is forgotten.
    setup::SetupFlags::all().iter_names().for_each(|(n, f)| add("SETUP_", n, f.bits().into()));
    setup::Hints::all().iter_names().for_each(|(n, f)| add("HINT_", n, f.bits().into()));
    setup::Features::all().iter_names().for_each(|(n, f)| add("FEAT_", n, f.bits()));
    ring::RingFlags::all().iter_names().for_each(|(n, f)| add("RING_", n, f.bits().into()));
    iocb::IocbFlags::all().iter_names().for_each(|(n, f)| add("IOCB_", n, f.bits().into()));
    attr::AttrFlags::all().iter_names().for_each(|(n, f)| add("ATTR_", n, f.bits().into()));
    event::EventFlags::all().iter_names().for_each(|(n, f)| add("EVENT_", n, f.bits().into()));
    wait::GetFlags::all().iter_names().for_each(|(n, f)| add("GET_", n, f.bits().into()));
    wait::CancelFlags::all().iter_names().for_each(|(n, f)| add("CANCEL_", n, f.bits().into()));
    for id in 1..=attr::ID_MAX {
        if let Some(kind) = attr::kind(id) {
            add("ATTR_", kind.name, id.into());
        }
    }
    for (name, value) in [
        ("VERSION", aio2_abi::VERSION),
        ("RING_BYTES_MIN", setup::RING_BYTES_MIN),
        ("RING_BYTES_MAX", setup::RING_BYTES_MAX),
        ("MAX_REQUESTS", setup::MAX_REQUESTS),
        ("MAX_CONCURRENCY", setup::MAX_CONCURRENCY),
        ("MAX_ARGS", op::MAX_ARGS as u32),
        ("IOCB_MAX", iocb::LEN_MAX as u32),
        ("EVENT_MAX", event::LEN_MAX as u32),
        ("ATTR_ID_MAX", attr::ID_MAX.into()),
        ("RING_MAGIC", ring::MAGIC),
        ("NOTIFY_ON", ring::NOTIFY_ON),
        ("NOTIFY_OFF", ring::NOTIFY_OFF),
        ("OP", op::OP),
        ("OP_NOP", op::NOP),
        ("OP_POLL", op::POLL),
        ("OP_GROUP", op::GROUP),
        ("AFTER_REQUEST", attr::AFTER_REQUEST),
        ("AFTER_GROUP", attr::AFTER_GROUP),
        ("AFTER_STREAM", attr::AFTER_STREAM),
        ("CACHE_NORMAL", attr::CACHE_NORMAL),
        ("CACHE_KEEP", attr::CACHE_KEEP),
        ("CACHE_DROP", attr::CACHE_DROP),
        ("CACHE_NO_READAHEAD", attr::CACHE_NO_READAHEAD),
        ("PATH_INLINE", attr::PATH_INLINE),
        ("PATH_PAGE_WAIT", attr::PATH_PAGE_WAIT),
        ("PATH_WORKER", attr::PATH_WORKER),
        ("PATH_DEVICE", attr::PATH_DEVICE),
        ("CHECKSUM_CRC32C", attr::CHECKSUM_CRC32C),
    ] {
        add("", name, value.into());
    }
    facts
}

/// Names on which the two sides differ, with what each says.
fn differences(c: &Facts, rust: &Facts) -> BTreeMap<String, String> {
    c.keys()
        .chain(rust.keys())
        .filter(|name| c.get(*name) != rust.get(*name))
        .map(|name| (name.clone(), format!("C {:?}, Rust {:?}", c.get(name), rust.get(name))))
        .collect()
}

#[test]
fn header_and_rust_have_the_same_layout_and_constants() {
    let c = facts_of_c();
    let mut rust = structures_of_rust();
    rust.extend(constants_of_rust());
    let different = differences(&c, &rust);
    assert!(different.is_empty(), "{different:#?}");
    println!("{} constants, sizes and fields are the same", c.len());
}

#[test]
fn a_difference_on_either_side_is_found() {
    let c = facts_of_c();
    let mut rust = c.clone();
    assert!(differences(&c, &rust).is_empty());
    rust.insert("AIO2_EXTRA".into(), vec![1]);
    rust.remove("aio2_setup.fd");
    rust.insert("aio2_iocb.id".into(), vec![24, 4]);
    let names: Vec<String> = differences(&c, &rust).into_keys().collect();
    assert_eq!(names, ["AIO2_EXTRA", "aio2_iocb.id", "aio2_setup.fd"]);
}

#[test]
fn every_define_and_field_of_the_header_is_taken() {
    let header = header();
    let defines = header.matches("#define AIO2_").count();
    assert_eq!(constants(&header).len(), defines);
    let structures = structures(&header);
    assert_eq!(structures.len(), header.matches("\n};").count());
    let fields: usize = structures.iter().map(|(_, fields)| fields.len()).sum();
    let documented = header.lines().filter(|line| line.starts_with(" * @")).count();
    assert_eq!(fields, documented, "a field without a kernel-doc line, or one that was not seen");
}

#[test]
fn the_header_stands_alone_in_c_and_in_cxx() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (compiler, name, flags) in [
        ("gcc", "alone.c", &["-std=c11", "-fsyntax-only"][..]),
        // A flexible array is an extension there.
        ("g++", "alone.cc", &["-std=c++17", "-fsyntax-only"][..]),
    ] {
        let source = dir.path().join(name);
        std::fs::write(&source, "#include <linux/aio2.h>\n#include <linux/aio2.h>\n")
            .expect("the program is written");
        compile(compiler, &source, Path::new("/dev/null"), flags);
    }
}

#[test]
fn the_table_of_attributes_has_the_sizes_of_their_payloads() {
    fn size<T>() -> u16 {
        size_of::<T>() as u16
    }
    let sizes = [
        (attr::PRIORITY, size::<attr::Priority>(), 0),
        (attr::DEADLINE, size::<attr::Deadline>(), 0),
        (attr::SIGNAL, size::<attr::Signal>(), 0),
        (attr::GROUP, size::<attr::Group>(), 0),
        (attr::AFTER, size::<attr::After>(), 0),
        (attr::CACHE, size::<attr::Cache>(), size::<attr::CacheReturn>()),
        (attr::TAG, size::<attr::Tag>(), 0),
        (attr::TIMING, 0, size::<attr::TimingReturn>()),
        (attr::PATH, 0, size::<attr::PathReturn>()),
        (attr::CHECKSUM, size::<attr::Checksum>(), size::<attr::ChecksumReturn>()),
    ];
    for (id, request, returns) in sizes {
        let kind = attr::kind(id).expect("an attribute of version 1");
        assert_eq!((kind.request, kind.returns), (request, returns), "{}", kind.name);
    }
    assert_eq!((0..=u16::MAX).filter(|&id| attr::kind(id).is_some()).count(), sizes.len());
}

/// The file that a patch of the kernel series makes is this header.
#[test]
fn the_kernel_series_carries_the_bytes_of_the_header() {
    const MARK: &str = "\n+++ b/include/uapi/linux/aio2.h\n";
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel-patch");
    let mut found = Vec::new();
    for entry in dir.read_dir().expect("the series is there") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "patch") {
            let patch = std::fs::read_to_string(&path).expect("a patch is text");
            found.extend(patch.split_once(MARK).map(|(_, hunk)| hunk.to_owned()));
        }
    }
    let [hunk] = found.try_into().expect("one patch makes it, and none changes it");
    let mut lines = hunk.lines();
    let count = header().lines().count();
    assert_eq!(lines.next(), Some(format!("@@ -0,0 +1,{count} @@").as_str()));
    let added = lines.map_while(|line| line.strip_prefix('+'));
    assert!(added.eq(header().lines()), "run diff on the hunk and abi/include/linux/aio2.h");
}
