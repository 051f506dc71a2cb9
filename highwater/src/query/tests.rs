//! The commands against a small server with fixed answers.

use std::sync::{Arc, Mutex};

use clap::Parser;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const NOW: TimestampMs = TimestampMs(1_700_000_000_500);

/// Answers every request with what `reply` says: a status and a body.
struct Server {
    url: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(reply: fn(&str) -> (u16, &'static str)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/prefix/", listener.local_addr().expect("an address"));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let notes = heard.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read_request(&mut stream).await;
                let (status, body) = reply(&request);
                notes.lock().expect("lock").push(request);
                let head =
                    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await;
            }
        });
        Self { url, heard }
    }

    fn last(&self) -> String {
        self.heard.lock().expect("lock").last().cloned().unwrap_or_default()
    }
}

async fn read_request(stream: &mut TcpStream) -> String {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer).await.unwrap_or(0);
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        let body = text.split_once("\r\n\r\n");
        let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
        if read == 0 || body.is_some_and(|(_, body)| body.len() >= length.unwrap_or(0)) {
            return String::from_utf8_lossy(&bytes).into_owned();
        }
    }
}

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: QueryCommand,
}

/// What a command prints on a terminal of 60 columns, and what it says beside it.
async fn asked(arguments: &[&str]) -> Result<(String, Vec<String>)> {
    let line = Line::try_parse_from([&["query"], arguments].concat())?;
    let screen = Screen { is_terminal: true, width: 60 };
    answer(line.command, NOW, &screen).await.map(|printed| (printed.text, printed.remarks))
}

const VECTOR: &str = r#"{"status":"success","data":{"resultType":"vector","result":[
    {"metric":{"__name__":"up","job":"a"},"value":[1700000000.5,"1"]},
    {"metric":{"__name__":"up","job":"b"},"value":[1700000000.5,"0"]}]},"warnings":["w"],"infos":["i"]}"#;
const MATRIX: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[
    {"metric":{"job":"a"},"values":[[1699999980,"1"],[1699999990,"2"],[1700000000,"4"]]}]}}"#;

