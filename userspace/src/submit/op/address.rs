//! A socket address in the bytes that the kernel takes.

use std::net::SocketAddr;

/// A `sockaddr_in` or `sockaddr_in6`.
pub(super) enum SocketAddress {
    V4(libc::sockaddr_in),
    V6(libc::sockaddr_in6),
}

impl SocketAddress {
    /// Where it lies.
    pub(super) fn as_ptr(&self) -> *const u8 {
        match self {
            SocketAddress::V4(address) => (&raw const *address).cast(),
            SocketAddress::V6(address) => (&raw const *address).cast(),
        }
    }

    /// Its length in bytes.
    pub(super) fn len(&self) -> u64 {
        match self {
            SocketAddress::V4(_) => size_of::<libc::sockaddr_in>() as u64,
            SocketAddress::V6(_) => size_of::<libc::sockaddr_in6>() as u64,
        }
    }
}

impl From<SocketAddr> for SocketAddress {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(v4) => SocketAddress::V4(libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            }),
            SocketAddr::V6(v6) => SocketAddress::V6(libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            }),
        }
    }
}
