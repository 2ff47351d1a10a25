//! Links, addresses, routes and neighbours of the calling thread's network namespace, as `ip` would make them
//! (rtnetlink(7)). Builds messages and reads answers; what the lab's network looks like is `fabric`'s to say.

use super::netlink::{
    Attributes, Batch, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NetlinkError, NetlinkSocket,
};
use super::netlink::{Received, attributes};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::SockProtocol;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Every namespace's loopback link.
pub const LOOPBACK: u32 = 1;

/// A link's address: six bytes.
pub type HardwareAddress = [u8; 6];

const CREATE: u16 = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
const REPLACE: u16 = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
/// linux/veth.h
const VETH_INFO_PEER: u16 = 1;
/// linux/rtnetlink.h
const RTMGRP_LINK: u32 = 1;
/// RFC 2863 state of a link that passes packets: linux/if.h `IF_OPER_UP`.
const OPERATIONAL: u8 = 6;

/// A pair of linked ends: one here, one in another namespace.
pub struct Pair<'a> {
    pub index: u32,
    pub name: &'a str,
    pub hardware: HardwareAddress,
    pub peer_namespace: BorrowedFd<'a>,
    pub peer_index: u32,
    pub peer_name: &'a str,
    pub peer_hardware: HardwareAddress,
}

/// Where a route leads.
#[derive(Clone, Copy)]
pub enum Via {
    /// The destination is on the link itself.
    Link(u32),
    Gateway {
        link: u32,
        address: Ipv4Addr,
    },
    /// The destination is this namespace, whichever address of the prefix is meant (AnyIP).
    Here,
    /// Refused at once, so that nobody waits for an answer.
    Unreachable,
}

/// Adds requests to a batch.
pub trait LinkRequests {
    fn create_pair(&mut self, pair: &Pair);
    fn link_up(&mut self, link: u32);
    fn delete_link(&mut self, link: u32);
    fn add_address(&mut self, link: u32, address: Ipv4Addr, prefix: u8);
    fn add_route(&mut self, destination: Ipv4Addr, prefix: u8, via: Via);
    /// Takes away a route that leads here (`Via::Here`).
    fn delete_route_here(&mut self, destination: Ipv4Addr, prefix: u8);
    /// A neighbour known for good, so that nobody asks by ARP (whose first packet a young link may lose).
    fn add_neighbour(&mut self, link: u32, address: Ipv4Addr, hardware: HardwareAddress);
}

impl LinkRequests for Batch {
    fn create_pair(&mut self, pair: &Pair) {
        // The end here comes up with its creation; the other cannot (ENOTCONN) and is set up in its own namespace.
        let step = format!("creating link {}", pair.name);
        self.message(&step, libc::RTM_NEWLINK, CREATE, &link_header(pair.index, true), |link| {
            link.text(libc::IFLA_IFNAME, pair.name);
            link.bytes(libc::IFLA_ADDRESS, &pair.hardware);
            link.nest(libc::IFLA_LINKINFO, |info| {
                info.text(libc::IFLA_INFO_KIND, "veth");
                info.nest(libc::IFLA_INFO_DATA, |data| {
                    data.nest_after(VETH_INFO_PEER, &link_header(pair.peer_index, false), |peer| {
                        peer.text(libc::IFLA_IFNAME, pair.peer_name);
                        peer.bytes(libc::IFLA_ADDRESS, &pair.peer_hardware);
                        peer.u32(libc::IFLA_NET_NS_FD, pair.peer_namespace.as_raw_fd() as u32);
                    });
                });
            });
        });
    }

    fn link_up(&mut self, link: u32) {
        self.message(&format!("link {link} up"), libc::RTM_NEWLINK, NLM_F_ACK, &link_header(link, true), |_| {});
    }

    fn delete_link(&mut self, link: u32) {
        let step = format!("deleting link {link}");
        self.message(&step, libc::RTM_DELLINK, NLM_F_ACK, &link_header(link, false), |_| {});
    }

