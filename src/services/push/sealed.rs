//! What was said, for the eyes of the device alone: sealed with the key that it gave when it registered, so that neither its
//! push service nor whoever carries the notification can read it.
//!
//! Source: `tigase:push:encrypt:0` at xeps.tigase.net/docs/push-notifications/encrypt: AES-128 in GCM mode over a JSON object.
//! DEVIATION: a call names the caller's full address, which the client needs to answer; so do other servers.

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::aead;

use super::cause::Cause;
use crate::{
    limits,
    wire::{element::Element, jid::Jid, ns},
};

/// Namespace, and feature.
pub const ENCRYPT: &str = "tigase:push:encrypt:0";
/// The one algorithm, as a feature.
pub const ALGORITHM: &str = "tigase:push:encrypt:aes-128-gcm";

/// The key of a device, and how much it can take. It is not shown, not even in a log.
pub struct Seal {
    key: [u8; 16],
    bytes_max: usize,
}

impl Seal {
    /// From `<encrypt/>`; `None`: another algorithm, or no key.
    pub fn read(encrypt: &Element) -> Option<Seal> {
        if encrypt.get("alg") != Some("aes-128-gcm") {
            return None;
        }
        let key = STANDARD.decode(encrypt.content().trim()).ok()?;
        let bytes_max = encrypt.get("max-size").and_then(|size| size.parse().ok()).unwrap_or(usize::MAX);
        Some(Seal { key: key.try_into().ok()?, bytes_max })
    }

    /// `<encrypted/>`. `iv` is random and used once.
    pub fn seal(&self, said: &Said, unread: u32, iv: [u8; 12]) -> Option<Element> {
        let mut message = said.message.as_deref();
        let mut sealed = said.json(message, unread);
        while sealed.len() > self.bytes_max
            && let Some(text) = message.filter(|text| !text.is_empty())
        {
            message = Some(&text[..text.floor_char_boundary(text.len() / 2)]);
            sealed = said.json(message, unread);
        }
        let key = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_128_GCM, &self.key).ok()?);
        key.seal_in_place_append_tag(aead::Nonce::assume_unique_for_key(iv), aead::Aad::empty(), &mut sealed).ok()?;
        let encrypted = Element::new("encrypted", ENCRYPT).attr("iv", STANDARD.encode(iv));
        let encrypted = encrypted.attr_if("type", (said.kind == "call").then_some("voip"));
        Some(encrypted.text(STANDARD.encode(sealed)))
    }
}

/// What a device is told of a stanza.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    sender: String,
    kind: &'static str,
    message: Option<String>,
    nickname: Option<String>,
    sid: Option<String>,
    media: Vec<String>,
}

impl Said {
    /// What there is to tell of a stanza.
    pub fn of(stanza: &Element, from: &Jid, cause: &Cause) -> Said {
        let groupchat = stanza.get("type") == Some("groupchat");
        let call = match cause {
            Cause::Call(call) => call.as_ref(),
            _ => None,
        };
        let kind = match cause {
            Cause::Call(_) => "call",
            Cause::Request => "subscribe",
            Cause::Message if groupchat => "groupchat",
            Cause::Message => "chat",
        };
        let sender = if kind == "call" { from.as_str() } else { from.bare_str() };
        let is_sealed = stanza.children().any(|child| child.name == "encrypted" || child.name == "encryption");
        let body = stanza.find("body", ns::CLIENT).map(Element::content);
        let message = match is_sealed {
            // What stands in the body then is for clients that cannot read it.
            true => Some("Encrypted message".to_owned()),
            false => body.map(|body| body[..body.floor_char_boundary(limits::PUSH_TEXT_BYTES)].to_owned()),
        };
        let media = call.into_iter().flat_map(Element::children).map(Element::content).collect();
        Said {
            sender: sender.to_owned(),
            kind,
            message: message.filter(|_| *cause == Cause::Message),
            nickname: from.resource().filter(|_| groupchat).map(str::to_owned),
            sid: call.and_then(|call| call.get("sid")).map(str::to_owned),
            media,
        }
    }

