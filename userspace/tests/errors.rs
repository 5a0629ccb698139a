//! Errors keep the error number and say what to do.

mod common;

use aio2::backend::Wait;
use aio2::error::{CancelError, ExecError, SubmitError, WaitError};
use aio2::kernel::Probe;
use aio2::{Context, Errno, Implementation, Iocbs, Prefer, SetupError, Timeout};
use aio2_abi::iocb::IocbFlags;
use aio2_abi::op;
use aio2_abi::wait::{Cancel, CancelFlags};
use std::fs::File;
use std::io;
use std::time::Duration;

/// An iocb that does nothing.
fn nop(iocbs: &mut Iocbs) {
    iocbs.push(op::NOP, &[], IocbFlags::empty(), u64::MAX).unwrap();
}

#[test]
fn a_kernel_that_is_not_there_is_told_with_the_way_out() {
    match (Probe::run(), Context::builder().prefer(Prefer::Kernel).build()) {
        (Probe::NotImplemented, Err(error)) => {
            assert_eq!((error, error.errno()), (SetupError::NoKernel, Errno(libc::ENOSYS)));
            assert!(error.to_string().contains("Prefer::Auto"), "{error}");
        }
        (Probe::NotImplemented, Ok(_)) => panic!("a context of a kernel that has none"),
        (_, result) => println!("SKIP: the kernel answers: {result:?}"),
    }
}

#[test]
fn auto_falls_to_the_engine_and_says_so() {
    if Probe::run() == Probe::NotImplemented {
        assert_eq!(Context::new().unwrap().implementation(), Implementation::Engine);
    }
    let engine = Context::builder().prefer(Prefer::Engine).build().unwrap();
    assert_eq!(engine.implementation().to_string(), "engine");
}

#[test]
fn parameters_that_cannot_be_are_told_with_their_limits() {
    let error = Context::builder().concurrency(5000).build().unwrap_err();
    assert_eq!(error.errno(), Errno(libc::EINVAL));
    assert!(error.to_string().contains("concurrency 1024"), "{error}");
    let no_eventfd = File::open("/dev/null").unwrap().into();
    let error = Context::builder().eventfd(no_eventfd).build().unwrap_err();
    assert_eq!(error.errno(), Errno(libc::EINVAL));
}

