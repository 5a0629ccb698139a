//! The axioms, as far as the tests need them: of the kernel's memory model
//! (`tools/memory-model/linux-kernel.cat`) without RCU, locks, plain accesses
//! and dependencies, of which the tests have none; of C11 those of RC11 without
//! its ban on load buffering, which makes the model weaker: what is never there
//! is never in RC11.

use super::execution::{Execution, Kind, Relation};
use super::program::Order;

/// No other write comes between the read and the write of a swap.
fn is_atomic(x: &Execution) -> bool {
    let between = x.fr.then(&x.co);
    let len = x.events.len();
    Relation::of(len, |a, b| x.rmw.has(a, b) && between.has(a, b))
        == Relation::of(len, |_, _| false)
}

/// Whether the kernel's model allows it.
pub fn kernel(x: &Execution) -> bool {
    let len = x.events.len();
    let com = x.rf.or(&x.co).or(&x.fr);
    let same = |a: usize, b: usize| x.events[a].at == x.events[b].at;
    let access = |n: usize| x.events[n].kind != Kind::Fence;
    let po_loc = x.po.only(|a, b| access(a) && access(b) && same(a, b));
    if !po_loc.or(&com).is_acyclic() || !is_atomic(x) {
        return false;
    }
    let fenced = |order: Order| {
        let fence = |n: usize| x.events[n].kind == Kind::Fence && x.events[n].order == order;
        let before = x.po.only(|a, b| access(a) && fence(b));
        before.then(&x.po.only(|a, b| fence(a) && access(b)))
    };
    let strong = fenced(Order::Full);
    let reads = fenced(Order::Reads).only(|a, b| x.is_read(a) && x.is_read(b));
    let writes = fenced(Order::Writes).only(|a, b| x.is_write(a) && x.is_write(b));
    let acquire = x.po.only(|a, b| x.is_read(a) && x.events[a].order.acquires() && access(b));
    let release = x.po.only(|a, b| access(a) && x.is_write(b) && x.events[b].order.releases());
    let external = |r: &Relation| r.only(|a, b| x.is_external(a, b));
    let rfe = external(&x.rf);
    let overwrite = x.co.or(&x.fr);
    let fence = strong.or(&reads).or(&writes).or(&acquire).or(&release);
    let ppo = fence.or(&overwrite.only(|a, b| !x.is_external(a, b)));
    let cumul = rfe.maybe().then(&strong.or(&release)).or(&writes);
    let prop = external(&overwrite).maybe().then(&cumul.star()).then(&rfe.maybe());
    let hb = ppo.or(&rfe).or(&prop.only(|a, b| a != b && !x.is_external(a, b)));
    if !hb.is_acyclic() {
        return false;
    }
    let pb = prop.then(&strong).then(&hb.star());
    debug_assert_eq!(x.events.len(), len);
    pb.is_acyclic()
}

/// Whether C11 allows it.
pub fn c11(x: &Execution) -> bool {
    let len = x.events.len();
    let is_fence = |n: usize| x.events[n].kind == Kind::Fence;
    let full = |n: usize| x.events[n].order == Order::Full;
    let eco = x.rf.or(&x.co).or(&x.fr).plus();
    // A release sequence: the write, and swaps that read from it.
    let sequence =
        Relation::of(len, |a, b| a == b && x.is_write(a)).then(&x.rf.then(&x.rmw).star());
    let releases = |n: usize| x.events[n].order.releases();
    let acquires = |n: usize| x.events[n].order.acquires();
    let from = Relation::of(len, |a, b| {
        releases(a)
            && ((a == b && x.is_write(a)) || (is_fence(a) && x.po.has(a, b) && x.is_write(b)))
    });
    let to = Relation::of(len, |a, b| {
        acquires(b) && ((a == b && x.is_read(a)) || (is_fence(b) && x.po.has(a, b) && x.is_read(a)))
    });
    let sw = from.then(&sequence).then(&x.rf).then(&to);
    // What the initial values are written by happens before all.
    let init = x.relation(|a, b| a.thread.is_none() && b.thread.is_some());
    let hb = x.po.or(&sw).or(&init).plus();
    if !hb.is_irreflexive() || !hb.then(&eco).is_irreflexive() || !is_atomic(x) {
        return false;
    }
    let both = hb.or(&hb.then(&eco).then(&hb));
    both.only(|a, b| is_fence(a) && is_fence(b) && full(a) && full(b)).is_acyclic()
}
