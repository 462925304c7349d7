//! The elements of SASL2 around a handshake, and what a client wants done in the same breath.
//!
//! Source: XEP-0388 v1.0.4; inside it XEP-0386 v1.1.0 (`<bind/>`), XEP-0198 v1.6.3 §9 (`<resume/>`), XEP-0484 v0.2.0
//! (`<fast/>`, `<request-token/>`), XEP-0480 v0.2.0 (`<upgrade/>`). The handshake itself is that of [`super::sasl`].
//!
//! Invariant: wishes are only read here; nothing of them is granted before the handshake has succeeded
//! (XEP-0388 §2.6.2).

use std::num::NonZeroU32;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use zeroize::Zeroizing;

use super::{
    fast::{self, Fast},
    sasl::{ChannelBinding, Offer, SaslCondition, SaslFailure, nonza},
};
use crate::{
    limits,
    wire::{
        build,
        element::{Element, Node},
        jid::Jid,
        ns,
    },
};

/// The task by which an account gets the keys that it lacks, XEP-0480 §3.
pub const UPGRADE: &str = "UPGR-SCRAM-SHA-256";

/// What a client says during a handshake.
#[derive(Debug)]
pub enum Request {
    /// `<authenticate/>`, XEP-0388 §2.4.
    Authenticate(Box<Authenticate>),
    /// `<response/>`, decoded.
    Response(Zeroizing<Vec<u8>>),
    /// `<abort/>`, XEP-0388 §5.4.
    Abort,
    /// `<next/>`: the task that the client begins, XEP-0388 §2.6.3.
    Next(String),
    /// `<task-data/>` with the `<hash/>` of XEP-0480 §3, decoded; `None` without one.
    Hash(Option<Zeroizing<Vec<u8>>>),
    /// Nothing that belongs into a handshake.
    Other,
}

/// `<authenticate/>`.
#[derive(Debug)]
pub struct Authenticate {
    /// Its name, as sent.
    pub mechanism: String,
    /// Decoded; `None` if there is no initial response.
    pub initial: Option<Zeroizing<Vec<u8>>>,
    /// What to do once the handshake has succeeded.
    pub wishes: Box<Wishes>,
}

/// What a client wants besides being known.
#[derive(Debug, Default)]
pub struct Wishes {
    /// Who asks, as software.
    pub agent: Option<UserAgent>,
    /// `<resume/>`, XEP-0198 §9.2; comes before `bind`.
    pub resume: Option<Element>,
    /// `<bind/>`, XEP-0386 §3.2.
    pub bind: Option<Element>,
    /// `<fast/>`, XEP-0484 §3.4: the response is made from a token.
    pub fast: Option<Fast>,
    /// `<request-token/>`, XEP-0484 §3.2: for which mechanism, if it is one of ours.
    pub token: Option<fast::Mechanism>,
    /// `<upgrade/>`, XEP-0480 §2.2: it would do [`UPGRADE`].
    pub upgrades: bool,
}

/// `<user-agent/>`, XEP-0388 §2.4. Shown to nobody but the account's owner and the administrators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserAgent {
    /// The installation's own number; `None` if it gave none, or something that is no UUID.
    pub id: Option<[u8; 16]>,
    /// Name of the software, printable and at most [`limits::DEVICE_TEXT_BYTES_MAX`] bytes.
    pub software: String,
    /// Name of the device, likewise.
    pub device: String,
}

impl Request {
    /// Reads an element of the namespace [`ns::SASL2`].
    ///
    /// # Errors
    /// `incorrect-encoding`, `invalid-mechanism` if none is named, `malformed-request` for everything else.
    pub fn read(element: Element) -> Result<Request, SaslFailure> {
        match element.name.as_ref() {
            "authenticate" => Ok(Request::Authenticate(Box::new(Authenticate::read(element)?))),
            "response" if element.children().next().is_none() => Ok(Request::Response(decode(element)?)),
            "response" => Err(SaslFailure::new(SaslCondition::MalformedRequest, "a response with children")),
            "abort" => Ok(Request::Abort),
            "next" => Ok(Request::Next(element.get("task").unwrap_or_default().to_owned())),
            "task-data" => {
                let hash = element.nodes.into_iter().find_map(|node| match node {
                    Node::Element(child) if child.is("hash", ns::SCRAM_UPGRADE) => Some(decode(child)),
                    _ => None,
                });
                Ok(Request::Hash(hash.transpose()?))
            }
            _ => Ok(Request::Other),
        }
    }
}

