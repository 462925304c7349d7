//! The slow path for the rare element that cannot be passed on as it came: it leans on the stream header, or puts a
//! prefix on the content namespace, or writes a namespace name with references.
//!
//! Source: RFC 6120 §4.8.5 ("MUST ensure that such namespaces are properly declared", "without first correcting the
//! error"). Invariant: the result means the same on any stream with the same content namespace.

use super::{
    fault::Fault,
    scope::{Default, Scope},
};
use crate::wire::{build, element::Element, stanza::Outline};

/// The element with the declarations of the stream header that it uses put on its own tag.
pub fn declare(bytes: &[u8], outline: &Outline, scope: &Scope, used: u32) -> Vec<u8> {
    let (head, tail) = bytes.split_at(outline.name.end as usize);
    let mut out = Vec::with_capacity(bytes.len() + 64);
    out.extend_from_slice(head);
    for (name, uri) in scope.declarations(used) {
        build::attr(&name, uri, &mut out);
    }
    out.extend_from_slice(tail);
    out
}

/// The element written anew, without any prefix and with declarations only where the namespace changes. Attributes
/// with a prefix other than `xml` are lost.
///
/// # Errors
/// [`Fault::Internal`] if it cannot be read, which the scan excludes.
pub fn rebuild(bytes: &[u8], scope: &Scope) -> Result<Vec<u8>, Fault> {
    let outer = match scope.default() {
        Default::Content => scope.content(),
        Default::None | Default::Foreign => "",
    };
    let tree = Element::parse(bytes, outer).map_err(|_| Fault::Internal)?;
    let mut out = Vec::with_capacity(bytes.len());
    tree.write(scope.content(), &mut out);
    Ok(out)
}
