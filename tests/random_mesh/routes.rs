//! VirtualServices: HTTP with everything a rule can say, TLS by SNI, TCP.

use super::gateways::NAMES;
use super::services::{destination, export_to};
use super::{Fields, INSIDE, NETWORKING, OUTSIDE, Random, WILDCARDS, namespace, object};
use serde_json::{Value, json};

fn gateways(random: &mut Random) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    if random.chance(60) {
        out.push("mesh".to_owned());
    }
    for name in random.some(NAMES, 50) {
        let prefix = random.pick(&["", "mesh-test/", "istio-system/"]);
        out.push(format!("{prefix}{name}"));
    }
    out
}

fn string_match(random: &mut Random) -> Value {
    random.one(&[
        json!({"exact": "/exact"}),
        json!({"prefix": "/api"}),
        json!({"prefix": "/"}),
        json!({"prefix": "/a/"}),
        json!({"regex": "/v[0-9]+/.*"}),
        json!({"regex": ".*"}),
    ])
}

fn header_match(random: &mut Random) -> Value {
    random.one(&[
        json!({"exact": "yes"}),
        json!({"prefix": "v"}),
        json!({"regex": "a.*"}),
        json!({}),
        json!({"regex": "*"}),
        json!({"exact": "Über"}),
    ])
}

fn http_match(random: &mut Random, gateways: &[String]) -> Value {
    let mut out = Fields::default();
    out.maybe(random, 60, "uri", string_match);
    out.maybe(random, 20, "method", |r| json!({"exact": r.pick(&["GET", "POST"])}));
    out.maybe(random, 10, "scheme", |_| json!({"exact": "https"}));
    out.maybe(random, 15, "authority", |r| {
        r.one(&[json!({"exact": "httpbin.org"}), json!({"prefix": "api."}), json!({"regex": ".*cnn.*"})])
    });
    out.maybe(random, 30, "headers", |r| json!({"x-lab": header_match(r), "end-user": {"exact": "jason"}}));
    out.maybe(random, 10, "withoutHeaders", |r| json!({"x-not": header_match(r)}));
    out.maybe(
        random,
        15,
        "queryParams",
        |r| json!({"q": r.one(&[json!({"exact": "1"}), json!({"regex": "[0-9]+"}), json!({"prefix": "a"})])}),
    );
    out.maybe(random, 10, "ignoreUriCase", |_| json!(true));
    out.maybe(random, 25, "port", |r| r.one(&[json!(80), json!(443), json!(8000), json!(8080)]));
    out.maybe(random, 10, "sourceLabels", |r| json!({"app": r.pick(&["sleep", "other"])}));
    out.maybe(random, 8, "sourceNamespace", |r| json!(r.pick(&["mesh-test", "other"])));
    if !gateways.is_empty() {
        out.maybe(random, 20, "gateways", |r| json!([gateways[r.below(gateways.len())]]));
    }
    out.maybe(random, 10, "name", |_| json!("named-match"));
    out.maybe(random, 8, "statPrefix", |_| json!("by-match"));
    out.done()
}

fn headers(random: &mut Random) -> Value {
    let operations = |random: &mut Random| {
        let mut out = Fields::default();
        out.maybe(random, 50, "set", |r| {
            r.one(&[
                json!({"x-set": "1"}),
                json!({"host": "other.example"}),
                json!({":authority": "auth.example"}),
                json!({"x-var": "%DOWNSTREAM_REMOTE_ADDRESS%"}),
            ])
        });
        out.maybe(random, 40, "add", |_| json!({"x-add": "2", "x-more": "3"}));
        out.maybe(random, 40, "remove", |_| json!(["x-gone", "x-away"]));
        out.done()
    };
    let mut out = Fields::default();
    let request = operations(random);
    out.set("request", request);
    if random.chance(40) {
        let response = operations(random);
        out.set("response", response);
    }
    out.done()
}

fn retries(random: &mut Random) -> Value {
    let mut out = Fields::default();
    let attempts = random.below(4);
    out.set("attempts", json!(attempts));
    if attempts > 0 {
        out.maybe(random, 50, "perTryTimeout", |_| json!("2s"));
        out.maybe(random, 60, "retryOn", |r| {
            json!(r.pick(&["5xx,connect-failure", "gateway-error,503", "retriable-status-codes,504", "cancelled"]))
        });
        out.maybe(random, 30, "retryRemoteLocalities", |r| json!(r.chance(50)));
        out.maybe(random, 20, "retryIgnorePreviousHosts", |r| json!(r.chance(50)));
        out.maybe(random, 20, "backoff", |_| json!("50ms"));
    }
    out.done()
}

