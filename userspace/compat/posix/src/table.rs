//! A place for each request in flight.
//!
//! Everything in it is touched under its lock only, but for a slot's number.

use crate::aiocb::{Control, Described};
use std::cell::UnsafeCell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The requests in flight.
#[derive(Debug, Default)]
pub struct Table(Mutex<Inner>);

/// What the lock keeps.
#[derive(Debug, Default)]
pub struct Inner {
    places: Vec<Place>,
    free: Vec<Place>,
    claimed: u64,
}

/// Where a slot is; it stays there as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(NonNull<Slot>);

// SAFETY: what it points to is touched under the table's lock, or atomic.
unsafe impl Send for Place {}

/// What a slot is taken by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Free,
    Read,
    Write,
    /// `true`: the data only.
    Sync(bool),
    /// A list of lio_listio: the end of its group.
    List,
}

#[derive(Debug)]
struct Slot {
    /// Changes when its request ends, so that it tells one from the next.
    number: AtomicU64,
    request: UnsafeCell<Request>,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    pub kind: Kind,
    /// Of two, the one that was submitted first has the lower one.
    pub order: u64,
    /// The program's struct aiocb; a list has none.
    pub control: Option<Control>,
    pub described: Described,
    /// The id that the implementation gave, or 0 if it is not known yet.
    pub id: u64,
    /// Its file has no positions.
    pub is_stream: bool,
    /// It writes at the file's end, in order.
    pub appends: bool,
    /// It waits for others: that they failed is no reason for it not to run.
    pub waits: bool,
    /// The program has asked to cancel it.
    pub is_unwanted: bool,
    /// The list that it belongs to.
    pub list: Option<Place>,
    /// It runs again, outside of its list's group.
    pub runs_again: bool,
    /// Of a list: how many members run again outside of its group.
    pub run_again: u32,
    /// Of a list: its group has ended.
    pub group_has_ended: bool,
    /// Of a list: a member has failed.
    pub has_failed: bool,
    /// The result, once it has ended, as long as the place is free.
    pub result: i64,
    /// The thread that submitted it, if that is recorded.
    pub tid: u32,
}

impl Request {
    /// None.
    pub const FREE: Request = Request {
        kind: Kind::Free,
        order: 0,
        control: None,
        described: Described::NOTHING,
        id: 0,
        is_stream: false,
        appends: false,
        waits: false,
        is_unwanted: false,
        list: None,
        runs_again: false,
        run_again: 0,
        group_has_ended: false,
        has_failed: false,
        result: 0,
        tid: 0,
    };
}

impl Place {
    /// What its completion is known by.
    pub fn user_data(self) -> u64 {
        self.0.as_ptr().expose_provenance() as u64
    }

    /// The place of a completion; none if it has none.
    ///
    /// # Safety
    /// 0, or from [`Place::user_data`].
    pub unsafe fn of(user_data: u64) -> Option<Self> {
        NonNull::new(std::ptr::with_exposed_provenance_mut(user_data as usize)).map(Place)
    }

    /// Tells one request in this place from the next.
    pub fn number(self) -> u64 {
        // SAFETY: it is alive as long as the process.
        let number = unsafe { &(*self.0.as_ptr()).number };
        // Acquire: who sees that it has changed sees the end of the request.
        number.load(Ordering::Acquire)
    }
}

impl Table {
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// A place for a request of this kind.
    pub fn claim(&mut self, kind: Kind) -> Place {
        let place = self.free.pop().unwrap_or_else(|| {
            let slot = Slot { number: AtomicU64::new(1), request: Request::FREE.into() };
            let place = Place(NonNull::from(Box::leak(Box::new(slot))));
            self.places.push(place);
            place
        });
        self.claimed += 1;
        *self.at(place) = Request { kind, order: self.claimed, ..Request::FREE };
        place
    }

    /// What is in a place.
    pub fn at(&mut self, place: Place) -> &mut Request {
        // SAFETY: it is alive as long as the process, and not null.
        let request = unsafe { &raw const (*place.0.as_ptr()).request };
        // SAFETY: touched under the lock only, which self is behind.
        unsafe { &mut *UnsafeCell::raw_get(request) }
    }

    /// Whether nobody has taken a place.
    pub fn is_free(&mut self, place: Place) -> bool {
        self.at(place).kind == Kind::Free
    }

    /// Gives a place back whose request has ended with this result.
    pub fn release(&mut self, place: Place, result: i64) {
        *self.at(place) = Request { result, ..Request::FREE };
        // SAFETY: as in `Place::number`.
        let number = unsafe { &(*place.0.as_ptr()).number };
        // Release: pairs with the acquire in `Place::number`.
        number.fetch_add(1, Ordering::Release);
        self.free.push(place);
    }

    /// The requests in flight on a descriptor, the oldest first.
    pub fn of_descriptor(&mut self, fd: i32) -> Vec<Place> {
        let mut found = self.places.clone();
        found.retain(|place| {
            let request = self.at(*place);
            !matches!(request.kind, Kind::Free | Kind::List) && request.described.fd == fd
        });
        found.sort_by_key(|place| self.at(*place).order);
        found
    }

    /// The request in flight that appends to a descriptor's file, and was
    /// accepted last: its id.
    pub fn last_append(&mut self, fd: i32) -> Option<u64> {
        self.append_before(fd, u64::MAX)
    }

    /// The same, of those before one in order.
    pub fn append_before(&mut self, fd: i32, order: u64) -> Option<u64> {
        let all = self.of_descriptor(fd);
        let appends = |place: &Place| {
            let request = self.at(*place);
            (request.appends && request.id != 0 && request.order < order).then_some(request.id)
        };
        all.iter().rev().find_map(appends)
    }
}
