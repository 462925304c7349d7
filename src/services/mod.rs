//! Floor 5: services, one capability each. They know neither sockets nor transactions and never import each other.
//!
//! # How to add an extension
//!
//! 1. Read the specification, its security considerations first. Write one file here, named after what it does; its
//!    header says what it is, which version of which document it follows, and which invariant it keeps.
//! 2. Fill in a [`Card`](crate::router::service::Card): what is advertised and where, which IQ payloads are answered
//!    for whom, and in which phases messages, presence or IQs are looked at. The card is the whole truth: disco, the
//!    stream features, the routing of IQs and `lampone plan` are made from it, so advertise only what works whole.
//! 3. Implement [`Service`]:
//!    - [`iq`](Service::iq) returns the answer or the error; the router sends exactly one. An answer that needs the
//!      world outside (a derived password, a backup) is [`Reply::Later`](crate::router::service::Reply::Later): keep
//!      the origin, and call `ctx.answer` when the notice comes.
//!    - [`pass`](Service::pass) looks at stanzas in a phase. The order of phases is fixed; within a phase it is that of
//!      [`all`]. Bounce what the sender must know, take what is dealt with, continue otherwise.
//!    - A service that asks somebody else sends an IQ from the domain or from an account's bare address (`ctx.send`), and
//!      looks for the answer in a pass of `(Kind::Iq, Leg::Inbound, Phase::Deliver)`; caps and push do so. There may be
//!      none: then nobody was reached.
//!    - [`notice`](Service::notice) hears what happened: sessions that come and go, accounts, settings.
//!    - [`at_bind`](Service::at_bind) is what happens in the same breath as a sign-in (XEP-0386): one line per extension
//!      that a client may ask for there.
//!    - [`disco`](Service::disco), [`discloses`](Service::discloses) and [`stream_feature`](Service::stream_feature)
//!      tell what the card cannot: forms, nodes, what depends on settings or on the asker.
//!    - [`host`](Service::host) gives the service a host name of its own beside each domain: requests to it come to `iq`
//!      in [`Scope::Hosted`](crate::router::service::Scope::Hosted), all else to [`hosted`](Service::hosted).
//!    - [`paths`](Service::paths) gives it paths at the web door, whose requests come to [`web`](Service::web).
//! 4. Add one line to [`all`], and let `LAMPONE_SNAPSHOTS=write cargo test --test readme` put the card's `source` into the
//!    README's table. What is not a service has its line in `tests/readme/main.rs`.
//! 5. State that is worth keeping is a fact: give it a row and a letter in `domain/keys.rs`, and functions beside the
//!    other facts if more than one service needs it. Rows that belong to an account have their letter in
//!    `keys::OWNED`, so that they go with it. State that a service keeps in memory is bounded.
//! 6. Every bound gets a line in `limits.rs` with unit and reason, and a test that goes one past it.
//! 7. Services meet only by facts, phases and notices. If one needs another, a fact or a notice is missing.
//! 8. Test it beside its code, from the specification's own examples, through `router/testing.rs`.

pub mod alternatives;
pub mod archive;
pub mod blocking;
pub mod bookmarks;
pub mod browser;
pub mod caps;
pub mod carbons;
pub mod commands;
pub mod csi;
pub mod deliver;
pub mod devices;
pub mod disco;
pub mod displayed;
pub mod last;
pub mod metrics;
pub mod muc;
pub mod ping;
pub mod preauth;
pub mod presence;
pub mod private;
pub mod pubsub;
pub mod push;
pub mod registration;
pub mod roster;
pub mod session;
pub mod sid;
pub mod status_page;
pub mod strangers;
pub mod time;
pub mod upload;
pub mod vcard;
pub mod version;
pub mod welcome;

use crate::router::service::Service;

/// Every service, in the order in which they run within a phase.
pub fn all() -> Vec<Box<dyn Service>> {
    vec![
        Box::new(blocking::Blocking::default()),
        Box::new(strangers::Strangers::default()),
        Box::new(preauth::PreAuthenticated),
        Box::new(sid::StanzaIds),
        Box::new(displayed::Displayed),
        Box::new(archive::Archive::default()),
        Box::new(carbons::Carbons),
        Box::new(push::Push::default()),
        Box::new(deliver::Deliver),
        Box::new(roster::Roster),
        Box::new(caps::Caps::default()),
        Box::new(presence::PresenceService),
        Box::new(disco::Disco),
        Box::new(ping::Ping),
        Box::new(version::Version),
        Box::new(time::EntityTime),
        Box::new(last::LastActivity),
        Box::new(private::PrivateXml),
        Box::new(pubsub::PubSub),
        Box::new(bookmarks::Bookmarks),
        Box::new(muc::Muc::default()),
        Box::new(vcard::VCard),
        Box::new(session::LegacySession),
        Box::new(csi::ClientState),
        Box::new(registration::Registration::default()),
        Box::new(upload::Upload::default()),
        Box::new(alternatives::Alternatives),
        Box::new(browser::BrowserClient),
        Box::new(metrics::Metrics),
        Box::new(status_page::StatusPage),
        Box::new(welcome::WelcomePage::default()),
        Box::new(devices::Devices),
        Box::new(commands::Commands::default()),
    ]
}
