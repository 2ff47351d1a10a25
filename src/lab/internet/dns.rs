//! The lab's DNS server (RFC 1035): addresses (A) and aliases (CNAME); every name that exists has no other records,
//! so that a question for IPv6 is answered at once with nothing.

use super::names::Found;
use super::{Outside, World};
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, SRV};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

/// Seconds an answer stays valid: CoreDNS's in a cluster.
const VALID_SECONDS: u32 = 30;
/// A client that sends nothing for so long is left.
const IDLE: Duration = Duration::from_secs(30);
/// An alias of an alias, so many times; then the chain is cut.
const MOST_ALIASES: usize = 8;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    Pod,
    /// Someone who cannot know the cluster's names.
    Outside,
}

pub(super) async fn serve_udp(socket: UdpSocket, outside: Arc<Outside>, asker: Asker) {
    let mut question = [0; 4096];
    loop {
        // Errors here are those of an earlier answer whose asker has gone.
        let Ok((length, from)) = socket.recv_from(&mut question).await else { continue };
        if let Some(answer) = answer(&question[..length], &outside.world, asker) {
            outside.name_was_told().await;
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

pub(super) async fn serve_tcp(listener: TcpListener, outside: Arc<Outside>, asker: Asker) {
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    clients.spawn(serve_client(stream, outside.clone(), asker));
                }
            }
            Some(_) = clients.join_next() => {}
        }
    }
}

/// Ends with an error when the client closes or is silent, which is the usual end.
async fn serve_client(mut stream: TcpStream, outside: Arc<Outside>, asker: Asker) -> io::Result<()> {
    loop {
        let length = tokio::time::timeout(IDLE, stream.read_u16()).await??;
        let mut question = vec![0; length.into()];
        tokio::time::timeout(IDLE, stream.read_exact(&mut question)).await??;
        let Some(answer) = answer(&question, &outside.world, asker) else { return Ok(()) };
        outside.name_was_told().await;
        stream.write_u16(answer.len() as u16).await?;
        stream.write_all(&answer).await?;
    }
}

/// The answer to a message; `None` if it is no question at all.
fn answer(question: &[u8], world: &World, asker: Asker) -> Option<Vec<u8>> {
    let message = match Message::from_vec(question) {
        Ok(message) if message.metadata.message_type == MessageType::Query => message,
        Ok(_) => return None,
        Err(_) => {
            let id = u16::from_be_bytes(question.get(..2)?.try_into().ok()?);
            return Message::error_msg(id, OpCode::Query, ResponseCode::FormErr).to_vec().ok();
        }
    };
    let mut response = Message::response(message.metadata.id, message.metadata.op_code);
    response.metadata.recursion_desired = message.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.add_queries(message.queries.iter().cloned());
    response.metadata.response_code = match message.queries.as_slice() {
        _ if message.metadata.op_code != OpCode::Query => ResponseCode::NotImp,
        [query] if query.query_class() == DNSClass::IN => {
            add_answers(&mut response, query.name(), query.query_type(), world, asker)
        }
        [_] => ResponseCode::Refused,
        _ => ResponseCode::FormErr,
    };
    response.to_vec().ok()
}

fn add_answers(response: &mut Message, name: &Name, kind: RecordType, world: &World, asker: Asker) -> ResponseCode {
    let mut name = name.clone();
    if name.to_ascii().starts_with('_') && asker == Asker::Pod {
        return add_places(response, &name, kind, world);
    }
    for _ in 0..MOST_ALIASES {
        let asked = name.to_ascii();
        let found = match asker {
            Asker::Pod => world.look_up(asked.trim_end_matches('.')),
            Asker::Outside => world.look_up_outside(asked.trim_end_matches('.')),
        };
        match found {
            Found::NoSuchName => return ResponseCode::NXDomain,
            Found::Addresses(addresses) => {
                if matches!(kind, RecordType::A | RecordType::ANY) {
                    let records = addresses.into_iter().map(|address| RData::A(A(address)));
                    response.add_answers(records.map(|data| Record::from_rdata(name.clone(), VALID_SECONDS, data)));
                }
                return ResponseCode::NoError;
            }
            Found::Alias(other) => {
                let Ok(other) = Name::from_ascii(format!("{}.", other.trim_end_matches('.'))) else {
                    return ResponseCode::ServFail;
                };
                response.add_answer(Record::from_rdata(name, VALID_SECONDS, RData::CNAME(CNAME(other.clone()))));
                if kind == RecordType::CNAME {
                    return ResponseCode::NoError;
                }
                name = other;
            }
        }
    }
    ResponseCode::ServFail
}

