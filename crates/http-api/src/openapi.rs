//! `openapi.yaml`: the table of endpoints as an OpenAPI 3.1 document.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::api::{Shared, text_response};
use crate::endpoints::{Data, Endpoint, Form, Parameter, described};

/// The statuses of errors and what they mean.
const ERRORS: [(&str, &str); 7] = [
    ("400", "bad_data: a parameter is missing or wrong."),
    ("404", "not_found: what is named is not there."),
    ("422", "execution: the expression cannot be evaluated over these data."),
    ("499", "canceled: the client has left."),
    ("500", "internal, or unavailable because a flag is not given."),
    ("503", "timeout, or unavailable because too much is asked at once."),
    ("default", "Any other error."),
];

pub(crate) async fn serve(State(api): Shared) -> Response {
    text_response(StatusCode::OK, "application/yaml", yaml(&document(&api.options.version)))
}

/// The whole document.
fn document(version: &str) -> Value {
    let mut paths = Map::new();
    for endpoint in described() {
        let methods = endpoint.methods.names().iter().map(|m| (m.to_lowercase(), operation(endpoint, m)));
        paths.insert(endpoint.path.to_owned(), Value::Object(methods.collect()));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Highwater",
            "summary": "The HTTP API of Prometheus.",
            "version": version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": {"Error": error_schema(), "LabelSet": label_set_schema()}},
    })
}

fn operation(endpoint: &Endpoint, method: &str) -> Value {
    let mut operation = Map::new();
    let mut put = |key: &str, value: Value| operation.insert(key.to_owned(), value);
    put("operationId", operation_id(endpoint, method).into());
    put("summary", endpoint.about.into());
    put("tags", json!([endpoint.tag]));
    let in_path = endpoint
        .path
        .contains("{name}")
        .then(|| json!({"name": "name", "in": "path", "required": true, "schema": {"type": "string"}}));
    let takes_form = method != "GET" && !endpoint.parameters.is_empty();
    let in_url = endpoint.parameters.iter().filter(|_| !takes_form).map(parameter);
    let described: Vec<Value> = in_path.into_iter().chain(in_url).collect();
    if !described.is_empty() {
        put("parameters", described.into());
    }
    if takes_form {
        put("requestBody", form(endpoint.parameters));
    }
    put("responses", responses(endpoint.data));
    Value::Object(operation)
}

/// `/api/v1/label/{name}/values` by GET as `get_label_name_values`.
fn operation_id(endpoint: &Endpoint, method: &str) -> String {
    let path = endpoint.path.trim_start_matches("/api/v1/").replace(['/', '.', '-'], "_").replace(['{', '}'], "");
    format!("{}_{path}", method.to_lowercase())
}

fn parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name,
        "in": "query",
        "description": parameter.about,
        "required": parameter.required,
        "schema": form_schema(parameter.form),
    })
}

fn form_schema(form: Form) -> Value {
    match form {
        Form::Text => json!({"type": "string"}),
        Form::Whole => json!({"type": "integer"}),
        Form::Boolean => json!({"type": "boolean"}),
        Form::Moment => json!({"oneOf": [{"type": "number"}, {"type": "string", "format": "date-time"}]}),
        Form::Span => json!({"oneOf": [{"type": "number"}, {"type": "string"}]}),
        Form::Texts => json!({"type": "array", "items": {"type": "string"}}),
    }
}

/// The parameters as a form.
fn form(parameters: &[Parameter]) -> Value {
    let properties: Map<String, Value> = parameters.iter().map(|p| (p.name.to_owned(), form_schema(p.form))).collect();
    let required: Vec<&str> = parameters.iter().filter(|p| p.required).map(|p| p.name).collect();
    let schema = json!({"type": "object", "properties": properties, "required": required});
    json!({
        "description": "Each may stand in the URL instead; where it stands in both, the form's comes first.",
        "content": {"application/x-www-form-urlencoded": {"schema": schema}},
    })
}

