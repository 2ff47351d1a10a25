//! The lab's network: one namespace that is every pod's next hop, as a node is in a cluster.
//!
//! Each pod has one link, to here. Packets between pods pass through; those to a Service's address are sent on to one
//! of its pods; those to any other address arrive here as if the whole internet were this machine, and the lab's
//! internet answers them. There is no link to the host, so nothing ever leaves. All neighbours are known beforehand
//! and IPv6 is off, so that no packet waits for a first ARP or an address check.

use super::capture::Prefix;
use super::links::{HardwareAddress, LOOPBACK, LinkRequests, Pair, Via, all_but, wait_operational};
use super::namespace::{NamespaceThread, set_parameter};
use super::netfilter::{self, Act, Chain, Hook, Match, Protocol, Rule};
use super::netlink::{Batch, NetlinkError, NetlinkSocket};
use super::obstacle::Obstacle;
use super::sandbox::{Sandbox, SandboxSpec};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::net::{TcpListener, TcpSocket, UdpSocket};
use tokio::sync::Mutex;

/// Every pod's next hop.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// Pods' addresses; those no pod has are unreachable.
pub const POD_SUBNET: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 244, 0, 0), 16);
/// Services' addresses; those no Service has are unreachable.
pub const SERVICE_SUBNET: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 96, 0, 0), 12);
/// The network that the cluster's node stands in, as kind's does: load balancers' addresses and outside clients.
pub const NODE_SUBNET: (Ipv4Addr, u8) = (Ipv4Addr::new(172, 18, 0, 0), 16);
/// Outside clients have addresses from here on.
pub const FIRST_CLIENT: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 1);
/// What answers names for who is outside: outside names alone.
pub const OUTSIDE_DNS_ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// The cluster's DNS server, where kubeadm puts it.
pub const DNS_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

/// All that is not the outside.
pub const OWN_SUBNETS: [(Ipv4Addr, u8); 3] = [POD_SUBNET, SERVICE_SUBNET, NODE_SUBNET];

/// The pod's end of its link. The number is ours to choose; kernels with tunnel modules put links of theirs first.
const POD_LINK: u32 = 100;
const POD_LINK_NAME: &str = "eth0";
/// The first number of the ends here.
const FIRST_LINK: u32 = 1000;

/// One Service port and the pods behind it, for pods without a sidecar (a sidecar chooses for itself).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    pub protocol: Protocol,
    pub address: Ipv4Addr,
    pub port: u16,
    /// Ready pods' addresses and ports. None: connections are refused.
    pub endpoints: Vec<SocketAddrV4>,
}

/// The lab's network. Clones are the same network.
#[derive(Clone)]
pub struct Fabric {
    inner: Arc<Inner>,
}

struct Inner {
    thread: NamespaceThread,
    next_link: AtomicU32,
    /// Held while it is put into force, so that the last change is the one that stays.
    routing: Mutex<Routing>,
}

/// Where connections go that do not go by their address alone, and which do not get there.
#[derive(Default)]
struct Routing {
    services: Vec<ServicePort>,
    outside: OutsideRules,
    filters: Vec<Chain>,
}

/// What the outside does not take, and where it is besides where it always is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutsideRules {
    /// All TCP to these addresses is refused, but for these ports.
    pub refused: Vec<(Prefix, Vec<u16>)>,
    /// All packets to these addresses vanish.
    pub silent: Vec<Prefix>,
    /// Addresses among those of Services that are outside ones nevertheless.
    pub here: Vec<Prefix>,
}

impl Fabric {
    /// # Errors
    /// Why this machine cannot have it; see `doctor`.
    pub async fn new() -> Result<Fabric, Obstacle> {
        let thread = NamespaceThread::start("fabric").await?;
        thread.run(set_up).await??;
        Ok(Fabric {
            inner: Arc::new(Inner { thread, next_link: AtomicU32::new(FIRST_LINK), routing: Mutex::default() }),
        })
    }

    /// A new pod sandbox, reachable and able to reach others when this returns.
    pub async fn sandbox(&self, spec: SandboxSpec) -> Result<Sandbox, Obstacle> {
        Sandbox::start(self.clone(), spec).await
    }

    /// Listens here for connections to `address`: one of the outside, or of all of it (0.0.0.0).
    pub async fn listen_tcp(&self, address: SocketAddrV4) -> Result<TcpListener, Obstacle> {
        self.inner.thread.run(move || listen_tcp(address)).await?
    }

    /// Receives datagrams sent to `address`, which must be [`DNS_ADDRESS`] or one of the outside.
    pub async fn bind_udp(&self, address: SocketAddrV4) -> Result<UdpSocket, Obstacle> {
        self.inner.thread.run(move || bind_udp(address)).await?
    }

    /// Sends connections to Services on to their pods, from now on and in place of what was said before.
    pub async fn route_services(&self, services: Vec<ServicePort>) -> Result<(), Obstacle> {
        self.change_routing(|routing| routing.services = services).await
    }

