//! The rows: each source with each target and option, and what stands alone.

use std::path::Path;
use std::process::{Command, Stdio};

/// How aio2 cp differs from cp(1), on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differs {
    No,
    /// Why, the status, and how what is left begins, by name.
    Meant {
        why: &'static str,
        status: i32,
        left: &'static [(&'static str, &'static str)],
    },
}

/// One copy.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: String,
    /// What it needs beyond GNU cp: root, mount, fuse, or a program.
    pub needs: &'static str,
    pub setup: String,
    /// Arguments of the command.
    pub args: &'static str,
    /// What is run instead, with CP for the command; empty if that is enough.
    pub run: &'static str,
    /// What undoes the setup.
    pub end: &'static str,
    /// What must be said on standard error if it fails.
    pub says: &'static str,
    /// Whether files are made durable.
    pub sync: bool,
    pub differs: Differs,
}

const SOURCES: &[(&str, &str, &str)] = &[
    ("a file", "", "echo hello > s; chmod 640 s"),
    ("a link to a file", "", "echo hello > f; ln -s f s"),
    ("a directory", "", "mkdir s; echo x > s/in; mkdir s/sub; ln -s in s/link; chmod 750 s"),
    ("a device", "root", "mknod s c 1 3"),
    ("an empty set-id file", "", ": > s; chmod 6755 s"),
    ("a large file", "", "head -c 700001 /dev/zero | tr '\\0' x > s"),
    (
        "a sparse file",
        "",
        "truncate -s 4M s; printf mid | dd of=s bs=1 seek=2M conv=notrunc status=none",
    ),
    ("a hole", "", "truncate -s 3M s"),
    ("a link that dangles", "", "ln -s nowhere s"),
    ("a link to a directory", "", "mkdir d; echo x > d/in; ln -s d s"),
    ("an empty directory", "", "mkdir -m 1777 s"),
    ("hard links", "", "mkdir s; echo a > s/1; ln s/1 s/2; ln -s 1 s/l; ln s/1 s/3"),
    (
        "odd names",
        "",
        "mkdir s; echo 1 > \"s/$(printf 'a\\nb')\"; echo 2 > s/-dash; echo 3 > 's/ a b '; echo 4 > \"s/$(printf '\\377\\376')\"; echo 5 > s/.hidden",
    ),
    ("a fifo in a directory", "", "mkdir s; mkfifo -m 620 s/fifo"),
    ("nothing", "", ":"),
];

/// Sources that meet each target with each option; the others meet the first
/// few of both.
const THOROUGH: usize = 3;
const COMMON: usize = 5;

const TARGETS: &[(&str, &str, &str)] = &[
    ("nothing", "", ":"),
    ("a file", "", "echo old > t; chmod 604 t"),
    ("a directory", "", "mkdir -m 755 t"),
    ("a directory with a file of that name", "", "mkdir t; echo old > t/s"),
    ("a directory with a directory of that name", "", "mkdir -p t/s; echo old > t/s/old"),
    ("a directory with a link of that name", "", "mkdir t; echo old > t/g; ln -s g t/s"),
    ("a link to a file", "", "echo old > g; ln -s g t"),
    ("a link that dangles", "", "ln -s none t"),
    ("a link to a directory", "", "mkdir e; ln -s e t"),
    ("a device", "root", "mknod t c 1 3"),
    ("a read-only file", "", "echo old > t; chmod 444 t"),
];

const OPTIONS: &[&str] = &[
    "-a s t", "s t", "-r s t", "-P s t", "-rL s t", "-p s t", "-T s t", "-r s t/", "-rn s t",
    "-b s t", "-ru s t",
];
const USUAL: usize = 2;

/// What differs on purpose in the product of the three.
fn meant(source: &str, target: &str, args: &str) -> bool {
    let changes_device = target == "a device" && (args.contains("-a") || args.contains("-p"));
    // cp(1) gives /dev/null the mode of what is copied to it; here it stays.
    (changes_device && (source != "a device" || args.contains("-p")))
        // cp(1) replaces by a special file what is there, but not with -L.
        || (source == "a device" && args.contains("-rL"))
}

fn product() -> Vec<Row> {
    let mut rows = Vec::new();
    for (n, &(source, needs, plant)) in SOURCES.iter().enumerate() {
        for &(target, also, prepare) in if n < THOROUGH { TARGETS } else { &TARGETS[..COMMON] } {
            for &args in if n < THOROUGH { OPTIONS } else { &OPTIONS[..USUAL] } {
                if meant(source, target, args) {
                    continue;
                }
                let needs = if needs.is_empty() { also } else { needs };
                let name = format!("{source} to {target}: cp {args}");
                let there = "for there in t e g; do [ -e $there ] && find $there/ -exec touch -h -d @1100000000.75 {} +; done; true";
                let row = row(name, plant, args);
                let setup = format!("{}; {prepare}; {there}", row.setup);
                rows.push(Row { needs, setup, ..row });
            }
        }
    }
    rows
}

/// What a failure must say that nobody can read.
pub const NOTHING: &str = "-";

/// Everything that is there is old.
const AGE: &str = "find . -exec touch -h -d @1000000000.25 {} + 2>/dev/null || true";

fn row(name: impl Into<String>, setup: impl Into<String>, args: &'static str) -> Row {
    Row {
        name: name.into(),
        needs: "",
        setup: format!("{}; {AGE}", setup.into()),
        args,
        run: "",
        end: "",
        says: "",
        sync: false,
        differs: Differs::No,
    }
}

fn root(row: Row) -> Row {
    Row { needs: "root", ..row }
}

fn runs(name: &str, setup: &str, run: &'static str) -> Row {
    Row { run, ..row(name, setup, "") }
}

