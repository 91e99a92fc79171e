//! Durations as Go writes them: `1m2.3s`, `240.439µs`, `0s` (spec amalgam8 sections 11 and 12).
//!
//! Never: reads one; flags are read by the configuration.

use std::fmt;
use std::time::Duration;

/// Shows a duration as Go does: the largest fitting unit, a fraction without trailing zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoDuration(pub Duration);

// === impl GoDuration ===

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        match (seconds, nanos) {
            (0, 0) => f.write_str("0s"),
            (0, 1..1_000) => write!(f, "{nanos}ns"),
            (0, 1_000..1_000_000) => write_decimal(f, nanos.into(), 1_000, "µs"),
            (0, _) => write_decimal(f, nanos.into(), 1_000_000, "ms"),
            (_, _) => {
                let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
                if 0 < hours {
                    write!(f, "{hours}h")?;
                }
                if 60 <= seconds {
                    write!(f, "{minutes}m")?;
                }
                write_decimal(f, seconds % 60 * 1_000_000_000 + u64::from(nanos), 1_000_000_000, "s")
            }
        }
    }
}

/// `value / unit`, exactly.
fn write_decimal(f: &mut fmt::Formatter<'_>, value: u64, unit: u64, suffix: &str) -> fmt::Result {
    write!(f, "{}", value / unit)?;
    let (mut rest, mut unit) = (value % unit, unit);
    if 0 < rest {
        f.write_str(".")?;
    }
    while 0 < rest {
        unit /= 10;
        write!(f, "{}", rest / unit)?;
        rest %= unit;
    }
    f.write_str(suffix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_go() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (999, "999ns"),
            (1_000, "1µs"),
            (240_439, "240.439µs"),
            (1_500_000, "1.5ms"),
            (999_999_999, "999.999999ms"),
            (1_000_000_000, "1s"),
            (2_000_000_001, "2.000000001s"),
            (60_000_000_000, "1m0s"),
            (62_300_000_000, "1m2.3s"),
            (3_600_000_000_000, "1h0m0s"),
            (360_061_050_000_000, "100h1m1.05s"),
        ] {
            assert_eq!(GoDuration(Duration::from_nanos(nanos)).to_string(), text);
        }
    }
}
