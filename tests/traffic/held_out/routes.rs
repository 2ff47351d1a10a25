//! What a rule of HTTP says beside where it leads.

use crate::random_mesh::Random;
use serde_json::{Value, json};

/// Mostly nothing, else one or two things.
pub fn dress(random: &mut Random, host: &str, rule: &mut Value) {
    for _ in 0..[0, 0, 1, 1, 2][random.below(5)] {
        one(random, host, rule);
    }
}

fn one(random: &mut Random, host: &str, rule: &mut Value) {
    match random.below(15) {
        0 => rule["timeout"] = json!(random.pick(&["5s", "1m"])),
        1 => rule["retries"] = json!({"attempts": random.number(0, 2), "retryOn": "connect-failure,refused-stream"}),
        2 => rule["headers"] = json!({"request": {"set": {"x-lab": "1"}, "remove": ["user-agent"]}}),
        3 => rule["headers"] = json!({"response": {"add": {"x-from": "mesh"}}}),
        4 => rule["rewrite"] = random.one(&[json!({"uri": "/anything"}), json!({"authority": "new.example"})]),
        5 => {
            rule.as_object_mut().unwrap().shift_remove("route");
            rule.as_object_mut().unwrap().shift_remove("rewrite");
            rule["redirect"] = random.one(&[
                json!({"authority": host, "scheme": "https", "redirectCode": 302}),
                json!({"uri": "/moved"}),
                json!({"authority": host, "port": 8443}),
            ]);
        }
        6 => {
            rule.as_object_mut().unwrap().shift_remove("route");
            rule.as_object_mut().unwrap().shift_remove("rewrite");
            rule["directResponse"] = json!({"status": 418, "body": {"string": "teapot"}});
        }
        7 => rule["fault"] = json!({"abort": {"httpStatus": 503, "percentage": {"value": 100}}}),
        8 => rule["fault"] = json!({"delay": {"fixedDelay": "0.1s", "percentage": {"value": 100}}}),
        9 => rule["mirror"] = json!({"host": host, "port": {"number": 80}}),
        10 => {
            rule["match"][0]["uri"] = random.one(&[
                json!({"exact": "/get"}),
                json!({"prefix": "/api"}),
                json!({"prefix": "/"}),
                json!({"regex": "/v[0-9]/.*"}),
            ])
        }
        11 => {
            rule["match"][0]["headers"] =
                random.one(&[json!({"x-team": {"exact": "red"}}), json!({"x-team": {"prefix": "r"}})])
        }
        12 => rule["match"][0]["sourceLabels"] = random.one(&[json!({"app": "sleep"}), json!({"app": "other"})]),
        13 => rule["match"][0]["authority"] = random.one(&[json!({"exact": host}), json!({"prefix": "www."})]),
        _ => rule["corsPolicy"] = json!({"allowOrigins": [{"exact": "https://a.example"}], "allowMethods": ["GET"]}),
    }
}

/// Sometimes a second rule, for what the first does not match.
pub fn with_rest(random: &mut Random, rule: Value) -> Value {
    if random.chance(40) && rule.get("route").is_some() {
        let rest = json!({"route": rule["route"]});
        return json!([rule, rest]);
    }
    json!([rule])
}