/// `_http._tcp.web.shop.svc.cluster.local` (RFC 2782), each place as likely as the other.
fn add_places(response: &mut Message, name: &Name, kind: RecordType, world: &World) -> ResponseCode {
    const WEIGHT: u16 = 100;
    let places = world.names(|names| names.service_places(name.to_ascii().trim_end_matches('.')));
    if places.is_empty() {
        return ResponseCode::NXDomain;
    }
    if matches!(kind, RecordType::SRV | RecordType::ANY) {
        for place in places {
            let Ok(target) = Name::from_ascii(format!("{}.", place.target)) else { return ResponseCode::ServFail };
            let data = RData::SRV(SRV::new(0, WEIGHT, place.port, target));
            response.add_answer(Record::from_rdata(name.clone(), VALID_SECONDS, data));
        }
    }
    ResponseCode::NoError
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::internet::{ServiceName, ServicePlace};
    use hickory_proto::op::Query;
    use std::collections::BTreeMap;

    fn ask(name: &str, kind: RecordType) -> Message {
        ask_as(Asker::Pod, name, kind)
    }

    fn ask_as(asker: Asker, name: &str, kind: RecordType) -> Message {
        let world = World::default();
        let services = BTreeMap::from([
            ("far.ns.svc.cluster.local".to_string(), ServiceName::Alias("httpbin.org".to_string())),
            ("loop.ns.svc.cluster.local".to_string(), ServiceName::Alias("loop.ns.svc.cluster.local".to_string())),
        ]);
        let target = "web.ns.svc.cluster.local".to_string();
        world.names(|names| {
            names.set_services(services);
            let places = vec![ServicePlace { port: 8000, target }];
            names.set_service_ports(BTreeMap::from([("_http._tcp.web.ns.svc.cluster.local".to_string(), places)]));
        });
        let mut question = Message::query();
        question.metadata.recursion_desired = true;
        question.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        let answer = answer(&question.to_vec().unwrap(), &world, asker).unwrap();
        let answer = Message::from_vec(&answer).unwrap();
        assert_eq!((answer.metadata.id, answer.queries.len()), (question.metadata.id, 1));
        answer
    }

    #[test]
    fn an_existing_name_has_an_address_and_nothing_for_ipv6() {
        let found = ask("httpbin.org.", RecordType::A);
        assert_eq!(found.answers[0].data, RData::A(A("203.0.113.10".parse().unwrap())));
        let ipv6 = ask("httpbin.org.", RecordType::AAAA);
        assert_eq!((ipv6.metadata.response_code, ipv6.answers.len()), (ResponseCode::NoError, 0));
        let absent = ask("httpbin.org.ns.svc.cluster.local.", RecordType::A);
        assert_eq!((absent.metadata.response_code, absent.answers.len()), (ResponseCode::NXDomain, 0));
    }

    #[test]
    fn an_alias_is_followed_and_a_circle_is_an_error() {
        let found = ask("far.ns.svc.cluster.local.", RecordType::A);
        assert_eq!(found.answers.len(), 2);
        assert_eq!(found.answers[1].data, RData::A(A("203.0.113.10".parse().unwrap())));
        assert_eq!(ask("loop.ns.svc.cluster.local.", RecordType::A).metadata.response_code, ResponseCode::ServFail);
    }

    #[test]
    fn a_services_named_port_is_told() {
        let found = ask("_http._tcp.web.ns.svc.cluster.local.", RecordType::SRV);
        let target = Name::from_ascii("web.ns.svc.cluster.local.").unwrap();
        assert_eq!(found.answers[0].data, RData::SRV(SRV::new(0, 100, 8000, target)));
        let absent = ask("_grpc._tcp.web.ns.svc.cluster.local.", RecordType::SRV);
        assert_eq!(absent.metadata.response_code, ResponseCode::NXDomain);
    }

    #[test]
    fn who_is_outside_knows_outside_names_alone() {
        let found = ask_as(Asker::Outside, "httpbin.org.", RecordType::A);
        assert_eq!(found.answers[0].data, RData::A(A("203.0.113.10".parse().unwrap())));
        for (name, kind) in
            [("far.ns.svc.cluster.local.", RecordType::A), ("_http._tcp.web.ns.svc.cluster.local.", RecordType::SRV)]
        {
            assert_eq!(ask_as(Asker::Outside, name, kind).metadata.response_code, ResponseCode::NXDomain);
        }
    }

    #[test]
    fn what_is_no_question_gets_no_answer_or_a_format_error() {
        let world = World::default();
        assert_eq!(answer(&[], &world, Asker::Pod), None);
        assert_eq!(answer(&[7], &world, Asker::Pod), None);
        let garbled = answer(&[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 99], &world, Asker::Pod).unwrap();
        let garbled = Message::from_vec(&garbled).unwrap();
        assert_eq!((garbled.metadata.id, garbled.metadata.response_code), (7, ResponseCode::FormErr));
        let response = Message::response(7, OpCode::Query).to_vec().unwrap();
        assert_eq!(answer(&response, &world, Asker::Pod), None, "or two servers would answer each other for ever");
    }
}
