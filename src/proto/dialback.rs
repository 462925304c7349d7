//! Server dialback: a server proves who it is by what it says when it is called back.
//!
//! Source: XEP-0220 v1.1.1, XEP-0185 v1.0. Invariants: a key is good for one pair of domains and one stream id, both
//! domains and the id are told apart in what is hashed (S19), and what comes in is parsed into prepared domains before
//! anybody looks at it.

use ring::{digest, hmac};

use crate::wire::{
    element::Element,
    error::{Condition, StanzaError},
    jid, ns,
};

/// Longest stream id or key that is looked at, in bytes; real ones have 16 to 64.
const TEXT_BYTES_MAX: usize = 512;

/// A dialback key, 64 hexadecimal digits.
pub type Key = heapless::String<64>;

/// Makes and checks our own keys. Of a process: a key outlives no restart, and neither does the stream it is for.
#[derive(Clone, Debug)]
pub struct Keys(hmac::Key);

impl Keys {
    /// From a secret of the process.
    pub fn new(secret: &[u8; 32]) -> Keys {
        // XEP-0185 §2: the secret is hashed, and its hash is the key in hexadecimal.
        let hashed = hexadecimal(digest::digest(&digest::SHA256, secret).as_ref());
        Keys(hmac::Key::new(hmac::HMAC_SHA256, hashed.as_bytes()))
    }

    /// The key with which `originating` (ours) proves itself to `receiving` on the stream that has this id.
    /// No domain holds a space, so that no other three parts make the same text, whatever the id holds (S19).
    pub fn key(&self, receiving: &str, originating: &str, stream: &str) -> Key {
        let mut sign = hmac::Context::with_key(&self.0);
        for part in [receiving, " ", originating, " ", stream] {
            sign.update(part.as_bytes());
        }
        hexadecimal(sign.sign().as_ref())
    }

    /// Whether we made this key for these three. In a time that tells nothing.
    pub fn is_ours(&self, key: &str, receiving: &str, originating: &str, stream: &str) -> bool {
        let own = self.key(receiving, originating, stream);
        own.len() == key.len() && own.bytes().zip(key.bytes()).fold(0, |all, (a, b)| all | (a ^ b)) == 0
    }
}

fn hexadecimal(bytes: &[u8]) -> Key {
    let mut out = Key::new();
    for byte in bytes.iter().take(32) {
        for digit in [byte >> 4, byte & 15] {
            // 64 digits fit.
            let _ = out.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
        }
    }
    out
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The key is theirs.
    Valid,
    /// It is not.
    Invalid,
    /// It could not be told (XEP-0220 §2.4): the condition, as it is named.
    Error(String),
}

/// What a dialback element says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// `<db:result>` with a key: "I am `from`, and want to send to `to`" (XEP-0220 §2.1.1).
    Claim(String),
    /// `<db:result type='…'>`: what became of our claim.
    Claimed(Verdict),
    /// `<db:verify>` with stream id and key: "is this key yours?" (§2.1.2).
    Ask(String, String),
    /// `<db:verify type='…'>` with stream id: what became of our question.
    Told(String, Verdict),
}

/// One dialback element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialback {
    /// The domain that says it, prepared.
    pub from: String,
    /// The domain it is said to, prepared.
    pub to: String,
    /// What it says.
    pub word: Word,
}

