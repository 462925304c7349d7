//! What the first bytes of a picture tell: its type, and how large it is.
//!
//! Source: the headers of PNG (RFC 2083 §4.1.1), JPEG (T.81 §B.2.2), GIF (GIF89a §18) and WebP (RFC 9649 §2). Invariant:
//! the bytes are a stranger's; none is read outside of them, and the walk through JPEG's segments is bounded.

use crate::limits;

/// What a picture is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its content type.
    pub content_type: &'static str,
    /// Width and height in pixels; `None` if they could not be read.
    pub size: Option<(u32, u32)>,
}

/// Reads the header; `None`: of no type that is known here.
pub fn header(bytes: &[u8]) -> Option<Header> {
    let (content_type, size) = match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', rest @ ..] => ("image/png", png(rest)),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', rest @ ..] => ("image/gif", gif(rest)),
        [0xff, 0xd8, rest @ ..] => ("image/jpeg", jpeg(rest)),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', rest @ ..] => ("image/webp", webp(rest)),
        _ => return None,
    };
    Some(Header { content_type, size: size.filter(|(width, height)| *width > 0 && *height > 0) })
}

/// A big-endian number of up to four bytes.
fn big(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// A little-endian one.
fn little(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn png(bytes: &[u8]) -> Option<(u32, u32)> {
    let rest = bytes.get(4..)?.strip_prefix(b"IHDR")?;
    Some((big(rest.get(..4)?), big(rest.get(4..8)?)))
}

fn gif(bytes: &[u8]) -> Option<(u32, u32)> {
    Some((little(bytes.get(..2)?), little(bytes.get(2..4)?)))
}

/// Segments up to the one that begins a frame.
fn jpeg(mut bytes: &[u8]) -> Option<(u32, u32)> {
    for _ in 0..limits::JPEG_SEGMENTS_MAX {
        let (&[0xff, marker], rest) = bytes.split_first_chunk::<2>()? else { return None };
        bytes = match marker {
            // A byte that fills up, and markers without content.
            0xff => bytes.get(1..)?,
            0x01 | 0xd0..=0xd7 => rest,
            // Frames; 0xc4, 0xc8 and 0xcc are tables.
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                return Some((big(rest.get(5..7)?), big(rest.get(3..5)?)));
            }
            // The picture's data, or its end.
            0xda | 0xd9 => return None,
            _ => rest.get(big(rest.get(..2)?) as usize..)?,
        };
    }
    None
}

fn webp(bytes: &[u8]) -> Option<(u32, u32)> {
    let (chunk, rest) = bytes.split_first_chunk::<4>()?;
    let body = rest.get(4..)?;
    match chunk {
        b"VP8X" => Some((little(body.get(4..7)?) + 1, little(body.get(7..10)?) + 1)),
        b"VP8L" => {
            let bits = little(body.strip_prefix(&[0x2f])?.get(..4)?);
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        b"VP8 " => {
            let rest = body.get(3..)?.strip_prefix(&[0x9d, 0x01, 0x2a])?;
            Some((little(rest.get(..2)?) & 0x3fff, little(rest.get(2..4)?) & 0x3fff))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(content_type: &'static str, size: Option<(u32, u32)>) -> Option<Header> {
        Some(Header { content_type, size })
    }

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x40\0\0\x01\x02\x08\x06";
    const GIF: &[u8] = b"GIF89a\x10\0\x20\x01\xf7";
    // An APP0 segment, a table, a filling byte, and then the frame.
    const JPEG: &[u8] = b"\xff\xd8\xff\xe0\0\x04ab\xff\xc4\0\x03x\xff\xff\xc0\0\x11\x08\0\x30\0\x50\x03";
    const VP8X: &[u8] = b"RIFF....WEBPVP8X\x0a\0\0\0\x10\0\0\0\x3f\0\0\x1f\x01\0";
    const VP8L: &[u8] = b"RIFF....WEBPVP8L\0\0\0\0\x2f\x3f\xc0\x07\x10";
    const VP8: &[u8] = b"RIFF....WEBPVP8 \0\0\0\0\x30\x01\0\x9d\x01\x2a\x40\0\x20\x40";

    #[test]
    fn types_and_sizes_are_read_from_headers() {
        assert_eq!(header(PNG), of("image/png", Some((64, 258))));
        assert_eq!(header(GIF), of("image/gif", Some((16, 288))));
        assert_eq!(header(JPEG), of("image/jpeg", Some((80, 48))));
        assert_eq!(header(VP8X), of("image/webp", Some((64, 288))));
        assert_eq!(header(VP8L), of("image/webp", Some((64, 32))));
        assert_eq!(header(VP8), of("image/webp", Some((64, 32))));
        assert_eq!(header(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), None);
    }

    #[test]
    fn what_is_cut_short_has_no_size() {
        for whole in [PNG, GIF, JPEG, VP8X, VP8L, VP8] {
            let full = header(whole).unwrap();
            for end in 0..whole.len() {
                // Neither panics nor tells another size.
                let read = header(&whole[..end]);
                assert!(read.is_none_or(|read| read.size.is_none() || read == full), "{end} bytes of {full:?}");
            }
        }
        assert_eq!(header(b"GIF89a\0\0\x20\0"), of("image/gif", None), "no picture is that narrow");
    }

    #[test]
    fn a_jpeg_of_many_segments_is_given_up() {
        let with = |segments: usize| [&b"\xff\xd8"[..], &b"\xff\xfe\0\x02".repeat(segments), &JPEG[14..]].concat();
        assert_eq!(header(&with(limits::JPEG_SEGMENTS_MAX - 1)).unwrap().size, Some((80, 48)));
        assert_eq!(header(&with(limits::JPEG_SEGMENTS_MAX)).unwrap().size, None);
        // A segment of length 0 stays where it is.
        assert_eq!(header(b"\xff\xd8\xff\xe0\0\0").unwrap().size, None);
    }
}