fn responses(data: Data) -> Value {
    let mut responses = Map::new();
    let (status, answer) = match data {
        Data::Nothing => ("204", json!({"description": "Done."})),
        Data::Yaml => ("200", json!({"description": "Success.", "content": {"application/yaml": {}}})),
        Data::Protobuf => ("200", json!({"description": "Success.", "content": {"application/x-protobuf": {}}})),
        data => {
            let schema = envelope(data_schema(data));
            ("200", json!({"description": "Success.", "content": {"application/json": {"schema": schema}}}))
        }
    };
    responses.insert(status.to_owned(), answer);
    for (status, about) in ERRORS {
        let schema = json!({"$ref": "#/components/schemas/Error"});
        let error = json!({"description": about, "content": {"application/json": {"schema": schema}}});
        responses.insert(status.to_owned(), error);
    }
    Value::Object(responses)
}

fn data_schema(data: Data) -> Value {
    let object = |keys: &[&str]| {
        let properties: Map<String, Value> = keys.iter().map(|key| ((*key).to_owned(), json!({}))).collect();
        json!({"type": "object", "properties": properties})
    };
    match data {
        Data::Nothing | Data::Yaml | Data::Protobuf => json!({}),
        Data::Text => json!({"type": "string"}),
        Data::Texts => json!({"type": "array", "items": {"type": "string"}}),
        Data::LabelSets => json!({"type": "array", "items": {"$ref": "#/components/schemas/LabelSet"}}),
        Data::Object(keys) => object(keys),
        Data::Objects(keys) => json!({"type": "array", "items": object(keys)}),
        Data::Map => json!({"type": "object"}),
    }
}

fn envelope(data: Value) -> Value {
    let remarks = json!({"type": "array", "items": {"type": "string"}});
    json!({
        "type": "object",
        "required": ["status", "data"],
        "properties": {"status": {"const": "success"}, "data": data, "warnings": remarks, "infos": remarks},
    })
}

fn error_schema() -> Value {
    json!({
        "type": "object",
        "required": ["status", "errorType", "error"],
        "properties": {
            "status": {"const": "error"},
            "errorType": {"type": "string"},
            "error": {"type": "string"},
        },
    })
}

fn label_set_schema() -> Value {
    json!({"type": "object", "additionalProperties": {"type": "string"}})
}

/// Writes block style; every string is quoted, so that none is mistaken for something else.
fn yaml(value: &Value) -> String {
    let mut out = String::new();
    block(&mut out, value, 0);
    out
}

fn block(out: &mut String, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                out.push_str(&indent);
                out.push_str(&key_of(key));
                out.push(':');
                nested(out, value, depth + 1);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                out.push_str(&indent);
                out.push('-');
                nested(out, item, depth + 1);
            }
        }
        plain => out.push_str(&format!("{indent}{plain}\n")),
    }
}

/// What stands after a key or a dash: on the same line, or below.
fn nested(out: &mut String, value: &Value, depth: usize) {
    let is_block = value.as_object().is_some_and(|o| !o.is_empty()) || value.as_array().is_some_and(|a| !a.is_empty());
    if is_block {
        out.push('\n');
        block(out, value, depth);
    } else {
        // JSON's notation of what is no collection, or an empty one, is YAML's too.
        out.push_str(&format!(" {value}\n"));
    }
}

fn key_of(key: &str) -> String {
    let is_plain = key.starts_with(|c: char| c.is_ascii_alphabetic()) && key.chars().all(|c| c.is_ascii_alphanumeric());
    if is_plain { key.to_owned() } else { Value::from(key).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_reads_back() {
        let value = json!({"a": {"b-c": [1, "x: y", true, [], {}, ["p", {"q": null}]], "200": "#"}, "e": {}});
        let text = yaml(&value);
        let document = config::Document::parse(std::path::Path::new("test"), &text).expect("is YAML");
        assert!(document.root().is_mapping(), "{text}");
        let want = "a:\n  \"b-c\":\n    - 1\n    - \"x: y\"\n    - true\n    - []\n    - {}\n    -\n      - \"p\"\n      \
                    -\n        q: null\n  \"200\": \"#\"\ne: {}\n";
        assert_eq!(text, want);
    }
}
