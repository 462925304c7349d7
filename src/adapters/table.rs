//! The table of connections and the count of seats: how many connections there are, in all and from one place (S3).
//!
//! Invariants: a stale [`StreamId`] finds nothing; a seat is given back when its connection is dropped, wherever that
//! happens.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::IpAddr,
    rc::Rc,
};

use super::conn::Connection;
use crate::router::event::StreamId;

/// Connections by slot; slots are reused, generations tell the uses apart.
#[derive(Default)]
pub(super) struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

struct Slot {
    generation: u32,
    connection: Option<Box<Connection>>,
}

impl Table {
    /// Gives the connection a slot.
    pub fn insert(&mut self, connection: Box<Connection>) -> StreamId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, connection: None });
            // Bounded by `limits.streams`.
            (self.slots.len() - 1) as u32
        });
        let place = &mut self.slots[slot as usize];
        place.generation = place.generation.wrapping_add(1);
        place.connection = Some(connection);
        StreamId { slot, generation: place.generation }
    }

    /// The connection, if the id is not stale.
    pub fn find(&mut self, id: StreamId) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(id.slot as usize).filter(|slot| slot.generation == id.generation)?;
        slot.connection.as_deref_mut()
    }

    /// Takes the connection out; its id is stale from now on.
    pub fn remove(&mut self, id: StreamId) -> Option<Box<Connection>> {
        let slot = self.slots.get_mut(id.slot as usize).filter(|slot| slot.generation == id.generation)?;
        let connection = slot.connection.take()?;
        self.free.push(id.slot);
        Some(connection)
    }

    /// Connections at the moment.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

/// Where a connection comes from, for counting: an IPv4 address, or the /64 that one household has in IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Origin {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl From<IpAddr> for Origin {
    fn from(address: IpAddr) -> Origin {
        match address.to_canonical() {
            IpAddr::V4(v4) => Origin::V4(v4.octets()),
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h, ..] = v6.octets();
                Origin::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// Counts connections, closing ones included.
pub(super) struct Seats {
    taken: Cell<usize>,
    total_max: Cell<usize>,
    per_address_max: usize,
    by_origin: RefCell<HashMap<Origin, usize>>,
}

/// Why a connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `limits.streams` is reached.
    House,
    /// As many as there may be from its address or /64.
    Address,
    /// The memory that we may have is nearly used up.
    Memory,
}

impl Seats {
    pub fn new(total_max: usize, per_address_max: usize) -> Rc<Seats> {
        let (taken, total_max) = (Cell::new(0), Cell::new(total_max));
        Rc::new(Seats { taken, total_max, per_address_max, by_origin: RefCell::default() })
    }

    /// Another bound, at reload; nobody is sent away.
    pub fn allow(&self, total_max: usize) {
        self.total_max.set(total_max);
    }

    /// A seat for a connection from this address; local connections have none and are bounded by the total only.
    pub fn take(self: &Rc<Self>, address: Option<IpAddr>) -> Result<Seat, Refusal> {
        if self.taken.get() >= self.total_max.get() {
            return Err(Refusal::House);
        }
        let origin = address.map(Origin::from);
        if let Some(origin) = origin {
            let mut by_origin = self.by_origin.borrow_mut();
            let count = by_origin.entry(origin).or_default();
            if *count >= self.per_address_max {
                return Err(Refusal::Address);
            }
            *count += 1;
        }
        self.taken.set(self.taken.get() + 1);
        Ok(Seat { seats: self.clone(), origin })
    }
}

/// One counted connection; dropping it gives the seat back.
pub(super) struct Seat {
    seats: Rc<Seats>,
    origin: Option<Origin>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.taken.set(self.seats.taken.get().saturating_sub(1));
        let Some(origin) = self.origin else { return };
        let mut by_origin = self.seats.by_origin.borrow_mut();
        if let Some(count) = by_origin.get_mut(&origin) {
            *count -= 1;
            if *count == 0 {
                by_origin.remove(&origin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    #[test]
    fn one_address_gets_its_share_and_no_more() {
        let seats = Seats::new(limits::STREAMS_MAX, limits::STREAMS_PER_ADDRESS_MAX);
        let from = |text: &str| text.parse::<IpAddr>().ok();
        let held: Vec<_> = (0..limits::STREAMS_PER_ADDRESS_MAX).map(|_| seats.take(from("192.0.2.1"))).collect();
        assert!(held.iter().all(Result::is_ok));
        assert_eq!(seats.take(from("192.0.2.1")).err(), Some(Refusal::Address));
        assert_eq!(seats.take(from("::ffff:192.0.2.1")).err(), Some(Refusal::Address), "mapped is the same address");
        assert!(seats.take(from("192.0.2.2")).is_ok());
        drop(held);
        assert!(seats.take(from("192.0.2.1")).is_ok());
        assert!(seats.by_origin.borrow().is_empty(), "nothing is kept of who is gone");
    }

    #[test]
    fn a_slash_64_counts_as_one_place() {
        assert_eq!(
            Origin::from("2001:db8:1:2::1".parse::<IpAddr>().unwrap()),
            Origin::V6([0x20, 1, 13, 0xb8, 0, 1, 0, 2])
        );
    }

    #[test]
    fn the_house_has_so_many_seats() {
        let seats = Seats::new(1, 1);
        let first = seats.take(None).ok();
        assert_eq!(seats.take(None).err(), Some(Refusal::House));
        drop(first);
        assert!(seats.take(None).is_ok());
    }
}
