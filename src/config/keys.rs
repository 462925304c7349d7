//! Every key of the settings, once: the reader, the suggestions and the README's reference all come from this table.
//!
//! Invariant: a default written here, read back, is the default of `Config`; a test holds the two together.

use std::path::PathBuf;

use super::{
    Component, Registration,
    components::Access,
    read::{Draft, Half},
    values::{Given, Wrong},
};
use crate::limits;

/// One setting.
pub(super) struct Key {
    /// Dotted name; `*` stands for a domain.
    pub(super) name: &'static str,
    /// What it takes, as the end of a sentence that begins with "give".
    pub(super) takes: &'static str,
    /// Its default as TOML; empty where there is none.
    pub(super) default: &'static str,
    /// What it means, for the reference.
    pub(super) doc: &'static str,
    /// Puts a value in its place.
    pub(super) set: fn(&mut Draft, &Given<'_>) -> Result<(), Vec<Wrong>>,
}

/// What a domain is called in the reference.
const SAMPLE_DOMAIN: &str = "\"example.org\"";
/// The same for a component's.
const SAMPLE_COMPONENT: &str = "\"bridge.example.org\"";
/// The smallest bound of a stanza that a server may set, RFC 6120 §13.12.
const STANZA_BYTES_MIN: u64 = 10_000;
/// The largest: what one batch to the store holds, so that every stanza that may be sent can be kept.
const STANZA_BYTES_CAP: u64 = limits::BATCH_BYTES_MAX as u64;
/// Connections, failures or messages: more is a slip of the keyboard.
const COUNT_MAX: u64 = 1_000_000;
/// The smallest cache that the database can work with.
const CACHE_BYTES_MIN: u64 = 64 * 1024;
/// 1 GiB: the whole database of a house fits.
const CACHE_BYTES_CAP: u64 = 1024 * 1024 * 1024;
/// 1 GiB a second: what no machine reads.
const RATE_BYTES_CAP: u64 = 1024 * 1024 * 1024;
/// 2 GiB: what a number of 32 bits can surely hold; who wants more says 0.
const ARCHIVE_BYTES_CAP: u64 = 2 * 1024 * 1024 * 1024;
/// 1 TiB: more than a home has.
const UPLOAD_BYTES_CAP: u64 = 1024 * 1024 * 1024 * 1024;
/// Longest wait for a resumption: 30 days.
const RESUME_S_MAX: u64 = 30 * 86_400;
/// A hundred years.
const DAYS_MAX: u64 = 36_500;

const PATH: &str = "a path in quotes";
const ADDRESSES: &str = "an address such as \"127.0.0.1:5222\", \"[::]:5222\" or \":5222\", a port, a list of those, \
                         or \"none\"";
const URIS: &str = "a URI such as \"mailto:admin@example.org\" or a list of them";
const HOST: &str = "a name such as \"pubsub\", which stands before each domain, or \"none\"";
const DOMAINS: &str = "a domain such as \"example.org\" or a list of them";
const BOOLEAN: &str = "true or false";
const COUNT: &str = "a whole number from 1 to 1000000";
const DURATION: &str = "seconds, or a time such as \"30m\", \"1h\" or \"2d\", up to 30 days";

/// All keys, in the order of the reference.
pub(super) static KEYS: &[Key] = &[
    Key {
        name: "domain",
        takes: "a domain such as \"example.org\" or a list of them",
        default: "\"localhost\"",
        doc: "The domains that are served; the first is the default one.",
        set: |draft, given| given.domains().map(|domains| draft.config.domains = domains),
    },
    Key {
        name: "data",
        takes: PATH,
        default: "\"lampone-data\"",
        doc: "The folder that everything is kept in.",
        set: |draft, given| given.path().map(|path| draft.config.data = path),
    },
    Key {
        name: "listen.c2s",
        takes: ADDRESSES,
        default: "\"[::]:5222\"",
        doc: "Where clients connect that begin TLS with STARTTLS. `[::]` serves IPv4 as well.",
        set: |draft, given| given.addresses().map(|addresses| draft.config.listen.c2s = addresses),
    },
    Key {
        name: "listen.c2s_tls",
        takes: ADDRESSES,
        default: "\"[::]:5223\"",
        doc: "Where clients connect that begin with TLS.",
        set: |draft, given| given.addresses().map(|addresses| draft.config.listen.c2s_tls = addresses),
    },
    Key {
        name: "listen.s2s",
        takes: ADDRESSES,
        default: "\"[::]:5269\"",
        doc: "Where other servers connect that begin TLS with STARTTLS; closed without `federation.enabled`.",
        set: |draft, given| given.addresses().map(|addresses| draft.config.listen.s2s = addresses),
    },
    Key {
        name: "listen.s2s_tls",
        takes: ADDRESSES,
        default: "\"none\"",
        doc: "Where other servers connect that begin with TLS (XEP-0368); DNS has to tell them.",
        set: |draft, given| given.addresses().map(|addresses| draft.config.listen.s2s_tls = addresses),
    },
    Key {
        name: "listen.https",
        takes: ADDRESSES,
        default: "\"[::]:5443\"",
        doc: "Where uploads and web clients connect.",
        set: |draft, given| given.addresses().map(|addresses| draft.config.listen.https = addresses),
    },
    Key {
        name: "listen.http",
        takes: ADDRESSES,
        default: "\"none\"",
        doc: "The same without TLS, for a reverse proxy on this machine; see `web.proxies`.",
        set: |draft, given| given.addresses().map(|addresses| draft.config.listen.http = addresses),
    },
    Key {
        name: "listen.component",
        takes: ADDRESSES,
        default: "\"127.0.0.1:5347\"",
        doc: "Where components such as bridges connect (XEP-0114). There is no TLS: an address of this machine or of a \
              private network. Closed unless there is one under `components`.",
        set: |draft, given| given.addresses().map(|addresses| draft.config.listen.component = addresses),
    },
    Key {
        name: "listen.proxy_protocol",
        takes: "an address or a network such as \"127.0.0.1\" or \"10.0.0.0/8\", or a list of them",
        default: "[]",
        doc: "Proxies whose connections, at any port, begin with the PROXY protocol's header; from nobody else it is taken.",
        set: |draft, given| given.networks().map(|networks| draft.config.listen.proxy_protocol = networks),
    },
    Key {
        name: "listen.passthrough",
        takes: "an address with a port, such as \"127.0.0.1:8443\", or \"none\"",
        default: "\"none\"",
        doc: "Where TLS connections for host names that are not Lampone's go, untouched.",
        set: |draft, given| {
            given.addresses().map(|addresses| draft.config.listen.passthrough = addresses.first().copied())
        },
    },
    Key {
        name: "listen.acme",
        takes: "an address with a port, such as \"127.0.0.1:5081\", or \"none\"",
        default: "\"none\"",
        doc: "Where TLS connections go by which a certificate authority asks for a proof (`acme-tls/1`, RFC 8737), untouched: \
              where an ACME client listens.",
        set: |draft, given| given.addresses().map(|addresses| draft.config.listen.acme = addresses.first().copied()),
    },
    Key {
        name: "listen.location",
        takes: "a host, or a host and a port, such as \"chat.example.org:5222\" or \"[2001:db8::1]:5222\", or \"none\"",
        default: "\"none\"",
        doc: "Where clients reconnect to resume a session (XEP-0198 §3), if not where their DNS look-up leads.",
        set: |draft, given| given.location().map(|location| draft.config.listen.location = location),
    },
    Key {
        name: "listen.admin",
        takes: PATH,
        default: "",
        doc: "The socket of the administration commands; without it, `admin.sock` in the data folder.",
        set: |draft, given| given.path().map(|path| draft.config.listen.admin = Some(path)),
    },
    Key {
        name: "tls.certificate",
        takes: PATH,
        default: "",
        doc: "The PEM file of the certificate and its chain, for every domain that has none of its own; without it, \
              a self-signed one is made.",
        set: |draft, given| given.path().map(|path| draft.tls.certificate = Some(path)),
    },
    Key {
        name: "tls.key",
        takes: PATH,
        default: "",
        doc: "The PEM file of its private key.",
        set: |draft, given| given.path().map(|path| draft.tls.key = Some(path)),
    },
    Key {
        name: "tls.roots",
        takes: PATH,
        default: "\"/etc/ssl/certs/ca-certificates.crt\"",
        doc: "The PEM file of the authorities that are trusted to sign other servers' certificates.",
        set: |draft, given| given.path().map(|path| draft.config.roots = path),
    },
    Key {
        name: "dns.servers",
        takes: "an address and port such as \"192.0.2.1:53\" or \"[2001:db8::1]:53\", or a list of them, or \"none\"",
        default: "\"none\"",
        doc: "DNS resolvers that are asked in place of those in `/etc/resolv.conf`.",
        set: |draft, given| given.resolvers().map(|addresses| draft.config.resolvers = addresses),
    },
    Key {
        name: "certificates.*.certificate",
        takes: PATH,
        default: "",
        doc: "The certificate of one domain.",
        set: |draft, given| set_half(draft, given, |half| &mut half.certificate),
    },
    Key {
        name: "certificates.*.key",
        takes: PATH,
        default: "",
        doc: "The private key of one domain.",
        set: |draft, given| set_half(draft, given, |half| &mut half.key),
    },
    Key {
        name: "admins",
        takes: "an address such as \"anna@example.org\" or a list of them",
        default: "[]",
        doc: "Accounts that may give administration commands.",
        set: |draft, given| given.accounts().map(|accounts| draft.config.admins = accounts),
    },
    contact("contact.abuse", "Where abuse is reported (XEP-0157, as all contacts)."),
    contact("contact.admin", "Who runs the server."),
    contact("contact.feedback", "Where opinions are welcome."),
    contact("contact.sales", "Where the server's services are sold."),
    contact("contact.security", "Where weaknesses are reported."),
    contact("contact.status", "Where outages are announced."),
    contact("contact.support", "Where help is given."),
    Key {
        name: "log",
        takes: "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
        default: "\"info\"",
        doc: "How much is logged.",
        set: |draft, given| {
            use log::LevelFilter::{Debug, Error, Info, Trace, Warn};
            let levels = [("error", Error), ("warn", Warn), ("info", Info), ("debug", Debug), ("trace", Trace)];
            given.choice(&levels).map(|level| draft.config.log = level)
        },
    },
    Key {
        name: "registration.policy",
        takes: "\"closed\", \"invited\" or \"open\"",
        default: "\"closed\"",
        doc: "Who may make an account: whom an administrator invites, whom anybody with an account invites, or everybody.",
        set: |draft, given| {
            let policies =
                [("closed", Registration::Closed), ("invited", Registration::Invited), ("open", Registration::Open)];
            given.choice(&policies).map(|policy| draft.config.registration = policy)
        },
    },
    Key {
        name: "web.url",
        takes: "an address such as \"https://chat.example.org\" or \"https://example.org:8443\", or \"none\"",
        default: "\"none\"",
        doc: "Where the web door is reached from outside, if not at the domain and the first port of `listen.https`.",
        set: |draft, given| given.web_url().map(|url| draft.config.web.url = url),
    },
    Key {
        name: "web.client",
        takes: PATH,
        default: "",
        doc: "A folder with a browser client such as Converse.js, to be served at `/chat/`.",
        set: |draft, given| given.path().map(|path| draft.config.web.client = Some(path)),
    },
    Key {
        name: "web.proxies",
        takes: "an address or a network such as \"127.0.0.1\" or \"10.0.0.0/8\", or a list of them",
        default: "[]",
        doc: "Reverse proxies that are believed when they tell whom they speak for (`X-Forwarded-For`, `Forwarded`).",
        set: |draft, given| given.networks().map(|networks| draft.config.web.proxies = networks),
    },
    Key {
        name: "upload.file_bytes",
        takes: "bytes, or a size such as \"100 MiB\", up to 1024 GiB; 0: nobody uploads",
        default: "\"100 MiB\"",
        doc: "The largest file that can be uploaded (XEP-0363).",
        set: |draft, given| given.bytes(0, UPLOAD_BYTES_CAP).map(|bytes| draft.config.upload.file_bytes = bytes),
    },
    Key {
        name: "upload.day_bytes",
        takes: "bytes, or a size such as \"1 GiB\", up to 1024 GiB",
        default: "\"1 GiB\"",
        doc: "How much one account can upload in a day.",
        set: |draft, given| given.bytes(0, UPLOAD_BYTES_CAP).map(|bytes| draft.config.upload.day_bytes = bytes),
    },
    Key {
        name: "upload.total_bytes",
        takes: "bytes, or a size such as \"10 GiB\", up to 1024 GiB",
        default: "\"10 GiB\"",
        doc: "How much room all uploaded files may take.",
        set: |draft, given| given.bytes(0, UPLOAD_BYTES_CAP).map(|bytes| draft.config.upload.total_bytes = bytes),
    },
    Key {
        name: "hosts.pubsub",
        takes: HOST,
        default: "\"pubsub\"",
        doc: "The host name of the publish-subscribe service (XEP-0060): what stands before each domain.",
        set: |draft, given| given.host().map(|host| draft.config.hosts.pubsub = host),
    },
    Key {
        name: "hosts.rooms",
        takes: HOST,
        default: "\"rooms\"",
        doc: "The host name of group chats (XEP-0045): what stands before each domain.",
        set: |draft, given| given.host().map(|host| draft.config.hosts.rooms = host),
    },
    Key {
        name: "hosts.upload",
        takes: HOST,
        default: "\"upload\"",
        doc: "A host name of uploads (XEP-0363) for apps that do not ask the domain itself: what stands before each domain.",
        set: |draft, given| given.host().map(|host| draft.config.hosts.upload = host),
    },
    Key {
        name: "rooms.invite_tokens",
        takes: BOOLEAN,
        default: "false",
        doc: "Whether rooms for members only give out links that make members of people whose address nobody knows (XEP-0488).",
        set: |draft, given| given.flag().map(|on| draft.config.rooms.invite_tokens = on),
    },
    Key {
        name: "federation.enabled",
        takes: BOOLEAN,
        default: "true",
        doc: "Whether people here can talk to those of other servers.",
        set: |draft, given| given.flag().map(|on| draft.config.federation.enabled = on),
    },
    Key {
        name: "federation.allow",
        takes: DOMAINS,
        default: "[]",
        doc: "Talk to these domains, and to what is below them, only; empty: to everybody.",
        set: |draft, given| given.domains().map(|domains| draft.config.federation.allow = domains),
    },
    Key {
        name: "federation.block",
        takes: DOMAINS,
        default: "[]",
        doc: "Never talk to these domains, nor to what is below them.",
        set: |draft, given| given.domains().map(|domains| draft.config.federation.block = domains),
    },
    Key {
        name: "federation.require_certificate",
        takes: BOOLEAN,
        default: "false",
        doc: "Talk only to servers whose certificate proves their domain. Otherwise one that cannot do so is called \
              back at the address that DNS knows (XEP-0220), which is as safe as DNS is. TLS is always required.",
        set: |draft, given| given.flag().map(|on| draft.config.federation.require_certificate = on),
    },
    Key {
        name: "components.*.secret",
        takes: "a text of 12 to 256 characters",
        default: "",
        doc: "What the component of this domain proves itself by (XEP-0114).",
        set: |draft, given| given.secret().map(|secret| component(draft, given).secret = secret),
    },
    Key {
        name: "components.*.roster",
        takes: "\"none\", \"get\", \"set\" or \"both\"",
        default: "",
        doc: "Whether it may read and change the contacts of accounts here (XEP-0356); otherwise it may not.",
        set: |draft, given| given.choice(&Access::WORDS).map(|access| component(draft, given).roster = access),
    },
    Key {
        name: "components.*.message",
        takes: "\"none\" or \"outgoing\"",
        default: "",
        doc: "Whether it may send messages in the name of accounts here (XEP-0356), as a bridge does with what somebody \
              wrote from the other network; otherwise it may not.",
        set: |draft, given| {
            let words = [("none", false), ("outgoing", true)];
            given.choice(&words).map(|may| component(draft, given).message = may)
        },
    },
    Key {
        name: "components.*.iq",
        takes: "a namespace such as \"http://jabber.org/protocol/pubsub\", perhaps with get or set and a blank before \
                it, or a list of those",
        default: "",
        doc: "The requests that it may send in the name of accounts here (XEP-0356).",
        set: |draft, given| given.grants().map(|grants| component(draft, given).iq = grants.into_iter().collect()),
    },
    Key {
        name: "components.*.presence",
        takes: "\"none\" or \"managed_entity\"",
        default: "",
        doc: "Whether it is shown who of the accounts here is online (XEP-0356); otherwise only what is for it.",
        set: |draft, given| {
            let words = [("none", false), ("managed_entity", true)];
            given.choice(&words).map(|may| component(draft, given).presence = may)
        },
    },
    Key {
        name: "components.*.delegate",
        takes: "a namespace such as \"http://jabber.org/protocol/pubsub\", perhaps with a blank and the name of an \
                attribute behind it, or a list of those",
        default: "",
        doc: "The requests to this server and to accounts here that it answers in their place (XEP-0355); with an \
              attribute only those that have it.",
        set: |draft, given| {
            let delegations = given.delegations()?;
            component(draft, given).delegate = delegations.into_iter().collect();
            Ok(())
        },
    },
    Key {
        name: "limits.stanza_bytes",
        takes: "bytes, or a size such as \"256 KiB\", from 10000 (RFC 6120 §13.12) to 1 MiB",
        default: "\"256 KiB\"",
        doc: "The largest stanza.",
        set: |draft, given| {
            let bytes = given.size(STANZA_BYTES_MIN, STANZA_BYTES_CAP)?;
            draft.config.limits.stanza_bytes = bytes;
            Ok(())
        },
    },
    Key {
        name: "limits.streams",
        takes: COUNT,
        default: "8192",
        doc: "Connections at once.",
        set: |draft, given| given.count(1, COUNT_MAX).map(|count| draft.config.limits.streams = count as usize),
    },
    Key {
        name: "limits.failures_per_address",
        takes: COUNT,
        default: "20",
        doc: "Failed sign-ins in a row, or handshakes of one component, from one address before it is delayed.",
        set: |draft, given| {
            given.count(1, COUNT_MAX).map(|count| draft.config.limits.failures_per_address = count as u32)
        },
    },
    Key {
        name: "limits.failures_per_account",
        takes: COUNT,
        default: "10",
        doc: "Failed sign-ins in a row for one account, or one component, before it is delayed.",
        set: |draft, given| {
            given.count(1, COUNT_MAX).map(|count| draft.config.limits.failures_per_account = count as u32)
        },
    },
    Key {
        name: "limits.peer_bytes",
        takes: "bytes, or a size such as \"1 MiB\", up to 1 GiB",
        default: "\"4 MiB\"",
        doc: "Bytes that one domain elsewhere may send in a second, for long; what 30 seconds allow may come at once. Whoever sends more is \
              read more slowly, and nothing is lost. 0: any.",
        set: |draft, given| given.bytes(0, RATE_BYTES_CAP).map(|bytes| draft.config.limits.peer_rate.bytes = bytes),
    },
    Key {
        name: "limits.peer_stanzas",
        takes: "a whole number from 0 to 1000000",
        default: "5000",
        doc: "Stanzas that one domain elsewhere may send in a second, in the same way. 0: any.",
        set: |draft, given| given.count(0, COUNT_MAX).map(|count| draft.config.limits.peer_rate.stanzas = count),
    },
    Key {
        name: "limits.client_bytes",
        takes: "bytes, or a size such as \"1 MiB\", up to 1 GiB",
        default: "\"8 MiB\"",
        doc: "Bytes that one client may send in a second, for long; what 30 seconds allow may come at once. Whoever sends more is \
              read more slowly, and nothing is lost. 0: any.",
        set: |draft, given| given.bytes(0, RATE_BYTES_CAP).map(|bytes| draft.config.limits.client_rate.bytes = bytes),
    },
    Key {
        name: "limits.client_stanzas",
        takes: "a whole number from 0 to 1000000",
        default: "5000",
        doc: "Stanzas that one client may send in a second, in the same way. 0: any.",
        set: |draft, given| given.count(0, COUNT_MAX).map(|count| draft.config.limits.client_rate.stanzas = count),
    },
    Key {
        name: "limits.offline_messages",
        takes: "a whole number from 0 to 1000000",
        default: "2000",
        doc: "Messages kept for one account that is absent.",
        set: |draft, given| {
            given.count(0, COUNT_MAX).map(|count| draft.config.limits.offline_messages = count as usize)
        },
    },
    Key {
        name: "limits.cache_bytes",
        takes: "bytes, or a size such as \"4 MiB\", from 64 KiB to 1 GiB",
        default: "\"4 MiB\"",
        doc: "Memory that the database keeps pages in.",
        set: |draft, given| {
            let bytes = given.size(CACHE_BYTES_MIN, CACHE_BYTES_CAP)?;
            draft.config.limits.cache_bytes = bytes;
            Ok(())
        },
    },
    Key {
        name: "retention.resume",
        takes: DURATION,
        default: "\"1h\"",
        doc: "How long a session waits for its client to come back (XEP-0198).",
        set: |draft, given| given.seconds(RESUME_S_MAX).map(|seconds| draft.config.retention.resume_s = seconds),
    },
    Key {
        name: "retention.resume_push",
        takes: DURATION,
        default: "\"1d\"",
        doc: "The same for a client that is woken by push.",
        set: |draft, given| given.seconds(RESUME_S_MAX).map(|seconds| draft.config.retention.resume_push_s = seconds),
    },
    Key {
        name: "retention.offline_days",
        takes: "a whole number of days from 0 (for ever) to 36500",
        default: "0",
        doc: "How long an undelivered message is kept; 0: for ever.",
        set: |draft, given| given.count(0, DAYS_MAX).map(|days| draft.config.retention.offline_days = days),
    },
    Key {
        name: "retention.archive_days",
        takes: "a whole number of days from 0 (for ever) to 36500",
        default: "365",
        doc: "How long a message stays in the archive (XEP-0313); 0: for ever.",
        set: |draft, given| given.count(0, DAYS_MAX).map(|days| draft.config.retention.archive_days = days),
    },
    Key {
        name: "retention.archive_bytes",
        takes: "bytes, or a size such as \"256 MiB\", up to 2 GiB; 0: any",
        default: "\"256 MiB\"",
        doc: "How large the archive of one account may be; the oldest messages go first.",
        set: |draft, given| {
            let bytes = given.size(0, ARCHIVE_BYTES_CAP)?;
            draft.config.retention.archive_bytes = bytes as u64;
            Ok(())
        },
    },
    Key {
        name: "retention.upload_days",
        takes: "a whole number of days from 0 (for ever) to 36500",
        default: "30",
        doc: "How long an uploaded file is kept; 0: for ever.",
        set: |draft, given| given.count(0, DAYS_MAX).map(|days| draft.config.retention.upload_days = days),
    },
    Key {
        name: "retention.device_days",
        takes: "a whole number of days from 1 to 36500",
        default: "365",
        doc: "How long a device that does not sign in stays in the list of its account's devices.",
        set: |draft, given| given.count(1, DAYS_MAX).map(|days| draft.config.retention.device_days = days),
    },
];

/// Whether the keys of a section stand below a domain.
pub(super) fn has_domains(section: &str) -> bool {
    matches!(section, "certificates" | "components")
}

/// One role of XEP-0157 §3; its field is the role with `-addresses` behind it.
const fn contact(name: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        takes: URIS,
        default: "[]",
        doc,
        set: |draft, given| {
            let role = given.key.name.trim_start_matches("contact.");
            let addresses = given.uris()?;
            let field = format!("{role}-addresses");
            // A form field without a value would promise a contact that is not there.
            if addresses.is_empty() {
                draft.config.contact.remove(&field);
            } else {
                draft.config.contact.insert(field, addresses);
            }
            Ok(())
        },
    }
}

