//! Parts of a date, in UTC, from seconds since the epoch. Days are turned into dates by Howard Hinnant's
//! `civil_from_days`.

const DAY: i64 = 86_400;

struct Date {
    year: i64,
    month: i64,
    day: i64,
}

/// Calls `part` with whole seconds; what is not finite has no date.
fn of(seconds: f64, part: impl Fn(i64) -> i64) -> f64 {
    // Beyond this the arithmetic on dates would overflow; the universe is younger.
    if !seconds.is_finite() || seconds.abs() > 1e17 { f64::NAN } else { part(seconds as i64) as f64 }
}

fn date(seconds: i64) -> Date {
    let shifted = seconds.div_euclid(DAY) + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    // A year that begins in March: the leap day is its last.
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Date { year, month, day: day_of_year - (153 * month_from_march + 2) / 5 + 1 }
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn length_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

pub(crate) fn minute(seconds: f64) -> f64 {
    of(seconds, |s| s.rem_euclid(3600) / 60)
}

pub(crate) fn hour(seconds: f64) -> f64 {
    of(seconds, |s| s.rem_euclid(DAY) / 3600)
}

/// 0 is Sunday.
pub(crate) fn day_of_week(seconds: f64) -> f64 {
    of(seconds, |s| (s.div_euclid(DAY) + 4).rem_euclid(7))
}

pub(crate) fn day_of_month(seconds: f64) -> f64 {
    of(seconds, |s| date(s).day)
}

/// From 1.
pub(crate) fn day_of_year(seconds: f64) -> f64 {
    of(seconds, |s| {
        let Date { year, month, day } = date(s);
        (1..month).map(|m| length_of_month(year, m)).sum::<i64>() + day
    })
}

pub(crate) fn days_in_month(seconds: f64) -> f64 {
    of(seconds, |s| {
        let Date { year, month, .. } = date(s);
        length_of_month(year, month)
    })
}

pub(crate) fn month(seconds: f64) -> f64 {
    of(seconds, |s| date(s).month)
}

pub(crate) fn year(seconds: f64) -> f64 {
    of(seconds, |s| date(s).year)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        // 2024-02-29T23:59:59Z, a Thursday; 1969-12-31T23:59:59Z, a Wednesday; 2000-03-01T00:00:00Z, a Wednesday.
        for (s, y, mo, d, h, mi, w, yd, len) in [
            (1_709_251_199.0, 2024.0, 2.0, 29.0, 23.0, 59.0, 4.0, 60.0, 29.0),
            (-1.0, 1969.0, 12.0, 31.0, 23.0, 59.0, 3.0, 365.0, 31.0),
            (951_868_800.0, 2000.0, 3.0, 1.0, 0.0, 0.0, 3.0, 61.0, 31.0),
        ] {
            assert_eq!((year(s), month(s), day_of_month(s), hour(s), minute(s)), (y, mo, d, h, mi));
            assert_eq!((day_of_week(s), day_of_year(s), days_in_month(s)), (w, yd, len));
        }
        for odd in [f64::NAN, f64::INFINITY, 1e300] {
            assert!(year(odd).is_nan() && day_of_year(odd).is_nan());
        }
    }
}
