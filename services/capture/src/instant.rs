//! `changedAt`: a moment as ISO 8601 writes it, to milliseconds since the Unix epoch.

use thiserror::Error;

/// Why a moment cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InstantError {
    /// Not of the form.
    #[error("expected a time like 2026-09-14T13:37:26.123Z (no zone means UTC)")]
    Shape,
    /// A month 13, a 30th of February, an hour 25.
    #[error("no such date or time")]
    NoSuchTime,
    /// Kafka's timestamps start at 1970.
    #[error("the time lies before 1970")]
    BeforeEpoch,
}

/// Reads `yyyy-MM-ddTHH:mm:ss`, with an optional fraction (digits behind the third are cut off) and an
/// optional zone: `Z`, `+02:00`, `-0330`. Without a zone the time is UTC, as in the VMS's messages.
///
/// # Errors
/// [`InstantError`].
pub fn parse(text: &str) -> Result<i64, InstantError> {
    let mut rest = text.as_bytes();
    let year = digits(&mut rest, 4)?;
    mark(&mut rest, b'-')?;
    let month = digits(&mut rest, 2)?;
    mark(&mut rest, b'-')?;
    let day = digits(&mut rest, 2)?;
    mark(&mut rest, b'T')?;
    let hour = digits(&mut rest, 2)?;
    mark(&mut rest, b':')?;
    let minute = digits(&mut rest, 2)?;
    mark(&mut rest, b':')?;
    let second = digits(&mut rest, 2)?;
    let milli = fraction(&mut rest)?;
    let zone_minutes = zone(&mut rest)?;
    if !rest.is_empty() {
        return Err(InstantError::Shape);
    }
    // A leap second counts as the second after it: Unix time has none.
    if !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 60 {
        return Err(InstantError::NoSuchTime);
    }
    if day < 1 || day > days_in_month(year, month) {
        return Err(InstantError::NoSuchTime);
    }
    let minutes = (days_from_civil(year, month, day) * 24 + hour) * 60 + minute - zone_minutes;
    let ms = (minutes * 60 + second) * 1_000 + milli;
    if ms < 0 { Err(InstantError::BeforeEpoch) } else { Ok(ms) }
}

fn mark(rest: &mut &[u8], expected: u8) -> Result<(), InstantError> {
    match rest.split_first() {
        Some((byte, tail)) if *byte == expected => {
            *rest = tail;
            Ok(())
        }
        _ => Err(InstantError::Shape),
    }
}

fn digits(rest: &mut &[u8], count: usize) -> Result<i64, InstantError> {
    let (number, tail) = rest.split_at_checked(count).ok_or(InstantError::Shape)?;
    if !number.iter().all(u8::is_ascii_digit) {
        return Err(InstantError::Shape);
    }
    *rest = tail;
    Ok(number.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
}

fn fraction(rest: &mut &[u8]) -> Result<i64, InstantError> {
    if mark(rest, b'.').is_err() {
        return Ok(0);
    }
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 || count > 9 {
        return Err(InstantError::Shape);
    }
    let (number, tail) = rest.split_at_checked(count).ok_or(InstantError::Shape)?;
    *rest = tail;
    let millis = number.iter().chain(b"00").take(3);
    Ok(millis.fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
}

fn zone(rest: &mut &[u8]) -> Result<i64, InstantError> {
    let sign = match rest.split_first() {
        None => return Ok(0),
        Some((b'Z', tail)) => {
            *rest = tail;
            return Ok(0);
        }
        Some((b'+', tail)) => {
            *rest = tail;
            1
        }
        Some((b'-', tail)) => {
            *rest = tail;
            -1
        }
        Some(_) => return Err(InstantError::Shape),
    };
    let hours = digits(rest, 2)?;
    // The colon may be left out.
    let _ = mark(rest, b':');
    let minutes = digits(rest, 2)?;
    if hours > 23 || minutes > 59 {
        return Err(InstantError::NoSuchTime);
    }
    Ok(sign * (hours * 60 + minutes))
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar. Years are counted from March, so that the
/// leap day comes last; an era is 400 years.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let march_month = (month + 9) % 12;
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use InstantError::{BeforeEpoch, NoSuchTime, Shape};

    #[test]
    fn reads_moments() {
        let check = |text: &str, expected: Result<i64, InstantError>| {
            assert_eq!(parse(text), expected, "{text:?}");
        };
        check("1970-01-01T00:00:00Z", Ok(0));
        check("1970-01-01T00:00:00", Ok(0));
        check("2026-09-14T13:37:26", Ok(1_789_393_046_000));
        check("2026-09-14T13:37:26.007Z", Ok(1_789_393_046_007));
        check("2026-09-14T13:37:26.5", Ok(1_789_393_046_500));
        check("2026-09-14T13:37:26.123456789Z", Ok(1_789_393_046_123));
        check("2026-09-14T15:37:26+02:00", Ok(1_789_393_046_000));
        check("2026-09-14T15:37:26+0200", Ok(1_789_393_046_000));
        check("2026-09-14T10:07:26-03:30", Ok(1_789_393_046_000));
        check("2000-02-29T00:00:00Z", Ok(951_782_400_000));
        check("2100-03-01T00:00:00Z", Ok(4_107_542_400_000));
        check("2016-12-31T23:59:60Z", Ok(1_483_228_800_000));
        check("9999-12-31T23:59:59.999Z", Ok(253_402_300_799_999));
        check("1969-12-31T23:59:59Z", Err(BeforeEpoch));
        check("1970-01-01T00:30:00+01:00", Err(BeforeEpoch));
        check("0000-01-01T00:00:00", Err(BeforeEpoch));
        for text in ["2026-13-01T00:00:00", "2026-00-01T00:00:00", "2026-02-29T00:00:00Z"] {
            check(text, Err(NoSuchTime));
        }
        for text in ["2100-02-29T00:00:00", "2026-04-31T00:00:00", "2026-01-00T00:00:00"] {
            check(text, Err(NoSuchTime));
        }
        for text in ["2026-01-01T24:00:00", "2026-01-01T00:60:00", "2026-01-01T00:00:61"] {
            check(text, Err(NoSuchTime));
        }
        check("2026-01-01T00:00:00+24:00", Err(NoSuchTime));
        for text in [
            "",
            "2026",
            "2026-09-14",
            "2026-09-14 13:37:26",
            "2026-09-14T13:37",
            "2026-9-14T13:37:26",
            "2026-09-14t13:37:26",
            "2026-09-14T13:37:26z",
            "2026-09-14T13:37:26.",
            "1789393046000",
            "2026-09-14T13:37:26.1234567890",
            "2026-09-14T13:37:26Zx",
            "2026-09-14T13:37:26+2",
            "2026-09-14T13:37:26+02:0",
            " 2026-09-14T13:37:26",
            "+026-09-14T13:37:26",
        ] {
            check(text, Err(Shape));
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[0-9TZ:.+ -]{0,40}") {
            let _ = parse(&text);
        }
    }
}
