//! One connection through the proxy, from acceptance to its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::fault::Direction;
use super::rules::{Entry, Id, Rules, Step};
use super::{Cut, Shared, reset};

const PIECE: usize = 16 * 1024;
const PIECES: usize = 64;
const CONNECT: Duration = Duration::from_secs(5);
/// How long a server may take to read what a cut connection has sent.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why bytes no longer move.
enum End {
    /// A fault cut it here.
    Cut,
    /// One of the two sides broke it off.
    Broken,
}

/// Counts the connection as open for as long as it lives.
struct Open<'s>(&'s Shared, Id);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.change(|rules| rules.forget(self.1));
        self.0.tally.add(|counters| counters.open -= 1);
    }
}

pub(super) async fn serve(mut client: TcpStream, shared: Arc<Shared>, id: Id) {
    let mut cuts = shared.cuts.subscribe();
    shared.tally.add(|counters| {
        counters.accepted += 1;
        counters.open += 1;
    });
    let _open = Open(&shared, id);
    let cut = async move {
        // The sender lives as long as `shared`.
        let _ = cuts.changed().await;
        cuts.borrow().1
    };
    tokio::pin!(cut);
    match shared.ask(|rules| rules.admit(id)) {
        Entry::Serve => {}
        Entry::Refuse => return reset(client),
        Entry::BlackHole => {
            tokio::select! {
                () = drain(&mut client) => {}
                how = &mut cut => finish(client, how),
            }
            return;
        }
    }
    let Ok(Ok(mut upstream)) = timeout(CONNECT, TcpStream::connect(shared.upstream)).await else {
        return reset(client);
    };
    let _ = client.set_nodelay(true);
    let _ = upstream.set_nodelay(true);

    enum Outcome {
        Both(Result<(), End>),
        Cut(Cut),
        HalfOpen,
    }
    let outcome = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = upstream.split();
        let request = pump(from_client, to_server, &shared, id, Direction::Request);
        let reply = pump(from_server, to_client, &shared, id, Direction::Reply);
        tokio::select! {
            both = async { tokio::try_join!(request, reply).map(|_| ()) } => Outcome::Both(both),
            how = &mut cut => Outcome::Cut(how),
            () = half_open(&shared, id) => Outcome::HalfOpen,
        }
    };
    match outcome {
        Outcome::Both(Ok(())) => {}
        Outcome::Both(Err(End::Broken)) => {
            reset(client);
            reset(upstream);
        }
        Outcome::Both(Err(End::Cut)) => {
            reset(client);
            leave(upstream).await;
        }
        Outcome::Cut(how) => {
            finish(client, how);
            leave(upstream).await;
        }
        Outcome::HalfOpen => {
            drop(upstream);
            tokio::select! {
                () = drain(&mut client) => {}
                how = &mut cut => finish(client, how),
            }
        }
    }
}

fn finish(client: TcpStream, how: Cut) {
    match how {
        Cut::Reset => reset(client),
        Cut::Close => drop(client),
    }
}

/// Ends the server's side so that it still reads all it was sent.
async fn leave(mut upstream: TcpStream) {
    if upstream.shutdown().await.is_ok() {
        let _ = timeout(FAREWELL, drain(&mut upstream)).await;
    }
}

/// Reads and forgets until the other side closes.
async fn drain(stream: &mut TcpStream) {
    let mut piece = vec![0; PIECE];
    while stream.read(&mut piece).await.is_ok_and(|read| read > 0) {}
}

async fn half_open(shared: &Shared, id: Id) {
    let mut changed = shared.changed.subscribe();
    while !shared.ask(|rules| rules.half_open(id)) {
        let _ = changed.changed().await;
    }
}

/// Moves bytes one way until their end, which is passed on as well.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    shared: &Shared,
    id: Id,
    way: Direction,
) -> Result<(), End> {
    let (queue, mut queued) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
    let reader = async move {
        let mut piece = vec![0; PIECE];
        let mut due = Instant::now();
        loop {
            let read = from.read(&mut piece).await.map_err(|_| End::Broken)?;
            let delay = shared.ask(|rules| rules.delay(id, way));
            due = due.max(Instant::now() + delay);
            // An empty piece is the end, which is delayed like the others.
            let bytes = piece.get(..read).unwrap_or_default().to_vec();
            queue.send((due, bytes)).await.map_err(|_| End::Broken)?;
            if read == 0 {
                return Ok(());
            }
        }
    };
    let writer = async move {
        let mut lost = false;
        while let Some((due, bytes)) = queued.recv().await {
            sleep_until(due).await;
            if bytes.is_empty() {
                let _ = to.shutdown().await;
                return Ok(());
            }
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let pace = shared.ask(|rules| rules.pace(id, way));
                let (piece, after) =
                    rest.split_at(pace.map_or(rest.len(), |(bytes, _)| bytes.min(rest.len())));
                let sent = Instant::now();
                deliver(piece, &mut to, &mut lost, shared, id, way).await?;
                rest = after;
                if let Some((_, every)) = pace {
                    sleep_until(sent + every).await;
                }
            }
        }
        Ok(())
    };
    tokio::try_join!(reader, writer).map(|((), ())| ())
}

/// Writes one piece, or does with it what the rules say.
async fn deliver(
    piece: &[u8],
    to: &mut WriteHalf<'_>,
    lost: &mut bool,
    shared: &Shared,
    id: Id,
    way: Direction,
) -> Result<(), End> {
    let mut changed = shared.changed.subscribe();
    while !*lost {
        match shared.ask(|rules| rules.step(id, way, piece.len())) {
            Step::Pass => return write(piece, to, shared, way).await,
            Step::PassAndRelease => {
                write(piece, to, shared, way).await?;
                shared.change(Rules::release);
                return Ok(());
            }
            Step::Cut(passing) => {
                write(piece.get(..passing).unwrap_or(piece), to, shared, way).await?;
                return Err(End::Cut);
            }
            Step::Lose => *lost = true,
            Step::Wait => {
                let _ = changed.changed().await;
            }
        }
    }
    Ok(())
}

async fn write(
    piece: &[u8],
    to: &mut WriteHalf<'_>,
    shared: &Shared,
    way: Direction,
) -> Result<(), End> {
    // Counted first: who has read it finds it counted.
    let count = piece.len() as u64;
    shared.tally.add(|counters| match way {
        Direction::Request => counters.request_bytes += count,
        Direction::Reply => counters.reply_bytes += count,
    });
    to.write_all(piece).await.map_err(|_| End::Broken)
}