    /// What the outside refuses, in place of what it refused before.
    pub async fn set_outside(&self, rules: OutsideRules) -> Result<(), Obstacle> {
        self.change_routing(|routing| routing.outside = rules).await
    }

    /// Which packets get through between pods, and from pods to the outside: filters ([`Hook::Filter`]) in place of those
    /// before.
    pub async fn set_filters(&self, filters: Vec<Chain>) -> Result<(), Obstacle> {
        self.change_routing(|routing| routing.filters = filters).await
    }

    async fn change_routing(&self, change: impl FnOnce(&mut Routing)) -> Result<(), Obstacle> {
        let mut routing = self.inner.routing.lock().await;
        let before = routing.outside.here.clone();
        change(&mut routing);
        let chains = routing.chains();
        let mut routes = Batch::default();
        let now = &routing.outside.here;
        let mut moved = false;
        for (address, prefix) in before.iter().filter(|range| !now.contains(range)) {
            routes.delete_route_here(*address, *prefix);
            moved = true;
        }
        for (address, prefix) in now.iter().filter(|range| !before.contains(range)) {
            routes.add_route(*address, *prefix, Via::Here);
            moved = true;
        }
        let put = move || {
            if moved {
                NetlinkSocket::route()?.exchange(&routes)?;
            }
            netfilter::replace(&chains)
        };
        let put = self.inner.thread.run(put).await?;
        put.map_err(|error| Obstacle::new(format!("the lab's network: {error}")))
    }

    /// Links a pod's network to this one; the pod's end is then set up by [`set_up_pod_link`] in its own thread.
    pub(super) async fn attach(&self, network: OwnedFd, pod: Ipv4Addr) -> Result<Port, Obstacle> {
        let link = self.inner.next_link.fetch_add(1, Ordering::Relaxed);
        let attach = move || {
            let mut batch = Batch::default();
            batch.create_pair(&Pair {
                index: link,
                name: &format!("pod{link}"),
                hardware: hardware_address(GATEWAY),
                peer_namespace: network.as_fd(),
                peer_index: POD_LINK,
                peer_name: POD_LINK_NAME,
                peer_hardware: hardware_address(pod),
            });
            batch.add_route(pod, 32, Via::Link(link));
            batch.add_neighbour(link, pod, hardware_address(pod));
            NetlinkSocket::route()?.exchange(&batch)
        };
        // Should it fail half-way, dropping the port takes the link away again.
        let port = Port { fabric: self.clone(), link };
        let attached = self.inner.thread.run(attach).await?;
        attached.map_err(|error| Obstacle::new(format!("linking pod {pod} to the lab's network: {error}")))?;
        Ok(port)
    }
}

/// A pod's link, seen from the fabric. Dropping it takes the link away.
pub(super) struct Port {
    fabric: Fabric,
    link: u32,
}

impl Port {
    /// Waits until packets from here reach the pod's end; that end must be up.
    pub(super) async fn wait_operational(&self) -> Result<(), Obstacle> {
        let link = self.link;
        let waited = self.fabric.inner.thread.run(move || wait_operational(link)).await?;
        waited.map_err(|error| Obstacle::new(format!("the lab's network: {error}")))
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let link = self.link;
        // The link may be gone already, with the pod's network.
        self.fabric.inner.thread.post(move || {
            let mut batch = Batch::default();
            batch.delete_link(link);
            let _ = NetlinkSocket::route().and_then(|socket| socket.exchange(&batch));
        });
    }
}

fn set_up() -> Result<(), Obstacle> {
    no_ipv6();
    set_parameter("net/ipv4/ip_forward", "1")?;
    // A packet for a Service goes back out by a pod's link; that is no reason to tell its sender a shorter way.
    set_parameter("net/ipv4/conf/all/send_redirects", "0")?;
    set_parameter("net/ipv4/conf/default/send_redirects", "0")?;
    // Links come and go with pods; strict filters of the host's are not inherited by the network of the lab.
    set_parameter("net/ipv4/conf/all/rp_filter", "0")?;
    set_parameter("net/ipv4/conf/default/rp_filter", "0")?;
    let mut batch = Batch::default();
    batch.link_up(LOOPBACK);
    batch.add_address(LOOPBACK, GATEWAY, 32);
    batch.add_address(LOOPBACK, DNS_ADDRESS, 32);
    for (address, prefix) in OWN_SUBNETS {
        batch.add_route(address, prefix, Via::Unreachable);
    }
    for (address, prefix) in all_but(&OWN_SUBNETS) {
        batch.add_route(address, prefix, Via::Here);
    }
    let exchanged = NetlinkSocket::route().and_then(|socket| socket.exchange(&batch));
    exchanged.map_err(|error| Obstacle::new(format!("the lab's network: {error}")))
}

