//! Old and new, section 13: the library as it is over an implementation of a simulated
//! version 2, and an application of version 2 on the engine as it is.
//!
//! The later implementation is the engine, with a ring of its own in front, into which
//! each event goes with what version 2 might add.
//!
//! SPEC: R-VER-1, R-VER-2, R-SETUP-1, R-SETUP-4, R-ATTR-2, R-ATTR-3, R-ATTR-4, R-IOCB-5.

use aio2::backend::{Backend, Timeout, Wait, Waited};
use aio2::error::Errno;
use aio2::ring::{Sink, header};
use aio2::shm::{ProducerMap, RingFiles, create};
use aio2::{Consumer, Context, Implementation, Op, Queue};
use aio2_abi::attr::{self, AttrFlags};
use aio2_abi::event::{self, EventFlags};
use aio2_abi::iocb::{IocbFlags, Stream};
use aio2_abi::op;
use aio2_abi::setup::Setup;
use aio2_abi::wait::{Cancel, CancelFlags};
use aio2_conformance::backends::InProcess;
use aio2_conformance::context::{Context as Plain, errno};
use aio2_conformance::env::{Factory, setup};
use aio2_conformance::request::{Batch, Request};
use libc::{EINVAL, EOPNOTSUPP, ETIME};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};

/// An attribute, a return and an operation of which version 1 knows nothing.
const NEW_ATTR: u16 = 62;
const NEW_OP: u32 = 1 << 31 | 63;
const RING_BYTES: u32 = 1 << 16;
const EVENT_MAX: u32 = 2048;

/// The later implementation.
#[derive(Debug)]
struct Later {
    setup: Setup,
    engine: Box<dyn Backend>,
    sink: Mutex<Sink<ProducerMap>>,
    files: RingFiles,
}

impl Later {
    fn new() -> Self {
        let wanted = setup();
        let engine = InProcess.create(&wanted).expect("there is memory");
        let geometry = aio2::ring::Geometry::new(RING_BYTES, EVENT_MAX).expect("sizes that can be");
        let (producer, files) = create(geometry).expect("there is memory");
        let mut setup = *engine.setup();
        // It knows more, and longer events; version 1 is in force.
        setup.features |= 0xff << 56;
        setup.attrs |= 1 << NEW_ATTR;
        setup.returns |= 1 << NEW_ATTR;
        setup.ops |= 1 << 63;
        setup.syscalls[7] |= 1 << 63;
        (setup.ring_bytes, setup.event_max) = (RING_BYTES, EVENT_MAX);
        Later { setup, engine, sink: Mutex::new(Sink::new(producer)), files }
    }

    /// The event of an iocb, with what is new: flags, a return that nobody asked for, and
    /// longer payloads.
    fn event(&self, iocb: &mut [u8]) -> Result<Vec<u64>, Errno> {
        let mut bytes = [0_u8; 1024];
        // SAFETY: as the caller of `submit` promises.
        let len = unsafe { self.engine.exec(iocb, &mut bytes) }?;
        let (event, _) = event::EventView::parse(&bytes[..len]).expect("the engine's event");
        let flags = EventFlags::from_bits_retain(event.flags().bits() | 1 << 31 | 1 << 9);
        let mut longer = [0_u8; EVENT_MAX as usize];
        let (user_data, res) = (event.header.user_data, event.header.res);
        let encoder = event::Encoder::new(&mut longer, flags, user_data, res);
        let mut encoder = encoder.expect("there is room");
        encoder.ret(NEW_ATTR, 0, &[7; 600]).expect("there is room");
        for ret in event.returns() {
            let mut payload = ret.payload.to_vec();
            if !payload.is_empty() {
                payload.extend([9; 32]);
            }
            encoder.ret(ret.id, ret.status, &payload).expect("there is room");
        }
        let (words, _) = encoder.finish().as_chunks::<8>();
        Ok(words.iter().map(|word| u64::from_ne_bytes(*word)).collect())
    }

    fn sink(&self) -> std::sync::MutexGuard<'_, Sink<ProducerMap>> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for Later {
    fn setup(&self) -> &Setup {
        &self.setup
    }

    unsafe fn submit(&self, iocbs: &mut [u8]) -> Result<usize, Errno> {
        let mut at = 0;
        while at < iocbs.len() {
            let stream = Stream::new(&iocbs[at..]).expect("the library aligns them");
            let len = match stream.peek() {
                Some(Ok(iocb)) => iocb.header.len as usize,
                _ => return if at > 0 { Ok(at) } else { Err(Errno(EINVAL)) },
            };
            let event = self.event(&mut iocbs[at..at + len])?;
            let mut sink = self.sink();
            sink.reserve(EVENT_MAX as usize).expect("there is memory");
            sink.push(&event, EVENT_MAX as usize);
            at += len;
        }
        Ok(at)
    }

    unsafe fn wait(
        &self,
        wait: &Wait<'_>,
        iocbs: &mut [u8],
        events: Option<&mut [u8]>,
    ) -> Result<Waited, Errno> {
        assert!(events.is_none(), "the library reaps from the ring");
        // SAFETY: as this one's.
        let submitted = unsafe { self.submit(iocbs) }?;
        let mut sink = self.sink();
        sink.flush();
        // All that is submitted has ended: what is not there never comes.
        let enough = sink.available_events(wait.min_events as usize) >= wait.min_events as usize;
        let ended = (!enough).then_some(Errno(ETIME));
        Ok(Waited { submitted, ended, ..Waited::default() })
    }

