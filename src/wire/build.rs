//! Writing XML: escaping, and attributes on an opening tag.
//!
//! Invariant: whatever passes here as text or attribute value cannot leave its place in the document.

/// Appends `text` with the five predefined entities escaped, fit for content and for attribute values.
pub fn escape(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut done = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let entity: &[u8] = match byte {
            b'<' => b"&lt;",
            b'>' => b"&gt;",
            b'&' => b"&amp;",
            b'\'' => b"&apos;",
            b'"' => b"&quot;",
            _ => continue,
        };
        out.extend_from_slice(&bytes[done..at]);
        out.extend_from_slice(entity);
        done = at + 1;
    }
    out.extend_from_slice(&bytes[done..]);
}

/// Appends `text` as an attribute value: like [`escape`], and white space survives normalisation.
pub fn escape_attr(text: &str, out: &mut Vec<u8>) {
    if !text.bytes().any(|b| matches!(b, b'\n' | b'\r' | b'\t')) {
        return escape(text, out);
    }
    for c in text.chars() {
        match c {
            '\n' => out.extend_from_slice(b"&#10;"),
            '\r' => out.extend_from_slice(b"&#13;"),
            '\t' => out.extend_from_slice(b"&#9;"),
            c => escape(c.encode_utf8(&mut [0; 4]), out),
        }
    }
}

/// Appends ` name='value'`.
pub fn attr(name: &str, value: &str, out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"='");
    escape_attr(value, out);
    out.push(b'\'');
}