    fn add_address(&mut self, link: u32, address: Ipv4Addr, prefix: u8) {
        // struct ifaddrmsg: family, prefix length, flags, scope, index.
        let mut fixed = vec![libc::AF_INET as u8, prefix, 0, libc::RT_SCOPE_UNIVERSE];
        fixed.extend(link.to_ne_bytes());
        self.message(&format!("address {address}/{prefix}"), libc::RTM_NEWADDR, CREATE, &fixed, |list| {
            list.bytes(libc::IFA_LOCAL, &address.octets());
            list.bytes(libc::IFA_ADDRESS, &address.octets());
        });
    }

    fn add_route(&mut self, destination: Ipv4Addr, prefix: u8, via: Via) {
        let (table, scope, kind) = match via {
            Via::Link(_) => (libc::RT_TABLE_MAIN, libc::RT_SCOPE_LINK, libc::RTN_UNICAST),
            Via::Gateway { .. } => (libc::RT_TABLE_MAIN, libc::RT_SCOPE_UNIVERSE, libc::RTN_UNICAST),
            // In the local table alone: answers from such an address are refused if the route is in another.
            Via::Here => (libc::RT_TABLE_LOCAL, libc::RT_SCOPE_HOST, libc::RTN_LOCAL),
            Via::Unreachable => (libc::RT_TABLE_MAIN, libc::RT_SCOPE_UNIVERSE, libc::RTN_UNREACHABLE),
        };
        // struct rtmsg: family, destination length, source length, tos, table, protocol, scope, type, flags.
        let mut fixed = vec![libc::AF_INET as u8, prefix, 0, 0, table, libc::RTPROT_STATIC, scope, kind];
        fixed.extend([0; 4]);
        let step = format!("route to {destination}/{prefix}");
        self.message(&step, libc::RTM_NEWROUTE, CREATE, &fixed, |list: &mut Attributes| {
            if prefix > 0 {
                list.bytes(libc::RTA_DST, &destination.octets());
            }
            match via {
                Via::Link(link) => list.u32(libc::RTA_OIF, link),
                Via::Gateway { link, address } => {
                    list.u32(libc::RTA_OIF, link);
                    list.bytes(libc::RTA_GATEWAY, &address.octets());
                }
                Via::Here => list.u32(libc::RTA_OIF, LOOPBACK),
                Via::Unreachable => {}
            }
        });
    }

    fn delete_route_here(&mut self, destination: Ipv4Addr, prefix: u8) {
        let (table, kind) = (libc::RT_TABLE_LOCAL, libc::RTN_LOCAL);
        let mut fixed = vec![libc::AF_INET as u8, prefix, 0, 0, table, libc::RTPROT_STATIC, libc::RT_SCOPE_HOST, kind];
        fixed.extend([0; 4]);
        let step = format!("taking away the route to {destination}/{prefix}");
        self.message(&step, libc::RTM_DELROUTE, NLM_F_ACK, &fixed, |list: &mut Attributes| {
            list.bytes(libc::RTA_DST, &destination.octets());
            list.u32(libc::RTA_OIF, LOOPBACK);
        });
    }

    fn add_neighbour(&mut self, link: u32, address: Ipv4Addr, hardware: HardwareAddress) {
        // struct ndmsg: family, three bytes of padding, index, state (16 bits), flags, type.
        let mut fixed = vec![libc::AF_INET as u8, 0, 0, 0];
        fixed.extend(link.to_ne_bytes());
        fixed.extend(libc::NUD_PERMANENT.to_ne_bytes());
        fixed.extend([0; 2]);
        self.message(&format!("neighbour {address}"), libc::RTM_NEWNEIGH, REPLACE, &fixed, |list| {
            list.bytes(libc::NDA_DST, &address.octets());
            list.bytes(libc::NDA_LLADDR, &hardware);
        });
    }
}

