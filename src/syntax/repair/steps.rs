//! Habits in steps, blocks and headers.

use super::{Rewrite, Words};

fn verb<'w>(words: Words<'w>, wanted: &[&str]) -> Option<&'w str> {
    words.first().map(String::as_str).filter(|w| wanted.contains(w))
}

/// `wait for …`, `wait --for=condition=X …`, `wait deployment sleep Ready`.
pub(super) fn wait_forms(words: Words<'_>) -> Option<Rewrite> {
    verb(words, &["wait"])?;
    if let Some(at) = words.iter().position(|w| w.starts_with("--for") || matches!(w.as_str(), "for" | "until")) {
        let mut new = words.to_vec();
        let removed = new.remove(at);
        if let Some(condition) = removed.strip_prefix("--for=") {
            // kubectl says the condition first; here it stands behind the object.
            let condition = match condition {
                "delete" => "gone".to_string(),
                other => other.to_string(),
            };
            let behind = new.iter().position(|w| w == "within" || w.starts_with("--timeout")).unwrap_or(new.len());
            new.insert(behind, condition);
        }
        return Some(Rewrite { blamed: at..at + 1, why: "`wait` is followed by the object".into(), words: new });
    }
    // `wait sleep ready`
    if words.len() == 3 && !words[1].contains('/') {
        let mut new = words.to_vec();
        new.insert(1, "deployment".into());
        return Some(Rewrite { blamed: 1..2, why: "its kind stands before the name".into(), words: new });
    }
    let condition = |w: &str| match w.to_lowercase().as_str() {
        "ready" | "running" | "rolled-out" | "up" => Some("ready"),
        "available" => Some("available"),
        "gone" | "deleted" | "absent" => Some("gone"),
        _ => None,
    };
    let at = words.iter().skip(2).position(|w| condition(w).is_some_and(|c| c != w.as_str()))? + 2;
    let meant = condition(&words[at])?;
    Some(Rewrite::replace(words, at..at + 1, &[meant], format!("write `{meant}`")))
}

/// `scale sleep --replicas=2`, `scale sleep to 2`, `scale deployment sleep 2`.
pub(super) fn replicas(words: Words<'_>) -> Option<Rewrite> {
    verb(words, &["scale"])?;
    let number = words.iter().skip(1).find_map(|w| {
        let digits = w.rsplit('=').next()?;
        (!digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit())).then(|| digits.to_string())
    })?;
    let kinds = ["deployment", "deploy", "deployments"];
    let name = words.iter().skip(1).find(|w| {
        !w.starts_with('-')
            && !kinds.contains(&w.as_str())
            && !w.ends_with(&number)
            && !matches!(w.as_str(), "to" | "replicas")
    })?;
    let new: Vec<String> = vec!["scale".into(), name.clone(), number];
    let at = words.iter().skip(1).position(|w| w != name && !w.chars().all(|c| c.is_ascii_digit()))? + 1;
    Some(Rewrite { blamed: at..at + 1, why: "the number stands behind the workload".into(), words: new })
}

/// `restart deployment sleep`.
pub(super) fn restart_kind(words: Words<'_>) -> Option<Rewrite> {
    verb(words, &["restart", "kill", "exec"])?;
    let kind =
        words.get(1).filter(|w| matches!(w.as_str(), "deployment" | "deploy" | "pod" | "deployments" | "rollout"))?;
    let name = words.get(2)?;
    let joined = match kind.as_str() {
        "pod" | "rollout" => name.clone(),
        kind => format!("{kind}/{name}"),
    };
    Some(Rewrite::replace(words, 1..3, &[&joined], "a workload is one word"))
}

/// kubectl's `-it`.
pub(super) fn exec_options(words: Words<'_>) -> Option<Rewrite> {
    verb(words, &["exec"])?;
    let option =
        words.get(1).filter(|w| matches!(w.as_str(), "-it" | "-i" | "-t" | "-ti" | "--stdin" | "--tty" | "--"))?;
    let why = format!("kubectl's `{option}` is not needed here");
    Some(Rewrite::replace(words, 1..2, &[], why))
}

