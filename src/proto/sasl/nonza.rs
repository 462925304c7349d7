//! The elements of RFC 6120 §6.4 around a handshake.
//!
//! Invariant: base64 is read as strictly as RFC 6120 §13.9.1 asks: no white space, no padding amid the data, no spare
//! bits, and no more than [`RESPONSE_BYTES_MAX`] bytes.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use zeroize::Zeroizing;

use super::{RESPONSE_BYTES_MAX, SaslCondition, SaslFailure};
use crate::wire::{build, element::Element, ns};

/// What a client says during a handshake.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// `<auth/>`, RFC 6120 §6.4.2.
    Auth {
        /// Its name, as sent.
        mechanism: String,
        /// Decoded; `None` if there was no character data.
        initial: Option<Zeroizing<Vec<u8>>>,
    },
    /// `<response/>`, decoded, RFC 6120 §6.4.3.
    Response(Zeroizing<Vec<u8>>),
    /// `<abort/>`, RFC 6120 §6.4.4.
    Abort,
}

impl Request {
    /// Reads an element of the namespace [`ns::SASL`].
    ///
    /// # Errors
    /// `incorrect-encoding`, `invalid-mechanism` if none is named, `malformed-request` for everything else.
    pub fn read(element: &Element) -> Result<Request, SaslFailure> {
        const MALFORMED: SaslFailure = SaslFailure::new(SaslCondition::MalformedRequest, "no request of RFC 6120");
        if element.ns != ns::SASL || element.children().next().is_some() {
            return Err(MALFORMED);
        }
        let text = Zeroizing::new(element.content());
        match element.name.as_ref() {
            "auth" => {
                // RFC 6120 §6.5.7.
                let mechanism = element
                    .get("mechanism")
                    .ok_or(SaslFailure::new(SaslCondition::InvalidMechanism, "no mechanism named"))?
                    .to_owned();
                let initial = if text.is_empty() { None } else { Some(decode(&text)?) };
                Ok(Request::Auth { mechanism, initial })
            }
            "response" => Ok(Request::Response(decode(&text)?)),
            "abort" => Ok(Request::Abort),
            _ => Err(MALFORMED),
        }
    }
}

/// Decodes character data; `=` stands for data of no length (RFC 6120 §6.4.2). Serves SASL2 as well.
///
/// # Errors
/// `incorrect-encoding` if it is not base64, `malformed-request` if it is too long.
pub fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, SaslFailure> {
    if text == "=" {
        return Ok(Zeroizing::default());
    }
    if text.len() > RESPONSE_BYTES_MAX.div_ceil(3) * 4 {
        return Err(SaslFailure::new(SaslCondition::MalformedRequest, "response too long"));
    }
    let data = BASE64.decode(text).map_err(|_| SaslFailure::new(SaslCondition::IncorrectEncoding, "not base64"))?;
    Ok(Zeroizing::new(data))
}

/// Appends `<challenge/>`.
pub fn write_challenge(challenge: &[u8], out: &mut Vec<u8>) {
    write("challenge", &BASE64.encode(challenge), out);
}

/// Appends `<success/>`.
pub fn write_success(additional_data: Option<&[u8]>, out: &mut Vec<u8>) {
    let text = match additional_data {
        None => String::new(),
        // RFC 6120 §6.4.6.
        Some([]) => "=".to_owned(),
        Some(data) => BASE64.encode(data),
    };
    write("success", &text, out);
}

fn write(name: &str, text: &str, out: &mut Vec<u8>) {
    out.push(b'<');
    out.extend_from_slice(name.as_bytes());
    build::attr("xmlns", ns::SASL, out);
    if text.is_empty() {
        out.extend_from_slice(b"/>");
        return;
    }
    out.push(b'>');
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"</");
    out.extend_from_slice(name.as_bytes());
    out.push(b'>');
}

