//! A stream whose first bytes were read already, to see what they are, and are to be read again.

use bytes::{Buf, Bytes};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

pub(super) struct Prefixed<S> {
    prefix: Bytes,
    stream: S,
}

/// What a client begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beginning {
    /// A TLS handshake record (RFC 8446, 5.1).
    Tls,
    /// A request line of HTTP/1, or HTTP/2's preface.
    Http,
    Other,
    /// The client closed without a byte.
    Nothing,
}

/// With what follows them, so that a word that only begins alike is not taken for one.
const HTTP_METHODS: [&[u8]; 10] =
    [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"CONNECT ", b"OPTIONS ", b"TRACE ", b"PATCH ", b"PRI * HTTP/2"];

impl<S: AsyncRead + Unpin> Prefixed<S> {
    /// Waits for as many bytes as it takes to know what they begin.
    pub async fn look(mut stream: S) -> io::Result<(Beginning, Prefixed<S>)> {
        let mut seen = Vec::with_capacity(64);
        let beginning = loop {
            match beginning_of(&seen) {
                Some(beginning) => break beginning,
                None if stream.read_buf(&mut seen).await? == 0 => {
                    break if seen.is_empty() { Beginning::Nothing } else { Beginning::Other };
                }
                None => {}
            }
        };
        Ok((beginning, Prefixed { prefix: seen.into(), stream }))
    }
}

/// `None`: more bytes are needed to tell.
fn beginning_of(bytes: &[u8]) -> Option<Beginning> {
    const TLS_HANDSHAKE: u8 = 22;
    let first = *bytes.first()?;
    if first == TLS_HANDSHAKE {
        return Some(Beginning::Tls);
    }
    if HTTP_METHODS.iter().any(|method| bytes.starts_with(method)) {
        return Some(Beginning::Http);
    }
    let undecided = HTTP_METHODS.iter().any(|method| method.starts_with(bytes));
    if undecided { None } else { Some(Beginning::Other) }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = self.prefix.len().min(buffer.remaining());
        buffer.put_slice(&self.prefix[..length]);
        self.prefix.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_told_as_soon_as_it_can_be() {
        assert_eq!(beginning_of(b""), None);
        assert_eq!(beginning_of(&[22]), Some(Beginning::Tls));
        assert_eq!(beginning_of(b"GE"), None);
        assert_eq!(beginning_of(b"GET /"), Some(Beginning::Http));
        assert_eq!(beginning_of(b"GETTING"), Some(Beginning::Other));
        assert_eq!(beginning_of(b"PRI * HTTP/2.0\r\n"), Some(Beginning::Http));
        assert_eq!(beginning_of(b"ping\n"), Some(Beginning::Other));
    }

    #[tokio::test]
    async fn what_was_looked_at_is_read_again() {
        let (beginning, mut stream) = Prefixed::look(b"ping\nmore".as_slice()).await.unwrap();
        let mut read = String::new();
        stream.read_to_string(&mut read).await.unwrap();
        assert_eq!((beginning, read.as_str()), (Beginning::Other, "ping\nmore"));
        assert_eq!(Prefixed::look(b"GE".as_slice()).await.unwrap().0, Beginning::Other);
        assert_eq!(Prefixed::look(b"".as_slice()).await.unwrap().0, Beginning::Nothing);
    }
}