impl Authenticate {
    fn read(element: Element) -> Result<Authenticate, SaslFailure> {
        let mechanism = element
            .get("mechanism")
            .ok_or(SaslFailure::new(SaslCondition::InvalidMechanism, "no mechanism named"))?
            .to_owned();
        let (mut initial, mut wishes) = (None, Box::<Wishes>::default());
        for node in element.nodes {
            let Node::Element(child) = node else { continue };
            match (child.name.as_ref(), child.ns.as_ref()) {
                ("initial-response", ns::SASL2) => initial = Some(decode(child)?),
                ("user-agent", ns::SASL2) => wishes.agent = Some(UserAgent::read(&child)),
                ("resume", ns::SM) => wishes.resume = Some(child),
                ("bind", ns::BIND2) => wishes.bind = Some(child),
                ("fast", ns::FAST) => wishes.fast = Some(fast(&child)?),
                ("request-token", ns::FAST) => {
                    wishes.token = child.get("mechanism").and_then(fast::Mechanism::from_name);
                }
                ("upgrade", ns::SASL_UPGRADE) => wishes.upgrades |= child.content().trim_ascii() == UPGRADE,
                // XEP-0388 §2.4: what we do not know is not for us.
                _ => {}
            }
        }
        Ok(Authenticate { mechanism, initial, wishes })
    }
}

/// XEP-0484 §3.4 and §3.6.
fn fast(element: &Element) -> Result<Fast, SaslFailure> {
    const MALFORMED: SaslFailure = SaslFailure::new(SaslCondition::MalformedRequest, "malformed <fast/>");
    let count = element.get("count").map(|count| count.parse().map_err(|_| MALFORMED)).transpose()?;
    let invalidates = match element.get("invalidate") {
        None | Some("false" | "0") => false,
        Some("true" | "1") => true,
        Some(_) => return Err(MALFORMED),
    };
    Ok(Fast { count, invalidates })
}

impl UserAgent {
    fn read(element: &Element) -> UserAgent {
        let text = |name| printable(&element.leaf_text(name).unwrap_or_default());
        UserAgent { id: element.get("id").and_then(parse_uuid), software: text("software"), device: text("device") }
    }
}

/// What is left of a name that somebody will read in a list: no control characters, no more than fits.
fn printable(text: &str) -> String {
    let mut out = String::new();
    for c in text.trim().chars().filter(|c| !c.is_control()) {
        if out.len() + c.len_utf8() > limits::DEVICE_TEXT_BYTES_MAX {
            break;
        }
        out.push(c);
    }
    out
}

/// A UUID as RFC 9562 §4 writes it; of which version is the client's business.
fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let mut groups = text.split('-');
    let mut number: u128 = 0;
    for digits in [8, 4, 4, 4, 12] {
        let group = groups.next().filter(|group| group.len() == digits)?;
        if !group.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        number = number << (digits * 4) | u128::from_str_radix(group, 16).ok()?;
    }
    groups.next().is_none().then_some(number.to_be_bytes())
}

/// XEP-0388 §2.3: as in RFC 6120, but an empty element is data of no length and `=` means nothing.
fn decode(element: Element) -> Result<Zeroizing<Vec<u8>>, SaslFailure> {
    let text = Zeroizing::new(element.content());
    match text.trim_ascii() {
        "=" => Err(SaslFailure::new(SaslCondition::IncorrectEncoding, "`=` is no base64")),
        text => nonza::decode(text),
    }
}

/// Appends the stream feature `<authentication/>`, XEP-0388 §2.1. `bind` holds the elements `<feature/>` of XEP-0386 §3.1.
pub fn write_feature(offer: &Offer, binding: &ChannelBinding, bind: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"<authentication xmlns='urn:xmpp:sasl:2'>");
    offer.write_mechanisms(out);
    out.extend_from_slice(b"<inline><bind xmlns='urn:xmpp:bind:0'><inline>");
    out.extend_from_slice(bind);
    out.extend_from_slice(b"</inline></bind><sm xmlns='urn:xmpp:sm:3'/>");
    fast::write_feature(binding, out);
    out.extend_from_slice(b"</inline><upgrade xmlns='urn:xmpp:sasl:upgrade:0'>");
    out.extend_from_slice(UPGRADE.as_bytes());
    out.extend_from_slice(b"</upgrade></authentication>");
}

