//! So many things at a time.

use anyhow::Result;
use rayon::iter::{ParallelBridge, ParallelIterator};

/// Does `work` on each of `items`, begun in their order and so many at a time,
/// until one fails.
///
/// # Errors
/// Those of `work`; if threads cannot be made.
pub fn at_a_time<T: Send, R: Send>(
    jobs: usize,
    items: impl IntoIterator<Item = T, IntoIter: Send> + Send,
    work: impl Fn(T) -> Result<R> + Sync + Send,
) -> Result<Vec<R>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(jobs).build()?;
    pool.install(|| items.into_iter().par_bridge().map(work).collect())
}
