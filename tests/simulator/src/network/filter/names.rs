//! Names of protocols, services and ICMP types, as the platform's files and ipf have them.

use super::rule::Protocol;

/// usr/src/cmd/cmd-inet/etc/protocols, without IPv6's extension headers and what nobody filters.
const PROTOCOLS: &[(&str, u8)] = &[
    ("ip", 0),
    ("icmp", 1),
    ("igmp", 2),
    ("ipip", 4),
    ("tcp", 6),
    ("udp", 17),
    ("ipv6", 41),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ipv6-icmp", 58),
    ("ospf", 89),
    ("pim", 103),
    ("vrrp", 112),
    ("sctp", 132),
];

/// usr/src/cmd/cmd-inet/etc/services: name, port, whether TCP has it, whether UDP has it. Those that a guest's rules may
/// name, and those whose number is printed by name.
const SERVICES: &[(&str, u16, bool, bool)] = &[
    ("echo", 7, true, true),
    ("discard", 9, true, true),
    ("daytime", 13, true, true),
    ("ftp-data", 20, true, false),
    ("ftp", 21, true, false),
    ("ssh", 22, true, false),
    ("telnet", 23, true, false),
    ("smtp", 25, true, false),
    ("time", 37, true, true),
    ("domain", 53, true, true),
    ("bootps", 67, false, true),
    ("bootpc", 68, false, true),
    ("tftp", 69, false, true),
    ("http", 80, true, true),
    ("kerberos", 88, true, true),
    ("pop3", 110, true, false),
    ("sunrpc", 111, true, true),
    ("ntp", 123, true, true),
    ("imap", 143, true, false),
    ("snmpd", 161, false, true),
    ("ldap", 389, true, true),
    ("https", 443, true, true),
    ("ike", 500, false, true),
    ("syslog", 514, false, true),
    ("shell", 514, true, false),
    ("dhcpv6-client", 546, true, true),
    ("dhcpv6-server", 547, true, true),
    ("submission", 587, true, true),
    ("imaps", 993, true, true),
    ("pop3s", 995, true, true),
    ("openvpn", 1194, true, true),
    ("nfsd", 2049, true, true),
    ("mysql", 3306, true, true),
    ("lockd", 4045, true, true),
    ("postgresql", 5432, true, true),
    ("mdns", 5353, true, true),
    ("vnc-server", 5900, true, false),
    ("http-alt", 8080, true, true),
];

/// The ICMP types that ipf knows by name, usr/src/cmd/ipf/tools/ipf_y.y, `icmptypewords`, in the order of their numbers.
const ICMP_TYPES: &[(&str, u8)] = &[
    ("echorep", 0),
    ("unreach", 3),
    ("squench", 4),
    ("redir", 5),
    ("echo", 8),
    ("routerad", 9),
    ("routersol", 10),
    ("timex", 11),
    ("paramprob", 12),
    ("timest", 13),
    ("timestrep", 14),
    ("inforeq", 15),
    ("inforep", 16),
    ("maskreq", 17),
    ("maskrep", 18),
];

/// The number of a protocol: usr/src/cmd/ipf/lib/common/getproto.c, a number or a name.
pub fn protocol(name: &str) -> Option<u8> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    PROTOCOLS.iter().find(|(known, _)| *known == name).map(|&(_, number)| number)
}

/// A protocol's name, or its number.
pub fn protocol_name(number: u8) -> String {
    let name = PROTOCOLS.iter().find(|&&(_, known)| known == number).map(|&(name, _)| name.to_owned());
    name.unwrap_or_else(|| number.to_string())
}

/// The port of a service for a rule's protocol: usr/src/cmd/ipf/lib/common/getport.c. For `tcp/udp` both must agree; for a
/// rule without protocol the first of the name counts.
pub fn port(name: &str, protocol: Protocol) -> Option<u16> {
    SERVICES
        .iter()
        .find(|&&(known, _, tcp, udp)| {
            known == name
                && match protocol {
                    Protocol::Any => true,
                    Protocol::TcpUdp => tcp && udp,
                    Protocol::Number(6) => tcp,
                    Protocol::Number(17) => udp,
                    Protocol::Number(_) => false,
                }
        })
        .map(|&(_, port, ..)| port)
}

/// How a port is printed: usr/src/cmd/ipf/lib/common/portname.c. Without protocol as a number.
pub fn port_name(port: u16, protocol: Protocol) -> String {
    let known = |&&(_, number, tcp, udp): &&(&str, u16, bool, bool)| {
        number == port
            && match protocol {
                Protocol::TcpUdp => tcp && udp,
                Protocol::Number(6) => tcp,
                Protocol::Number(17) => udp,
                Protocol::Any | Protocol::Number(_) => false,
            }
    };
    let name = SERVICES.iter().find(known).map(|&(name, ..)| name.to_owned());
    name.unwrap_or_else(|| port.to_string())
}

/// The number of an ICMP type.
pub fn icmp_type(name: &str) -> Option<u8> {
    ICMP_TYPES.iter().find(|(known, _)| *known == name).map(|&(_, number)| number)
}

/// How an IPv4 ICMP type is printed.
pub fn icmp_type_name(number: u8) -> String {
    let name = ICMP_TYPES.iter().find(|&&(_, known)| known == number).map(|&(name, _)| name.to_owned());
    name.unwrap_or_else(|| number.to_string())
}
