//! The API's description as a page, made on the server: it reads without a script.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::response::Html;
use serde_json::Value;

use super::openapi::API;

static PAGE: LazyLock<String> = LazyLock::new(|| {
    let document = serde_json::to_value(&*API).unwrap_or_default();
    render(&document)
});

pub(super) async fn page() -> Html<&'static str> {
    Html(&PAGE)
}

const STYLE: &str = include_str!("docs.css");

fn render(api: &Value) -> String {
    let mut page = String::new();
    let _ = write(&mut page, api);
    page
}

fn write(page: &mut String, api: &Value) -> std::fmt::Result {
    let title = escape(text(&api["info"]["title"]));
    write!(
        page,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <title>{title} API</title><style>{STYLE}</style></head><body>\
         <a class=\"skip\" href=\"#operations\">Skip to the operations</a>\
         <header><h1>{title} API</h1><p>{}</p>\
         <p><a href=\"/v1/openapi.json\">openapi.json</a></p></header>\
         <nav aria-label=\"Operations\"><ul>",
        escape(text(&api["info"]["description"]))
    )?;
    let operations = operations(api);
    for (method, path, operation) in &operations {
        write!(
            page,
            "<li><a href=\"#{}\"><b>{}</b> <code>{}</code></a></li>",
            anchor(method, path),
            method.to_uppercase(),
            escape(path),
        )?;
        let _ = operation;
    }
    page.push_str("</ul></nav><main id=\"operations\">");
    for (method, path, operation) in &operations {
        section(page, api, method, path, operation)?;
    }
    page.push_str("</main></body></html>");
    Ok(())
}

/// Method, path and description of each operation.
fn operations(api: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = api["paths"].as_object().into_iter().flatten();
    paths
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().into_iter().flatten();
            methods.map(move |(method, it)| (method.as_str(), path.as_str(), it))
        })
        .collect()
}

fn section(
    page: &mut String,
    api: &Value,
    method: &str,
    path: &str,
    operation: &Value,
) -> std::fmt::Result {
    write!(
        page,
        "<section id=\"{}\"><h2><b>{}</b> <code>{}</code></h2><p>{} {}</p>",
        anchor(method, path),
        method.to_uppercase(),
        escape(path),
        escape(text(&operation["summary"])),
        escape(text(&operation["description"])),
    )?;
    let scopes: Vec<&str> = operation["security"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|it| it["bearer"].as_array())
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    match scopes.as_slice() {
        [] => page.push_str("<p>Anybody may call it.</p>"),
        scopes => write!(
            page,
            "<p>Scope: <code>{}</code></p>",
            escape(&scopes.join(" "))
        )?,
    }
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    if !body.is_null() {
        page.push_str("<h3>Body</h3>");
        schema(page, api, body, 0)?;
    }
    let curl = example(api, method, path, body);
    write!(
        page,
        "<h3>Example</h3><pre tabindex=\"0\"><code>{}</code></pre>",
        escape(&curl)
    )?;
    page.push_str("<h3>Answers</h3>");
    for (status, answer) in operation["responses"].as_object().into_iter().flatten() {
        write!(
            page,
            "<p><b>{}</b> {}</p>",
            escape(status),
            escape(text(&answer["description"]))
        )?;
        if status.starts_with('2') {
            for content in answer["content"].as_object().into_iter().flatten() {
                schema(page, api, &content.1["schema"], 0)?;
            }
        }
    }
    page.push_str("</section>");
    Ok(())
}

/// The schema that a reference stands for, or itself.
fn resolve<'a>(api: &'a Value, schema: &'a Value) -> &'a Value {
    schema["$ref"]
        .as_str()
        .and_then(|name| name.strip_prefix("#/components/schemas/"))
        .map_or(schema, |name| &api["components"]["schemas"][name])
}

/// Depth to which types in types are shown.
const DEPTH: usize = 4;

