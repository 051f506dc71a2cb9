//! What of the language this crate decides: selectors for `match[]`, and which experimental parts are on.

use model::Matcher;

use crate::{PromqlError, SyntaxOptions};

/// Parses one series selector, as in `match[]`: a name, matchers, or both.
///
/// # Errors
/// When the text is anything else, has an offset or `@`, or would select series without any of its labels.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, PromqlError> {
    let matchers = promql_syntax::parse_selector(text)?;
    if matchers.iter().all(Matcher::matches_empty) {
        return Err(PromqlError::BadData("match[] must contain at least one non-empty matcher".to_owned()));
    }
    Ok(matchers)
}

/// The language with these of Prometheus' feature flags (`--enable-feature`), and the names of those that it does not
/// have. Experimental functions other than `info` are always on.
pub fn enable_features<'n>(names: impl IntoIterator<Item = &'n str>) -> (SyntaxOptions, Vec<&'n str>) {
    let (mut options, mut unknown) = (SyntaxOptions::default(), Vec::new());
    for name in names {
        match name {
            "promql-experimental-functions" => options.info = true,
            "promql-duration-expr" => options.duration_expressions = true,
            "promql-extended-range-selectors" => options.extended_ranges = true,
            "promql-binop-fill-modifiers" => options.fill = true,
            _ => unknown.push(name),
        }
    }
    (options, unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors() {
        let shown = |text: &str| -> Vec<String> {
            parse_selector(text).expect("is a selector").iter().map(ToString::to_string).collect()
        };
        assert_eq!(shown("up"), [r#"__name__="up""#]);
        assert_eq!(shown(r#"up{a!="b",c=~"d|e"}"#), [r#"a!="b""#, r#"c=~"d|e""#, r#"__name__="up""#]);
        assert_eq!(shown(r#"{__name__=~"a.*"}"#), [r#"__name__=~"a.*""#]);
        assert_eq!(shown(r#"{"a.b", "c d"="e"}"#), [r#"__name__="a.b""#, r#"c d="e""#]);
        for text in ["", "up + 1", "up[5m]", "up offset 5m", "{}", r#"{a=""}"#, r#"{a=~".*"}"#, r#"up{a=~"["}"#, "1"] {
            assert!(parse_selector(text).is_err(), "{text}");
        }
    }

    #[test]
    fn features_by_name() {
        let (options, unknown) = enable_features(["promql-duration-expr", "native-histograms"]);
        assert!(options.duration_expressions && !options.info && !options.fill);
        assert_eq!(unknown, ["native-histograms"]);
        assert!(enable_features(["promql-experimental-functions"]).0.info);
    }
}
