//! A picture as vCards and avatars hold it.
//!
//! Source: XEP-0054 v1.3.0 (`PHOTO`), XEP-0153 v1.1.1 §4.4 and §4.5, XEP-0084 v1.1.4 §4. Invariant: a [`Picture`] was
//! decoded from sound base64 and is not empty, its hash is that of its bytes, and its type is one of pictures.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use ring::digest;

use super::image;
use crate::{
    domain::photo::PictureHash,
    limits,
    wire::{
        element::{Element, Node},
        ns,
    },
};

/// A picture, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    bytes: Vec<u8>,
    content_type: String,
    size: Option<(u32, u32)>,
    /// By which it is known.
    pub hash: PictureHash,
}

/// What a vCard says about a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// There is none.
    Nothing,
    /// Something that is no picture to us: elsewhere, or not decodable.
    Unfit,
    /// This one.
    This(Picture),
}

/// A hash as ids and presence write it.
pub fn hex(hash: PictureHash) -> String {
    use std::fmt::Write;
    hash.iter().fold(String::with_capacity(40), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

impl Picture {
    /// Decodes one. `None`: not base64, empty, or of no type that is known.
    fn decode(text: &str, claimed: Option<&str>) -> Option<Picture> {
        // XEP-0153 §4.5, rule 5, XEP-0084 §4.1: line feeds are accepted.
        let text: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).collect();
        let bytes = BASE64.decode(text).ok().filter(|bytes| !bytes.is_empty())?;
        let header = image::header(&bytes);
        // XEP-0398 §3.2: the type that the vCard says. Old ones say `PNG`, or nothing.
        let is_type = |ty: &&str| ty.starts_with("image/") && ty.len() <= limits::CONTENT_TYPE_BYTES_MAX;
        let claimed = claimed.map(str::trim).filter(is_type);
        let content_type = claimed.or(header.map(|header| header.content_type))?.to_owned();
        let mut hash = [0; 20];
        hash.copy_from_slice(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &bytes).as_ref());
        Some(Picture { bytes, content_type, size: header.and_then(|header| header.size), hash })
    }

    /// The one that a vCard shows: the first, if there are several.
    pub fn in_vcard(vcard: &Element) -> Shown {
        let Some(photo) = vcard.find("PHOTO", ns::VCARD) else { return Shown::Nothing };
        let text = photo.leaf_text("BINVAL").unwrap_or_default();
        if text.trim().is_empty() {
            // XEP-0153 §4.3: an empty BINVAL is how a client takes its picture away.
            return if photo.find("EXTVAL", ns::VCARD).is_some() { Shown::Unfit } else { Shown::Nothing };
        }
        Picture::decode(&text, photo.leaf_text("TYPE").as_deref()).map_or(Shown::Unfit, Shown::This)
    }

    /// The one that the item of the data node holds, XEP-0084 §4.1.
    pub fn in_data(data: &Element, content_type: Option<&str>) -> Option<Picture> {
        data.is("data", ns::AVATAR_DATA).then(|| Picture::decode(&data.content(), content_type))?
    }

    /// The element of a vCard.
    pub fn photo(&self) -> Element {
        Element::new("PHOTO", ns::VCARD)
            .leaf("TYPE", self.content_type.as_str())
            .leaf("BINVAL", BASE64.encode(&self.bytes))
    }

    /// XEP-0084 §4.1.
    pub fn data(&self) -> Element {
        Element::new("data", ns::AVATAR_DATA).text(BASE64.encode(&self.bytes))
    }

    /// XEP-0084 §4.2.
    pub fn metadata(&self) -> Element {
        let pixels = |side: fn((u32, u32)) -> u32| self.size.map(|size| side(size).to_string());
        let info = Element::new("info", ns::AVATAR_METADATA)
            .attr("bytes", self.bytes.len().to_string())
            .attr_if("height", pixels(|(_, height)| height))
            .attr("id", hex(self.hash))
            .attr("type", self.content_type.as_str())
            .attr_if("width", pixels(|(width, _)| width));
        Element::new("metadata", ns::AVATAR_METADATA).child(info)
    }
}

/// Puts a picture into a vCard, where the first one was, or takes all of them out; the rest stays as it is.
pub fn replace(vcard: &mut Element, picture: Option<&Picture>) {
    let is_photo = |node: &Node| matches!(node, Node::Element(child) if child.is("PHOTO", ns::VCARD));
    let at = vcard.nodes.iter().position(is_photo).unwrap_or(vcard.nodes.len());
    vcard.nodes.retain(|node| !is_photo(node));
    if let Some(picture) = picture {
        vcard.nodes.insert(at, Node::Element(picture.photo()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(photo: &str) -> Shown {
        Picture::in_vcard(&Element::parse(format!("<vCard xmlns='vcard-temp'>{photo}</vCard>").as_bytes(), "").unwrap())
    }

    #[test]
    fn a_photo_is_read_as_loosely_as_base64_allows() {
        let Shown::This(picture) = shown("<PHOTO><TYPE>image/png</TYPE><BINVAL>\n  YWJj\r\n\tZA==\n</BINVAL></PHOTO>")
        else {
            panic!("it is sound")
        };
        // `printf abcd | sha1sum`
        assert_eq!(hex(picture.hash), "81fe8bfe87576c3ecb22426f8e57847382917acf");
        let info = "<info xmlns='urn:xmpp:avatar:metadata' bytes='4' id='81fe8bfe87576c3ecb22426f8e57847382917acf' \
                    type='image/png'/>";
        let metadata = picture.metadata();
        assert_eq!(String::from_utf8(metadata.children().next().unwrap().to_vec()).unwrap(), info);
        assert_eq!(Picture::in_data(&picture.data(), Some("image/png")), Some(picture));
    }

    #[test]
    fn what_is_no_picture_is_left_alone() {
        assert_eq!(shown(""), Shown::Nothing);
        assert_eq!(shown("<PHOTO/>"), Shown::Nothing);
        assert_eq!(shown("<PHOTO><TYPE>image/png</TYPE><BINVAL> </BINVAL></PHOTO>"), Shown::Nothing);
        let long = "x".repeat(limits::CONTENT_TYPE_BYTES_MAX);
        for unfit in [
            "<PHOTO><EXTVAL>http://example.org/x.png</EXTVAL></PHOTO>",
            "<PHOTO><TYPE>image/png</TYPE><BINVAL>YW*j</BINVAL></PHOTO>",
            "<PHOTO><TYPE>image/png</TYPE><BINVAL>YWJjZA=</BINVAL></PHOTO>",
            "<PHOTO><BINVAL>YWJj</BINVAL></PHOTO>",
            "<PHOTO><TYPE>text/html</TYPE><BINVAL>YWJj</BINVAL></PHOTO>",
            &format!("<PHOTO><TYPE>image/{long}</TYPE><BINVAL>YWJj</BINVAL></PHOTO>"),
        ] {
            assert_eq!(shown(unfit), Shown::Unfit, "{unfit}");
        }
    }

    #[test]
    fn a_type_that_is_not_told_is_read_from_the_picture() {
        let gif = BASE64.encode(b"GIF89a\x10\0\x20\0;");
        for ty in ["", "<TYPE>GIF</TYPE>"] {
            let Shown::This(picture) = shown(&format!("<PHOTO>{ty}<BINVAL>{gif}</BINVAL></PHOTO>")) else {
                panic!("a GIF")
            };
            let metadata = String::from_utf8(picture.metadata().to_vec()).unwrap();
            assert!(metadata.contains("height='32'") && metadata.contains("type='image/gif' width='16'"), "{metadata}");
        }
    }
}