#[test]
fn a_limit_is_told_with_its_value() {
    let context = Context::builder().ring_bytes(4096).max_requests(2).build().unwrap();
    let mut iocbs = Iocbs::new();
    let error = loop {
        nop(&mut iocbs);
        // SAFETY: a nop takes no address.
        match unsafe { context.submit_raw(iocbs.bytes_mut()) } {
            Ok(bytes) => assert_eq!(iocbs.consume(bytes), 1),
            Err(error) => break error,
        }
    };
    assert_eq!(error, SubmitError::LimitReached { max_requests: 2 });
    assert_eq!(error.to_string(), "limit reached: reap events or raise max_requests (now 2)");
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn a_malformed_iocb_is_told_by_its_place_and_its_fault() {
    let context = Context::new().unwrap();
    let mut iocbs = Iocbs::new();
    nop(&mut iocbs);
    // Its flags, in the first word of the iocb.
    iocbs.bytes_mut()[6] = 0x80;
    // SAFETY: it is refused.
    let error = unsafe { context.submit_raw(iocbs.bytes_mut()) }.unwrap_err();
    assert_eq!(
        error.to_string(),
        "request 0, at byte 0, is malformed (EINVAL): iocb flags 0x80 has unknown bits 0x80"
    );
    // SAFETY: it is refused.
    let error = unsafe { context.exec_raw(iocbs.bytes_mut(), &mut [0; 64]) }.unwrap_err();
    assert!(matches!(error, ExecError::Malformed { reason: Some(_), .. }), "{error}");
}

#[test]
fn a_buffer_too_small_is_told_with_what_suffices() {
    let context = Context::new().unwrap();
    let mut iocbs = Iocbs::new();
    nop(&mut iocbs);
    // SAFETY: a nop takes no address.
    let error = unsafe { context.exec_raw(iocbs.bytes_mut(), &mut [0; 16]) }.unwrap_err();
    let event_max = context.setup().event_max;
    assert_eq!(error, ExecError::BufferTooSmall { event_max });
    assert!(error.to_string().contains(&format!("{event_max} bytes")), "{error}");
    // SAFETY: a nop takes no address.
    unsafe { context.submit_raw(iocbs.bytes_mut()) }.unwrap();
    // SAFETY: there are no iocbs.
    let got = unsafe { context.wait_raw(&Wait::events(1), &mut [], Some(&mut [0; 16])) };
    assert_eq!(got, Err(WaitError::BufferTooSmall { event_max }));
}

// SPEC: R-EXEC-3
#[test]
fn more_than_one_iocb_is_not_executed() {
    let mut iocbs = Iocbs::new();
    nop(&mut iocbs);
    nop(&mut iocbs);
    // SAFETY: a nop takes no address.
    let result = unsafe { Context::new().unwrap().exec_raw(iocbs.bytes_mut(), &mut [0; 64]) };
    assert_eq!(result.unwrap_err().to_string(), "give the bytes of one iocb and no more (EINVAL)");
}

#[test]
fn a_wait_tells_time_from_an_unknown_id() {
    let context = Context::new().unwrap();
    let wait = Wait::events(1).within(Duration::from_millis(1));
    let error = context.wait(&wait).unwrap_err();
    assert_eq!((error, error.errno()), (WaitError::TimedOut, Errno(libc::ETIME)));
    let wait = Wait { id: Some(12345), timeout: Timeout::Forever, ..Wait::events(0) };
    let error = context.wait(&wait).unwrap_err();
    assert_eq!(error, WaitError::UnknownId);
    assert!(error.to_string().contains("WRITE_ID"), "{error}");
}

#[test]
fn a_cancel_that_meets_nothing_says_why_that_may_be() {
    let context = Context::new().unwrap();
    let mut cancel = Cancel { flags: CancelFlags::ALL.bits(), ..Cancel::default() };
    let error = context.cancel(&mut cancel).unwrap_err();
    assert_eq!(error, CancelError::NotFound);
    assert!(error.to_string().contains("event may be there"), "{error}");
    let error = context.cancel(&mut Cancel::default()).unwrap_err();
    assert_eq!(error, CancelError::Refused(Errno(libc::EINVAL)));
}

#[test]
fn every_error_becomes_an_io_error_of_its_number() {
    let errors: [io::Error; 5] = [
        SetupError::NoKernel.into(),
        SubmitError::Forked.into(),
        WaitError::Interrupted.into(),
        CancelError::TimedOut.into(),
        ExecError::Refused(Errno(libc::EPERM)).into(),
    ];
    let numbers = errors.map(|error| error.raw_os_error().unwrap());
    assert_eq!(numbers, [libc::ENOSYS, libc::EXDEV, libc::EINTR, libc::ETIME, libc::EPERM]);
}

/// SPEC: R-SETUP-6
#[test]
fn under_a_small_limit_of_files_a_context_is_refused_without_a_signal() {
    const ALONE: &str = "AIO2_TEST_FILE_LIMIT";
    if std::env::var_os(ALONE).is_none() {
        let program = std::env::current_exe().unwrap();
        let name = "under_a_small_limit_of_files_a_context_is_refused_without_a_signal";
        let mut command = std::process::Command::new(program);
        let status = command.args([name, "--exact"]).env(ALONE, "1").status().unwrap();
        assert!(status.success(), "{status}");
        return;
    }
    let limit = libc::rlimit { rlim_cur: 65536, rlim_max: 65536 };
    // SAFETY: reads the limit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) }, 0);
    let builder = || Context::builder().prefer(Prefer::Engine);
    let refused = builder().build().expect_err("the ring is a file");
    assert_eq!(refused.errno().0, libc::EFBIG);
    assert!(refused.to_string().contains("RLIMIT_FSIZE"), "{refused}");
    builder().ring_bytes(4096).build().expect("a small one fits");
}