fn fault(random: &mut Random) -> Value {
    let mut out = Fields::default();
    out.maybe(random, 70, "abort", |r| {
        let mut abort = r.one(&[json!({"httpStatus": 503}), json!({"grpcStatus": "UNAVAILABLE"})]);
        abort["percentage"] = r.one(&[json!({"value": 10}), json!({"value": 0.5}), json!({"value": 100})]);
        abort
    });
    out.maybe(random, 60, "delay", |r| {
        r.one(&[
            json!({"fixedDelay": "3s", "percentage": {"value": 33.3}}),
            json!({"fixedDelay": "0.5s"}),
            json!({"fixedDelay": "1s", "percent": 40}),
        ])
    });
    out.done()
}

fn rewrite(random: &mut Random) -> Value {
    random.one(&[
        json!({"uri": "/new"}),
        json!({"uri": "/"}),
        json!({"authority": "new.example"}),
        json!({"uri": "/x/", "authority": "new.example"}),
        json!({"uriRegexRewrite": {"match": "/v([0-9]+)/(.*)", "rewrite": "/\\2/\\1"}}),
    ])
}

fn redirect(random: &mut Random) -> Value {
    let mut out = Fields::default();
    out.maybe(random, 60, "uri", |r| json!(r.pick(&["/moved", "%PREFIX()%/moved"])));
    out.maybe(random, 60, "authority", |_| json!("moved.example"));
    out.maybe(random, 30, "scheme", |r| json!(r.pick(&["https", "http"])));
    match random.below(4) {
        0 => out.set("port", json!(8443)),
        1 => out.set("derivePort", json!(random.pick(&["FROM_REQUEST_PORT", "FROM_PROTOCOL_DEFAULT"]))),
        _ => {}
    }
    out.maybe(random, 50, "redirectCode", |r| r.one(&[json!(301), json!(302), json!(303), json!(307), json!(308)]));
    out.done()
}

fn cors(random: &mut Random) -> Value {
    let mut out = Fields::default();
    out.set(
        "allowOrigins",
        random.one(&[json!([{"exact": "https://a.example"}]), json!([{"regex": ".*"}, {"prefix": "https://"}])]),
    );
    out.maybe(random, 60, "allowMethods", |_| json!(["GET", "POST"]));
    out.maybe(random, 40, "allowHeaders", |_| json!(["x-a"]));
    out.maybe(random, 40, "exposeHeaders", |_| json!(["x-b"]));
    out.maybe(random, 40, "maxAge", |_| json!("24h"));
    out.maybe(random, 40, "allowCredentials", |r| json!(r.chance(50)));
    out.maybe(random, 25, "unmatchedPreflights", |r| json!(r.pick(&["FORWARD", "IGNORE"])));
    out.done()
}

fn weighted(random: &mut Random) -> Value {
    let with_headers = |random: &mut Random, weight: Option<usize>| {
        let mut out = Fields::default();
        let to = destination(random);
        out.set("destination", to);
        if let Some(weight) = weight {
            out.set("weight", json!(weight));
        }
        out.maybe(random, 12, "headers", headers);
        out.done()
    };
    match random.below(10) {
        0..=6 => json!([with_headers(random, None)]),
        7 => json!([with_headers(random, Some(70)), with_headers(random, Some(30))]),
        8 => json!([with_headers(random, Some(100)), with_headers(random, Some(0))]),
        _ => json!([with_headers(random, Some(1)), with_headers(random, Some(2)), with_headers(random, Some(1))]),
    }
}