const TREE: &str =
    "mkdir -p s/d/e; echo 1 > s/1; echo 2 > s/d/2; echo 3 > s/d/e/3; ln s/1 s/d/one; ln -s 1 s/l";
const AB: &str = "echo a > a; echo b > b";

/// What the command line means.
fn command_lines() -> Vec<Row> {
    vec![
        row("several to a directory", format!("{AB}; mkdir t"), "a b t"),
        row("several to nothing", AB, "a b t"),
        row("several to a file", format!("{AB}; echo t > t"), "a b t"),
        row("several to a link to a directory", format!("{AB}; mkdir d; ln -s d t"), "a b t"),
        row("-t", format!("{AB}; mkdir t"), "-t t a b"),
        row("-t nothing", AB, "-t t a b"),
        row("-t a file", format!("{AB}; echo t > t"), "-t t a b"),
        row("--target-directory=", format!("{AB}; mkdir t"), "--target-directory=t a b"),
        row("-T a directory onto a directory", "mkdir s t; echo s > s/s; echo t > t/t", "-aT s t"),
        row("-T a file onto a directory", "echo s > s; mkdir t", "-T s t"),
        row("-T of two", AB, "-T a b t"),
        row("the same source twice", format!("{AB}; mkdir t"), "a a b t"),
        row(
            "one name from two directories",
            "mkdir a b t; echo a > a/f; echo b > b/f",
            "a/f b/f t",
        ),
        row(
            "one directory's name twice",
            "mkdir -p a/d b/d t; echo a > a/d/f; echo b > b/d/g",
            "-r a/d b/d t",
        ),
        row("a missing one among others", format!("{AB}; mkdir t"), "a missing b t"),
        row("a directory among files, without -r", format!("{AB}; mkdir t d"), "a d b t"),
        row("one source, no target", AB, "a"),
        row("an empty source", AB, "'' t"),
        row("an empty target", AB, "a ''"),
        Row {
            differs: Differs::Meant {
                why: "nothing is made before it is seen that this cannot be",
                status: 1,
                left: &[("s/d/s", "nothing")],
            },
            ..row("a directory into itself", TREE, "-r s s/d")
        },
        row("contents of a directory", TREE, "-a s/. t"),
        row(
            "contents of a directory into one that is there",
            format!("{TREE}; mkdir t; echo t > t/1"),
            "-a s/. t",
        ),
        row(
            "contents of two directories",
            "mkdir a b t; echo a > a/f; echo b > b/f; echo c > b/g",
            "-a a/. b/. t",
        ),
        row("the parent", "mkdir -p s/d; echo x > s/x; mkdir t", "-a s/d/.. t"),
        row("a file with a slash", AB, "a/ t"),
        row("a directory with a slash", TREE, "-a s/ t"),
        row("a link to a directory with a slash", "mkdir d; echo x > d/x; ln -s d s", "-a s/ t"),
        row("to nothing with a slash", AB, "a new/"),
        row("to a file with a slash", AB, "a b/"),
        row("a directory to nothing with a slash", TREE, "-a s new/"),
        row("to a name in a missing directory", AB, "a missing/t"),
        row("to a name below a file", AB, "a b/t"),
        row("a file to itself", AB, "a a"),
        row("a file to a link to it", "echo a > a; ln -s a l", "a l"),
        row("a file to a hard link of it", "echo a > a; ln a l", "a l"),
        row("a link onto what it leads to", "echo a > a; ln -s a l", "l a"),
        row("-R", TREE, "-R s t"),
        row("--recursive", TREE, "--recursive s t"),
        row("--archive", TREE, "--archive s t"),
        row("-dR --preserve=all", TREE, "-dR --preserve=all s t"),
        row("-v", format!("{AB}; mkdir t"), "-v a b t"),
        row("-av of a tree", TREE, "-av s t"),
        row("-i, yes", AB, ""),
        row("an option that nobody knows", AB, "--nonsense a t"),
        row("--", "echo x > -a", "-- -a t"),
    ]
    .into_iter()
    .map(|row| match row.name.as_str() {
        "-i, yes" => Row { run: "echo y | CP -i a b", ..row },
        _ => row,
    })
    .collect()
}

