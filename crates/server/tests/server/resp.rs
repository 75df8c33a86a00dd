use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::start::{start, start_with};

pub(crate) struct Resp(TcpStream);

impl Resp {
    async fn connect(address: Option<SocketAddr>) -> Self {
        Resp(TcpStream::connect(address.unwrap()).await.unwrap())
    }

    pub(crate) async fn authenticated(address: Option<SocketAddr>) -> Self {
        let mut resp = Resp::connect(address).await;
        resp.check(b"AUTH full\r\n", b"+OK\r\n").await;
        resp
    }

    /// Sends bytes and compares as many as are expected back.
    pub(crate) async fn check(&mut self, sent: &[u8], expected: &[u8]) {
        self.0.write_all(sent).await.unwrap();
        self.expect(expected).await;
    }

    pub(crate) async fn expect(&mut self, expected: &[u8]) {
        let mut got = vec![0; expected.len()];
        let read = self.0.read_exact(&mut got);
        let done = tokio::time::timeout(Duration::from_secs(10), read).await;
        done.unwrap_or_else(|_| panic!("nothing came for {}", expected.escape_ascii()))
            .unwrap();
        assert_eq!(
            got.escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// The number that a command answers with.
    pub(crate) async fn ask_int(&mut self, argv: &[&str]) -> i64 {
        self.send(&command(argv)).await;
        self.number(b':').await
    }

    /// The text that a command answers with.
    pub(crate) async fn ask_bulk(&mut self, argv: &[&str]) -> String {
        self.send(&command(argv)).await;
        let length = self.number(b'$').await as usize;
        let mut text = vec![0; length + 2];
        self.0.read_exact(&mut text).await.unwrap();
        text.truncate(length);
        String::from_utf8(text).unwrap()
    }

    async fn number(&mut self, sigil: u8) -> i64 {
        let line = self.line().await;
        let digits = line.strip_prefix(char::from(sigil));
        digits.unwrap_or_else(|| panic!("{line}")).parse().unwrap()
    }

    /// The next line, without its end.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(self.0.read_u8().await.unwrap());
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).unwrap()
    }

    /// Reads past the next line that is this.
    pub(crate) async fn skip_past(&mut self, line: &str) {
        while self.line().await != line {}
    }

    /// Whether nothing more comes and the connection is closed.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        let read = self.0.read_to_end(&mut rest);
        tokio::time::timeout(Duration::from_secs(10), read)
            .await
            .is_ok()
            && rest.is_empty()
    }
}

