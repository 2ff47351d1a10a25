//! Images of the lab: no containers are run, so a well-known image stands for a program of the host.

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
}

const FOREVER: &[&str] = &["sleep", "infinity"];

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
    ("pause", Program::Host(FOREVER)),
];

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
        assert!(program("nginx:1.27", "web").unwrap_err().contains("\"nginx:1.27\""));
    }
}
