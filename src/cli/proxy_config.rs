//! `egress-scn proxy-config`: Envoy's configuration of a proxy, from files as istiod would generate it, or from the
//! Envoy of a running pod.

use super::output::{self, Format};
use super::target::{Choice, TargetArgs};
use super::{fail, offline};
use crate::cluster::Cluster;
use crate::envoy::Resources;
use crate::envoy::filter::{self, Filter};
use crate::envoy::table::{self, EndpointRow};
use crate::mesh::Generated;
use crate::xds::wire;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// How long a pod that is not ready is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub struct ProxyConfig {
    what: What,
    /// `NAME.NAMESPACE`, `deploy/NAME.NAMESPACE` or `pod/NAME.NAMESPACE`.
    proxy: Option<String>,
    /// Kubernetes and Istio documents, or folders of them, instead of a cluster. A document without `kind` is a
    /// MeshConfig; `-` is standard input.
    #[arg(short, long = "filename", value_name = "FILE", num_args = 1.., conflicts_with_all = ["context", "kubeconfig"])]
    files: Vec<PathBuf>,
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
    /// The proxy's namespace where its name has none.
    #[arg(short, long)]
    namespace: Option<String>,
    /// Ask the cluster of this kubeconfig context.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Read this kubeconfig instead of $KUBECONFIG or ~/.kube/config.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    filters: Filters,
}

/// istioctl's own; each is for some of the lists.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters")]
struct Filters {
    /// Only listeners or endpoints of this address.
    #[arg(long)]
    address: Option<String>,
    /// Only listeners, clusters or endpoints of this port.
    #[arg(long)]
    port: Option<u16>,
    /// Only listeners of this type: HTTP, TCP, HTTP+TCP.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only clusters whose name holds this.
    #[arg(long)]
    fqdn: Option<String>,
    /// Only clusters of this direction: inbound, outbound.
    #[arg(long)]
    direction: Option<String>,
    /// Only clusters whose subset holds this.
    #[arg(long)]
    subset: Option<String>,
    /// Only the route configuration of this name.
    #[arg(long)]
    name: Option<String>,
    /// Only endpoints of the cluster of this name.
    #[arg(long)]
    cluster: Option<String>,
    /// Only endpoints of this status: healthy, unhealthy.
    #[arg(long)]
    status: Option<String>,
}

impl Filters {
    /// The filters, or what is wrong with them: one that is not for this list.
    fn read(&self, what: What) -> Result<Filter, String> {
        use What::{All, Clusters, Endpoints, Listeners, Routes};
        let given: [(&str, bool, &[What]); 9] = [
            ("address", self.address.is_some(), &[Listeners, Endpoints]),
            ("port", self.port.is_some(), &[Listeners, Clusters, Endpoints]),
            ("type", self.kind.is_some(), &[Listeners]),
            ("fqdn", self.fqdn.is_some(), &[Clusters]),
            ("direction", self.direction.is_some(), &[Clusters]),
            ("subset", self.subset.is_some(), &[Clusters]),
            ("name", self.name.is_some(), &[Routes]),
            ("cluster", self.cluster.is_some(), &[Endpoints]),
            ("status", self.status.is_some(), &[Endpoints]),
        ];
        let odd = given.iter().find(|(_, set, of)| *set && what != All && !of.contains(&what));
        if let Some((flag, _, of)) = odd {
            let lists: Vec<&str> = of.iter().map(|what| what.name()).collect();
            return Err(format!("--{flag} is a filter of {}, not of {}", lists.join(" and "), what.name()));
        }
        let text = |given: &Option<String>| given.clone().unwrap_or_default();
        Ok(Filter {
            address: text(&self.address),
            port: self.port.unwrap_or(0).into(),
            kind: text(&self.kind),
            fqdn: text(&self.fqdn),
            direction: text(&self.direction),
            subset: text(&self.subset),
            name: text(&self.name),
            cluster: text(&self.cluster),
            status: text(&self.status),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    #[value(aliases = ["listener", "l"])]
    Listeners,
    #[value(aliases = ["cluster", "c"])]
    Clusters,
    #[value(aliases = ["route", "r"])]
    Routes,
    #[value(aliases = ["endpoint", "ep"])]
    Endpoints,
    #[value(aliases = ["secrets", "s"])]
    Secret,
    #[value(alias = "a")]
    All,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::Listeners => "listeners",
            Self::Clusters => "clusters",
            Self::Routes => "routes",
            Self::Endpoints => "endpoints",
            Self::Secret => "secret",
            Self::All => "all",
        }
    }
}

/// What there is to show.
struct Shown {
    resources: Resources,
    endpoints: Vec<EndpointRow>,
    /// Envoy's own documents, where an Envoy was asked: its dump and its `/clusters`.
    own: Option<(Value, Value)>,
}

impl ProxyConfig {
    pub async fn run(mut self) -> i32 {
        let filter = match self.filters.read(self.what) {
            Ok(filter) => filter,
            Err(why) => return fail(&why, 2),
        };
        let proxy = match offline::proxy_of(self.proxy.take(), &mut self.files) {
            Ok(proxy) => proxy,
            Err(code) => return code,
        };
        let shown = if self.files.is_empty() {
            self.ask(&proxy).await
        } else {
            let proxy = match &self.namespace {
                Some(namespace) if !proxy.ends_with(&format!(".{namespace}")) => format!("{proxy}.{namespace}"),
                _ => proxy,
            };
            offline::generate(&self.files, &proxy).map(of_compiler)
        };
        match shown {
            Ok(shown) => {
                output::print(&self.text(shown, &filter));
                0
            }
            Err(code) => code,
        }
    }

