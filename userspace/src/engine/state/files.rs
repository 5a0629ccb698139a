//! Requests that wait for their file to become ready: which, for what, and who
//! comes next.
//!
//! First come first served, for each file and direction. A request keeps its
//! place from when it begins to wait until it ends, also while it is tried again
//! or a worker has it. As long as one waits, the file is held: it is `H`, a
//! descriptor of the engine's own, one for a file and not for a request.
//!
//! No descriptor is used here, nothing sleeps, and there is no lock: what is to be
//! watched is told to whoever asks with [`Files::arm`].
//!
//! SPEC: R-WAIT-2, R-WAIT-3, R-WAIT-4.

pub use crate::engine::request::wait::Direction;
use rustc_hash::FxHashMap;
use std::collections::{TryReserveError, VecDeque};

/// Stale entries of a queue that are not worth a cleaning.
const FEW: usize = 64;
/// Set in each token, and in no id of a request.
const MARK: u64 = 1 << 63;

/// Both directions, or one, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// [`Direction::In`].
    pub input: bool,
    /// [`Direction::Out`].
    pub output: bool,
}

impl Interest {
    fn has(self, direction: Direction) -> bool {
        match direction {
            Direction::In => self.input,
            Direction::Out => self.output,
        }
    }
}

/// The requests that wait for one direction of a file.
#[derive(Debug, Default)]
struct Queue {
    /// In the order in which they came; some may have ended.
    ids: VecDeque<u64>,
    /// Those that have not.
    waiting: usize,
    /// The one that is tried again or run just now; others wait for it.
    running: Option<u64>,
}

#[derive(Debug)]
struct File<H> {
    /// Its number, as the application knows it.
    fd: i32,
    held: H,
    queues: [Queue; 2],
    /// What is watched.
    armed: Interest,
}

#[derive(Debug)]
struct Slot<H> {
    generation: u32,
    file: Option<File<H>>,
}

/// Who waits for files.
#[derive(Debug)]
pub struct Files<H> {
    slots: Vec<Slot<H>>,
    /// Of the file that was opened last.
    generation: u32,
    free: Vec<u32>,
    /// The file that a descriptor meant when it was waited for last.
    by_fd: FxHashMap<i32, u32>,
    /// Where each request waits.
    places: FxHashMap<u64, (u32, Direction)>,
    /// The request that is tried again without the lock, and the errno
    /// (positive) that it is to end with if it still has to wait.
    tried: Option<(u64, Option<i32>)>,
}

impl<H> Default for Files<H> {
    fn default() -> Self {
        Files {
            slots: Vec::new(),
            generation: 0,
            free: Vec::new(),
            by_fd: FxHashMap::default(),
            places: FxHashMap::default(),
            tried: None,
        }
    }
}

