//! Networks in CIDR notation, for lists of the peers a feed takes messages from.
//!
//! <https://www.rfc-editor.org/rfc/rfc4632>, <https://www.rfc-editor.org/rfc/rfc4291#section-2.3>.
//!
//! Left out on purpose: host names. What a name stands for can change between the check and the connection.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Bits that IPv4 addresses are moved by inside of IPv6 (`::ffff:0:0/96`).
const MAPPED_BITS: u8 = 96;

/// Addresses that share their first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether an address lies in it. An IPv4 address in IPv6 form is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (own, own_bits) = wide(self.address, self.bits);
        let (other, _) = wide(address, 0);
        let shift = 128 - u32::from(own_bits);
        own.checked_shr(shift).unwrap_or(0) == other.checked_shr(shift).unwrap_or(0)
    }
}

/// As IPv6, so that both kinds compare.
fn wide(address: IpAddr, bits: u8) -> (u128, u8) {
    match address {
        IpAddr::V4(v4) => (
            v4.to_ipv6_mapped().to_bits(),
            bits.saturating_add(MAPPED_BITS).min(128),
        ),
        IpAddr::V6(v6) => (Ipv6Addr::to_bits(v6), bits.min(128)),
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            || "a network is an address such as 10.1.2.3, or one with bits, 10.1.0.0/16".to_owned();
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().map_err(|_| wrong())?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => bits_max,
            Some(bits) => bits.trim().parse().map_err(|_| wrong())?,
        };
        if bits > bits_max {
            return Err(wrong());
        }
        Ok(Self { address, bits })
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// Whether a peer may send: anybody may when the list is empty.
pub fn is_allowed(allow: &[Network], peer: IpAddr) -> bool {
    allow.is_empty() || allow.iter().any(|network| network.contains(peer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_in_their_networks_and_in_no_other() {
        for (network, address, is_inside) in [
            ("10.1.0.0/16", "10.1.255.3", true),
            ("10.1.0.0/16", "10.2.0.1", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("10.1.2.3", "::ffff:10.1.2.3", true),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "192.0.2.1", true),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(
                network.contains(address.parse().unwrap()),
                is_inside,
                "{network} {address}"
            );
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "host",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0/8",
            "::1/129",
            "10.0.0.1/",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
