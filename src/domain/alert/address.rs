//! Which addresses an event may be sent to.
//!
//! An endpoint is chosen by whoever may write webhooks, and the service stands where it can reach what they cannot. So only
//! addresses of the public internet are taken, by what a name resolves to when the connection is made, not by how it reads.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is one of the public internet.
///
/// What is not: every block of the IANA special-purpose address registries (RFC 6890, as of 2026) that is not globally
/// reachable, multicast, and IPv6 addresses that carry such an IPv4 address (mapped, translated, 6to4).
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = matches!(
        (a, b, c),
        (0 | 10 | 127, _, _)                   // this network, private, loopback
            | (100, 64..=127, _)               // carrier-grade NAT (RFC 6598)
            | (169, 254, _)                    // link-local, and the metadata services of clouds
            | (172, 16..=31, _)                // private
            | (192, 0, 0 | 2)                  // protocol assignments, TEST-NET-1
            | (192, 88, 99)                    // 6to4 relays, deprecated
            | (192, 168, _)                    // private
            | (198, 18 | 19, _)                // benchmarks
            | (198, 51, 100)                   // TEST-NET-2
            | (203, 0, 113)                    // TEST-NET-3
            | (224..=255, _, _) // multicast, reserved, broadcast
    );
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, _, _, _, g, h] = address.segments();
    let carried = |high: u16, low: u16| {
        let [w, x] = high.to_be_bytes();
        let [y, z] = low.to_be_bytes();
        Ipv4Addr::new(w, x, y, z)
    };
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    match (a, b) {
        (0x64, 0xff9b) => c == 0 && is_public_v4(carried(g, h)), // NAT64; its local block 64:ff9b:1::/48 is not public
        (0x2002, _) => is_public_v4(carried(b, c)),              // 6to4
        (0x2001, 0x0000..=0x01ff | 0x0db8) | (0x3fff, 0..=0x0fff) => false, // Teredo and other protocols, documentation
        // Everything that is global unicast is in 2000::/3.
        _ => (a & 0xe000) == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_are_not_public() {
        let special = "0.0.0.0 10.0.0.1 100.64.0.1 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1 172.31.255.255
            192.0.0.1 192.0.2.1 192.168.1.1 198.18.0.1 198.19.255.255 198.51.100.7 203.0.113.9 224.0.0.1 240.0.0.1
            255.255.255.255 :: ::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::7f00:1 64:ff9b:1::1 100::1 2001::1 2001:db8::1
            2002:7f00:1:: 2002:a00:1:: 3fff::1 fc00::1 fd00:ec2::254 fe80::1 ff02::1 fec0::1 ::127.0.0.1";
        for address in special.split_whitespace() {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn addresses_beside_special_ones_are_public() {
        let public =
            "1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.0.0.1 128.0.0.1 169.253.0.1 169.255.0.1
            172.15.255.255 172.32.0.0 192.0.1.1 192.167.0.1 192.169.0.1 198.17.0.1 198.20.0.1 223.255.255.255
            2606:4700::1111 2a00:1450::8 2400:cb00::1 ::ffff:1.1.1.1 64:ff9b::101:101 2002:101:101::";
        for address in public.split_whitespace() {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }
}
