//! Netfilter rules (nftables over netlink) of the calling thread's network namespace. No `nft` or `iptables` is needed.
//! A rule set is replaced as a whole, in one transaction: it is there entirely, or as it was before.

use super::netlink::{Attributes, Batch, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NetlinkError, NetlinkSocket};
use nix::libc;
use std::net::Ipv4Addr;

// linux/netfilter/nfnetlink.h and nf_tables.h
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_IMMEDIATE_DREG: u16 = 1;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_META_DREG: u16 = 1;
const NFTA_META_KEY: u16 = 2;
const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFTA_BITWISE_SREG: u16 = 1;
const NFTA_BITWISE_DREG: u16 = 2;
const NFTA_BITWISE_LEN: u16 = 3;
const NFTA_BITWISE_MASK: u16 = 4;
const NFTA_BITWISE_XOR: u16 = 5;
const NFTA_PAYLOAD_DREG: u16 = 1;
const NFTA_PAYLOAD_BASE: u16 = 2;
const NFTA_PAYLOAD_OFFSET: u16 = 3;
const NFTA_PAYLOAD_LEN: u16 = 4;
const NFTA_REDIR_REG_PROTO_MIN: u16 = 1;
const NFTA_REDIR_FLAGS: u16 = 3;
const NFTA_NAT_TYPE: u16 = 1;
const NFTA_NAT_FAMILY: u16 = 2;
const NFTA_NAT_REG_ADDR_MIN: u16 = 3;
const NFTA_NAT_REG_PROTO_MIN: u16 = 5;
const NFTA_CT_DREG: u16 = 1;
const NFTA_CT_KEY: u16 = 2;
const NFTA_REJECT_TYPE: u16 = 1;
const NFTA_REJECT_ICMP_CODE: u16 = 2;
const NFTA_NG_DREG: u16 = 1;
const NFTA_NG_MODULUS: u16 = 2;
const NFTA_NG_TYPE: u16 = 3;
const NF_NAT_RANGE_PROTO_SPECIFIED: u32 = 2;

const TABLE: &str = "egress-scn";
/// Where nat rules stand among the hooks of a place: linux/netfilter_ipv4.h `NF_IP_PRI_NAT_DST`.
const PRIORITY_NAT: i32 = -100;
/// linux/netfilter/nf_conntrack_common.h: bits of `NF_CT_STATE_BIT(IP_CT_ESTABLISHED)` and `IP_CT_RELATED`.
const STANDING: u32 = 1 << 1 | 1 << 2;

/// Where in a packet's way a chain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// The first packet of a connection arriving, before it is routed (nat).
    Arriving,
    /// The first packet of a connection that processes of this namespace send (nat).
    Sent,
    /// Every packet arriving, its destination already the one that nat chose. Chains with lower numbers come first, and a
    /// packet must pass each.
    Filter(u8),
}

/// What a packet must be for a rule to apply; all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    Mark(u32),
    OutLink(u32),
    Protocol(Protocol),
    Destination(Ipv4Addr, u8),
    NotDestination(Ipv4Addr, u8),
    Source(Ipv4Addr, u8),
    DestinationPort(u16),
    /// First and last.
    DestinationPorts(u16, u16),
    /// Of a connection that stands already, in either direction, or belonging to one (an ICMP error).
    Standing,
    /// One in so many of the connections that come to this rule, in turn.
    OneIn(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// What a rule does with the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Leaves it as it is; no later rule of the chain sees it.
    Pass,
    /// To this port of this namespace.
    Redirect(u16),
    /// To another address and port.
    Destination(Ipv4Addr, u16),
    /// It vanishes. In a filter only.
    Drop,
    /// TCP is reset. In a filter only.
    Reset,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub when: Vec<Match>,
    pub then: Act,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    pub name: &'static str,
    pub hook: Hook,
    pub rules: Vec<Rule>,
}

/// Puts these chains in the place of all that were there.
///
/// # Errors
/// The step the kernel refused. `ENOENT` or `EOPNOTSUPP` mean a kernel without nftables' nat.
pub fn replace(chains: &[Chain]) -> Result<(), NetlinkError> {
    NetlinkSocket::netfilter()?.exchange(&transaction(chains))
}

fn transaction(chains: &[Chain]) -> Batch {
    let mut batch = Batch::default();
    batch_limit(&mut batch, "begin", NFNL_MSG_BATCH_BEGIN);
    // Made before it is deleted: deleting what is not there is an error.
    for (step, kind) in [
        ("netfilter table", libc::NFT_MSG_NEWTABLE),
        ("emptying the netfilter table", libc::NFT_MSG_DELTABLE),
        ("netfilter table", libc::NFT_MSG_NEWTABLE),
    ] {
        let flags = if kind == libc::NFT_MSG_NEWTABLE { NLM_F_CREATE } else { 0 };
        // Refusals are answered in any case, so one acknowledgement, of the last message, is enough; the table is
        // always there, so it is asked for here when no chain follows.
        request(&mut batch, step, kind, flags | NLM_F_ACK, |list| list.text(NFTA_TABLE_NAME, TABLE));
    }
    for chain in chains {
        add_chain(&mut batch, chain);
        for rule in &chain.rules {
            add_rule(&mut batch, chain, rule);
        }
    }
    batch_limit(&mut batch, "end", NFNL_MSG_BATCH_END);
    batch
}

