//! Dates of HTTP headers: IMF-fixdate written, and the three forms of RFC 9110 read.
//! Also the calendar arithmetic that the other wire formats (x-amz-date, XML) share. No clock is read here.
//! Times are seconds since 1970 and may be negative: files older than that exist.
//! Source: RFC 9110 section 5.6.7; days and dates after Howard Hinnant, chrono-compatible date algorithms.

use std::fmt;

/// A moment in the proleptic Gregorian calendar, UTC.
///
/// Shape: year 0 to 9999, month 1 to 12, day 1 to the month's length, hour 0 to 23, minute and second 0 to 59.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    // INVARIANT: the fields name a day that exists; only `new` and `of_unix` make one.
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

/// The text is no date of the form expected, or names a day that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateError;

impl fmt::Display for DateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a date")
    }
}

impl std::error::Error for DateError {}

impl Civil {
    /// Checks the fields against the calendar. A leap second (60) counts as the 59th.
    ///
    /// Errors: `DateError` when the day or time does not exist.
    pub fn new(
        year: i64,
        month: i64,
        day: i64,
        hour: i64,
        minute: i64,
        second: i64,
    ) -> Result<Self, DateError> {
        let exists = (0..=9999).contains(&year)
            && (1..=month_days(year, month)).contains(&day)
            && (0..24).contains(&hour)
            && (0..60).contains(&minute)
            && (0..=60).contains(&second);
        if !exists {
            return Err(DateError);
        }
        Ok(Self { year, month, day, hour, minute, second: second.min(59) })
    }

    /// The calendar moment of a unix time. Times outside the years 0 to 9999 take the nearest end.
    pub fn of_unix(unix_s: i64) -> Self {
        let unix_s = unix_s.clamp(UNIX_S_MIN, UNIX_S_MAX);
        let second_of_day = unix_s.rem_euclid(DAY_S);
        let (year, month, day) = date_of_days(unix_s.div_euclid(DAY_S));
        Self {
            year,
            month,
            day,
            hour: second_of_day.div_euclid(3600),
            minute: second_of_day.div_euclid(60).rem_euclid(60),
            second: second_of_day.rem_euclid(60),
        }
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub fn unix_s(&self) -> i64 {
        days_of_date(self.year, self.month, self.day)
            .saturating_mul(DAY_S)
            .saturating_add(self.hour.saturating_mul(3600))
            .saturating_add(self.minute.saturating_mul(60))
            .saturating_add(self.second)
    }

    /// Year, month and day.
    pub fn date(&self) -> (i64, i64, i64) {
        (self.year, self.month, self.day)
    }

    /// Hour, minute and second.
    pub fn time(&self) -> (i64, i64, i64) {
        (self.hour, self.minute, self.second)
    }

    /// Index of the day of the week, Monday 0.
    fn weekday_index(&self) -> usize {
        // 1970-01-01 was a Thursday, index 3.
        let days = days_of_date(self.year, self.month, self.day).saturating_add(3);
        usize::try_from(days.rem_euclid(7)).unwrap_or(0)
    }
}

/// Writes the form that Ringway sends: `Sun, 06 Nov 1994 08:49:37 GMT`, always 29 bytes.
pub fn write_http_date(unix_s: i64, out: &mut Vec<u8>) {
    let civil = Civil::of_unix(unix_s);
    let month_index = usize::try_from(civil.month.saturating_sub(1)).unwrap_or(0);
    out.extend_from_slice(
        DAYS.get(civil.weekday_index()).copied().unwrap_or("Mon").get(..3).unwrap_or("Mon").as_bytes(),
    );
    out.extend_from_slice(b", ");
    push_digits(out, civil.day, 2);
    out.push(b' ');
    out.extend_from_slice(MONTHS.get(month_index).copied().unwrap_or("Jan").as_bytes());
    out.push(b' ');
    push_digits(out, civil.year, 4);
    for (separator, value) in [(b' ', civil.hour), (b':', civil.minute), (b':', civil.second)] {
        out.push(separator);
        push_digits(out, value, 2);
    }
    out.extend_from_slice(b" GMT");
}

/// Reads a date header in any of the three forms.
///
/// Shape: IMF-fixdate, RFC 850 with a two-digit year, or asctime; the day's name may be any of the seven, it is not
/// compared with the date. A two-digit year more than 50 years after `now_unix_s` is taken as past.
/// Errors: `DateError`.
pub fn parse_http_date(text: &str, now_unix_s: i64) -> Result<i64, DateError> {
    let (day_name, rest) = text.split_once([',', ' ']).ok_or(DateError)?;
    let long_name = DAYS.contains(&day_name);
    let short_name = DAYS.iter().any(|name| name.get(..3) == Some(day_name));
    match (text.as_bytes().get(day_name.len()), short_name, long_name) {
        (Some(b','), true, false) => parse_imf(rest.strip_prefix(' ').ok_or(DateError)?),
        (Some(b','), false, true) => parse_rfc850(rest.strip_prefix(' ').ok_or(DateError)?, now_unix_s),
        (Some(b' '), true, false) => parse_asctime(rest),
        _ => Err(DateError),
    }
}

/// `06 Nov 1994 08:49:37 GMT`
fn parse_imf(text: &str) -> Result<i64, DateError> {
    let parts: [&str; 5] = split_exactly(text, ' ')?;
    let [day, month, year, time, "GMT"] = parts else { return Err(DateError) };
    civil(digits(year, 4)?, month, digits(day, 2)?, time).map(|civil| civil.unix_s())
}

/// `06-Nov-94 08:49:37 GMT`
fn parse_rfc850(text: &str, now_unix_s: i64) -> Result<i64, DateError> {
    let [date, time, "GMT"] = split_exactly::<3>(text, ' ')? else { return Err(DateError) };
    let [day, month, year] = split_exactly::<3>(date, '-')?;
    let this_year = Civil::of_unix(now_unix_s).year;
    let century = this_year.saturating_sub(this_year.rem_euclid(100));
    let year = century.saturating_add(digits(year, 2)?);
    let year = if year > this_year.saturating_add(50) { year.saturating_sub(100) } else { year };
    civil(year, month, digits(day, 2)?, time).map(|civil| civil.unix_s())
}

/// `Nov  6 08:49:37 1994`
fn parse_asctime(text: &str) -> Result<i64, DateError> {
    let (month, rest) = text.split_once(' ').ok_or(DateError)?;
    let (day, rest) = rest.split_at_checked(2).ok_or(DateError)?;
    let day = match day.strip_prefix(' ') {
        Some(digit) => digits(digit, 1)?,
        None => digits(day, 2)?,
    };
    let [time, year] = split_exactly::<2>(rest.strip_prefix(' ').ok_or(DateError)?, ' ')?;
    civil(digits(year, 4)?, month, day, time).map(|civil| civil.unix_s())
}

fn civil(year: i64, month: &str, day: i64, time: &str) -> Result<Civil, DateError> {
    let month_index = MONTHS.iter().position(|name| *name == month).ok_or(DateError)?;
    let month = i64::try_from(month_index).map_err(|_| DateError)?.saturating_add(1);
    let [hour, minute, second] = split_exactly::<3>(time, ':')?;
    Civil::new(year, month, day, digits(hour, 2)?, digits(minute, 2)?, digits(second, 2)?)
}

fn split_exactly<const N: usize>(text: &str, separator: char) -> Result<[&str; N], DateError> {
    let mut parts = [""; N];
    let mut pieces = text.split(separator);
    for part in &mut parts {
        *part = pieces.next().ok_or(DateError)?;
    }
    if pieces.next().is_some() { Err(DateError) } else { Ok(parts) }
}

/// Reads exactly `length` ASCII digits; `length` is at most 4, so nothing overflows.
fn digits(text: &str, length: usize) -> Result<i64, DateError> {
    if text.len() != length || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DateError);
    }
    text.parse().map_err(|_| DateError)
}

