//! Pictures: as a vCard holds them, as PEP does, and what their first bytes say.
//!
//! Source: XEP-0054 §3, XEP-0084 §4, XEP-0153 §3. Invariant: only bytes that are there are looked at, whatever they claim.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::digest;

use crate::wire::{element::Element, ns};

/// A picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Photo {
    /// What it is, `image/png` for one.
    pub kind: String,
    /// The picture itself.
    pub bytes: Vec<u8>,
}

impl Photo {
    /// The picture in a vCard; one that is elsewhere (`EXTVAL`), or is no base64, is none.
    pub fn of(vcard: &Element) -> Option<Photo> {
        let photo = vcard.find("PHOTO", ns::VCARD)?;
        let bytes = decoded(&photo.leaf_text("BINVAL")?)?;
        let kind = photo.leaf_text("TYPE").map(|kind| kind.trim().to_owned()).filter(|kind| kind.starts_with("image/"));
        let kind = kind.unwrap_or_else(|| kind_of(&bytes).to_owned());
        Some(Photo { kind, bytes })
    }

    /// The picture in an item of the node for data.
    pub fn of_data(data: &Element, kind: &str) -> Option<Photo> {
        let bytes = data.is("data", ns::AVATAR_DATA).then(|| decoded(&data.content()))??;
        Some(Photo { kind: kind.to_owned(), bytes })
    }

    /// SHA-1, by which both know it.
    pub fn hash(&self) -> [u8; 20] {
        let print = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &self.bytes);
        print.as_ref().first_chunk().copied().unwrap_or_default()
    }

    /// As a vCard holds it.
    pub fn in_vcard(&self) -> Element {
        let photo = Element::new("PHOTO", ns::VCARD).leaf("TYPE", self.kind.as_str());
        photo.leaf("BINVAL", STANDARD.encode(&self.bytes))
    }

    /// The payload for the node for data.
    pub fn data(&self) -> Element {
        Element::new("data", ns::AVATAR_DATA).text(STANDARD.encode(&self.bytes))
    }

    /// The payload for the node for metadata.
    pub fn metadata(&self) -> Element {
        let size = size_of(&self.bytes);
        let info = Element::new("info", ns::AVATAR_METADATA)
            .attr("id", hex(&self.hash()))
            .attr("type", self.kind.as_str())
            .attr("bytes", self.bytes.len().to_string())
            .attr_if("width", size.map(|(width, _)| width.to_string()))
            .attr_if("height", size.map(|(_, height)| height.to_string()));
        Element::new("metadata", ns::AVATAR_METADATA).child(info)
    }
}

/// In hexadecimal, lower case.
pub(super) fn hex(hash: &[u8]) -> String {
    hash.iter().fold(String::with_capacity(40), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// RFC 2045 allows line breaks (XEP-0054 is older than RFC 4648).
fn decoded(text: &str) -> Option<Vec<u8>> {
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(text).ok().filter(|bytes| !bytes.is_empty())
}

fn kind_of(bytes: &[u8]) -> &'static str {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'G', b'I', b'F', b'8', ..] => "image/gif",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        _ => "image/png",
    }
}

/// Width and height, where the head of the file says so in a simple way.
fn size_of(bytes: &[u8]) -> Option<(u32, u32)> {
    let at = |from: usize, len: usize| bytes.get(from..from + len);
    let big = |part: &[u8]| part.iter().fold(0u32, |n, byte| n << 8 | u32::from(*byte));
    let size = match kind_of(bytes) {
        "image/jpeg" => jpeg_size(bytes)?,
        "image/gif" => {
            let [a, b, c, d] = *at(6, 4)?.first_chunk()?;
            (u32::from(u16::from_le_bytes([a, b])), u32::from(u16::from_le_bytes([c, d])))
        }
        "image/png" if bytes.starts_with(b"\x89PNG\r\n\x1a\n") => (big(at(16, 4)?), big(at(20, 4)?)),
        _ => return None,
    };
    // XEP-0084 §4.2.1: unsigned short.
    (1..=65_535).contains(&size.0).then_some(size).filter(|size| (1..=65_535).contains(&size.1))
}

/// The first frame header, ITU T.81 §B.2.2; segments before it are passed over by their lengths.
fn jpeg_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut rest = bytes.get(2..)?;
    loop {
        let (&[mark, code, high, low], _) = rest.split_first_chunk::<4>()?;
        if mark != 0xff {
            return None;
        }
        if matches!(code, 0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf) {
            let [_, a, b, c, d] = *rest.get(4..)?.first_chunk()?;
            return Some((u32::from(u16::from_be_bytes([c, d])), u32::from(u16::from_be_bytes([a, b]))));
        }
        // A segment is at least as long as its length, so this ends.
        let length = usize::from(u16::from_be_bytes([high, low])).max(2);
        rest = rest.get(2 + length..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_picture_is_read_from_its_head() {
        let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        png.extend_from_slice(&[0, 0, 0, 64, 0, 0, 0, 48]);
        assert_eq!(size_of(&png), Some((64, 48)));
        assert_eq!(size_of(b"GIF89a\x20\x00\x10\x00"), Some((32, 16)));
        let jpeg = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x11\x08\x00\x30\x00\x40";
        assert_eq!(size_of(jpeg), Some((64, 48)));
        for picture in [&png[..], jpeg] {
            for end in 0..picture.len() {
                let _ = size_of(&picture[..end]);
            }
        }
        assert_eq!(size_of(b"\xff\xd8\xff\xe0\x00\x00\xff\xe0\x00\x00"), None);
    }
}
