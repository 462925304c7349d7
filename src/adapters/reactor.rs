//! What the main thread waits for: its sockets, its timer, and rings from other threads. Linux's epoll, told once of each
//! descriptor; async-io, which everything rare goes on using, tells it anew before every wait, sets a timer, and reads its
//! own bell.
//!
//! Source: `epoll(7)`, edge-triggered. Invariants: a source and [`block_on`] belong to one thread; with nothing to do it
//! sleeps until the kernel or another thread rings; what has become ready and was not asked for is remembered, so that
//! whoever asks late does not wait; an end that the kernel tells once is told until somebody reads it.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};

/// Events taken from the kernel at once.
const EVENTS: usize = 128;
/// The number of the bell among the sources.
const BELL: u64 = u64::MAX;
/// Rest after the kernel refused to wait, which it does not do.
const REST: Duration = Duration::from_millis(10);

thread_local! {
    static REACTOR: RefCell<Option<Rc<Reactor>>> = const { RefCell::new(None) };
}

/// One thread's.
struct Reactor {
    epoll: OwnedFd,
    bell: Arc<Bell>,
    sources: RefCell<Places>,
}

/// Sources by number. A number is a place and how often it was used, so that a late event finds nobody else there.
#[derive(Default)]
struct Places {
    places: Vec<(u32, Option<Rc<State>>)>,
    free: Vec<u32>,
}

/// What is known of a source.
#[derive(Default)]
struct State {
    readable: Way,
    writable: Way,
}

/// One direction.
#[derive(Default)]
struct Way {
    ready: Cell<bool>,
    /// The other side has ended, or the source is broken: ready for good.
    ended: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Way {
    fn set(&self, ended: bool) {
        self.ready.set(true);
        self.ended.set(self.ended.get() || ended);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ready.take() || self.ended.get() {
            return Poll::Ready(());
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn exhausted(&self) {
        self.ready.set(false);
        self.ended.set(false);
    }
}

/// Wakes the thread, from any other; within the thread it costs nothing.
struct Bell {
    rung: AtomicBool,
    /// The thread is about to sleep, or does.
    sleeps: AtomicBool,
    descriptor: OwnedFd,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::SeqCst) && self.sleeps.load(Ordering::SeqCst) {
            // The counter is never read: its every growth is an edge.
            let _ = rustix::io::write(&self.descriptor, &1u64.to_ne_bytes());
        }
    }
}

impl Reactor {
    fn new() -> io::Result<Reactor> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let descriptor = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(
            &epoll,
            &descriptor,
            epoll::EventData::new_u64(BELL),
            epoll::EventFlags::IN | epoll::EventFlags::ET,
        )?;
        let bell = Bell { rung: AtomicBool::new(false), sleeps: AtomicBool::new(false), descriptor };
        Ok(Reactor { epoll, bell: Arc::new(bell), sources: RefCell::default() })
    }

    /// This thread's.
    fn here() -> io::Result<Rc<Reactor>> {
        REACTOR.with_borrow_mut(|slot| match slot {
            Some(reactor) => Ok(reactor.clone()),
            None => Ok(slot.insert(Rc::new(Reactor::new()?)).clone()),
        })
    }

    /// Takes events and wakes who waits for them. `sleep`: waits for the first.
    fn react(&self, sleep: bool) {
        let timeout = (!sleep).then_some(Timespec { tv_sec: 0, tv_nsec: 0 });
        let mut room = [const { MaybeUninit::uninit() }; EVENTS];
        let waited = epoll::wait(&self.epoll, &mut room, timeout.as_ref());
        // From here on this thread is awake: what it wakes itself needs no bell.
        self.bell.sleeps.store(false, Ordering::SeqCst);
        let events = match waited {
            Ok((events, _)) => events,
            Err(rustix::io::Errno::INTR) => return,
            Err(error) => {
                log::error!("the system does not wait for sockets: {error}");
                return std::thread::sleep(REST);
            }
        };
        for event in events {
            let state = self.sources.borrow().find(event.data.u64());
            let Some(state) = state else { continue };
            let flags = event.flags;
            let broken = flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR);
            let over = broken || flags.contains(epoll::EventFlags::RDHUP);
            if over || flags.contains(epoll::EventFlags::IN) {
                state.readable.set(over);
            }
            if broken || flags.contains(epoll::EventFlags::OUT) {
                state.writable.set(broken);
            }
        }
    }
}

impl Places {
    fn insert(&mut self, state: Rc<State>) -> u64 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            (self.places.len() - 1) as u32
        });
        let Some((uses, slot)) = self.places.get_mut(place as usize) else { return BELL };
        *slot = Some(state);
        u64::from(*uses) << 32 | u64::from(place)
    }

    fn find(&self, number: u64) -> Option<Rc<State>> {
        let (uses, slot) = self.places.get(number as u32 as usize)?;
        slot.clone().filter(|_| u64::from(*uses) == number >> 32)
    }

    fn remove(&mut self, number: u64) {
        let place = number as u32;
        if let Some((uses, slot)) = self.places.get_mut(place as usize) {
            *uses = uses.wrapping_add(1);
            *slot = None;
            self.free.push(place);
        }
    }
}