/// Writes `value` with leading zeros; the caller's fields are never negative nor longer than `length`.
pub(crate) fn push_digits(out: &mut Vec<u8>, value: i64, length: u32) {
    for place in (0..length).rev() {
        let digit = value.div_euclid(10_i64.saturating_pow(place)).rem_euclid(10);
        out.push(b'0'.saturating_add(u8::try_from(digit).unwrap_or(0)));
    }
}

fn month_days(year: i64, month: i64) -> i64 {
    let leap = year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => 0,
    }
}

/// Days since 1970-01-01. Years begin in March here, so that the leap day is the last of its year.
fn days_of_date(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year.saturating_sub(1) } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = month.saturating_add(9).rem_euclid(12);
    let day_of_year = month_from_march
        .saturating_mul(153)
        .saturating_add(2)
        .div_euclid(5)
        .saturating_add(day)
        .saturating_sub(1);
    let day_of_era = year_of_era
        .saturating_mul(365)
        .saturating_add(year_of_era.div_euclid(4))
        .saturating_sub(year_of_era.div_euclid(100))
        .saturating_add(day_of_year);
    era.saturating_mul(ERA_DAYS).saturating_add(day_of_era).saturating_sub(EPOCH_DAYS)
}

/// Year, month and day of a count of days since 1970-01-01.
fn date_of_days(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(EPOCH_DAYS);
    let era = days.div_euclid(ERA_DAYS);
    let day_of_era = days.rem_euclid(ERA_DAYS);
    let year_of_era = day_of_era
        .saturating_sub(day_of_era.div_euclid(1460))
        .saturating_add(day_of_era.div_euclid(36_524))
        .saturating_sub(day_of_era.div_euclid(146_096))
        .div_euclid(365);
    let year_start = year_of_era
        .saturating_mul(365)
        .saturating_add(year_of_era.div_euclid(4))
        .saturating_sub(year_of_era.div_euclid(100));
    let day_of_year = day_of_era.saturating_sub(year_start);
    let month_from_march = day_of_year.saturating_mul(5).saturating_add(2).div_euclid(153);
    let month_start = month_from_march.saturating_mul(153).saturating_add(2).div_euclid(5);
    let day = day_of_year.saturating_sub(month_start).saturating_add(1);
    let month = if month_from_march < 10 {
        month_from_march.saturating_add(3)
    } else {
        month_from_march.saturating_sub(9)
    };
    let year = era.saturating_mul(400).saturating_add(year_of_era).saturating_add(i64::from(month <= 2));
    (year, month, day)
}

