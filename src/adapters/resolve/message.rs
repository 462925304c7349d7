//! DNS messages: questions, and what an answer says. RFC 1035 §4, RFC 2308 (negative answers), RFC 2782 (SRV).
//!
//! Invariants: only an answer to the very question is read, its name in the very spelling (0x20 of
//! draft-vixie-dnsext-dns0x20: some more bits that a forger has to guess); aliases are followed within a bound; any
//! bytes give an answer or an error.

use std::net::IpAddr;

use domain::{
    base::{Message, MessageBuilder, Name, ParsedName, Rtype, iana::Rcode},
    rdata::{A, Aaaa, Cname, Soa, Srv},
};

use crate::limits;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Services, RFC 2782.
    Srv,
}

impl Kind {
    fn rtype(self) -> Rtype {
        match self {
            Kind::A => Rtype::A,
            Kind::Aaaa => Rtype::AAAA,
            Kind::Srv => Rtype::SRV,
        }
    }
}

/// One SRV record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Lower is tried first.
    pub priority: u16,
    /// Share among equals.
    pub weight: u16,
    /// TCP port.
    pub port: u16,
    /// Host in lower case without a dot at its end; empty: the service is decidedly not there.
    pub host: String,
}

/// What a name leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Of [`Kind::A`] and [`Kind::Aaaa`].
    Addresses(Vec<IpAddr>),
    /// Of [`Kind::Srv`].
    Services(Vec<Service>),
    /// There is no such thing.
    Nothing,
    /// The name is another's alias, and the answer did not say more.
    Alias(String),
}

/// An answer and for how long it is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What was found.
    pub found: Found,
    /// Seconds.
    pub ttl_s: u32,
}

/// Why a message is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It answers another question, or none: whoever sent it, waiting goes on.
    Foreign,
    /// It did not fit; ask again over TCP.
    Truncated,
    /// The resolver could not say, or what it said makes no sense.
    Failed(String),
}

/// One question as it goes over the wire.
pub struct Question {
    kind: Kind,
    bytes: Vec<u8>,
    /// Where the question section ends.
    end: usize,
}

/// Bytes of a message's header.
const HEADER: usize = 12;
/// Bytes of an answer over UDP that we take (RFC 9715 §3.1 R3: what fits every path).
pub const UDP_BYTES: u16 = 1_232;

impl Question {
    /// A question about a name. `dice` are random: two bytes are the id, the bits of the others the name's spelling.
    ///
    /// # Errors
    /// It is no name that DNS could know.
    pub fn new(name: &str, kind: Kind, dice: &[u8; 34]) -> Result<Question, Unread> {
        let wrong = || Unread::Failed(format!("{name} is no name for DNS"));
        let spelled: Vec<u8> = name.bytes().enumerate().map(|(at, byte)| spell(byte, dice, at)).collect();
        let name = Name::<Vec<u8>>::from_chars(spelled.into_iter().map(char::from)).map_err(|_| wrong())?;
        let mut message = MessageBuilder::new_vec();
        message.header_mut().set_id(u16::from_be_bytes([dice[0], dice[1]]));
        message.header_mut().set_rd(true);
        let mut question = message.question();
        question.push((name, kind.rtype())).map_err(|_| wrong())?;
        let end = question.as_builder().as_slice().len();
        let mut additional = question.additional();
        let sized = additional.opt(|opt| {
            opt.set_udp_payload_size(UDP_BYTES);
            Ok(())
        });
        sized.map_err(|_| wrong())?;
        Ok(Question { kind, bytes: additional.finish(), end })
    }

    /// To be sent.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What a message says about it. Over TCP, where nobody else can answer, the spelling does not matter.
    ///
    /// # Errors
    /// It is no answer.
    pub fn read(&self, message: &[u8], tcp: bool) -> Result<Answer, Unread> {
        let parsed = Message::from_slice(message).map_err(|_| Unread::Foreign)?;
        let header = parsed.header();
        let (asked, echoed) = (self.bytes.get(HEADER..self.end), message.get(HEADER..self.end));
        let same = match (asked, echoed) {
            (Some(asked), Some(echoed)) if tcp => asked.eq_ignore_ascii_case(echoed),
            (asked, echoed) => asked == echoed,
        };
        let ours = message.get(..2) == self.bytes.get(..2) && parsed.header_counts().qdcount() == 1;
        if !ours || !same || !header.qr() {
            return Err(Unread::Foreign);
        }
        if header.tc() && !tcp {
            return Err(Unread::Truncated);
        }
        match header.rcode() {
            Rcode::NOERROR | Rcode::NXDOMAIN => {}
            other => return Err(Unread::Failed(format!("the resolver said {other}"))),
        }
        let nonsense = |_| Unread::Failed("the resolver's answer is malformed".into());
        walk(parsed, self.kind).map_err(nonsense)
    }
}