/// A descriptor that does not block, known to this thread's reactor until it is dropped.
pub(super) struct Source {
    descriptor: OwnedFd,
    state: Rc<State>,
    number: u64,
    reactor: Rc<Reactor>,
}

impl Source {
    /// Takes a descriptor in. A socket that is to connect has begun to before.
    ///
    /// # Errors
    /// Those of the system, for example when the user may watch no more descriptors.
    pub fn new(descriptor: OwnedFd) -> io::Result<Source> {
        let reactor = Reactor::here()?;
        let state = Rc::new(State::default());
        let number = reactor.sources.borrow_mut().insert(state.clone());
        let source = Source { descriptor, state, number, reactor };
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        epoll::add(&source.reactor.epoll, &source.descriptor, epoll::EventData::new_u64(number), flags)?;
        Ok(source)
    }

    /// Ready once there is something to read, an end or an error included; sometimes when there is not. One task at a
    /// time may wait. Whoever has read until it would block says so ([`Source::is_empty`]); who has read less than there
    /// was room for may wait without.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.state.readable.poll(cx)
    }

    /// The same for writing; [`Source::is_full`].
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.state.writable.poll(cx)
    }

    /// A read would have blocked: there was nothing, and no end.
    pub fn is_empty(&self) {
        self.state.readable.exhausted();
    }

    /// A write would have blocked.
    pub fn is_full(&self) {
        self.state.writable.exhausted();
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // The kernel forgets it when it is closed, which it is now.
        self.reactor.sources.borrow_mut().remove(self.number);
    }
}

/// Runs a future to its end and all that this thread's sources wake meanwhile.
///
/// # Errors
/// The system has no descriptors to give.
pub fn block_on<T>(future: impl Future<Output = T>) -> io::Result<T> {
    let reactor = Reactor::here()?;
    let bell = &reactor.bell;
    let waker = Waker::from(bell.clone());
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        bell.rung.store(false, Ordering::SeqCst);
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut cx) {
            return Ok(outcome);
        }
        bell.sleeps.store(true, Ordering::SeqCst);
        // Whoever rings from here on rings the kernel's bell as well.
        let is_rung = bell.rung.load(Ordering::SeqCst);
        reactor.react(!is_rung);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, poll_fn},
        io::{Read, Write},
        os::unix::net::UnixStream,
        thread,
    };

    use smol::future::{or, yield_now};

    use super::*;

    fn pair() -> (Source, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Source::new(ours.into()).unwrap(), theirs)
    }

    fn read(source: &Source, room: &mut [u8]) -> Option<usize> {
        let count = rustix::io::read(source, room).ok();
        if count.is_none() {
            source.is_empty();
        }
        count
    }

    #[test]
    fn what_came_before_somebody_asks_is_not_missed() {
        let (ours, mut theirs) = pair();
        theirs.write_all(b"one").unwrap();
        block_on(async {
            yield_now().await;
            poll_fn(|cx| ours.poll_readable(cx)).await;
            assert_eq!(read(&ours, &mut [0; 8]), Some(3));
        })
        .unwrap();
    }

    #[test]
    fn an_end_behind_the_last_bytes_is_told_although_the_read_was_short() {
        let (ours, mut theirs) = pair();
        theirs.write_all(b"bye").unwrap();
        drop(theirs);
        block_on(async {
            for expected in [3, 0] {
                poll_fn(|cx| ours.poll_readable(cx)).await;
                assert_eq!(read(&ours, &mut [0; 8]), Some(expected));
            }
        })
        .unwrap();
    }

    #[test]
    fn a_full_socket_is_writable_again_once_the_other_side_reads() {
        let (ours, mut theirs) = pair();
        let chunk = [7; 4096];
        let mut sent = 0;
        while let Ok(count) = rustix::io::write(&ours, &chunk) {
            sent += count;
        }
        ours.is_full();
        let reader = thread::spawn(move || {
            let mut all = vec![0; sent];
            theirs.read_exact(&mut all).unwrap();
            theirs
        });
        block_on(poll_fn(|cx| ours.poll_writable(cx))).unwrap();
        assert!(rustix::io::write(&ours, &chunk).is_ok());
        drop(reader.join().unwrap());
    }

    #[test]
    fn another_thread_wakes_it() {
        let (sender, receiver) = smol::channel::bounded(1);
        let other = thread::spawn(move || sender.send_blocking(7));
        assert_eq!(block_on(receiver.recv()).unwrap(), Ok(7));
        other.join().unwrap().unwrap();
    }

    #[test]
    fn a_place_that_is_used_again_hears_nothing_of_who_was_there_before() {
        let (ours, _theirs) = pair();
        let number = ours.number;
        drop(ours);
        let (again, _other) = pair();
        assert_ne!(again.number, number);
        assert_eq!(again.number as u32, number as u32);
        assert!(again.reactor.sources.borrow().find(number).is_none());
        let asked = async {
            poll_fn(|cx| again.poll_readable(cx)).await;
            true
        };
        let gave_up = async {
            for _ in 0..10 {
                yield_now().await;
            }
            false
        };
        assert!(!block_on(or(or(asked, gave_up), pending())).unwrap());
    }
}
