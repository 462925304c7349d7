//! The server name in the first message of a TLS connection, read without taking part in it.
//!
//! Source: RFC 8446 §4.1.2 and §5.1, RFC 6066 §3. Invariant: whatever is odd is left to who speaks TLS; this only reads.

/// Bytes that are looked at: more than any client says before it knows whom it speaks to.
pub const BYTES_MAX: usize = 18 * 1024;

/// What is known of the first message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// More is needed.
    More,
    /// It is whole: for this name, in lower case, or for none.
    For(Option<String>),
    /// It is none, or none that can be read.
    Other,
}

/// Reads the beginning of a connection.
pub fn read(bytes: &[u8]) -> Hello {
    match message(bytes) {
        Ok(Some(message)) => name(&message).map_or(Hello::Other, Hello::For),
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

/// The server name; `None`: the message makes no sense.
fn name(mut body: &[u8]) -> Option<Option<String>> {
    // Version and random.
    body = body.get(34..)?;
    // Session, cipher suites, compression.
    for width in [1, 2, 1] {
        vector(&mut body, width)?;
    }
    if body.is_empty() {
        return Some(None);
    }
    let mut extensions = vector(&mut body, 2)?;
    while let Some((kind, rest)) = extensions.split_first_chunk::<2>() {
        extensions = rest;
        let mut extension = vector(&mut extensions, 2)?;
        if *kind != [0, 0] {
            continue;
        }
        let mut names = vector(&mut extension, 2)?;
        let (kind, rest) = names.split_first()?;
        names = rest;
        let name = std::str::from_utf8(vector(&mut names, 2)?).ok().filter(|_| *kind == 0)?;
        return Some(Some(name.trim_end_matches('.').to_ascii_lowercase()));
    }
    Some(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(name: Option<&str>) -> Vec<u8> {
        let sized = |width: usize, bytes: &[u8]| [&bytes.len().to_be_bytes()[8 - width..], bytes].concat();
        let mut extensions = [&[0, 43][..], &sized(2, &[2, 3, 4])].concat();
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
        let message = hello(Some("Blog.Home.Example."));
        for size in [1, 7, 100, 4_000] {
            let bytes = records(&message, size);
            assert_eq!(read(&bytes), Hello::For(Some("blog.home.example".into())), "{size}");
            assert!((0..bytes.len()).all(|end| read(&bytes[..end]) == Hello::More), "{size}");
        }
        assert_eq!(read(&records(&hello(None), 4_000)), Hello::For(None));
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
        let good = records(&hello(Some("a.example")), 4_000);
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
