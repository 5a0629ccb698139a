//! The attributes of one request: what they ask for, and what to return.
//!
//! A [`Plan`] is made once, when the request is accepted, and goes with it. It
//! measures nothing itself: `run::outcome` does, and only what is asked for.
//! What GROUP, AFTER, DEADLINE and SIGNAL bring about is in `calls::accept`.
//! A new attribute is a bit of [`TAKEN`] and an arm in [`Plan::take`] and
//! `run::returns`.
//!
//! SPEC: section 8.

use super::operation::Operation;
use crate::engine::host::signal;
use crate::syscall::Class;
use aio2_abi::attr::{self, AttrFlags, BadPayload};
use aio2_abi::iocb::{Attr, Attrs};
use aio2_record::Recorder;
use libc::{EINVAL, EOPNOTSUPP};

/// Attributes that the engine takes in a request.
pub(crate) const TAKEN: u64 = bit(attr::PRIORITY) | bit(attr::TAG) | TRACKED | RETURNED;
/// Attributes that the engine can return with a payload.
pub(crate) const RETURNED: u64 =
    bit(attr::CACHE) | bit(attr::TIMING) | bit(attr::PATH) | bit(attr::CHECKSUM);
/// Attributes that concern more than the running of the request.
const TRACKED: u64 = bit(attr::DEADLINE) | bit(attr::SIGNAL) | bit(attr::GROUP) | bit(attr::AFTER);
/// Attributes that a run in the calling thread does not have.
///
/// SPEC: R-EXEC-1
const NOT_IN_EXEC: u64 = bit(attr::DEADLINE) | bit(attr::GROUP) | bit(attr::AFTER);
/// Attributes without which a request would run at the wrong time.
const ALWAYS_REQUIRED: u64 = bit(attr::GROUP) | bit(attr::AFTER);

const fn bit(id: u16) -> u64 {
    1 << id
}

/// Where a request is recorded, and the thread that has submitted it.
pub(crate) type Record = (&'static Recorder, u32);

/// What the attributes of a request ask for.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Ids of the returns, in order.
    returns: [u8; attr::ID_MAX as usize],
    nr_returns: u8,
    /// Those of all attributes that are handled.
    handled: u64,
    /// Those whose payload is bad.
    bad: u64,
    /// Those without which the request must not run.
    required: u64,
    /// Those that have to be measured for a return.
    measured: u64,
    /// The hint of CACHE.
    hint: u32,
    /// The value of PRIORITY.
    ioprio: u32,
    /// The payloads of DEADLINE, SIGNAL, GROUP and AFTER.
    timeout_ns: u64,
    signal: attr::Signal,
    group: u64,
    after: attr::After,
    /// Where the request is recorded, and for which thread.
    record: Option<Record>,
}

impl Plan {
    /// That of a request without attributes.
    fn empty() -> Self {
        Plan {
            returns: [0; attr::ID_MAX as usize],
            nr_returns: 0,
            handled: 0,
            bad: 0,
            measured: 0,
            hint: attr::CACHE_NORMAL,
            ioprio: 0,
            timeout_ns: 0,
            signal: attr::Signal::default(),
            group: 0,
            after: attr::After::default(),
            required: 0,
            record: None,
        }
    }

    /// That of a request for `operation` which has `plan`, and is recorded where
    /// `record` says: what is measured for that is returned only if it was asked for.
    pub(crate) fn recorded(plan: Option<Self>, operation: Operation, record: Record) -> Self {
        let mut plan = plan.unwrap_or_else(Plan::empty);
        plan.measured |= bit(attr::TIMING) | bit(attr::PATH);
        if !plan.has(attr::CACHE) && operation.class() == Some(Class::Read) {
            plan.measured |= bit(attr::CACHE);
        }
        plan.record = Some(record);
        plan
    }

    /// Where the request is recorded, and for which thread.
    #[inline]
    pub(crate) fn record(&self) -> Option<Record> {
        self.record
    }

