//! Trusted proxies: what `X-Forwarded-For` and `X-Forwarded-Proto` say counts only as far as it was said by
//! proxies that the operator named.

use drystone_iam::Network;
use drystone_s3::Peer;
use http::{HeaderMap, HeaderValue};
use std::net::IpAddr;

/// A trusted proxy does not say who its client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "X-Forwarded-For, sent by a trusted proxy, names no address where that of its client should be"
)]
pub(crate) struct UnknownClient;

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

    /// Whether a request says that it was forwarded, and is not believed: the limits of one address are those
    /// of all clients of a proxy that was not named.
    pub(crate) fn is_unnamed(&self, address: IpAddr, headers: &HeaderMap) -> bool {
        let is_forwarded =
            ["x-forwarded-for", "forwarded"].iter().any(|name| headers.contains_key(*name));
        is_forwarded && !self.trusts(address)
    }

    /// The client behind the proxies: the list is walked from its end, over trusted addresses only,
    /// since everything before the first one that is not could have been made up.
    ///
    /// # Errors
    ///
    /// A trusted proxy names no address. It must not be taken for the client itself: a policy that allows
    /// its network would let everybody in.
    pub(crate) fn client(&self, peer: Peer, headers: &HeaderMap) -> Result<Peer, UnknownClient> {
        if self.networks.is_empty() || !self.trusts(peer.address) {
            return Ok(peer);
        }
        let mut address = peer.address;
        let lines = headers.get_all("x-forwarded-for").iter().rev();
        for hop in lines.flat_map(hops_from_end) {
            address = parse_hop(hop).ok_or(UnknownClient)?;
            if !self.trusts(address) {
                break;
            }
        }
        // The last line is the one of the nearest proxy.
        let schemes = headers.get_all("x-forwarded-proto").iter().next_back();
        let is_secure = match schemes.and_then(|line| hops_from_end(line).next()) {
            Some(scheme) => scheme.eq_ignore_ascii_case(b"https"),
            None => peer.is_secure,
        };
        // Which version the client speaks, the proxy does not say.
        Ok(Peer { address, is_secure, tls: None, cipher: None })
    }
}

/// The parts of a line, the last one first. They are bytes: one that is no text takes nothing away of
/// what proxies put behind it.
fn hops_from_end(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    line.as_bytes().rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// An address, with or without a port.
fn parse_hop(bytes: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(bytes).ok()?;
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
        let address = peer.parse().expect("an address");
        let peer = Peer { address, is_secure: false, tls: None, cipher: None };
        let found = match proxies.client(peer, &headers) {
            Ok(client) if client.is_secure => format!("{} tls", client.address),
            Ok(client) => client.address.to_string(),
            Err(UnknownClient) => "refused".to_owned(),
        };
        assert_eq!(found, want);
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
        check(inner, "10.0.0.1", &["1.2.3.4, nonsense"], None, "refused");
        check(inner, "10.0.0.1", &["1.2.3.4, nonsense, 10.0.0.2"], None, "refused");
        check(inner, "10.0.0.1", &["nonsense, 1.2.3.4, 10.0.0.2"], None, "1.2.3.4");
        check(inner, "10.0.0.1", &[], None, "10.0.0.1");
        check(inner, "10.0.0.1", &[], Some("http, https"), "10.0.0.1 tls");
        // Bytes that are no text take nothing of what a proxy wrote away.
        check(inner, "127.0.0.1", &["\u{ff}, 9.9.9.9"], None, "9.9.9.9");
        check(inner, "127.0.0.1", &["\u{ff}", "9.9.9.9"], None, "9.9.9.9");
        check(inner, "10.0.0.1", &["9.9.9.9"], Some("\u{ff}, http"), "9.9.9.9");
        check(inner, "10.0.0.1", &["9.9.9.9"], Some("https\nhttp"), "9.9.9.9");
        check("::1/128", "::1", &["[2001:db8::1]:443"], None, "2001:db8::1");
        assert!(TrustedProxies::parse("10.0.0.0/8,what").is_err());
    }

    /// Goal: a client that sends a header which its proxy completes, or passes on, is never taken for the
    /// proxy.
    #[test]
    fn a_proxy_is_not_its_client() {
        let check = |lines: &[&str], want| check("10.0.0.0/8", "10.0.0.1", lines, None, want);
        for text in ["\u{ff}", "", ",", "unknown", "_hidden", "9.9.9.9:99999", "9.9.9.9 \u{e4}"] {
            check(&[&format!("{text}, 9.9.9.9")], "9.9.9.9");
            check(&[text, "9.9.9.9"], "9.9.9.9");
            check(&[text, "9.9.9.9, 10.0.0.7"], "9.9.9.9");
            check(&[text], "refused");
            check(&["9.9.9.9", text], "refused");
            check(&[&format!("9.9.9.9, {text}")], "refused");
            check(&[text, "10.0.0.7"], "refused");
        }
    }
}
