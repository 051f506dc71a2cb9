//! Label names in paths: `U__` and then `_2e_` for a dot, `__` for an underscore (Prometheus' value encoding).

/// The label name that a path segment stands for. What is not well formed stands for itself.
pub(crate) fn unescape_name(segment: &str) -> String {
    segment.strip_prefix("U__").and_then(decode).unwrap_or_else(|| segment.to_owned())
}

fn decode(escaped: &str) -> Option<String> {
    const MAX_HEX_DIGITS: usize = 6;
    let mut out = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((plain, after)) = rest.split_once('_') {
        out.push_str(plain);
        rest = match after.strip_prefix('_') {
            Some(after) => {
                out.push('_');
                after
            }
            None => {
                let (hex, after) = after.split_once('_')?;
                if hex.len() > MAX_HEX_DIGITS || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return None;
                }
                out.push(char::from_u32(u32::from_str_radix(hex, 16).ok()?)?);
                after
            }
        };
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_in_paths() {
        let cases = [
            ("job", "job"),
            ("U__a_2e_b", "a.b"),
            ("U__a__b", "a_b"),
            ("U___1f600_x", "😀x"),
            ("U__", ""),
            ("U__a_2e", "U__a_2e"),
            ("U__a_zz_", "U__a_zz_"),
            ("U__a_d800_", "U__a_d800_"),
            ("U__a_1234567_", "U__a_1234567_"),
            ("U_x", "U_x"),
        ];
        for (segment, want) in cases {
            assert_eq!(unescape_name(segment), want, "{segment}");
        }
    }

    proptest! {
        #[test]
        fn escaped_names_come_back(name in "\\PC{0,20}") {
            let escaped: String = name.chars().map(|c| match c {
                '_' => "__".to_owned(),
                c if c.is_ascii_alphanumeric() => c.to_string(),
                c => format!("_{:x}_", c as u32),
            }).collect();
            prop_assert_eq!(unescape_name(&format!("U__{escaped}")), name);
        }

        #[test]
        fn no_segment_panics(segment in "U__[_0-9a-z😀]{0,20}") {
            let _ = unescape_name(&segment);
        }
    }
}