fn set_half(
    draft: &mut Draft,
    given: &Given<'_>,
    part: fn(&mut Half) -> &mut Option<PathBuf>,
) -> Result<(), Vec<Wrong>> {
    let path = given.path()?;
    *part(draft.certificates.entry(given.domain.to_owned()).or_default()) = Some(path);
    Ok(())
}

/// The component that a key is about.
fn component<'d>(draft: &'d mut Draft, given: &Given<'_>) -> &'d mut Component {
    draft.config.components.entry(given.domain.to_owned()).or_default()
}

impl Key {
    /// Its name with a domain that may stand in it.
    pub(super) fn sample(&self) -> String {
        self.written(if self.name.starts_with("components.") { SAMPLE_COMPONENT } else { SAMPLE_DOMAIN })
    }

    /// Whether a path of keys leads here.
    pub(super) fn is_at(&self, path: &[&str]) -> bool {
        self.name.split('.').count() == path.len() && self.is_below(path)
    }

    /// Whether a path of keys is the beginning of this name, or all of it.
    pub(super) fn is_below(&self, path: &[&str]) -> bool {
        let mut own = self.name.split('.');
        path.iter().all(|part| own.next().is_some_and(|own| own == *part || own == "*"))
    }

    /// The name as it is written in a file, with a domain of the reader's choice.
    pub(super) fn written(&self, domain: &str) -> String {
        self.name.replace('*', domain)
    }
}

/// The reference of all settings, a table in Markdown: what the README prints.
pub fn reference() -> String {
    let mut out = String::from("| key | default | value | meaning |\n|---|---|---|---|\n");
    for key in KEYS {
        let default = if key.default.is_empty() { "–".to_owned() } else { format!("`{}`", key.default) };
        let name = key.sample();
        out.push_str(&format!("| `{name}` | {default} | {} | {} |\n", key.takes, key.doc));
    }
    out
}

/// All settings as `lampone check --keys` prints them: key and default, what it takes, what it means.
pub fn listing() -> String {
    let mut out = String::new();
    for key in KEYS {
        let default = if key.default.is_empty() { String::new() } else { format!(" = {}", key.default) };
        let name = key.sample();
        out.push_str(&format!("{name}{default}\n    {}\n    Takes {}.\n", key.doc, key.takes));
    }
    out
}
