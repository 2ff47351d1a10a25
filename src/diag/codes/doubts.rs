//! What reading and checking doubts: warnings.

use super::{Code, code};

pub(super) const CODES: &[Code] = &[
    code("W0230", "a capture is never used", "It would be read and forgotten."),
    code("W0231", "a `for` variable is never used", "The same steps would run several times."),
    code(
        "W0232",
        "only negative evidence",
        "A request that fails can fail for any reason. A positive control (a request by the same client that succeeds, or by another client to the same host) shows that client, DNS and network work, so that the block is what was meant.",
    ),
    code(
        "W0233",
        "a status alone",
        "For a host with a gateway applied, 200 also comes when the traffic goes past the gateway. `via` or `path` shows the way it took; a fact of a listener or cluster is at least a second witness.",
    ),
    code(
        "W0234",
        "a scenario checks nothing",
        "Without an `expect` nothing can fail; a run in which nothing is checked does not pass.",
    ),
    code(
        "W0235",
        "a modifier is handed to the command",
        "Behind `exec` all words belong to the command. `within` and its like stand on an `expect`.",
    ),
    code(
        "W0236",
        "TLS twice",
        "The client speaks HTTPS, and a DestinationRule makes its sidecar start TLS to the same port: the site gets TLS inside TLS. Origination is for clients that speak plain HTTP.",
    ),
    code(
        "W0237",
        "a Sidecar hides what a probe needs",
        "A Sidecar's `egress.hosts` say which ServiceEntries and Services a workload's proxy knows. What they leave out is unregistered for it, and blocked under REGISTRY_ONLY.",
    ),
    code(
        "W0238",
        "no shell reads the command",
        "Behind `exec` words go to the program as they are: pipes, redirections and `&&` mean nothing to it. `sh -c '…'` runs a shell; `expect stdout …` judges output without one.",
    ),
    code("W0239", "steps that are never done", "No `do` names them: they would never run."),
    code(
        "W0241",
        "the URL is not what it seems",
        "Without `http://` or `https://` curl speaks plain HTTP to port 80; a scheme that it does not know, or no URL at all, or an option that it does not have, ends it before anything is sent.",
    ),
    code(
        "W0242",
        "a name that is not known",
        "No manifest here has a workload, namespace, kind or object of this name, but one that is nearly so called: most likely it is misspelt.",
    ),
    code(
        "W0243",
        "a host that nothing registers",
        "The request is expected to succeed, and no ServiceEntry that is applied before it has this host, or this port of it: under REGISTRY_ONLY the sidecar blocks it.",
    ),
    code(
        "W0244",
        "a name that is not replaced",
        "`${name}` is replaced, outside of single quotes. `$name`, `$(name)` and `{{name}}` are other tools' forms: the command gets the characters.",
    ),
    code(
        "W0245",
        "steps of the lab alone",
        "A cluster does not know the kinds Site, Cut and Kill. `only on lab` says that the scenario is skipped there.",
    ),
    code(
        "W0246",
        "HTTP and TLS on one port",
        "The protocol of a ServiceEntry's port says how the sidecar reads what the client sends: TLS on a port declared HTTP is no HTTP, and the other way round.",
    ),
    code(
        "W0320",
        "a `tls` route behind a terminating server",
        "Behind a server that ends TLS there is no SNI left to match: istiod makes no filter chain from a `tls` route and omits a listener without chains. The leg is `tcp`.",
    ),
    code(
        "W0321",
        "a subset nobody defines",
        "A route to a subset needs a DestinationRule for the same host that defines it; otherwise there is no cluster and requests end with NC.",
    ),
    code(
        "W0322",
        "a host that is not registered",
        "Proxies have clusters only for Services and ServiceEntries: a route or a DestinationRule for another host has no effect.",
    ),
    code(
        "W0323",
        "a port that is not there",
        "The Service or ServiceEntry of the destination has no such port, so there is no cluster for it; a gateway's server on a port that its Service does not expose is reached by nobody.",
    ),
    code(
        "W0324",
        "an SNI that the server does not serve",
        "A passthrough server makes chains only for SNIs among its own hosts.",
    ),
    code(
        "W0325",
        "a gateway that does not exist",
        "A VirtualService names Gateways of its own namespace by name, others as NAMESPACE/NAME.",
    ),
    code(
        "W0326",
        "traffic bypasses the gateway",
        "Sidecars use a VirtualService only when `mesh` is among its gateways (or none is named).",
    ),
    code(
        "W0327",
        "ISTIO_MUTUAL without `sni`",
        "The sidecar then sends outbound_.PORT_.SUBSET_.HOST, and a server with named hosts has no chain for it.",
    ),
    code(
        "W0328",
        "two hosts behind one terminating server",
        "One server is one filter chain with one `tcp` route, whatever its hosts. Give each host a server.",
    ),
    code(
        "W0329",
        "a host served twice on a port",
        "istiod skips the later TLS server of the same workload and port (duplicate host names).",
    ),
    code(
        "W0330",
        "a `tcp` leg behind an HTTP server",
        "`protocol: HTTPS` with TLS ended at the gateway reads HTTP. Bytes are passed on by `protocol: TLS`.",
    ),
    code("W0332", "a match for a gateway that is not named above", "A match's gateways are a part of spec.gateways."),
    code(
        "W0333",
        "an SNI that no server takes",
        "The DestinationRule's `sni` must be one of the hosts of the server on that port.",
    ),
    code("W0334", "no server on that port", "A match's port is the port of the Gateway's server."),
    code(
        "W0335",
        "a Gateway selects no workload",
        "Its selector matches the labels of no pod, so no proxy gets its servers.",
    ),
    code(
        "W0336",
        "TLS that nobody ends",
        "The sidecar wraps the client's TLS, and a passthrough server hands it on to the site as it is.",
    ),
    code(
        "W0337",
        "no mesh mTLS where it is asked for",
        "A server with ISTIO_MUTUAL needs a DestinationRule with `tls.mode: ISTIO_MUTUAL` for the gateway's Service: auto-mTLS does not reach a gateway without a sidecar label.",
    ),
    code(
        "W0338",
        "TLS twice",
        "The client already speaks TLS; a DestinationRule that starts TLS again wraps it a second time.",
    ),
    code("W0339", "a host that is not visible", "Its ServiceEntry is exported only to other namespaces."),
    code("W0341", "in the clear and TLS on one port", "istiod keeps one of the two servers."),
    code(
        "W0342",
        "istiod's webhook warns",
        "The object is admitted, and istiod says that something in it has no effect or not the one that is meant.",
    ),
    code(
        "W0343",
        "a selector that matches no workload",
        "The labels of a Sidecar's, policy's, DestinationRule's or Service's selector are those of no pod of its namespace, so it applies to none.",
    ),
    code(
        "W0344",
        "a DestinationRule that no proxy applies",
        "istiod looks for the rules of a host in the client's namespace, in the service's (or ServiceEntry's) and in istio-system, and only where `exportTo` lets it. Elsewhere a rule is admitted and never used.",
    ),
    code(
        "W0345",
        "a link that istioctl analyze names",
        "istioctl's own message, with its code (https://istio.io/latest/docs/reference/config/analysis/).",
    ),
    code(
        "W0347",
        "a VirtualService that no proxy sees",
        "`exportTo` names the namespaces whose proxies use it: those of the clients, and that of the gateway.",
    ),
    code(
        "W0348",
        "a ServiceEntry without endpoints",
        "`resolution: STATIC` takes its addresses from `endpoints` or from the workloads that it selects; without them there is none.",
    ),
];
