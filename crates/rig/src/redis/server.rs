//! One server.

use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::process::Signal;

use super::client::{Answer, Client};
use super::process::{Process, folder};
use crate::port::{free, loopback};
use crate::wait::until;

/// The authority that signed the certificate of [`Options::tls`], as PEM. The
/// certificate is for `localhost` and 127.0.0.1.
pub const TLS_CA: &str = include_str!("tls/ca.pem");
const TLS_CERT: &str = include_str!("tls/cert.pem");
const TLS_KEY: &str = include_str!("tls/key.pem");

/// Without persistence, a wait before a replica gets its first copy, or a lock on
/// the commands of tests.
const DEFAULTS: &[&str] = &[
    "--bind",
    "127.0.0.1",
    "--save",
    "",
    "--appendonly",
    "no",
    "--repl-diskless-sync-delay",
    "0",
    "--repl-ping-replica-period",
    "1",
    "--enable-debug-command",
    "yes",
];

/// What a server is started with.
#[derive(Debug, Clone, Default)]
pub struct Options {
    arguments: Vec<String>,
    password: Option<String>,
    tls: bool,
    /// Already chosen, for those that others have been told of.
    port: Option<u16>,
}

impl Options {
    /// `requirepass`.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.arg("--requirepass", password)
    }

    /// An ACL user by its rules, as in `ACL SETUSER`: `app on >secret ~* +@all`.
    pub fn user(mut self, rules: &str) -> Self {
        self.arguments.push("--user".to_owned());
        self.arguments.extend(rules.split(' ').map(str::to_owned));
        self
    }

    /// A second port with TLS ([`Redis::tls_addr`], [`TLS_CA`]); clients need no
    /// certificate.
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Any setting of `redis-server`, such as `--maxclients`.
    pub fn arg(mut self, name: &str, value: &str) -> Self {
        self.arguments.extend([name.to_owned(), value.to_owned()]);
        self
    }

    pub(super) fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Starts a server and waits until it answers.
    pub async fn start(self) -> Redis {
        let mut server = Redis {
            process: None,
            folder: folder(),
            port: 0,
            tls_port: None,
            options: self,
        };
        let mut last = String::new();
        for _ in 0..5 {
            server.port = server.options.port.unwrap_or_else(free);
            server.tls_port = server.options.tls.then(free);
            match server.launch().await {
                Ok(()) => return server,
                Err(log) => last = log,
            }
            // Somebody was faster on that port: another one.
        }
        panic!("redis-server does not start:\n{last}");
    }
}

/// A running `redis-server`.
#[derive(Debug)]
pub struct Redis {
    process: Option<Process>,
    folder: PathBuf,
    port: u16,
    tls_port: Option<u16>,
    options: Options,
}

impl Redis {
    /// One without a password.
    pub async fn start() -> Self {
        Self::options().start().await
    }

    /// One with settings.
    pub fn options() -> Options {
        Options::default()
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        loopback(self.port)
    }

    /// Where it listens for TLS, if it was asked to.
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.tls_port.map(loopback)
    }

    /// `redis://127.0.0.1:port`, with the password if there is one.
    pub fn url(&self) -> String {
        match &self.options.password {
            Some(password) => format!("redis://:{password}@{}", self.addr()),
            None => format!("redis://{}", self.addr()),
        }
    }

    /// A connection past whatever is tested, authenticated.
    pub async fn client(&self) -> Client {
        self.connect().await.unwrap()
    }

    async fn connect(&self) -> std::io::Result<Client> {
        let mut client = Client::connect(self.addr()).await?;
        if let Some(password) = &self.options.password {
            client.call(&["AUTH", password]).await?;
        }
        Ok(client)
    }

    /// One command over a connection of its own; fails the test if the server
    /// does not answer, or with an error.
    pub async fn call<A: AsRef<[u8]>>(&self, arguments: &[A]) -> Answer {
        let answer = self.client().await.call(arguments).await.unwrap();
        assert!(!matches!(answer, Answer::Error(_)), "{answer:?}");
        answer
    }

    /// The same where the server may be down.
    pub(super) async fn try_call(&self, arguments: &[&str]) -> Result<Answer, String> {
        let asked = async { self.connect().await?.call(arguments).await };
        match asked.await {
            Ok(Answer::Error(text)) => Err(text),
            Ok(answer) => Ok(answer),
            Err(error) => Err(error.to_string()),
        }
    }

    /// A field of INFO; empty if it is not there.
    pub async fn info(&self, field: &str) -> Result<String, String> {
        let text = self.try_call(&["INFO", "everything"]).await?.text();
        Ok(text
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .unwrap_or_default()
            .to_owned())
    }

    async fn launch(&mut self) -> Result<(), String> {
        let mut arguments: Vec<String> = DEFAULTS.iter().map(ToString::to_string).collect();
        arguments.extend(["--port".to_owned(), self.port.to_string()]);
        arguments.extend(["--dir".to_owned(), self.folder.display().to_string()]);
        if let Some(port) = self.tls_port {
            for (name, pem) in [("ca-cert", TLS_CA), ("cert", TLS_CERT), ("key", TLS_KEY)] {
                let path = self.folder.join(name);
                std::fs::write(&path, pem).unwrap();
                arguments.extend([format!("--tls-{name}-file"), path.display().to_string()]);
            }
            arguments.extend(["--tls-port".to_owned(), port.to_string()]);
            arguments.extend(["--tls-auth-clients".to_owned(), "no".to_owned()]);
        }
        arguments.extend(self.options.arguments.iter().cloned());
        let process = Process::start(&self.folder, &arguments);
        let ready = until("redis-server to answer", || async {
            if process.has_ended() {
                return Ok(false);
            }
            let answer = self.try_call(&["PING"]).await?;
            (answer.text() == "PONG")
                .then_some(true)
                .ok_or_else(|| format!("{answer:?}"))
        })
        .await;
        if ready {
            self.process = Some(process);
            Ok(())
        } else {
            let log = process.log();
            process.kill();
            Err(log)
        }
    }

    /// Makes it a replica of `master` and waits until it has a copy.
    pub async fn replica_of(&self, master: &Redis) {
        if let Some(password) = &master.options.password {
            self.call(&["CONFIG", "SET", "masterauth", password]).await;
        }
        let port = master.port.to_string();
        self.call(&["REPLICAOF", "127.0.0.1", &port]).await;
        self.until_linked().await;
    }

    pub(super) async fn until_linked(&self) {
        until("a replica to reach its master", || async {
            match self.info("master_link_status").await?.as_str() {
                "up" => Ok(()),
                other => Err(format!("master_link_status {other}")),
            }
        })
        .await;
    }

    /// Whether it was started and not killed.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Stops its process: connections stay, nobody answers.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        self.process
            .as_ref()
            .expect("the server was killed")
            .signal(signal);
    }

    /// Kills it, as a loss of power would.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Starts it again on the same ports, after [`kill`](Self::kill) or instead
    /// of it. What it had in memory is gone.
    pub async fn restart(&mut self) {
        self.kill();
        self.launch()
            .await
            .unwrap_or_else(|log| panic!("redis-server does not start again:\n{log}"));
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // The guard removes the folder of a server that still runs.
        if self.process.is_none() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}
