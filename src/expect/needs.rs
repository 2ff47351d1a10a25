//! What the run has to fetch before a judgement.

use super::Need;
use crate::plan::{Expectation, Hop, ListCompare, Operand, Workload};

/// What must be fetched to judge `what`.
pub fn needs(what: &Expectation, negated: bool, gateway: &Workload, workload: Option<&Workload>) -> Vec<Need> {
    let on = |on: &Option<Workload>| on.clone().or_else(|| workload.cloned()).into_iter().map(Need::Dump);
    let mut needs = vec![];
    match what {
        Expectation::Via { gateway, .. } => journey(&mut needs, gateway, workload),
        Expectation::Path(hops) => journey(&mut needs, &gateway_of(hops, gateway), workload),
        Expectation::Peer(_) | Expectation::Direct => journey(&mut needs, gateway, workload),
        Expectation::Blocked(_) => {
            // Which rule blocked it shows in the configuration.
            whole_journey(&mut needs, gateway, workload);
            needs.push(Need::Istio);
        }
        Expectation::Log { proxy, .. } => needs.extend([Need::Format(proxy.clone()), Need::Log(proxy.clone())]),
        Expectation::Listener { on, .. } => {
            let on = on.as_ref().unwrap_or(gateway);
            needs.extend([Need::Dump(on.clone()), Need::Services(on.namespace.clone())]);
        }
        Expectation::Cluster { host, on: proxy, .. } => {
            needs.extend(on(proxy));
            if negated {
                needs.extend([Need::Istio, Need::Dump(gateway.clone())]);
                needs.extend(namespace_of(host).map(|namespace| Need::Services(namespace.to_string())));
            }
        }
        Expectation::List { on: proxy, compare, .. } => {
            needs.extend(on(proxy));
            if let ListCompare::FewerThan(operand) | ListCompare::SameAs(operand) = compare
                && let Operand::List { on: proxy, .. } = operand
            {
                needs.extend(on(proxy));
            }
        }
        Expectation::Route { on: proxy, .. } => needs.extend(on(proxy)),
        Expectation::Endpoint { on: proxy, .. } | Expectation::Secret { on: proxy, .. } => {
            needs.extend(proxy.clone().or_else(|| workload.cloned()).map(Need::Raw));
        }
        Expectation::Only { on: proxy, .. } | Expectation::Config { on: proxy, .. } => {
            needs.push(Need::Raw(proxy.clone()))
        }
        Expectation::Resource { object, .. } => needs.push(Need::Object(object.clone())),
        Expectation::Analysis(_) => needs.push(Need::Analysis),
        _ => {}
    }
    needs.dedup();
    needs
}

/// What to fetch besides [`needs`] once an expectation has failed for good: judged again with it, the
/// failure says where the probe stopped and why. Without it the verdict is the same, in fewer words.
pub fn needs_to_explain(what: &Expectation, gateway: &Workload, workload: Option<&Workload>) -> Vec<Need> {
    let mut needs = vec![];
    match what {
        Expectation::Cluster { .. } | Expectation::List { .. } => needs.push(Need::Istio),
        Expectation::Log { .. } | Expectation::Stdout(_) | Expectation::Stderr(_) => {}
        what if what.is_about_state() && !matches!(what, Expectation::Listener { .. }) => {}
        Expectation::Listener { .. } => needs.push(Need::Istio),
        Expectation::Via { gateway, .. } => {
            whole_journey(&mut needs, gateway, workload);
            needs.push(Need::Istio);
        }
        _ => {
            whole_journey(&mut needs, gateway, workload);
            needs.push(Need::Istio);
        }
    }
    needs
}

/// The same with the whole configuration where a part is asked for: nothing is called a failure on less.
pub fn widened(needs: &[Need]) -> Vec<Need> {
    let mut all: Vec<Need> = vec![];
    for need in needs {
        let need = match need {
            Need::Format(proxy) => Need::Dump(proxy.clone()),
            other => other.clone(),
        };
        if !all.contains(&need) {
            all.push(need);
        }
    }
    all
}

/// What shows the way of a probe that got through: the log lines, and how to read them.
fn journey(needs: &mut Vec<Need>, gateway: &Workload, workload: Option<&Workload>) {
    for proxy in workload.into_iter().chain([gateway]) {
        needs.extend([Need::Format(proxy.clone()), Need::Log(proxy.clone())]);
    }
    needs.push(Need::Services(gateway.namespace.clone()));
}

/// What shows why a probe did not.
fn whole_journey(needs: &mut Vec<Need>, gateway: &Workload, workload: Option<&Workload>) {
    let mut found = vec![];
    journey(&mut found, gateway, workload);
    needs.extend(widened(&found));
}

/// The gateway that a path names in its middle, in the default gateway's namespace unless it says one.
pub(super) fn gateway_of(hops: &[Hop], default: &Workload) -> Workload {
    match hops {
        [_, middle, _] => match middle.name.split_once('.') {
            Some((name, namespace)) => Workload { name: name.into(), namespace: namespace.into() },
            None => Workload { name: middle.name.clone(), namespace: default.namespace.clone() },
        },
        _ => default.clone(),
    }
}

/// The namespace of `NAME.NAMESPACE.svc…`.
fn namespace_of(host: &str) -> Option<&str> {
    let mut labels = host.split('.');
    let (_, namespace, svc) = (labels.next()?, labels.next()?, labels.next()?);
    (svc == "svc").then_some(namespace)
}
