use super::*;

/// The addresses that are not public, by class. Each range is given by its first and its last address.
const SPECIAL: &[(&str, &str, &str)] = &[
    ("this network", "0.0.0.0", "0.255.255.255"),
    ("private", "10.0.0.0", "10.255.255.255"),
    ("carrier-grade NAT", "100.64.0.0", "100.127.255.255"),
    ("loopback", "127.0.0.0", "127.255.255.255"),
    ("link-local, with the metadata service", "169.254.0.0", "169.254.255.255"),
    ("private", "172.16.0.0", "172.31.255.255"),
    ("protocol assignments", "192.0.0.0", "192.0.0.255"),
    ("documentation", "192.0.2.0", "192.0.2.255"),
    ("6to4 relays", "192.88.99.0", "192.88.99.255"),
    ("private", "192.168.0.0", "192.168.255.255"),
    ("benchmarks", "198.18.0.0", "198.19.255.255"),
    ("documentation", "198.51.100.0", "198.51.100.255"),
    ("documentation", "203.0.113.0", "203.0.113.255"),
    ("Azure's host", "168.63.129.16", "168.63.129.16"),
    ("multicast, reserved and broadcast", "224.0.0.0", "255.255.255.255"),
    // 0000::/3, except for the mapped and the translated addresses.
    ("unspecified, loopback and compatible", "::", "::ffff"),
    ("compatible", "::7f00:1", "::7f00:1"),
    ("local NAT64", "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
    ("discard", "100::", "100::ffff:ffff:ffff:ffff"),
    ("below global unicast", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("Teredo and protocol assignments", "2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("documentation", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("6to4", "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("documentation", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("above global unicast", "4000::", "5fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("unique local", "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("link-local", "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("site-local", "fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("multicast", "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
];

/// Public addresses next to the special ranges, and some well-known servers.
const PUBLIC: &[&str] = &[
    "1.0.0.0",
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "168.63.129.17",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.1.255",
    "192.0.3.0",
    "192.88.98.255",
    "192.88.100.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "198.51.101.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "2000::",
    "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "2001:200::",
    "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
    "2001:db9::",
    "2001:4860:4860::8888",
    "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "2003::",
    "2606:4700:4700::1111",
    "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "3fff:1000::",
];

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn both_ends_of_each_special_range_are_not_public() {
    for (class, first, last) in SPECIAL {
        for end in [first, last] {
            assert!(!is_public(address(end)), "{class}: {end}");
        }
    }
}

#[test]
fn the_neighbours_of_the_special_ranges_are_public() {
    for neighbour in PUBLIC {
        assert!(is_public(address(neighbour)), "{neighbour}");
    }
}

#[test]
fn an_ipv4_address_within_an_ipv6_address_is_judged_by_itself() {
    let inner = |text: &str| text.parse::<Ipv4Addr>().ok();
    let special = SPECIAL.iter().flat_map(|(_, first, last)| [*first, *last]).map(|text| (text, false));
    let all: Vec<_> = special.chain(PUBLIC.iter().map(|text| (*text, true))).collect();
    for (text, public) in all.iter().filter_map(|(text, public)| Some((inner(text)?, *public))) {
        assert_eq!(is_public(address(&format!("::ffff:{text}"))), public, "mapped {text}");
        assert_eq!(is_public(address(&format!("64:ff9b::{text}"))), public, "NAT64 {text}");
        // A relay in the sender's network would connect to the IPv4 address, so these are never public.
        let [a, b, c, d] = text.octets();
        assert!(!is_public(address(&format!("2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1"))), "6to4 {text}");
        let hidden = text.octets().map(|byte| !byte);
        let [a, b, c, d] = hidden;
        assert!(!is_public(address(&format!("2001:0:808:808::{a:02x}{b:02x}:{c:02x}{d:02x}"))), "Teredo {text}");
        assert!(!is_public(address(&format!("::{text}"))), "compatible {text}");
    }
    assert!(!is_public(address("64:ff9b:0:0:0:1:808:808")), "next to the prefix of NAT64");
    assert!(!is_public(address("::fffe:808:808")), "next to the prefix of mapped addresses");
}

/// The 33 addresses with which this rule was first tested, by class.
#[test]
fn the_thirty_three_addresses_are_judged() {
    let special = [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.192",
        "192.0.2.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
        "100.100.100.200",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001::1",
        "2001:db8::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ];
    let public = ["8.8.8.8", "2606:4700:4700::1111", "64:ff9b::808:808"];
    assert_eq!(special.len() + public.len(), 33);
    special.iter().for_each(|text| assert!(!is_public(address(text)), "{text}"));
    public.iter().for_each(|text| assert!(is_public(address(text)), "{text}"));
}

/// The forms in which a URL spells an address of this machine.
const FORMS: [&str; 15] = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f.1",
    "0x7f000001",
    "0177.0.0.1",
    "017700000001",
    "127.0.0.1.",
    "%31%32%37.0.0.1",
    "1２7.0.0.1",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "0.0.0.0",
];

fn judged(reach: Reach, url: &str) -> Result<(), UnsafeUrl> {
    reach.permits(&Url::parse(url).unwrap())
}

#[test]
fn no_form_of_a_literal_passes() {
    for form in FORMS {
        for port in ["", ":8443"] {
            let url = format!("https://{form}{port}/path");
            assert_eq!(judged(Reach::Public, &url), Err(UnsafeUrl::NotPublic), "{url}");
            assert_eq!(judged(Reach::Any, &url), Ok(()), "{url}");
            let plain = format!("http://{form}{port}/path");
            assert_eq!(judged(Reach::Public, &plain), Err(UnsafeUrl::NotEncrypted), "{plain}");
        }
    }
}

#[test]
fn the_loopback_is_a_literal_or_exactly_localhost() {
    let reach = Reach::PublicOrLoopback;
    for scheme in ["http", "https"] {
        for form in
            ["127.0.0.1", "127.1", "0x7f.1", "127.255.255.255", "[::1]", "localhost", "LOCALHOST", "localhost:80"]
        {
            assert_eq!(judged(reach, &format!("{scheme}://{form}/")), Ok(()), "{scheme} {form}");
        }
    }
    for form in ["[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "10.0.0.1", "localhost.", "a.localhost", "[::127.0.0.1]"] {
        assert_eq!(judged(reach, &format!("https://{form}/")), Err(UnsafeUrl::NotPublic), "{form}");
        assert_eq!(judged(reach, &format!("http://{form}/")), Err(UnsafeUrl::NotEncrypted), "{form}");
    }
    assert_eq!(judged(reach, "http://as.example.com/"), Err(UnsafeUrl::NotEncrypted));
    assert_eq!(judged(reach, "https://as.example.com/"), Ok(()));
}

#[test]
fn names_of_this_machine_are_not_public() {
    for name in ["localhost", "LocalHost", "localhost.", "a.localhost", "a.localhost."] {
        assert_eq!(judged(Reach::Public, &format!("https://{name}/")), Err(UnsafeUrl::NotPublic), "{name}");
    }
    for name in
        ["as.example.com", "localhost.example.com", "notlocalhost", "as.example.com:8443", "8.8.8.8", "[2606:4700::1]"]
    {
        assert_eq!(judged(Reach::Public, &format!("https://{name}/")), Ok(()), "{name}");
    }
}

#[test]
fn each_other_part_is_checked_for_every_reach() {
    for reach in [Reach::Any, Reach::Public, Reach::PublicOrLoopback] {
        for (url, why) in [
            ("ftp://as.example.com/", UnsafeUrl::Scheme),
            ("file:///etc/passwd", UnsafeUrl::Scheme),
            ("javascript:alert(1)", UnsafeUrl::Scheme),
            ("data:,x", UnsafeUrl::Scheme),
            ("https://user@as.example.com/", UnsafeUrl::Credentials),
            ("https://:pass@as.example.com/", UnsafeUrl::Credentials),
            ("https://user:pass@as.example.com/", UnsafeUrl::Credentials),
            ("https://as.example.com/#", UnsafeUrl::Fragment),
            ("https://as.example.com/#part", UnsafeUrl::Fragment),
        ] {
            assert_eq!(judged(reach, url), Err(why), "{url}");
        }
    }
    assert_eq!(judged(Reach::Any, "http://as.example.com/"), Ok(()));
    assert_eq!(judged(Reach::Public, "http://as.example.com/"), Err(UnsafeUrl::NotEncrypted));
}

#[test]
fn the_errors_are_about_the_url_without_its_text() {
    let error = judged(Reach::Public, "https://hush:hush@hush.example/").unwrap_err();
    assert!(!error.to_string().contains("hush"), "{error}");
}
