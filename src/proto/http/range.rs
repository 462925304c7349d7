//! Which part of a file a request wants, and whether it has it already.
//!
//! Source: RFC 9110 §13.1.2 (If-None-Match), §13.1.5 (If-Range), §14.2 (Range). Invariant: a part lies within the file.
//! More than one range is not served: the whole is (§14.2 allows it), so nobody can ask for the same bytes many times.

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// 200.
    Whole,
    /// 206: so many bytes from here.
    Some {
        /// The first byte.
        from: u64,
        /// How many, at least one.
        bytes: u64,
    },
    /// 304: they have it.
    Nothing,
    /// 416: it ends before.
    Beyond,
}

/// Decides what of `bytes` bytes is sent, by the request's headers of these names. `etag` has its quotes.
pub fn wanted(
    bytes: u64,
    etag: &str,
    range: Option<&str>,
    if_range: Option<&str>,
    if_none_match: Option<&str>,
) -> Part {
    // §13.1.2: compared weakly.
    let same = |one: &str| one == "*" || one.trim_start_matches("W/") == etag;
    if if_none_match.is_some_and(|list| list.split(',').any(|one| same(one.trim()))) {
        return Part::Nothing;
    }
    // §13.1.5: compared strongly; a date is never ours.
    match range {
        Some(range) if if_range.is_none_or(|known| known.trim() == etag) => part(range, bytes),
        _ => Part::Whole,
    }
}

fn part(range: &str, bytes: u64) -> Part {
    let Some((unit, spec)) = range.split_once('=') else { return Part::Whole };
    let Some((first, last)) = spec.trim().split_once('-') else { return Part::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || spec.contains(',') {
        return Part::Whole;
    }
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(first) || !digits(last) {
        return Part::Whole;
    }
    // Too large a number is beyond the end.
    let number = |text: &str| text.parse().unwrap_or(u64::MAX);
    match (first, last) {
        ("", "") => Part::Whole,
        ("", last) => match number(last).min(bytes) {
            0 => Part::Beyond,
            length => Part::Some { from: bytes - length, bytes: length },
        },
        (first, last) => {
            let (from, last) = (number(first), if last.is_empty() { u64::MAX } else { number(last) });
            if last < from {
                return Part::Whole;
            }
            if from >= bytes {
                return Part::Beyond;
            }
            Part::Some { from, bytes: last.min(bytes - 1) - from + 1 }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(range: &str) -> Part {
        wanted(1_000, "\"x\"", Some(range), None, None)
    }

    #[test]
    fn ranges_of_the_rfc() {
        // RFC 9110 §14.1.2.
        assert_eq!(of("bytes=0-499"), Part::Some { from: 0, bytes: 500 });
        assert_eq!(of("bytes=500-"), Part::Some { from: 500, bytes: 500 });
        assert_eq!(of("bytes=-300"), Part::Some { from: 700, bytes: 300 });
        assert_eq!(of("bytes=999-999"), Part::Some { from: 999, bytes: 1 });
        assert_eq!(of("bytes=0-9999999999999999999999"), Part::Some { from: 0, bytes: 1_000 });
    }

    #[test]
    fn ranges_beyond_the_end_are_refused_and_nonsense_is_overlooked() {
        for beyond in ["bytes=1000-", "bytes=1000-2000", "bytes=-0", "bytes=99999999999999999999-"] {
            assert_eq!(of(beyond), Part::Beyond, "{beyond}");
        }
        for odd in ["bytes=5-2", "bytes=0-1,5-9", "lines=1-2", "bytes", "bytes=-", "bytes=a-b", "bytes=+1-2", ""] {
            assert_eq!(of(odd), Part::Whole, "{odd}");
        }
        assert_eq!(wanted(0, "\"x\"", Some("bytes=0-"), None, None), Part::Beyond);
    }

    #[test]
    fn conditions_decide_before_ranges() {
        let tag = "\"x\"";
        for known in ["\"x\"", "W/\"x\"", "*", "\"a\", \"x\""] {
            assert_eq!(wanted(10, tag, Some("bytes=1-"), None, Some(known)), Part::Nothing, "{known}");
        }
        assert_eq!(wanted(10, tag, None, None, Some("\"y\"")), Part::Whole);
        assert_eq!(wanted(10, tag, Some("bytes=1-"), Some(tag), None), Part::Some { from: 1, bytes: 9 });
        assert_eq!(wanted(10, tag, Some("bytes=1-"), Some("\"y\""), None), Part::Whole);
        assert_eq!(wanted(10, tag, Some("bytes=1-"), Some("W/\"x\""), None), Part::Whole);
    }
}
