//! Who waits for the files of a context, and tries again what they make ready.
//!
//! A thread that waits for events has nothing else to do: it leads, so that what
//! comes by a file is with it at once, and no other thread has to be woken. While
//! none does, the context's own thread leads. That is woken as seldom as can be: a
//! thread that handles what it got is back soon, so its own stands by, and looks
//! now and then whether somebody has led since.
//!
//! No thread is used here, nothing sleeps, and there is no lock.
//!
//! SPEC: R-WAIT-1, R-WAIT-7.

/// Who leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Leader {
    #[default]
    Nobody,
    /// One that waits for events.
    Waiter,
    /// The context's own thread.
    Thread,
}

/// What the context's own thread does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It leads.
    Lead,
    /// It looks again soon.
    Look,
    /// It sleeps until it is told.
    Sleep,
}

/// Who waits for the files.
#[derive(Debug, Default)]
pub struct Lead {
    leader: Leader,
    /// How often the lead has changed.
    changes: u64,
    /// The context's own thread sleeps until it is told.
    sleeps: bool,
    /// It leads, and shall not any more.
    is_called_off: bool,
}

impl Lead {
    /// A thread that waits for events leads, if nobody does; whether it does now.
    pub fn take(&mut self) -> bool {
        let is_free = self.leader == Leader::Nobody;
        if is_free {
            self.leader = Leader::Waiter;
            self.changes += 1;
        }
        is_free
    }

    /// The leader leads no more.
    pub fn resign(&mut self) {
        self.leader = Leader::Nobody;
        self.changes += 1;
        self.is_called_off = false;
    }

    /// A thread that waits for events would lead; whether the context's own, which
    /// does, has to be told that it shall not.
    pub fn call_off(&mut self) -> bool {
        self.leader == Leader::Thread && !std::mem::replace(&mut self.is_called_off, true)
    }

    /// Whether the context's own thread leads, and shall not any more.
    #[must_use]
    pub fn is_called_off(&self) -> bool {
        self.is_called_off
    }

    /// What the context's own thread does next, which does not lead; `seen` is how
    /// often the lead had changed when it asked last.
    pub fn next(&mut self, seen: &mut u64) -> Next {
        let is_quiet = std::mem::replace(seen, self.changes) == self.changes;
        match self.leader {
            Leader::Nobody if is_quiet => {
                self.leader = Leader::Thread;
                Next::Lead
            }
            Leader::Waiter if is_quiet => {
                self.sleeps = true;
                Next::Sleep
            }
            _ => Next::Look,
        }
    }

    /// Whether the context's own thread has to be told that nobody leads, though
    /// somebody waits for a file.
    #[must_use]
    pub fn needs_thread(&self) -> bool {
        self.leader == Leader::Nobody && self.sleeps
    }

    /// As [`Lead::needs_thread`]; it counts as told then.
    pub fn tell_thread(&mut self) -> bool {
        let needs = self.needs_thread();
        self.sleeps &= !needs;
        needs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SPEC: R-WAIT-7
    #[test]
    fn the_thread_leads_once_nobody_has_led_for_a_while() {
        let (mut lead, mut seen) = (Lead::default(), u64::MAX);
        assert_eq!(lead.next(&mut seen), Next::Look, "somebody may come");
        assert!(lead.take() && !lead.take());
        assert_eq!(lead.next(&mut seen), Next::Look);
        assert_eq!((lead.next(&mut seen), lead.needs_thread()), (Next::Sleep, false));
        lead.resign();
        assert!(lead.needs_thread() && lead.tell_thread() && !lead.tell_thread());
        assert_eq!(lead.next(&mut seen), Next::Look);
        assert_eq!((lead.next(&mut seen), lead.take()), (Next::Lead, false));
    }

    #[test]
    fn who_waits_for_events_has_the_thread_called_off_once() {
        let (mut lead, mut seen) = (Lead::default(), 0);
        assert!(!lead.call_off() && !lead.is_called_off());
        assert_eq!(lead.next(&mut seen), Next::Lead);
        assert!(lead.call_off() && !lead.call_off() && lead.is_called_off());
        lead.resign();
        assert!(!lead.is_called_off() && lead.next(&mut seen) == Next::Look && lead.take());
    }
}
