//! Conformance tests as tests of `cargo test`, each with its name and the
//! requirements that it shows.

use aio2_conformance::env::Factory;
use aio2_conformance::suite::{Test, Verdict, run_one};
use libtest_mimic::{Arguments, Trial};

/// The arguments of the harness. Tests run one after the other, since some
/// look at all threads and descriptors of the process.
pub fn arguments() -> Arguments {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    arguments
}

/// These tests, on this implementation.
pub fn trials(tests: &'static [Test], factory: &'static dyn Factory) -> Vec<Trial> {
    tests.iter().map(|test| trial(test, factory)).collect()
}

/// This test, on this implementation.
pub fn trial(test: &'static Test, factory: &'static dyn Factory) -> Trial {
    Trial::test(format!("{} [{}]", test.name, test.ids.join(" ")), move || {
        let scratch = tempfile::tempdir()?;
        match run_one(test, factory, scratch.path()) {
            Verdict::Ok => Ok(()),
            Verdict::Skipped(reason) => {
                println!("SKIP {}: {reason}", test.name);
                Ok(())
            }
            Verdict::Failed(why) => Err(why.into()),
        }
    })
}
