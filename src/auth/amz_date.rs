//! The time of a signature: `20130524T000000Z`, checked once, kept as text and as seconds.
//! The text is what is signed, so it is kept exactly; seconds are what skew and expiry are judged by.
//! It reads no clock.
//! Source: Signature Version 4, "X-Amz-Date"; ISO 8601 basic format.

use crate::http::date::{Civil, parse_http_date};

/// A moment as SigV4 writes it.
// INVARIANT: `text` is 16 ASCII bytes that name `unix_s`.
#[derive(Clone, Copy)]
pub(super) struct AmzDate {
    text: [u8; 16],
    unix_s: i64,
}

impl AmzDate {
    /// Reads `YYYYMMDD'T'HHMMSS'Z'`; None for anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 16] = text.as_bytes().try_into().ok()?;
        let [date @ .., b'T', h1, h2, m1, m2, s1, s2, b'Z'] = bytes else { return None };
        let [y1, y2, y3, y4, mo1, mo2, d1, d2] = date;
        let civil = Civil::new(
            number(&[y1, y2, y3, y4])?,
            number(&[mo1, mo2])?,
            number(&[d1, d2])?,
            number(&[h1, h2])?,
            number(&[m1, m2])?,
            number(&[s1, s2])?,
        );
        Some(Self { text: bytes, unix_s: civil.ok()?.unix_s() })
    }

    /// Reads a `Date` header, which may hold any HTTP date or the form above.
    pub(super) fn parse_date_header(text: &str, now_unix_s: i64) -> Option<Self> {
        Self::parse(text).or_else(|| Some(Self::of_unix(parse_http_date(text, now_unix_s).ok()?)))
    }

    /// The moment as a signature's time.
    pub(super) fn of_unix(unix_s: i64) -> Self {
        let civil = Civil::of_unix(unix_s);
        let (year, month, day) = civil.date();
        let (hour, minute, second) = civil.time();
        let text = format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z");
        // Civil keeps years within four digits, so the text has 16 bytes.
        Self { text: text.as_bytes().try_into().unwrap_or(*b"19700101T000000Z"), unix_s: civil.unix_s() }
    }

    /// The text that is signed.
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.text).unwrap_or_default()
    }

    /// The day of the credential scope, `20130524`.
    pub(super) fn day(&self) -> &str {
        self.text().get(..8).unwrap_or_default()
    }

    pub(super) fn unix_s(&self) -> i64 {
        self.unix_s
    }
}

/// The extended form that error documents show: `2013-05-24T00:00:00Z`.
pub(super) fn iso8601(unix_s: i64) -> String {
    let civil = Civil::of_unix(unix_s);
    let (year, month, day) = civil.date();
    let (hour, minute, second) = civil.time();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0_i64, |value, &byte| {
        let digit = char::from(byte).to_digit(10)?;
        value.checked_mul(10)?.checked_add(i64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, want: Option<i64>) {
        let got = AmzDate::parse(input);
        assert_eq!(got.map(|date| date.unix_s()), want, "{input}");
        if let Some(date) = got {
            assert_eq!(date.text(), input);
            assert_eq!(AmzDate::of_unix(date.unix_s()).text(), input);
            assert_eq!(date.day(), &input[..8]);
        }
    }

    #[test]
    fn dates() {
        check("20130524T000000Z", Some(1_369_353_600));
        check("19700101T000001Z", Some(1));
        for wrong in
            ["", "20130524", "20130524T000000", "20130524T000000z", "20130524T000000ZZ", "2013-05-24T00:00Z"]
        {
            check(wrong, None);
        }
        for wrong in ["20131324T000000Z", "20130230T000000Z", "20130524T240000Z", "+0130524T000000Z"] {
            check(wrong, None);
        }
    }

    #[test]
    fn date_headers() {
        for text in ["Fri, 24 May 2013 00:00:00 GMT", "20130524T000000Z", "Fri May 24 00:00:00 2013"] {
            assert_eq!(AmzDate::parse_date_header(text, 0).unwrap().text(), "20130524T000000Z");
        }
        assert!(AmzDate::parse_date_header("yesterday", 0).is_none());
    }

    #[test]
    fn extended_form() {
        assert_eq!(iso8601(1_369_353_601), "2013-05-24T00:00:01Z");
    }
}