fn add_chain(batch: &mut Batch, chain: &Chain) {
    // linux/netfilter.h NF_INET_*
    let (place, priority, kind) = match chain.hook {
        Hook::Arriving => (0, PRIORITY_NAT, "nat"),
        Hook::Sent => (3, PRIORITY_NAT, "nat"),
        Hook::Filter(order) => (0, i32::from(order), "filter"),
    };
    let step = format!("netfilter chain {} ({kind})", chain.name);
    request(batch, &step, libc::NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_ACK, |list| {
        list.text(NFTA_CHAIN_TABLE, TABLE);
        list.text(NFTA_CHAIN_NAME, chain.name);
        list.nest(NFTA_CHAIN_HOOK, |hook| {
            hook.big_endian_u32(NFTA_HOOK_HOOKNUM, place);
            hook.big_endian_u32(NFTA_HOOK_PRIORITY, priority as u32);
        });
        list.text(NFTA_CHAIN_TYPE, kind);
    });
}

fn add_rule(batch: &mut Batch, chain: &Chain, rule: &Rule) {
    let step = format!("netfilter rule {:?} of chain {}", rule, chain.name);
    request(batch, &step, libc::NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND | NLM_F_ACK, |list| {
        list.text(NFTA_RULE_TABLE, TABLE);
        list.text(NFTA_RULE_CHAIN, chain.name);
        list.nest(NFTA_RULE_EXPRESSIONS, |list| {
            let mut expressions = Expressions(list);
            rule.when.iter().for_each(|condition| expressions.condition(*condition));
            expressions.act(rule.then);
        });
    });
}

fn request(batch: &mut Batch, step: &str, kind: libc::c_int, flags: u16, list: impl FnOnce(&mut Attributes)) {
    // struct nfgenmsg: family, version, resource.
    batch.message(step, NFNL_SUBSYS_NFTABLES << 8 | kind as u16, flags, &[libc::NFPROTO_IPV4 as u8, 0, 0, 0], list);
}

fn batch_limit(batch: &mut Batch, step: &str, kind: u16) {
    let [high, low] = NFNL_SUBSYS_NFTABLES.to_be_bytes();
    batch.message(step, kind, 0, &[libc::AF_UNSPEC as u8, 0, high, low], |_| {});
}

/// A rule's expressions: each reads into or from registers, and the rule goes on while comparisons hold.
struct Expressions<'a, 'b>(&'a mut Attributes<'b>);

impl Expressions<'_, '_> {
    fn condition(&mut self, condition: Match) {
        // Offsets in the IPv4 header.
        const SOURCE: u32 = 12;
        const DESTINATION: u32 = 16;
        const DESTINATION_PORT: u32 = 2;
        match condition {
            Match::Mark(mark) => self.meta_is(libc::NFT_META_MARK, &mark.to_ne_bytes()),
            Match::OutLink(link) => self.meta_is(libc::NFT_META_OIF, &link.to_ne_bytes()),
            Match::Protocol(protocol) => {
                let number = match protocol {
                    Protocol::Tcp => libc::IPPROTO_TCP,
                    Protocol::Udp => libc::IPPROTO_UDP,
                };
                self.meta_is(libc::NFT_META_L4PROTO, &[number as u8]);
            }
            Match::Destination(address, prefix) => self.address(DESTINATION, address, prefix, libc::NFT_CMP_EQ),
            Match::NotDestination(address, prefix) => self.address(DESTINATION, address, prefix, libc::NFT_CMP_NEQ),
            Match::Source(address, prefix) => self.address(SOURCE, address, prefix, libc::NFT_CMP_EQ),
            Match::DestinationPort(port) => {
                self.payload(libc::NFT_PAYLOAD_TRANSPORT_HEADER, DESTINATION_PORT, 2);
                self.equals(&port.to_be_bytes());
            }
            Match::DestinationPorts(first, last) => {
                self.payload(libc::NFT_PAYLOAD_TRANSPORT_HEADER, DESTINATION_PORT, 2);
                self.compare(libc::NFT_CMP_GTE, &first.to_be_bytes());
                self.compare(libc::NFT_CMP_LTE, &last.to_be_bytes());
            }
            Match::Standing => {
                self.expression("ct", |data| {
                    data.big_endian_u32(NFTA_CT_DREG, libc::NFT_REG_1 as u32);
                    data.big_endian_u32(NFTA_CT_KEY, libc::NFT_CT_STATE as u32);
                });
                self.mask(&STANDING.to_ne_bytes());
                self.compare(libc::NFT_CMP_NEQ, &[0; 4]);
            }
            Match::OneIn(of) => {
                self.expression("numgen", |data| {
                    data.big_endian_u32(NFTA_NG_DREG, libc::NFT_REG_1 as u32);
                    data.big_endian_u32(NFTA_NG_MODULUS, of);
                    data.big_endian_u32(NFTA_NG_TYPE, libc::NFT_NG_INCREMENTAL as u32);
                });
                self.equals(&0u32.to_ne_bytes());
            }
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Pass => self.verdict(libc::NFT_RETURN),
            Act::Drop => self.verdict(libc::NF_DROP),
            Act::Reset => self.expression("reject", |data| {
                data.big_endian_u32(NFTA_REJECT_TYPE, libc::NFT_REJECT_TCP_RST as u32);
                data.bytes(NFTA_REJECT_ICMP_CODE, &[0]);
            }),
            Act::Redirect(port) => {
                self.load(libc::NFT_REG_1, &port.to_be_bytes());
                self.expression("redir", |data| {
                    data.big_endian_u32(NFTA_REDIR_REG_PROTO_MIN, libc::NFT_REG_1 as u32);
                    data.big_endian_u32(NFTA_REDIR_FLAGS, NF_NAT_RANGE_PROTO_SPECIFIED);
                });
            }
            Act::Destination(address, port) => {
                self.load(libc::NFT_REG_1, &address.octets());
                self.load(libc::NFT_REG_2, &port.to_be_bytes());
                self.expression("nat", |data| {
                    data.big_endian_u32(NFTA_NAT_TYPE, libc::NFT_NAT_DNAT as u32);
                    data.big_endian_u32(NFTA_NAT_FAMILY, libc::NFPROTO_IPV4 as u32);
                    data.big_endian_u32(NFTA_NAT_REG_ADDR_MIN, libc::NFT_REG_1 as u32);
                    data.big_endian_u32(NFTA_NAT_REG_PROTO_MIN, libc::NFT_REG_2 as u32);
                });
            }
        }
    }

