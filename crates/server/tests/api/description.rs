//! The description is whole, and so is its page.

use sangam_server::api::{Api, Need};

use crate::Bench;

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
    for route in Api::table() {
        if matches!(route.path, "/v1/openapi.json" | "/v1/docs") {
            continue;
        }
        let method = route.method.as_str();
        let operation = &api["paths"][route.path][method.to_lowercase()];
        assert!(operation.is_object(), "{route:?} is not described");
        assert!(operation["summary"].is_string() || operation["description"].is_string());
        let scope = operation["security"][0]["bearer"][0].as_str();
        match route.need {
            Need::Public => assert_eq!(scope, None, "{route:?}"),
            Need::Caller => assert!(scope.is_some(), "{route:?}"),
            Need::Scope(needed) => assert_eq!(scope, Some(needed.as_str()), "{route:?}"),
        }
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')));
        assert!(route.need == Need::Public || responses.contains_key("401"));
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
