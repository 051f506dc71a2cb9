//! Mail: TLS, logins, parts, threading, replies.

use notify::Notification;
use stand_in::{Mail, Smtp, SmtpFault, SmtpOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{DEADLINE, House, alert, assert_permanent, assert_retry, notification};

struct Post {
    house: House,
    server: Smtp,
    folder: tempfile::TempDir,
}

impl Post {
    async fn new(options: SmtpOptions) -> Self {
        let house = House::new();
        let server = Smtp::start(&house.supervisor, "127.0.0.1:0", options).await.expect("starts");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), server.ca_pem()).expect("writes");
        Self { house, server, folder }
    }

    fn global(&self) -> String {
        format!("smtp_smarthost: {}\nsmtp_from: Highwater <hw@example.com>\nsmtp_hello: here", self.server.address())
    }

    /// An `email_configs` entry that trusts the stand-in, with `more` keys.
    fn yaml(&self, more: &str) -> String {
        let ca = self.folder.path().join("ca.pem");
        format!(
            "email_configs:\n  - to: 'ops@example.com, 值班 <duty@example.com>'\n    tls_config: {{ca_file: {}}}\n{more}",
            ca.display()
        )
    }

    async fn send(&self, more: &str, notification: &Notification) -> Result<(), notify::SendError> {
        self.house.integration(&self.global(), &self.yaml(more)).send(notification).await
    }

    async fn one(&self) -> Mail {
        self.server.inbox.wait_for_count(1, DEADLINE).await.expect("arrives").remove(0)
    }
}

fn login() -> Option<(String, String)> {
    Some(("hw".to_owned(), "p@ss".to_owned()))
}

#[tokio::test]
async fn sends_text_and_html_by_starttls() {
    let post = Post::new(SmtpOptions { login: login(), ..SmtpOptions::default() }).await;
    let integration =
        post.house.integration(&post.global(), &post.yaml("    auth_username: hw\n    auth_password: p@ss"));
    assert_eq!((integration.kind(), integration.send_resolved()), ("email", false));
    integration.send(&notification()).await.expect("is taken");
    let mail = post.one().await;
    assert!(mail.tls);
    assert_eq!(mail.user.as_deref(), Some("hw"));
    assert_eq!(
        (mail.from.as_str(), mail.to.as_slice()),
        ("hw@example.com", ["ops@example.com", "duty@example.com"].map(str::to_owned).as_slice())
    );
    assert_eq!(mail.header("Subject"), Some("[FIRING:1] 磁盘满 (c1 page)"));
    assert!(mail.header("From").is_some_and(|f| f.contains("Highwater") && f.contains("<hw@example.com>")));
    assert!(mail.header("To").is_some_and(|f| f.contains("值班")), "{:?}", mail.headers);
    assert!(mail.header("Date").is_some());
    assert!(mail.header("Content-Type").is_some_and(|t| t.starts_with("multipart/alternative")));
    let types: Vec<_> = mail.parts.iter().map(|p| p.content_type.split(';').next().unwrap_or_default()).collect();
    assert_eq!(types, ["text/plain", "text/html"]);
    assert!(mail.part("text/plain").is_some_and(|t| t.contains("n1: 90% < 100%")), "{:?}", mail.parts);
    assert!(mail.part("text/html").is_some_and(|t| t.contains("n2: 90% &lt; 100%")), "{:?}", mail.parts);
}

#[tokio::test]
async fn threads_by_group_and_names_itself_by_state() {
    let post = Post::new(SmtpOptions::default()).await;
    let resolved = Notification { alerts: vec![alert("n1", true)], ..notification() };
    let other = Notification { group_key: "other".to_owned(), ..notification() };
    for n in [&notification(), &notification(), &resolved, &other] {
        post.send("", n).await.expect("is taken");
    }
    let mails = post.server.inbox.messages();
    let header = |n: usize, name: &str| mails[n].header(name).unwrap_or_default().to_owned();
    assert_eq!(header(0, "Message-ID"), header(1, "Message-ID"));
    assert_ne!(header(0, "Message-ID"), header(2, "Message-ID"));
    assert_eq!(header(0, "References"), header(2, "References"));
    assert_eq!(header(0, "In-Reply-To"), header(0, "References"));
    assert_ne!(header(0, "References"), header(3, "References"));
    assert!(header(0, "References").ends_with(".thread@example.com>"));
    post.send("    threading: {enabled: false}", &notification()).await.expect("is taken");
    assert_eq!(post.server.inbox.messages()[4].header("References"), None);
}

#[tokio::test]
async fn headers_and_parts_are_the_users() {
    let post = Post::new(SmtpOptions::default()).await;
    let more = "    headers: {subject: '{{ .Status }} 满', X-Team: \"a\\nBcc: evil@example.com\"}\n    html: ''\n    text: '{{ .CommonLabels.severity }}'\n    from: '{{ .Receiver }}@example.org'";
    post.send(more, &notification()).await.expect("is taken");
    let mail = post.one().await;
    assert_eq!((mail.header("Subject"), mail.header("X-Team")), (Some("firing 满"), Some("a Bcc: evil@example.com")));
    assert_eq!(mail.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case("subject")).count(), 1);
    assert_eq!((mail.from.as_str(), mail.header("Bcc")), ("team@example.org", None));
    assert_eq!((mail.parts.len(), mail.part("text/plain").map(str::trim)), (1, Some("page")));
}

