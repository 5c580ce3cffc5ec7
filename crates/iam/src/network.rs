//! Networks in CIDR notation (RFC 4632, RFC 4291).

use std::net::IpAddr;

/// An address and the length of its network part.
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
        (prefix_len <= width).then_some(Self { address, prefix_len })
    }

    /// Whether an address lies in the network. An IPv4 address that is written as IPv6 is the IPv4 one.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (address, own) = (address.to_canonical(), self.address.to_canonical());
        if address.is_ipv4() != own.is_ipv4() {
            return false;
        }
        let mapped = own.is_ipv4() && self.address.is_ipv6();
        let prefix_len = if mapped { self.prefix_len.saturating_sub(96) } else { self.prefix_len };
        if prefix_len == 0 {
            return true;
        }
        let shift = 128 - u32::from(prefix_len);
        bits(address).0 >> shift == bits(own).0 >> shift
    }

    /// Whether it is narrow enough not to stand for the public: /8 for IPv4, /32 for IPv6.
    #[must_use]
    pub fn is_narrow(&self) -> bool {
        self.prefix_len >= if self.address.is_ipv4() { 8 } else { 32 }
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
        ] {
            let parsed = Network::parse(network).expect(network);
            assert_eq!(parsed.contains(address.parse().expect(address)), expected, "{network}");
        }
        for text in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/+8", "10.0.0.0/", "a"] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }
}