    fn verdict(&mut self, code: libc::c_int) {
        self.expression("immediate", |data| {
            data.big_endian_u32(NFTA_IMMEDIATE_DREG, libc::NFT_REG_VERDICT as u32);
            data.nest(NFTA_IMMEDIATE_DATA, |value| {
                value.nest(NFTA_DATA_VERDICT, |verdict| verdict.big_endian_u32(NFTA_VERDICT_CODE, code as u32));
            });
        });
    }

    fn meta_is(&mut self, key: libc::c_int, value: &[u8]) {
        self.expression("meta", |data| {
            data.big_endian_u32(NFTA_META_KEY, key as u32);
            data.big_endian_u32(NFTA_META_DREG, libc::NFT_REG_1 as u32);
        });
        self.equals(value);
    }

    fn address(&mut self, offset: u32, address: Ipv4Addr, prefix: u8, comparison: libc::c_int) {
        self.payload(libc::NFT_PAYLOAD_NETWORK_HEADER, offset, 4);
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        self.mask(&mask.to_be_bytes());
        self.compare(comparison, &(u32::from(address) & mask).to_be_bytes());
    }

    fn payload(&mut self, base: libc::c_int, offset: u32, length: u32) {
        self.expression("payload", |data| {
            data.big_endian_u32(NFTA_PAYLOAD_DREG, libc::NFT_REG_1 as u32);
            data.big_endian_u32(NFTA_PAYLOAD_BASE, base as u32);
            data.big_endian_u32(NFTA_PAYLOAD_OFFSET, offset);
            data.big_endian_u32(NFTA_PAYLOAD_LEN, length);
        });
    }

    fn mask(&mut self, mask: &[u8; 4]) {
        self.expression("bitwise", |data| {
            data.big_endian_u32(NFTA_BITWISE_SREG, libc::NFT_REG_1 as u32);
            data.big_endian_u32(NFTA_BITWISE_DREG, libc::NFT_REG_1 as u32);
            data.big_endian_u32(NFTA_BITWISE_LEN, 4);
            data.nest(NFTA_BITWISE_MASK, |value| value.bytes(NFTA_DATA_VALUE, mask));
            data.nest(NFTA_BITWISE_XOR, |value| value.bytes(NFTA_DATA_VALUE, &[0; 4]));
        });
    }

    fn equals(&mut self, value: &[u8]) {
        self.compare(libc::NFT_CMP_EQ, value);
    }

    fn compare(&mut self, comparison: libc::c_int, value: &[u8]) {
        self.expression("cmp", |data| {
            data.big_endian_u32(NFTA_CMP_SREG, libc::NFT_REG_1 as u32);
            data.big_endian_u32(NFTA_CMP_OP, comparison as u32);
            data.nest(NFTA_CMP_DATA, |data| data.bytes(NFTA_DATA_VALUE, value));
        });
    }

    fn load(&mut self, register: libc::c_int, value: &[u8]) {
        self.expression("immediate", |data| {
            data.big_endian_u32(NFTA_IMMEDIATE_DREG, register as u32);
            data.nest(NFTA_IMMEDIATE_DATA, |data| data.bytes(NFTA_DATA_VALUE, value));
        });
    }

    fn expression(&mut self, name: &str, data: impl FnOnce(&mut Attributes)) {
        self.0.nest(NFTA_LIST_ELEM, |element| {
            element.text(NFTA_EXPR_NAME, name);
            element.nest(NFTA_EXPR_DATA, data);
        });
    }
}
