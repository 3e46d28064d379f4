//! Hosts a job may reach, as people write them.
//!
//! `crates.io`, `*.crates.io` (anything below it), `git.corp:8443`, `10.1.2.3`, `[::1]:8080`. Without a
//! port, those of HTTP and HTTPS. An address is only reached when it is written out as one.

use std::net::IpAddr;
use std::str::FromStr;

/// Ports of a pattern that names none.
const WEB_PORTS: [u16; 2] = [80, 443];

/// Longest name, as DNS has it.
const NAME_BYTES_MAX: usize = 253;

/// One line of an allow-list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    host: Host,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    Name(String),
    /// Everything below a name.
    Below(String),
}

impl HostPattern {
    /// Whether it allows a host, a name or an address as the caller wrote it, at a port.
    pub fn allows(&self, host: &str, port: u16) -> bool {
        if self.port.map_or(!WEB_PORTS.contains(&port), |own| own != port) {
            return false;
        }
        if let Some(address) = address(host) {
            return self.host == Host::Address(address);
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        match &self.host {
            Host::Address(_) => false,
            Host::Name(own) => *own == name,
            Host::Below(own) => {
                name.strip_suffix(own.as_str()).is_some_and(|rest| rest.ends_with('.') && rest.len() > 1)
            }
        }
    }

    /// Whether it names one host, and not all below a name: then that host may be on this machine.
    pub fn is_exact(&self) -> bool {
        !matches!(self.host, Host::Below(_))
    }
}

/// An address in any of the forms URLs have.
pub fn address(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}

impl FromStr for HostPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = match text.rsplit_once(':') {
            // The colons of a bare IPv6 address are no port's.
            Some(_) if text.parse::<IpAddr>().is_ok() || text.ends_with(']') => (text, None),
            Some((host, port)) => {
                let port = port.parse::<u16>().ok().filter(|&port| port > 0);
                (host, Some(port.ok_or_else(|| format!("`{text}` has no port after its colon"))?))
            }
            None => (text, None),
        };
        if let Some(address) = address(host) {
            return Ok(Self { host: Host::Address(address), port });
        }
        let (below, name) = match host.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, host),
        };
        let name = name.to_ascii_lowercase();
        let is_label = |label: &str| {
            let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            !label.is_empty() && label.len() <= 63 && label.bytes().all(good)
        };
        if name.len() > NAME_BYTES_MAX || !name.split('.').all(is_label) {
            return Err(format!("`{text}` is no host"));
        }
        // 127.1 and 2130706433 are addresses to some programs and names to others.
        if name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
            return Err(format!("`{text}` is neither a name nor a whole address"));
        }
        Ok(Self { host: if below { Host::Below(name) } else { Host::Name(name) }, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_allow_what_they_say() {
        for (pattern, host, port, allowed) in [
            ("crates.io", "crates.io", 443, true),
            ("crates.io", "CRATES.io.", 80, true),
            ("crates.io", "static.crates.io", 443, false),
            ("crates.io", "notcrates.io", 443, false),
            ("crates.io", "crates.io", 22, false),
            ("*.crates.io", "static.crates.io", 443, true),
            ("*.crates.io", "a.b.crates.io", 443, true),
            ("*.crates.io", "crates.io", 443, false),
            ("*.crates.io", ".crates.io", 443, false),
            ("*.crates.io", "evilcrates.io", 443, false),
            ("git.corp:8443", "git.corp", 8443, true),
            ("git.corp:8443", "git.corp", 443, false),
            ("10.1.2.3", "10.1.2.3", 443, true),
            ("10.1.2.3:5", "10.1.2.3", 5, true),
            ("[::1]:8080", "[::1]", 8080, true),
            ("::1", "::1", 80, true),
            ("localhost:1", "127.0.0.1", 1, false),
            ("*.1", "10.0.0.1", 443, false),
        ] {
            let Ok(parsed) = pattern.parse::<HostPattern>() else {
                assert!(!allowed, "{pattern}");
                continue;
            };
            assert_eq!(parsed.allows(host, port), allowed, "{pattern} {host}:{port}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for wrong in ["", "*", "*.", "a..b", "http://a.b", "a b", "a:0", "a:x", "127.1", "2130706433", "a/b", "*.*.b"] {
            assert!(wrong.parse::<HostPattern>().is_err(), "{wrong}");
        }
    }
}
