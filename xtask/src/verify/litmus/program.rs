//! The part of herd7's C that the tests are written in: threads of accesses,
//! fences and swaps without branches, and one `exists`.

use anyhow::{Context, Result, bail, ensure};

/// How strong an access or fence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Relaxed,
    Acquire,
    Release,
    /// Both, of a fence or swap.
    AcquireRelease,
    /// The kernel's smp_mb(), C's sequential consistency.
    Full,
    /// smp_rmb()
    Reads,
    /// smp_wmb()
    Writes,
}

impl Order {
    pub fn acquires(self) -> bool {
        matches!(self, Order::Acquire | Order::AcquireRelease | Order::Full)
    }

    pub fn releases(self) -> bool {
        matches!(self, Order::Release | Order::AcquireRelease | Order::Full)
    }
}

/// A step of a thread.
#[derive(Clone, Debug)]
pub enum Step {
    Load {
        from: String,
        into: String,
        order: Order,
    },
    Store {
        to: String,
        value: i64,
        order: Order,
    },
    Fence(Order),
    /// Compares (unless `expected` is `None`) and swaps, in one.
    Swap {
        at: String,
        expected: Option<i64>,
        value: i64,
        into: String,
        order: Order,
    },
}

/// What has to hold in the end.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A register of a thread.
    Register(usize, String, i64),
    /// A location.
    Memory(String, i64),
}

/// A test.
#[derive(Debug, Default)]
pub struct Program {
    pub init: Vec<(String, i64)>,
    pub threads: Vec<Vec<Step>>,
    pub exists: Vec<Fact>,
}

/// Reads a test.
///
/// # Errors
/// For what is not of the part that is known.
pub fn parse(text: &str) -> Result<Program> {
    let (head, exists) = text.split_once("exists (").context("no exists")?;
    // Comments stand at the top only: `(*` begins an argument below.
    let (_, head) = head.split_once("*)\n").context("no comment")?;
    let (_, init) = head.split_once('{').context("no initial values")?;
    let (init, threads) = init.split_once('}').context("no end of the initial values")?;
    let mut program = Program::default();
    for value in init.split(';').map(str::trim).filter(|v| !v.is_empty()) {
        let (name, value) = value.split_once('=').context("an initial value")?;
        program.init.push((name.trim().to_owned(), value.trim().parse()?));
    }
    for (n, thread) in threads.split('}').map(str::trim).filter(|t| !t.is_empty()).enumerate() {
        ensure!(thread.starts_with(&format!("P{n}(")), "thread {n} is named otherwise");
        let (_, body) = thread.split_once('{').context("a thread has a body")?;
        let steps = body.split(';').map(str::trim).filter(|s| !s.is_empty());
        let steps = steps.map(|s| step(s).with_context(|| s.to_owned()));
        program.threads.push(steps.filter_map(Result::transpose).collect::<Result<_>>()?);
    }
    let exists = exists.trim().trim_matches(['(', ')']);
    for fact in exists.split("/\\") {
        let (what, value) = fact.trim().split_once('=').context("a fact")?;
        let (what, value) = (what.trim(), value.trim().parse()?);
        program.exists.push(match what.split_once(':') {
            Some((thread, name)) => Fact::Register(thread.parse()?, name.to_owned(), value),
            None => Fact::Memory(what.trim_matches(['[', ']']).to_owned(), value),
        });
    }
    Ok(program)
}

/// A statement; `None` for a declaration.
fn step(text: &str) -> Result<Option<Step>> {
    let text = text.strip_prefix("int ").unwrap_or(text);
    let (into, call) = match text.split_once('=') {
        Some((into, call)) => (into.trim().to_owned(), call.trim()),
        None => (String::new(), text),
    };
    let Some((name, args)) = call.split_once('(') else {
        ensure!(call.chars().all(|c| c.is_alphanumeric()), "unknown");
        return Ok(None);
    };
    let args = args.strip_suffix(')').context("no end of the arguments")?;
    let args: Vec<&str> = args.split(',').map(|a| a.trim().trim_start_matches('*')).collect();
    let arg = |n: usize| args.get(n).copied().context("an argument is missing");
    let at = || Ok::<_, anyhow::Error>(arg(0)?.to_owned());
    let order = |n: usize| {
        Ok(match arg(n)?.strip_prefix("memory_order_") {
            Some("relaxed") => Order::Relaxed,
            Some("acquire") => Order::Acquire,
            Some("release") => Order::Release,
            Some("acq_rel") => Order::AcquireRelease,
            Some("seq_cst") => Order::Full,
            _ => bail!("no order"),
        })
    };
    Ok(Some(match name {
        "READ_ONCE" => Step::Load { from: at()?, into, order: Order::Relaxed },
        "smp_load_acquire" => Step::Load { from: at()?, into, order: Order::Acquire },
        "atomic_load_explicit" => Step::Load { from: at()?, into, order: order(1)? },
        "WRITE_ONCE" => Step::Store { to: at()?, value: arg(1)?.parse()?, order: Order::Relaxed },
        "smp_store_release" => {
            Step::Store { to: at()?, value: arg(1)?.parse()?, order: Order::Release }
        }
        "atomic_store_explicit" => {
            Step::Store { to: at()?, value: arg(1)?.parse()?, order: order(2)? }
        }
        "smp_mb" => Step::Fence(Order::Full),
        "smp_rmb" => Step::Fence(Order::Reads),
        "smp_wmb" => Step::Fence(Order::Writes),
        "atomic_thread_fence" => Step::Fence(order(0)?),
        "cmpxchg" | "cmpxchg_release" | "cmpxchg_relaxed" => Step::Swap {
            at: at()?,
            expected: Some(arg(1)?.parse()?),
            value: arg(2)?.parse()?,
            into,
            order: match name {
                "cmpxchg" => Order::Full,
                "cmpxchg_release" => Order::Release,
                _ => Order::Relaxed,
            },
        },
        "atomic_exchange_explicit" => Step::Swap {
            at: at()?,
            expected: None,
            value: arg(1)?.parse()?,
            into,
            order: order(2)?,
        },
        _ => bail!("unknown"),
    }))
}
