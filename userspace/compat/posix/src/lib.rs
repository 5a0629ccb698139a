//! POSIX AIO over AIO2: programs that use aio_read(3) and its relatives run
//! unmodified, with `libaio2-posix.so` preloaded.
//!
//! | file | duty |
//! |---|---|
//! | `exports` | the calls, by name |
//! | `aiocb` | structures of the C library |
//! | `process` | this process's table and AIO2 context |
//! | `table` | a place for each request in flight |
//! | `request` | the requests of one call; what must run before what |
//! | `encode` | from a request of the table to an AIO2 request |
//! | `client` | what becomes of a completion |
//! | `notice` | telling the program: signals and threads |
//! | `wait`, `cancel`, `list` | aio_suspend; aio_cancel; lio_listio |
//!
//! Order and lists are the ABI's own: lio_listio is GROUP, aio_fsync is AFTER, and
//! so is the order of writes to a file that is open to append.
//!
//! Where it deviates from the C library, and why, is said in DEVIATIONS.md.
#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod aiocb;
mod cancel;
#[allow(unsafe_code)]
mod client;
mod encode;
#[allow(unsafe_code)] // symbols for C
mod exports;
#[allow(unsafe_code)]
mod list;
#[allow(unsafe_code)] // rt_sigqueueinfo(2), pthread_create(3)
mod notice;
mod process;
#[allow(unsafe_code)]
mod request;
#[allow(unsafe_code)]
mod table;
mod wait;