/// What is replaced, and what becomes of it.
fn replaced() -> Vec<Row> {
    let both = "echo new > s; echo old > t; touch -d @1000000000 s";
    let vs = "echo new > s; echo old > t";
    vec![
        runs("-i, no", vs, "echo n | CP -i s t"),
        runs("-i, end of input", vs, "CP -i s t < /dev/null"),
        row("-n", vs, "-n s t"),
        row("-n to nothing", "echo new > s", "-n s t"),
        row("-f of a read-only file", format!("{vs}; chmod 0 t"), "-f s t"),
        Row {
            setup: format!("{both}; touch -d @900000000 t"),
            ..row("-u of an older one", "", "-u s t")
        },
        Row {
            setup: format!("{both}; touch -d @1100000000 t"),
            ..row("-u of a newer one", "", "-u s t")
        },
        row("-u of one as old", vs, "-u s t"),
        row(
            "--remove-destination of a link",
            "echo new > s; echo old > g; ln -s g t",
            "--remove-destination s t",
        ),
        row(
            "--remove-destination of a link that dangles",
            "echo new > s; ln -s none t",
            "--remove-destination s t",
        ),
        row("-b", vs, "-b s t"),
        row("-b -S", vs, "-b -S .bak s t"),
        row("-S alone", vs, "-S .bak s t"),
        row("--backup", vs, "--backup s t"),
        row("--backup=simple", vs, "--backup=simple s t"),
        row("--backup=never", vs, "--backup=never s t"),
        row("--backup=numbered", vs, "--backup=numbered s t"),
        row(
            "--backup=t after two",
            format!("{vs}; echo 1 > t.~1~; echo 7 > t.~7~"),
            "--backup=t s t",
        ),
        row("--backup=existing with none", vs, "--backup=existing s t"),
        row("--backup=existing with one", format!("{vs}; echo 3 > t.~3~"), "--backup=existing s t"),
        row("--backup=none", vs, "--backup=none s t"),
        row("--backup=nonsense", vs, "--backup=nonsense s t"),
        row("--backup to nothing", "echo new > s", "--backup s t"),
        row(
            "--backup in a tree",
            "mkdir -p s t/s; echo n > s/f; echo o > t/s/f",
            "-a --backup=numbered s t",
        ),
        row("-b over a backup that is there", format!("{vs}; echo older > t~"), "-b s t"),
        row("-b of a link in the target", "echo new > s; echo old > g; ln -s g t", "-b s t"),
        runs("VERSION_CONTROL", vs, "export VERSION_CONTROL=numbered; CP -b s t"),
        runs("SIMPLE_BACKUP_SUFFIX", vs, "export SIMPLE_BACKUP_SUFFIX=.old; CP -b s t"),
        row("a directory onto a file", format!("{TREE}; echo t > t"), "-a s t"),
        row(
            "a directory onto a link to a directory, within",
            "mkdir -p s/d t/s e; echo x > s/d/x; ln -s ../../e t/s/d",
            "-a s t",
        ),
        row("a file onto a directory, within", "mkdir -p s t/s/f; echo x > s/f", "-a s t"),
        row("a link onto a file, within", "mkdir -p s t/s; ln -s g s/f; echo x > t/s/f", "-a s t"),
        row("a link onto a link, within", "mkdir -p s t/s; ln -s g s/f; ln -s h t/s/f", "-a s t"),
        row(
            "a file onto a link, within",
            "mkdir -p s t/s; echo n > s/f; echo o > t/s/h; ln -s h t/s/f",
            "-a s t",
        ),
        row("one of several names", "echo new > s; echo old > t; ln t u", "-a s t"),
        Row {
            differs: Differs::Meant {
                why: "a file is replaced as a whole, so that its other name keeps what it was",
                status: 0,
                left: &[("t", "file 'new'"), ("u", "file 'old'")],
            },
            ..row("one of several names, without -a", "echo new > s; echo old > t; ln t u", "s t")
        },
    ]
}

