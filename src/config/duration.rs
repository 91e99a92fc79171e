//! Durations as Go reads them: `1m30s`, `1.5h`, `500ms`, `0` (spec amalgam8 section 13).
//!
//! Never: takes a bare number for seconds.

use std::time::Duration;

/// Why a text is no duration for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoDuration {
    /// It has not the form.
    Malformed,
    /// It is below zero.
    Negative,
    /// It is beyond Go's largest, about 292 years.
    TooLong,
}

const LONGEST_NANOS: u64 = i64::MAX.unsigned_abs();

/// Reads a duration exactly as Go's `time.ParseDuration`, but for negative ones.
pub(super) fn parse(text: &str) -> Result<Duration, NoDuration> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    match if unsigned == "0" { 0 } else { nanos_of(unsigned)? } {
        0 => Ok(Duration::ZERO),
        _ if negative => Err(NoDuration::Negative),
        nanos => Ok(Duration::from_nanos(nanos)),
    }
}

/// The sum of one or more numbers with units.
fn nanos_of(text: &str) -> Result<u64, NoDuration> {
    let (mut rest, mut sum) = (text, 0_u128);
    loop {
        let whole = take_while(&mut rest, |c| c.is_ascii_digit());
        let fraction = match rest.strip_prefix('.') {
            Some(behind) => {
                rest = behind;
                take_while(&mut rest, |c| c.is_ascii_digit())
            }
            None => "",
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(NoDuration::Malformed);
        }
        let unit = unit_nanos(take_while(&mut rest, |c| c != '.' && !c.is_ascii_digit()))
            .ok_or(NoDuration::Malformed)?;
        let whole: u128 =
            if whole.is_empty() { 0 } else { whole.parse().map_err(|_| NoDuration::TooLong)? };
        let nanos = whole.checked_mul(unit).ok_or(NoDuration::TooLong)?;
        sum = sum.saturating_add(nanos).saturating_add(fraction_nanos(fraction, unit));
        let so_far = u64::try_from(sum).ok().filter(|nanos| *nanos <= LONGEST_NANOS);
        let so_far = so_far.ok_or(NoDuration::TooLong)?;
        if rest.is_empty() {
            return Ok(so_far);
        }
    }
}

/// `0.fraction * unit`, rounded down. Digits beyond the 18th are below any unit's nanosecond.
fn fraction_nanos(fraction: &str, unit: u128) -> u128 {
    let digits = fraction.bytes().take(18);
    let (value, scale) =
        digits.fold((0, 1), |(value, scale), b| (value * 10 + u128::from(b - b'0'), scale * 10));
    value * unit / scale
}

fn unit_nanos(unit: &str) -> Option<u128> {
    match unit {
        "ns" => Some(1),
        // The micro sign and the Greek letter look alike; Go takes both.
        "us" | "\u{b5}s" | "\u{3bc}s" => Some(1_000),
        "ms" => Some(1_000_000),
        "s" => Some(1_000_000_000),
        "m" => Some(60_000_000_000),
        "h" => Some(3_600_000_000_000),
        _ => None,
    }
}

fn take_while<'a>(text: &mut &'a str, wanted: impl Fn(char) -> bool) -> &'a str {
    let end = text.find(|c| !wanted(c)).unwrap_or(text.len());
    let (taken, rest) = text.split_at(end);
    *text = rest;
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_in_go() {
        for (text, nanos) in [
            ("0", 0),
            ("+0", 0),
            ("-0", 0),
            ("0s", 0),
            ("-0s", 0),
            ("30s", 30_000_000_000),
            ("+30s", 30_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("1h5m", 3_900_000_000_000),
            ("500ms", 500_000_000),
            ("1us", 1_000),
            ("1\u{b5}s", 1_000),
            ("1\u{3bc}s", 1_000),
            ("7ns", 7),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("1s1s", 2_000_000_000),
            ("1ms2h", 7_200_001_000_000),
            ("0.3333333333333333333h", 1_199_999_999_999),
            ("0.000000001s", 1),
            ("0.0000000001s", 0),
            ("0100s", 100_000_000_000),
            ("9223372036854775807ns", 9_223_372_036_854_775_807),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for (text, why) in [
            ("", NoDuration::Malformed),
            ("90", NoDuration::Malformed),
            ("1.5", NoDuration::Malformed),
            ("s", NoDuration::Malformed),
            (".s", NoDuration::Malformed),
            (".", NoDuration::Malformed),
            ("-", NoDuration::Malformed),
            ("+-1s", NoDuration::Malformed),
            ("--1s", NoDuration::Malformed),
            ("1h 5m", NoDuration::Malformed),
            (" 1s", NoDuration::Malformed),
            ("1s ", NoDuration::Malformed),
            ("1S", NoDuration::Malformed),
            ("1d", NoDuration::Malformed),
            ("1min", NoDuration::Malformed),
            ("1,5s", NoDuration::Malformed),
            ("1e3s", NoDuration::Malformed),
            ("0x10s", NoDuration::Malformed),
            ("١s", NoDuration::Malformed),
            ("soon", NoDuration::Malformed),
            ("-1s", NoDuration::Negative),
            ("-0.5ms", NoDuration::Negative),
            ("9223372036854775808ns", NoDuration::TooLong),
            ("3000000h", NoDuration::TooLong),
            ("99999999999999999999999999999999999999999999h", NoDuration::TooLong),
            ("340282366920938463463374607431768211455h", NoDuration::TooLong),
        ] {
            assert_eq!(parse(text), Err(why), "{text}");
        }
    }
}
