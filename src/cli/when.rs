//! Times as people say them.

use jiff::{Timestamp, tz::TimeZone};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Now.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// How long ago that was; a date when it is more than a week. Empty for a time that is not known.
pub(crate) fn ago(now: Timestamp, time: Option<&prost_types::Timestamp>) -> String {
    let Some(time) = time.and_then(instant) else {
        return String::new();
    };
    match now.as_second() - time.as_second() {
        seconds if seconds < 10 => "now".into(),
        seconds if seconds < MINUTE => format!("{seconds}s ago"),
        seconds if seconds < HOUR => format!("{}m ago", seconds / MINUTE),
        seconds if seconds < DAY => format!("{}h ago", seconds / HOUR),
        seconds if seconds < 7 * DAY => format!("{}d ago", seconds / DAY),
        _ => local(time, "%Y-%m-%d"),
    }
}

/// The time to the second, where the reader is. Empty for a time that is not known.
pub(crate) fn exact(time: Option<&prost_types::Timestamp>) -> String {
    time.and_then(instant)
        .map(|time| local(time, "%Y-%m-%d %H:%M:%S"))
        .unwrap_or_default()
}

/// A span as it is typed: a whole number and a unit, `90s`, `45m`, `12h`, `30d` or `8w`.
pub(crate) fn span(text: &str) -> Result<prost_types::Duration, String> {
    let wrong = || "want a whole number and s, m, h, d or w, as in 30d".to_owned();
    let at = text.find(|char: char| !char.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(at);
    let unit = match unit {
        "s" => 1,
        "m" => MINUTE,
        "h" => HOUR,
        "d" => DAY,
        "w" => 7 * DAY,
        _ => return Err(wrong()),
    };
    let number: i64 = number.parse().map_err(|_| wrong())?;
    let seconds = number.checked_mul(unit).ok_or_else(wrong)?;
    Ok(prost_types::Duration { seconds, nanos: 0 })
}

fn instant(time: &prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(time.seconds, time.nanos).ok()
}

fn local(time: Timestamp, format: &str) -> String {
    time.to_zoned(TimeZone::system()).strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_a_number_and_a_unit() {
        let seconds = |text| span(text).map(|span| span.seconds).ok();
        for (text, wanted) in [
            ("0s", Some(0)),
            ("90s", Some(90)),
            ("45m", Some(2_700)),
            ("12h", Some(43_200)),
            ("30d", Some(2_592_000)),
            ("8w", Some(4_838_400)),
            ("30", None),
            ("d", None),
            ("", None),
            ("-1d", None),
            ("1.5d", None),
            ("1 d", None),
            ("9223372036854775807w", None),
        ] {
            assert_eq!(seconds(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn times_are_told_in_the_largest_unit() {
        let now = Timestamp::new(1_700_000_000, 0).unwrap();
        let before = |seconds: i64| {
            ago(
                now,
                Some(&prost_types::Timestamp {
                    seconds: 1_700_000_000 - seconds,
                    nanos: 0,
                }),
            )
        };
        let told = [-5, 0, 9, 10, 59, 60, 3_599, 3_600, 86_399, 86_400, 604_799].map(before);
        let wanted = [
            "now", "now", "now", "10s ago", "59s ago", "1m ago", "59m ago", "1h ago", "23h ago", "1d ago",
            "6d ago",
        ];
        assert_eq!(told, wanted);
        assert!(before(604_800 * 4).starts_with("2023-10-"));
        assert_eq!(ago(now, None), "");
    }
}
