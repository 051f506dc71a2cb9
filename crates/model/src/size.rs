//! Sizes as Prometheus writes them: `512MB` is 512 * 2^20 bytes.

/// Text that is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a size: {0:?} (write for example 512KB, 32MB or 10GB)")]
pub struct SizeError(pub String);

const UNITS: [(&str, u32); 8] =
    [("EB", 60), ("PB", 50), ("TB", 40), ("GB", 30), ("MB", 20), ("KB", 10), ("B", 0), ("", 0)];

/// Parses a size with a base-2 unit (`KB` is 1024 bytes, as in Prometheus; `KiB` means the same).
///
/// # Errors
/// On anything else, and on sizes of 2^64 bytes or more.
pub fn parse_bytes(text: &str) -> Result<u64, SizeError> {
    let error = || SizeError(text.to_owned());
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().map_err(|_| error())?;
    let unit = text[digits..].replace("iB", "B");
    let (_, shift) = UNITS.into_iter().find(|(u, _)| *u == unit).ok_or_else(error)?;
    number.checked_mul(1 << shift).ok_or_else(error)
}

/// The size in the largest unit that keeps it at or above one, with one decimal where it is not whole.
pub fn format_bytes(bytes: u64) -> String {
    let (unit, shift) = UNITS.into_iter().find(|(_, shift)| bytes >> shift > 0).unwrap_or(("B", 0));
    let unit = if unit.is_empty() { "B" } else { unit };
    let whole = bytes >> shift;
    if whole << shift == bytes {
        format!("{whole}{unit}")
    } else {
        format!("{:.1}{unit}", bytes as f64 / (1u64 << shift) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        for (text, bytes) in [("0", 0), ("10", 10), ("1KB", 1024), ("32MB", 32 << 20), ("1GiB", 1 << 30)] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "MB", "-1B", "1.5GB", "1 GB", "99999999999EB", "1kb"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
        assert_eq!(format_bytes(32 << 20), "32MB");
        assert_eq!(format_bytes(1536), "1.5KB");
        assert_eq!(format_bytes(0), "0B");
    }
}
