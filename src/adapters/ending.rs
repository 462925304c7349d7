//! A command that has changed something of its user's, such as the terminal, and is told to end meanwhile.
//!
//! Invariant: what was changed is given back first; then the signal ends the process as if nobody had listened, so that
//! whoever waits for it sees why it ended.

use std::{io, thread};

use async_signal::{Signal, Signals};
use rustix::process::{getpid, kill_process};
use smol::{future::block_on, stream::StreamExt};

/// Before SIGHUP, SIGINT, SIGQUIT or SIGTERM ends this process, `give_back` is called, on a thread that lives from now on.
///
/// # Errors
/// The system gives no signals, or no thread.
pub fn before_end(give_back: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([Signal::Hup, Signal::Int, Signal::Quit, Signal::Term])?;
    let listen = move || {
        let Some(Ok(signal)) = block_on(signals.next()) else { return };
        give_back();
        end_by(signal);
    };
    thread::Builder::new().name("lampone-signals".into()).spawn(listen).map(drop)
}

fn end_by(signal: Signal) {
    let (number, signal) = match signal {
        Signal::Hup => (libc::SIGHUP, rustix::process::Signal::HUP),
        Signal::Int => (libc::SIGINT, rustix::process::Signal::INT),
        Signal::Quit => (libc::SIGQUIT, rustix::process::Signal::QUIT),
        _ => (libc::SIGTERM, rustix::process::Signal::TERM),
    };
    // SAFETY: the default action is no function of ours, and may be set from any thread.
    unsafe {
        libc::signal(number, libc::SIG_DFL);
    }
    let _ = kill_process(getpid(), signal);
}
