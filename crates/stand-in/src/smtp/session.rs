//! One SMTP conversation (RFC 5321, with PIPELINING, SIZE, 8BITMIME, SMTPUTF8, STARTTLS and AUTH).

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Mail, Server, SmtpFault};

const MAX_LINE_BYTES: usize = 4096;
const MAX_MAIL_BYTES: usize = 4 << 20;
const MAX_RECIPIENTS: usize = 1000;

/// How a conversation ends.
pub(crate) enum End<S> {
    Done,
    /// The client wants to go on in TLS. What it sent ahead in plain text is forgotten (CVE-2011-0411).
    StartTls(S),
}

pub(crate) struct Session<'a, S> {
    server: &'a Server,
    stream: S,
    buffer: Vec<u8>,
    tls: bool,
    user: Option<String>,
    from: Option<String>,
    to: Vec<String>,
    fault: Option<SmtpFault>,
}

/// What to do after a command.
enum Next {
    Reply(&'static str),
    Fail(u16),
    Data,
    StartTls,
    Quit,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Session<'a, S> {
    pub(crate) fn new(server: &'a Server, stream: S, tls: bool) -> Self {
        Self { server, stream, buffer: Vec::new(), tls, user: None, from: None, to: Vec::new(), fault: None }
    }

    /// Talks until the client leaves. After STARTTLS there is no second greeting.
    pub(crate) async fn run(mut self, greet: bool) -> io::Result<End<S>> {
        if greet {
            self.reply("220 stand-in ESMTP").await?;
        }
        while let Some(line) = self.line().await? {
            let line = String::from_utf8_lossy(&line).into_owned();
            let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match self.command(&verb.to_ascii_uppercase(), rest.trim()).await? {
                Next::Reply(reply) => self.reply(reply).await?,
                Next::Fail(code) => {
                    self.server.inbox.refuse(format!("on demand: {code}"));
                    self.reply(&format!("{code} failed on demand")).await?;
                }
                Next::Data => {
                    if !self.data().await? {
                        return Ok(End::Done);
                    }
                }
                Next::StartTls => {
                    self.reply("220 go ahead").await?;
                    return Ok(End::StartTls(self.stream));
                }
                Next::Quit => {
                    self.reply("221 bye").await?;
                    self.stream.shutdown().await?;
                    return Ok(End::Done);
                }
            }
        }
        Ok(End::Done)
    }

    async fn command(&mut self, verb: &str, rest: &str) -> io::Result<Next> {
        let logged_in = self.server.options.login.is_none() || self.user.is_some();
        Ok(match verb {
            "EHLO" => {
                self.forget();
                self.greet_back().await?;
                Next::Reply("250 SMTPUTF8")
            }
            "HELO" => {
                self.forget();
                Next::Reply("250 stand-in")
            }
            "STARTTLS" if self.tls || self.server.options.no_starttls => Next::Reply("502 not offered"),
            "STARTTLS" => Next::StartTls,
            "AUTH" => Next::Reply(self.login(rest).await?),
            "MAIL" if !logged_in => Next::Reply("530 log in first"),
            "MAIL" => self.mail(rest),
            "RCPT" => self.recipient(rest),
            "DATA" if self.to.is_empty() => Next::Reply("503 name a recipient first"),
            "DATA" => Next::Data,
            "RSET" => {
                self.forget();
                Next::Reply("250 forgotten")
            }
            "NOOP" => Next::Reply("250 fine"),
            "QUIT" => Next::Quit,
            _ => Next::Reply("502 unknown command"),
        })
    }

    fn forget(&mut self) {
        self.from = None;
        self.to.clear();
    }

    async fn greet_back(&mut self) -> io::Result<()> {
        let mut lines = format!("250-stand-in\r\n250-PIPELINING\r\n250-SIZE {MAX_MAIL_BYTES}\r\n250-8BITMIME\r\n");
        if !self.tls && !self.server.options.no_starttls {
            lines.push_str("250-STARTTLS\r\n");
        }
        if self.server.options.login.is_some() {
            let plain = if self.server.options.login_mechanism_only { "" } else { " PLAIN" };
            lines.push_str(&format!("250-AUTH{plain} LOGIN\r\n"));
        }
        self.stream.write_all(lines.as_bytes()).await
    }

    async fn login(&mut self, rest: &str) -> io::Result<&'static str> {
        let (mechanism, initial) = rest.split_once(' ').unwrap_or((rest, ""));
        let given = match mechanism.to_ascii_uppercase().as_str() {
            "PLAIN" if !self.server.options.login_mechanism_only => {
                let written = if initial.is_empty() { self.ask("334 ").await? } else { initial.to_owned() };
                let message = decode(&written);
                let mut parts = message.split('\0').skip(1).map(str::to_owned);
                parts.next().zip(parts.next())
            }
            "LOGIN" => {
                let user = if initial.is_empty() { self.ask("334 VXNlcm5hbWU6").await? } else { initial.to_owned() };
                let password = self.ask("334 UGFzc3dvcmQ6").await?;
                Some((decode(&user), decode(&password)))
            }
            _ => return Ok("504 unknown mechanism"),
        };
        if given.is_some() && given == self.server.options.login {
            self.user = given.map(|(user, _)| user);
            return Ok("235 welcome");
        }
        self.server.inbox.refuse("a wrong login");
        Ok("535 wrong user or password")
    }