/// What is kept.
fn kept() -> Vec<Row> {
    let acl = "echo x > s; chmod 640 s; setfacl -m u:1234:rw s";
    let needs = |needs, row: Row| Row { needs, ..row };
    let mut rows = vec![
        row("--preserve=mode", "echo x > s; chmod 4751 s", "--preserve=mode s t"),
        row("--preserve=timestamps", "echo x > s; chmod 600 s", "--preserve=timestamps s t"),
        row("--preserve", "echo x > s; chmod 2711 s", "--preserve s t"),
        row("--preserve=links", TREE, "-r --preserve=links s t"),
        row("--preserve=nonsense", AB, "--preserve=nonsense a t"),
        row("-a --no-preserve=mode", "echo x > s; chmod 4751 s", "-a --no-preserve=mode s t"),
        row("-a --no-preserve=timestamps", "echo x > s", "-a --no-preserve=timestamps s t"),
        row("-a --no-preserve=links", TREE, "-a --no-preserve=links s t"),
        row("-r does not keep hard links", TREE, "-r s t"),
        row("-d", "echo x > f; ln -s f s", "-d s t"),
        row("-d of hard links", "echo x > a; ln a b; mkdir t", "-d a b t"),
        row("-p of hard links", "echo x > a; ln a b; mkdir t", "-p a b t"),
        row("-H of a link", "mkdir d; echo x > d/x; ln -s x d/l; ln -s d s", "-rH s t"),
        row("-L in a tree", "mkdir s; echo x > s/x; ln -s x s/l", "-rL s t"),
        row("-L of a link that dangles", "mkdir s; echo x > s/x; ln -s none s/l", "-rL s t"),
        row("-aL", "mkdir s; echo x > s/x; ln -s x s/l", "-aL s t"),
        row("-P after -L", "echo x > f; ln -s f s", "-LP s t"),
        row("no umask for -a", "mkdir s; echo x > s/x; chmod 777 s s/x", "-a s t"),
        row("the umask without", "mkdir s; echo x > s/x; chmod 777 s s/x", "-r s t"),
        row("a set-group-id directory", "mkdir s; chmod 2775 s", "-r s t"),
        row(
            "into a set-group-id directory of that name",
            "mkdir -p s/d t/s/d; echo x > s/d/x; chmod 2775 t/s/d",
            "-r s t",
        ),
        row(
            "into a sticky directory of that name",
            "mkdir s t; echo x > s/x; chmod 1777 t",
            "-rT s t",
        ),
        row(
            "contents into a sticky directory",
            "mkdir s t; echo x > s/x; chmod 1777 t",
            "-r s/. t",
        ),
        row(
            "directories without permissions",
            "mkdir -p s/n s/r; echo x > s/r/x; chmod 0 s/n; chmod 555 s/r",
            "-a s t",
        ),
        row("a file without permissions", "echo x > s; chmod 0 s", "-a s t"),
        root(row("an owner", "echo x > s; chown 1234:5678 s; chmod 4711 s", "-a s t")),
        root(Row {
            differs: Differs::Meant {
                why: "a set-id bit does not become that of another owner",
                status: 0,
                left: &[("t", "file 'x', 711 0:0 now")],
            },
            ..row(
                "an owner, not kept",
                "echo x > s; chown 1234:5678 s; chmod 4711 s",
                "--preserve=mode s t",
            )
        }),
        root(row(
            "--preserve=ownership",
            "echo x > s; chown 1234:5678 s; chmod 711 s",
            "--preserve=ownership s t",
        )),
        root(row(
            "owners of links and fifos",
            "mkdir s; ln -s x s/l; mkfifo s/f; chown -h 7:8 s/l s/f",
            "-a s t",
        )),
        root(row(
            "the owner of what is there",
            "echo n > s; echo o > t; chown 1234:5678 t; chmod 640 t",
            "s t",
        )),
        root(row(
            "into a set-group-id directory",
            "echo x > s; mkdir t; chgrp 99 t; chmod 2775 t",
            "-a s t",
        )),
        root(row(
            "into a set-group-id directory, not kept",
            "mkdir s; echo x > s/x; mkdir t; chgrp 99 t; chmod 2775 t",
            "-r s t",
        )),
        root(row(
            "devices",
            "mkdir s; mknod s/c c 1 3; mknod s/b b 7 200; mkfifo s/f; chmod 640 s/*",
            "-a s t",
        )),
        root(runs(
            "as a user who may not give it away",
            "echo x > s; chmod 6755 s; mkdir -m 777 d",
            "chmod 777 .; setpriv --reuid 65534 --regid 65534 --clear-groups CP -a s d/t",
        )),
        needs(
            "setfattr",
            row(
                "user attributes",
                "mkdir s; echo x > s/f; setfattr -n user.a -v 1 s; setfattr -n user.b -v 2 s/f",
                "-a s t",
            ),
        ),
        needs(
            "setfattr",
            row(
                "user attributes of a read-only file",
                "echo x > s; setfattr -n user.a -v 1 s; chmod 400 s",
                "-a s t",
            ),
        ),
        needs(
            "setfattr",
            row("user attributes without -a", "echo x > s; setfattr -n user.a -v 1 s", "-p s t"),
        ),
        needs(
            "setfattr",
            row(
                "--preserve=xattr",
                "echo x > s; setfattr -n user.a -v 1 s",
                "--preserve=xattr s t",
            ),
        ),
        needs(
            "setfattr",
            row(
                "a large attribute",
                "echo x > s; setfattr -n user.a -v $(head -c 1500 /dev/zero | tr '\\0' a) s",
                "-a s t",
            ),
        ),
        needs("setfacl", row("a list", acl, "-a s t")),
        needs("setfacl", row("a list, by -p", acl, "-p s t")),
        needs(
            "setfacl",
            row(
                "a list of a directory and its default",
                "mkdir s; echo x > s/x; setfacl -m u:1234:rwx s; setfacl -d -m g:99:rx s",
                "-a s t",
            ),
        ),
        needs(
            "setfacl",
            row(
                "no list into a directory that gives one",
                "mkdir s; echo x > s/x; chmod 664 s/x; mkdir t; setfacl -d -m u:1234:rwx t",
                "-a s t",
            ),
        ),
        needs("setfacl", row("a list over a file", format!("{acl}; echo old > t"), "-a s t")),
        needs(
            "setfacl",
            row("a list on a fifo", "mkdir s; mkfifo s/f; setfacl -m u:1234:rw s/f", "-a s t"),
        ),
        root(Row {
            needs: "setfattr",
            ..row(
                "trusted attributes of a link",
                "mkdir s; ln -s x s/l; setfattr -h -n trusted.a -v 1 s/l",
                "-a s t",
            )
        }),
    ];
    for (name, time) in [
        ("before 1970", "-1500000001.5"),
        ("the year 2400", "13569465600"),
        ("a nanosecond", "999999999.000000001"),
        ("zero", "0"),
    ] {
        let setup = format!("echo x > s; touch -d @{time} s");
        rows.push(Row { setup, ..row(format!("a time: {name}"), "", "-a s t") });
    }
    rows
}

/// Bytes and holes.
fn bytes() -> Vec<Row> {
    let zeros = "head -c 500000 /dev/zero > s; echo end >> s";
    let sparse = "truncate -s 2M s; echo mid | dd of=s bs=1 seek=1M conv=notrunc status=none";
    vec![
        row("--sparse=always of zeros", zeros, "--sparse=always s t"),
        row(
            "--sparse=always of zeros at the end",
            "echo x > s; head -c 500000 /dev/zero >> s",
            "--sparse=always s t",
        ),
        row("--sparse=never of zeros", zeros, "--sparse=never s t"),
        row("--sparse=never of holes", sparse, "--sparse=never s t"),
        row("--sparse=auto of holes", sparse, "--sparse=auto s t"),
        row("--sparse=always of a hole", "truncate -s 1M s", "--sparse=always s t"),
        row("--sparse=nonsense", zeros, "--sparse=nonsense s t"),
        row("--reflink=never", "echo x > s", "--reflink=never s t"),
        row("--reflink=auto", "echo x > s", "--reflink=auto s t"),
        row("--reflink=always with --sparse=always", zeros, "--reflink=always --sparse=always s t"),
        row("data at both ends of a hole", "echo a > s; truncate -s 3M s; echo z >> s", "-a s t"),
        row(
            "an odd end",
            "printf z | dd of=s bs=1 seek=4097 status=none; truncate -s 12345 s",
            "-a s t",
        ),
        row("2 MiB and one byte", "head -c 2097153 /dev/zero | tr '\\0' y > s", "-a s t"),
        Row { sync: true, ..row("a tree, durable", TREE, "-a s t") },
        Row {
            sync: true,
            ..row(
                "many files, durable",
                "mkdir s; for n in $(seq 80); do echo $n > s/$n; done",
                "-a s t",
            )
        },
        Row {
            sync: true,
            ..row(
                "onto files, durable",
                "mkdir -p s t/s; for n in $(seq 40); do echo $n > s/$n; echo o > t/s/$n; done",
                "-a s t",
            )
        },
        row("2,000 files", "mkdir s; cd s; seq 2000 | split -l 1 -a 4; cd ..", "-r s t"),
        row(
            "100 levels",
            "d=s; for n in $(seq 100); do d=$d/dir; done; mkdir -p $d; echo x > $d/x",
            "-a s t",
        ),
    ]
}

