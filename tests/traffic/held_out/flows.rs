//! How a host is reached: what people write for it.

use super::{EGRESS, NETWORKING, routes, rules};
use crate::random_mesh::{Fields, Random, object};
use serde_json::{Value, json};

/// A host, the objects so far, and the dice.
pub struct Flow<'a> {
    pub random: &'a mut Random,
    pub host: &'a str,
    /// The host's name with dashes, which its objects are named by.
    pub name: String,
    pub out: &'a mut Vec<Value>,
}

const PASSTHROUGH: &str = "PASSTHROUGH";
const MUTUAL: &str = "ISTIO_MUTUAL";

pub fn some(random: &mut Random, host: &str, out: &mut Vec<Value>) {
    let name = host.trim_end_matches(".example").replace('.', "-");
    let mut flow = Flow { random, host, name, out };
    match flow.random.below(20) {
        0 | 1 => flow.direct(),
        2..=4 => flow.passthrough(),
        5..=8 => flow.mutual(),
        9 | 10 => flow.http_by_gateway(false),
        11 | 12 => flow.http_by_gateway(true),
        13 => flow.origination_in_sidecar(),
        14 => flow.tcp_direct(),
        15 | 16 => flow.tcp_by_gateway(),
        17 => flow.wildcard(),
        18 => flow.tunnel(),
        _ => flow.two_names(),
    }
}

pub fn port(number: u32, name: &str, protocol: &str) -> Value {
    json!({"number": number, "name": name, "protocol": protocol})
}

fn server(port: Value, hosts: Value, tls: Option<Value>) -> Value {
    let mut server = json!({"port": port, "hosts": hosts});
    if let Some(tls) = tls {
        server["tls"] = tls;
    }
    server
}

