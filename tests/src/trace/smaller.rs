//! Makes a trace that fails as small as can be found.
//!
//! Delta debugging (Zeller's ddmin): leaves out ever smaller parts as long as
//! what remains fails, until no single call can be left out. Then the numbers
//! are made smaller, one by one, and calls are left out again.

use super::Trace;
use crate::model::Op;

/// The smallest trace found for which `fails` still holds, as it does for
/// `trace`.
pub fn smaller(trace: &Trace, mut fails: impl FnMut(&Trace) -> bool) -> Trace {
    let mut best = trace.clone();
    loop {
        let before = best.to_string();
        let limit = best.limit;
        best.ops = without(best.ops, |ops| fails(&Trace { limit, ops: ops.to_vec() }));
        lower(&mut best, &mut fails);
        if best.to_string() == before {
            return best;
        }
    }
}

/// The items that are needed for `fails`, of which none alone can be left out.
fn without<T: Clone>(items: Vec<T>, mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut items = items;
    let mut part = items.len().div_ceil(2);
    while part > 0 {
        let (mut from, before) = (0, items.len());
        while from < items.len() {
            let rest = [&items[..from], &items[items.len().min(from + part)..]].concat();
            if fails(&rest) {
                items = rest;
            } else {
                from += part;
            }
        }
        // Single ones again, as long as some of them could be left out.
        if part > 1 || items.len() == before {
            part /= 2;
        }
    }
    items
}

/// Makes the numbers of the trace smaller, each as far as `fails` allows.
fn lower(best: &mut Trace, fails: &mut impl FnMut(&Trace) -> bool) {
    // The calls as words: the first names the call, the others are lowered.
    for at in 0..best.ops.len() {
        let words = best.ops[at].to_string().split(' ').count();
        for word in 1..words {
            let mut step = u64::MAX;
            while let Some((op, next)) = lowered(&best.ops[at], word, step) {
                let mut tried = best.clone();
                tried.ops[at] = op;
                if fails(&tried) {
                    *best = tried;
                }
                step = next;
            }
        }
    }
    let mut step = best.limit;
    while step > 0 {
        let tried = Trace { limit: best.limit.saturating_sub(step), ops: best.ops.clone() };
        if tried.limit < best.limit && fails(&tried) {
            *best = tried;
        }
        step /= 2;
    }
}

/// The call with this word of it made smaller by at most `step`, and the step
/// to try next; `None` when it cannot be.
fn lowered(op: &Op, word: usize, step: u64) -> Option<(Op, u64)> {
    let text = op.to_string();
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    let value: u64 = super::number(&words[word]).ok()?;
    let step = step.min(value);
    if step == 0 {
        return None;
    }
    words[word] = (value - step).to_string();
    Some((words.join(" ").parse().ok()?, step / 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn what_is_left_is_needed() {
        let wanted = [3, 400, 999];
        let mut tries = 0;
        let left = without((0..1000).collect(), |items| {
            tries += 1;
            wanted.iter().all(|w| items.contains(w))
        });
        assert_eq!(left, wanted);
        assert!(tries < 200, "{tries} tries");
        assert_eq!(without(vec![1, 2, 3], |_| true), []);
        assert_eq!(without(vec![1, 2, 3], |items| items.len() == 3), [1, 2, 3]);
    }

    #[test]
    fn trace_of_a_thousand_calls_becomes_two() {
        let trace = Trace::decode(&Random::new(7).bytes(9000), 1000);
        assert_eq!(trace.ops.len(), 1000);
        // Fails if a submission of at least 5 comes before a reap.
        let fails = |t: &Trace| {
            let first = t.ops.iter().position(|op| matches!(op, Op::Submit(5.., _)));
            let last = t.ops.iter().rposition(|op| matches!(op, Op::Reap(_)));
            matches!((first, last), (Some(first), Some(last)) if first < last)
        };
        assert!(fails(&trace));
        let small = smaller(&trace, fails);
        assert_eq!(small.to_string(), "context 1\nsubmit 5 0x0\nreap 0\n");
    }
}
