//! Networks in CIDR notation (RFC 4632, RFC 4291).

use std::net::IpAddr;

/// An address and the length of its network part. One of IPv4 addresses that is written as IPv6 is the IPv4
/// one from here on: what judges a network and what compares addresses with it read the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_len: u8,
}

fn bits(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

impl Network {
    /// Reads `address` or `address/length`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, len) = match text.split_once('/') {
            Some((address, len)) => (address, Some(len)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let (_, width) = bits(address);
        let prefix_len = match len {
            Some(len) if len.bytes().all(|b| b.is_ascii_digit()) => len.parse().ok()?,
            Some(_) => return None,
            None => width,
        };
        if prefix_len > width {
            return None;
        }
        let canonical = address.to_canonical();
        let is_mapped = canonical.is_ipv4() && address.is_ipv6();
        let prefix_len = if is_mapped { prefix_len.saturating_sub(96) } else { prefix_len };
        Some(Self { address: canonical, prefix_len })
    }

    /// Whether an address lies in the network. An IPv4 address that is written as IPv6 is the IPv4 one.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4()
            && (bits(address).0 ^ bits(self.address).0) & !self.host_mask() == 0
    }

    /// The bits that do not name the network, of 128.
    fn host_mask(&self) -> u128 {
        u128::MAX.checked_shr(u32::from(self.prefix_len)).unwrap_or(0)
    }

    /// Whether it lies in a network that is not routed on the internet (RFC 1918).
    fn is_private(&self) -> bool {
        let within = |address: [u8; 4], len| {
            let outer = Self { address: address.into(), prefix_len: len };
            self.prefix_len >= len && outer.contains(self.address)
        };
        within([10, 0, 0, 0], 8) || within([172, 16, 0, 0], 12) || within([192, 168, 0, 0], 16)
    }

    /// Whether networks together are narrow enough not to stand for the public: no more addresses than a
    /// network of /8 for IPv4 and /32 for IPv6 has, private ones not counted. Many narrow networks are a wide
    /// one.
    #[must_use]
    pub fn are_narrow(networks: &[Self]) -> bool {
        let of_family = |is_ipv4, prefix_len: u32| {
            let public = networks.iter().filter(|n| n.address.is_ipv4() == is_ipv4);
            let mut spans: Vec<(u128, u128)> = public
                .filter(|network| !network.is_private())
                .map(|network| {
                    let first = bits(network.address).0 & !network.host_mask();
                    (first, first | network.host_mask())
                })
                .collect();
            spans.sort_unstable();
            let (mut sum, mut from) = (0_u128, 0);
            for (first, last) in spans {
                let first = first.max(from);
                if first <= last {
                    sum = sum.saturating_add((last - first).saturating_add(1));
                    from = last.saturating_add(1);
                }
            }
            sum <= 1 << (128 - prefix_len)
        };
        of_family(true, 8) && of_family(false, 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "8.8.8.8", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("::ffff:10.0.0.0/104", "10.1.1.1", true),
            ("::ffff:10.0.0.0/104", "11.1.1.1", false),
            ("::ffff:0.0.0.0/96", "11.1.1.1", true),
            ("::ffff:0:0/33", "11.1.1.1", true),
            ("::ffff:0:0/33", "::1", false),
            ("255.255.255.255", "255.255.255.255", true),
            ("ffff::/0", "::1", true),
        ] {
            let parsed = Network::parse(network).expect(network);
            assert_eq!(parsed.contains(address.parse().expect(address)), expected, "{network}");
        }
        for text in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/+8", "10.0.0.0/", "a"] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }

    /// Goal: networks are as narrow as the addresses that they hold, however these are written.
    #[test]
    fn many_narrow_networks_are_a_wide_one() {
        let all: Vec<String> = (0..=255).map(|first| format!("{first}.0.0.0/8")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        for (networks, expected) in [
            (&["8.0.0.0/8"][..], true),
            (&["8.0.0.0/7"], false),
            (&["8.0.0.0/8", "9.0.0.0/9"], false),
            (&["8.0.0.0/8", "8.1.2.3", "8.0.0.0/8", "::ffff:8.0.0.0/104"], true),
            (&["9.0.0.0/9", "9.128.0.0/9"], true),
            (&["9.0.0.0/9", "9.128.0.0/9", "1.2.3.4"], false),
            (&["::ffff:0.0.0.0/96"], false),
            (&["::ffff:0:0/33"], false),
            (&["::ffff:8.0.0.0/104"], true),
            (&["::ffff:8.0.0.0/103"], false),
            (&["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "8.0.0.0/8"], true),
            (&["10.0.0.0/7"], false),
            (&["172.16.0.0/11", "8.0.0.0/8"], false),
            (&["0.0.0.0/0"], false),
            (&["::/0"], false),
            (&["0.0.0.0/0", "255.0.0.0/8"], false),
            (&["2001:db8::/32", "2001:db8:1::/48", "8.0.0.0/8"], true),
            (&["2001:db8::/32", "2001:db9::/128"], false),
            (&["ffff::/16", "ffff:ffff::/32"], false),
            (&[], true),
            (&all, false),
        ] {
            let parsed: Vec<_> =
                networks.iter().map(|text| Network::parse(text).expect(text)).collect();
            assert_eq!(Network::are_narrow(&parsed), expected, "{networks:?}");
        }
    }
}
