//! The process among others: signals, systemd's notifications and watchdog, file descriptors, the allocator.
//!
//! Invariant: nothing here wakes an idle process, except the watchdog when systemd asks for it.

use std::{path::Path, rc::Rc, time::Duration};

use async_io::Timer;
use async_signal::{Signal, Signals};
use rustix::process::{Resource, Rlimit};
use sd_notify::NotifyState;
use smol::stream::StreamExt;

use super::{
    driver::{Driver, House, Mailbox},
    listen,
    tls::{Certificates, CipherOrder},
};
use crate::{
    config::Config,
    router::event::{Env, Event},
};

/// How long the house may take to say goodbye; systemd waits longer.
const SHUTDOWN: Duration = Duration::from_millis(4_500);

/// Reads the settings anew, for SIGHUP. The error is one line for the admin.
pub type ReloadFn = Box<dyn FnMut() -> Result<Config, String>>;

/// Makes the house that is served, once settings, store and clock are there.
pub type HouseFn = Box<dyn FnOnce(Rc<Config>, &mut Env<'_>) -> Box<dyn House>>;

/// Runs a house until a signal ends it.
///
/// # Errors
/// One line for the admin: why it could not start.
pub fn serve(config: Config, sources: ReloadFn, house: HouseFn) -> Result<(), String> {
    super::log::start(config.log);
    spare_memory();
    raise_file_limit();
    make_data_folder(&config.data)?;
    let certificates = Certificates::load(&config, None, CipherOrder::default())?;
    let listeners = listen::open(&config)?;
    let signals = Signals::new([Signal::Hup, Signal::Term, Signal::Int]).map_err(|e| format!("no signals: {e}"))?;
    let config = Rc::new(config);
    let (mailbox, answers) = Mailbox::new();
    let store = Box::new(super::store::open(&config.data, config.limits.cache_bytes, mailbox)?);
    let driver = Driver::new(|env| house(config.clone(), env), store, answers, certificates, config.limits.streams)
        .map_err(|e| format!("the system has no timer to give: {e}"))?;
    let addresses: Vec<String> = listeners.addresses().iter().map(ToString::to_string).collect();
    driver.outside.configure(&config);
    driver.prefaces.configure(config.clone());
    driver.open_web(config.clone(), &config.data)?;
    // The socket file is removed when this goes.
    let _listeners = listeners.serve(&driver)?;
    driver.spawn(heed(driver.clone(), signals, config.clone(), sources));
    if let Some(period) = sd_notify::watchdog_enabled() {
        driver.spawn(reassure(period / 2));
    }
    if let Some(bytes) = driver.memory.bytes() {
        log::info!("memory: {} MiB at most", bytes / (1024 * 1024));
    }
    let status = format!("serving {}", config.domains.join(", "));
    log::info!("{status} on {}", addresses.join(" and "));
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
    driver.run().map_err(|e| format!("the system watches no sockets: {e}"))?;
    log::info!("stopped");
    Ok(())
}

fn make_data_folder(data: &Path) -> Result<(), String> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data);
    made.map_err(|e| format!("{}: the data directory cannot be made: {e}", data.display()))
}

/// Signals: HUP reads settings and certificates anew, TERM and INT end the house in good order, the second time at once.
async fn heed(driver: Rc<Driver>, mut signals: Signals, mut config: Rc<Config>, mut sources: ReloadFn) {
    let mut ending = false;
    while let Some(signal) = signals.next().await {
        match signal {
            Ok(Signal::Hup) if !ending => reload(&driver, &mut config, &mut sources),
            Ok(Signal::Term | Signal::Int) if !ending => {
                ending = true;
                log::info!("ending");
                tell(&[NotifyState::Stopping]);
                driver.post(Event::Shutdown);
                driver.spawn(give_up_later(driver.clone()));
            }
            Ok(Signal::Term | Signal::Int) => driver.give_up(),
            _ => {}
        }
    }
}

async fn give_up_later(driver: Rc<Driver>) {
    Timer::after(SHUTDOWN).await;
    log::warn!("the end took too long, leaving");
    driver.give_up();
}

/// New settings and certificates, or one line about why not; then everything stays as it was.
fn reload(driver: &Driver, config: &mut Rc<Config>, sources: &mut ReloadFn) {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
    let read = sources().and_then(|new| {
        let certificates = Certificates::load(&new, Some(&driver.certificates()), CipherOrder::default())?;
        Ok((new, certificates))
    });
    match read {
        Err(line) => log::error!("nothing was reloaded: {line}"),
        Ok((new, certificates)) => {
            if new.listen != config.listen || new.data != config.data {
                log::warn!("new addresses and another data directory wait for a restart");
            }
            super::log::set_level(new.log);
            *config = Rc::new(new);
            driver.reload(config.clone(), certificates);
            log::info!("settings and certificates are reloaded");
        }
    }
    tell(&[NotifyState::Ready]);
}

/// Tells systemd's watchdog from the main loop that the main loop lives.
async fn reassure(every: Duration) {
    loop {
        tell(&[NotifyState::Watchdog]);
        Timer::after(every).await;
    }
}

/// Tells systemd; without one it does nothing.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(state) {
        log::debug!("systemd was not told: {e}");
    }
}

/// Every client is a file; the soft limit is often 1,024 for the sake of `select(2)`, which nobody uses here.
pub fn raise_file_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(e) = rustix::process::setrlimit(Resource::Nofile, raised) {
        log::warn!("the limit of open files stays at {:?}: {e}", limit.current);
    }
}

/// One arena: the other threads allocate next to nothing. The top of the heap goes back early; what is large is mapped,
/// so that it goes back at once (without a fixed threshold glibc raises it after the first large piece).
#[cfg(target_env = "gnu")]
fn spare_memory() {
    const TRIM_BYTES: i32 = 128 * 1024;
    const MAP_BYTES: i32 = 128 * 1024;
    // SAFETY: `mallopt` takes two integers and is called before other threads exist.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_BYTES);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAP_BYTES);
    }
}

#[cfg(not(target_env = "gnu"))]
fn spare_memory() {}

/// Gives free memory back to the system; some milliseconds, for after a mass disconnect.
pub(super) fn trim_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: `malloc_trim` may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
