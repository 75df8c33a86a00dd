//! What is no Redis REST endpoint is said in one line at the start.

use sangam_store::{Error, Status};

use crate::endpoint::{Act, Endpoint, answer};
use crate::{connect, gateway, one_slot};

/// Connects to an endpoint that answers only this; the error, without the place.
async fn refusal(bytes: Vec<u8>) -> String {
    let endpoint = Endpoint::raw(move |_| Act::Answer(bytes.clone())).await;
    match connect(&endpoint.url(), one_slot()).await {
        Err(Error::Setting(text)) => {
            assert!(!text.contains('\n'), "{text}");
            text.replace(&endpoint.url(), "URL")
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn answers_of_others() {
    let html = [("content-type", "text/html")];
    let page = "<html>\n<body>Welcome</body>\n</html>";
    assert_eq!(
        refusal(answer("200 OK", &html, page)).await,
        "setting `SANGAM_STORE`: URL answered HTML, it is no Redis REST endpoint"
    );
    assert_eq!(
        refusal(answer("404 Not Found", &html, page)).await,
        "setting `SANGAM_STORE`: URL answered 404 and HTML, it is no Redis REST endpoint"
    );
    assert_eq!(
        refusal(answer("200 OK", &[], "{\"ok\":true}")).await,
        "setting `SANGAM_STORE`: URL answered other JSON, it is no Redis REST endpoint"
    );
    assert_eq!(
        refusal(answer("400 Bad Request", &html, page)).await,
        "setting `SANGAM_STORE`: URL answered 400 and HTML, it is no Redis REST endpoint"
    );
    assert_eq!(
        refusal(answer(
            "307 Temporary Redirect",
            &[("location", "https://other/")],
            ""
        ))
        .await,
        "setting `SANGAM_STORE`: URL answered 307, a redirect to https://other/, which is not \
         followed: write the address that answers"
    );
    assert_eq!(
        refusal(answer(
            "403 Forbidden",
            &[],
            "your address is not allowed\n"
        ))
        .await,
        "setting `SANGAM_STORE`: URL answered 403: your address is not allowed"
    );
    assert_eq!(
        refusal(b"-ERR unknown command 'POST'\r\n".to_vec()).await,
        "setting `SANGAM_STORE`: URL does not speak HTTP: write https:// if it speaks TLS"
    );
}

#[tokio::test]
async fn a_token_that_opens_nothing() {
    let (_server, url) = gateway(|config| config.token = Some("another".to_owned())).await;
    let error = connect(&url, one_slot()).await.err().unwrap();
    let Error::Setting(text) = error else {
        panic!("{error:?}")
    };
    assert_eq!(
        text,
        format!(
            "setting `SANGAM_STORE_TOKEN`: {url} refused the token: WRONGPASS invalid or missing \
             auth token. See https://docs.upstash.com/redis/troubleshooting/http_unauthorized for \
             details."
        )
    );
}

#[tokio::test]
async fn where_nobody_listens_the_store_is_down_and_found_later() {
    let (server, url) = gateway(|_| {}).await;
    let port = server.http();
    server.shutdown().await;
    let store = connect(&url, one_slot()).await.unwrap();
    let state = store.state();
    assert_eq!(state.status, Status::Down);
    let expected = format!("cannot connect to {url}: Connection refused");
    assert!(state.reason.starts_with(&expected), "{}", state.reason);
    assert!(state.reason.ends_with("(setting `SANGAM_STORE`)"));
    assert!(matches!(
        store.call(&[b"GET", b"k"]).await,
        Err(Error::Unavailable(_))
    ));
    let (_server, _) = gateway(|config| config.http = port.to_string()).await;
    let mut states = store.states();
    let up = states.wait_for(|state| state.status == Status::Up);
    tokio::time::timeout(crate::DEADLINE, up)
        .await
        .unwrap()
        .unwrap();
    store.call(&[b"SET", b"k", b"v"]).await.unwrap();

    let store = connect("http://no.such.host.invalid", one_slot())
        .await
        .unwrap();
    let reason = store.state().reason;
    let expected = "cannot connect to http://no.such.host.invalid: ";
    assert!(reason.starts_with(expected), "{reason}");
}

#[tokio::test]
async fn a_quota_is_no_setting() {
    let text = "ERR max requests limit exceeded. Limit: 500000, Usage: 500000.";
    let body = format!("{{\"error\":\"{text}\"}}");
    let refusal = answer("400 Bad Request", &[], &body);
    let endpoint = Endpoint::raw(move |_| Act::Answer(refusal.clone())).await;
    let store = connect(&endpoint.url(), one_slot()).await.unwrap();
    let state = store.state();
    assert_eq!(state.status, Status::Down);
    assert!(state.reason.contains(text), "{}", state.reason);
}
