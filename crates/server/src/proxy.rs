//! Trusted proxies: what `X-Forwarded-For` and `X-Forwarded-Proto` say counts only as far as it was said by
//! proxies that the operator named.

use drystone_iam::Network;
use drystone_s3::Peer;
use http::{HeaderMap, HeaderValue};
use std::net::IpAddr;

/// Networks of proxies that are believed.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustedProxies {
    networks: Vec<Network>,
}

impl TrustedProxies {
    /// Reads networks separated by commas; the one that is none is the error.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let networks = names.map(|name| Network::parse(name).ok_or_else(|| name.to_owned()));
        Ok(Self { networks: networks.collect::<Result<_, _>>()? })
    }

    /// Whether an address is that of a proxy that is believed.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address.to_canonical()))
    }

    /// The client behind the proxies: the list is walked from its end, over trusted addresses only,
    /// since everything before the first one that is not could have been made up.
    pub(crate) fn client(&self, peer: Peer, headers: &HeaderMap) -> Peer {
        if self.networks.is_empty() || !self.trusts(peer.address) {
            return peer;
        }
        // What cannot be read stays: what a proxy put behind it is of this line.
        let text_of = |line: &HeaderValue| String::from_utf8_lossy(line.as_bytes()).into_owned();
        let lines = headers.get_all("x-forwarded-for").iter();
        let text = lines.map(text_of).collect::<Vec<_>>().join(",");
        let mut address = peer.address;
        for hop in text.rsplit(',') {
            let Some(hop) = parse_hop(hop.trim()) else { break };
            address = hop;
            if !self.trusts(hop) {
                break;
            }
        }
        // The last line is the one of the nearest proxy.
        let scheme = headers.get_all("x-forwarded-proto").iter().next_back().map(text_of);
        let is_secure =
            match scheme.as_deref().map(|scheme| scheme.rsplit(',').next().unwrap_or("").trim()) {
                Some(scheme) => scheme.eq_ignore_ascii_case("https"),
                None => peer.is_secure,
            };
        // Which version the client speaks, the proxy does not say.
        Peer { address, is_secure, tls: None }
    }
}

/// An address, with or without a port.
fn parse_hop(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Ok(address) = text.parse::<std::net::SocketAddr>() {
        return Some(address.ip());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(networks: &str, peer: &str, forwarded: &[&str], proto: Option<&str>, want: &str) {
        let proxies = TrustedProxies::parse(networks).expect("networks");
        let mut headers = HeaderMap::new();
        for line in forwarded {
            let line = HeaderValue::from_bytes(line.as_bytes()).expect("a header");
            headers.append("x-forwarded-for", line);
        }
        for proto in proto.into_iter().flat_map(|lines| lines.split('\n')) {
            let line = HeaderValue::from_bytes(proto.as_bytes()).expect("a header");
            headers.append("x-forwarded-proto", line);
        }
        let peer = Peer { address: peer.parse().expect("an address"), is_secure: false, tls: None };
        let client = proxies.client(peer, &headers);
        let secure = if client.is_secure { " tls" } else { "" };
        assert_eq!(format!("{}{secure}", client.address), want);
    }

    /// Goal: no header of a stranger counts, and no address that a stranger could have put in.
    #[test]
    fn only_what_trusted_proxies_say_counts() {
        let inner = "10.0.0.0/8, 127.0.0.1/32";
        check("", "127.0.0.1", &["1.2.3.4"], Some("https"), "127.0.0.1");
        check(inner, "9.9.9.9", &["1.2.3.4"], Some("https"), "9.9.9.9");
        check(inner, "10.0.0.1", &["1.2.3.4"], Some("https"), "1.2.3.4 tls");
        check(inner, "10.0.0.1", &["6.6.6.6, 1.2.3.4"], None, "1.2.3.4");
        check(inner, "10.0.0.1", &["6.6.6.6, 1.2.3.4, 10.0.0.9"], Some("http"), "1.2.3.4");
        check(inner, "10.0.0.1", &["6.6.6.6", "1.2.3.4:80"], None, "1.2.3.4");
        check(inner, "10.0.0.1", &["1.2.3.4, nonsense"], None, "10.0.0.1");
        check(inner, "10.0.0.1", &["1.2.3.4, nonsense, 10.0.0.2"], None, "10.0.0.2");
        check(inner, "10.0.0.1", &[], Some("http, https"), "10.0.0.1 tls");
        // Bytes that are no text take nothing of what a proxy wrote away.
        check(inner, "127.0.0.1", &["\u{ff}, 9.9.9.9"], None, "9.9.9.9");
        check(inner, "127.0.0.1", &["\u{ff}", "9.9.9.9"], None, "9.9.9.9");
        check(inner, "10.0.0.1", &["9.9.9.9"], Some("\u{ff}, http"), "9.9.9.9");
        check(inner, "10.0.0.1", &["9.9.9.9"], Some("https\nhttp"), "9.9.9.9");
        check("::1/128", "::1", &["[2001:db8::1]:443"], None, "2001:db8::1");
        assert!(TrustedProxies::parse("10.0.0.0/8,what").is_err());
    }
}
