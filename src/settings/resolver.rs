//! Where names are looked up, as it is typed for `network-policy`.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// The port of DNS.
const DNS: u16 = 53;
const RULE: &str = "names are looked up at an address, as in 169.254.20.10, at addresses, as in 10.96.0.0/28, or in a \
                    namespace, as in kube-system or openshift-dns:5353";

/// Where names are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolver {
    /// Whose it is.
    pub whose: Whose,
    /// The port, by UDP and TCP: 1 to 65535.
    pub port: u16,
}

/// Whose a resolver is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Addresses, as CIDR.
    Block(String),
    /// Pods of a namespace.
    Namespace(String),
}

impl FromStr for Resolver {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Resolver, Self::Err> {
        let at = |whose, port| Resolver { whose, port };
        let one = |address: IpAddr| Whose::Block(format!("{address}/{}", bits(address)));
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(at(one(address), DNS));
        }
        if let Some(address) = text.parse::<SocketAddr>().ok().filter(|address| address.port() != 0) {
            return Ok(at(one(address.ip()), address.port()));
        }
        if let Some((address, length)) = text.split_once('/') {
            let address: IpAddr = address.parse().map_err(|_| RULE)?;
            let length = length.parse().ok().filter(|length| *length <= bits(address)).ok_or(RULE)?;
            let own = host_bits(address, length) == 0;
            return own
                .then(|| at(Whose::Block(format!("{address}/{length}")), DNS))
                .ok_or("the address of a block ends where its length says: 10.96.0.0/28, not 10.96.0.10/28");
        }
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, port.parse().ok().filter(|port| *port != 0).ok_or(RULE)?),
            None => (text, DNS),
        };
        match super::namespace(name).map_err(|_| RULE)?.0 {
            Some(name) => Ok(at(Whose::Namespace(name), port)),
            None => Err(RULE),
        }
    }
}

/// How long an address is, in bits.
const fn bits(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// What an address has behind the first `length` bits.
fn host_bits(address: IpAddr, length: u32) -> u128 {
    let value = match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    let rest = bits(address).saturating_sub(length);
    value & !u128::MAX.checked_shl(rest).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_is_an_address_a_block_or_a_namespace() {
        let block = |cidr: &str, port| Ok(Resolver { whose: Whose::Block(cidr.to_owned()), port });
        let namespace = |name: &str, port| Ok(Resolver { whose: Whose::Namespace(name.to_owned()), port });
        for (text, expected) in [
            ("169.254.20.10", block("169.254.20.10/32", 53)),
            ("169.254.20.10:5353", block("169.254.20.10/32", 5353)),
            ("fd00::10", block("fd00::10/128", 53)),
            ("[fd00::10]:54", block("fd00::10/128", 54)),
            ("10.96.0.0/28", block("10.96.0.0/28", 53)),
            ("fd00::/64", block("fd00::/64", 53)),
            ("0.0.0.0/0", block("0.0.0.0/0", 53)),
            ("kube-system", namespace("kube-system", 53)),
            ("openshift-dns:5353", namespace("openshift-dns", 5353)),
        ] {
            assert_eq!(text.parse::<Resolver>(), expected, "{text}");
        }
        for bad in [
            "",
            ":53",
            "dns:0",
            "dns:65536",
            "169.254.20.10:0",
            "10.0.0.0/33",
            "fd00::/129",
            "1.2.3",
            "a.b",
            "A",
            "10.0.0.0/",
        ] {
            assert_eq!(bad.parse::<Resolver>(), Err(RULE), "{bad}");
        }
        for ambiguous in ["10.96.0.10/28", "fd00::1/64", "1.0.0.0/0"] {
            let refused = ambiguous.parse::<Resolver>().unwrap_err();
            assert!(refused.contains("10.96.0.0/28, not"), "{ambiguous}: {refused}");
        }
    }
}
