//! Whom and what the first message of a TLS connection is for, read without taking part in it.
//!
//! Source: RFC 8446 §4.1.2 and §5.1, RFC 6066 §3, RFC 7301 §3.1. Invariant: whatever is odd is left to who speaks TLS; this
//! only reads.

/// Bytes that are looked at: more than any client says before it knows whom it speaks to.
pub const BYTES_MAX: usize = 18 * 1024;

/// Extensions, RFC 8446 §4.2.
const SERVER_NAME: [u8; 2] = [0, 0];
const ALPN: [u8; 2] = [0, 16];

/// A list of protocols with one in it, RFC 7301 §3.1.
const ACME: &[u8] = b"\x0Aacme-tls/1";

/// What is known of the first message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// More is needed.
    More,
    /// It is whole.
    For {
        /// The server's name, in lower case.
        name: Option<String>,
        /// Whether it offers `acme-tls/1` and nothing else: an authority asks for a proof, RFC 8737 §3.
        is_acme: bool,
    },
    /// It is none, or none that can be read.
    Other,
}

/// Reads the beginning of a connection.
pub fn read(bytes: &[u8]) -> Hello {
    match message(bytes) {
        Ok(Some(message)) => whole(&message).unwrap_or(Hello::Other),
        Ok(None) if bytes.len() < BYTES_MAX => Hello::More,
        Ok(None) | Err(()) => Hello::Other,
    }
}

/// The body of the ClientHello, which may stand in several records.
fn message(mut bytes: &[u8]) -> Result<Option<Vec<u8>>, ()> {
    let mut message = Vec::new();
    loop {
        if let Some((&[kind, a, b, c], body)) = message.split_first_chunk::<4>() {
            let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            if kind != 1 || length > BYTES_MAX {
                return Err(());
            }
            if let Some(body) = body.get(..length) {
                return Ok(Some(body.to_vec()));
            }
        }
        let Some((&[kind, major, _, a, b], rest)) = bytes.split_first_chunk::<5>() else {
            return if bytes.first().is_none_or(|kind| *kind == 22) { Ok(None) } else { Err(()) };
        };
        let length = usize::from(u16::from_be_bytes([a, b]));
        if kind != 22 || major != 3 || length == 0 {
            return Err(());
        }
        let Some((record, behind)) = rest.split_at_checked(length) else { return Ok(None) };
        message.extend_from_slice(record);
        bytes = behind;
    }
}

/// Takes a vector with a length of so many bytes off the front.
fn vector<'b>(bytes: &mut &'b [u8], width: usize) -> Option<&'b [u8]> {
    let (length, rest) = bytes.split_at_checked(width)?;
    let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let (vector, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some(vector)
}

/// What a whole message says; `None`: it makes no sense.
fn whole(mut body: &[u8]) -> Option<Hello> {
    // Version and random.
    body = body.get(34..)?;
    // Session, cipher suites, compression.
    for width in [1, 2, 1] {
        vector(&mut body, width)?;
    }
    let (mut name, mut is_acme) = (None, false);
    let mut extensions = if body.is_empty() { body } else { vector(&mut body, 2)? };
    while let Some((kind, rest)) = extensions.split_first_chunk::<2>() {
        extensions = rest;
        let mut extension = vector(&mut extensions, 2)?;
        match *kind {
            SERVER_NAME => name = Some(server_name(extension)?),
            ALPN => is_acme = vector(&mut extension, 2)? == ACME,
            _ => (),
        }
    }
    Some(Hello::For { name, is_acme })
}

/// RFC 6066 §3: a list of names, of which there is but one kind.
fn server_name(mut extension: &[u8]) -> Option<String> {
    let mut names = vector(&mut extension, 2)?;
    let (kind, rest) = names.split_first()?;
    names = rest;
    let name = std::str::from_utf8(vector(&mut names, 2)?).ok().filter(|_| *kind == 0)?;
    Some(name.trim_end_matches('.').to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(name: Option<&str>, protocols: &[&str]) -> Vec<u8> {
        let sized = |width: usize, bytes: &[u8]| [&bytes.len().to_be_bytes()[8 - width..], bytes].concat();
        let mut extensions = [&[0, 43][..], &sized(2, &[2, 3, 4])].concat();
        if !protocols.is_empty() {
            let list: Vec<u8> = protocols.iter().flat_map(|protocol| sized(1, protocol.as_bytes())).collect();
            extensions.extend([&[0, 16][..], &sized(2, &sized(2, &list))].concat());
        }
        if let Some(name) = name {
            let names = [&[0][..], &sized(2, name.as_bytes())].concat();
            extensions.extend([&[0, 0][..], &sized(2, &sized(2, &names))].concat());
        }
        let body =
            [&[3, 3][..], &[7; 32], &sized(1, &[1; 32]), &sized(2, &[19, 1]), &sized(1, &[0]), &sized(2, &extensions)];
        [&[1][..], &sized(3, &body.concat())].concat()
    }

    /// In records of so many bytes.
    fn records(message: &[u8], bytes: usize) -> Vec<u8> {
        let records = message
            .chunks(bytes)
            .map(|part| [&[22, 3, 1][..], &u16::try_from(part.len()).unwrap().to_be_bytes(), part].concat());
        records.flatten().collect()
    }

    #[test]
    fn the_name_is_found_however_the_message_is_cut() {
        let message = hello(Some("Blog.Home.Example."), &["http/1.1"]);
        let name = Some("blog.home.example".to_owned());
        for size in [1, 7, 100, 4_000] {
            let bytes = records(&message, size);
            assert_eq!(read(&bytes), Hello::For { name: name.clone(), is_acme: false }, "{size}");
            assert!((0..bytes.len()).all(|end| read(&bytes[..end]) == Hello::More), "{size}");
        }
        assert_eq!(read(&records(&hello(None, &[]), 4_000)), Hello::For { name: None, is_acme: false });
    }

    #[test]
    fn a_proof_for_an_authority_is_told_by_its_only_protocol() {
        for (protocols, expected) in
            [(&["acme-tls/1"][..], true), (&["acme-tls/1", "http/1.1"], false), (&["http/1.1"], false), (&[], false)]
        {
            let Hello::For { is_acme, .. } = read(&records(&hello(Some("a.example"), protocols), 4_000)) else {
                panic!("{protocols:?}");
            };
            assert_eq!(is_acme, expected, "{protocols:?}");
        }
    }

    #[test]
    fn what_is_no_hello_is_left_alone() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"<?xml",
            &[22, 2, 0, 0, 1, 1],
            &[22, 3, 1, 0, 0],
            &[22, 3, 1, 0, 4, 2, 0, 0, 0],
        ] {
            assert_eq!(read(bytes), Hello::Other, "{bytes:?}");
        }
        // Lengths that lie.
        let good = records(&hello(Some("a.example"), &["acme-tls/1"]), 4_000);
        for at in 5..good.len() {
            for value in [0, 1, 0x7F, 0xFF] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = read(&bad);
            }
        }
        assert_eq!(read(&[&[22, 3, 1, 0xFF, 0xFF][..], &vec![1; BYTES_MAX]].concat()), Hello::Other);
    }
}