/// The byte in a case that a bit of the dice decides.
fn spell(byte: u8, dice: &[u8; 34], at: usize) -> u8 {
    let bit = dice.get(2 + at / 8 % 32).copied().unwrap_or_default() >> (at % 8) & 1;
    if bit == 1 { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() }
}

type Malformed = domain::base::wire::ParseError;

/// From alias to alias to what was asked for.
fn walk(message: &Message<[u8]>, kind: Kind) -> Result<Answer, Malformed> {
    let asked = message.sole_question()?;
    let mut owner = asked.into_qname();
    let mut ttl_s = limits::DNS_TTL_S_MAX;
    let mut aliases = 0;
    while let Some((target, ttl)) = alias(message, &owner)? {
        aliases += 1;
        if aliases > limits::DNS_ALIASES_MAX {
            return Err(Malformed::form_error("aliases without end"));
        }
        (owner, ttl_s) = (target, ttl_s.min(ttl));
    }
    let mut services = Vec::new();
    let mut addresses: Vec<IpAddr> = Vec::new();
    for record in message.answer()?.take(limits::DNS_RECORDS_MAX) {
        let record = record?;
        if record.owner() != owner || record.rtype() != kind.rtype() {
            continue;
        }
        ttl_s = ttl_s.min(record.ttl().as_secs());
        match kind {
            Kind::A => addresses.extend(record.to_record::<A>()?.map(|found| IpAddr::from(found.data().addr()))),
            Kind::Aaaa => addresses.extend(record.to_record::<Aaaa>()?.map(|found| IpAddr::from(found.data().addr()))),
            Kind::Srv => services.extend(record.to_record::<Srv<_>>()?.and_then(|found| service(found.data()))),
        }
    }
    let found = match kind {
        Kind::Srv if !services.is_empty() => Found::Services(services),
        Kind::A | Kind::Aaaa if !addresses.is_empty() => Found::Addresses(addresses),
        _ if aliases > 0 && message.header().rcode() == Rcode::NOERROR && negative_ttl_s(message)?.is_none() => {
            match host(&owner) {
                Some(name) => Found::Alias(name),
                None => Found::Nothing,
            }
        }
        _ => {
            ttl_s = ttl_s.min(negative_ttl_s(message)?.unwrap_or_default());
            Found::Nothing
        }
    };
    Ok(Answer { found, ttl_s })
}

/// A name as it stands in a message, compressed perhaps.
type WireName<'m> = ParsedName<&'m [u8]>;

/// Whose alias this name is.
fn alias<'m>(message: &'m Message<[u8]>, owner: &WireName<'m>) -> Result<Option<(WireName<'m>, u32)>, Malformed> {
    for record in message.answer()?.take(limits::DNS_RECORDS_MAX) {
        let record = record?;
        if record.rtype() == Rtype::CNAME
            && record.owner() == *owner
            && let Some(found) = record.to_record::<Cname<WireName<'m>>>()?
        {
            let ttl_s = found.ttl().as_secs();
            return Ok(Some((found.into_data().into_cname(), ttl_s)));
        }
    }
    Ok(None)
}

/// RFC 2308 §5: for how long nothing is nothing. Without that, it is not remembered.
fn negative_ttl_s(message: &Message<[u8]>) -> Result<Option<u32>, Malformed> {
    for record in message.authority()?.take(limits::DNS_RECORDS_MAX) {
        if let Some(soa) = record?.to_record::<Soa<ParsedName<&[u8]>>>()? {
            let ttl_s = soa.ttl().as_secs().min(soa.data().minimum().as_secs());
            return Ok(Some(ttl_s.min(limits::DNS_NEGATIVE_TTL_S_MAX)));
        }
    }
    Ok(None)
}

fn service(found: &Srv<WireName<'_>>) -> Option<Service> {
    let target = found.target();
    let host = if target.is_root() { String::new() } else { host(target)? };
    // Nobody listens on port 0.
    (host.is_empty() || found.port() != 0).then(|| Service {
        priority: found.priority(),
        weight: found.weight(),
        port: found.port(),
        host,
    })
}

/// A host name in lower case; what is none is left out.
fn host(name: &WireName<'_>) -> Option<String> {
    let text = name.to_string().to_ascii_lowercase();
    let sound = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    sound.then(|| text.trim_end_matches('.').to_owned())
}
