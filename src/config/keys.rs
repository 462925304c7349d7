//! All keys: what they are called, what they mean, what they are if nobody says anything. The README's table is made
//! from this one.

use super::{Certificate, Config, read};
use read::Value;

/// One key.
pub struct Key {
    /// Its dotted name.
    pub name: &'static str,
    /// The default, as text.
    pub default: &'static str,
    /// What it means, in one line.
    pub doc: &'static str,
    /// Sets it; the error says what would do.
    pub set: fn(&mut Config, &Value) -> Result<(), String>,
}

const fn key(
    name: &'static str,
    default: &'static str,
    doc: &'static str,
    set: fn(&mut Config, &Value) -> Result<(), String>,
) -> Key {
    Key { name, default, doc, set }
}

fn tls(config: &mut Config) -> &mut Certificate {
    config.tls.get_or_insert(Certificate::EMPTY)
}

fn contact(config: &mut Config, role: &str, value: &Value) -> Result<(), String> {
    let uris = value.texts()?;
    if uris.iter().any(|uri| !uri.contains(':')) {
        return Err("a URI such as \"mailto:anna@home.example\" or \"xmpp:anna@home.example\"".into());
    }
    config.contact.insert(format!("{role}-addresses"), uris);
    Ok(())
}

/// A key whose setter assigns one field.
macro_rules! assign {
    ($field:ident $(. $rest:ident)* = $value:ident => $read:expr) => {
        |config, $value| {
            config.$field $(. $rest)* = $read;
            Ok(())
        }
    };
}

/// All keys, in the order of the README.
pub const KEYS: &[Key] = &[
    key(
        "domain",
        "the host's name",
        "the domain or domains served; the first is the default one",
        assign!(domains = v => read::domains(v)?),
    ),
    key("data", "`./lampone-data`", "the directory that holds everything", assign!(data = v => v.text()?.into())),
    key(
        "listen.c2s",
        "`[::]:5222`",
        "where clients connect and upgrade by STARTTLS; a list, or `none`",
        assign!(listen.c2s = v => v.addresses()?),
    ),
    key(
        "listen.c2s_tls",
        "`[::]:5223`",
        "where clients connect with TLS at once; a list, or `none`",
        assign!(listen.c2s_tls = v => v.addresses()?),
    ),
    key(
        "listen.admin",
        "`admin.sock` in the data directory",
        "the socket of the command line",
        assign!(listen.admin = v => Some(v.text()?.into())),
    ),
    key(
        "tls.certificate",
        "self-signed",
        "file with the certificate chain, PEM, for every domain without one of its own",
        |config, v| {
            tls(config).certificate = v.text()?.into();
            Ok(())
        },
    ),
    key("tls.key", "self-signed", "file with its private key, PEM", |config, v| {
        tls(config).key = v.text()?.into();
        Ok(())
    }),
    key(
        "admins",
        "none",
        "addresses of administrators, beside those made by invitation",
        assign!(admins = v => read::accounts(v)?),
    ),
    key(
        "log",
        "`info`",
        "`error`, `warn`, `info`, `debug` or `trace`",
        assign!(log = v => v.text()?.parse().map_err(|_| "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"".to_owned())?),
    ),
    key(
        "registration.policy",
        "`invited`",
        "who may make an account: `invited`, or `closed` for the admin alone",
        assign!(registration = v => read::registration(v)?),
    ),
    key("contact.abuse", "none", "URIs for reports of abuse (XEP-0157)", |c, v| contact(c, "abuse", v)),
    key("contact.admin", "none", "URIs of the administrators", |c, v| contact(c, "admin", v)),
    key("contact.feedback", "none", "URIs for feedback", |c, v| contact(c, "feedback", v)),
    key("contact.sales", "none", "URIs for sales", |c, v| contact(c, "sales", v)),
    key("contact.security", "none", "URIs for security reports", |c, v| contact(c, "security", v)),
    key("contact.status", "none", "URIs of status pages", |c, v| contact(c, "status", v)),
    key("contact.support", "none", "URIs for support", |c, v| contact(c, "support", v)),
    key(
        "limits.stanza_bytes",
        "256 KiB",
        "bytes of one stanza",
        assign!(limits.stanza_bytes = v => v.bytes(10_000, 16 << 20)? as usize),
    ),
    key("limits.streams", "8192", "connections in all", assign!(limits.streams = v => v.count(1, 1_000_000)? as usize)),
    key(
        "limits.failures_per_address",
        "20",
        "failed sign-ins from one address before it has to wait",
        assign!(limits.failures_per_address = v => v.count(1, 1_000_000)? as u32),
    ),
    key(
        "limits.failures_per_account",
        "10",
        "failed sign-ins for one account before strangers have to wait",
        assign!(limits.failures_per_account = v => v.count(1, 1_000_000)? as u32),
    ),
    key(
        "limits.offline_messages",
        "2000",
        "messages kept for one absent account",
        assign!(limits.offline_messages = v => v.count(0, 1_000_000)? as usize),
    ),
    key(
        "limits.cache_bytes",
        "2 MiB",
        "bytes of the database's cache",
        assign!(limits.cache_bytes = v => v.bytes(64 << 10, 1 << 30)? as usize),
    ),
    key(
        "retention.resume",
        "1h",
        "how long a session waits for its client to come back",
        assign!(retention.resume_s = v => v.seconds(0, 30 * 86_400)?),
    ),
    key(
        "retention.resume_push",
        "1d",
        "the same for a client with push",
        assign!(retention.resume_push_s = v => v.seconds(0, 30 * 86_400)?),
    ),
    key(
        "retention.offline",
        "for ever",
        "how long an undelivered message is kept; 0: for ever",
        assign!(retention.offline_s = v => v.seconds(0, 3_650 * 86_400)?),
    ),
];

/// The README's table of keys.
pub fn reference() -> String {
    let mut out = String::from("| key | default | meaning |\n|---|---|---|\n");
    for key in KEYS {
        out += &format!("| `{}` | {} | {} |\n", key.name, key.default, key.doc);
    }
    out
}