/// Appends `<continue/>` with the only task that we know, XEP-0480 §2.2.
pub fn write_continue(additional_data: Option<&[u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<continue xmlns='urn:xmpp:sasl:2'>");
    write_additional(additional_data, out);
    out.extend_from_slice(b"<tasks><task>");
    out.extend_from_slice(UPGRADE.as_bytes());
    out.extend_from_slice(b"</task></tasks></continue>");
}

/// Appends `<task-data/>` with what the client needs for its task, XEP-0480 §3.
pub fn write_salt(salt: &[u8], iterations: NonZeroU32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<task-data xmlns='urn:xmpp:sasl:2'><salt xmlns='urn:xmpp:scram-upgrade:0'");
    build::attr("iterations", &iterations.to_string(), out);
    out.push(b'>');
    out.extend_from_slice(BASE64.encode(salt).as_bytes());
    out.extend_from_slice(b"</salt></task-data>");
}

fn write_additional(data: Option<&[u8]>, out: &mut Vec<u8>) {
    if let Some(data) = data {
        out.extend_from_slice(b"<additional-data>");
        out.extend_from_slice(BASE64.encode(data).as_bytes());
        out.extend_from_slice(b"</additional-data>");
    }
}

/// Appends `<challenge/>`, XEP-0388 §2.6.
pub fn write_challenge(challenge: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"<challenge xmlns='urn:xmpp:sasl:2'>");
    out.extend_from_slice(BASE64.encode(challenge).as_bytes());
    out.extend_from_slice(b"</challenge>");
}

