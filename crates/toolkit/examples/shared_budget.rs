//! One budget with npm `@upstash/ratelimit`: answers lines on the standard input from
//! the store that `SANGAM_STORE` (and `SANGAM_STORE_TOKEN`) names.
//!
//! ```text
//! TAG check|peek|reset fixed|sliding ID LIMIT WINDOW_MS COST
//! TAG check|peek|reset bucket ID REFILL INTERVAL_MS COST CAPACITY
//! ```
//!
//! Each line is answered by a line of JSON with its tag, as soon as it can be: lines
//! that are there at once are asked at once.
//!
//! `cargo run -p sangam --example shared_budget [prefix]`

use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use sangam::limit::compat::UpstashLimiter;
use sangam::limit::{Algorithm, Rule};
use sangam::store::Store;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let prefix = std::env::args().nth(1);
    let prefix = prefix.as_deref().unwrap_or("@upstash/ratelimit");
    let store = Store::from_env().await?;
    let limiter = Arc::new(UpstashLimiter::new(store, prefix)?);
    let (lines, mut coming) = tokio::sync::mpsc::channel(64);
    // A thread that ends with the input: reading it cannot be waited for otherwise.
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if lines.blocking_send(line).is_err() {
                break;
            }
        }
    });
    let mut asked = tokio::task::JoinSet::new();
    while let Some(line) = coming.recv().await {
        let limiter = limiter.clone();
        asked.spawn(async move {
            let tag = line.split_whitespace().next().unwrap_or_default();
            let answer = answer(&limiter, &line).await;
            let answer =
                answer.unwrap_or_else(|error| format!("\"error\":{:?}", error.to_string()));
            println!("{{\"tag\":{tag:?},{answer}}}");
        });
        while asked.try_join_next().is_some() {}
    }
    asked.join_all().await;
    Ok(())
}

/// The members of the answer's JSON.
async fn answer(limiter: &UpstashLimiter, line: &str) -> Result<String, Failure> {
    let mut words = line.split_whitespace().skip(1);
    let mut word = || words.next().ok_or("a word is missing");
    let (verb, algorithm, id) = (word()?, word()?, word()?.as_bytes());
    let (limit, window, cost) = (word()?.parse()?, word()?.parse()?, word()?.parse()?);
    let window = Duration::from_millis(window);
    let rule = match algorithm {
        "fixed" => Rule::new(Algorithm::FixedWindow, limit, window)?,
        "sliding" => Rule::new(Algorithm::SlidingWindow, limit, window)?,
        "bucket" => {
            Rule::new(Algorithm::TokenBucket, limit, window)?.with_burst(word()?.parse()?)?
        }
        other => return Err(format!("no algorithm is called {other}").into()),
    };
    let decision = match verb {
        "check" => limiter.check(&rule, id, cost).await?,
        "peek" => limiter.peek(&rule, id, cost).await?,
        "reset" => return Ok(format!("\"removed\":{}", limiter.reset(&rule, id).await?)),
        other => return Err(format!("nothing is called {other}").into()),
    };
    let mut json = format!(
        "\"allowed\":{},\"ruled\":\"{}\",\"limit\":{},\"remaining\":{},\"reset\":{}",
        decision.allowed,
        decision.ruled.as_str(),
        decision.limit,
        decision.remaining,
        decision.reset_ms,
    );
    if let Some(wait) = decision.retry_after {
        write!(json, ",\"retryAfter\":{}", wait.as_millis())?;
    }
    Ok(json)
}
