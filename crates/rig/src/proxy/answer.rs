//! What stands between an app and a REST endpoint answers in its place.
//!
//! The texts are those that were seen from the real service and from the
//! gateways before it: clients have to live with exactly these.

/// An answer instead of the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// 429, with `Retry-After` in seconds.
    TooManyRequests {
        /// Seconds.
        retry_after: u32,
    },
    /// 500 with a page of HTML.
    InternalError,
    /// 502 with a page of HTML; the server heard nothing.
    BadGateway,
    /// 502 with the same page, though the server ran the request.
    BadGatewayAfterRun,
    /// 400 with the error of a quota that is used up.
    Quota(Quota),
    /// 200 with a page of HTML: a captive portal, or the wrong address.
    Page,
    /// 401, as for a token that was revoked.
    Unauthorized,
    /// The server ran the request; the connection is reset in place of its
    /// answer.
    ResetAfterRun,
}

/// Which of the service's quotas is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    /// Commands of a day.
    Day,
    /// Commands of a month.
    Month,
    /// The money set aside.
    Budget,
    /// Bytes stored.
    Storage,
}

impl Quota {
    /// The error's text.
    pub fn text(self) -> &'static str {
        match self {
            Self::Day => {
                "ERR max daily request limit exceeded. Limit: 10000, Usage: 10001. See https://upstash.com/docs/redis/troubleshooting/max_daily_request_limit for details"
            }
            Self::Month => {
                "ERR max requests limit exceeded. Limit: 500000, Usage: 500000. See https://upstash.com/docs/redis/troubleshooting/max_requests_limit for details"
            }
            Self::Budget => {
                "ERR This database has been suspended for exceeding the defined budget limit. Please increase budget or switch to a Fixed plan on Upstash Console"
            }
            Self::Storage => {
                "ERR DB capacity quota exceeded. Threshold: 268435456 bytes, Usage: 268435512 bytes. See https://upstash.com/docs/redis/troubleshooting/db_capacity_quota_exceeded for details"
            }
        }
    }
}

const UNAUTHORIZED: &str = "WRONGPASS invalid or missing auth token. See https://docs.upstash.com/redis/troubleshooting/http_unauthorized for details.";

impl Answer {
    /// Whether the server gets the request all the same.
    pub(super) fn runs(self) -> bool {
        matches!(self, Self::BadGatewayAfterRun | Self::ResetAfterRun)
    }

    /// The whole response; `None` for a reset.
    pub(super) fn response(self, head_only: bool) -> Option<Vec<u8>> {
        const JSON: &str = "application/json; charset=utf-8";
        const HTML: &str = "text/html; charset=utf-8";
        let (status, kind, body) = match self {
            Self::TooManyRequests { .. } => {
                ("429 Too Many Requests", JSON, error("Too Many Requests"))
            }
            Self::InternalError => (
                "500 Internal Server Error",
                HTML,
                page("500 Internal Server Error"),
            ),
            Self::BadGateway | Self::BadGatewayAfterRun => {
                ("502 Bad Gateway", HTML, page("502 Bad Gateway"))
            }
            Self::Quota(quota) => ("400 Bad Request", JSON, error(quota.text())),
            Self::Page => ("200 OK", HTML, page("Welcome")),
            Self::Unauthorized => ("401 Unauthorized", JSON, error(UNAUTHORIZED)),
            Self::ResetAfterRun => return None,
        };
        let retry = match self {
            Self::TooManyRequests { retry_after } => format!("Retry-After: {retry_after}\r\n"),
            _ => String::new(),
        };
        let length = body.len();
        let body = if head_only { "" } else { &body };
        Some(
            format!(
                "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{retry}Content-Length: {length}\r\n\r\n{body}"
            )
            .into_bytes(),
        )
    }
}

fn page(title: &str) -> String {
    format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )
}

fn error(text: &str) -> String {
    format!("{{\"error\":\"{text}\"}}")
}
