//! What aio2 promises: its public items stand in `public.txt`, and change only
//! together with that.
//!
//! After a change that is meant, `AIO2_BLESS=1 cargo test -p aio2-users --test
//! public` writes the list anew.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::Command;

/// What rustdoc says of the crate, without `unstable`; why not, if it cannot.
fn public_items(root: &Path) -> Result<String, String> {
    let target = root.join("target/public");
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["rustdoc", "-q", "-p", "aio2", "--lib", "--features", "tokio", "--target-dir"])
        .arg(&target)
        .args(["--", "-Z", "unstable-options", "--output-format", "json", "--cap-lints", "allow"])
        // rustdoc's JSON is not stable; a version that is not known is told.
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("RUSTFLAGS")
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let json = target.join("doc/aio2.json");
    let api = public_api::Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()
        .map_err(|error| error.to_string())?;
    Ok(api.items().map(|item| format!("{item}\n")).collect())
}

#[test]
fn public_items_are_those_of_the_list() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).expect("the crate lies in the project");
    let items = match public_items(root) {
        Ok(items) => items,
        Err(reason) => {
            println!("SKIP: rustdoc says nothing that can be read here: {reason}");
            return;
        }
    };
    let list = here.join("public.txt");
    if std::env::var_os("AIO2_BLESS").is_some() {
        std::fs::write(&list, &items).expect("the list can be written");
    }
    let listed = std::fs::read_to_string(&list).expect("there is a list");
    let [new, gone] = [(&items, &listed), (&listed, &items)].map(|(these, those)| {
        let those: std::collections::HashSet<_> = those.lines().collect();
        these.lines().filter(|line| !those.contains(line)).collect::<Vec<_>>().join("\n")
    });
    assert!(items == listed, "not in tests/users/public.txt:\n{new}\nnot there any more:\n{gone}");
}

/// Who has one feature and no other gets a crate that builds, without a warning, and in
/// which whatever can be had can be named (`unnameable_types`, which the crate denies).
#[test]
fn each_feature_stands_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("of the project");
    for feature in
        ["", "raw", "ring", "unstable", "bytes", "tokio", "futures-io", "metrics", "tracing"]
    {
        let output = Command::new(env!("CARGO"))
            .current_dir(root)
            .args(["check", "-q", "-p", "aio2", "--lib", "--offline", "--features", feature])
            .arg("--target-dir")
            .arg(root.join("target/public"))
            .env("RUSTFLAGS", "-Dwarnings")
            .output()
            .expect("cargo runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "with feature {feature:?} alone: {said}");
    }
}

/// The documentation of what is promised has no link that leads nowhere.
#[test]
fn documentation_of_what_is_promised_is_whole() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("of the project");
    for features in ["", "tokio,futures-io,metrics"] {
        let output = Command::new(env!("CARGO"))
            .current_dir(root)
            .args(["doc", "-q", "-p", "aio2", "--lib", "--no-deps", "--offline"])
            .args(["--features", features, "--target-dir"])
            .arg(root.join("target/public"))
            .env("RUSTDOCFLAGS", "-Dwarnings")
            .env_remove("RUSTFLAGS")
            .output()
            .expect("cargo runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "with features {features:?}: {said}");
    }
}
