//! Remote write 1.0 and remote read as the checker speaks them: a second implementation, so that a mistake in the first
//! cannot hide itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Label values by name.
pub type Labels = BTreeMap<String, String>;
/// Timestamp in milliseconds and the bits of the value, so that staleness markers count.
pub type Point = (i64, u64);

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn number(out: &mut Vec<u8>, field: u64, value: i64) {
    varint(out, field << 3);
    varint(out, value as u64);
}

fn bytes(out: &mut Vec<u8>, field: u64, content: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

fn compressed(message: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(message).expect("is small")
}

/// A `WriteRequest`.
pub fn write_request<'a>(series: impl IntoIterator<Item = (&'a Labels, &'a [Point])>) -> Vec<u8> {
    let mut request = Vec::new();
    for (labels, points) in series {
        let mut one = Vec::new();
        for (name, value) in labels {
            let mut label = Vec::new();
            bytes(&mut label, 1, name.as_bytes());
            bytes(&mut label, 2, value.as_bytes());
            bytes(&mut one, 1, &label);
        }
        for (timestamp, value) in points {
            let mut sample = vec![1 << 3 | 1];
            sample.extend_from_slice(&value.to_le_bytes());
            number(&mut sample, 2, *timestamp);
            bytes(&mut one, 2, &sample);
        }
        bytes(&mut request, 1, &one);
    }
    compressed(&request)
}

async fn post(address: SocketAddr, path: &str, body: Vec<u8>) -> Result<(u16, Vec<u8>), String> {
    runtime::install_tls();
    let request = reqwest::Client::new()
        .post(format!("http://{address}{path}"))
        .header("Content-Type", "application/x-protobuf")
        .header("Content-Encoding", "snappy")
        .header("X-Prometheus-Remote-Write-Version", "0.1.0")
        .header("X-Prometheus-Remote-Read-Version", "0.1.0")
        .timeout(Duration::from_secs(30));
    let answer = request.body(body).send().await.map_err(|e| format!("{address}: {e}"))?;
    let status = answer.status().as_u16();
    Ok((status, answer.bytes().await.map_err(|e| format!("{address}: {e}"))?.to_vec()))
}

/// Writes, and says the status and the text of the answer.
pub async fn write(address: SocketAddr, body: Vec<u8>) -> Result<(u16, String), String> {
    let (status, text) = post(address, "/api/v1/write", body).await?;
    Ok((status, String::from_utf8_lossy(&text).into_owned()))
}

/// Every sample, staleness markers too, of the series with these labels, from and to included.
pub async fn read(
    address: SocketAddr,
    matchers: &[(&str, &str)],
    from_ms: i64,
    to_ms: i64,
) -> Result<Vec<(Labels, Vec<Point>)>, String> {
    let mut query = Vec::new();
    number(&mut query, 1, from_ms);
    number(&mut query, 2, to_ms);
    for (name, value) in matchers {
        let mut matcher = Vec::new();
        bytes(&mut matcher, 2, name.as_bytes());
        bytes(&mut matcher, 3, value.as_bytes());
        bytes(&mut query, 3, &matcher);
    }
    let mut request = Vec::new();
    bytes(&mut request, 1, &query);
    let (status, body) = post(address, "/api/v1/read", compressed(&request)).await?;
    if status != 200 {
        return Err(format!("{address} answers {status}: {}", String::from_utf8_lossy(&body)));
    }
    let response = snap::raw::Decoder::new().decompress_vec(&body).map_err(|e| format!("{address}: {e}"))?;
    let broken = || format!("{address}: not a ReadResponse");
    let mut out = Vec::new();
    for result in messages(&response, 1).ok_or_else(broken)? {
        for series in messages(result, 1).ok_or_else(broken)? {
            out.push(time_series(series).ok_or_else(broken)?);
        }
    }
    Ok(out)
}

fn time_series(message: &[u8]) -> Option<(Labels, Vec<Point>)> {
    let mut labels = Labels::new();
    for label in messages(message, 1)? {
        let text = |field| Some(String::from_utf8_lossy(messages(label, field)?.first()?).into_owned());
        labels.insert(text(1)?, text(2)?);
    }
    let mut points = Vec::new();
    for sample in messages(message, 2)? {
        let (mut value, mut timestamp) = (0, 0);
        for (field, content) in fields(sample)? {
            match content {
                Content::Fixed(bits) if field == 1 => value = bits,
                Content::Number(ms) if field == 2 => timestamp = ms as i64,
                _ => return None,
            }
        }
        points.push((timestamp, value));
    }
    Some((labels, points))
}

enum Content<'a> {
    Number(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

fn messages(message: &[u8], wanted: u64) -> Option<Vec<&[u8]>> {
    let of = |(field, content)| match content {
        Content::Bytes(bytes) if field == wanted => Some(bytes),
        _ => None,
    };
    Some(fields(message)?.into_iter().filter_map(of).collect())
}

fn fields(mut message: &[u8]) -> Option<Vec<(u64, Content<'_>)>> {
    let mut out = Vec::new();
    while !message.is_empty() {
        let tag = take_varint(&mut message)?;
        let content = match tag & 7 {
            0 => Content::Number(take_varint(&mut message)?),
            1 => {
                let (bits, rest) = message.split_first_chunk()?;
                message = rest;
                Content::Fixed(u64::from_le_bytes(*bits))
            }
            2 => {
                let length = take_varint(&mut message)? as usize;
                let (content, rest) = message.split_at_checked(length)?;
                message = rest;
                Content::Bytes(content)
            }
            _ => return None,
        };
        out.push((tag >> 3, content));
    }
    Some(out)
}

fn take_varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if *byte < 0x80 {
            return Some(value);
        }
    }
    None
}
