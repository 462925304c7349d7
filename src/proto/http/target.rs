//! The target of a request: the path as decoded segments, and the query.
//!
//! Source: RFC 9112 §3.2, RFC 3986 §2.1 and §3.3. Invariant (S39): a segment is valid UTF-8 without separators, NUL or
//! other controls, and never `.` or `..`, in whichever way it was written; so none of them can lead out of a folder.

use std::fmt::Write;

/// Bytes of a target: the longest that we hand out ourselves is a slot with a long file name.
pub const TARGET_BYTES_MAX: usize = 4 * 1024;
/// Segments of a path; ours have three.
const SEGMENTS_MAX: usize = 16;

/// A target that may be looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The path between its slashes, decoded. `/` has none; `/i/` has one.
    pub segments: Vec<String>,
    /// Whether the path ends with a slash.
    pub is_folder: bool,
    /// What stands behind `?`, as it came; empty if nothing.
    pub query: String,
}

impl Target {
    /// Reads the path and the query of a target in origin form. `None`: it is malformed or tries to lead elsewhere.
    pub fn parse(target: &str) -> Option<Target> {
        if target.len() > TARGET_BYTES_MAX {
            return None;
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = path.strip_prefix('/')?;
        let mut segments = Vec::new();
        let is_folder = path.is_empty() || path.ends_with('/');
        for raw in path.strip_suffix('/').unwrap_or(path).split('/') {
            if raw.is_empty() && path.is_empty() {
                break;
            }
            if segments.len() >= SEGMENTS_MAX {
                return None;
            }
            segments.push(segment(raw)?);
        }
        Some(Target { segments, is_folder, query: query.to_owned() })
    }

    /// The segments, to be matched.
    pub fn path(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    /// The first value of this name in the query, decoded as a form is (`+` is a space).
    pub fn parameter(&self, name: &str) -> Option<String> {
        form_value(&self.query, name)
    }
}

/// The first value of this name in `application/x-www-form-urlencoded` text.
pub fn form_value(text: &str, name: &str) -> Option<String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next()?;
    decode(&value.replace('+', " "))
}

fn segment(raw: &str) -> Option<String> {
    let text = decode(raw)?;
    let forbidden = |c: char| c == '/' || c == '\\' || c.is_control();
    let leads_elsewhere = matches!(text.as_str(), "" | "." | "..");
    // What is still escaped after one decoding was escaped twice, to be decoded by somebody behind us.
    let escaped_twice = text.contains('%') && decode(&text).is_some_and(|again| again.contains(['/', '\\', '.', '\0']));
    (!leads_elsewhere && !escaped_twice && !text.contains(forbidden)).then_some(text)
}

/// Percent-decodes; `None` if a `%` is not followed by two digits, or the outcome is no UTF-8.
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                (high * 16 + low) as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Percent-encodes all but what RFC 3986 §2.3 calls unreserved: fit for a segment and for a query.
pub fn encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => {
                let _ = write!(out, "%{other:02X}");
            }
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_comes_apart() {
        let target = Target::parse("/upload/a%20b/tr%C3%A8s.jpg?slot=x%2By&z=1").unwrap();
        assert_eq!(target.path(), ["upload", "a b", "très.jpg"]);
        assert_eq!(target.parameter("slot").as_deref(), Some("x+y"));
        assert_eq!(Target::parse("/").unwrap(), Target { is_folder: true, ..Target::default() });
        assert_eq!(Target::parse("/i/").unwrap().path(), ["i"]);
    }

    #[test]
    fn nothing_leads_out_of_a_folder() {
        // S39: percent-, double-, UTF-16-style-encoded and backslash forms.
        for hostile in [
            "/a/../b",
            "/a/./b",
            "/..",
            "/%2e%2e/x",
            "/%2E./x",
            "/a//b",
            "//",
            "/a%2fb",
            "/a%5Cb",
            "/a\\b",
            "/%252e%252e/x",
            "/a%252fb",
            "/%00",
            "/a%0d%0ab",
            "/%u002e%u002e/x",
            "/%c0%ae%c0%ae/x",
            "/%zz",
            "/%",
            "/%2",
            "x",
            "*",
            "",
            "http://elsewhere/x",
            "/%ff",
        ] {
            assert_eq!(Target::parse(hostile), None, "{hostile}");
        }
        assert!(Target::parse(&format!("/{}", "a".repeat(TARGET_BYTES_MAX))).is_none());
        assert!(Target::parse(&"/a".repeat(SEGMENTS_MAX + 1)).is_none());
    }

    #[test]
    fn a_percent_sign_in_a_name_is_no_attack() {
        assert_eq!(Target::parse("/u/100%25.jpg").unwrap().path(), ["u", "100%.jpg"]);
    }

    #[test]
    fn encoded_text_comes_back() {
        for text in ["très cool.jpg", "a/b?c#d", "100%", "~-_."] {
            assert_eq!(decode(&encode(text)).as_deref(), Some(text));
        }
    }
}