impl Dialback {
    /// Reads an element of the dialback namespace.
    ///
    /// # Errors
    /// `None`, for which RFC 6120 §4.9.3 has `improper-addressing` or `bad-format`: an address is missing or is none, or
    /// the element means nothing.
    pub fn read(element: &Element) -> Option<Dialback> {
        let domain = |name| Some(jid::prepare_domain(element.get(name)?).ok()?.into_owned());
        let (from, to) = (domain("from")?, domain("to")?);
        let key = || Some(element.content().trim().to_owned()).filter(|key| (1..=TEXT_BYTES_MAX).contains(&key.len()));
        let id = || element.get("id").filter(|id| id.len() <= TEXT_BYTES_MAX).map(str::to_owned);
        let verdict = match element.get("type") {
            None => None,
            Some("valid") => Some(Verdict::Valid),
            Some("invalid") => Some(Verdict::Invalid),
            Some("error") => Some(Verdict::Error(condition(element))),
            Some(_) => return None,
        };
        let word = match (&*element.name, verdict) {
            ("result", None) => Word::Claim(key()?),
            ("result", Some(verdict)) => Word::Claimed(verdict),
            ("verify", None) => Word::Ask(id()?, key()?),
            ("verify", Some(verdict)) => Word::Told(id()?, verdict),
            _ => return None,
        };
        Some(Dialback { from, to, word })
    }
}

/// The name of the condition in an element of type error.
fn condition(element: &Element) -> String {
    let error = element.children().find(|child| &*child.name == "error");
    let named = error.and_then(|error| error.children().find(|child| child.ns == ns::STANZA_ERRORS));
    named.map_or_else(|| "undefined-condition".to_owned(), |condition| condition.name.chars().take(64).collect())
}

/// `<db:result>` that claims to be `from`.
pub fn claim(from: &str, to: &str, key: &str) -> Vec<u8> {
    written(element("result", from, to).text(key))
}

/// The answer to a claim. `error`: XEP-0220 §2.4.
pub fn claimed(from: &str, to: &str, verdict: Result<bool, Condition>) -> Vec<u8> {
    written(judged(element("result", from, to), verdict))
}

/// `<db:verify>` that asks whether a key is theirs.
pub fn ask(from: &str, to: &str, stream: &str, key: &str) -> Vec<u8> {
    written(element("verify", from, to).attr("id", stream).text(key))
}

/// The answer to it.
pub fn told(from: &str, to: &str, stream: &str, verdict: Result<bool, Condition>) -> Vec<u8> {
    written(judged(element("verify", from, to).attr("id", stream), verdict))
}

fn element(name: &'static str, from: &str, to: &str) -> Element {
    Element::new(name, ns::DIALBACK).attr("from", from).attr("to", to)
}

fn judged(element: Element, verdict: Result<bool, Condition>) -> Element {
    match verdict {
        Ok(true) => element.attr("type", "valid"),
        Ok(false) => element.attr("type", "invalid"),
        // The error is in the content namespace, XEP-0220 §2.4.2.
        Err(condition) => {
            let mut error = StanzaError::new(condition).element();
            error.ns = ns::SERVER.into();
            element.attr("type", "error").child(error)
        }
    }
}