    /// Reads the attributes of a request for `operation`.
    ///
    /// # Errors
    /// The errno (positive) that the request ends with before it starts,
    /// beside the plan, by which its event is written nevertheless.
    pub(crate) fn new(attrs: Attrs<'_>, operation: Operation) -> (Self, Result<(), i32>) {
        let mut plan = Plan::empty();
        let mut verdict = Ok(());
        for a in attrs {
            let refused = plan.add(&a, operation);
            // SPEC: R-ATTR-3, R-ATTR-4, R-AFTER-6
            let required =
                a.flags.contains(AttrFlags::REQUIRED) || ALWAYS_REQUIRED & bit(a.id) != 0;
            if required {
                plan.required |= bit(a.id);
                verdict = verdict.and(refused);
            }
        }
        (plan, verdict)
    }

    /// Notes one attribute; the errno if it is not handled.
    fn add(&mut self, a: &Attr<'_>, operation: Operation) -> Result<(), i32> {
        let returned = a.flags.contains(AttrFlags::RETURN);
        if returned && let Some(slot) = self.returns.get_mut(usize::from(self.nr_returns)) {
            *slot = a.id as u8;
            self.nr_returns += 1;
        }
        if TAKEN & bit(a.id) == 0 {
            return Err(EOPNOTSUPP);
        }
        match self.take(a, operation) {
            Ok(true) => {
                self.handled |= bit(a.id);
                if returned {
                    self.measured |= bit(a.id) & RETURNED;
                }
                Ok(())
            }
            Ok(false) => Err(EOPNOTSUPP),
            Err(BadPayload) => {
                self.bad |= bit(a.id);
                Err(EINVAL)
            }
        }
    }

    /// Reads a payload; whether `operation` has the attribute.
    fn take(&mut self, a: &Attr<'_>, operation: Operation) -> Result<bool, BadPayload> {
        let is_file = matches!(operation.class(), Some(Class::Read | Class::Write));
        Ok(match a.id {
            attr::PRIORITY => {
                let p: attr::Priority = attr::payload(a.payload)?;
                if p.resv != 0 || !priority_is_valid(p.ioprio) {
                    return Err(BadPayload);
                }
                self.ioprio = p.ioprio;
                true
            }
            attr::CACHE => {
                let c: attr::Cache = attr::optional_payload(a.payload)?;
                if c.resv != 0 || c.hint > attr::CACHE_NO_READAHEAD {
                    return Err(BadPayload);
                }
                self.hint = c.hint;
                // SPEC: R-CACHE-2
                match c.hint {
                    attr::CACHE_NORMAL => operation.class() == Some(Class::Read),
                    attr::CACHE_NO_READAHEAD => false,
                    _ => is_file,
                }
            }
            attr::CHECKSUM => {
                let c: attr::Checksum = attr::optional_payload(a.payload)?;
                if c.resv != 0 || c.kind != attr::CHECKSUM_CRC32C {
                    return Err(BadPayload);
                }
                is_file
            }
            attr::DEADLINE => {
                self.timeout_ns = attr::payload::<attr::Deadline>(a.payload)?.timeout_ns;
                true
            }
            attr::SIGNAL => {
                self.signal = attr::payload(a.payload)?;
                if !signal::is_valid(&self.signal) {
                    return Err(BadPayload);
                }
                true
            }
            attr::GROUP => {
                self.group = attr::payload::<attr::Group>(a.payload)?.key;
                true
            }
            attr::AFTER => {
                self.after = attr::payload(a.payload)?;
                if self.after.resv != 0 || self.after.kind > attr::AFTER_STREAM {
                    return Err(BadPayload);
                }
                true
            }
            attr::TAG => attr::payload::<attr::Tag>(a.payload).map(|_| true)?,
            // TIMING and PATH have no payload.
            _ => attr::payload::<[u8; 0]>(a.payload).map(|_| true)?,
        })
    }