    fn cancel(&self, request: &mut Cancel) -> Result<u32, Errno> {
        self.engine.cancel(request)
    }

    unsafe fn exec(&self, iocb: &mut [u8], event: &mut [u8]) -> Result<usize, Errno> {
        // SAFETY: as this one's.
        unsafe { self.engine.exec(iocb, event) }
    }

    fn grow(&self, _: u32) -> Result<u32, Errno> {
        Err(Errno(EOPNOTSUPP))
    }

    fn consumer(&self) -> Consumer {
        Consumer::over(self.files.map().expect("there is memory"))
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.engine.as_fd()
    }
}

#[test]
fn the_library_takes_no_notice_of_what_a_later_implementation_has_more() {
    let later: Arc<dyn Backend> = Arc::new(Later::new());
    assert_eq!(header(24, 0) as u32, 24);
    // SAFETY: it publishes an event when its operation has ended.
    let context = unsafe { Context::over(later, Implementation::Engine) };
    let mut queue: Queue<Vec<u8>, usize> = Queue::new(context);
    let mut file = tempfile::tempfile().expect("a file");
    std::io::Write::write_all(&mut file, b"0123456789").expect("there is room");
    let file = std::os::fd::OwnedFd::from(file);
    let file = aio2::SharedFd::from(file);
    const ROUNDS: usize = 200;
    for round in 0..ROUNDS {
        queue.push(Op::nop().timing(), 3 * round);
        let at = (round % 10) as u64;
        queue.push(Op::read_at(&file, vec![0; 4], at).timing().checksum(), 3 * round + 1);
        queue.push(Op::read_at(&file, vec![0; 4], 100), 3 * round + 2);
        queue.wait(3, Timeout::Forever).expect("three have ended");
        for number in 0..3 {
            let done = queue.pop().expect("the ring is sound").expect("it has ended");
            assert!(!done.never_began(), "a flag that is not known says nothing");
            assert!(matches!(done.attribute(NEW_ATTR), aio2::Attribute::Handled(_)));
            assert_eq!(done.token, 3 * round + number);
            let timing = matches!(done.timing(), aio2::Attribute::Handled(_));
            assert_eq!(timing, number < 2, "the part of a longer return that is known");
            match number {
                0 => assert_eq!(done.bytes().map_err(|errno| errno.0), Ok(0)),
                1 => {
                    let wanted = &b"0123456789"[round % 10..];
                    let bytes = done.into_bytes().expect("it was read");
                    assert_eq!(bytes, &wanted[..wanted.len().min(4)]);
                }
                _ => assert_eq!(done.into_bytes().expect("the end of the file"), b""),
            }
        }
    }
    println!("versions: {} events of a later implementation", 3 * ROUNDS);
}

#[test]
fn the_engine_tells_a_later_application_what_it_has_not() {
    let probe = |wanted: Setup| InProcess.probe(&wanted);
    let mut rows = 0;
    let mut row = |what: &str, holds: bool| {
        rows += 1;
        assert!(holds, "{what}");
    };
    // A newer version, hints, and flags of the setup.
    let given = probe(Setup { version: 2, hints: 1 << 31, ..setup() });
    let given = given.expect("the smaller version is in force");
    row("version in force", given.version == 1);
    row("a hint that is not known is cleared", given.hints == 0);
    row("a new attribute is not listed", given.attrs >> NEW_ATTR & 1 == 0);
    row("a new operation is not listed", given.ops >> 63 == 0);
    let flag = probe(Setup { version: 2, flags: 1 << 30, ..setup() });
    row("a flag of the setup", errno(flag) == Some(EINVAL));

    let context = Plain::new(InProcess.create(&Setup { version: 2, ..setup() }).expect("memory"));
    let told = AttrFlags::RETURN;
    // A new attribute: without REQUIRED it is told, with it the request ends.
    let event = context.run(Request::nop(1).attr(NEW_ATTR, told, &[1; 64]));
    row("a new attribute is left out", event.res == 0 && event.status(NEW_ATTR) == -EOPNOTSUPP);
    let event = context.run(Request::nop(2).attr(NEW_ATTR, AttrFlags::REQUIRED, &[1; 64]));
    row("a new attribute with REQUIRED", event.res == -i64::from(EOPNOTSUPP));
    // A longer payload: zeros beyond what is known mean the old one.
    let deadline = |more: u8| {
        let mut payload = u64::to_ne_bytes(60_000_000_000).to_vec();
        payload.extend([0; 8]);
        payload.extend([more; 16]);
        context.run(Request::nop(3).attr(attr::DEADLINE, AttrFlags::REQUIRED, &payload))
    };
    row("a longer payload of zeros", deadline(0).res == 0);
    row("a longer payload that says more", deadline(1).res == -i64::from(EINVAL));
    // An operation and a flag of an iocb.
    let event = context.run(Request::new(NEW_OP, &[1, 2, 3]).user_data(4));
    row("a new operation", event.res == -i64::from(EOPNOTSUPP) && event.never_began());
    let mut batch = Batch::of([Request::nop(5).flags(IocbFlags::from_bits_retain(1 << 15))]);
    row("a flag of an iocb", errno(context.submit(&mut batch)) == Some(EINVAL));
    let cancel = context.cancel(CancelFlags::from_bits_retain(1 << 30), Cancel::default());
    row("a flag of a cancel", errno(cancel) == Some(EINVAL));
    let event = context.run(Request::new(op::NOP, &[]).user_data(6));
    row("what is old goes on", event.res == 0);
    context.assert_idle();
    println!("versions: {rows} answers to a later application");
}
