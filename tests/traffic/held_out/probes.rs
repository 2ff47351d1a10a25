//! What is asked of a configuration: every host at every port it has, by name and by its addresses, and three unregistered.

use crate::case::Told;
use serde_json::Value;

const OF_TLS: [u64; 3] = [443, 8443, 9443];

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn of_kind<'a>(objects: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

/// The host that stands for a name with a wildcard.
fn concrete(host: &str) -> Option<String> {
    match host.strip_prefix("*.") {
        Some(suffix) => Some(format!("probe.{suffix}")),
        None if host == "*" => None,
        None => Some(host.to_owned()),
    }
}

fn has(object: &Value, host: &str) -> bool {
    list(&object["spec"]["hosts"]).iter().filter_map(|name| concrete(name.as_str()?)).any(|name| name == host)
}

/// The first address of a range that a host may have.
fn address(text: &str) -> String {
    match text.split_once('/') {
        Some((network, _)) => {
            let (head, last) = network.rsplit_once('.').unwrap();
            format!("{head}.{}", last.parse::<u8>().unwrap() + 1)
        }
        None => text.to_owned(),
    }
}

fn of_port(host: &str, port: &Value) -> Vec<String> {
    let number = port["number"].as_u64().unwrap();
    let secure = format!("https://{host}:{number}/get");
    let mut found = match port["protocol"].as_str().unwrap_or_default() {
        "HTTP" | "HTTP2" | "GRPC" => vec![format!("http://{host}:{number}/get")],
        "HTTPS" | "TLS" => return vec![secure],
        _ => vec![format!("tcp://{host}:{number}")],
    };
    if OF_TLS.contains(&number) {
        found.push(secure);
    }
    found
}

/// A request that the match takes.
fn of_match(host: &str, wanted: &Value) -> Option<String> {
    let uri = &wanted["uri"];
    let path = match (uri["exact"].as_str(), uri["prefix"].as_str(), uri["regex"].as_str()) {
        (Some(exact), ..) => exact.to_owned(),
        (_, Some(prefix), _) => format!("{}/get", prefix.trim_end_matches('/')),
        (.., Some(_)) => "/v1/get".to_owned(),
        _ => "/get".to_owned(),
    };
    let header = wanted["headers"].as_object().and_then(|headers| headers.iter().next()).map(|(name, value)| {
        let value = value["exact"].as_str().or(value["prefix"].as_str()).unwrap_or("yes");
        format!(" [{name}: {value}]")
    });
    if uri.is_null() && header.is_none() {
        return None;
    }
    Some(format!("http://{host}:80{path}{}", header.unwrap_or_default()))
}

pub fn of(hosts: &[String], objects: &[Value]) -> Vec<Told> {
    let registered = of_kind(objects, "ServiceEntry").flat_map(|entry| list(&entry["spec"]["hosts"]));
    let registered = registered.filter_map(|host| concrete(host.as_str()?));
    let mut all: Vec<String> = hosts.to_vec();
    all.extend(registered);
    let mut probes: Vec<String> = Vec::new();
    for host in &all {
        probes.push(format!("https://{host}:443/get"));
        probes.push(format!("http://{host}:80/get"));
        for entry in of_kind(objects, "ServiceEntry").filter(|entry| has(entry, host)) {
            for probe in list(&entry["spec"]["ports"]).iter().flat_map(|port| of_port(host, port)) {
                let at = list(&entry["spec"]["addresses"]).iter().filter_map(Value::as_str);
                probes.extend(at.map(|text| format!("{probe} @{}", address(text))));
                probes.push(probe);
            }
        }
        for routes in of_kind(objects, "VirtualService").filter(|routes| has(routes, host)) {
            let rules = list(&routes["spec"]["http"]).iter().flat_map(|rule| list(&rule["match"]));
            probes.extend(rules.filter_map(|wanted| of_match(host, wanted)));
        }
    }
    probes.push("https://unregistered.example.net:443/get".into());
    probes.push("http://unregistered.example.net:80/get".into());
    probes.push("tcp://unregistered.example.net:5432".into());
    let mut once: Vec<String> = Vec::new();
    for probe in probes {
        // Only the lab's outside is asked, and names that hold in a URL.
        let plain = probe.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if plain && !probe.contains(".cluster.local") && !once.contains(&probe) {
            once.push(probe);
        }
    }
    once.into_iter().map(Told::asked).collect()
}
