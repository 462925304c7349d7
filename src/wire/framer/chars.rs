//! Which bytes and characters XML 1.0 (5th edition) allows where.

/// What a byte may be in content or in an attribute value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// Nothing to look at.
    Plain,
    /// `<`
    Lt,
    /// `&`
    Amp,
    /// `]`, which may begin `]]>`.
    Bracket,
    /// May begin U+FFFE or U+FFFF.
    Ef,
    /// Forbidden control character.
    Control,
}

/// Class of every byte.
pub static CLASS: [Class; 256] = {
    let mut table = [Class::Plain; 256];
    let mut byte = 0;
    while byte < 0x20 {
        if !matches!(byte as u8, b'\t' | b'\n' | b'\r') {
            table[byte] = Class::Control;
        }
        byte += 1;
    }
    table[b'<' as usize] = Class::Lt;
    table[b'&' as usize] = Class::Amp;
    table[b']' as usize] = Class::Bracket;
    table[0xEF] = Class::Ef;
    table
};

/// White space, XML 1.0 §2.3.
pub const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Bytes that may begin a name; those from 0x80 on are judged as characters later.
pub const fn begins_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

/// Bytes that may go on a name (without colon).
pub const fn continues_name(byte: u8) -> bool {
    begins_name(byte) || byte.is_ascii_digit() || byte == b'-' || byte == b'.'
}

/// Whether a name part that holds bytes outside ASCII is a name (XML 1.0 §2.3, NameStartChar and NameChar).
pub fn is_name(part: &str) -> bool {
    let mut chars = part.chars();
    chars.next().is_some_and(begins) && chars.all(|c| begins(c) || goes_on(c))
}

fn begins(c: char) -> bool {
    matches!(c, 'A'..='Z' | 'a'..='z' | '_'
        | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{2FF}' | '\u{370}'..='\u{37D}'
        | '\u{37F}'..='\u{1FFF}' | '\u{200C}'..='\u{200D}' | '\u{2070}'..='\u{218F}' | '\u{2C00}'..='\u{2FEF}'
        | '\u{3001}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}' | '\u{10000}'..='\u{EFFFF}')
}

fn goes_on(c: char) -> bool {
    matches!(c, '0'..='9' | '-' | '.' | '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}')
}

/// Whether a number stands for a character that XML 1.0 allows (§2.2).
pub fn is_char(number: u32) -> bool {
    matches!(number, 0x9 | 0xA | 0xD | 0x20..=0xD7FF | 0xE000..=0xFFFD | 0x1_0000..=0x10_FFFF)
}

/// A reference at the start of `bytes`, which begin with `&`: its length if it is one of the five entities or a legal
/// character; `Ok(None)`: the bytes end before it does.
pub fn reference(bytes: &[u8]) -> Result<Option<usize>, ()> {
    const LONGEST: usize = 12;
    let Some(end) = bytes.iter().take(LONGEST).position(|b| *b == b';') else {
        return if bytes.len() >= LONGEST { Err(()) } else { Ok(None) };
    };
    let number = |digits: &[u8], radix: u32| {
        let text = std::str::from_utf8(digits).map_err(drop)?;
        let plain = !text.starts_with('+');
        u32::from_str_radix(text, radix).ok().filter(|n| plain && is_char(*n)).map(|_| ()).ok_or(())
    };
    match &bytes[1..end] {
        b"lt" | b"gt" | b"amp" | b"apos" | b"quot" => {}
        [b'#', b'x', hex @ ..] => number(hex, 16)?,
        [b'#', decimal @ ..] => number(decimal, 10)?,
        _ => return Err(()),
    }
    Ok(Some(end + 1))
}
