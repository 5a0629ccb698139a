//! Files and sockets over the futures of a driver.
//!
//! Duty: what programs look for first: open, read and write whole ranges, sync;
//! bind, accept, connect by name, shut down. Each method takes a buffer and gives
//! it back, as every operation does. With the feature `tokio`, or `futures-io`,
//! they are readers and writers of these, too. Their own methods come first where both
//! have one of a name: `AsyncReadExt::read(&mut stream, ..)` is the trait's. Not here: what the operations are
//! ([`crate::Op`]), and running them ([`crate::future`]).
//!
//! Who waits for a socket waits without a worker and without a thread of its own,
//! however many there are; a file's operations wait for the disk on a worker, if
//! they cannot be had from the page cache.
//!
//! | room | duty |
//! |---|---|
//! | `file` | files |
//! | `net` | sockets: listeners, and streams |
//! | `descriptor` | the descriptor that each of them has |
//! | `name` | addresses of a name |
//! | `ended` | what a completion says |
//! | `pump` | reading and writing by polls: what a stream has under way |
//! | `traits` | readers and writers of tokio and of futures-io |

mod descriptor;
mod ended;
mod file;
mod name;
mod net;
#[cfg(any(feature = "tokio", feature = "futures-io"))]
mod pump;
#[cfg(any(feature = "tokio", feature = "futures-io"))]
mod traits;

pub use file::File;
pub use net::{TcpListener, TcpStream, UnixListener, UnixStream};