fn schema(page: &mut String, api: &Value, schema: &Value, depth: usize) -> std::fmt::Result {
    let shown = resolve(api, schema);
    let fields = shown["properties"].as_object();
    let parts = ["allOf", "oneOf", "anyOf"]
        .iter()
        .filter_map(|name| shown[*name].as_array());
    if depth >= DEPTH {
        return Ok(());
    }
    for part in parts.flatten() {
        self::schema(page, api, part, depth + 1)?;
    }
    if shown["items"].is_object() {
        return self::schema(page, api, &shown["items"], depth + 1);
    }
    let Some(fields) = fields.filter(|fields| !fields.is_empty()) else {
        return Ok(());
    };
    page.push_str("<dl>");
    let required: Vec<&str> = shown["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (name, field) in fields {
        let inner = resolve(api, field);
        let described = [text(&field["description"]), text(&inner["description"])];
        write!(
            page,
            "<dt><code>{}</code> <i>{}{}</i></dt><dd>{}",
            escape(name),
            escape(&kind(api, field)),
            if required.contains(&name.as_str()) {
                ""
            } else {
                ", optional"
            },
            escape(
                described
                    .into_iter()
                    .find(|it| !it.is_empty())
                    .unwrap_or_default()
            ),
        )?;
        self::schema(page, api, field, depth + 1)?;
        page.push_str("</dd>");
    }
    page.push_str("</dl>");
    Ok(())
}

/// What a field holds, in a word or two.
fn kind(api: &Value, field: &Value) -> String {
    let shown = resolve(api, field);
    match &shown["type"] {
        Value::String(kind) if kind == "array" => format!("list of {}", kind_of_items(api, shown)),
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => {
            let kinds: Vec<&str> = kinds.iter().filter_map(Value::as_str).collect();
            kinds.join(" or ")
        }
        _ => "object".to_owned(),
    }
}

fn kind_of_items(api: &Value, list: &Value) -> String {
    kind(api, &list["items"])
}

/// A line that calls the operation.
fn example(api: &Value, method: &str, path: &str, body: &Value) -> String {
    let path = path
        .replace("{class}", "auth")
        .replace("{name}", "users")
        .replace("{key}", "user:1");
    let mut line = format!(
        "curl -X {} -H \"Authorization: Bearer $SANGAM_TOKEN\" ",
        method.to_uppercase()
    );
    if !body.is_null() {
        let body = example_of(api, body, 0);
        let _ = write!(line, "-H 'Content-Type: application/json' -d '{body}' ");
    }
    let _ = write!(line, "http://127.0.0.1:8585{path}");
    line
}

/// A value of that schema: the fields that have an example or must be there.
fn example_of(api: &Value, schema: &Value, depth: usize) -> Value {
    let shown = resolve(api, schema);
    if let Some(example) = shown.get("example").or_else(|| shown["examples"].get(0)) {
        return example.clone();
    }
    let mut fields = serde_json::Map::new();
    for part in shown["allOf"].as_array().into_iter().flatten() {
        if let Value::Object(more) = example_of(api, part, depth + 1) {
            fields.extend(more);
        }
    }
    if let Some(properties) = shown["properties"].as_object().filter(|_| depth < DEPTH) {
        for (name, field) in properties {
            let has = !resolve(api, field)["example"].is_null() || !field["example"].is_null();
            let required = shown["required"]
                .as_array()
                .is_some_and(|names| names.iter().any(|it| it == name.as_str()));
            if has || required {
                fields.insert(name.clone(), example_of(api, field, depth + 1));
            }
        }
    }
    match shown["type"].as_str() {
        Some("integer" | "number") => Value::from(1),
        Some("string") => Value::from(""),
        Some("array") => Value::Array(vec![example_of(api, &shown["items"], depth + 1)]),
        _ => Value::Object(fields),
    }
}

fn anchor(method: &str, path: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    format!("{method}{path}").chars().map(plain).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