impl<H> Files<H> {
    /// Requests that wait, or waited and have not ended.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.places.len()
    }

    /// Files that are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// All that are held.
    pub fn all_held(&self) -> impl Iterator<Item = &H> {
        self.slots.iter().filter_map(|slot| Some(&slot.file.as_ref()?.held))
    }

    /// The file that `fd` meant when it was waited for last, if one still does.
    #[must_use]
    pub fn find(&self, fd: i32) -> Option<(u64, &H)> {
        let place = *self.by_fd.get(&fd)?;
        let slot = self.slots.get(place as usize)?;
        Some((token(place, slot.generation), &slot.file.as_ref()?.held))
    }

    /// What is held for a file.
    pub fn held_of(&mut self, token: u64) -> Option<&mut H> {
        let place = self.place(token)?;
        Some(&mut self.slots[place as usize].file.as_mut()?.held)
    }

    /// Whether a request that came now on `fd` would have others before it.
    #[must_use]
    pub fn is_waited_for(&self, fd: i32, direction: Direction) -> bool {
        let file = self.by_fd.get(&fd).and_then(|place| self.file(*place));
        file.is_some_and(|file| file.queues[direction as usize].waiting > 0)
    }

    /// Sees to it that one more can wait, and for another file, without
    /// allocating.
    ///
    /// # Errors
    /// If the memory cannot be had.
    pub fn reserve(&mut self) -> Result<(), TryReserveError> {
        self.slots.try_reserve(1)?;
        self.free.try_reserve(self.slots.len() + 1 - self.free.len())?;
        self.by_fd.try_reserve(1)?;
        self.places.try_reserve(1)
    }

    /// Gives back the memory, if nobody waits. What named a file names none then.
    pub fn give_back(&mut self) {
        if self.places.is_empty() && self.held() == 0 && self.tried.is_none() {
            *self = Files { generation: self.generation, ..Files::default() };
        }
    }

    /// Begins to hold the file that `fd` means now; its token. Room was reserved.
    pub fn open(&mut self, fd: i32, held: H) -> u64 {
        let file = File { fd, held, queues: Default::default(), armed: Interest::default() };
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, file: None });
            self.slots.len() as u32 - 1
        });
        self.by_fd.insert(fd, place);
        self.generation = self.generation.wrapping_add(1) & (u32::MAX >> 1);
        let slot = &mut self.slots[place as usize];
        slot.generation = self.generation;
        slot.file = Some(file);
        token(place, slot.generation)
    }

    /// Lets go of a file that nobody waits for.
    fn close(&mut self, place: u32) -> Option<H> {
        let file = self.slots[place as usize].file.take()?;
        if self.by_fd.get(&file.fd) == Some(&place) {
            self.by_fd.remove(&file.fd);
        }
        self.free.push(place);
        Some(file.held)
    }

    /// Request `id` waits for the file, behind all that do.
    ///
    /// # Errors
    /// If the memory cannot be had.
    pub fn wait(
        &mut self,
        token: u64,
        direction: Direction,
        id: u64,
    ) -> Result<(), TryReserveError> {
        let Some(place) = self.place(token) else { return Ok(()) };
        let Some(file) = self.slots[place as usize].file.as_mut() else { return Ok(()) };
        let queue = &mut file.queues[direction as usize];
        if queue.ids.len() > FEW.max(2 * queue.waiting) {
            let places = &self.places;
            queue.ids.retain(|id| places.contains_key(id));
        }
        queue.ids.try_reserve(1)?;
        queue.ids.push_back(id);
        queue.waiting += 1;
        self.places.insert(id, (place, direction));
        Ok(())
    }

    /// Lets go of the file again that was just opened, if nobody waits for it.
    pub fn forsake(&mut self, token: u64) -> Option<H> {
        let place = self.place(token)?;
        let is_idle = self.file(place)?.queues.iter().all(|queue| queue.waiting == 0);
        if is_idle { self.close(place) } else { None }
    }

    /// The request whose turn it is, if the file is ready for `direction`: it is
    /// tried again or run from now on, and the others of the direction wait.
    pub fn next(&mut self, token: u64, direction: Direction) -> Option<u64> {
        let place = self.place(token)?;
        let places = &self.places;
        let file = self.slots[place as usize].file.as_mut()?;
        let queue = &mut file.queues[direction as usize];
        if queue.running.is_some() {
            return None;
        }
        while let Some(&id) = queue.ids.front() {
            if places.contains_key(&id) {
                queue.running = Some(id);
                return Some(id);
            }
            queue.ids.pop_front();
        }
        None
    }

    /// The request whose turn it was waits on, before all others.
    pub fn wait_on(&mut self, id: u64) -> Option<u64> {
        let &(place, direction) = self.places.get(&id)?;
        let slot = &mut self.slots[place as usize];
        slot.file.as_mut()?.queues[direction as usize].running = None;
        Some(token(place, slot.generation))
    }

    /// Request `id` has ended. Its file, if others wait for it, and what is to be
    /// let go of if none does.
    pub fn leave(&mut self, id: u64) -> (Option<u64>, Option<H>) {
        let Some((place, direction)) = self.places.remove(&id) else { return (None, None) };
        let slot = &mut self.slots[place as usize];
        let token = token(place, slot.generation);
        let Some(file) = slot.file.as_mut() else { return (None, None) };
        let queue = &mut file.queues[direction as usize];
        queue.waiting -= 1;
        if queue.ids.front() == Some(&id) {
            queue.ids.pop_front();
        }
        if queue.running == Some(id) {
            queue.running = None;
        }
        if file.queues.iter().all(|queue| queue.waiting == 0) {
            (None, self.close(place))
        } else {
            (Some(token), None)
        }
    }

    /// The file has become ready, for which it was watched, and is not watched
    /// any more.
    pub fn fired(&mut self, token: u64) {
        let place = self.place(token);
        if let Some(place) = place
            && let Some(file) = &mut self.slots[place as usize].file
        {
            file.armed = Interest::default();
        }
    }

    /// What the file has to be watched for, if that is more than it is; it counts
    /// as done.
    pub fn arm(&mut self, token: u64) -> Option<(&mut H, Interest)> {
        let place = self.place(token)?;
        let file = self.slots[place as usize].file.as_mut()?;
        let is_wanted = |direction: Direction| {
            let queue = &file.queues[direction as usize];
            queue.waiting > 0 && queue.running.is_none() || file.armed.has(direction)
        };
        let (input, output) = (is_wanted(Direction::In), is_wanted(Direction::Out));
        let wanted = Interest { input, output };
        if wanted == file.armed {
            return None;
        }
        file.armed = wanted;
        Some((&mut file.held, wanted))
    }

    /// Request `id`, whose turn it is, is tried again without the lock.
    pub fn begin_try(&mut self, id: u64) {
        self.tried = Some((id, None));
    }

    /// The try is over; the errno (positive) that the request is to end with if
    /// it has to wait.
    pub fn end_try(&mut self) -> Option<i32> {
        self.tried.take().and_then(|(_, errno)| errno)
    }

    /// Ends request `id` with `errno` (positive) if it is tried just now and has
    /// to wait; the first to say so decides on the errno. False if it is not
    /// tried.
    pub fn stop_try(&mut self, id: u64, errno: i32) -> bool {
        match &mut self.tried {
            Some((tried, stop)) if *tried == id => {
                stop.get_or_insert(errno);
                true
            }
            _ => false,
        }
    }

    /// Whether request `id` waits, or has waited and not ended.
    #[must_use]
    pub fn has(&self, id: u64) -> bool {
        self.places.contains_key(&id)
    }

    /// The requests that wait, or have waited and not ended.
    pub fn ids(&self) -> impl Iterator<Item = u64> {
        self.places.keys().copied()
    }

    fn file(&self, place: u32) -> Option<&File<H>> {
        self.slots.get(place as usize)?.file.as_ref()
    }

    fn place(&self, token: u64) -> Option<u32> {
        let (place, generation) = (token as u32, (token & !MARK) >> 32);
        let slot = self.slots.get(place as usize)?;
        (u64::from(slot.generation) == generation && slot.file.is_some()).then_some(place)
    }
}

