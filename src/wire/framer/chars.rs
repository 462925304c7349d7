//! Characters: which may stand where, where a run of harmless ones ends, and references to them.
//!
//! Source: XML 1.0 (5th edition) productions \[2\] Char, \[4\] NameStartChar, \[4a\] NameChar, \[66\] CharRef; RFC 6120
//! §11.1 for the five entities. Invariant: a check answers the same however often the bytes before it were cut.

use std::borrow::Cow;

use super::fault::Fault;

/// May begin a name; every byte from 0x80 passes here and is judged by [`check_name`].
pub const NAME_START: u8 = 1;
/// May continue a name, the colon apart.
pub const NAME: u8 = 2;
/// White space, XML production \[3\] S.
pub const SPACE: u8 = 4;
/// Ends a run of text: `<`, `&`, `>` and control characters.
const STOP_TEXT: u8 = 8;
/// Ends a run inside an attribute value: `<`, `&`, quotes and control characters.
const STOP_VALUE: u8 = 16;
/// Ends a run inside CDATA: `]` and control characters.
const STOP_CDATA: u8 = 32;
/// Ends a run while a tag's end is looked for: `<`, `>`, quotes and control characters.
const STOP_TAG: u8 = 64;

/// Longest reference from `&` to `;` in bytes. The five entities need 6 and `&#x10FFFF;` 10; the rest is leading
/// zeros.
const REFERENCE_BYTES_MAX: usize = 24;

/// The classes that a byte belongs to.
pub static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'\t' | b'\n' | b'\r' | b' ' => SPACE,
            0..=0x1F => STOP_TEXT | STOP_VALUE | STOP_CDATA | STOP_TAG,
            b'<' => STOP_TEXT | STOP_VALUE | STOP_TAG,
            b'&' => STOP_TEXT | STOP_VALUE,
            b'>' => STOP_TEXT | STOP_TAG,
            b'\'' | b'"' => STOP_VALUE | STOP_TAG,
            b']' => STOP_CDATA,
            b'A'..=b'Z' | b'a'..=b'z' | b'_' | 0x80..=0xFF => NAME_START | NAME,
            b'0'..=b'9' | b'-' | b'.' => NAME,
            _ => 0,
        };
        byte += 1;
    }
    table
}

/// Whether the byte belongs to one of the classes in `mask`.
#[inline(always)]
pub fn is(byte: u8, mask: u8) -> bool {
    CLASS[byte as usize] & mask != 0
}

/// Bytes looked at together; the compiler turns the test of a block into vector instructions.
const BLOCK: usize = 16;

/// The first place from `at` whose byte is in `mask`. `hit` must hold for every such byte; where it holds for
/// others too, that costs time only.
#[inline(always)]
fn run(bytes: &[u8], mut at: usize, mask: u8, hit: impl Fn(u8) -> bool) -> usize {
    loop {
        while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<BLOCK>()) {
            if block.iter().fold(false, |any, &byte| any | hit(byte)) {
                break;
            }
            at += BLOCK;
        }
        let end = bytes.len().min(at + BLOCK);
        while at < end {
            if is(bytes[at], mask) {
                return at;
            }
            at += 1;
        }
        if at >= bytes.len() {
            return at;
        }
    }
}

/// End of a run of plain text.
#[inline]
pub fn text_end(bytes: &[u8], at: usize) -> usize {
    run(bytes, at, STOP_TEXT, |b| (b < 0x20) | (b == b'<') | (b == b'&') | (b == b'>'))
}

/// End of a run inside an attribute value.
#[inline]
pub fn value_end(bytes: &[u8], at: usize) -> usize {
    run(bytes, at, STOP_VALUE, |b| (b < 0x20) | (b == b'<') | (b == b'&') | (b == b'\'') | (b == b'"'))
}

/// End of a run inside CDATA.
#[inline]
pub fn cdata_end(bytes: &[u8], at: usize) -> usize {
    run(bytes, at, STOP_CDATA, |b| (b < 0x20) | (b == b']'))
}

/// End of a run that cannot end a tag.
#[inline]
pub fn tag_run_end(bytes: &[u8], at: usize) -> usize {
    run(bytes, at, STOP_TAG, |b| (b < 0x20) | (b == b'<') | (b == b'>') | (b == b'\'') | (b == b'"'))
}

/// End of a run of white space.
#[inline(always)]
pub fn space_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && is(bytes[at], SPACE) {
        at += 1;
    }
    at
}

/// Judges a name without colon that holds bytes outside ASCII.
pub fn check_name(name: &[u8]) -> Result<(), Fault> {
    let name = std::str::from_utf8(name).map_err(|_| Fault::Encoding)?;
    let mut chars = name.chars();
    let legal = chars.next().is_some_and(is_name_start) && chars.all(|c| is_name_start(c) || is_name_rest(c));
    if legal { Ok(()) } else { Err(Fault::Malformed("a name holds a character that names cannot hold")) }
}

