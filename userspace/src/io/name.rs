//! Addresses of a name.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

/// What a thread has found out, and who waits for it.
#[derive(Default)]
struct Answer {
    found: Option<io::Result<Vec<SocketAddr>>>,
    waiting: Option<Waker>,
}

/// The addresses of `name`, which is `host:port`. An address as such is understood
/// at once; any other name is asked for in a thread of its own, since
/// getaddrinfo(3) blocks.
pub(super) async fn resolve(name: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    let answer = Arc::new(Mutex::new(Answer::default()));
    let (theirs, name) = (answer.clone(), name.to_owned());
    let ask = move || {
        let found = name.to_socket_addrs().map(Iterator::collect);
        let mut answer = theirs.lock().unwrap_or_else(PoisonError::into_inner);
        answer.found = Some(found);
        let waiting = answer.waiting.take();
        drop(answer);
        waiting.into_iter().for_each(Waker::wake);
    };
    std::thread::Builder::new().name("aio2-resolve".into()).spawn(ask)?;
    std::future::poll_fn(|context| {
        let mut answer = answer.lock().unwrap_or_else(PoisonError::into_inner);
        match answer.found.take() {
            Some(found) => Poll::Ready(found),
            None => {
                answer.waiting = Some(context.waker().clone());
                Poll::Pending
            }
        }
    })
    .await
}
