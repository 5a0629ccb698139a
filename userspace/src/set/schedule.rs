//! Which member is next: by priority, with ageing.
//!
//! No threads and no events here: only which of the members that have one is
//! next.
//!
//! SPEC: appendix E (R-SET-1, R-SET-2).

/// Where a member of a set stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    /// A larger one comes first.
    priority: u8,
    /// Events of others that were delivered since it had one, or was served.
    passed_over: u32,
}

impl Rank {
    /// A member that has just come.
    #[must_use]
    pub const fn new(priority: u8) -> Self {
        Rank { priority, passed_over: 0 }
    }
}

/// The next of the members that have an event, in order of their coming; none
/// if there are none. From `ageing` on, having been passed counts more than
/// the priority.
#[must_use]
pub fn pick_next(members: impl Iterator<Item = Option<Rank>>, ageing: u32) -> Option<usize> {
    let key = |rank: Rank| {
        let aged = if rank.passed_over >= ageing { rank.passed_over } else { 0 };
        (aged, rank.priority, rank.passed_over)
    };
    let mut best = None;
    for (place, rank) in members.enumerate() {
        let Some(key) = rank.map(key) else { continue };
        // The first of those that are equal.
        if best.is_none_or(|(_, other)| key > other) {
            best = Some((place, key));
        }
    }
    best.map(|(place, _)| place)
}

/// Notes that an event of member `served` was delivered; the others are passed
/// if they have one.
pub fn account<'t>(ranks: impl Iterator<Item = (&'t mut Rank, bool)>, served: usize) {
    for (place, (rank, has_event)) in ranks.enumerate() {
        rank.passed_over = match has_event {
            true if place != served => rank.passed_over.saturating_add(1),
            _ => 0,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Members with as many events as `events` says, and `arrives` at each
    /// step; whose event each delivery was.
    fn deliver(
        priorities: &[u8],
        ageing: u32,
        steps: usize,
        mut arrives: impl FnMut(usize, &mut [u32]),
    ) -> Vec<usize> {
        let mut ranks: Vec<_> = priorities.iter().map(|&p| Rank::new(p)).collect();
        let mut events = vec![0; ranks.len()];
        let mut order = Vec::new();
        for step in 0..steps {
            arrives(step, &mut events);
            let ready = |(rank, &n): (&Rank, &u32)| (n > 0).then_some(*rank);
            let Some(place) = pick_next(ranks.iter().zip(&events).map(ready), ageing) else {
                continue;
            };
            let has_event: Vec<bool> = events.iter().map(|&n| n > 0).collect();
            account(ranks.iter_mut().zip(has_event), place);
            events[place] -= 1;
            order.push(place);
        }
        order
    }

    #[test]
    fn the_highest_priority_comes_first_and_equals_take_turns() {
        let order = deliver(&[1, 9, 1, 9], 100, 8, |step, events| {
            if step == 0 {
                events.fill(2);
            }
        });
        assert_eq!(order, [1, 3, 1, 3, 0, 2, 0, 2]);
    }

    /// SPEC: R-SET-2
    #[test]
    fn the_bound_of_ageing_is_kept_and_is_reached() {
        // Interpreted, each delivery takes long.
        let deliveries = if cfg!(miri) { 150 } else { 2000 };
        for members in 2..6_usize {
            for ageing in [1, 2, 7, 30] {
                // All have events all the time, the last has the lowest priority.
                let priorities: Vec<u8> = (0..members).map(|n| (200 - n) as u8).collect();
                let order = deliver(&priorities, ageing, deliveries, |_, events| events.fill(5));
                let last = members - 1;
                let mut longest = 0;
                let mut since = 0;
                for place in order {
                    since = if place == last { 0 } else { since + 1 };
                    longest = longest.max(since);
                }
                assert_eq!(longest, ageing as usize + members - 2, "{members} of ageing {ageing}");
            }
        }
    }
}
