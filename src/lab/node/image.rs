//! Images of the lab: no containers are run, so a well-known image stands for a program of the host, or a server of the
//! lab's own.

use crate::lab::pod_server::Kind;

/// What an image's container runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// Envoy, as a sidecar or a gateway.
    Proxy,
    /// The lab's pilot, which plays istiod inside the lab's own process.
    Pilot,
    /// Init containers whose work the sandbox has done already (istio-init's redirect).
    Done,
    /// A command of the host: the container's own `command`, else this default.
    Host(&'static [&'static str]),
    /// A server that the lab has itself, where the container says no command of another program.
    Server(Kind),
}

const FOREVER: &[&str] = &["sleep", "infinity"];
pub const SHELL: &[&str] = &["sh"];

/// (last part of the image's repository, program).
const IMAGES: &[(&str, Program)] = &[
    ("proxyv2", Program::Proxy),
    ("pilot", Program::Pilot),
    ("curl", Program::Host(FOREVER)),
    ("sleep", Program::Host(FOREVER)),
    ("netshoot", Program::Host(FOREVER)),
    ("busybox", Program::Host(FOREVER)),
    ("alpine", Program::Host(FOREVER)),
    ("debian", Program::Host(FOREVER)),
    ("ubuntu", Program::Host(FOREVER)),
    ("bash", Program::Host(FOREVER)),
    ("dnsutils", Program::Host(FOREVER)),
    ("jessie-dnsutils", Program::Host(FOREVER)),
    ("toolbox", Program::Host(FOREVER)),
    ("network-multitool", Program::Host(FOREVER)),
    ("pause", Program::Host(FOREVER)),
    ("httpbin", Program::Server(Kind::Httpbin)),
    ("go-httpbin", Program::Server(Kind::GoHttpbin)),
    ("nginx", Program::Server(Kind::Nginx)),
    ("nginx-unprivileged", Program::Server(Kind::NginxUnprivileged)),
    ("http-echo", Program::Server(Kind::HttpEcho)),
    ("tcp-echo-server", Program::Server(Kind::TcpEcho)),
];

/// Whether a container's command line means the image's own server: none, options alone, or the server's program.
pub fn is_server(argv: &[String]) -> bool {
    const SERVERS: &[&str] = &["gunicorn", "go-httpbin", "nginx", "http-echo", "tcp-echo", "pipenv"];
    let Some(program) = argv.first() else { return true };
    let name = program.rsplit('/').next().unwrap_or(program);
    program.starts_with('-')
        || program.bytes().all(|byte| byte.is_ascii_digit() || byte == b',')
        || SERVERS.contains(&name)
}

/// The port that the command line or the environment tells: `-b 0.0.0.0:8080`, `-port 8080`, `-listen=:5678`, `PORT`.
pub fn told_port(argv: &[String], env: &[(String, String)]) -> Option<u16> {
    const OPTIONS: &[&str] = &["-b", "--bind", "-port", "--port", "-listen", "--listen"];
    let last = |text: &str| text.rsplit(':').next().and_then(|port| port.parse().ok());
    for (index, word) in argv.iter().enumerate() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (word.as_str(), argv.get(index + 1).cloned()),
        };
        if OPTIONS.contains(&name) {
            return value.as_deref().and_then(last);
        }
    }
    // The TCP echo's first port stands alone.
    let alone = argv.iter().find_map(|word| word.split(',').next()?.parse().ok());
    alone.or_else(|| env.iter().find(|(name, _)| name == "PORT").and_then(|(_, value)| value.parse().ok()))
}

/// What an echo server answers: `-text=hello`, or the word after the TCP echo's ports.
pub fn told_text(argv: &[String]) -> Option<String> {
    let option = argv.iter().find_map(|word| word.strip_prefix("-text=").or(word.strip_prefix("--text=")));
    let after = argv.iter().position(|word| {
        word == "-text" || word == "--text" || word.as_bytes().first().is_some_and(u8::is_ascii_digit)
    });
    option.map(String::from).or_else(|| argv.get(after? + 1).cloned())
}

/// The program behind an image, or the sentence that explains why there is none.
pub fn program(image: &str, container: &str) -> Result<Program, String> {
    if container == "istio-init" {
        return Ok(Program::Done);
    }
    let repository = image.split('@').next().unwrap_or(image);
    let last = repository.rsplit('/').next().unwrap_or(repository);
    let name = last.split(':').next().unwrap_or(last);
    IMAGES.iter().find(|(known, _)| *known == name).map(|(_, program)| program.clone()).ok_or_else(|| {
        let known: Vec<&str> = IMAGES.iter().map(|(name, _)| *name).collect();
        format!(
            "failed to pull image \"{image}\": the lab runs programs of this machine, not containers, and knows no \
             program for it. Known images: {}",
            known.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_images_have_programs_and_others_a_sentence() {
        assert_eq!(program("docker.io/istio/proxyv2:1.30.3", "istio-proxy"), Ok(Program::Proxy));
        assert_eq!(program("docker.io/istio/proxyv2:1.30.3", "istio-init"), Ok(Program::Done));
        assert_eq!(program("curlimages/curl", "sleep"), Ok(Program::Host(FOREVER)));
        assert_eq!(program("localhost:5000/curl:8", "sleep"), Ok(Program::Host(FOREVER)));
        assert_eq!(program("nginx:1.27", "web"), Ok(Program::Server(Kind::Nginx)));
        assert!(program("postgres:17", "db").unwrap_err().contains("\"postgres:17\""));
    }

    #[test]
    fn a_server_is_told_its_port_and_a_shell_is_none() {
        let words = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        assert_eq!(told_port(&words("gunicorn -b 0.0.0.0:8080 httpbin:app"), &[]), Some(8080));
        assert_eq!(told_port(&words("-listen=:5678 -text=hello"), &[]), Some(5678));
        assert_eq!(told_port(&words("9000,9001 hello"), &[]), Some(9000));
        assert_eq!(told_port(&[], &[("PORT".into(), "8081".into())]), Some(8081));
        assert_eq!(told_text(&words("-listen=:5678 -text=hello")).as_deref(), Some("hello"));
        assert_eq!(told_text(&words("9000,9001 hello")).as_deref(), Some("hello"));
        assert!(is_server(&[]) && is_server(&words("nginx -g x")) && is_server(&words("/bin/go-httpbin")));
        assert!(!is_server(&words("sh -c true")));
    }
}
