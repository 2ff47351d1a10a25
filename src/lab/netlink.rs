//! Netlink from this process: messages to the kernel's network configuration, and its answers.
//! A socket speaks for the network namespace of the thread that opened it. No `ip` command is needed.

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;
use std::os::fd::{AsRawFd, OwnedFd};

/// How long the kernel may take to answer; it takes microseconds.
const ANSWER_SECONDS: i64 = 3;

const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
pub const NLM_F_ACK: u16 = 4;
pub const NLM_F_CREATE: u16 = 0x400;
pub const NLM_F_EXCL: u16 = 0x200;
pub const NLM_F_REPLACE: u16 = 0x100;
pub const NLM_F_APPEND: u16 = 0x800;
const NLA_F_NESTED: u16 = 0x8000;
/// `struct nlmsghdr`: length, type, flags, sequence number, port.
const HEADER: usize = 16;

/// A request the kernel refused, or an answer that did not come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{step}: {errno}")]
pub struct NetlinkError {
    /// What the message was to do, in words.
    pub step: String,
    pub errno: Errno,
}

/// Messages that are sent together.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// What each message does, in words; its index is its sequence number - 1.
    steps: Vec<String>,
    acknowledged: Vec<u32>,
}

impl Batch {
    /// Adds a message: its family's fixed header, then attributes. With `NLM_F_ACK` the kernel answers success too.
    pub fn message(
        &mut self,
        step: &str,
        kind: u16,
        flags: u16,
        fixed: &[u8],
        attributes: impl FnOnce(&mut Attributes),
    ) {
        self.steps.push(step.to_string());
        let sequence = self.steps.len() as u32;
        if flags & NLM_F_ACK != 0 {
            self.acknowledged.push(sequence);
        }
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        self.bytes.extend(sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend(fixed);
        let mut list = Attributes { bytes: &mut self.bytes };
        list.align();
        attributes(&mut list);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }
}

/// The attributes of a message or of a nest in it. Numbers are in the machine's order unless the name says otherwise.
pub struct Attributes<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Attributes<'_> {
    pub fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.bytes.extend((value.len() as u16 + 4).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.align();
    }

    pub fn u32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    /// Network byte order, as netfilter wants all its numbers.
    pub fn big_endian_u32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub fn text(&mut self, kind: u16, value: &str) {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat());
    }

    pub fn nest(&mut self, kind: u16, inner: impl FnOnce(&mut Attributes)) {
        self.nest_after(kind, &[], inner);
    }

    /// A nest that begins with a fixed header of its own, as a veth's peer does.
    pub fn nest_after(&mut self, kind: u16, fixed: &[u8], inner: impl FnOnce(&mut Attributes)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend((kind | NLA_F_NESTED).to_ne_bytes());
        self.bytes.extend(fixed);
        self.align();
        inner(&mut Attributes { bytes: self.bytes });
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// One message received.
pub struct Received<'a> {
    pub kind: u16,
    pub sequence: u32,
    /// The family's fixed header and the attributes.
    pub body: &'a [u8],
}

/// The attributes in `bytes`: (type, value).
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & !NLA_F_NESTED;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// A netlink socket of the calling thread's network namespace.
pub struct NetlinkSocket {
    socket: OwnedFd,
}

impl NetlinkSocket {
    /// `groups` are the multicast groups to hear, as a bit mask; 0 for answers alone.
    pub fn open(protocol: SockProtocol, groups: u32) -> Result<NetlinkSocket, NetlinkError> {
        let failed = |errno| NetlinkError { step: "opening a netlink socket".into(), errno };
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).map_err(failed)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups)).map_err(failed)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(ANSWER_SECONDS, 0)).map_err(failed)?;
        Ok(NetlinkSocket { socket })
    }

    pub fn route() -> Result<NetlinkSocket, NetlinkError> {
        NetlinkSocket::open(SockProtocol::NetlinkRoute, 0)
    }

    pub fn netfilter() -> Result<NetlinkSocket, NetlinkError> {
        NetlinkSocket::open(SockProtocol::NetlinkNetFilter, 0)
    }

    /// Sends the batch and waits for every acknowledgement it asks for.
    ///
    /// # Errors
    /// The first message the kernel refused, by its step, or `EAGAIN` if it gave no answer.
    pub fn exchange(&self, batch: &Batch) -> Result<(), NetlinkError> {
        self.send(batch)?;
        let mut awaited = batch.acknowledged.clone();
        let mut refused = None;
        while !awaited.is_empty() && refused.is_none() {
            self.receive(|message| {
                let Some(step) = (message.sequence as usize).checked_sub(1).and_then(|index| batch.steps.get(index))
                else {
                    return;
                };
                let Some(code) = message.error_code() else { return };
                awaited.retain(|sequence| *sequence != message.sequence);
                if code != 0 && refused.is_none() {
                    refused = Some(NetlinkError { step: step.clone(), errno: Errno::from_raw(-code) });
                }
            })
            .map_err(|errno| NetlinkError {
                step: format!("awaiting the kernel's answer to {:?}", batch.steps),
                errno,
            })?;
        }
        refused.map_or(Ok(()), Err)
    }

    pub fn send(&self, batch: &Batch) -> Result<(), NetlinkError> {
        sendto(self.socket.as_raw_fd(), &batch.bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty())
            .map(drop)
            .map_err(|errno| NetlinkError { step: format!("sending {:?}", batch.steps), errno })
    }

    /// Waits for one datagram and hands over the messages in it.
    pub fn receive(&self, mut each: impl FnMut(Received)) -> nix::Result<()> {
        let mut buffer = [0; 32 * 1024];
        let length = loop {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                other => break other?,
            }
        };
        let mut rest = &buffer[..length];
        while let Some((message, after)) = split_message(rest) {
            each(message);
            rest = after;
        }
        Ok(())
    }
}

impl Received<'_> {
    /// Of an answer: 0 for done, else a negative errno. `None` for any other message.
    fn error_code(&self) -> Option<i32> {
        if self.kind != NLMSG_ERROR {
            return None;
        }
        self.body.get(..4).and_then(|code| code.try_into().ok()).map(i32::from_ne_bytes)
    }
}

fn split_message(bytes: &[u8]) -> Option<(Received<'_>, &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let sequence = u32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?);
    let body = bytes.get(HEADER..length)?;
    Some((Received { kind, sequence, body }, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_attributes_are_padded_to_four_bytes_but_say_their_true_length() {
        let mut batch = Batch::default();
        batch.message("first", 16, NLM_F_ACK, &[7; 5], |list| {
            list.text(3, "eth0");
            list.nest(18, |inner| inner.u32(1, 9));
        });
        batch.message("second", 17, 0, &[], |_| {});
        let (first, rest) = split_message(&batch.bytes).unwrap();
        assert_eq!((first.kind, first.sequence, first.body.len()), (16, 1, 8 + 12 + 12));
        let found: Vec<_> = attributes(&first.body[8..]).collect();
        assert_eq!(found[0], (3, b"eth0\0".as_slice()));
        assert_eq!(attributes(found[1].1).collect::<Vec<_>>(), [(1, 9u32.to_ne_bytes().as_slice())]);
        let (second, rest) = split_message(rest).unwrap();
        assert_eq!((second.kind, second.sequence, rest.len()), (17, 2, 0));
        assert_eq!(batch.acknowledged, [1]);
    }

    #[test]
    fn a_cut_message_is_not_read() {
        assert!(split_message(&[40, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]).is_none());
        assert_eq!(attributes(&[0; 8]).count(), 0);
    }
}