/// Whether what was watched is a file, and not a single request.
#[must_use]
pub fn is_token(data: u64) -> bool {
    data & MARK != 0
}

fn token(place: u32, generation: u32) -> u64 {
    MARK | u64::from(generation) << 32 | u64::from(place)
}

#[cfg(test)]
mod tests {
    use super::Direction::{In, Out};
    use super::*;

    fn wait(files: &mut Files<i32>, token: u64, direction: Direction, id: u64) {
        files.reserve().unwrap();
        files.wait(token, direction, id).unwrap();
    }

    fn open(files: &mut Files<i32>, fd: i32) -> u64 {
        files.reserve().unwrap();
        files.open(fd, fd)
    }

    /// SPEC: R-WAIT-2
    #[test]
    fn first_come_first_served_in_each_direction() {
        let mut files = Files::default();
        let file = open(&mut files, 3);
        for (direction, id) in [(In, 1), (Out, 2), (In, 3), (Out, 4)] {
            wait(&mut files, file, direction, id);
        }
        assert_eq!((files.next(file, In), files.next(file, Out)), (Some(1), Some(2)));
        assert_eq!(files.next(file, In), None, "the first has not ended");
        files.wait_on(1);
        assert_eq!(files.next(file, In), Some(1), "it stays the first");
        assert_eq!(files.leave(1), (Some(file), None));
        assert_eq!(files.next(file, In), Some(3));
    }