/// What is no regular file.
fn special() -> Vec<Row> {
    let plain = "echo new > s";
    vec![
        runs("/dev/stdin, a pipe", ":", "echo hello | CP /dev/stdin t"),
        runs("/dev/stdin, a file", plain, "CP /dev/stdin t < s"),
        runs("a link to /dev/stdin", "ln -s /dev/stdin l", "echo hello | CP l t"),
        runs("a large pipe", ":", "head -c 1000000 /dev/zero | CP /dev/stdin t"),
        runs("a pipe onto a file", "echo old > t", "echo hello | CP /dev/stdin t"),
        runs("a pipe to /dev/stdout", ":", "echo hello | CP /dev/stdin /dev/stdout > t"),
        runs("a fifo with a writer", "mkfifo s", "(echo data > s &) ; CP s t"),
        runs("to a fifo with a reader", "mkfifo t; echo data > s", "(timeout 9 cat t > got &) ; CP s t; r=$?; sleep 0.1; exit $r"),
        runs("to /dev/stdout", plain, "CP s /dev/stdout > got"),
        row("to /dev/null", plain, "s /dev/null"),
        row("to /dev/full", plain, "s /dev/full"),
        row("to a link to /dev/null", format!("{plain}; ln -s /dev/null t"), "s t"),
        row("/dev/null", ":", "/dev/null t"),
        row("/dev/null onto a file", "echo old > t", "/dev/null t"),
        row("/proc/version", ":", "/proc/version t"),
        row("/proc/self/mounts in a sparse way", ":", "--sparse=always /proc/filesystems t"),
        row("/sys", ":", "/sys/kernel/mm/transparent_hugepage/enabled t"),
        Row { needs: "python3", ..row("a socket in a tree", "mkdir s; python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('s/k')\"", "-a s t") },
        Row { needs: "python3", says: "socket", ..row("a socket without -r", "python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('s')\"", "s t") },
        Row { needs: "python3", says: "socket", ..row("onto a socket", "echo x > s; python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('t')\"", "s t") },
        Row {
            needs: "python3",
            end: "kill $(cat pid)",
            ..runs(
                "a lease that is given up",
                "echo leased > s",
                "python3 -c \"
import fcntl, signal, os, time
fd = os.open('s', os.O_RDWR)
def give_up(s, f): time.sleep(0.1); fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
signal.signal(signal.SIGIO, give_up)
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
open('/tmp/held.' + str(os.getppid()), 'w').close()
end = time.time() + 5
while time.time() < end: time.sleep(0.02)
\" & while [ ! -e /tmp/held.$$ ]; do sleep 0.02; done; rm /tmp/held.$$; CP s t; r=$?; kill $!; exit $r",
            )
        },
    ]
}

