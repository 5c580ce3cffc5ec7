//! Whose bytes in memory are counted together in the byte budget.

use crate::authorize::Sender;
use drystone_engine::Consumer;
use drystone_iam::Principal;
use drystone_identity::Identity;
use std::net::IpAddr;

/// What stands for the account of those without a signature: no account has this number.
const UNSIGNED: &str = "unsigned";

/// An identity, with all its keys and sessions; without a signature, the network that a request comes from.
pub(crate) fn consumer_of(sender: &Sender) -> Consumer {
    of_principal(sender.principal(), sender.peer.address)
}

/// The same of a request to another service of the server.
pub(crate) fn of_principal(principal: &Principal, address: IpAddr) -> Consumer {
    match principal {
        Principal::Anonymous | Principal::Federated { .. } => of_address(address),
        Principal::Root { account } => Consumer::of(account, &"root"),
        Principal::User { account, id, .. } => Consumer::of(account, &("user", id)),
        Principal::FederatedUser { account, name, .. } => {
            Consumer::of(account, &("federated", name))
        }
        // A part of the server acts by itself.
        Principal::Service { .. } => Consumer::BACKGROUND,
        // Sessions name themselves: all sessions of a role are one consumer.
        Principal::RoleSession { account, id, .. } => Consumer::of(account, &("role", id)),
    }
}

/// An identity, if there is one.
pub(crate) fn of_identity(identity: Option<&Identity>, address: IpAddr) -> Consumer {
    identity
        .map_or_else(|| of_address(address), |identity| of_principal(&identity.principal, address))
}

fn of_address(address: IpAddr) -> Consumer {
    match address.to_canonical() {
        IpAddr::V4(address) => Consumer::of(&UNSIGNED, &address),
        // A host commonly has all addresses of a /64.
        IpAddr::V6(address) => Consumer::of(&UNSIGNED, &&address.segments()[..4]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(one: &str, other: &str, is_same: bool) {
        let [one, other] = [one, other].map(|text| of_address(text.parse().expect("an address")));
        assert_eq!(one == other, is_same);
    }

    #[test]
    fn a_network_of_one_host_is_one_consumer() {
        check("10.0.0.1", "10.0.0.1", true);
        check("10.0.0.1", "::ffff:10.0.0.1", true);
        check("10.0.0.1", "10.0.0.2", false);
        check("2001:db8::1", "2001:db8::ffff:1", true);
        check("2001:db8::1", "2001:db8:0:1::1", false);
    }
}