    /// Whether attribute `id` is handled and its return has to be measured.
    #[inline]
    pub(crate) fn measures(&self, id: u16) -> bool {
        self.measured & bit(id) != 0
    }

    /// The priority to run the request with.
    pub(crate) fn ioprio(&self) -> Option<u32> {
        self.has(attr::PRIORITY).then_some(self.ioprio)
    }

    /// Whether attribute `id` is handled.
    pub(crate) fn has(&self, id: u16) -> bool {
        self.handled & bit(id) != 0
    }

    /// Whether an attribute concerns more than the running of the request.
    #[inline]
    pub(crate) fn is_tracked(&self) -> bool {
        self.handled & TRACKED != 0
    }

    /// How long after its acceptance the request is cancelled, in ns.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.has(attr::DEADLINE).then_some(self.timeout_ns)
    }

    /// The signal to send when the request has ended.
    pub(crate) fn signal(&self) -> Option<attr::Signal> {
        self.has(attr::SIGNAL).then_some(self.signal)
    }

    /// The key of the group that the request is a member of.
    pub(crate) fn group(&self) -> Option<u64> {
        self.has(attr::GROUP).then_some(self.group)
    }

    /// What the request starts after.
    pub(crate) fn after(&self) -> Option<attr::After> {
        self.has(attr::AFTER).then_some(self.after)
    }

    /// Leaves out what a run in the calling thread does not have; false if that
    /// is required.
    pub(crate) fn restrict_to_exec(&mut self) -> bool {
        let left_out = self.handled & NOT_IN_EXEC;
        self.handled &= !left_out;
        left_out & self.required == 0
    }

    /// Whether the request must not run if its priority cannot be set.
    pub(crate) fn requires_priority(&self) -> bool {
        self.required & bit(attr::PRIORITY) != 0
    }

    /// The ids of the attributes that want a return, in order.
    pub(crate) fn returns(&self) -> impl Iterator<Item = u16> {
        self.returns[..usize::from(self.nr_returns)].iter().map(|&id| u16::from(id))
    }

    /// Whether the payload of attribute `id` is bad.
    pub(crate) fn is_bad(&self, id: u16) -> bool {
        self.bad & bit(id) != 0
    }

    /// The hint of CACHE.
    pub(crate) fn hint(&self) -> u32 {
        self.hint
    }

    /// Whether the pages have to be dropped behind the transfer.
    pub(crate) fn drops_behind(&self) -> bool {
        self.has(attr::CACHE) && self.hint == attr::CACHE_DROP
    }
}

/// Whether `ioprio` has a class that ioprio_set(2) knows. Level and hints are
/// for the host to judge.
fn priority_is_valid(ioprio: u32) -> bool {
    const CLASS_SHIFT: u32 = 13;
    const IDLE: u32 = 3;
    match ioprio >> CLASS_SHIFT {
        0 => ioprio == 0,
        class => class <= IDLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The attributes in a mask.
    fn ids(mask: u64) -> Vec<u16> {
        (0..64).filter(|id| mask >> id & 1 == 1).collect()
    }

    #[test]
    fn each_attribute_of_the_abi_is_taken_and_returned_as_the_table_says() {
        let known: Vec<u16> = (0..64).filter(|&id| attr::kind(id).is_some()).collect();
        assert_eq!(ids(TAKEN), known);
        let has_payload = |id: &u16| attr::kind(*id).is_some_and(|kind| kind.returns > 0);
        assert_eq!(ids(RETURNED), known.into_iter().filter(has_payload).collect::<Vec<_>>());
    }

    #[test]
    fn attributes_that_concern_more_than_the_running_are_set_apart() {
        assert_eq!(ids(TRACKED), [attr::DEADLINE, attr::SIGNAL, attr::GROUP, attr::AFTER]);
        assert_eq!(ids(NOT_IN_EXEC), [attr::DEADLINE, attr::GROUP, attr::AFTER]);
        assert_eq!(ids(ALWAYS_REQUIRED), [attr::GROUP, attr::AFTER]);
    }
}