/// Where something is in the way.
fn faults() -> Vec<Row> {
    let mount = |row: Row| Row { needs: "mount", end: "umount m", ..row };
    let mut rows = vec![
        Row { says: "ENAMETOOLONG", ..row("a name that is too long", AB, "a tttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt") },
        mount(row("a file that is a mount point", "echo new > f; echo old > o; touch m; mount --bind o m", "f m")),
        mount(row("-a onto a file that is a mount point", "echo new > f; echo old > o; touch m; mount --bind o m", "-a f m")),
        mount(row("a tree onto a mount point within", "mkdir -p s t/s; echo n > s/f; echo o > o; touch t/s/f m; mount --bind o t/s/f; mount --bind o m", "-a s t")),
        Row { says: "ENOSPC", ..mount(runs("a full disk", "mkdir m; mount -t tmpfs -o size=64k none m; head -c 200000 /dev/zero > f", "CP f m/t; r=$?; rm -f m/t; touch m; exit $r")) },
        Row { says: "EROFS", ..mount(row("a read-only file system", "mkdir m; mount -t tmpfs none m; echo o > m/o; mount -o remount,ro m; echo f > f; cp -p f f2; true", "f m/t")) },
        mount(row("-x", "mkdir -p s/m m; echo 1 > s/1; mount -t tmpfs none m; mount --bind m s/m; echo hidden > s/m/x", "-rx s t")),
        mount(row("between file systems", "mkdir s m; echo a > s/1; ln s/1 s/2; mount -t tmpfs none m", "-a s m/t")),
        Row { needs: "chattr", end: "chattr -a t", ..row("a new name in an append-only directory", "echo x > s; mkdir t; chattr +a t", "s t/") },
        Row { needs: "chattr", end: "chattr -a t", ..row("a file in an append-only directory", "echo x > s; mkdir t; echo o > t/s; chattr +a t", "s t/") },
        Row { needs: "chattr", end: "chattr -a t", ..row("a tree into an append-only directory", "mkdir s; echo x > s/x; ln -s x s/l; mkdir t; chattr +a t", "-a s t/") },
        Row { needs: "chattr", end: "chattr -i t", ..row("an immutable file", "echo x > s; echo o > t; chattr +i t", "s t") },
        Row { needs: "chattr", end: "chattr -i t", ..row("a file in an immutable directory", "echo x > s; mkdir t; echo o > t/s; chattr +i t", "s t/") },
        Row { needs: "chattr", end: "chattr -i t", ..row("a new name in an immutable directory", "echo x > s; mkdir t; chattr +i t", "s t/") },
        root(Row { says: "EACCES", ..runs("what may not be read", "echo x > s; chmod 600 s; mkdir -m 777 d", "chmod 755 .; setpriv --reuid 65534 --regid 65534 --clear-groups CP s d/t") }),
        root(Row { says: "EACCES", differs: Differs::Meant { why: "a directory that cannot be read is not made", status: 1, left: &[("d/t/1", "file '1'"), ("d/t/2", "nothing"), ("d/t/c", "nothing")] }, ..runs("a tree, part of which may not be read", "mkdir -p s/c d; echo 1 > s/1; echo 2 > s/2; chmod 600 s/2; chmod 700 s/c; chmod 777 d", "chmod 755 .; setpriv --reuid 65534 --regid 65534 --clear-groups CP -r s d/t") }),
        root(Row { says: "EACCES", ..runs("where nothing may be made", "echo x > s; mkdir d", "chmod 755 .; setpriv --reuid 65534 --regid 65534 --clear-groups CP s d/t") }),
        root(runs("a file of ours in a directory of others", "echo n > s; mkdir d; echo o > d/t; chmod 666 d/t", "chmod 755 .; setpriv --reuid 65534 --regid 65534 --clear-groups CP s d/t")),
        root(runs("a file of others in a sticky directory", "echo n > s; mkdir d; chmod 1777 d; echo o > d/t; chmod 666 d/t", "chmod 755 .; setpriv --reuid 65534 --regid 65534 --clear-groups CP s d/t; r=$?; touch d; exit $r")),
        Row { needs: "fuse", end: "umount m", ..runs("more bytes than the size says", "mkdir m", "cat > /tmp/aio2-fs.$$.py <<P
import fusepy as fuse, stat, errno, sys
class F(fuse.Operations):
    def getattr(self, p, fh=None):
        if p == '/': return dict(st_mode=stat.S_IFDIR | 0o755, st_nlink=2)
        if p == '/f': return dict(st_mode=stat.S_IFREG | 0o644, st_nlink=1, st_size=10)
        raise fuse.FuseOSError(errno.ENOENT)
    def readdir(self, p, fh): return ['.', '..', 'f']
    def open(self, p, f): return 0
    def read(self, p, size, off, fh): return (b'0123456789' * 100)[off:off + size]
fuse.FUSE(F(), sys.argv[1], foreground=True, direct_io=True)
P
/usr/bin/python3 /tmp/aio2-fs.$$.py m & n=0; while [ ! -e m/f ] && [ $n -lt 100 ]; do sleep 0.05; n=$((n+1)); done; CP m/f t; r=$?; umount m; rm /tmp/aio2-fs.$$.py; exit $r") },
    ];
    // A directory above itself, by links: cp(1) ends by ELOOP or by noticing it.
    rows.push(Row {
        differs: Differs::Meant {
            why: "the tree is copied once, and not as often as links can be followed",
            status: 1,
            left: &[("t/x", "file 'x'")],
        },
        ..row("-L of a circle", "mkdir s; echo x > s/x; ln -s . s/l", "-rL s t")
    });
    rows.push(Row {
        differs: Differs::Meant {
            why: "cp(1) makes s/new, and in it what it finds, before it sees what it does",
            status: 1,
            left: &[("s/new", "nothing")],
        },
        ..row("a directory into a new one in itself", TREE, "-r s s/new")
    });
    for (option, args) in [
        ("--link", "--link a t"),
        ("-l", "-l a t"),
        ("-s", "-s a t"),
        ("--parents", "--parents a t"),
        ("-Z", "-Z a t"),
        ("--attributes-only", "--attributes-only a t"),
        ("--copy-contents", "--copy-contents a t"),
    ] {
        let why = "it is not done, and that is said";
        let differs = Differs::Meant { why, status: 2, left: &[("t", "nothing")] };
        rows.push(Row {
            differs,
            says: "cp(1) does it",
            ..row(format!("{option}, refused"), AB, args)
        });
    }
    rows
}

/// Hard links, and what they meet.
fn links() -> Vec<Row> {
    vec![
        row(
            "links between directories",
            "mkdir -p s/a s/b; echo x > s/a/1; ln s/a/1 s/b/2; ln s/a/1 s/3",
            "-a s t",
        ),
        row("links between sources", "mkdir a b t; echo x > a/1; ln a/1 b/2", "-a a b t"),
        row("links of which one lies outside", "mkdir s; echo x > o; ln o s/1; ln o s/2", "-a s t"),
        row(
            "links over files",
            "mkdir -p s t/s; echo x > s/1; ln s/1 s/2; echo o > t/s/1; echo p > t/s/2",
            "-a s t",
        ),
        row(
            "links over links of the same",
            "mkdir -p s t/s; echo x > s/1; ln s/1 s/2; echo o > t/s/1; ln t/s/1 t/s/2",
            "-a s t",
        ),
        row(
            "links over links of others",
            "mkdir -p s t/s; echo x > s/1; ln s/1 s/2; echo o > t/s/1; ln t/s/1 t/s/3",
            "-a s t",
        ),
        Row {
            differs: Differs::Meant {
                why: "cp(1) makes b/z a link to what is now under the name of a/x",
                status: 0,
                left: &[("t/x", "file 'B'"), ("t/z", "file 'A'")],
            },
            ..row(
                "links to a name that is given to another",
                "mkdir a b t; echo A > a/x; ln a/x b/z; echo B > b/x",
                "-a a/. b/. t",
            )
        },
        row(
            "links of links and fifos",
            "mkdir s; ln -s x s/1; ln s/1 s/2; mkfifo s/3; ln s/3 s/4",
            "-a s t",
        ),
        runs(
            "links with -n over one",
            "mkdir -p s t/s; echo x > s/1; ln s/1 s/2; echo o > t/s/1",
            "CP -an s t; r=$?; touch t/s; exit $r",
        ),
        row("twice", "mkdir s; echo x > s/1; ln s/1 s/2; cp -a s t", "-a s/. t"),
        row(
            "100 names",
            "mkdir s; echo x > s/0; for n in $(seq 100); do ln s/0 s/$n; done",
            "-a s t",
        ),
    ]
}

/// Names that are the source's, or lead to it, and what must not be lost.
fn same_files() -> Vec<Row> {
    let link = "echo a > a; ln -s a l";
    let names = "echo a > a; ln a b";
    let backup = "echo one > a; echo two > a~";
    let twice = "mkdir t d e; echo 1 > d/x; echo 2 > e/x";
    vec![
        row("-a of a link onto what it leads to", link, "-a l a"),
        row("-P of a link onto what it leads to", link, "-P l a"),
        row("-d of a link onto what it leads to", link, "-d l a"),
        row("-af of a link onto what it leads to", link, "-af l a"),
        row("-a of a link onto what it leads to, removed", link, "-a --remove-destination l a"),
        row("-bP of a link onto what it leads to", link, "-bP --no-preserve=timestamps l a"),
        row(
            "-a of a link onto what it leads to, within",
            "mkdir -p s t/s; echo a > t/s/f; ln -s ../t/s/f s/f; echo b > s/g",
            "-a s t",
        ),
        row("-a of a link onto a link to the same", "echo a > a; ln -s a l; ln -s a m", "-a l m"),
        row("-a of a link onto another's file", "echo a > a; echo b > b; ln -s a l", "-a l b"),
        row("-a of a file onto a link to it", link, "-a a l"),
        row("a link onto itself", link, "-a l l"),
        row("a file onto a link to it, removed", link, "--remove-destination a l"),
        row("a link onto what it leads to, removed", link, "--remove-destination l a"),
        row("a file onto a link to it, backed up", link, "-b a l"),
        row("a link onto what it leads to, backed up", link, "-b l a"),
        row("-b of another name", names, "-b a b"),
        row("-b of another name, numbered", names, "--backup=numbered a b"),
        row("-ab of another name", names, "-ab a b"),
        row("--remove-destination of another name", names, "--remove-destination a b"),
        row("-a --remove-destination of another name", names, "-a --remove-destination a b"),
        row("-f of another name", names, "-f a b"),
        row("-a of another name", names, "-a a b"),
        row("-n of another name", names, "-n a b"),
        row("-u of another name", names, "-u a b"),
        row("-a of another name, within", "mkdir -p s t/s; echo a > s/f; ln s/f t/s/f", "-a s t"),
        row("-ab of another name, within", "mkdir -p s t/s; echo a > s/f; ln s/f t/s/f", "-ab s t"),
        row("-P of another name of a link", "ln -s x a; ln a b", "-P a b"),
        row("-Pb of another name of a link", "ln -s x a; ln a b", "-Pb a b"),
        row("-b of a file onto itself", "echo a > a", "-b a a"),
        row("--remove-destination of a file onto itself", names, "--remove-destination a a"),
        row("a file onto itself by another path", "mkdir d; echo a > d/a; ln -s d e", "d/a e/a"),
        Row {
            differs: Differs::Meant {
                why: "cp(1) moves the file away and back again",
                status: 1,
                left: &[("d/a", "file 'a'"), ("d/b", "file 'a'"), ("d/a~", "nothing")],
            },
            ..row(
                "-b of a file onto itself by another path",
                "mkdir d; echo a > d/a; ln d/a d/b; ln -s d e",
                "-b d/a e/a",
            )
        },
        Row {
            differs: Differs::Meant {
                why: "cp(1) removes the source, and then has nothing to copy",
                status: 1,
                left: &[("d/a", "file 'a'"), ("d/b", "file 'a'")],
            },
            ..row(
                "--remove-destination by another path",
                "mkdir d; echo a > d/a; ln d/a d/b; ln -s d e",
                "--remove-destination d/a e/a",
            )
        },
        row("-n of a file onto itself", names, "-n a a"),
        row("-n of a link onto what it leads to", link, "-an l a"),
        row("-b of the backup", backup, "-b a~ a"),
        row("--backup=simple of the backup", backup, "--backup=simple a~ a"),
        row("--backup=numbered of the backup", backup, "--backup=numbered a~ a"),
        row("-S of what would be the backup", "echo 1 > a; echo 2 > a.o", "-S .o a.o a"),
        row("-ab of a backup", backup, "-ab a~ a"),
        row("-b of another name of the backup", "echo 1 > a; echo 2 > a~; ln a~ c", "-b c a"),
        row("-b of the backup of another", "mkdir d; echo 1 > a; echo 2 > d/a~", "-b d/a~ a"),
        row("one source by two paths", "echo x > x; mkdir t", "x ./x t"),
        row("one directory by two paths", "mkdir s t; echo x > s/x", "-r s ./s t"),
        row("one source and its other name's", "mkdir d t; echo x > x; ln x d/x", "x d/x t"),
        row("-b of one name from two directories", twice, "-b d/x e/x t"),
        row("-b of one source twice", twice, "-b d/x d/x t"),
        row(
            "--backup=numbered of one name from two directories",
            twice,
            "--backup=numbered d/x e/x t",
        ),
        row(
            "--backup=numbered of one source three times",
            twice,
            "--backup=numbered d/x d/x ./d/x t",
        ),
        row(
            "a link, then a file of that name",
            "mkdir t d e; echo o > o; ln -s ../o d/x; echo 2 > e/x",
            "-P d/x e/x t",
        ),
        row(
            "a link, then a directory of that name",
            "mkdir -p t d e/x out; ln -s ../out d/x; echo 2 > e/x/f",
            "-a d/x e/x t",
        ),
        root(runs(
            "-b where nothing can be renamed",
            "echo n > s; mkdir d; echo o > d/t; chmod 666 d/t",
            "chmod 755 .; setpriv --reuid 65534 --regid 65534 --clear-groups CP -b s d/t",
        )),
        root(runs(
            "--remove-destination where nothing can be removed",
            "echo n > s; mkdir d; echo o > d/t; chmod 666 d/t",
            "chmod 755 .; setpriv --reuid 65534 --regid 65534 --clear-groups CP --remove-destination s d/t",
        )),
        root(runs(
            "--remove-destination of another name that cannot be removed",
            "mkdir d; echo o > d/a; ln d/a d/t; chmod 666 d/t",
            "chmod 755 .; setpriv --reuid 65534 --regid 65534 --clear-groups CP --remove-destination d/a d/t",
        )),
        Row {
            needs: "chattr",
            end: "chattr -a t",
            ..row(
                "-b in an append-only directory",
                "echo n > s; mkdir t; echo o > t/s; chattr +a t",
                "-b s t/",
            )
        },
        Row {
            needs: "mount",
            end: "umount m",
            ..row(
                "-b of a mount point",
                "echo new > f; echo old > o; touch m; mount --bind o m",
                "-b f m",
            )
        },
        Row {
            needs: "mount",
            end: "umount m",
            ..row(
                "--remove-destination of a mount point",
                "echo new > f; echo old > o; touch m; mount --bind o m",
                "--remove-destination f m",
            )
        },
    ]
}

/// Where there is little of something.
fn limits() -> Vec<Row> {
    let tree = "mkdir -p s/a/b/c/d; for n in 1 2 3 4 5; do echo $n > s/$n; echo $n > s/a/b/c/d/$n; done; ln s/1 s/a/one; ln -s 1 s/l; head -c 3000000 /dev/zero > s/large";
    let mut rows = Vec::new();
    for (name, run) in [
        ("6 descriptors", "ulimit -n 6; CP -a s t"),
        ("7 descriptors", "ulimit -n 7; CP -a s t"),
        ("10 descriptors", "ulimit -n 10; CP -a s t"),
        ("20 descriptors", "ulimit -n 20; CP -a s t"),
        ("64 descriptors", "ulimit -n 64; CP -a s t"),
        ("130 descriptors", "ulimit -n 130; CP -a s t"),
        ("standard input closed", "CP -a s t <&-"),
        ("standard output closed", "CP -a s t >&-"),
        ("standard error closed", "CP -a s t 2>&-"),
        ("all three closed", "CP -a s t <&- >&- 2>&-"),
        ("a failure that cannot be said", "mkdir -p t/s/1; CP -a s t 2> /dev/full; exit $?"),
        ("a file size of 64 KiB", "ulimit -f 128; rm s/large; CP -a s t"),
        ("no stack to speak of", "ulimit -s 1024; CP -a s t"),
        ("no core", "ulimit -c 0; CP -a s t"),
    ] {
        rows.push(runs(name, tree, run));
    }
    for row in &mut rows {
        match row.name.as_str() {
            // Nobody can read what they say.
            "a failure that cannot be said" | "all three closed" | "standard error closed" => {
                row.says = NOTHING
            }
            _ => {}
        }
    }
    rows.push(Row {
        differs: Differs::Meant {
            why: "the rest of the file is not kept, and cp(1) is killed by SIGXFSZ",
            status: 1,
            left: &[("t/large", "nothing"), ("t/1", "file '1'")],
        },
        says: "ulimit -f",
        ..runs("a file above the limit of sizes", tree, "ulimit -f 2048; CP -a s t")
    });
    rows.push(Row {
        differs: Differs::Meant {
            why: "cp(1) is killed by SIGPIPE; here the rest is copied",
            status: 1,
            left: &[("t/s/2", "file '2'"), ("t/s/a/b/c/d/5", "file '5'")],
        },
        says: NOTHING,
        ..runs("a failure and a closed pipe", tree, "mkdir -p t/s/1; { CP -a s t 2>&1 >/dev/null; echo $? > status; } | true; exit $(cat status)")
    });
    rows.push(Row {
        differs: Differs::Meant {
            why: "3 says that everything was copied",
            status: 3,
            left: &[("t/2", "file '2'"), ("t/a/b/c/d/5", "file '5'")],
        },
        says: "standard output",
        ..runs("-v on a full device", tree, "CP -av s t > /dev/full")
    });
    rows.push(root(runs(
        "no threads",
        tree,
        "chmod 777 .; ulimit -u 1; setpriv --reuid 65534 --regid 65534 --clear-groups CP -r s t",
    )));
    rows
}

/// All rows.
pub fn all() -> Vec<Row> {
    let groups = [
        command_lines(),
        replaced(),
        kept(),
        bytes(),
        special(),
        faults(),
        links(),
        same_files(),
        limits(),
        product(),
    ];
    groups.into_iter().flatten().collect()
}

/// Whether a shell command succeeds.
pub fn works(script: &str) -> bool {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Whether something can be mounted.
pub fn can_mount(place: &Path) -> bool {
    let at = place.join("tried");
    let at = at.display();
    works(&format!("mkdir -p {at} && mount -t tmpfs none {at} && umount {at}"))
}