/// Sets up the pod's end in the pod's own thread, once it is attached: address, next hop, and passing packets. Who is
/// outside knows no way to pods and Services but by what the cluster opens: its node, and load balancers.
pub(super) fn set_up_pod_link(pod: Ipv4Addr) -> Result<(), NetlinkError> {
    let mut batch = Batch::default();
    batch.link_up(LOOPBACK);
    batch.link_up(POD_LINK);
    batch.add_address(POD_LINK, pod, 32);
    batch.add_neighbour(POD_LINK, GATEWAY, hardware_address(GATEWAY));
    batch.add_route(GATEWAY, 32, Via::Link(POD_LINK));
    batch.add_route(Ipv4Addr::UNSPECIFIED, 0, Via::Gateway { link: POD_LINK, address: GATEWAY });
    if is_outside(pod) {
        for (address, prefix) in [POD_SUBNET, SERVICE_SUBNET] {
            batch.add_route(address, prefix, Via::Unreachable);
        }
    }
    NetlinkSocket::route()?.exchange(&batch)?;
    wait_operational(POD_LINK)
}

/// Whether it is an outside client's address.
pub fn is_outside(address: Ipv4Addr) -> bool {
    address.octets()[..2] == NODE_SUBNET.0.octets()[..2]
}

/// No link-local address, no router solicitation. A kernel without IPv6 needs no telling.
pub(super) fn no_ipv6() {
    for scope in ["all", "default"] {
        let _ = set_parameter(&format!("net/ipv6/conf/{scope}/disable_ipv6"), "1");
    }
}

pub(super) fn listen_tcp(address: SocketAddrV4) -> Result<TcpListener, Obstacle> {
    let listen = || {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address.into())?;
        socket.listen(1024)
    };
    listen().map_err(|error| Obstacle::new(format!("listening on {address} (TCP) in the lab: {error}")))
}

pub(super) fn bind_udp(address: SocketAddrV4) -> Result<UdpSocket, Obstacle> {
    let bind = || {
        let socket = std::net::UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket)
    };
    bind().map_err(|error| Obstacle::new(format!("listening on {address} (UDP) in the lab: {error}")))
}

/// Locally administered, and the same for an address whichever pod has it.
fn hardware_address(address: Ipv4Addr) -> HardwareAddress {
    let [a, b, c, d] = address.octets();
    [2, 0, a, b, c, d]
}

/// Nothing listens there, so the kernel refuses in the name of the address that was meant.
const NOBODY: SocketAddrV4 = SocketAddrV4::new(GATEWAY, 1);

impl Routing {
    fn chains(&self) -> Vec<Chain> {
        let mut chains = vec![self.nat()];
        if !self.outside.silent.is_empty() {
            let vanish = |(address, prefix): &Prefix| Rule {
                when: vec![Match::Destination(*address, *prefix)],
                then: Act::Drop,
            };
            let rules = self.outside.silent.iter().map(vanish).collect();
            chains.push(Chain { name: "silent", hook: Hook::Filter(0), rules });
        }
        chains.extend(self.filters.iter().cloned());
        chains
    }

    /// As kube-proxy's rules: each endpoint in turn, the sender's address kept; without endpoints, refused.
    fn nat(&self) -> Chain {
        let mut rules = Vec::new();
        for service in &self.services {
            let endpoints = if service.endpoints.is_empty() { &[NOBODY][..] } else { &service.endpoints[..] };
            for (endpoint, left) in endpoints.iter().zip((1..=endpoints.len() as u32).rev()) {
                let mut when = vec![
                    Match::Protocol(service.protocol),
                    Match::Destination(service.address, 32),
                    Match::DestinationPort(service.port),
                ];
                if left > 1 {
                    when.push(Match::OneIn(left));
                }
                rules.push(Rule { when, then: Act::Destination(*endpoint.ip(), endpoint.port()) });
            }
        }
        for ((address, prefix), open) in &self.outside.refused {
            let there = vec![Match::Protocol(Protocol::Tcp), Match::Destination(*address, *prefix)];
            for port in open {
                let when = [there.clone(), vec![Match::DestinationPort(*port)]].concat();
                rules.push(Rule { when, then: Act::Pass });
            }
            rules.push(Rule { when: there, then: Act::Destination(*NOBODY.ip(), NOBODY.port()) });
        }
        Chain { name: "services", hook: Hook::Arriving, rules }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_take_turns_and_a_service_without_any_refuses() {
        let address = Ipv4Addr::new(10, 96, 0, 7);
        let pods = [Ipv4Addr::new(10, 244, 0, 5), Ipv4Addr::new(10, 244, 0, 6), Ipv4Addr::new(10, 244, 0, 7)];
        let endpoints = pods.map(|pod| SocketAddrV4::new(pod, 8080)).to_vec();
        let service = |port, endpoints| ServicePort { protocol: Protocol::Tcp, address, port, endpoints };
        let services = vec![service(80, endpoints), service(81, vec![])];
        let rules = Routing { services, ..Routing::default() }.nat().rules;
        let turns: Vec<_> = rules.iter().map(|rule| rule.when.get(3).copied()).collect();
        assert_eq!(turns, [Some(Match::OneIn(3)), Some(Match::OneIn(2)), None, None]);
        assert_eq!(rules[2].then, Act::Destination(pods[2], 8080));
        assert_eq!(rules[3].then, Act::Destination(GATEWAY, 1));
    }
}