/// Appends `<success/>`, XEP-0388 §2.6.1; `results` are those of the wishes that were granted.
pub fn write_success(additional_data: Option<&[u8]>, identity: &Jid, results: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"<success xmlns='urn:xmpp:sasl:2'>");
    write_additional(additional_data, out);
    out.extend_from_slice(b"<authorization-identifier>");
    build::escape(identity.as_str(), out);
    out.extend_from_slice(b"</authorization-identifier>");
    out.extend_from_slice(results);
    out.extend_from_slice(b"</success>");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(xml: &str) -> Result<Request, SaslFailure> {
        Request::read(Element::parse(xml.as_bytes(), ns::SASL2).unwrap())
    }

    fn authenticate(xml: &str) -> Authenticate {
        match read(xml) {
            Ok(Request::Authenticate(request)) => *request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_tells_all_its_wishes() {
        // XEP-0388 §2.4, XEP-0386 §3.2, XEP-0198 §9.2.
        let request = authenticate(
            "<authenticate mechanism='PLAIN'><initial-response>AGEAYg==</initial-response>\
             <user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'><software>AwesomeXMPP</software>\
             <device>Kiva's Phone</device></user-agent><resume xmlns='urn:xmpp:sm:3' h='1' previd='x'/>\
             <bind xmlns='urn:xmpp:bind:0'><tag>AwesomeXMPP</tag></bind><new xmlns='urn:example:unknown'/></authenticate>",
        );
        assert_eq!((request.mechanism.as_str(), request.initial.unwrap().as_slice()), ("PLAIN", &b"\0a\0b"[..]));
        let agent = request.wishes.agent.unwrap();
        assert_eq!((agent.software.as_str(), agent.device.as_str()), ("AwesomeXMPP", "Kiva's Phone"));
        assert_eq!(agent.id.map(|id| (id[0], id[15])), Some((0xd4, 0x70)));
        assert_eq!(request.wishes.resume.unwrap().get("previd"), Some("x"));
        assert_eq!(request.wishes.bind.unwrap().leaf_text("tag").as_deref(), Some("AwesomeXMPP"));
    }

    #[test]
    fn wishes_for_tokens_are_read() {
        // XEP-0484 §3.2, §3.4 and §3.6.
        let wishes = |inside: &str| {
            let read = read(&format!("<authenticate mechanism='HT-SHA-256-ENDP'>{inside}</authenticate>"));
            read.map(|request| match request {
                Request::Authenticate(request) => (request.wishes.fast, request.wishes.token),
                other => panic!("{other:?}"),
            })
        };
        let fast = |count, invalidates| Ok((Some(Fast { count, invalidates }), None));
        assert_eq!(wishes("<fast xmlns='urn:xmpp:fast:0' count='123'/>"), fast(Some(123), false));
        assert_eq!(wishes("<fast xmlns='urn:xmpp:fast:0' invalidate='true'/>"), fast(None, true));
        let token = "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-ENDP'/>";
        assert_eq!(wishes(token), Ok((None, Some(fast::Mechanism::EndPoint))));
        assert_eq!(wishes(&token.replace("256", "512")), Ok((None, None)));
        for wrong in ["count='-1'", "count='x'", "count='4294967296'", "invalidate='yes'"] {
            assert!(wishes(&format!("<fast xmlns='urn:xmpp:fast:0' {wrong}/>")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_empty_element_is_data_of_no_length_and_no_element_is_none() {
        // XEP-0388 §2.3.
        assert_eq!(authenticate("<authenticate mechanism='X'/>").initial, None);
        let request = authenticate("<authenticate mechanism='X'><initial-response/></authenticate>");
        assert_eq!(request.initial.unwrap().len(), 0);
        assert!(matches!(read("<response/>"), Ok(Request::Response(data)) if data.is_empty()));
        assert!(matches!(read("<abort><text>Enough.</text></abort>"), Ok(Request::Abort)));
    }

    #[test]
    fn wrong_requests_name_their_fault() {
        use SaslCondition::*;
        let table = [
            ("<authenticate/>", InvalidMechanism),
            ("<authenticate mechanism='X'><initial-response>=</initial-response></authenticate>", IncorrectEncoding),
            ("<response>Y Q=</response>", IncorrectEncoding),
            ("<response><a/></response>", MalformedRequest),
        ];
        for (xml, condition) in table {
            assert_eq!(read(xml).unwrap_err().condition, condition, "{xml}");
        }
        for xml in ["<continue/>", "<success/>", "<auth mechanism='PLAIN'/>"] {
            assert!(matches!(read(xml), Ok(Request::Other)), "{xml}");
        }
    }

    #[test]
    fn names_of_devices_are_cut_to_what_a_list_can_show() {
        let long = "\u{e4}".repeat(limits::DEVICE_TEXT_BYTES_MAX);
        let xml = format!(
            "<authenticate mechanism='X'><user-agent id='1'><device> a&#10;b </device><software>{long}\
                           </software></user-agent></authenticate>"
        );
        let agent = authenticate(&xml).wishes.agent.unwrap();
        assert_eq!((agent.id, agent.device.as_str()), (None, "ab"));
        assert_eq!(agent.software.len(), limits::DEVICE_TEXT_BYTES_MAX);
    }

    #[test]
    fn only_a_uuid_names_an_installation() {
        assert!(parse_uuid("D4565FA7-4D72-4749-B3D3-740EDBF87770").is_some());
        for text in [
            "",
            "d4565fa74d724749b3d3740edbf87770",
            "d4565fa7-4d72-4749-b3d3-740edbf8777",
            "d4565fa7-4d72-4749-b3d3-740edbf87770-",
            "+4565fa7-4d72-4749-b3d3-740edbf87770",
            "g4565fa7-4d72-4749-b3d3-740edbf87770",
        ] {
            assert_eq!(parse_uuid(text), None, "{text}");
        }
    }

    #[test]
    fn answers_are_written() {
        let written = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(&|out| write_challenge(b"a", out)), "<challenge xmlns='urn:xmpp:sasl:2'>YQ==</challenge>");
        let jid = Jid::parse("user@example.org/a&b").unwrap();
        assert_eq!(
            written(&|out| write_success(Some(b"v=x"), &jid, b"<a/>", out)),
            "<success xmlns='urn:xmpp:sasl:2'><additional-data>dj14</additional-data><authorization-identifier>\
             user@example.org/a&amp;b</authorization-identifier><a/></success>"
        );
        let failure = SaslFailure::new(SaslCondition::Aborted, "").text("This is a terrible example.");
        assert_eq!(
            written(&|out| failure.write(ns::SASL2, out)),
            "<failure xmlns='urn:xmpp:sasl:2'><aborted xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>\
             <text xml:lang='en'>This is a terrible example.</text></failure>"
        );
    }
}
