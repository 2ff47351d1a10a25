//! The accept loop of the pilot's ports: a task for each connection, all of which end with the loop.

use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Serves every connection of the listener. Dropping it ends the conversations too.
pub async fn serve<C>(listener: std::net::TcpListener, converse: impl Fn(TcpStream) -> C)
where
    C: Future<Output = ()> + Send + 'static,
{
    if listener.set_nonblocking(true).is_err() {
        return;
    }
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => { connections.spawn(converse(stream)); }
                Err(_) if connections.is_empty() => return,
                // Out of descriptors: a connection must end first.
                Err(_) => { connections.join_next().await; }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}
