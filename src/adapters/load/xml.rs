//! Cuts a server's stream into top-level elements and reads single attributes.
//!
//! Source: RFC 6120 §4 and §11. It trusts that the server writes well-formed XML without comments, processing
//! instructions or CDATA; a server under measurement is not an attacker. A whole tag is scanned
//! once, whatever the reads cut.

use memchr::{memchr, memchr3};

/// One thing found in the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// The opening tag of the stream; its bytes.
    Header(usize),
    /// One whole element; its length in bytes.
    Element(usize),
    /// The closing tag of the stream.
    End,
    /// Nothing whole yet.
    Partial,
}

/// Scanner over a growing buffer whose first byte is the first byte not yet taken.
#[derive(Debug, Default)]
pub struct Scanner {
    /// Bytes already scanned of the element at the front of the buffer.
    at: usize,
    /// Open elements below the stream element.
    depth: u32,
    /// The stream's opening tag was seen.
    open: bool,
}

impl Scanner {
    /// Looks at `bytes`, which must begin where the last find ended and may have grown since a `Partial`.
    pub fn next(&mut self, bytes: &[u8]) -> Found {
        loop {
            let Some(lt) = memchr(b'<', &bytes[self.at..]).map(|i| self.at + i) else {
                self.at = bytes.len();
                return Found::Partial;
            };
            self.at = lt;
            let Some(gt) = tag_end(bytes, lt) else { return Found::Partial };
            let next = gt + 1;
            match bytes[lt + 1] {
                b'?' => {
                    self.at = next;
                    continue;
                }
                b'/' if self.depth == 0 => return Found::End,
                b'/' => self.depth -= 1,
                _ if !self.open => {
                    self.open = true;
                    self.at = 0;
                    return Found::Header(next);
                }
                _ if bytes[gt - 1] == b'/' => {}
                _ => self.depth += 1,
            }
            self.at = next;
            if self.depth == 0 {
                self.at = 0;
                return Found::Element(next);
            }
        }
    }
}

/// The `>` that ends the tag which starts at `lt`, quotes respected; `None` when it is not there yet.
fn tag_end(bytes: &[u8], lt: usize) -> Option<usize> {
    let mut at = lt + 1;
    loop {
        let i = at + memchr3(b'>', b'"', b'\'', &bytes[at..])?;
        match bytes[i] {
            b'>' => return (i > lt + 1).then_some(i),
            quote => at = i + 1 + memchr(quote, &bytes[i + 1..])? + 1,
        }
    }
}

/// The name of an element, prefix included.
pub fn name(element: &[u8]) -> &[u8] {
    let rest = &element[1..];
    let end = rest.iter().position(|b| matches!(b, b' ' | b'/' | b'>' | b'\n' | b'\t' | b'\r')).unwrap_or(rest.len());
    &rest[..end]
}

/// The raw value of an attribute of the first tag of `element`; character references stay as they are.
pub fn attribute<'a>(element: &'a [u8], name: &str) -> Option<&'a str> {
    let tag = &element[..=tag_end(element, 0)?];
    let mut at = 0;
    while let Some(i) = tag[at..].iter().position(|b| b.is_ascii_whitespace()).map(|i| at + i + 1) {
        let rest = &tag[i..];
        let eq = memchr(b'=', rest)?;
        let value = &rest[eq + 1..];
        let quote = *value.first()?;
        let end = 1 + memchr(quote, &value[1..])?;
        if &rest[..eq] == name.as_bytes() {
            return std::str::from_utf8(&value[1..end]).ok();
        }
        at = i + eq + 1 + end;
    }
    None
}

/// The text right behind the first tag of `element`, up to the next tag.
pub fn text(element: &[u8]) -> &[u8] {
    let Some(gt) = tag_end(element, 0) else { return b"" };
    let rest = &element[gt + 1..];
    &rest[..memchr(b'<', rest).unwrap_or(0)]
}

/// The first child (at any depth) whose tag begins with `open`, for example `<body`; up to the end of `element`.
pub fn find<'a>(element: &'a [u8], open: &str) -> Option<&'a [u8]> {
    memchr::memmem::find(element, open.as_bytes()).map(|i| &element[i..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_wherever_the_reads_cut() {
        let stream = b"<?xml version='1.0'?><s:stream a='>'><a h='1'/><m to=\"a'>\"><body>x<b/>y</body></m></s:stream>";
        let mut scanner = Scanner::default();
        let (mut start, mut seen) = (0, Vec::new());
        for end in 1..=stream.len() {
            loop {
                match scanner.next(&stream[start..end]) {
                    Found::Header(n) => start += n,
                    Found::Element(n) => {
                        seen.push(&stream[start..start + n]);
                        start += n;
                    }
                    Found::End => {
                        assert_eq!(end, stream.len());
                        break;
                    }
                    Found::Partial => break,
                }
            }
        }
        assert_eq!(seen, [&b"<a h='1'/>"[..], b"<m to=\"a'>\"><body>x<b/>y</body></m>"]);
    }

    #[test]
    fn attributes_are_read_by_whole_name() {
        let element = b"<a xid='1' id=\"2\" h='3'><b id='9'/></a>";
        assert_eq!(attribute(element, "id"), Some("2"));
        assert_eq!(attribute(element, "h"), Some("3"));
        assert_eq!(attribute(element, "to"), None);
        assert_eq!(name(element), b"a");
        assert_eq!(text(b"<b>hi</b>"), b"hi");
    }
}
