//! The conformance suite on the in-process engine.

use aio2_conformance::backends::InProcess;
use aio2_conformance::child;
use aio2_conformance::suite::{TESTS, Verdict, run_one};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    child::play_role(&[&InProcess]);
    let mut arguments = Arguments::from_args();
    // Some tests look at all threads and descriptors of the process.
    arguments.test_threads = Some(1);
    let trials = TESTS
        .iter()
        .map(|test| {
            Trial::test(format!("{} [{}]", test.name, test.ids.join(" ")), move || {
                let scratch = tempfile::tempdir().map_err(Failed::from)?;
                match run_one(test, &InProcess, scratch.path()) {
                    Verdict::Ok => Ok(()),
                    Verdict::Skipped(reason) => {
                        println!("SKIP {}: {reason}", test.name);
                        Ok(())
                    }
                    Verdict::Failed(why) => Err(why.into()),
                }
            })
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}
