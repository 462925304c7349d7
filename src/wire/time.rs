//! Date and time as XEP-0082 v1.1 writes them, a profile of ISO 8601.
//!
//! Invariant: what [`stamp`] and [`stamp_ms`] write, [`parse`] reads back to the same instant, and nothing here reads
//! a clock. An instant is milliseconds since 1970-01-01T00:00:00Z; times before it do not occur in chat.

/// Room for `9999-12-31T23:59:59.999Z`.
pub type Stamp = heapless::String<24>;

/// The last instant that four digits of a year can write.
const LAST_MS: u64 = 253_402_300_799_999;
const DAY_MS: u64 = 86_400_000;

/// UTC to the second: `2002-09-10T23:08:25Z`, XEP-0082 §3.2. Instants behind the year 9999 are written as its last.
pub fn stamp(unix_ms: u64) -> Stamp {
    written(unix_ms, false)
}

/// UTC to the millisecond: `2002-09-10T23:08:25.042Z`.
pub fn stamp_ms(unix_ms: u64) -> Stamp {
    written(unix_ms, true)
}

fn written(unix_ms: u64, with_millis: bool) -> Stamp {
    let unix_ms = unix_ms.min(LAST_MS);
    let (year, month, day) = civil_from_days(unix_ms / DAY_MS);
    let ms = unix_ms % DAY_MS;
    let mut out = Stamp::new();
    let fields = [
        (year, 4, '-'),
        (month, 2, '-'),
        (day, 2, 'T'),
        (ms / 3_600_000, 2, ':'),
        (ms / 60_000 % 60, 2, ':'),
        (ms / 1_000 % 60, 2, if with_millis { '.' } else { 'Z' }),
        (ms % 1_000, 3, 'Z'),
    ];
    for (value, width, behind) in &fields[..if with_millis { 7 } else { 6 }] {
        for place in (0..*width).rev() {
            // The capacity is that of the longest form, so that no push can fail.
            let _ = out.push((b'0' + (value / 10u64.pow(place) % 10) as u8) as char);
        }
        let _ = out.push(*behind);
    }
    out
}

/// Reads `CCYY-MM-DDThh:mm:ss[.sss]TZD`, where TZD is `Z` or `(+|-)hh:mm` (XEP-0082 §3.2).
///
/// Digits behind the millisecond are cut off. A leap second counts as the second that follows it. `None` if the text
/// is no such time, or one before 1970 or behind 9999.
pub fn parse(text: &str) -> Option<u64> {
    let mut rest = text.as_bytes();
    let year = number(&mut rest, 4, Some(b'-'))?;
    let month = number(&mut rest, 2, Some(b'-'))?;
    let day = number(&mut rest, 2, Some(b'T'))?;
    let hour = number(&mut rest, 2, Some(b':'))?;
    let minute = number(&mut rest, 2, Some(b':'))?;
    let second = number(&mut rest, 2, None)?;
    let fits = (1..=12).contains(&month) && (1..=month_days(year, month)).contains(&day);
    if !fits || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let millis = fraction(&mut rest)?;
    let offset = offset_minutes(rest)?;
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset * 60;
    u64::try_from(seconds * 1_000 + millis).ok().filter(|ms| *ms <= LAST_MS)
}

/// Takes exactly `width` digits and the byte that has to follow them.
fn number(rest: &mut &[u8], width: usize, behind: Option<u8>) -> Option<i64> {
    let (digits, tail) = rest.split_at_checked(width)?;
    let mut value = 0;
    for digit in digits {
        value = value * 10 + i64::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    *rest = match behind {
        Some(byte) => tail.strip_prefix(&[byte])?,
        None => tail,
    };
    Some(value)
}

fn fraction(rest: &mut &[u8]) -> Option<i64> {
    let Some(digits) = rest.strip_prefix(b".") else { return Some(0) };
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let first_three = digits[..count].iter().chain(b"000").take(3);
    let millis = first_three.fold(0, |millis, digit| millis * 10 + i64::from(digit - b'0'));
    *rest = &digits[count..];
    (count > 0).then_some(millis)
}

fn offset_minutes(mut rest: &[u8]) -> Option<i64> {
    if rest == b"Z" {
        return Some(0);
    }
    let sign = match rest.first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    rest = &rest[1..];
    let hours = number(&mut rest, 2, Some(b':'))?;
    let minutes = number(&mut rest, 2, None)?;
    (rest.is_empty() && hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar. Years begin in March here, so that the leap day is the
/// last of its year and the months' lengths follow one line.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, in_era) = (year.div_euclid(400), year.rem_euclid(400));
    let in_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719_468
}

/// Year, month and day of a day since 1970-01-01; the way back of [`days_from_civil`].
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, in_era) = (days / 146_097, days % 146_097);
    let year = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * in_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    (year, month, in_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_are_written() {
        assert_eq!(stamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(stamp(1_031_699_305_042), "2002-09-10T23:08:25Z");
        assert_eq!(stamp_ms(1_031_699_305_042), "2002-09-10T23:08:25.042Z");
        assert_eq!(stamp(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(stamp_ms(u64::MAX), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn offsets_and_fractions_are_read() {
        // The first Moon landing is the XEP's example; it lies before 1970.
        assert_eq!(parse("1969-07-21T02:56:15Z"), None);
        assert_eq!(parse("2002-09-10T23:08:25Z"), Some(1_031_699_305_000));
        assert_eq!(parse("2002-09-11T01:08:25+02:00"), Some(1_031_699_305_000));
        assert_eq!(parse("2002-09-10T17:38:25.5-05:30"), Some(1_031_699_305_500));
        assert_eq!(parse("2002-09-10T23:08:25.0429999Z"), Some(1_031_699_305_042));
        assert_eq!(parse("2016-12-31T23:59:60Z"), parse("2017-01-01T00:00:00Z"));
        assert_eq!(parse("1970-01-01T00:00:00+00:01"), None);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in [
            "",
            "2002",
            "2002-09-10",
            "2002-09-10T23:08:25",
            "2002-09-10 23:08:25Z",
            "2002-09-10T23:08:25z",
            "2002-13-10T23:08:25Z",
            "2002-00-10T23:08:25Z",
            "2001-02-29T00:00:00Z",
            "2002-09-31T00:00:00Z",
            "2002-09-10T24:08:25Z",
            "2002-09-10T23:60:25Z",
            "2002-09-10T23:08:61Z",
            "2002-09-10T23:08:25.Z",
            "2002-09-10T23:08:25+2:00",
            "2002-09-10T23:08:25+02:00Z",
            "2002-09-10T23:08:25+24:00",
            "20020910T23:08:25",
            "2002-09-10T23:08:2\u{665}Z",
            "+002-09-10T23:08:25Z",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_survives_writing_and_reading() {
        for day in 0..150_000 {
            let ms = day * DAY_MS + day % DAY_MS;
            assert_eq!(parse(&stamp_ms(ms)), Some(ms));
        }
    }
}