/// `capture a clusters on x`, `clusters from sleep`, `= body`.
pub(super) fn capture_forms(words: Words<'_>) -> Option<Rewrite> {
    verb(words, &["capture"])?;
    let equals = words.iter().position(|w| w == "=")?;
    if let Some(at) =
        words.iter().position(|w| matches!(w.as_str(), "from" | "of" | "in" | "at")).filter(|at| *at > equals)
    {
        let list = words.get(at - 1).map(String::as_str);
        return match list {
            Some("stdout" | "body" | "output") => {
                let mut new = words[..at].to_vec();
                new[at - 1] = "stdout".into();
                Some(Rewrite { blamed: at..words.len(), why: "it is that of the last `exec`".into(), words: new })
            }
            _ => Some(Rewrite::replace(words, at..at + 1, &["on"], "write `on`")),
        };
    }
    let source = words.get(equals + 1)?.as_str();
    let meant = match source {
        "body" | "output" | "response" => "stdout",
        "cluster" => "clusters",
        "listener" => "listeners",
        "route" => "routes",
        "jsonpath" => "json",
        _ => return None,
    };
    Some(Rewrite::replace(words, equals + 1..equals + 2, &[meant], format!("write `{meant}`")))
}

/// `let x = a b`, `set x: a`, `let x := a`, `set $x = a`.
pub(super) fn assignment(words: Words<'_>) -> Option<Rewrite> {
    let verb = verb(words, &["let", "set", "capture"])?;
    let name = words.get(1)?;
    let bare = name.trim_start_matches('$').trim_start_matches('{').trim_end_matches('}');
    if bare != name && !bare.is_empty() {
        return Some(Rewrite::replace(words, 1..2, &[bare], "a name stands without `$`"));
    }
    if let Some(name) = name.strip_suffix([':', '=']).map(|n| n.trim_end_matches(':')).filter(|n| !n.is_empty()) {
        return Some(Rewrite::replace(words, 1..2, &[name, "="], "`=` stands between the name and its value"));
    }
    if let Some(sign) = words.get(2).filter(|w| matches!(w.as_str(), ":" | ":=" | "==" | "to" | "as" | "is")) {
        let why = format!("write `=` instead of `{sign}`");
        return Some(Rewrite::replace(words, 2..3, &["="], why));
    }
    if verb == "let" && words.len() > 4 && words[2] == "=" && !words[3..].iter().any(|w| w.contains('"')) {
        let quoted = format!("\"{}\"", words[3..].join(" "));
        let why = "`let` names one word: a text of several stands in quotes (`set` names several words)";
        return Some(Rewrite::replace(words, 3..words.len(), &[&quoted], why));
    }
    None
}

/// `steps reach(host, code)`, `do reach(a, b)`.
pub(super) fn parentheses(words: Words<'_>) -> Option<Rewrite> {
    let verb = verb(words, &["steps", "do"])?;
    if !words.iter().skip(1).any(|w| w.contains(['(', ')', ',']) || w.ends_with([':', '{'])) {
        return None;
    }
    let apart = words[1..].join(" ").replace(['(', ')', ',', '{'], " ");
    let apart = apart.trim_end().trim_end_matches(':').to_string();
    let mut new = vec![verb.to_string()];
    // Parameters are named, not replaced.
    let plain =
        |w: &str| if verb == "steps" { w.trim_matches(|c| "${}".contains(c)).to_string() } else { w.to_string() };
    new.extend(apart.split_whitespace().map(plain));
    Some(Rewrite { blamed: 1..words.len(), why: "words stand without parentheses and commas".into(), words: new })
}

/// `for $x in`, `for x of`, `for x in [a, b]:`, `for x in a b; do`, `for x in a b {`.
pub(super) fn for_forms(words: Words<'_>) -> Option<Rewrite> {
    verb(words, &["for"])?;
    let name = words.get(1)?;
    let bare = name.trim_start_matches('$').trim_start_matches('{').trim_end_matches('}');
    if bare != name && !bare.is_empty() {
        return Some(Rewrite::replace(words, 1..2, &[bare], "a name stands without `$`"));
    }
    let between = words.get(2)?.as_str();
    if matches!(between, "of" | "=" | ":" | "from" | "over" | "on") {
        return Some(Rewrite::replace(words, 2..3, &["in"], "write `in`"));
    }
    if words.iter().all(|w| w != "in") && words.len() > 2 {
        let mut new = words.to_vec();
        new.insert(2, "in".into());
        return Some(Rewrite { blamed: 2..3, why: "`in` stands between the name and its words".into(), words: new });
    }
    None
}

/// `end for`, `end scenario`.
pub(super) fn end_of_what(words: Words<'_>) -> Option<Rewrite> {
    verb(words, &["end", "setup", "cleanup"])?;
    let first = words.first()?.trim_end_matches(':').to_string();
    (words.len() > 1).then(|| Rewrite {
        blamed: 1..words.len(),
        why: format!("`{first}` stands alone"),
        words: vec![first],
    })
}

