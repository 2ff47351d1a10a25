//! What constructs mean, in a sentence or two, English and Korean. A test holds that no word of the vocabulary is missing.

use crate::explain::Language;

/// What a word is in its statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Verb,
    Expectation,
    Fact,
    Modifier,
    /// A value that stands for itself: `REGISTRY_ONLY`.
    Value,
}

/// The meaning of a word, if it is one of the language's.
pub fn meaning(role: Role, word: &str, language: Language) -> Option<&'static str> {
    let table = match role {
        Role::Verb => VERBS,
        Role::Expectation => EXPECTATIONS,
        Role::Fact => FACTS,
        Role::Modifier => MODIFIERS,
        Role::Value => VALUES,
    };
    let (_, english, korean) = table.iter().find(|(known, ..)| *known == word)?;
    Some(match language {
        Language::English => english,
        Language::Korean => korean,
    })
}

type Table = &'static [(&'static str, &'static str, &'static str)];

const VERBS: Table = &[
    (
        "include",
        "Reads another file: its named steps and headers.",
        "다른 파일을 읽는다: 그 안의 이름 붙인 step과 헤더.",
    ),
    (
        "only",
        "Runs the scenario on the lab, or on a cluster, alone; elsewhere it is skipped with this reason.",
        "lab에서만, 또는 클러스터에서만 실행한다. 다른 곳에서는 그 이유와 함께 건너뛴다.",
    ),
    (
        "skip",
        "Skips the scenario under a condition, with a reason that the report shows.",
        "조건이 맞으면 시나리오를 건너뛴다. 이유가 보고서에 나온다.",
    ),
    (
        "disruptive",
        "Marks a scenario that changes what others depend on; on a cluster it needs `--disruptive`.",
        "다른 것이 의존하는 것을 바꾸는 시나리오라는 표시. 클러스터에서는 `--disruptive`가 필요하다.",
    ),
    (
        "patch",
        "Merges the text below into an object. Undone at the end.",
        "아래 내용을 오브젝트에 합친다. 끝나면 되돌린다.",
    ),
    (
        "restart",
        "Restarts a workload's pods, as `kubectl rollout restart` does, and waits for the new ones.",
        "`kubectl rollout restart`처럼 workload의 pod를 다시 시작하고 새 pod를 기다린다.",
    ),
    ("scale", "Sets how many pods a workload has. Undone at the end.", "workload의 pod 수를 정한다. 끝나면 되돌린다."),
    (
        "wait",
        "Waits until an object is ready, available, has a condition, or is gone.",
        "오브젝트가 준비되거나, 조건을 갖추거나, 사라질 때까지 기다린다.",
    ),
    (
        "site",
        "Lab only: how an outside site behaves. It is applied as a Site object.",
        "lab 전용: 외부 사이트의 동작. Site 오브젝트로 적용된다.",
    ),
    (
        "cut",
        "Lab only: nothing gets from A to B any more. It is applied as a Cut object.",
        "lab 전용: A에서 B로 아무것도 가지 못한다. Cut 오브젝트로 적용된다.",
    ),
    (
        "kill",
        "Lab only: ends a workload's process, as a crash does. It is applied as a Kill object.",
        "lab 전용: 장애처럼 workload의 프로세스를 끝낸다. Kill 오브젝트로 적용된다.",
    ),
    ("title", "The file's title, in reports.", "파일의 제목. 보고서에 나온다."),
    (
        "namespace",
        "Where bare workload names are looked up, and where objects without a namespace go.",
        "이름만 쓴 workload를 찾고, namespace가 없는 오브젝트를 두는 곳.",
    ),
    (
        "gateway",
        "The egress gateway that `expect listener` means when none is named.",
        "`expect listener`가 따로 말하지 않을 때 가리키는 egress gateway.",
    ),
    (
        "require",
        "What the scenario needs of its target. The lab provides it; on a cluster a lack is a failure with the way to mend it.",
        "시나리오에 필요한 것. lab은 갖춰 주고, 클러스터에 없으면 고치는 방법과 함께 실패한다.",
    ),
    ("set", "Several words under one name, used as `${name}`.", "여러 단어에 이름을 붙인다. `${name}`으로 쓴다."),
    ("let", "One word under a name, used as `${name}`.", "단어 하나에 이름을 붙인다. `${name}`으로 쓴다."),
    ("within", "How long an expectation is tried before it fails.", "기대가 맞을 때까지 기다리는 시간."),
    (
        "scenario",
        "Begins a scenario, with a title and tags. What it changes is undone at its end.",
        "시나리오를 시작한다. 제목과 태그를 붙인다. 끝나면 바꾼 것을 되돌린다.",
    ),
    ("criteria", "What is to be shown, for reports.", "보여야 할 기준. 보고서에 나온다."),
    ("see", "Names of notes to read.", "참고할 노트의 이름."),
    ("note", "Says something to the reader while it runs.", "실행 중에 읽는 이에게 말한다."),
    ("pause", "Says something and waits until the reader goes on.", "말하고, 읽는 이가 계속할 때까지 멈춘다."),
    (
        "for",
        "Repeats the steps inside for each word, or for each row of a table. Closed by `end`.",
        "단어마다, 또는 표의 행마다 안의 step을 되풀이한다. `end`로 닫는다.",
    ),
    (
        "trap",
        "A classic mistake: what is seen, why, and how it is mended. For reports.",
        "흔한 함정: 증상, 원인, 고치는 법. 보고서에 나온다.",
    ),
    (
        "steps",
        "Names the steps inside, with parameters; `do` runs them. Closed by `end`.",
        "안의 step에 이름과 매개변수를 붙인다. `do`로 실행한다. `end`로 닫는다.",
    ),
    ("do", "Runs named steps with these words.", "이름 붙인 step을 이 단어들로 실행한다."),
    ("setup", "Steps that run before each scenario. Closed by `end`.", "시나리오마다 먼저 도는 step. `end`로 닫는다."),
    (
        "cleanup",
        "Steps that run at the end whatever became of the others. Closed by `end`.",
        "앞이 어떻게 되든 끝에 도는 step. `end`로 닫는다.",
    ),
    ("end", "Closes a block.", "블록을 닫는다."),
    (
        "apply",
        "Server-side apply of manifests: files, folders and globs beside the scenario or in `manifests/`, or what stands between `<<YAML` and `YAML`. Undone at the end.",
        "manifest를 server-side apply한다. 시나리오 옆이나 `manifests/`의 파일·폴더·glob, 또는 `<<YAML`과 `YAML` 사이. 끝나면 되돌린다.",
    ),
    (
        "delete",
        "Deletes an object, or those of files. Undone at the end.",
        "오브젝트나 파일의 오브젝트를 지운다. 끝나면 되돌린다.",
    ),
    (
        "exec",
        "Runs a command in the workload's pod. With the expectations behind it, it is one probe, tried until they hold.",
        "workload의 pod 안에서 명령을 실행한다. 뒤따르는 expect와 함께 하나의 probe이고, 맞을 때까지 되풀이한다.",
    ),
    (
        "capture",
        "Keeps a list or an output under a name, to compare with later.",
        "목록이나 출력을 이름으로 남겨 나중에 견준다.",
    ),
    (
        "diff",
        "Shows what differs between two lists or captures. Judges nothing.",
        "두 목록이나 capture의 차이를 보인다. 판정하지 않는다.",
    ),
    (
        "expect",
        "What must be seen: about the last `exec`, or about a proxy's state. `expect no …` negates.",
        "보여야 하는 것. 마지막 `exec`나 프록시의 상태에 대한 것이다. `expect no …`는 부정이다.",
    ),
];