#[tokio::test]
async fn one_moment_in_every_form() {
    let server = Server::start(|_| (200, VECTOR)).await;
    let url = server.url.as_str();
    let table = "\
SERIES       TIME                 VALUE
up{job=\"a\"}  2023-11-14 22:13:20      1
up{job=\"b\"}  2023-11-14 22:13:20      0
";
    let csv = "timestamp,value,__name__,job\n1700000000.5,1,up,a\n1700000000.5,0,up,b\n";
    let plain = "up{job=\"a\"} => 1 @[1700000000.5]\nup{job=\"b\"} => 0 @[1700000000.5]\n";
    let json = "[{\"metric\":{\"__name__\":\"up\",\"job\":\"a\"},\"value\":[1700000000.5,\"1\"]},\
                {\"metric\":{\"__name__\":\"up\",\"job\":\"b\"},\"value\":[1700000000.5,\"0\"]}]\n";
    for (format, want) in [("table", table), ("csv", csv), ("plain", plain), ("promql", plain), ("json", json)] {
        let (text, remarks) = asked(&["instant", url, "up", "--format", format]).await.expect("answers");
        assert_eq!(text, want, "{format}");
        assert_eq!(remarks, ["warning: w", "info: i"]);
    }
    assert_eq!(asked(&["instant", "--url", url, "up"]).await.expect("answers").0, table);
    let heard = server.last();
    assert!(heard.starts_with("POST /prefix/api/v1/query HTTP/1.1\r\n"), "{heard}");
    assert!(heard.ends_with("query=up&time=1700000000.500&timeout=2m"), "{heard}");
    let error = asked(&["instant", url, "up", "-o", "chart"]).await.expect_err("has no chart");
    assert!(error.to_string().contains("use query range"));
}

#[tokio::test]
async fn a_range() {
    let server = Server::start(|_| (200, MATRIX)).await;
    let url = server.url.as_str();
    let ask = ["range", url, "m", "--start", "1699999980", "--end", "1700000000", "--step", "10s"];
    let with = |format| [ask.as_slice(), &["--format", format]].concat();
    let (csv, _) = asked(&with("csv")).await.expect("answers");
    assert_eq!(csv, "timestamp,value,job\n1699999980,1,a\n1699999990,2,a\n1700000000,4,a\n");
    let heard = server.last();
    assert!(heard.ends_with("query=m&start=1699999980.000&end=1700000000.000&step=10.000&timeout=2m"), "{heard}");
    let (plain, _) = asked(&with("plain")).await.expect("answers");
    assert_eq!(plain, "{job=\"a\"} =>\n1 @[1699999980]\n2 @[1699999990]\n4 @[1700000000]\n");
    let (chart, _) = asked(&with("chart")).await.expect("answers");
    let lines: Vec<&str> = chart.lines().collect();
    assert_eq!((lines.len(), lines[0]), (10, "{job=\"a\"}"), "{chart}");
    assert!(lines.iter().all(|line| line.chars().count() <= 60), "{chart}");
    assert!(lines[1].starts_with("  4 ┤") && lines[6].starts_with("  1 ┤"), "{chart}");
    assert!(lines[8].trim().starts_with("22:13:00") && lines[8].ends_with("22:13:20"), "{chart}");
    assert_eq!(lines[9].trim(), "last 4  min 1  max 4  3 samples");
    asked(&["range", url, "m"]).await.expect("answers");
    assert!(server.last().ends_with("start=1699999700.500&end=1700000000.500&step=1.000&timeout=2m"));
    assert!(asked(&["range", url, "m", "--start", "1h", "--end", "2h"]).await.is_err());
}

#[tokio::test]
async fn series_and_labels() {
    let server = Server::start(|request| {
        let series = r#"{"status":"success","data":[{"__name__":"up","job":"a"},{"__name__":"up"}]}"#;
        (200, if request.contains("/series ") { series } else { r#"{"status":"success","data":["a","b"]}"# })
    })
    .await;
    let url = server.url.as_str();
    let ask = ["series", url, "--match", "up", "--match", "x", "--start", "1000"];
    for (format, want) in [
        ("table", "__name__  job\nup        a\nup\n"),
        ("csv", "__name__,job\nup,a\nup,\n"),
        ("plain", "up{job=\"a\"}\nup\n"),
        ("json", "[{\"__name__\":\"up\",\"job\":\"a\"},{\"__name__\":\"up\"}]\n"),
    ] {
        let (text, _) = asked(&[ask.as_slice(), &["-o", format]].concat()).await.expect("answers");
        assert_eq!(text, want, "{format}");
    }
    assert!(server.last().ends_with("start=1000.000&match%5B%5D=up&match%5B%5D=x"), "{}", server.last());
    for (words, path) in [
        (vec![url], "POST /prefix/api/v1/labels "),
        (vec![url, "job"], "GET /prefix/api/v1/label/job/values "),
        (vec![url, "a.b"], "GET /prefix/api/v1/label/U__a_2e_b/values "),
    ] {
        let (text, _) = asked(&[&["labels"], words.as_slice()].concat()).await.expect("answers");
        assert_eq!(text, "a\nb\n");
        assert!(server.last().starts_with(path), "{}", server.last());
    }
    assert_eq!(asked(&["labels", url, "job", "-o", "csv"]).await.expect("answers").0, "job\na\nb\n");
}

#[tokio::test]
async fn what_goes_wrong_is_told() {
    let server = Server::start(|request| match request {
        r if r.contains("query=bad") => {
            (400, r#"{"status":"error","errorType":"bad_data","error":"1:3: parse error"}"#)
        }
        r if r.starts_with("POST") && r.contains("query=get") => (405, "no"),
        r if r.contains("query=get") => (200, MATRIX),
        _ => (502, "<html>bad gateway</html>"),
    })
    .await;
    let url = server.url.as_str();
    for (arguments, want) in [
        (vec!["instant", url, "bad"], "bad_data: 1:3: parse error"),
        (vec!["instant", url, "x"], "answered 502"),
        (vec!["instant", url, "x"], "<html>bad gateway"),
        (vec!["instant", "ftp://x", "x"], "not the URL of an HTTP server"),
        (vec!["instant", "http://127.0.0.1:1", "x"], "cannot ask the server"),
        (vec!["instant", url, "x", "-H", "nonsense"], "is not a header"),
        (vec!["instant", url, "x", "--bearer-token-file", "/nonexistent"], "cannot read /nonexistent"),
        (vec!["instant", url, "x", "--tls-ca-file", "/nonexistent"], "cannot read /nonexistent"),
    ] {
        let error = asked(&arguments).await.expect_err("fails");
        assert!(format!("{error:#}").contains(want), "{arguments:?}: {error:#}");
    }
    let (text, _) = asked(&["range", url, "get", "-o", "csv"]).await.expect("is asked again with GET");
    assert!(text.contains("1700000000,4,a"), "{text}");
}

#[tokio::test]
async fn who_asks() {
    let server = Server::start(|_| (200, VECTOR)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("writes");
        path.display().to_string()
    };
    let (token, password) = (file("token", "abc\n"), file("password", "p\n"));
    for (flags, want) in [
        (vec!["--bearer-token-file", token.as_str()], "authorization: Bearer abc\r\n"),
        (vec!["--user", "u", "--password-file", password.as_str()], "authorization: Basic dTpw\r\n"),
        (vec!["-H", "X-Scope-OrgID: a", "-H", "X-B=c"], "x-scope-orgid: a\r\nx-b: c\r\n"),
    ] {
        asked(&[vec!["instant", server.url.as_str(), "up"], flags].concat()).await.expect("answers");
        assert!(server.last().contains(want), "{want}: {}", server.last());
    }
}

#[test]
fn the_command_line_is_sound() {
    <Line as clap::CommandFactory>::command().debug_assert();
    for command in ["instant", "range", "series", "labels"] {
        let help = Line::try_parse_from(["query", command, "--help"]).err().map(|error| error.to_string());
        let help = help.unwrap_or_default();
        assert!(help.contains("Examples:") && help.contains("--url"), "{help}");
    }
}

#[test]
fn names_in_paths() {
    for (name, want) in
        [("job", "job"), ("a.b", "U__a_2e_b"), ("U__x", "U__U____x"), ("é_1", "U___e9___1"), ("1", "U___31_")]
    {
        assert_eq!(escape(name), want);
    }
}