/// With the prefix `db`, which our stream header binds: servers of the old time know the element by it (XEP-0220 §2.1).
fn written(element: Element) -> Vec<u8> {
    let name = element.name.to_string();
    let mut inner = Vec::with_capacity(256);
    element.write(ns::DIALBACK, &mut inner);
    let mut out = Vec::with_capacity(inner.len() + 8);
    let closed = inner.ends_with(b"/>");
    out.extend_from_slice(b"<db:");
    let end = if closed { inner.len() } else { inner.len() - name.len() - 3 };
    out.extend_from_slice(inner.get(1..end).unwrap_or_default());
    if !closed {
        out.extend_from_slice(b"</db:");
        out.extend_from_slice(name.as_bytes());
        out.push(b'>');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    fn read(xml: &str) -> Option<Dialback> {
        let xml = xml.replacen(' ', " xmlns:db='jabber:server:dialback' ", 1);
        Dialback::read(&Element::parse(xml.as_bytes(), ns::SERVER).unwrap())
    }

    /// The example of XEP-0185 §3. Its secret is a text; ours are 32 bytes, so the key is made by hand.
    #[test]
    fn keys_are_those_of_the_document() {
        let hashed = hexadecimal(digest::digest(&digest::SHA256, b"s3cr3tf0rd14lb4ck").as_ref());
        assert_eq!(hashed, "a7136eb1f46c9ef18c5e78c36ca257067c69b3d518285f0b18a96c33beae9acc");
        let keys = Keys(hmac::Key::new(hmac::HMAC_SHA256, hashed.as_bytes()));
        let key = keys.key("xmpp.example.com", "example.org", "D60000229F");
        assert_eq!(key, "37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643");
        assert!(keys.is_ours(&key, "xmpp.example.com", "example.org", "D60000229F"));
    }

    #[test]
    fn s19_a_key_is_good_for_its_pair_and_stream_alone() {
        let keys = Keys::new(&[7; 32]);
        let key = keys.key("montague.lit", "capulet.lit", "1");
        for (receiving, originating, stream) in [
            ("capulet.lit", "montague.lit", "1"),
            ("montague.lit", "capulet.lit", "2"),
            ("montague.litc", "apulet.lit", "1"),
            ("ontague.lit", "capulet.lit", "1"),
            ("montague.lit", "rooms.capulet.lit", "1"),
            ("montague.lit capulet.lit", "1", ""),
        ] {
            assert!(!keys.is_ours(&key, receiving, originating, stream), "{receiving} {originating} {stream}");
        }
        assert!(!keys.is_ours(&key[..63], "montague.lit", "capulet.lit", "1"));
        assert!(!keys.is_ours("", "montague.lit", "capulet.lit", "1"));
        assert!(!Keys::new(&[8; 32]).is_ours(&key, "montague.lit", "capulet.lit", "1"));
    }

    #[test]
    fn what_is_written_is_read() {
        let claimed = text(super::claimed("a.example", "b.example", Err(Condition::ItemNotFound)));
        assert_eq!(
            claimed,
            "<db:result from='a.example' to='b.example' type='error'><error xmlns='jabber:server' type='cancel'>\
             <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>"
        );
        let word = |xml: Vec<u8>| read(&text(xml)).unwrap().word;
        assert_eq!(word(claim("a.example", "b.example", "k")), Word::Claim("k".into()));
        assert_eq!(word(ask("a.example", "b.example", "i", "k")), Word::Ask("i".into(), "k".into()));
        assert_eq!(word(told("a.example", "b.example", "i", Ok(true))), Word::Told("i".into(), Verdict::Valid));
        assert_eq!(word(told("a.example", "b.example", "i", Ok(false))), Word::Told("i".into(), Verdict::Invalid));
        let error = Verdict::Error("item-not-found".into());
        assert_eq!(word(super::claimed("a.example", "b.example", Err(Condition::ItemNotFound))), Word::Claimed(error));
    }

    #[test]
    fn s20_what_names_no_two_domains_is_nothing() {
        for xml in [
            "<db:result to='b.example'>k</db:result>",
            "<db:result from='a.example'>k</db:result>",
            "<db:result from='juliet@a.example' to='b.example'>k</db:result>",
            "<db:result from='a.example' to='b.example'/>",
            "<db:result from='a.example' to='b.example' type='maybe'/>",
            "<db:verify from='a.example' to='b.example'>k</db:verify>",
            "<db:verify from='a.example' to='b.example' type='valid'/>",
            "<db:revoke from='a.example' to='b.example'>k</db:revoke>",
        ] {
            assert_eq!(read(xml), None, "{xml}");
        }
        let long = format!("<db:result from='a.example' to='b.example'>{}</db:result>", "k".repeat(TEXT_BYTES_MAX + 1));
        assert_eq!(read(&long), None);
        let prepared = read("<db:result from='A.Example.' to='B.EXAMPLE'> k\n</db:result>").unwrap();
        assert_eq!(
            (&*prepared.from, &*prepared.to, prepared.word),
            ("a.example", "b.example", Word::Claim("k".into()))
        );
    }
}
