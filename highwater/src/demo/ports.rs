//! Ports for the children, told to everybody before anybody listens.
//!
//! A reserved port is bound, but nobody listens on it. While that lasts, the system gives it to nobody who asks for
//! "any port" and to no outgoing connection, yet a child that binds with SO_REUSEADDR (as every server here does) can
//! listen on it. So no two processes can race for a port, and there is nothing to retry.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::net::TcpSocket;

/// Every port handed out so far; they are free again when this is dropped.
#[derive(Default)]
pub struct Ports(Vec<TcpSocket>);

impl Ports {
    /// A free port of the loopback address, distinct from all others.
    pub fn reserve(&mut self) -> Result<SocketAddr> {
        let socket = TcpSocket::new_v4().context("cannot open a socket")?;
        socket.set_reuseaddr(true).context("cannot share a port with a child")?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).context("no port of 127.0.0.1 is free")?;
        let address = socket.local_addr().context("a bound socket has no address")?;
        self.0.push(socket);
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reserved_port_is_distinct_and_can_be_listened_on() {
        let mut ports = Ports::default();
        let addresses: std::collections::HashSet<_> = (0..50).map(|_| ports.reserve().expect("free")).collect();
        assert_eq!(addresses.len(), 50);
        for address in addresses {
            let listener = runtime::bind(&address.to_string()).await.expect("still reserved for us");
            assert!(runtime::bind(&address.to_string()).await.is_err(), "one listens already");
            drop(listener);
        }
    }
}