fn http(random: &mut Random, gateways: &[String]) -> Value {
    let mut out = Fields::default();
    out.maybe(random, 30, "name", |r| json!(r.pick(&["rule-a", "rule-b"])));
    out.maybe(random, 65, "match", |r| {
        let found: Vec<Value> = (0..r.number(1, 2)).map(|_| http_match(r, gateways)).collect();
        json!(found)
    });
    match random.below(20) {
        0 | 1 => out.set("redirect", redirect(random)),
        2 => {
            let body = random.one(&[json!({"string": "hello"}), json!({"bytes": "aGVsbG8="})]);
            out.set("directResponse", json!({"status": random.one(&[json!(200), json!(503)]), "body": body}));
        }
        3 if !gateways.is_empty() => out.set("delegate", json!({"name": "delegate", "namespace": "mesh-test"})),
        _ => {
            out.set("route", weighted(random));
            out.maybe(random, 15, "rewrite", rewrite);
            out.maybe(random, 12, "mirror", destination);
            out.maybe(random, 8, "mirrorPercentage", |_| json!({"value": 12.5}));
            out.maybe(random, 8, "mirrors", |r| json!([{"destination": destination(r), "percentage": {"value": 50}}, {"destination": destination(r)}]));
        }
    }
    out.maybe(random, 25, "timeout", |r| json!(r.pick(&["5s", "1m", "0.5s"])));
    out.maybe(random, 25, "retries", retries);
    out.maybe(random, 15, "fault", fault);
    out.maybe(random, 20, "headers", headers);
    out.maybe(random, 12, "corsPolicy", cors);
    out.done()
}

fn sni(hosts: &[String], random: &mut Random) -> Value {
    let names: Vec<&String> = hosts.iter().filter(|h| !h.contains(' ')).collect();
    if names.len() > 1 && random.chance(50) { json!(names) } else { json!([names[random.below(names.len())]]) }
}

fn l4(random: &mut Random, gateways: &[String], out: &mut Fields) {
    out.maybe(random, 45, "port", |r| r.one(&[json!(443), json!(443), json!(15443), json!(9000), json!(80)]));
    if !gateways.is_empty() {
        out.maybe(random, 40, "gateways", |r| json!([gateways[r.below(gateways.len())]]));
    }
    out.maybe(random, 10, "destinationSubnets", |r| r.one(&[json!(["198.51.100.0/24"]), json!(["203.0.113.5"])]));
    out.maybe(random, 8, "sourceLabels", |r| json!({"app": r.pick(&["sleep", "other"])}));
    out.maybe(random, 5, "sourceNamespace", |r| json!(r.pick(&["mesh-test", "other"])));
}

fn tcp_routes(random: &mut Random) -> Value {
    if random.chance(80) {
        return json!([{"destination": destination(random)}]);
    }
    json!([{"destination": destination(random), "weight": 80}, {"destination": destination(random), "weight": 20}])
}

pub fn virtual_service(random: &mut Random, number: usize) -> Value {
    let mut hosts: Vec<String> = Vec::new();
    for _ in 0..(if random.chance(25) { 2 } else { 1 }) {
        let host = match random.below(10) {
            0..=5 => random.pick(OUTSIDE),
            6 => random.pick(WILDCARDS),
            7 | 8 => random.pick(INSIDE),
            _ => random.pick(&["httpbin", "nowhere.example", "sleep.mesh-test"]),
        };
        if !hosts.iter().any(|h| h == host) {
            hosts.push(host.to_owned());
        }
    }
    let gateways = gateways(random);
    let mut spec = Fields::default();
    // One in ten is what another delegates to.
    if number == 3 {
        let rules: Vec<Value> = (0..random.number(1, 2)).map(|_| http(random, &[])).collect();
        return object(NETWORKING, "VirtualService", "mesh-test", "delegate", json!({"http": rules}));
    }
    spec.set("hosts", json!(hosts));
    if !gateways.is_empty() {
        spec.set("gateways", json!(gateways));
    }
    spec.maybe(random, 15, "exportTo", export_to);
    let kind = random.below(10);
    if kind < 6 {
        let rules: Vec<Value> = (0..random.number(1, 3)).map(|_| http(random, &gateways)).collect();
        spec.set("http", json!(rules));
    }
    if (5..9).contains(&kind) {
        let rules: Vec<Value> = (0..random.number(1, 2))
            .map(|_| {
                let mut found = Fields::default();
                found.set("sniHosts", sni(&hosts, random));
                l4(random, &gateways, &mut found);
                json!({"match": [found.done()], "route": tcp_routes(random)})
            })
            .collect();
        spec.set("tls", json!(rules));
    }
    if kind >= 8 {
        let rules: Vec<Value> = (0..random.number(1, 2))
            .map(|_| {
                let mut rule = Fields::default();
                if random.chance(60) {
                    let mut found = Fields::default();
                    l4(random, &gateways, &mut found);
                    rule.set("match", json!([found.done()]));
                }
                rule.set("route", tcp_routes(random));
                rule.done()
            })
            .collect();
        spec.set("tcp", json!(rules));
    }
    object(NETWORKING, "VirtualService", namespace(random), &format!("vs-{number}"), spec.done())
}
