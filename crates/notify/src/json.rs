//! JSON as Go writes it: safe to stand in HTML and JavaScript. Receivers compare bytes and signatures.

use serde::Serialize;

/// What stands in JSON only within strings and Go writes as an escape, with that escape.
const ESCAPES: [(char, &str); 5] =
    [('&', "\\u0026"), ('<', "\\u003c"), ('>', "\\u003e"), ('\u{2028}', "\\u2028"), ('\u{2029}', "\\u2029")];

/// Text and numbers under text keys; those always serialize.
pub(crate) fn go_json(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).unwrap_or_default();
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match ESCAPES.iter().find(|(plain, _)| *plain == c) {
            Some((_, escape)) => out.push_str(escape),
            None => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_go_escapes_and_reads_back() {
        let text = "磁盘 <b> & \"q\" \\ \n \u{2028}\u{2029}";
        let json = go_json(&text);
        assert_eq!(json, r#""磁盘 \u003cb\u003e \u0026 \"q\" \\ \n \u2028\u2029""#);
        assert_eq!(serde_json::from_str::<String>(&json).expect("is JSON"), text);
    }
}