    async fn ask(&mut self, challenge: &str) -> io::Result<String> {
        self.reply(challenge).await?;
        Ok(self.line().await?.map(|line| String::from_utf8_lossy(&line).into_owned()).unwrap_or_default())
    }

    fn mail(&mut self, rest: &str) -> Next {
        let Some((address, parameters)) = path(rest, "FROM:") else { return Next::Reply("501 MAIL FROM:<address>") };
        let size = parameters.split(' ').find_map(|p| p.strip_prefix("SIZE=")).and_then(|s| s.parse::<usize>().ok());
        if size.is_some_and(|bytes| bytes > MAX_MAIL_BYTES) {
            return Next::Reply("552 too large");
        }
        self.fault = self.server.faults.take();
        if let Some(SmtpFault::Sender(code)) = self.fault {
            return Next::Fail(code);
        }
        self.from = Some(address);
        self.to.clear();
        Next::Reply("250 ok")
    }

    fn recipient(&mut self, rest: &str) -> Next {
        let Some((address, _)) = path(rest, "TO:") else { return Next::Reply("501 RCPT TO:<address>") };
        if self.from.is_none() {
            return Next::Reply("503 MAIL first");
        }
        if self.to.len() >= MAX_RECIPIENTS {
            return Next::Reply("452 too many recipients");
        }
        if let Some(SmtpFault::Recipient(code)) = self.fault {
            return Next::Fail(code);
        }
        // So that a test can have one recipient refused among several.
        if address.starts_with("nobody@") {
            return Next::Reply("550 nobody is not here");
        }
        self.to.push(address);
        Next::Reply("250 ok")
    }

    /// Reads the mail and answers it. False when the conversation is to end without an answer.
    async fn data(&mut self) -> io::Result<bool> {
        self.reply("354 go ahead").await?;
        let (mut raw, mut too_large) = (Vec::new(), false);
        loop {
            let Some(line) = self.line().await? else { return Ok(false) };
            if line == b"." {
                break;
            }
            too_large |= raw.len() + line.len() > MAX_MAIL_BYTES;
            if !too_large {
                raw.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
                raw.extend_from_slice(b"\r\n");
            }
        }
        let (from, to) = (self.from.take().unwrap_or_default(), std::mem::take(&mut self.to));
        match self.fault.take() {
            Some(SmtpFault::Mail(code)) => {
                self.server.inbox.refuse(format!("on demand: {code}"));
                self.reply(&format!("{code} failed on demand")).await?;
            }
            Some(SmtpFault::HangUp) => {
                self.server.inbox.refuse("on demand: hung up");
                return Ok(false);
            }
            _ if too_large => self.reply("552 too large").await?,
            _ => {
                let raw = String::from_utf8_lossy(&raw).into_owned();
                self.server.inbox.take(Mail::new(from, to, self.tls, self.user.clone(), raw));
                self.reply("250 taken").await?;
            }
        }
        Ok(true)
    }

    async fn reply(&mut self, line: &str) -> io::Result<()> {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).await?;
        self.stream.flush().await
    }

    /// The next line without its end; `None` when the client is gone.
    async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
                line.truncate(line.len() - 1);
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(Some(line));
            }
            if self.buffer.len() > MAX_LINE_BYTES {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long"));
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk).await {
                Ok(0) => return Ok(None),
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                // In TLS: hung up without saying so.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

fn decode(written: &str) -> String {
    STANDARD.decode(written.trim()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// `FROM:<a@b> SIZE=1` into the address and what follows it.
fn path(rest: &str, keyword: &str) -> Option<(String, String)> {
    let head = rest.get(..keyword.len())?;
    let rest = rest.get(keyword.len()..)?.trim_start();
    let (address, parameters) = rest.strip_prefix('<')?.split_once('>')?;
    head.eq_ignore_ascii_case(keyword).then(|| (address.to_owned(), parameters.trim().to_owned()))
}