    fn text(&self, mut shown: Shown, filter: &Filter) -> String {
        let secrets = filter::secret_names(&shown.resources);
        // The whole as a document is not filtered, as istioctl does not.
        if self.what != What::All || self.output == Format::Table {
            filter.apply(&mut shown.resources);
        }
        // As JSON istioctl leaves listeners in the order in which Envoy has them.
        let kept = (self.output != Format::Table).then(|| shown.resources.listeners.clone());
        shown.resources.sort();
        if let Some(listeners) = kept {
            shown.resources.listeners = listeners;
        }
        let Shown { resources, mut endpoints, own } = shown;
        let assigned = endpoints.clone();
        endpoints.retain(|row| filter.takes_endpoint(row));
        if self.output == Format::Table {
            return match self.what {
                What::Listeners => table::listeners(&resources.listeners),
                What::Clusters => table::clusters(&resources.clusters),
                What::Routes => table::routes(&resources.routes),
                What::Endpoints => table::endpoints(&endpoints),
                What::Secret => match &own {
                    Some((dump, _)) => table::secrets(&table::secret_rows(dump, jiff::Timestamp::now().as_second())),
                    None => table::secret_names(&secrets),
                },
                What::All => table::all(&resources),
            };
        }
        let value = match self.what {
            What::All => own.map_or_else(|| resources.to_dump(), |(dump, _)| dump),
            What::Listeners => Value::Array(resources.listeners),
            What::Clusters => Value::Array(resources.clusters),
            What::Routes => Value::Array(resources.routes),
            What::Endpoints => {
                let all = match own {
                    Some((_, clusters)) => clusters["cluster_statuses"].as_array().cloned().unwrap_or_default(),
                    None => resources.endpoints,
                };
                Value::Array(filter.with_endpoints(all, &assigned))
            }
            What::Secret => match own {
                Some((dump, _)) => secrets_section(&dump),
                None => secrets.into_iter().map(|(name, kind)| json!({"name": name, "type": kind})).collect(),
            },
        };
        output::document(&value, self.output)
    }

    /// From the proxy's Envoy, by its admin port. Changes nothing.
    async fn ask(&self, proxy: &str) -> Result<Shown, i32> {
        let target = TargetArgs { lab: false, context: self.context.clone(), kubeconfig: self.kubeconfig.clone() };
        let (config, context) = match target.choose().await {
            Ok(Choice::Cluster { config, context, .. }) => (config, context),
            Ok(Choice::Lab { reason }) => {
                return Err(fail(&format!("{reason}: name documents with -f, or a cluster with --context NAME"), 2));
            }
            Err(message) => return Err(fail(&message, 3)),
        };
        let default = config.default_namespace.clone();
        let name = proxy.rsplit_once('/').map_or(proxy, |(_, name)| name);
        let (name, namespace) = match (&self.namespace, name.rsplit_once('.')) {
            (Some(namespace), _) => (name.strip_suffix(&format!(".{namespace}")).unwrap_or(name), namespace.clone()),
            (None, Some((name, namespace))) => (name, namespace.to_owned()),
            (None, None) => (name, default),
        };
        let cluster = Cluster::connect(*config).map_err(|e| fail(&format!("context \"{context}\": {e}"), 3))?;
        let asked = async {
            let pods = cluster.pods(&namespace, name, PATIENCE).await?;
            // The first stands for its set, as in istioctl.
            let Some(pod) = pods.iter().find(|pod| pod.proxy_container.is_some()) else { return Ok(None) };
            let admin = cluster.admin(pod);
            let (dump, clusters) = (admin.config_dump_with_endpoints().await?, admin.clusters().await?);
            Ok::<_, crate::cluster::Error>(Some((dump, clusters)))
        };
        let answer = asked.await.map_err(|e| fail(&format!("context \"{context}\": {e}"), 3))?;
        let Some((dump, clusters)) = answer else {
            let message = format!("{namespace}/{name} has no container istio-proxy: no Envoy stands beside it");
            return Err(fail(&message, 2));
        };
        let mut resources = Resources::from_dump(&dump);
        let lists =
            [&mut resources.listeners, &mut resources.clusters, &mut resources.routes, &mut resources.endpoints];
        lists.into_iter().flatten().for_each(camel);
        let endpoints = table::live_endpoint_rows(&clusters);
        Ok(Shown { resources, endpoints, own: Some((dump, clusters)) })
    }
}

/// The part of a dump that istioctl prints of secrets.
fn secrets_section(dump: &Value) -> Value {
    let sections = dump["configs"].as_array().into_iter().flatten();
    let found = sections.into_iter().find(|s| s["@type"].as_str().is_some_and(|t| t.ends_with("SecretsConfigDump")));
    let mut section = found.cloned().unwrap_or_else(|| json!({}));
    if let Value::Object(fields) = &mut section {
        fields.shift_remove("@type");
    }
    section
}

/// lowerCamelCase names, as istioctl prints them. A type that is not known stays as Envoy's admin wrote it.
fn camel(body: &mut Value) {
    if let Ok(read) = wire::encode(body).and_then(|any| wire::decode(&any)) {
        *body = read;
        // In a list of one kind it says nothing.
        if let Value::Object(fields) = body {
            fields.shift_remove("@type");
        }
    }
}

fn of_compiler(generated: Generated) -> Shown {
    let bodies = |list: Vec<crate::mesh::Resource>| list.into_iter().map(|r| r.body.into_value()).collect();
    let resources = Resources {
        listeners: bodies(generated.listeners),
        clusters: bodies(generated.clusters),
        routes: bodies(generated.routes),
        endpoints: bodies(generated.endpoints),
    };
    let endpoints = table::endpoint_rows(&resources);
    Shown { resources, endpoints, own: None }
}