    fn json(&self, message: Option<&str>, unread: u32) -> Vec<u8> {
        let mut out = format!("{{\"unread\":{unread},\"sender\":");
        quote(&self.sender, &mut out);
        out.push_str(",\"type\":");
        quote(self.kind, &mut out);
        for (name, value) in
            [("message", message), ("nickname", self.nickname.as_deref()), ("sid", self.sid.as_deref())]
        {
            if let Some(value) = value {
                out.push(',');
                quote(name, &mut out);
                out.push(':');
                quote(value, &mut out);
            }
        }
        if !self.media.is_empty() {
            out.push_str(",\"media\":[");
            for (at, media) in self.media.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                quote(media, &mut out);
            }
            out.push(']');
        }
        out.push('}');
        out.into_bytes()
    }
}

/// A string of JSON, RFC 8259 §7.
fn quote(text: &str, out: &mut String) {
    use std::fmt::Write;
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(encrypted: &Element) -> String {
        let key = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_128_GCM, &[7; 16]).unwrap());
        let iv = STANDARD.decode(encrypted.get("iv").unwrap()).unwrap();
        let nonce = aead::Nonce::try_assume_unique_for_key(&iv).unwrap();
        let mut sealed = STANDARD.decode(encrypted.content()).unwrap();
        String::from_utf8(key.open_in_place(nonce, aead::Aad::empty(), &mut sealed).unwrap().to_vec()).unwrap()
    }

    fn sealed(extra: &str, xml: &str, cause: &Cause) -> String {
        let key = STANDARD.encode([7; 16]);
        let encrypt = format!("<encrypt xmlns='tigase:push:encrypt:0' alg='aes-128-gcm' {extra}>\n{key}\n</encrypt>");
        let seal = Seal::read(&Element::parse(encrypt.as_bytes(), "").unwrap()).unwrap();
        let stanza = Element::parse(xml.as_bytes(), ns::CLIENT).unwrap();
        let from = Jid::parse(stanza.get("from").unwrap()).unwrap();
        opened(&seal.seal(&Said::of(&stanza, &from, cause), 3, [9; 12]).unwrap())
    }

    #[test]
    fn the_device_reads_what_was_said() {
        let xml = "<message from='romeo@montague.lit/x' type='chat'><body>&quot;Hark&quot; \\ \n</body></message>";
        let json = "{\"unread\":3,\"sender\":\"romeo@montague.lit\",\"type\":\"chat\",\"message\":\"\\\"Hark\\\" \\\\ \\u000a\"}";
        assert_eq!(sealed("", xml, &Cause::Message), json);
        let xml = "<message from='masque@rooms.lit/Jule' type='groupchat'><body>é</body></message>";
        assert!(
            sealed("", xml, &Cause::Message).contains("\"type\":\"groupchat\",\"message\":\"é\",\"nickname\":\"Jule\"")
        );
        let xml = "<message from='romeo@montague.lit/x'><encrypted xmlns='urn:xmpp:omemo:2'/><body>no OMEMO?</body></message>";
        assert!(!sealed("", xml, &Cause::Message).contains("OMEMO"));
    }

    #[test]
    fn a_call_names_its_caller() {
        let call = Element::new("jingle", "tigase:push:jingle:0").attr("sid", "a73").leaf("media", "audio");
        let json = sealed("", "<message from='romeo@montague.lit/x'/>", &Cause::Call(Some(call)));
        assert!(
            json.ends_with(
                "\"sender\":\"romeo@montague.lit/x\",\"type\":\"call\",\"sid\":\"a73\",\"media\":[\"audio\"]}"
            )
        );
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let xml = format!("<message from='romeo@montague.lit/x'><body>{}</body></message>", "é".repeat(1_000));
        assert!(sealed("", &xml, &Cause::Message).len() < limits::PUSH_TEXT_BYTES + 100);
        assert!(sealed("max-size='120'", &xml, &Cause::Message).len() <= 120);
        assert!(sealed("max-size='1'", &xml, &Cause::Message).ends_with("\"message\":\"\"}"));
    }
}