    #[test]
    fn a_file_is_held_until_the_last_has_ended() {
        let mut files = Files::default();
        let file = open(&mut files, 3);
        wait(&mut files, file, In, 1);
        wait(&mut files, file, Out, 2);
        assert!(files.is_waited_for(3, In) && !files.is_waited_for(4, In));
        assert_eq!(files.leave(2), (Some(file), None));
        assert_eq!(files.leave(1), (None, Some(3)));
        assert_eq!((files.held(), files.waiting(), files.find(3)), (0, 0, None));
        let next = open(&mut files, 3);
        assert!(next != file && files.next(file, In).is_none(), "an old token names nothing");
    }

    #[test]
    fn a_number_that_means_another_file_has_a_queue_of_its_own() {
        let mut files = Files::default();
        let old = open(&mut files, 3);
        wait(&mut files, old, In, 1);
        let new = open(&mut files, 3);
        wait(&mut files, new, In, 2);
        assert_eq!((files.next(new, In), files.next(old, In)), (Some(2), Some(1)));
        assert_eq!(files.leave(1).1, Some(3));
        assert_eq!(files.find(3).map(|(token, _)| token), Some(new));
    }

    #[test]
    fn what_is_watched_follows_who_waits() {
        let mut files = Files::default();
        let file = open(&mut files, 3);
        let armed = |files: &mut Files<i32>| files.arm(file).map(|(_, i)| (i.input, i.output));
        assert_eq!(armed(&mut files), None);
        wait(&mut files, file, In, 1);
        assert_eq!(armed(&mut files), Some((true, false)));
        wait(&mut files, file, In, 2);
        assert_eq!(armed(&mut files), None, "it is already");
        wait(&mut files, file, Out, 3);
        assert_eq!(armed(&mut files), Some((true, true)));
        files.fired(file);
        assert_eq!(files.next(file, In), Some(1));
        assert_eq!(armed(&mut files), Some((false, true)), "somebody is at the input");
        files.leave(1);
        assert_eq!(armed(&mut files), Some((true, true)));
    }

    #[test]
    fn memory_is_given_back_and_an_old_token_names_nothing() {
        let mut files = Files::default();
        let old = open(&mut files, 3);
        wait(&mut files, old, In, 1);
        files.give_back();
        assert_eq!(files.next(old, In), Some(1), "somebody waits");
        files.leave(1);
        files.give_back();
        assert_eq!((files.slots.capacity(), files.places.capacity()), (0, 0));
        let new = open(&mut files, 3);
        wait(&mut files, new, In, 2);
        assert_eq!((files.next(old, In), files.next(new, In)), (None, Some(2)));
    }

    #[test]
    fn many_that_have_ended_leave_no_memory() {
        let mut files = Files::default();
        let file = open(&mut files, 3);
        wait(&mut files, file, In, 1);
        for id in 2..10_000 {
            wait(&mut files, file, In, id);
            files.leave(id);
        }
        assert!(files.slots[0].file.as_ref().unwrap().queues[0].ids.len() < 1000);
    }

    #[test]
    fn who_is_tried_can_be_stopped_once() {
        let mut files = Files::<i32>::default();
        files.begin_try(7);
        assert!(!files.stop_try(8, 1) && files.stop_try(7, 2) && files.stop_try(7, 3));
        assert_eq!((files.end_try(), files.end_try()), (Some(2), None));
    }
}