/// `scenario "a" seed mtls`, `@seed`, `[seed`, `tags: seed`, `{`, `:`.
pub(super) fn scenario_tags(words: Words<'_>) -> Option<Rewrite> {
    verb(words, &["scenario"])?;
    // A title without quotes is another mistake.
    let title = words.get(1).filter(|w| w.starts_with('"') || w.starts_with('\''))?;
    let rest = words.get(2..).filter(|rest| !rest.is_empty())?.join(" ");
    let tags: Vec<&str> = rest
        .split(|c: char| c.is_whitespace() || ",[](){}:#@;，、".contains(c))
        .filter(|w| !w.is_empty() && !matches!(*w, "tags" | "tag"))
        .collect();
    let mut new = vec!["scenario".to_string(), title.trim_end_matches(':').to_string()];
    let why = match tags.is_empty() {
        true => "a scenario needs no sign to open it: it ends where the next one starts",
        false => "tags stand in brackets, with commas between them",
    };
    if !tags.is_empty() {
        new.push(format!("[{}]", tags.join(", ")));
    }
    Some(Rewrite { blamed: 2..words.len(), why: why.into(), words: new })
}

/// `only lab`, `only in lab`, `skip unless X`, `skip X`.
pub(super) fn only_on(words: Words<'_>) -> Option<Rewrite> {
    match (words.first()?.as_str(), words.get(1)?.as_str()) {
        ("only", "in" | "for" | "if" | "at") => Some(Rewrite::replace(words, 1..2, &["on"], "write `on`")),
        ("only", target) if target != "on" => {
            Some(Rewrite::replace(words, 1..2, &["on", target], "`on` stands before it"))
        }
        ("skip", "unless") if words.len() == 3 && matches!(words[2].as_str(), "lab" | "cluster") => {
            Some(Rewrite::replace(
                words,
                0..3,
                &["only", "on", &words[2]],
                format!("say where it runs: only on {}", words[2]),
            ))
        }
        ("skip", "unless") => Some(Rewrite::replace(words, 1..2, &["if", "no"], "write `if no`")),
        ("skip", "on") if words.len() > 2 => {
            let other = if words[2] == "lab" { "cluster" } else { "lab" };
            let mut new = words.to_vec();
            new.splice(0..3, ["only", "on", other].map(str::to_string));
            Some(Rewrite { blamed: 0..3, why: format!("say where it runs: only on {other}"), words: new })
        }
        ("skip", "if") if words.get(2).is_some_and(|w| matches!(w.as_str(), "lab" | "cluster" | "on")) => {
            let at = if words[2] == "on" { 3 } else { 2 };
            let other = if words.get(at)? == "lab" { "cluster" } else { "lab" };
            let mut new = words.to_vec();
            new.splice(0..=at, ["only", "on", other].map(str::to_string));
            Some(Rewrite { blamed: 0..at + 1, why: format!("say where it runs: only on {other}"), words: new })
        }
        ("skip", "if") if words.get(2).is_some_and(|w| w == "not") => {
            Some(Rewrite::replace(words, 2..3, &["no"], "write `no`"))
        }
        ("skip", word) if word != "if" => Some(Rewrite::replace(words, 1..2, &["if", word], "`if` stands before it")),
        _ => None,
    }
}

/// `require registry_only`, `require gatewayport 15443`, `require port 15443`, `require istio >= 1.28`.
pub(super) fn require_forms(words: Words<'_>) -> Option<Rewrite> {
    verb(words, &["require", "skip"])?;
    let at = words.iter().position(|w| !matches!(w.as_str(), "require" | "skip" | "if" | "no"))?;
    let plain = words[at].to_lowercase().replace(['-', '_'], "");
    let (with, until): (Vec<&str>, usize) = match plain.as_str() {
        "registryonly" | "allowany" => (vec!["outbound", &words[at]], at + 1),
        "outboundtrafficpolicy" | "outboundpolicy" => (vec!["outbound"], at + 1),
        "gatewayport" | "port" => (vec!["gateway", "port"], at + 1),
        "gateway" if words.get(at + 1).is_some_and(|w| w.chars().all(|c| c.is_ascii_digit())) => {
            (vec!["gateway", "port"], at + 1)
        }
        "accesslog" | "accesslogs" | "log" | "logs" if words[at] != "access-log" => (vec!["access-log"], at + 1),
        "access" if words.get(at + 1).is_some_and(|w| matches!(w.as_str(), "log" | "logs")) => {
            (vec!["access-log"], at + 2)
        }
        "istio" | "istioversion" => (vec!["version"], at + 1),
        "version" if words.get(at + 1).is_some_and(|w| w.starts_with(|c: char| c.is_ascii_digit())) => {
            (vec!["version", ">="], at + 1)
        }
        _ => return None,
    };
    let why = format!("write `{}`", with.join(" "));
    Some(Rewrite::replace(words, at..until, &with, why))
}