/// NameStartChar without the colon.
fn is_name_start(c: char) -> bool {
    matches!(c, 'A'..='Z' | '_' | 'a'..='z'
        | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{2FF}' | '\u{370}'..='\u{37D}'
        | '\u{37F}'..='\u{1FFF}' | '\u{200C}'..='\u{200D}' | '\u{2070}'..='\u{218F}' | '\u{2C00}'..='\u{2FEF}'
        | '\u{3001}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}' | '\u{10000}'..='\u{EFFFF}')
}

/// What NameChar has beyond NameStartChar.
fn is_name_rest(c: char) -> bool {
    matches!(c, '-' | '.' | '0'..='9' | '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}')
}

/// Checks that `bytes` are UTF-8 without U+FFFE and U+FFFF; control characters are others' business. Gives the
/// length of the checked part: a character that is cut off at the end is left for later.
///
/// # Errors
/// Whichever violation stands first.
pub fn check_encoding(bytes: &[u8]) -> Result<usize, Fault> {
    let (valid, broken) = match std::str::from_utf8(bytes) {
        Ok(_) => (bytes.len(), false),
        Err(error) => (error.valid_up_to(), error.error_len().is_some()),
    };
    for at in memchr::memchr_iter(0xEF, &bytes[..valid]) {
        // U+FFFE is EF BF BE, U+FFFF is EF BF BF; in valid UTF-8 0xEF always begins a character.
        if let Some([_, 0xBF, 0xBE | 0xBF]) = bytes[at..valid].first_chunk::<3>() {
            return Err(Fault::Malformed("U+FFFE and U+FFFF are no characters"));
        }
    }
    if broken { Err(Fault::Encoding) } else { Ok(valid) }
}

/// Production \[2\] Char.
fn is_char(code: u32) -> bool {
    matches!(code, 0x9 | 0xA | 0xD | 0x20..=0xD7FF | 0xE000..=0xFFFD | 0x10000..=0x10FFFF)
}

/// What a reference came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// The character, and the length from `&` to behind `;`.
    Char(char, usize),
    /// A prefix of a reference.
    More,
    /// No reference; with the index of the byte that decided.
    Bad(usize, Fault),
}

/// Reads the reference at the start of `bytes`, whose first byte is `&`.
pub fn reference(bytes: &[u8]) -> Reference {
    match bytes.get(1) {
        None => Reference::More,
        Some(b'#') => numeric(bytes),
        Some(_) => named(bytes),
    }
}

fn numeric(bytes: &[u8]) -> Reference {
    const MALFORMED: Fault = Fault::Malformed("malformed character reference");
    let (radix, first) = match bytes.get(2) {
        None => return Reference::More,
        Some(b'x') => (16, 3),
        Some(_) => (10, 2),
    };
    let mut code = 0u32;
    for at in first..REFERENCE_BYTES_MAX {
        let Some(&byte) = bytes.get(at) else { return Reference::More };
        if byte == b';' && at > first {
            return match char::from_u32(code).filter(|_| is_char(code)) {
                Some(c) => Reference::Char(c, at + 1),
                None => Reference::Bad(at, Fault::Malformed("reference to a character that XML does not know")),
            };
        }
        let Some(digit) = char::from(byte).to_digit(radix) else { return Reference::Bad(at, MALFORMED) };
        code = code.saturating_mul(radix).saturating_add(digit);
    }
    Reference::Bad(REFERENCE_BYTES_MAX - 1, Fault::Policy("character reference too long"))
}

fn named(bytes: &[u8]) -> Reference {
    const ENTITIES: [(&[u8], char); 5] =
        [(b"amp;", '&'), (b"lt;", '<'), (b"gt;", '>'), (b"quot;", '"'), (b"apos;", '\'')];
    let rest = &bytes[1..];
    // How far the nearest of the five goes along with what was sent.
    let mut agreed = 0;
    for (entity, c) in ENTITIES {
        let common = entity.iter().zip(rest).take_while(|(a, b)| a == b).count();
        if common == entity.len() {
            return Reference::Char(c, common + 1);
        }
        agreed = agreed.max(common);
    }
    match rest.get(agreed) {
        None => Reference::More,
        // RFC 6120 §11.1: no entity but the five.
        Some(&byte) if is(byte, if agreed == 0 { NAME_START } else { NAME }) || (byte == b';' && agreed > 0) => {
            Reference::Bad(agreed + 1, Fault::Restricted("only the five predefined entities are allowed"))
        }
        Some(_) => Reference::Bad(agreed + 1, Fault::Malformed("'&' begins no reference")),
    }
}

/// The value that a validated attribute means: references resolved, white space normalised (XML 1.0 §3.3.3 and
/// §2.11). What is no reference stays as it stands.
pub fn unescape(raw: &str) -> Cow<'_, str> {
    let odd = |b: u8| matches!(b, b'&' | b'\t' | b'\n' | b'\r');
    if !raw.bytes().any(odd) {
        return Cow::Borrowed(raw);
    }
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.bytes().position(odd) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let taken = match reference(rest.as_bytes()) {
            Reference::Char(c, len) if rest.starts_with('&') => {
                out.push(c);
                len
            }
            _ if rest.starts_with('&') => {
                out.push('&');
                1
            }
            _ => {
                out.push(' ');
                if rest.starts_with("\r\n") { 2 } else { 1 }
            }
        };
        rest = &rest[taken..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}
