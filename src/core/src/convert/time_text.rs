//! ISO 8601 times, as scripts send them, to milliseconds since 1970.

/// A time read from text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TimeText {
    pub(super) unix_ms: f64,
    /// The number says all that the text says: UTC, and no digits below a millisecond.
    pub(super) is_exact: bool,
}

/// Reads `2026-11-22T06:00:44.123456+02:00` and its shorter forms; without a zone it is UTC.
pub(super) fn parse_iso8601(text: &[u8]) -> Option<TimeText> {
    let text = std::str::from_utf8(text).ok()?;
    let bytes = text.as_bytes();
    let year: i64 = digits(bytes.get(0..4)?)?;
    let month = after(bytes, 4, b'-', 2)?;
    let day = after(bytes, 7, b'-', 2)?;
    if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    let days = days_from_epoch(year, month, day);
    if bytes.len() == 10 {
        return Some(TimeText { unix_ms: days as f64 * 86_400_000.0, is_exact: false });
    }
    if !matches!(bytes.get(10)?, b'T' | b't' | b' ') {
        return None;
    }
    let hour = digits(bytes.get(11..13)?)?;
    let minute = after(bytes, 13, b':', 2)?;
    let (second, mut at) = match after(bytes, 16, b':', 2) {
        Some(second) => (second, 19),
        None => (0, 16),
    };
    if hour > 24 || minute > 59 || second > 60 {
        return None;
    }
    let mut nanoseconds = 0_i64;
    let mut decimals = 0;
    if matches!(bytes.get(at), Some(b'.' | b',')) && at == 19 {
        at += 1;
        while let Some(digit) = bytes.get(at).filter(|byte| byte.is_ascii_digit()) {
            if decimals < 9 {
                nanoseconds = nanoseconds * 10 + i64::from(digit - b'0');
            }
            decimals += 1;
            at += 1;
        }
        if decimals == 0 {
            return None;
        }
        nanoseconds *= 10_i64.pow(9_u32.saturating_sub(decimals));
    }
    let (offset_minutes, is_utc) = match bytes.get(at..)? {
        b"Z" => (0, true),
        b"z" | b"" => (0, false),
        [sign @ (b'+' | b'-'), rest @ ..] => {
            let hours = digits(rest.get(0..2)?)?;
            let minutes = match &rest[2..] {
                [] => 0,
                [b':', minutes @ ..] | minutes if minutes.len() == 2 => digits(minutes)?,
                _ => return None,
            };
            let offset = hours * 60 + minutes;
            (if *sign == b'-' { -offset } else { offset }, false)
        }
        _ => return None,
    };
    let seconds = days * 86_400 + hour * 3_600 + (minute - offset_minutes) * 60 + second;
    // Whole milliseconds are exact up to the year 287396.
    let unix_ms =
        (seconds * 1_000 + nanoseconds / 1_000_000) as f64 + (nanoseconds % 1_000_000) as f64 / 1e6;
    Some(TimeText { unix_ms, is_exact: is_utc && decimals <= 3 && at >= 19 && second < 60 })
}

fn after(bytes: &[u8], at: usize, separator: u8, count: usize) -> Option<i64> {
    if *bytes.get(at)? != separator {
        return None;
    }
    digits(bytes.get(at + 1..at + 1 + count)?)
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |value, byte| {
        byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0'))
    })
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01, counted in years that start in March so that the leap day comes last.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_that_scripts_send_are_read() {
        let ms = |text: &str| parse_iso8601(text.as_bytes()).map(|time| time.unix_ms);
        assert_eq!(ms("1970-01-01T00:00:00Z"), Some(0.0));
        assert_eq!(ms("2026-11-22T06:00:44.123Z"), Some(1_795_327_244_123.0));
        assert_eq!(ms("2026-11-22T08:00:44.123+02:00"), Some(1_795_327_244_123.0));
        assert_eq!(ms("2026-11-22 06:00:44"), Some(1_795_327_244_000.0));
        assert_eq!(ms("2000-02-29T00:00:00.000001"), Some(951_782_400_000.001));
        assert_eq!(ms("2001-02-29T00:00:00"), None);
        assert_eq!(ms("yesterday"), None);
        assert_eq!(ms(""), None);
    }

    #[test]
    fn what_a_number_cannot_say_is_told() {
        let exact = |text: &str| parse_iso8601(text.as_bytes()).unwrap().is_exact;
        assert!(exact("2026-11-22T06:00:44.123Z"));
        assert!(!exact("2026-11-22T06:00:44.123456Z"));
        assert!(!exact("2026-11-22T06:00:44.123"));
        assert!(!exact("2026-11-22T08:00:44+02:00"));
    }
}