const EXPECTATIONS: Table = &[
    ("json", "A value in the JSON that the command printed.", "명령이 출력한 JSON 안의 값."),
    ("time", "How long the command's transfer took.", "전송에 걸린 시간."),
    ("tls", "The TLS version that the client negotiated.", "클라이언트가 협상한 TLS 버전."),
    (
        "route",
        "A route of a proxy, by host or name. Hosts that pass as TLS have none: look at `listener` and `path`.",
        "프록시의 route (호스트나 이름으로). TLS 그대로 지나가는 호스트에는 없다: `listener`와 `path`를 본다.",
    ),
    ("endpoint", "Endpoints that a proxy has for a host.", "프록시가 호스트에 대해 가진 endpoint."),
    ("secret", "A certificate that a proxy has been given.", "프록시가 받은 인증서."),
    (
        "only",
        "Nothing but this changed on the proxy since the last change.",
        "마지막 변경에서 프록시의 이것만 바뀌었다.",
    ),
    (
        "config",
        "The proxy's configuration holds all that the text below says.",
        "프록시 설정에 아래 내용이 모두 들어 있다.",
    ),
    ("resource", "An object that the API holds, and what is in it.", "API가 가진 오브젝트와 그 내용."),
    (
        "rejected",
        "The API refused the last change, for a reason that holds this text.",
        "API가 마지막 변경을 거절했다. 이유에 이 문구가 있다.",
    ),
    (
        "analysis",
        "What `istioctl analyze` says of the objects: nothing, or this code.",
        "`istioctl analyze`가 오브젝트에 대해 하는 말: 없음, 또는 이 코드.",
    ),
    (
        "status",
        "The last HTTP status; `2xx` is any of them, `000` is no response.",
        "마지막 HTTP 상태. `2xx`는 그중 아무것, `000`은 응답 없음.",
    ),
    (
        "exit",
        "The command's exit code. curl: 0 all well, 35 TLS handshake failed, 56 cut off, 60 certificate not trusted.",
        "명령의 exit code. curl: 0 성공, 35 TLS handshake 실패, 56 끊김, 60 인증서를 믿지 못함.",
    ),
    (
        "ssl_verify",
        "curl's verification of the certificate chain; 0 is verified.",
        "curl의 인증서 체인 검증 결과. 0이면 검증됨.",
    ),
    ("header", "A response header, and what it says.", "응답 헤더와 그 값."),
    ("body", "The response's body.", "응답 본문."),
    ("stdout", "What the command printed.", "명령의 표준 출력."),
    ("stderr", "What the command said on standard error.", "명령의 표준 오류 출력."),
    (
        "certificate",
        "The certificate that the client saw: a whole SAN, a part of subject or issuer.",
        "클라이언트가 본 인증서. san은 전체, subject와 issuer는 일부.",
    ),
    ("blocked", "Nothing came through, and by which rule.", "아무것도 통과하지 못했다. 무엇이 막았는지."),
    (
        "direct",
        "Past every gateway: the sidecar went to the site itself.",
        "gateway를 거치지 않음. sidecar가 사이트로 바로 나갔다.",
    ),
    (
        "via",
        "Through this gateway. The port is that of the Gateway's server.",
        "이 gateway를 거침. 포트는 Gateway server의 것.",
    ),
    ("path", "The whole way, hop by hop, read from the access logs.", "access log로 본 전체 경로."),
    (
        "peer",
        "The SPIFFE identity that the gateway saw in the client's certificate.",
        "gateway가 클라이언트 인증서에서 본 SPIFFE 신원.",
    ),
    ("log", "A line of a proxy's access log.", "프록시 access log의 한 줄."),
    (
        "listener",
        "A listener of the gateway (or of `on PROXY`) by its server's port, and facts about it.",
        "gateway(또는 `on PROXY`)의 listener를 server 포트로 찾고, 그에 대한 사실을 말한다.",
    ),
    (
        "cluster",
        "An Envoy cluster of the last exec's workload (or of `on PROXY`), and facts about it.",
        "마지막 exec의 workload(또는 `on PROXY`)가 가진 Envoy cluster와 그에 대한 사실.",
    ),
    (
        "clusters",
        "The list of a proxy's clusters: its count, or against another list.",
        "프록시의 cluster 목록. 개수를 보거나 다른 목록과 견준다.",
    ),
    (
        "listeners",
        "The list of a proxy's listeners: its count, or against another list.",
        "프록시의 listener 목록. 개수를 보거나 다른 목록과 견준다.",
    ),
    (
        "routes",
        "The list of a proxy's routes: its count, or against another list.",
        "프록시의 route 목록. 개수를 보거나 다른 목록과 견준다.",
    ),
];

