//! The description is whole, and so is its page.

use sangam_server::api::{Api, Need};

use crate::{Bench, TOKEN};

#[test]
fn every_route_is_described_with_its_scope_and_on_the_page() {
    let mut bench = Bench::with("");
    let (status, head, body) = bench.send("GET", "/v1/openapi.json", &[], "");
    assert_eq!(status, 200);
    assert!(
        head.to_lowercase()
            .contains("content-type: application/json")
    );
    let api: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert!(api["openapi"].as_str().unwrap().starts_with("3.1"));
    let (status, head, page) = bench.send("GET", "/v1/docs", &[], "");
    assert_eq!(status, 200);
    assert!(head.to_lowercase().contains("content-type: text/html"));
    let page = String::from_utf8(page).unwrap();
    assert!(
        !page.contains("<script") && !page.contains("https://"),
        "nothing from elsewhere"
    );
    let mut described = 0;
    let mut ids = std::collections::BTreeSet::new();
    for route in Api::table() {
        if matches!(route.path, "/v1/openapi.json" | "/v1/docs") {
            continue;
        }
        let method = route.method.as_str();
        let operation = &api["paths"][route.path][method.to_lowercase()];
        assert!(operation.is_object(), "{route:?} is not described");
        assert!(operation["summary"].is_string() || operation["description"].is_string());
        let id = operation["operationId"].as_str();
        let id = id.unwrap_or_else(|| panic!("{operation}"));
        let known = ["Limit", "limit", "Cache"];
        assert!(known.iter().any(|it| id.contains(it)), "{id}");
        assert!(ids.insert(id.to_owned()), "two operations are {id}");
        let scope = operation["security"][0]["bearer"][0].as_str();
        match route.need {
            Need::Public => assert_eq!(scope, None, "{route:?}"),
            Need::Caller => assert!(scope.is_some(), "{route:?}"),
            Need::Scope(needed) => assert_eq!(scope, Some(needed.as_str()), "{route:?}"),
        }
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')));
        assert!(route.need == Need::Public || responses.contains_key("401"));
        for (status, answer) in responses {
            let described = answer["description"].as_str().unwrap();
            assert!(
                status.starts_with('2') || !described.is_empty(),
                "{id} {status}"
            );
            let problem = &answer["content"]["application/problem+json"];
            assert!(
                status.starts_with(['2', '3']) || problem.is_object(),
                "{id} {status}"
            );
        }
        let has_body = operation["requestBody"].is_object();
        for status in ["408", "413", "415"] {
            assert_eq!(responses.contains_key(status), has_body, "{id} {status}");
        }
        let heading = format!("<h2><b>{method}</b> <code>{}</code></h2>", route.path);
        assert!(page.contains(&heading), "{route:?} is not on the page");
        described += 1;
    }
    let operations: usize = api["paths"]
        .as_object()
        .unwrap()
        .values()
        .map(|methods| methods.as_object().unwrap().len())
        .sum();
    assert_eq!(
        operations, described,
        "something is described that does not exist"
    );
    // Every reference leads somewhere.
    let text = String::from_utf8(body).unwrap();
    for name in text.split("#/components/schemas/").skip(1) {
        let name = name.split('"').next().unwrap();
        assert!(api["components"]["schemas"][name].is_object(), "{name}");
    }
}

#[test]
fn the_examples_of_the_page_work_as_they_stand() {
    let mut bench = Bench::with("");
    let (_, _, page) = bench.send("GET", "/v1/docs", &[], "");
    let page = String::from_utf8(page).unwrap();
    let bearer = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let (status, ..) = bench.send("PUT", "/v1/cache/users/user:1", &headers, "1");
    assert_eq!(status, 204);
    let mut tried = 0;
    for line in page.split("<code>curl -X ").skip(1) {
        let line = line.split("</code>").next().unwrap();
        let line = line.replace("&quot;", "\"").replace("&#39;", "'");
        let method = line.split(' ').next().unwrap();
        let (_, path) = line.split_once("http://127.0.0.1:8585").unwrap();
        let body = line
            .split_once("-d '")
            .map_or("", |(_, rest)| rest.split_once('\'').unwrap().0);
        tried += 1;
        if path == "/v1/limits/events" {
            continue;
        }
        let (status, head, answer) = bench.send(method, path, &headers, body);
        assert!(matches!(status, 200 | 204), "{line}: {head}");
        let answer: serde_json::Value = match status {
            200 => serde_json::from_slice(&answer).unwrap(),
            _ => serde_json::Value::Null,
        };
        for answer in answer["answers"].as_array().into_iter().flatten() {
            assert!(answer["allowed"].is_boolean(), "{line}: {answer}");
        }
    }
    assert!(tried > 10, "{tried}");
}