/// Waits until the link passes packets. Right after it came up it loses them, and whoever sent them waits a second.
///
/// # Errors
/// `EAGAIN` if it does not within three seconds.
pub fn wait_operational(link: u32) -> Result<(), NetlinkError> {
    // Hears of changes from before the question on, so that none is missed.
    let socket = NetlinkSocket::open(SockProtocol::NetlinkRoute, RTMGRP_LINK)?;
    let mut question = Batch::default();
    question.message("state of a link", libc::RTM_GETLINK, 0, &link_header(link, false), |_| {});
    socket.send(&question)?;
    let mut state = 0;
    while state != OPERATIONAL {
        socket
            .receive(|message| state = operational_state(&message, link).unwrap_or(state))
            .map_err(|errno: Errno| NetlinkError { step: format!("waiting for link {link} to pass packets"), errno })?;
    }
    Ok(())
}

fn operational_state(message: &Received, link: u32) -> Option<u8> {
    const FIXED: usize = 16;
    let index = u32::from_ne_bytes(message.body.get(4..8)?.try_into().ok()?);
    if message.kind != libc::RTM_NEWLINK || index != link {
        return None;
    }
    attributes(message.body.get(FIXED..)?)
        .find(|(kind, _)| *kind == libc::IFLA_OPERSTATE)
        .and_then(|(_, value)| value.first().copied())
}

/// `struct ifinfomsg`: family, padding, device type, index, flags, change mask.
fn link_header(index: u32, up: bool) -> Vec<u8> {
    let up = if up { libc::IFF_UP as u32 } else { 0 };
    let mut fixed = vec![0; 4];
    fixed.extend(index.to_ne_bytes());
    fixed.extend(up.to_ne_bytes());
    fixed.extend(up.to_ne_bytes());
    fixed
}

/// Every address outside `excluded`, as the fewest prefixes.
pub fn all_but(excluded: &[(Ipv4Addr, u8)]) -> Vec<(Ipv4Addr, u8)> {
    fn walk(address: u32, prefix: u8, excluded: &[(u32, u8)], found: &mut Vec<(Ipv4Addr, u8)>) {
        let mask = |length: u8| u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
        let inside = |(other, length): &(u32, u8)| *length <= prefix && (address ^ other) & mask(*length) == 0;
        let holds = |(other, length): &(u32, u8)| *length > prefix && (address ^ other) & mask(prefix) == 0;
        if excluded.iter().any(inside) {
            return;
        }
        if !excluded.iter().any(holds) {
            found.push((Ipv4Addr::from(address), prefix));
            return;
        }
        walk(address, prefix + 1, excluded, found);
        walk(address | 1 << (31 - prefix), prefix + 1, excluded, found);
    }
    let excluded: Vec<(u32, u8)> = excluded.iter().map(|(address, prefix)| (u32::from(*address), *prefix)).collect();
    let mut found = Vec::new();
    walk(0, 0, &excluded, &mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_covers_every_other_address_once() {
        let excluded = [(Ipv4Addr::new(10, 244, 0, 0), 16), (Ipv4Addr::new(10, 96, 0, 0), 12)];
        let found = all_but(&excluded);
        let size = |prefix: u8| 1u64 << (32 - prefix);
        let covered: u64 = found.iter().map(|(_, prefix)| size(*prefix)).sum();
        assert_eq!(covered, size(0) - size(16) - size(12));
        let matches = |address: Ipv4Addr| {
            let covers = |(prefix, length): &&(Ipv4Addr, u8)| {
                (u64::from(u32::from(*prefix)) ^ u64::from(u32::from(address))) >> (32 - length) == 0
            };
            found.iter().filter(covers).count()
        };
        assert_eq!(matches(Ipv4Addr::new(10, 244, 3, 4)), 0);
        assert_eq!(matches(Ipv4Addr::new(10, 111, 255, 255)), 0);
        assert_eq!(matches(Ipv4Addr::new(10, 112, 0, 0)), 1);
        assert_eq!(matches(Ipv4Addr::new(10, 245, 0, 0)), 1);
        assert_eq!(matches(Ipv4Addr::new(203, 0, 113, 10)), 1);
        assert_eq!(all_but(&[]), [(Ipv4Addr::UNSPECIFIED, 0)]);
        assert_eq!(all_but(&[(Ipv4Addr::UNSPECIFIED, 0)]), []);
    }
}
