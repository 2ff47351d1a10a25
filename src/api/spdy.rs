//! SPDY/3.1 frames, as far as port-forward uses them: streams with headers, data, resets, pings.
//! Frames come in pieces; nothing here does I/O.

use super::inflate::{Damaged, Inflater};

/// The dictionary of header compression that SPDY/3 lays down (draft 3, 2.6.10.1).
const DICTIONARY: &[u8] = include_bytes!("spdy/dictionary.bin");
/// The largest frame taken, in bytes.
const MAX_FRAME: usize = 4 * 1024 * 1024;
/// The largest header block of a frame, decompressed.
const MAX_HEADERS: usize = 64 * 1024;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const FIN: u8 = 1;

#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// A stream the client opens. Header names are in lower case.
    Open {
        id: u32,
        headers: Vec<(String, String)>,
    },
    Data {
        id: u32,
        bytes: Vec<u8>,
        fin: bool,
    },
    Reset {
        id: u32,
    },
    Ping {
        id: u32,
    },
    GoAway,
    /// Settings, window updates and others that change nothing here.
    Other,
}

/// Cuts a byte stream into frames.
pub struct Reader {
    buffer: Vec<u8>,
    headers: Inflater,
    /// Whether the compressed stream's own header has been read.
    begun: bool,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader { buffer: Vec::new(), headers: Inflater::new(DICTIONARY), begun: false }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

impl Reader {
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, if there is one.
    pub fn next(&mut self) -> Result<Option<Frame>, Damaged> {
        let (Some(first), Some(second)) = (word(&self.buffer, 0), word(&self.buffer, 4)) else { return Ok(None) };
        let length = (second & 0x00FF_FFFF) as usize;
        if length > MAX_FRAME {
            return Err(Damaged);
        }
        if self.buffer.len() < 8 + length {
            return Ok(None);
        }
        let rest = self.buffer.split_off(8 + length);
        let frame = std::mem::replace(&mut self.buffer, rest);
        let payload = &frame[8..];
        let flags = (second >> 24) as u8;
        if first & 0x8000_0000 == 0 {
            return Ok(Some(Frame::Data { id: first, bytes: payload.to_vec(), fin: flags & FIN != 0 }));
        }
        let id = word(payload, 0).map(|id| id & 0x7FFF_FFFF);
        Ok(Some(match ((first & 0xFFFF) as u16, id) {
            (SYN_STREAM, Some(id)) => {
                Frame::Open { id, headers: self.header_block(payload.get(10..).ok_or(Damaged)?)? }
            }
            (RST_STREAM, Some(id)) => Frame::Reset { id },
            (PING, _) => Frame::Ping { id: word(payload, 0).ok_or(Damaged)? },
            (GOAWAY, _) => Frame::GoAway,
            _ => Frame::Other,
        }))
    }

    fn header_block(&mut self, compressed: &[u8]) -> Result<Vec<(String, String)>, Damaged> {
        let mut compressed = compressed;
        if !self.begun {
            // Two bytes of zlib header; with a dictionary its checksum too.
            let flags = *compressed.get(1).ok_or(Damaged)?;
            let skip = if flags & 0x20 != 0 { 6 } else { 2 };
            compressed = compressed.get(skip..).ok_or(Damaged)?;
            self.begun = true;
        }
        let block = self.headers.part(compressed, MAX_HEADERS)?;
        let count = word(&block, 0).ok_or(Damaged)?;
        let mut at = 4;
        let mut text = || -> Result<String, Damaged> {
            let length = word(&block, at).ok_or(Damaged)? as usize;
            let bytes = block.get(at + 4..at + 4 + length).ok_or(Damaged)?;
            at += 4 + length;
            Ok(String::from_utf8_lossy(bytes).into_owned())
        };
        let mut headers = Vec::new();
        for _ in 0..count {
            let name = text()?.to_ascii_lowercase();
            headers.push((name, text()?));
        }
        Ok(headers)
    }
}

/// Writes frames.
#[derive(Default)]
pub struct Writer {
    begun: bool,
}

fn control(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80, 3];
    frame.extend(kind.to_be_bytes());
    // Control frames here are a few bytes long.
    frame.extend(u32::try_from(payload.len()).unwrap_or(0).to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

impl Writer {
    /// Accepts a stream, without headers of its own.
    pub fn reply(&mut self, id: u32) -> Vec<u8> {
        let mut payload = id.to_be_bytes().to_vec();
        if !self.begun {
            // A zlib header that names no dictionary: what follows is stored, not compressed.
            payload.extend([0x78, 0x01]);
            self.begun = true;
        }
        // A stored block of "no headers", and an empty one that flushes it.
        payload.extend([0, 4, 0, 0xFB, 0xFF, 0, 0, 0, 0]);
        payload.extend([0, 0, 0, 0xFF, 0xFF]);
        control(SYN_REPLY, &payload)
    }
}

/// Data of at most 16 MiB.
pub fn data(id: u32, bytes: &[u8], fin: bool) -> Vec<u8> {
    let mut frame = id.to_be_bytes().to_vec();
    let flags = if fin { u32::from(FIN) << 24 } else { 0 };
    frame.extend((flags | (u32::try_from(bytes.len()).unwrap_or(0) & 0x00FF_FFFF)).to_be_bytes());
    frame.extend_from_slice(bytes);
    frame
}

/// Refuses a stream.
pub fn reset(id: u32) -> Vec<u8> {
    let mut payload = id.to_be_bytes().to_vec();
    payload.extend(3u32.to_be_bytes());
    control(RST_STREAM, &payload)
}

pub fn ping(id: u32) -> Vec<u8> {
    control(PING, &id.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_in_pieces() {
        let mut reader = Reader::default();
        let mut bytes = data(1, b"hello", true);
        bytes.extend(ping(7));
        for byte in &bytes[..bytes.len() - 1] {
            reader.feed(&[*byte]);
        }
        let hello = Frame::Data { id: 1, bytes: b"hello".to_vec(), fin: true };
        assert_eq!(reader.next(), Ok(Some(hello)));
        assert_eq!(reader.next(), Ok(None));
        reader.feed(&bytes[bytes.len() - 1..]);
        assert_eq!(reader.next(), Ok(Some(Frame::Ping { id: 7 })));
    }

    #[test]
    fn a_stream_is_opened_with_headers() {
        let block = [&[0, 0, 0, 1, 0, 0, 0, 4][..], b"Port", &[0, 0, 0, 2], b"80"].concat();
        let length = u8::try_from(block.len()).unwrap();
        let mut payload = vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x78, 0x01, 0, length, 0, !length, 0xFF];
        payload.extend(block);
        payload.extend([0, 0, 0, 0xFF, 0xFF]);
        let mut reader = Reader::default();
        reader.feed(&control(SYN_STREAM, &payload));
        let open = Frame::Open { id: 1, headers: vec![("port".into(), "80".into())] };
        assert_eq!(reader.next(), Ok(Some(open)));
    }

    #[test]
    fn damaged_frames_are_refused() {
        let mut reader = Reader::default();
        reader.feed(&[0x80, 3, 0, 1, 0, 0, 0, 4, 0, 0, 0, 1]);
        assert_eq!(reader.next(), Err(Damaged));
        let mut huge = Reader::default();
        huge.feed(&[0, 0, 0, 1, 0, 0xFF, 0xFF, 0xFF]);
        assert_eq!(huge.next(), Err(Damaged));
    }
}