impl Flow<'_> {
    pub fn add(&mut self, kind: &str, suffix: &str, spec: Value) {
        let namespace = if self.random.chance(93) { "mesh-test" } else { self.random.pick(&["other", "istio-system"]) };
        let name = format!("{}-{suffix}", self.name);
        self.out.push(object(NETWORKING, kind, namespace, &name, spec));
    }

    fn gateway_name(&self) -> String {
        format!("{}-gateway", self.name)
    }

    fn gateway(&mut self, server: Value) {
        let mut servers = vec![server];
        if self.random.chance(15) {
            let other = json!({"port": port(443, "tls-other", "TLS"), "hosts": ["other.example"], "tls": {"mode": PASSTHROUGH}});
            servers.insert(self.random.below(2), other);
        }
        let spec = json!({"selector": {"istio": "egressgateway"}, "servers": servers});
        let name = self.gateway_name();
        self.out.push(object(NETWORKING, "Gateway", "mesh-test", &name, spec));
    }

    /// The hosts of a server: mostly the host alone.
    fn server_hosts(&mut self) -> Value {
        let host = self.host;
        match self.random.below(10) {
            0 => json!([format!("mesh-test/{host}")]),
            1 => json!([host, "unused.example"]),
            2 => json!(["*.example"]),
            3 => json!([format!("./{host}")]),
            _ => json!([host]),
        }
    }

    fn virtual_service(&mut self, hosts: Value, rules: Value) {
        let mut spec = json!({"hosts": hosts, "gateways": ["mesh", self.gateway_name()]});
        if self.random.chance(15) {
            spec["gateways"][1] = json!(format!("mesh-test/{}", self.gateway_name()));
            // A rule names its gateway as the list does.
            let rules = rules.to_string().replace(
                &format!("\"gateways\":[\"{}\"]", self.gateway_name()),
                &format!("\"gateways\":[\"mesh-test/{}\"]", self.gateway_name()),
            );
            return self.with_rules(spec, &serde_json::from_str(&rules).unwrap());
        }
        self.with_rules(spec, &rules);
    }

    fn with_rules(&mut self, mut spec: Value, rules: &Value) {
        for (kind, list) in rules.as_object().unwrap() {
            spec[kind] = list.clone();
        }
        if self.random.chance(8) {
            spec["exportTo"] = self.random.one(&[json!(["."]), json!(["*"]), json!([".", "istio-system"])]);
        }
        self.add("VirtualService", "route", spec);
    }

    fn entry(&mut self, ports: Vec<Value>) {
        let host = self.host;
        let spec = rules::service_entry(self.random, &[host], ports);
        self.add("ServiceEntry", "ext", spec);
    }

    fn leg_to_gateway(&mut self, number: u32, subset: bool) -> Value {
        let mut destination = json!({"host": EGRESS, "port": {"number": number}});
        if subset {
            destination["subset"] = json!(self.name);
        }
        json!([{"destination": destination}])
    }

    fn leg_to_host(&mut self, number: u32) -> Value {
        let mut destination = json!({"host": self.host, "port": {"number": number}});
        if self.random.chance(6) {
            destination.as_object_mut().unwrap().shift_remove("port");
        }
        json!([{"destination": destination}])
    }

    /// The gateway's subset, with or without mutual TLS.
    fn subset(&mut self, number: u32, mutual: bool) {
        let mut subset = Fields::default();
        subset.set("name", json!(self.name));
        if self.random.chance(15) {
            subset.set("labels", json!({"istio": "egressgateway"}));
        }
        if mutual {
            let mut tls = json!({"mode": MUTUAL, "sni": self.host});
            if self.random.chance(15) {
                let account = "spiffe://cluster.local/ns/istio-system/sa/istio-egressgateway-service-account";
                tls["subjectAltNames"] = json!([account]);
            }
            if self.random.chance(60) {
                subset.set("trafficPolicy", json!({"portLevelSettings": [{"port": {"number": number}, "tls": tls}]}));
            } else {
                subset.set("trafficPolicy", json!({"tls": tls}));
            }
        }
        let spec = json!({"host": EGRESS, "subsets": [subset.done()]});
        self.add("DestinationRule", "to-gateway", spec);
    }

    fn direct(&mut self) {
        let kinds = [
            port(443, "https", "HTTPS"),
            port(443, "tls", "TLS"),
            port(80, "http", "HTTP"),
            port(8080, "http2", "HTTP2"),
            port(8443, "tls-alt", "TLS"),
            port(50051, "grpc", "GRPC"),
            port(9443, "https-alt", "HTTPS"),
        ];
        let mut ports: Vec<Value> = Vec::new();
        for _ in 0..self.random.number(1, 3) {
            let kind = self.random.one(&kinds);
            if ports.iter().all(|other| other["number"] != kind["number"]) {
                ports.push(kind);
            }
        }
        let first = ports[0].clone();
        self.entry(ports);
        let number = u32::try_from(first["number"].as_u64().unwrap()).unwrap();
        let of_tls = matches!(first["protocol"].as_str(), Some("TLS" | "HTTPS"));
        if self.random.chance(50) {
            let route = self.leg_to_host(number);
            let rules = if of_tls {
                json!({"tls": [{"match": [{"port": number, "sniHosts": [self.host]}], "route": route}]})
            } else {
                let mut rule = json!({"match": [{"port": number}], "route": route});
                routes::dress(self.random, self.host, &mut rule);
                json!({"http": routes::with_rest(self.random, rule)})
            };
            let spec = json!({"hosts": [self.host]});
            self.with_rules(spec, &rules);
        }
        if self.random.chance(50) {
            let policy = rules::policy(self.random, self.host, false);
            self.add("DestinationRule", "ext", json!({"host": self.host, "trafficPolicy": policy}));
        }
    }

    fn sni_rule(&self, gateway: &str, number: u32, hosts: &Value, route: Value) -> Value {
        json!({"match": [{"gateways": [gateway], "port": number, "sniHosts": hosts}], "route": route})
    }

    fn passthrough(&mut self) {
        let protocol = self.random.pick(&["TLS", "HTTPS"]);
        self.entry(vec![port(443, "tls", protocol)]);
        let hosts = self.server_hosts();
        let protocol = self.random.pick(&["TLS", "TLS", "HTTPS"]);
        self.gateway(server(port(443, "tls", protocol), hosts, Some(json!({"mode": PASSTHROUGH}))));
        let subset = self.random.chance(60);
        if subset {
            self.subset(443, false);
        }
        let (to_gateway, to_host) = (self.leg_to_gateway(443, subset), self.leg_to_host(443));
        let names = json!([self.host]);
        let legs = json!({"tls": [
            self.sni_rule("mesh", 443, &names, to_gateway),
            self.sni_rule(&self.gateway_name(), 443, &names, to_host)]});
        self.virtual_service(json!([self.host]), legs);
    }

    /// The gateway's server on a port, and the subset that leads to it.
    fn way_in(&mut self, port: Value, mutual: bool) {
        let number = u32::try_from(port["number"].as_u64().unwrap()).unwrap();
        let hosts = self.server_hosts();
        self.gateway(server(port, hosts, mutual.then(|| json!({"mode": MUTUAL}))));
        self.subset(number, mutual);
    }

    fn mutual(&mut self) {
        let protocol = self.random.pick(&["TLS", "HTTPS"]);
        self.entry(vec![port(443, "tls", protocol)]);
        let number = if self.random.chance(60) { 15443 } else { 443 };
        let protocol = self.random.pick(&["TLS", "TLS", "TLS", "HTTPS"]);
        self.way_in(port(number, "tls-mutual", protocol), true);
        let (to_gateway, to_host) = (self.leg_to_gateway(number, true), self.leg_to_host(443));
        let legs = json!({
            "tls": [self.sni_rule("mesh", 443, &json!([self.host]), to_gateway)],
            "tcp": [{"match": [{"gateways": [self.gateway_name()], "port": number}], "route": to_host}]});
        self.virtual_service(json!([self.host]), legs);
    }

    /// HTTP to the gateway, by mutual TLS or not; from there plain, or by TLS that the gateway begins.
    fn http_by_gateway(&mut self, mutual: bool) {
        let origination = self.random.chance(60);
        self.entry(vec![port(80, "http", "HTTP"), port(443, "https", "HTTPS")]);
        let number = if mutual { [443, 15443][self.random.below(2)] } else { 80 };
        let named = if mutual { port(number, "https-mutual", "HTTPS") } else { port(number, "http", "HTTP") };
        self.way_in(named, mutual);
        let outside = if origination { 443 } else { 80 };
        let (to_gateway, to_host) = (self.leg_to_gateway(number, true), self.leg_to_host(outside));
        let mut first = json!({"match": [{"gateways": ["mesh"], "port": 80}], "route": to_gateway});
        let mut second = json!({"match": [{"gateways": [self.gateway_name()], "port": number}], "route": to_host});
        let dressed = if self.random.chance(50) { &mut first } else { &mut second };
        routes::dress(self.random, self.host, dressed);
        self.virtual_service(json!([self.host]), json!({"http": [first, second]}));
        if origination {
            let policy = rules::policy(self.random, self.host, true);
            self.add("DestinationRule", "tls", json!({"host": self.host, "trafficPolicy": policy}));
        }
    }

    fn origination_in_sidecar(&mut self) {
        let by_target = self.random.chance(50);
        let mut http = port(80, "http", "HTTP");
        if by_target {
            http["targetPort"] = json!(443);
            self.entry(vec![http]);
        } else {
            self.entry(vec![http, port(443, "https", "HTTPS")]);
            let to_host = self.leg_to_host(443);
            let mut rule = json!({"match": [{"port": 80}], "route": to_host});
            routes::dress(self.random, self.host, &mut rule);
            self.with_rules(json!({"hosts": [self.host]}), &json!({"http": [rule]}));
        }
        let policy = rules::policy(self.random, self.host, true);
        self.add("DestinationRule", "tls", json!({"host": self.host, "trafficPolicy": policy}));
    }

    fn tcp_direct(&mut self) {
        let number = [5432, 9000, 443, 3306][self.random.below(4)];
        let protocol = self.random.pick(&["TCP", "TCP", "TLS", "MYSQL"]);
        self.entry(vec![port(number, "tcp-raw", protocol)]);
    }

    fn tcp_by_gateway(&mut self) {
        self.entry(vec![port(5432, "tcp-db", "TCP")]);
        let mutual = self.random.chance(40);
        let number = if mutual { 15443 } else { 9000 };
        let named = if mutual { port(number, "tls-db", "TLS") } else { port(number, "tcp-db", "TCP") };
        self.way_in(named, mutual);
        let (to_gateway, to_host) = (self.leg_to_gateway(number, true), self.leg_to_host(5432));
        let legs = json!({"tcp": [
            {"match": [{"gateways": ["mesh"], "port": 5432}], "route": to_gateway},
            {"match": [{"gateways": [self.gateway_name()], "port": number}], "route": to_host}]});
        self.virtual_service(json!([self.host]), legs);
    }

    fn wildcard(&mut self) {
        let wild = format!("*.{}", self.host);
        let resolution = self.random.pick(&["NONE", "NONE", "DYNAMIC_DNS"]);
        let ports = json!([port(443, "tls", "TLS"), port(80, "http", "HTTP")]);
        self.add("ServiceEntry", "wild", json!({"hosts": [wild], "ports": ports, "resolution": resolution}));
        if self.random.chance(50) {
            self.entry(vec![port(443, "tls", "TLS")]);
            self.gateway(server(port(443, "tls", "TLS"), json!([wild]), Some(json!({"mode": PASSTHROUGH}))));
            let (to_gateway, to_host) = (self.leg_to_gateway(443, false), self.leg_to_host(443));
            let names = json!([wild]);
            let legs = json!({"tls": [
                self.sni_rule("mesh", 443, &names, to_gateway),
                self.sni_rule(&self.gateway_name(), 443, &names, to_host)]});
            self.virtual_service(json!([wild]), legs);
        }
    }

    /// By a forward proxy, whose CONNECT names the host.
    fn tunnel(&mut self) {
        let proxy = "proxy.corp.example";
        let spec = json!({"hosts": [proxy], "ports": [port(3128, "tcp", "TCP")], "resolution": "DNS"});
        self.add("ServiceEntry", "proxy", spec);
        self.entry(vec![port(443, "tls", "TLS")]);
        let tunnel = json!({"protocol": "CONNECT", "targetHost": self.host, "targetPort": 443});
        let spec = json!({"host": proxy, "subsets": [{"name": self.name, "trafficPolicy": {"tunnel": tunnel}}]});
        self.add("DestinationRule", "proxy", spec);
        let route = json!([{"destination": {"host": proxy, "port": {"number": 3128}, "subset": self.name}}]);
        let rules = json!({"tls": [{"match": [{"port": 443, "sniHosts": [self.host]}], "route": route}]});
        self.with_rules(json!({"hosts": [self.host]}), &rules);
    }

    /// Two hosts in one entry, one server and one rule.
    fn two_names(&mut self) {
        let second = format!("eu.{}", self.host);
        let both = json!([self.host, second]);
        let spec = json!({"hosts": both, "ports": [port(443, "tls", "TLS")], "resolution": "DNS"});
        self.add("ServiceEntry", "both", spec);
        let mutual = self.random.chance(50);
        let (number, mode) = if mutual { (15443, MUTUAL) } else { (443, PASSTHROUGH) };
        self.gateway(server(port(number, "tls", "TLS"), both.clone(), Some(json!({"mode": mode}))));
        self.subset(number, mutual);
        let (to_gateway, to_host) = (self.leg_to_gateway(number, true), self.leg_to_host(443));
        let first = self.sni_rule("mesh", 443, &both, to_gateway);
        let legs = if mutual {
            let tcp = json!([{"match": [{"gateways": [self.gateway_name()], "port": number}], "route": to_host}]);
            json!({"tls": [first], "tcp": tcp})
        } else {
            json!({"tls": [first, self.sni_rule(&self.gateway_name(), number, &both, to_host)]})
        };
        self.virtual_service(both, legs);
    }
}