impl SaslFailure {
    /// Appends `<failure/>` of this namespace: RFC 6120 §6.5, XEP-0388 §2.6.2.
    pub fn write(&self, namespace: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<failure");
        build::attr("xmlns", namespace, out);
        out.extend_from_slice(b"><");
        out.extend_from_slice(self.condition.as_str().as_bytes());
        if namespace != ns::SASL {
            build::attr("xmlns", ns::SASL, out);
        }
        out.extend_from_slice(b"/>");
        if let Some(text) = self.text {
            out.extend_from_slice(b"<text xml:lang='en'>");
            build::escape(text, out);
            out.extend_from_slice(b"</text>");
        }
        out.extend_from_slice(b"</failure>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(xml: &str) -> Result<Request, SaslFailure> {
        Request::read(&Element::parse(xml.as_bytes(), ns::SASL).unwrap())
    }

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn requests_are_read() {
        let auth = |initial: Option<&[u8]>| {
            Ok(Request::Auth {
                mechanism: "PLAIN".into(),
                initial: initial.map(|data| Zeroizing::new(data.to_owned())),
            })
        };
        // RFC 6120 §6.4.2.
        assert_eq!(
            read("<auth mechanism='PLAIN'>AGp1bGlldAByMG0zMG15cjBtMzA=</auth>"),
            auth(Some(b"\0juliet\0r0m30myr0m30"))
        );
        assert_eq!(read("<auth mechanism='PLAIN'/>"), auth(None));
        assert_eq!(read("<auth mechanism='PLAIN'>=</auth>"), auth(Some(b"")));
        assert_eq!(read("<response/>"), Ok(Request::Response(Zeroizing::default())));
        assert_eq!(read("<response>=</response>"), Ok(Request::Response(Zeroizing::default())));
        assert_eq!(read("<response>YQ==</response>"), Ok(Request::Response(Zeroizing::new(b"a".to_vec()))));
        assert_eq!(read("<abort/>"), Ok(Request::Abort));
    }

    #[test]
    fn wrong_requests_name_their_fault() {
        use SaslCondition::*;
        let longest = "A".repeat(RESPONSE_BYTES_MAX.div_ceil(3) * 4);
        assert!(read(&format!("<response>{longest}</response>")).is_ok());
        let table = [
            ("<auth/>".to_owned(), InvalidMechanism),
            ("<response><a/></response>".to_owned(), MalformedRequest),
            ("<challenge/>".to_owned(), MalformedRequest),
            ("<auth xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>".to_owned(), MalformedRequest),
            (format!("<response>{longest}AAAA</response>"), MalformedRequest),
        ];
        for (xml, condition) in table {
            assert_eq!(read(&xml).unwrap_err().condition, condition, "{xml:.60}");
        }
        // RFC 6120 §13.9.1.
        for text in ["=AAA", "BBBB=CCC", "YQ", "YQ=", "YR==", "Y Q=", "YQ==\n", " ", "==", "Y-Q_", "YQ==YQ==", "\u{e4}"]
        {
            let refused = read(&format!("<auth mechanism='PLAIN'>{text}</auth>")).unwrap_err();
            assert_eq!(refused.condition, IncorrectEncoding, "{text:?}");
        }
    }

    #[test]
    fn answers_are_written() {
        const NS: &str = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
        assert_eq!(written(|out| write_challenge(b"", out)), format!("<challenge {NS}/>"));
        assert_eq!(written(|out| write_challenge(b"a", out)), format!("<challenge {NS}>YQ==</challenge>"));
        assert_eq!(written(|out| write_success(None, out)), format!("<success {NS}/>"));
        assert_eq!(written(|out| write_success(Some(b""), out)), format!("<success {NS}>=</success>"));
        assert_eq!(written(|out| write_success(Some(b"v=x"), out)), format!("<success {NS}>dj14</success>"));
        let failure = SaslFailure::new(SaslCondition::NotAuthorized, "invalid-proof");
        assert_eq!(written(|out| failure.write(ns::SASL, out)), format!("<failure {NS}><not-authorized/></failure>"));
        let failure = SaslFailure::new(SaslCondition::AccountDisabled, "by the admin").text("Ask & wait.");
        assert_eq!(
            written(|out| failure.write(ns::SASL, out)),
            format!("<failure {NS}><account-disabled/><text xml:lang='en'>Ask &amp; wait.</text></failure>")
        );
    }
}