#[tokio::test]
async fn templates_that_fail_lose_nothing() {
    let post = Post::new(SmtpOptions::default()).await;
    post.send(
        "    html: '<b>{{ .Nope }}</b>'\n    text: '{{ .Nope }}'\n    headers: {Subject: '{{ .Nope }}'}",
        &notification(),
    )
    .await
    .expect("is taken");
    let mail = post.one().await;
    assert_eq!(mail.header("Subject"), Some("[FIRING:1] 磁盘满"));
    assert!(mail.part("text/html").is_some_and(|t| t.contains("90% &lt; 100%")));
    assert!(mail.part("text/plain").is_some_and(|t| t.contains("90% < 100%")));
    assert!(post.house.template_failures().ends_with(" 3"));
    assert_permanent(
        post.send("    from: '{{ .Nope }}'", &notification()).await,
        "from is not a list of mail addresses",
    );
}

#[tokio::test]
async fn speaks_implicit_tls_login_and_for_others() {
    let options =
        SmtpOptions { login: login(), implicit_tls: true, login_mechanism_only: true, ..SmtpOptions::default() };
    let post = Post::new(options).await;
    let more = "    auth_username: hw\n    auth_password: p@ss\n    force_implicit_tls: true";
    post.send(more, &notification()).await.expect("is taken");
    assert_eq!(post.one().await.user.as_deref(), Some("hw"));
    let post = Post::new(SmtpOptions { login: login(), ..SmtpOptions::default() }).await;
    let more = "    auth_username: hw\n    auth_password: p@ss\n    auth_identity: somebody";
    post.send(more, &notification()).await.expect("is taken");
    assert_eq!(post.one().await.user.as_deref(), Some("hw"));
}

#[tokio::test]
async fn tls_is_not_given_up() {
    let post = Post::new(SmtpOptions { no_starttls: true, ..SmtpOptions::default() }).await;
    assert_permanent(post.send("", &notification()).await, "does not offer STARTTLS");
    post.send("    require_tls: false", &notification()).await.expect("is taken");
    assert!(!post.one().await.tls);
    let post = Post::new(SmtpOptions::default()).await;
    let stranger =
        post.yaml("").replace(&format!("{{ca_file: {}}}", post.folder.path().join("ca.pem").display()), "{}");
    assert_retry(post.house.integration(&post.global(), &stranger).send(&notification()).await, "certificate");
    let blind = stranger.replace("tls_config: {}", "tls_config: {insecure_skip_verify: true}");
    post.house.integration(&post.global(), &blind).send(&notification()).await.expect("is taken");
    let named = post.yaml("").replace("{ca_file", "{server_name: localhost, ca_file");
    post.house.integration(&post.global(), &named).send(&notification()).await.expect("is taken");
    assert_eq!(post.server.inbox.messages().len(), 2);
}

#[tokio::test]
async fn replies_say_what_to_do() {
    let post = Post::new(SmtpOptions { login: login(), ..SmtpOptions::default() }).await;
    assert_permanent(post.send("    auth_username: hw\n    auth_password: no", &notification()).await, "535");
    assert_permanent(post.send("", &notification()).await, "530");
    let logged_in = "    auth_username: hw\n    auth_password: p@ss";
    for fault in [SmtpFault::Sender(451), SmtpFault::Recipient(450), SmtpFault::Mail(452)] {
        post.server.faults.fail_next(fault);
        assert_retry(post.send(logged_in, &notification()).await, "45");
    }
    for fault in [SmtpFault::Sender(550), SmtpFault::Recipient(553), SmtpFault::Mail(554)] {
        post.server.faults.fail_next(fault);
        assert_permanent(post.send(logged_in, &notification()).await, "55");
    }
    post.server.faults.fail_next(SmtpFault::HangUp);
    assert_retry(post.send(logged_in, &notification()).await, "the mail");
    assert_eq!(post.server.inbox.messages().len(), 0);
    post.house.supervisor.stop(DEADLINE).await;
    assert_retry(post.send(logged_in, &notification()).await, "the connection");
}

#[tokio::test]
async fn one_wrong_recipient_does_not_silence_the_others() {
    let post = Post::new(SmtpOptions::default()).await;
    let yaml = post.yaml("").replace("ops@example.com", "nobody@example.com");
    post.house.integration(&post.global(), &yaml).send(&notification()).await.expect("is taken");
    assert_eq!(post.one().await.to, ["duty@example.com"]);
    let yaml = yaml.replace(", 值班 <duty@example.com>", "");
    assert_permanent(post.house.integration(&post.global(), &yaml).send(&notification()).await, "550");
}

#[tokio::test]
async fn the_stand_in_takes_pipelined_commands_and_forgets_what_came_before_tls() {
    let post = Post::new(SmtpOptions::default()).await;
    let mut stream = tokio::net::TcpStream::connect(post.server.address()).await.expect("connects");
    let commands =
        "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: s\r\n\r\n..dot\r\n.\r\nNOOP\r\nQUIT\r\n";
    stream.write_all(commands.as_bytes()).await.expect("writes");
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.expect("reads");
    let codes: Vec<_> = answers.lines().filter(|l| l.as_bytes().get(3) == Some(&b' ')).map(|l| &l[..3]).collect();
    assert_eq!(codes, ["220", "250", "250", "250", "354", "250", "250", "221"], "{answers}");
    assert_eq!(post.one().await.parts[0].body, ".dot\r\n");
}