const FACTS: Table = &[
    ("count", "How many there are.", "몇 개인지."),
    ("address", "An endpoint's address.", "endpoint의 주소."),
    ("healthy", "The endpoint takes traffic.", "endpoint가 트래픽을 받는다."),
    ("requireClientCertificate", "Clients must show a certificate.", "클라이언트 인증서를 요구한다."),
    (
        "mode",
        "The server's TLS mode. PASSTHROUGH looks at the SNI alone; the others end TLS.",
        "server의 TLS mode. PASSTHROUGH는 SNI만 보고, 나머지는 TLS를 끝낸다.",
    ),
    (
        "sni",
        "The SNI that a filter chain matches, or that a cluster sends.",
        "filter chain이 고르는, 또는 cluster가 보내는 SNI.",
    ),
    ("chains", "How many filter chains the listener has.", "listener의 filter chain 개수."),
    ("to", "Where it sends.", "보내는 곳."),
    ("type", "The cluster's discovery type.", "cluster의 discovery type."),
    ("tls", "How the cluster begins TLS.", "cluster가 TLS를 시작하는 방식."),
    ("san", "A subject alternative name that is demanded.", "요구하는 subject alternative name."),
    ("alpn", "A protocol offered in ALPN.", "ALPN으로 내는 프로토콜."),
    (
        "bound",
        "The port that Envoy binds (443 → 8443 by the Service's targetPort).",
        "Envoy가 실제로 묶는 포트(443은 Service의 targetPort로 8443).",
    ),
];

