//! What a run says: judgements of expectations (E04xx), and steps that could not be done (E05xx).

use super::{Code, code};

pub(super) const CODES: &[Code] = &[
    code(
        "E0410",
        "another status",
        "The last HTTP status was not the one expected, or there was no response at all (000): then curl's exit code says why, and the message follows the way to the hop that broke it.",
    ),
    code(
        "E0411",
        "another exit code",
        "The command ended otherwise. Of curl: 6 no such name, 7 refused, 28 timed out, 35 TLS handshake failed, 52 an empty reply, 56 reset, 60 the certificate was not verified.",
    ),
    code(
        "E0412",
        "another result of verification",
        "curl's verification of the certificate chain; 0 is verified. Without a handshake there is none.",
    ),
    code(
        "E0413",
        "a response header",
        "The header is absent, or has another value. Names are compared without case; the last response counts.",
    ),
    code("E0414", "another body", "What curl printed as the body does not fit."),
    code("E0415", "another output", "What the command printed on standard output does not fit."),
    code("E0416", "another standard error", "What the command printed on standard error does not fit."),
    code(
        "E0417",
        "another certificate",
        "The certificate that the client saw is another's: a gateway or proxy may have answered instead of the site, or the other way round.",
    ),
    code(
        "E0418",
        "another JSON value",
        "The JSONPath finds nothing in the body, or only other values, or the body is no JSON.",
    ),
    code("E0419", "another time", "One of curl's transfers took longer, or less, than was said."),
    code(
        "E0420",
        "not blocked so",
        "The request came through, or something else than what was named blocked it. The message says what the proxies' logs show.",
    ),
    code(
        "E0421",
        "not through the gateway",
        "The client's proxy chose another upstream: no VirtualService leads this host to the gateway, or it is not bound to `mesh`, or its port or subset has no cluster.",
    ),
    code("E0422", "not direct", "The traffic went through a gateway."),
    code(
        "E0423",
        "another path",
        "One hop is not the one that was written. The message marks the first that differs, and shows the log line that says so.",
    ),
    code(
        "E0424",
        "another peer",
        "The gateway saw another client certificate, or none: without mesh mTLS on the first leg there is no identity.",
    ),
    code(
        "E0425",
        "no such log line",
        "No line of the proxy's access log about this request fits. Logs are written when a connection ends.",
    ),
    code(
        "E0426",
        "another TLS version",
        "The other end of the client's connection agreed on another version; behind a terminating proxy that is the proxy.",
    ),
    code(
        "E0430",
        "a listener is not so",
        "The proxy has no such listener, or its filter chains lack the fact. Where istiod omitted it, the manifest that did so is shown.",
    ),
    code(
        "E0431",
        "a cluster is not so",
        "The proxy has no such cluster, or it lacks the fact: no ServiceEntry or Service that the proxy sees, or no DestinationRule that applies.",
    ),
    code(
        "E0432",
        "another number",
        "The list of clusters, listeners or routes does not compare as written. The message shows what came and what went.",
    ),
    code(
        "E0433",
        "a route is not so",
        "No route table, virtual host or destination of this name. Hosts that pass as TLS have none at all.",
    ),
    code("E0434", "an endpoint is not so", "The cluster has no endpoints, other ones, or unhealthy ones."),
    code(
        "E0435",
        "a secret is not so",
        "The proxy has no such SDS secret, or waits for it still: the Secret is missing, or not readable for the gateway.",
    ),
    code(
        "E0436",
        "something else changed",
        "Since the last capture more than what was named differs in the proxy, or nothing does.",
    ),
    code(
        "E0437",
        "the configuration holds no such part",
        "Nothing in the proxy's dump fits the document. The nearest resource is shown with what differs.",
    ),
    code("E0438", "an object is not so", "The object is absent, or does not hold the document."),
    code(
        "E0439",
        "not refused so",
        "The change was admitted, or refused for another reason than the text that was named.",
    ),
    code(
        "E0440",
        "another analysis",
        "`istioctl analyze` finds something where nothing was expected, or not the code that was named.",
    ),
    code("E0501", "the API server refuses", "A request of the run was refused. The message is the server's own."),
    code(
        "E0502",
        "an admission webhook refuses",
        "A webhook, most likely istiod's, does not admit the object. The message is its own; `expect rejected` is for lessons that want it.",
    ),
    code(
        "E0503",
        "the target broke",
        "The connection to the API server or a pod ended in the middle. What was changed is undone as far as the target answers.",
    ),
    code(
        "E0504",
        "something is not there",
        "A workload, pod, container or object that a step needs does not exist in the target.",
    ),
    code(
        "E0505",
        "a command failed, and nothing expects that",
        "An `exec` without expectations must exit 0. Say `expect exit N` where another code is meant.",
    ),
    code(
        "E0506",
        "a requirement is not met",
        "The target lacks what `require` names. On a cluster the message says how to mend it, or use `--provide`.",
    ),
    code(
        "E0520",
        "not shown",
        "The evidence cannot be had here: the log lacks a field, the program gives no account, the proxy shows no configuration. Nothing is claimed; the message says what to add.",
    ),
];