const DAY_S: i64 = 86_400;
/// Days in 400 years, after which the calendar repeats.
const ERA_DAYS: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;
/// 0000-01-01T00:00:00Z and 9999-12-31T23:59:59Z: what four digits of year can say.
const UNIX_S_MIN: i64 = -62_167_219_200;
const UNIX_S_MAX: i64 = 253_402_300_799;
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-11-24T00:00:00Z, so that the pivot of two-digit years is 2076.
    const NOW: i64 = 1_795_478_400;

    fn check(name: &str, input: &str, want: Result<i64, DateError>) {
        assert_eq!(parse_http_date(input, NOW), want, "{name}: {input}");
    }

    #[test]
    fn reads_the_three_forms_and_nothing_else() {
        let rows = [
            ("IMF-fixdate", "Sun, 06 Nov 1994 08:49:37 GMT", Ok(784_111_777)),
            ("RFC 850", "Sunday, 06-Nov-94 08:49:37 GMT", Ok(784_111_777)),
            ("asctime", "Sun Nov  6 08:49:37 1994", Ok(784_111_777)),
            ("asctime, two digits", "Wed Nov 16 08:49:37 1994", Ok(784_975_777)),
            ("two-digit year in 50 years", "Monday, 24-Nov-76 00:00:00 GMT", Ok(3_373_401_600)),
            ("two-digit year beyond 50 years is past", "Monday, 24-Nov-77 00:00:00 GMT", Ok(249_177_600)),
            ("epoch", "Thu, 01 Jan 1970 00:00:00 GMT", Ok(0)),
            ("before the epoch", "Wed, 31 Dec 1969 23:59:59 GMT", Ok(-1)),
            ("leap day", "Thu, 29 Feb 2024 12:00:00 GMT", Ok(1_709_208_000)),
            ("leap second counts as 59", "Sat, 31 Dec 2016 23:59:60 GMT", Ok(1_483_228_799)),
            ("no leap day", "Wed, 29 Feb 2023 12:00:00 GMT", Err(DateError)),
            ("no leap day in 1900", "Thu, 29 Feb 1900 12:00:00 GMT", Err(DateError)),
            ("hour 24", "Sun, 06 Nov 1994 24:00:00 GMT", Err(DateError)),
            ("month 13", "Sun, 06 Foo 1994 08:49:37 GMT", Err(DateError)),
            ("day of one digit", "Sun, 6 Nov 1994 08:49:37 GMT", Err(DateError)),
            ("other zone", "Sun, 06 Nov 1994 08:49:37 UTC", Err(DateError)),
            ("no zone", "Sun, 06 Nov 1994 08:49:37", Err(DateError)),
            ("trailing text", "Sun, 06 Nov 1994 08:49:37 GMT ", Err(DateError)),
            ("sign", "Sun, 06 Nov +994 08:49:37 GMT", Err(DateError)),
            ("no such day name", "Xyz, 06 Nov 1994 08:49:37 GMT", Err(DateError)),
            ("long name with IMF", "Sunday, 06 Nov 1994 08:49:37 GMT", Err(DateError)),
            ("ISO", "1994-11-06T08:49:37Z", Err(DateError)),
            ("empty", "", Err(DateError)),
        ];
        for (name, input, want) in rows {
            check(name, input, want);
        }
    }

    #[test]
    fn writes_imf_fixdate() {
        let rows = [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (-1, "Wed, 31 Dec 1969 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (i64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (i64::MIN, "Sat, 01 Jan 0000 00:00:00 GMT"),
        ];
        for (unix_s, want) in rows {
            let mut out = Vec::new();
            write_http_date(unix_s, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), want);
        }
    }

    proptest! {
        #[test]
        fn every_second_round_trips(unix_s in UNIX_S_MIN..=UNIX_S_MAX) {
            let mut out = Vec::new();
            write_http_date(unix_s, &mut out);
            prop_assert_eq!(parse_http_date(std::str::from_utf8(&out).unwrap(), NOW), Ok(unix_s));
            prop_assert_eq!(Civil::of_unix(unix_s).unix_s(), unix_s);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            let _ = parse_http_date(&text, NOW);
        }
    }
}
