//! A socket address in the bytes that the kernel takes.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

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

    /// Writes it to the beginning of `words`.
    pub(super) fn write_to(&self, words: &mut [u64]) {
        let bytes = self.len() as usize;
        assert!(bytes <= size_of_val(words), "room for any address");
        let from = self.as_ptr();
        // SAFETY: there is so much room, and so much of `self`, which is elsewhere.
        unsafe { from.copy_to_nonoverlapping(words.as_mut_ptr().cast(), bytes) };
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

/// The address that the kernel has written to `words`; none if it is no IP address.
pub(super) fn socket_addr(words: &[u64]) -> Option<SocketAddr> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let family = i32::from(u16::from_ne_bytes(*bytes.first_chunk()?));
    let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
    let number = |at: usize| Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
    match family {
        libc::AF_INET => {
            let ip: [u8; 4] = *bytes.get(4..)?.first_chunk()?;
            Some((Ipv4Addr::from(ip), port).into())
        }
        libc::AF_INET6 => {
            let ip: [u8; 16] = *bytes.get(8..)?.first_chunk()?;
            let (flow, scope) = (number(4)?, number(24)?);
            Some(SocketAddrV6::new(Ipv6Addr::from(ip), port, flow, scope).into())
        }
        _ => None,
    }
}
