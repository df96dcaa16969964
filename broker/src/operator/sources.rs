//! Where a user may come from: networks, as `192.0.2.0/24`.

use std::net::IpAddr;

/// Addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads `address/bits`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let first: IpAddr = address.parse().ok()?;
        let most = if first.is_ipv4() { 32 } else { 128 };
        let digits = !bits.is_empty() && bits.len() <= 3 && bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits = bits.parse().ok().filter(|bits| digits && *bits <= most)?;
        Some(Self { first, bits })
    }

    /// Whether the address is one of them. An address of version 4 is the same in both of its forms.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        let (own, other) = (self.first.to_canonical(), address.to_canonical());
        let (own, other, width) = match (own, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (u128::from(u32::from(own)), u128::from(u32::from(other)), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => (u128::from(own), u128::from(other), 128),
            _ => return false,
        };
        // Of a version 4 address that was written in the form of version 6, the first 96 bits are that form.
        let of_form = if self.first.is_ipv6() && width == 32 { 96 } else { 0 };
        let bits = u32::from(self.bits).saturating_sub(of_form);
        let shift = u32::from(u8::try_from(width).unwrap_or(128)) - bits.min(width);
        own.checked_shr(shift).unwrap_or(0) == other.checked_shr(shift).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_their_addresses() {
        for (network, address, has) in [
            ("192.0.2.0/24", "192.0.2.200", true),
            ("192.0.2.0/24", "192.0.3.1", false),
            ("192.0.2.7/32", "192.0.2.7", true),
            ("192.0.2.7/32", "192.0.2.8", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("192.0.2.0/24", "::ffff:192.0.2.1", true),
            ("::/0", "::1", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("0.0.0.0/0", "::1", false),
        ] {
            let found = Network::parse(network).unwrap().has(address.parse().unwrap());
            assert_eq!(found, has, "{network} {address}");
        }
        for text in ["", "192.0.2.0", "192.0.2.0/33", "192.0.2.0/", "192.0.2.0/+8", "::/129", "x/8", "1.2.3/8"] {
            assert!(Network::parse(text).is_none(), "{text}");
        }
    }
}