pub(crate) fn command(args: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend_from_slice(format!("${}\r\n{arg}\r\n", arg.len()).as_bytes());
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_across_authentication_and_protocols() {
    let server = start().await;
    let mut resp = Resp::connect(server.resp()).await;
    let mut sent = command(&["GET", "k"]);
    sent.extend(command(&["AUTH", "default", "full"]));
    sent.extend(command(&["SET", "k", "v"]));
    sent.extend(b"GET k\r\n");
    sent.extend(b"SET \"a b\" 'c d'\r\n\r\n*0\r\n");
    sent.extend(command(&["GET", "a b"]));
    sent.extend(command(&["GET", "missing"]));
    sent.extend(command(&["PING"]));
    let expected = b"-NOAUTH Authentication required.\r\n+OK\r\n+OK\r\n$1\r\nv\r\n+OK\r\n$3\r\nc d\r\n$-1\r\n+PONG\r\n";
    resp.check(&sent, expected).await;
    // Byte by byte, too.
    for byte in command(&["GET", "k"]) {
        resp.0.write_all(&[byte]).await.unwrap();
    }
    resp.expect(b"$1\r\nv\r\n").await;
    resp.check(b"HELLO 3\r\n", b"%7\r\n$6\r\nserver\r\n").await;
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_any_buffer_holds() {
    let server = start().await;
    let mut resp = Resp::authenticated(server.resp()).await;
    let value = "x".repeat(1_500_000);
    resp.check(&command(&["SET", "big", &value]), b"+OK\r\n")
        .await;
    // 60 MB of replies, nothing read until all is sent.
    let sent = command(&["GET", "big"]).repeat(40);
    resp.0.write_all(&sent).await.unwrap();
    let expected = format!("$1500000\r\n{value}\r\n").into_bytes();
    for _ in 0..40 {
        resp.expect(&expected).await;
    }
    let sent = command(&["INCR", "n"]).repeat(20_000);
    let mut other = Resp::authenticated(server.resp()).await;
    let (mut read, mut write) = resp.0.split();
    let sending = write.write_all(&sent);
    let reading = async {
        let mut got = Vec::new();
        while !got.ends_with(b":20000\r\n") {
            assert!(read.read_buf(&mut got).await.unwrap() > 0);
        }
    };
    let (sent, ()) = tokio::join!(sending, reading);
    sent.unwrap();
    other.check(b"GET n\r\n", b"$5\r\n20000\r\n").await;
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_resp_is_answered_and_closed() {
    let server = start().await;
    for (sent, expected) in [
        (&b"*1\r\n!3\r\n"[..], &b"-ERR Protocol error: expected '$', got '!'\r\n"[..]),
        (b"*x\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\n$-5\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n$700000000\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
        (b"GET \"a\r\n", b"-ERR Protocol error: unbalanced quotes in request\r\n"),
        (b"PING\r\n*x\r\n", b"-NOAUTH Authentication required.\r\n-ERR Protocol error: invalid multibulk length\r\n"),
    ] {
        let mut resp = Resp::connect(server.resp()).await;
        resp.check(sent, expected).await;
        assert!(resp.is_closed().await, "{}", sent.escape_ascii());
    }
    let mut resp = Resp::authenticated(server.resp()).await;
    resp.check(b"SET a 1\r\nQUIT\r\nSET a 2\r\n", b"+OK\r\n+OK\r\n")
        .await;
    assert!(resp.is_closed().await);
    let mut resp = Resp::authenticated(server.resp()).await;
    resp.check(b"GET a\r\n", b"$1\r\n1\r\n").await;
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_arrive_while_commands_do() {
    let server = start().await;
    let mut listener = Resp::authenticated(server.resp()).await;
    listener
        .check(
            b"SUBSCRIBE a b\r\n",
            b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n",
        )
        .await;
    let mut resp = Resp::authenticated(server.resp()).await;
    resp.check(&command(&["PUBLISH", "a", "hi"]), b":1\r\n")
        .await;
    listener
        .expect(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n")
        .await;
    listener
        .check(b"PING\r\n", b"*2\r\n$4\r\npong\r\n$0\r\n\r\n")
        .await;
    listener
        .check(
            b"GET k\r\n",
            b"-ERR Can't execute 'get': only (P|S)SUBSCRIBE",
        )
        .await;
    drop(listener);
    // Gone clients stop counting.
    for _ in 0..200 {
        resp.0
            .write_all(&command(&["PUBLISH", "a", "hi"]))
            .await
            .unwrap();
        let mut got = [0; 4];
        resp.0.read_exact(&mut got).await.unwrap();
        if &got == b":0\r\n" {
            server.shutdown().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the subscription outlived its client");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_come_before_the_word_that_ends_them() {
    let server = start().await;
    let mut resp = Resp::authenticated(server.resp()).await;
    resp.0.write_all(b"HELLO 3\r\n").await.unwrap();
    let mut hello = vec![0; 4096];
    let length = resp.0.read(&mut hello).await.unwrap();
    assert!(hello[..length].starts_with(b"%7\r\n"));
    let message = ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nm\r\n";
    let subscribed = ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n";
    resp.check(
        b"SUBSCRIBE a\r\nPUBLISH a m\r\nUNSUBSCRIBE a\r\nPING\r\n",
        format!(
            "{subscribed}{message}:1\r\n>3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n+PONG\r\n"
        )
        .as_bytes(),
    )
    .await;
    // RESET speaks RESP2 again; what came before it is still RESP3.
    resp.check(
        b"SUBSCRIBE a\r\nMULTI\r\nPUBLISH a m\r\nEXEC\r\nRESET\r\nAUTH full\r\n",
        format!("{subscribed}+OK\r\n+QUEUED\r\n{message}*1\r\n:1\r\n+RESET\r\n+OK\r\n").as_bytes(),
    )
    .await;
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_does_not_read_is_cut_off() {
    let server = start().await;
    let mut sleeper = Resp::authenticated(server.resp()).await;
    sleeper
        .check(
            b"SUBSCRIBE a\r\n",
            b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
        )
        .await;
    let mut resp = Resp::authenticated(server.resp()).await;
    let publish = command(&["PUBLISH", "a", &"x".repeat(1 << 20)]);
    for _ in 0..200 {
        resp.0.write_all(&publish).await.unwrap();
        let mut got = [0; 4];
        resp.0.read_exact(&mut got).await.unwrap();
        if &got == b":0\r\n" {
            server.shutdown().await;
            return;
        }
    }
    panic!("200 MB wait for a client that does not read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_may_ask_for_more_than_may_wait_for_it() {
    let server = start().await;
    let mut resp = Resp::authenticated(server.resp()).await;
    let value = "x".repeat(40 << 20);
    resp.check(&command(&["SET", "big", &value]), b"+OK\r\n")
        .await;
    resp.check(b"HELLO 3\r\n", b"%7\r\n").await;
    resp.0
        .write_all(&command(&["SUBSCRIBE", "a"]))
        .await
        .unwrap();
    resp.0.write_all(&command(&["GET", "big"])).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    // A stop lets the answer go out.
    let stopping = tokio::spawn(server.shutdown());
    let mut got = Vec::new();
    resp.0.read_to_end(&mut got).await.unwrap();
    let end = format!(
        ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n${}\r\n{value}\r\n",
        value.len()
    );
    assert!(got.ends_with(end.as_bytes()), "{}", got.len());
    stopping.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_client_is_closed_and_forgotten() {
    let server = start().await;
    let mut victim = Resp::authenticated(server.resp()).await;
    victim.check(b"CLIENT SETNAME victim\r\n", b"+OK\r\n").await;
    let mut resp = Resp::authenticated(server.resp()).await;
    assert_eq!(server.engine().unwrap().clients().len(), 2);
    let id = server.engine().unwrap().clients()[0].id.to_string();
    resp.check(&command(&["CLIENT", "KILL", "ID", &id]), b":1\r\n")
        .await;
    assert!(victim.is_closed().await);
    for _ in 0..200 {
        if server.engine().unwrap().clients().len() == 1 {
            server.shutdown().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("a closed connection stayed on the list");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exec_that_meets_a_looping_script_gives_its_transaction_up() {
    let server = start_with(|config| config.settings.busy_reply_threshold = 100).await;
    let mut looping = Resp::authenticated(server.resp()).await;
    let mut resp = Resp::authenticated(server.resp()).await;
    resp.check(b"MULTI\r\nSET k v\r\n", b"+OK\r\n+QUEUED\r\n")
        .await;
    let script = command(&["EVAL", "while true do end", "0"]);
    looping.0.write_all(&script).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let busy = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN \
                NOSAVE.\r\n";
    let refusal = format!("-EXECABORT Transaction discarded because of: {busy}");
    resp.check(b"EXEC\r\n", refusal.as_bytes()).await;
    resp.check(b"DISCARD\r\n", b"-ERR DISCARD without MULTI\r\n")
        .await;
    resp.check(b"GET k\r\n", format!("-{busy}").as_bytes())
        .await;
    resp.check(b"SCRIPT KILL\r\n", b"+OK\r\n").await;
    looping.expect(b"-ERR Script killed").await;
    resp.check(b"GET k\r\n", b"$-1\r\n").await;
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_gives_no_token_is_let_go() {
    let server =
        start_with(|config| config.timing.authentication = Duration::from_millis(100)).await;
    let mut known = Resp::authenticated(server.resp()).await;
    let mut stranger = Resp::connect(server.resp()).await;
    stranger.check(b"PING\r\n*1\r\n", b"-NOAUTH").await;
    let refused = b" Authentication required.\r\n";
    stranger.expect(refused).await;
    assert!(stranger.is_closed().await);
    known.check(b"PING\r\n", b"+PONG\r\n").await;
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_command_may_be_long() {
    let server = start().await;
    let mut resp = Resp::connect(server.resp()).await;
    let wrong = command(&["AUTH", &"x".repeat(16 * 1024)]);
    let answer = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    resp.check(&wrong, answer).await;
    let mut sent = command(&["AUTH", "full"]);
    sent.extend(command(&["SET", "k", &"v".repeat(100_000)]));
    sent.extend(command(&["STRLEN", "k"]));
    resp.check(&sent, b"+OK\r\n+OK\r\n:100000\r\n").await;
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_connect_as_maxclients_says() {
    let server = start().await;
    let mut resp = Resp::authenticated(server.resp()).await;
    resp.check(b"CONFIG SET maxclients 2\r\n", b"+OK\r\n").await;
    let mut second = Resp::authenticated(server.resp()).await;
    let mut third = Resp::connect(server.resp()).await;
    third
        .expect(b"-ERR max number of clients reached\r\n")
        .await;
    assert!(third.is_closed().await);
    second.check(b"QUIT\r\n", b"+OK\r\n").await;
    assert!(second.is_closed().await);
    resp.check(
        b"CONFIG GET maxclients\r\n",
        b"*2\r\n$10\r\nmaxclients\r\n$1\r\n2\r\n",
    )
    .await;
    let port = server.resp().unwrap().port().to_string();
    let expected = format!("*2\r\n$4\r\nport\r\n${}\r\n{port}\r\n", port.len());
    resp.check(b"CONFIG GET port\r\n", expected.as_bytes())
        .await;
    server.shutdown().await;
}

/// What was sent, and what Redis 7.0.15 answers.
const MUTED: &[(&str, &str)] = &[
    (
        "CLIENT REPLY OFF\r\nPING\r\nNOPE\r\nCLIENT REPLY ON\r\nPING\r\n",
        "+OK\r\n+PONG\r\n",
    ),
    ("CLIENT REPLY SKIP\r\nPING\r\nPING\r\n", "+PONG\r\n"),
    (
        "CLIENT REPLY SKIP\r\nCLIENT REPLY SKIP\r\nPING 1\r\nPING 2\r\n",
        "$1\r\n2\r\n",
    ),
    (
        "CLIENT REPLY SKIP\r\nCLIENT REPLY ON\r\nPING\r\n",
        "+OK\r\n+PONG\r\n",
    ),
    (
        "CLIENT REPLY SKIP\r\nCLIENT REPLY OFF\r\nPING\r\nCLIENT REPLY ON\r\n",
        "+OK\r\n",
    ),
    (
        "CLIENT REPLY OFF\r\nCLIENT REPLY SKIP\r\nPING\r\nCLIENT REPLY ON\r\nPING\r\n",
        "+OK\r\n+PONG\r\n",
    ),
    (
        "CLIENT REPLY SKIP\r\nMULTI\r\nPING\r\nEXEC\r\n",
        "+QUEUED\r\n*1\r\n+PONG\r\n",
    ),
    ("CLIENT REPLY NO\r\n", "-ERR syntax error\r\n"),
    (
        "CLIENT REPLY SKIP\r\nSUBSCRIBE a\r\nUNSUBSCRIBE a\r\nPING\r\n",
        "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n+PONG\r\n",
    ),
    ("CLIENT REPLY OFF\r\nRESET\r\n", "+RESET\r\n"),
    (
        "AUTH full\r\nCLIENT REPLY SKIP\r\nRESET\r\nAUTH full\r\n",
        "+OK\r\n+OK\r\n",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_are_left_out_for_who_does_without() {
    let server = start().await;
    let mut resp = Resp::authenticated(server.resp()).await;
    for (sent, expected) in MUTED {
        resp.check(sent.as_bytes(), expected.as_bytes()).await;
    }
    resp.check(b"HELLO 3\r\n", b"%7\r\n").await;
    let mut resp = Resp::authenticated(server.resp()).await;
    let mut other = Resp::authenticated(server.resp()).await;
    let subscribed = b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n";
    resp.check(b"CLIENT REPLY OFF\r\nPING\r\nSUBSCRIBE a\r\n", subscribed)
        .await;
    other.check(b"PUBLISH a x\r\n", b":1\r\n").await;
    resp.expect(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n")
        .await;
    resp.0
        .write_all(b"RESET\r\nCLIENT REPLY OFF\r\nQUIT\r\n")
        .await
        .unwrap();
    resp.expect(b"+RESET\r\n").await;
    server.shutdown().await;
}