const MODIFIERS: Table = &[
    ("within", "Tried at most so long.", "길어도 이만큼 기다린다."),
    ("every", "The command is safe to repeat, this often.", "되풀이해도 되는 명령이고, 이 간격으로 한다."),
    (
        "stable",
        "It keeps holding: for this long, or this many times.",
        "이 시간 동안, 또는 이 횟수만큼 계속 맞아야 한다.",
    ),
    ("because", "Why it is expected, for reports.", "왜 그런지. 보고서에 나온다."),
    (
        "on",
        "The proxy that is asked: `NAME`, `NAME.NAMESPACE` or `deploy/NAME`.",
        "물어볼 프록시. `NAME`, `NAME.NAMESPACE`, `deploy/NAME`.",
    ),
    ("in", "The namespace.", "namespace."),
    ("as", "The name.", "이름."),
];

const VALUES: Table = &[
    (
        "REGISTRY_ONLY",
        "Only hosts that a ServiceEntry or Service registers may be reached.",
        "ServiceEntry나 Service로 등록된 host만 나갈 수 있다.",
    ),
    ("ALLOW_ANY", "Unregistered hosts may be reached too.", "등록되지 않은 host도 나갈 수 있다."),
    ("PASSTHROUGH", "TLS goes through as it is; the SNI chooses.", "TLS를 그대로 지나보낸다. SNI로 고른다."),
    (
        "ISTIO_MUTUAL",
        "TLS ends here, with mesh certificates on both sides.",
        "mesh 인증서로 양쪽을 확인하고 여기서 TLS를 끝낸다.",
    ),
    ("SIMPLE", "TLS with the server's certificate alone.", "서버 인증서만 쓰는 TLS."),
    ("MUTUAL", "TLS with certificates of one's own on both sides.", "직접 준 인증서로 양쪽을 확인하는 TLS."),
    ("sidecar-scope", "A Sidecar hides the host from the proxy.", "Sidecar 범위가 host를 숨긴다."),
    ("authorization", "An AuthorizationPolicy denies it.", "AuthorizationPolicy가 거절한다."),
    ("no-route", "No filter chain or route takes it.", "받는 filter chain이나 route가 없다."),
    ("network", "The network lets nothing through.", "네트워크가 막는다."),
    ("upstream", "The site itself refuses.", "사이트가 거절한다."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::vocabulary;

    #[test]
    fn every_word_of_the_vocabulary_has_a_meaning() {
        let mut missing = vec![];
        let mut look = |role, word: &str| {
            if meaning(role, word, Language::Korean).is_none() {
                missing.push(format!("{role:?} {word}"));
            }
        };
        vocabulary::VERBS.iter().for_each(|verb| look(Role::Verb, verb.word));
        vocabulary::EXPECTATIONS.iter().for_each(|(word, _)| look(Role::Expectation, word));
        vocabulary::FACTS.iter().for_each(|(word, _)| look(Role::Fact, word));
        vocabulary::MODIFIERS.iter().for_each(|(word, _)| look(Role::Modifier, word));
        assert!(missing.is_empty(), "{missing:?}");
    }
}
