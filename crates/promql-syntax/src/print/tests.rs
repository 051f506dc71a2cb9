//! What the printer writes.

use crate::{Options, parse};

fn canonical(query: &str) -> String {
    parse(query, Options::EXPERIMENTAL).unwrap_or_else(|error| panic!("{query}: {error}")).to_string()
}

#[test]
fn canonical_forms() {
    let cases = [
        ("up", "up"),
        ("  SUM( up )  ", "sum(up)"),
        ("sum(up) by(a,b)", "sum by (a, b) (up)"),
        (r#"sum without("a.b",c)(up)"#, r#"sum without ("a.b", c) (up)"#),
        ("sum by () (up)", "sum(up)"),
        ("sum without () (up)", "sum without () (up)"),
        ("topk(5,up)", "topk(5, up)"),
        (r#"up{b="2",a=~'1'}"#, r#"up{a=~"1",b="2"}"#),
        (r#"{"a.b","c d"!="e"}"#, r#"{"c d"!="e",__name__="a.b"}"#),
        (r#"{__name__="up"}"#, r#"{__name__="up"}"#),
        ("up[300]offset -1d", "up[5m] offset -1d"),
        ("up offset 1h @ 1.5", "up @ 1.500 offset 1h"),
        ("up[5m] @ start() anchored", "up[5m] anchored @ start()"),
        ("up @ end() smoothed", "up @ end() smoothed"),
        ("up[90m:]", "up[1h30m:]"),
        ("up[5m:30] @ -1", "up[5m:30s] @ -1.000"),
        ("1h + 5", "1h + 5"),
        ("-1", "-1"),
        ("- - 1", "1"),
        ("-up^2", "-up ^ 2"),
        ("+up", "+up"),
        ("1e3", "1000"),
        ("1e-7", "0.0000001"),
        ("0x1f + 0755 + 1_000", "31 + 493 + 1000"),
        ("inf + nan", "+Inf + NaN"),
        ("a>bool b", "a > bool b"),
        ("a + on() b", "a + on () b"),
        ("a + ignoring() b", "a + b"),
        ("a + ignoring() group_left b", "a + ignoring () group_left () b"),
        ("a*on(x)group_right(y)b", "a * on (x) group_right (y) b"),
        ("a + fill(-1) b", "a + fill (-1) b"),
        ("a + fill_right(1) fill_left(2) b", "a + fill_left (2) fill_right (1) b"),
        ("up[5m*2]", "up[5m * 2]"),
        ("up[-(step()) + max_of(1,2m):min(range(),3)]", "up[-(step()) + max(1, 2m):min(range(), 3)]"),
        ("up offset (1h+5m)", "up offset (1h + 5m)"),
        ("up offset -(1h)", "up offset -(1h)"),
        (r#""a\x41ä\n""#, r#""aAä\n""#),
        ("up # comment\n + 1", "up + 1"),
    ];
    for (query, want) in cases {
        assert_eq!(canonical(query), want, "{query}");
        assert_eq!(canonical(want), want, "{want} reads back");
    }
}
