//! `egress-scn proxy-config`: Envoy's configuration of a proxy, from files as istiod would generate it, or from the
//! Envoy of a running pod.

use super::output::{self, Format};
use super::target::{Choice, TargetArgs};
use super::{fail, offline};
use crate::cluster::Cluster;
use crate::envoy::Resources;
use crate::envoy::table::{self, EndpointRow};
use crate::mesh::Generated;
use crate::xds::wire;
use clap::{Args, ValueEnum};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
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
    #[value(alias = "a")]
    All,
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
                output::print(&self.text(shown));
                0
            }
            Err(code) => code,
        }
    }

    fn text(&self, mut shown: Shown) -> String {
        // As JSON istioctl leaves listeners in the order in which Envoy has them.
        let kept = (self.output != Format::Table).then(|| shown.resources.listeners.clone());
        shown.resources.sort();
        if let Some(listeners) = kept {
            shown.resources.listeners = listeners;
        }
        let Shown { resources, endpoints, own } = shown;
        if self.output == Format::Table {
            return match self.what {
                What::Listeners => table::listeners(&resources.listeners),
                What::Clusters => table::clusters(&resources.clusters),
                What::Routes => table::routes(&resources.routes),
                What::Endpoints => table::endpoints(&endpoints),
                What::All => table::all(&resources),
            };
        }
        let value = match self.what {
            What::All => own.map_or_else(|| resources.to_dump(), |(dump, _)| dump),
            What::Listeners => Value::Array(resources.listeners),
            What::Clusters => Value::Array(resources.clusters),
            What::Routes => Value::Array(resources.routes),
            What::Endpoints => match own {
                Some((_, clusters)) => clusters["cluster_statuses"].clone(),
                None => Value::Array(resources.endpoints),
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
    let bodies = |list: Vec<crate::mesh::Resource>| list.into_iter().map(|r| Arc::unwrap_or_clone(r.body)).collect();
    let resources = Resources {
        listeners: bodies(generated.listeners),
        clusters: bodies(generated.clusters),
        routes: bodies(generated.routes),
        endpoints: bodies(generated.endpoints),
    };
    let endpoints = table::endpoint_rows(&resources);
    Shown { resources, endpoints, own: None }
}
