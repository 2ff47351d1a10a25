//! The lab's internet: DNS for cluster and outside names, and a site for every outside name.
//!
//! It lives in the fabric's network, where every address that is no pod's and no Service's ends. Nothing of it reaches
//! the host or the real internet.

mod any_client;
mod certificates;
mod dns;
mod facts;
pub(super) mod httpbin;
mod names;
mod outside;
mod prefixed;
mod site;
mod sites;
mod tunnel;

pub use names::{ServiceName, ServicePlace, minted_address, well_known};
pub use site::{
    Answer, Availability, Certificate, ClientCertificate, Site, SitePort, SiteTls, Speaks, SpecFault, TlsVersion,
};

use super::authority::Authority;
use super::fabric::{DNS_ADDRESS, Fabric, OUTSIDE_DNS_ADDRESS};
use super::obstacle::Obstacle;
use dns::Asker;
use outside::{Outside, World};
use sites::SiteServer;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;

/// The lab's internet, as long as it is not dropped.
pub struct Internet {
    outside: Arc<Outside>,
    server: SiteServer,
    state: Mutex<Serving>,
}

struct Serving {
    /// DNS and the listeners; they end with the internet.
    tasks: JoinSet<()>,
    ports: BTreeSet<u16>,
}

impl Internet {
    /// Serves DNS at [`DNS_ADDRESS`] (for who is outside, at [`OUTSIDE_DNS_ADDRESS`]), HTTP on port 80 and HTTPS on port 443 of every outside address.
    /// `authority` is the outside authority, which pods must trust to find the sites' certificates valid.
    pub async fn start(fabric: &Fabric, authority: Arc<Authority>) -> Result<Internet, Obstacle> {
        let outside = Arc::new(Outside::new(fabric.clone()));
        let mut tasks = JoinSet::new();
        for (address, asker) in [(DNS_ADDRESS, Asker::Pod), (OUTSIDE_DNS_ADDRESS, Asker::Outside)] {
            let address = SocketAddrV4::new(address, 53);
            tasks.spawn(dns::serve_udp(fabric.bind_udp(address).await?, outside.clone(), asker));
            tasks.spawn(dns::serve_tcp(fabric.listen_tcp(address).await?, outside.clone(), asker));
        }
        let server = SiteServer::new(outside.world.clone(), authority);
        let state = Mutex::new(Serving { tasks, ports: BTreeSet::new() });
        let internet = Internet { outside, server, state };
        internet.open_port(80).await?;
        internet.open_port(443).await?;
        Ok(internet)
    }

    /// Names and addresses of Services, by fully qualified name without the last dot, in place of those before.
    pub fn set_services(&self, services: BTreeMap<String, ServiceName>) {
        self.outside.world.names(|names| names.set_services(services));
    }

    /// Where the named ports of Services are, by `_PORT._PROTOCOL.SERVICE`, in place of those before.
    pub fn set_service_ports(&self, ports: BTreeMap<String, Vec<ServicePlace>>) {
        self.outside.world.names(|names| names.set_service_ports(ports));
    }

    /// How sites behave from now on, in place of before; of equals the first wins. Connections already made go on as
    /// they are.
    ///
    /// # Errors
    /// A port that cannot be opened, or rules that the kernel refuses.
    pub async fn set_sites(&self, sites: Vec<Site>) -> Result<(), Obstacle> {
        for port in sites.iter().flat_map(Site::open_ports).collect::<BTreeSet<_>>() {
            self.open_port(port).await?;
        }
        self.outside.world.sites(|table| table.set(sites.into_iter().map(Arc::new).collect()));
        self.outside.put_into_force().await
    }

    /// Serves a further port on every outside address; see [`Speaks::usual`].
    pub async fn open_port(&self, port: u16) -> Result<(), Obstacle> {
        let open = |state: &mut Serving| state.ports.insert(port);
        if !open(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(());
        }
        let listener = self.outside.fabric.listen_tcp(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)).await?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.tasks.spawn(self.server.clone().serve(listener));
        Ok(())
    }

    /// The address an outside name has, as DNS tells it; `None` if it has none.
    pub fn outside_address(&self, host: &str) -> Option<Ipv4Addr> {
        self.outside.world.outside_address(host)
    }
}
