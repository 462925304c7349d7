//! Tests of reading settings: every key, every kind of mistake, and the example that is shipped.

use std::path::PathBuf;

use super::{Certificate, Config, Registration, keys::KEYS, listing, reference};

const EXAMPLE: &str = include_str!("../../systemd/lampone.toml");

fn file(text: &str) -> Result<Config, Vec<String>> {
    Config::read(Some(("a.toml", text)), &[], Config::default())
}

fn sets(sets: &[&str]) -> Result<Config, Vec<String>> {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    Config::read(None, &sets, Config::default())
}

/// The mistakes of a file, one a line.
fn mistakes(text: &str) -> String {
    file(text).expect_err(text).join("\n")
}

/// The mistakes of settings on the command line.
fn set_mistakes(given: &[&str]) -> String {
    sets(given).expect_err(given[0]).join("\n")
}

fn sockets(list: &[&str]) -> Vec<std::net::SocketAddr> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

/// Settings of which no value is the default.
fn all_different() -> Config {
    file(
        r#"
        domain = ["Capulet.lit", "xn--mnchen-3ya.example"]
        data = "/srv/lampone"
        admins = ["Juliet@capulet.lit"]
        log = "trace"
        registration.policy = "closed"
        hosts.pubsub = "Knoten"
        [listen]
        c2s = ["127.0.0.1:1", 2, ":3", "[::1]:4"]
        c2s_tls = []
        s2s = "127.0.0.1:6"
        s2s_tls = "127.0.0.1:7"
        https = 44
        http = "127.0.0.1:5"
        component = "[::1]:8"
        location = "Chat.Capulet.lit:5"
        admin = "/run/lampone.sock"
        [web]
        url = "https://Chat.München.example:8443/"
        client = "/srv/converse"
        proxies = ["127.0.0.1", "fd00::/8"]
        [upload]
        file_bytes = 1
        day_bytes = "2 GiB"
        total_bytes = "1024 GiB"
        [dns]
        servers = ["127.0.0.1:53", "[::1]:53"]
        [tls]
        roots = "roots.pem"
        certificate = "chain.pem"
        key = "key.pem"
        [certificates."MÜNCHEN.example"]
        certificate = "m.pem"
        key = "m.key"
        [contact]
        abuse = ["mailto:a@capulet.lit", "xmpp:b@capulet.lit"]
        admin = "mailto:c@capulet.lit"
        feedback = "mailto:d@capulet.lit"
        sales = "mailto:e@capulet.lit"
        security = "mailto:f@capulet.lit"
        status = "https://capulet.lit/"
        support = "mailto:g@capulet.lit"
        [federation]
        enabled = false
        allow = ["Montague.lit"]
        block = "evil.example"
        require_certificate = true
        [components."Bridge.capulet.lit"]
        secret = "correct horse battery"
        roster = "both"
        message = "outgoing"
        iq = ["http://jabber.org/protocol/pubsub", "get jabber:iq:private"]
        presence = "managed_entity"
        delegate = ["urn:xmpp:mam:2 node", "urn:a"]
        [limits]
        stanza_bytes = "64 KiB"
        streams = 10
        failures_per_address = 11
        failures_per_account = 12
        peer_bytes = "1 MiB"
        peer_stanzas = 17
        client_bytes = 0
        client_stanzas = 18
        offline_messages = 13
        cache_bytes = "4MiB"
        [retention]
        resume = "30m"
        resume_push = "2d"
        offline_days = 14
        upload_days = 16
        device_days = 15
        "#,
    )
    .unwrap()
}

#[test]
fn every_key_reaches_its_place() {
    let config = all_different();
    assert_eq!(config.domains, ["capulet.lit", "münchen.example"]);
    assert_eq!(config.data, PathBuf::from("/srv/lampone"));
    assert_eq!(config.admins, ["juliet@capulet.lit"]);
    assert_eq!(config.log, log::LevelFilter::Trace);
    assert_eq!(config.registration, Registration::Closed);
    assert_eq!(config.listen.c2s, sockets(&["127.0.0.1:1", "[::]:2", "[::]:3", "[::1]:4"]));
    assert_eq!(config.listen.c2s_tls, []);
    assert_eq!((&config.listen.https, &config.listen.http), (&sockets(&["[::]:44"]), &sockets(&["127.0.0.1:5"])));
    assert_eq!((&config.listen.s2s, &config.listen.s2s_tls), (&sockets(&["127.0.0.1:6"]), &sockets(&["127.0.0.1:7"])));
    assert_eq!(
        (config.roots.to_str(), &config.resolvers),
        (Some("roots.pem"), &sockets(&["127.0.0.1:53", "[::1]:53"]))
    );
    assert_eq!(config.web.url.as_deref(), Some("https://chat.xn--mnchen-3ya.example:8443"));
    let networks = ["127.0.0.1", "fd00::/8"].map(|text| super::Network::parse(text).unwrap());
    assert_eq!(config.web.proxies, networks);
    assert_eq!(config.web.client, Some("/srv/converse".into()));
    let upload = &config.upload;
    assert_eq!((upload.file_bytes, upload.day_bytes, upload.total_bytes), (1, 2 << 30, 1 << 40));
    assert_eq!(config.listen.location.as_deref(), Some("chat.capulet.lit:5"));
    assert_eq!(config.listen.admin, Some("/run/lampone.sock".into()));
    assert_eq!(config.tls, Some(Certificate { certificate: "chain.pem".into(), key: "key.pem".into() }));
    let munich = Certificate { certificate: "m.pem".into(), key: "m.key".into() };
    assert_eq!(config.certificates, [("münchen.example".to_owned(), munich)].into());
    assert_eq!(config.contact["abuse-addresses"], ["mailto:a@capulet.lit", "xmpp:b@capulet.lit"]);
    assert_eq!(config.contact["status-addresses"], ["https://capulet.lit/"]);
    let roles: Vec<_> = config.contact.keys().map(|role| role.trim_end_matches("-addresses")).collect();
    assert_eq!(roles, ["abuse", "admin", "feedback", "sales", "security", "status", "support"]);
    assert_eq!(config.hosts.pubsub.as_deref(), Some("knoten"));
    let federation = super::Federation {
        enabled: false,
        allow: vec!["montague.lit".into()],
        block: vec!["evil.example".into()],
        require_certificate: true,
    };
    assert_eq!(config.federation, federation);
    assert_eq!(config.listen.component, sockets(&["[::1]:8"]));
    let bridge = super::Component {
        secret: "correct horse battery".into(),
        roster: super::Access::Both,
        message: true,
        iq: [
            ("http://jabber.org/protocol/pubsub".to_owned(), super::Access::Both),
            ("jabber:iq:private".to_owned(), super::Access::Get),
        ]
        .into(),
        presence: true,
        delegate: [("urn:xmpp:mam:2".to_owned(), vec!["node".to_owned()]), ("urn:a".to_owned(), Vec::new())].into(),
    };
    assert_eq!(config.components, [("bridge.capulet.lit".to_owned(), bridge)].into());
    let limits = &config.limits;
    assert_eq!((limits.stanza_bytes, limits.cache_bytes, limits.streams), (64 << 10, 4 << 20, 10));
    assert_eq!((limits.failures_per_address, limits.failures_per_account, limits.offline_messages), (11, 12, 13));
    let (peer, client) = (limits.peer_rate, limits.client_rate);
    assert_eq!((peer.bytes, peer.stanzas, client.bytes, client.stanzas), (1 << 20, 17, 0, 18));
    let kept = &config.retention;
    assert_eq!((kept.resume_s, kept.resume_push_s, kept.offline_days, kept.device_days), (1_800, 172_800, 14, 15));
    assert_eq!(kept.upload_days, 16);
}

#[test]
fn the_defaults_in_the_table_are_the_defaults() {
    assert_eq!(file(""), Ok(Config::default()));
    let all: String = (KEYS.iter().filter(|key| !key.default.is_empty()))
        .map(|key| format!("{} = {}\n", key.name, key.default))
        .collect();
    let changed = all_different();
    // What has no default cannot be taken back by a file.
    let kept = Config {
        listen: super::Listen { admin: changed.listen.admin.clone(), ..Config::default().listen },
        tls: changed.tls.clone(),
        web: super::Web { client: changed.web.client.clone(), ..Config::default().web },
        ..Config::default()
    };
    let base = Config { certificates: Default::default(), components: Default::default(), ..changed };
    assert_eq!(Config::read(Some(("a.toml", &all)), &[], base), Ok(kept));
}

#[test]
fn every_key_refuses_what_it_does_not_take_and_says_what_it_takes() {
    for key in KEYS {
        let name = key.written("\"localhost\"");
        let wrong = if key.default.parse::<bool>().is_ok() { "0" } else { "true" };
        for value in [wrong, "-1", "1.5", "{}", "2026-01-01", "[[ ]]", "\"\\u0000 \"", "99999999999999999999"] {
            let line = mistakes(&format!("# first\n{name} = {value}\n"));
            assert!(line.starts_with(&format!("a.toml:2: {name}: found ")), "{line}");
            // Of a list, the item is shown.
            assert!(line.contains(value.trim_start_matches('[').trim_end_matches(']')), "{line}");
            assert!(line.ends_with(&format!("give {}", key.takes)), "{line}");
            assert_eq!(line.lines().count(), 1, "{line}");
        }
    }
}

#[test]
fn every_key_can_be_given_on_the_command_line() {
    let given = [
        "domain=capulet.lit, montague.lit",
        "data=/srv/lampone",
        "listen.c2s=127.0.0.1:1,:2",
        "listen.c2s_tls=none",
        "listen.s2s=5269",
        "listen.s2s_tls=5270",
        "tls.roots=roots.pem",
        "dns.servers=192.0.2.1:53",
        "listen.https=8443",
        "listen.http=127.0.0.1:80",
        "listen.component=127.0.0.1:1234",
        "listen.proxy_protocol=127.0.0.1",
        "listen.passthrough=127.0.0.1:8443",
        "listen.acme=127.0.0.1:5081",
        "listen.location=[2001:DB8::1]:6",
        "listen.admin=/run/l.sock",
        "tls.certificate=chain.pem",
        "tls.key=key.pem",
        "certificates.montague.lit.certificate=m.pem",
        "certificates.\"montague.lit\".key = \"m.key\"",
        "admins=juliet@capulet.lit,romeo@montague.lit",
        "contact.abuse=mailto:a@capulet.lit,mailto:b@capulet.lit",
        "contact.admin=[\"mailto:c@capulet.lit\"]",
        "contact.feedback=mailto:d@capulet.lit",
        "contact.sales=mailto:e@capulet.lit",
        "contact.security=mailto:f@capulet.lit",
        "contact.status=https://capulet.lit/",
        "contact.support=mailto:g@capulet.lit",
        "log=debug",
        "registration.policy=closed",
        "web.url=https://capulet.lit",
        "web.client=/srv/converse",
        "web.proxies=127.0.0.1,10.0.0.0/8",
        "upload.file_bytes=0",
        "upload.day_bytes=1 KiB",
        "upload.total_bytes=2 KiB",
        "retention.upload_days=0",
        "hosts.pubsub=knoten",
        "hosts.rooms=stube",
        "hosts.upload=ablage",
        "rooms.invite_tokens=true",
        "federation.enabled=false",
        "federation.allow=a.example, b.example",
        "federation.block=",
        "federation.require_certificate=true",
        "components.bridge.capulet.lit.secret=correct horse, battery",
        "components.bridge.capulet.lit.roster=get",
        "components.bridge.capulet.lit.message=outgoing",
        "components.bridge.capulet.lit.iq=set urn:a, urn:b",
        "components.bridge.capulet.lit.presence=managed_entity",
        "components.bridge.capulet.lit.delegate=urn:a, urn:b node",
        "limits.stanza_bytes=10000",
        "limits.streams=10",
        "limits.failures_per_address=11",
        "limits.failures_per_account=12",
        "limits.peer_bytes=1 MiB",
        "limits.peer_stanzas=0",
        "limits.client_bytes=1 MiB",
        "limits.client_stanzas=1",
        "limits.offline_messages=0",
        "limits.cache_bytes=64 KiB",
        "retention.resume=90s",
        "retention.resume_push=0",
        "retention.offline_days=14",
        "retention.archive_days=30",
        "retention.archive_bytes=1 GiB",
        "retention.device_days=15",
    ];
    assert_eq!(given.len(), KEYS.len());
    let config = sets(&given).unwrap();
    assert_eq!(config.domains, ["capulet.lit", "montague.lit"]);
    assert_eq!(config.listen.c2s, sockets(&["127.0.0.1:1", "[::]:2"]));
    assert_eq!(config.listen.c2s_tls, []);
    assert_eq!(config.listen.location.as_deref(), Some("[2001:db8::1]:6"));
    assert_eq!(config.certificates["montague.lit"].key, PathBuf::from("m.key"));
    assert_eq!(config.admins, ["juliet@capulet.lit", "romeo@montague.lit"]);
    assert_eq!(config.contact["abuse-addresses"], ["mailto:a@capulet.lit", "mailto:b@capulet.lit"]);
    assert_eq!(config.log, log::LevelFilter::Debug);
    assert_eq!(config.federation.allow, ["a.example", "b.example"]);
    assert!(config.federation.require_certificate && !config.federation.enabled);
    assert_eq!((config.limits.stanza_bytes, config.limits.cache_bytes), (10_000, 65_536));
    assert_eq!((config.retention.resume_s, config.retention.resume_push_s), (90, 0));
}

#[test]
fn the_command_line_beats_the_file_and_the_file_beats_the_base() {
    let base = Config { domains: vec!["host.example".into()], data: "/base".into(), ..Config::default() };
    let text = "data = \"/file\"\nlimits.streams = 5\ntls.certificate = \"file.pem\"\ntls.key = \"file.key\"";
    let sets = ["limits.streams=6".to_owned(), "limits.streams=7".to_owned(), "tls.key=set.key".to_owned()];
    let config = Config::read(Some(("a.toml", text)), &sets, base).unwrap();
    assert_eq!(config.domains, ["host.example"]);
    assert_eq!(config.data, PathBuf::from("/file"));
    assert_eq!(config.limits.streams, 7);
    assert_eq!(config.tls, Some(Certificate { certificate: "file.pem".into(), key: "set.key".into() }));
}

#[test]
fn a_location_is_a_host_and_perhaps_a_port() {
    for (text, location) in [("192.0.2.1", "192.0.2.1"), ("[::1]", "[::1]"), ("München.example:1", "münchen.example:1")]
    {
        let config = sets(&[&format!("listen.location={text}")]).unwrap();
        assert_eq!(config.listen.location.as_deref(), Some(location));
    }
    for text in
        ["", "::1", "2001:db8::1:5222", "host:", "host:0", "host:65536", "host:http", "a b", "a/b", "a@b", "[::1"]
    {
        assert!(sets(&[&format!("listen.location={text}")]).is_err(), "{text}");
    }
}

#[test]
fn a_whole_table_can_be_given_on_the_command_line() {
    let config = sets(&["tls={certificate=\"a\", key=\"b\"}", "admins="]).unwrap();
    assert_eq!(config.tls, Some(Certificate { certificate: "a".into(), key: "b".into() }));
}

#[test]
fn unknown_keys_name_the_nearest() {
    let nearest = |text: &str| mistakes(text);
    assert_eq!(
        nearest("\n[limits]\nstanza_byte = 1"),
        "a.toml:3: limits.stanza_byte: unknown key; the nearest is limits.stanza_bytes"
    );
    for (text, near) in [
        ("domian = 'a.example'", "domain"),
        ("admin = 'a@localhost'", "admins"),
        ("stanza_bytes = 20000", "limits.stanza_bytes"),
        ("[limit]\nstreams = 1", "limits"),
        ("[listen]\nc2s-tls = 1", "listen.c2s_tls"),
        ("[certificates.'a.example']\ncert = 'x'", "certificates.\"a.example\".certificate"),
        ("\"\" = 1", "log"),
    ] {
        let line = nearest(text);
        assert!(line.ends_with(&format!("the nearest is {near}")), "{line}");
    }
    assert!(mistakes("domain.first = 'a'").starts_with("a.toml:1: domain: found "), "a value is no section");
    assert_eq!(set_mistakes(&["log_level=info"]), "--set log_level: unknown key; the nearest is log");
}

#[test]
fn the_web_door_has_an_address() {
    let url = |given: &[&str]| sets(given).unwrap().web_url("münchen.example");
    assert_eq!(url(&[]).as_deref(), Some("https://xn--mnchen-3ya.example:5443"));
    assert_eq!(url(&["listen.https=127.0.0.1:443"]).as_deref(), Some("https://xn--mnchen-3ya.example"));
    assert_eq!(url(&["listen.https=none"]), None);
    assert_eq!(url(&["listen.https=none", "web.url=https://a.example:1/"]).as_deref(), Some("https://a.example:1"));
    for odd in
        ["http://a.example", "a.example", "https://", "https://a.example/b", "https://a.example:0", "https://a b"]
    {
        assert!(sets(&[&format!("web.url={odd}")]).is_err(), "{odd}");
    }
    let config = sets(&["domain=münchen.example", "web.url=https://chat.example:1"]).unwrap();
    for (name, ours) in [
        ("münchen.example", true),
        ("xn--mnchen-3ya.example", true),
        ("chat.example", true),
        ("example", false),
        ("localhost", false),
        ("", false),
    ] {
        assert_eq!(config.is_web_name(name), ours, "{name}");
    }
}

#[test]
fn sections_are_tables() {
    assert_eq!(
        mistakes("listen = 5222"),
        "a.toml:1: listen: found 5222; give its keys listen.c2s, listen.c2s_tls, listen.s2s, listen.s2s_tls, listen.https, \
         listen.http, listen.component, listen.proxy_protocol, listen.passthrough, listen.acme, listen.location, \
         listen.admin"
    );
    assert_eq!(
        set_mistakes(&["certificates.localhost=x.pem"]),
        "--set certificates.localhost: found x.pem; give its keys certificates.\"example.org\".certificate, \
         certificates.\"example.org\".key"
    );
}

#[test]
fn all_mistakes_are_told_in_the_order_of_the_text() {
    let text = "retention.resume = \"1y\"\nlog = \"loud\"\n[limits]\nstreams = 0\nfish = 1\n";
    let sets = ["log".to_owned(), "data=".to_owned()];
    let lines = Config::read(Some(("a.toml", text)), &sets, Config::default()).unwrap_err();
    let starts = [
        "a.toml:1: retention.resume: found \"1y\" (unknown unit); give seconds, or a time",
        "a.toml:2: log: found \"loud\"; give \"error\", \"warn\"",
        "a.toml:4: limits.streams: found 0 (too small); give a whole number from 1 to 1000000",
        "a.toml:5: limits.fish: unknown key; the nearest is limits.",
        "--set: found log; give key=value",
        "--set data: found nothing (empty); give a path in quotes",
    ];
    assert_eq!(lines.len(), starts.len(), "{lines:#?}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
}

#[test]
fn broken_toml_names_its_line() {
    let line = mistakes("log = \"info\"\ndomain = [\"a\"\nx\n");
    assert!(line.starts_with("a.toml:"), "{line}");
    assert!(line.contains("no TOML: "), "{line}");
    assert!(mistakes("log = 'info'\nlog = 'warn'").starts_with("a.toml:2: no TOML: duplicate key"));
    assert!(mistakes("log = \"info").starts_with("a.toml:1: no TOML: "));
    assert!(mistakes(&"[".repeat(100_000)).starts_with("a.toml:1: no TOML: "));
}

#[test]
fn items_of_a_list_are_blamed_one_by_one_on_their_lines() {
    let text =
        "admins = [\n  'anna@localhost',\n  'localhost',\n  'anna@localhost/phone',\n  '@@',\n  'Anna@localhost',\n]";
    let takes = "give an address such as \"anna@example.org\" or a list of them";
    assert_eq!(
        mistakes(text),
        format!(
            "a.toml:3: admins: found 'localhost' (names no account); {takes}\n\
             a.toml:4: admins: found 'anna@localhost/phone' (names a device; leave out what begins with the slash); \
             {takes}\n\
             a.toml:5: admins: found '@@' (no valid address); {takes}\n\
             a.toml:6: admins: found 'Anna@localhost' (stands there twice); {takes}"
        )
    );
    let line = set_mistakes(&["domain=a.example, b c"]);
    assert!(line.starts_with("--set domain: found b c (no valid domain); give a domain"), "{line}");
}

#[test]
fn addresses_are_numbers() {
    for (value, why) in [
        ("\"127.0.0.1\"", "the port is missing"),
        ("\"::1\"", "the port is missing"),
        ("\"localhost:5222\"", "no address; names are not looked up"),
        ("\":70000\"", "a port is at most 65535"),
        ("65536", "a port is at most 65535"),
        ("\":\"", "no address; names are not looked up"),
        ("[\"none\"]", "no address; names are not looked up"),
    ] {
        let line = mistakes(&format!("listen.c2s = {value}"));
        assert!(line.contains(&format!("({why}); give an address such as")), "{line}");
    }
    assert_eq!(file("listen.c2s = 'none'\nlisten.c2s_tls = '5222'").unwrap().listen.c2s_tls, sockets(&["[::]:5222"]));
}

#[test]
fn one_address_serves_one_door() {
    assert_eq!(
        mistakes("listen.c2s_tls = 5222"),
        "a.toml:1: listen.c2s_tls: found [::]:5222, which listen.c2s takes with [::]:5222; give another address or port"
    );
    assert!(file("listen.c2s = ['0.0.0.0:1', '[::]:1']").is_err(), "[::] serves IPv4 as well");
    assert!(file("listen.c2s = ['0.0.0.0:1', '127.0.0.1:1']").is_err());
    assert!(file("listen.c2s = ['0.0.0.0:1', '[::1]:1', '127.0.0.1:2']").is_ok());
    assert!(file("listen.c2s = ['127.0.0.1:0']\nlisten.c2s_tls = '127.0.0.1:0'").is_ok(), "0 is whichever is free");
}

#[test]
fn sizes_and_times_have_units_and_bounds() {
    let stanza = |value: &str| file(&format!("limits.stanza_bytes = {value}")).map(|config| config.limits.stanza_bytes);
    assert_eq!(stanza("10_000"), Ok(10_000));
    assert_eq!(stanza("0x10000"), Ok(65_536));
    assert_eq!(stanza("'1mib'"), Ok(1 << 20));
    assert_eq!(stanza("'20000 B'"), Ok(20_000));
    for (value, why) in [
        ("9999", "too small"),
        ("'9 KiB'", "too small"),
        ("1048577", "too large"),
        ("'99999999999999999999'", "too large"),
        ("'99999999999 GiB'", "too large"),
        ("'1 MB'", "unknown unit"),
    ] {
        let line = stanza(value).unwrap_err().join("\n");
        assert!(line.contains(&format!("found {value} ({why}); give bytes")), "{line}");
        assert!(line.contains("RFC 6120 §13.12"), "{line}");
    }
    assert!(stanza("'KiB'").is_err());
    for (value, seconds) in [("0", Some(0)), ("'90'", Some(90)), ("'30d'", Some(2_592_000)), ("'31d'", None)] {
        let read = file(&format!("retention.resume = {value}")).ok().map(|config| config.retention.resume_s);
        assert_eq!(read, seconds, "{value}");
    }
}

#[test]
fn contacts_are_uris_and_an_empty_list_is_no_contact() {
    let line = mistakes("contact.abuse = 'abuse@example.org'");
    assert!(line.contains("found 'abuse@example.org' (no URI; put mailto: or xmpp: in front); give a URI"), "{line}");
    for value in ["mailto:", ":x", "1a:x", "mailto:a b", "é:x"] {
        assert!(mistakes(&format!("contact.abuse = '{value}'")).contains("(no URI)"), "{value}");
    }
    let base = all_different();
    let config = Config::read(Some(("a.toml", "contact.abuse = []")), &[], base).unwrap();
    assert!(!config.contact.contains_key("abuse-addresses"));
}

#[test]
fn a_server_has_a_domain() {
    let what = "domain: found none; give at least one domain such as \"example.org\"";
    assert_eq!(mistakes("domain = []"), format!("a.toml:1: {what}"));
    assert_eq!(set_mistakes(&["domain="]), format!("--set {what}"));
    let base = Config { domains: Vec::new(), ..Config::default() };
    assert_eq!(Config::read(None, &[], base), Err(vec![what.to_owned()]));
}

#[test]
fn admins_and_certificates_belong_to_served_domains() {
    assert_eq!(
        mistakes("log = 'info'\nadmins = 'anna@example.org'"),
        "a.toml:2: admins: found \"anna@example.org\", whose domain is not served; give accounts of localhost, \
         or add it to domain"
    );
    assert_eq!(
        mistakes("[certificates.'a.example']\ncertificate = 'a'\nkey = 'b'"),
        "a.toml:2: certificates.\"a.example\".certificate: found a domain that is not served; give one of localhost, \
         or add it to domain"
    );
    let line = mistakes("[certificates.'a b']\nkey = 'b'");
    assert_eq!(
        line,
        "a.toml:2: certificates.\"a b\".key: found \"a b\" (no valid domain); give a domain that is served"
    );
}

#[test]
fn a_certificate_needs_its_key_and_a_key_its_certificate() {
    assert_eq!(
        mistakes("[tls]\ncertificate = 'a'"),
        "a.toml:2: tls.certificate: found a certificate without its key; give tls.key as well"
    );
    assert_eq!(
        set_mistakes(&["certificates.localhost.key=a"]),
        "--set certificates.\"localhost\".key: found a key without its certificate; give \
         certificates.\"localhost\".certificate as well"
    );
}

#[test]
fn one_mistake_is_told_once() {
    // Neither the admin nor the certificate is blamed for a domain that could not be read.
    for text in ["domain = 'b c'", "domian = 'example.org'"] {
        let more = "admins = 'a@example.org'\n[certificates.'example.org']\ncertificate = 'a'\nkey = 'b'";
        assert_eq!(mistakes(&format!("{text}\n{more}")).lines().count(), 1);
    }
    assert_eq!(mistakes("[tls]\ncertificate = 1\nkey = 'a'").lines().count(), 1);
    assert_eq!(mistakes("[tls]\ncertificate = 'a'\nkay = 'a'").lines().count(), 1);
}

#[test]
fn long_and_odd_values_stay_on_one_short_line() {
    let text = format!("log = '''\n{}\n'''\n\"a\\nb\" = 1", "x\n".repeat(500));
    for line in file(&text).unwrap_err() {
        assert!(line.chars().count() < 200 && !line.contains('\n'), "{line}");
    }
}

#[test]
fn the_example_changes_nothing_and_is_right_when_uncommented() {
    assert_eq!(file(EXAMPLE), Ok(Config::default()));
    let is_setting =
        |line: &str| line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| !c.is_whitespace()));
    let lines: Vec<&str> = EXAMPLE.lines().filter(|line| is_setting(line)).map(|line| &line[1..]).collect();
    let config = file(&lines.join("\n")).unwrap();
    assert_eq!((config.domains[0].as_str(), config.admins[0].as_str()), ("example.org", "anna@example.org"));
    for key in KEYS {
        let name = key.sample();
        let own: Vec<_> = lines.iter().filter(|line| line.starts_with(&format!("{name} = "))).collect();
        assert_eq!(own.len(), 1, "{name} stands once in the example");
        // Where the example does not speak of example.org, it shows the default.
        if !key.default.is_empty() && !own[0].contains("example.org") {
            assert_eq!(*own[0], format!("{name} = {}", key.default));
        }
    }
    assert_eq!(lines.len(), KEYS.len());
}

#[test]
fn the_reference_has_a_row_for_every_key() {
    let rows: Vec<String> = reference().lines().map(str::to_owned).collect();
    assert_eq!(rows.len(), KEYS.len() + 2);
    assert!(rows.iter().all(|row| row.matches('|').count() == 5 && row.ends_with(" |") || row.starts_with("|---")));
    assert!(rows.iter().any(|row| row.starts_with("| `certificates.\"example.org\".key` | – | a path in quotes |")));
}

#[test]
fn the_readme_lists_every_key() {
    let readme = include_str!("../../README.md");
    assert!(readme.contains(&reference()), "the README's table should be:\n{}", reference());
}

#[test]
fn the_listing_has_every_key_with_what_it_takes() {
    let listing = listing();
    for key in KEYS {
        let begins = format!(
            "{}{}\n",
            key.sample(),
            match key.default {
                "" => String::new(),
                default => format!(" = {default}"),
            }
        );
        assert!(listing.contains(&begins) && listing.contains(&format!("    Takes {}.\n", key.takes)), "{begins}");
    }
    assert_eq!(listing.lines().count(), 3 * KEYS.len());
}

#[test]
fn an_option_of_its_own_is_always_a_text_and_blamed_by_its_name() {
    let config = sets(&["--data=5222", "--domain=a.example,b.example"]).unwrap();
    assert_eq!(config.data, PathBuf::from("5222"));
    assert_eq!(config.domains, ["a.example", "b.example"]);
    let takes = "give a domain such as \"example.org\" or a list of them";
    assert_eq!(set_mistakes(&["--domain=b c"]), format!("--domain domain: found b c (no valid domain); {takes}"));
    assert_eq!(set_mistakes(&["--data="]), "--data data: found nothing (empty); give a path in quotes");
}

#[test]
fn a_service_has_a_host_name_of_its_own_or_none() {
    assert_eq!(file("hosts.pubsub = \"none\"").unwrap().hosts.pubsub, None);
    let clash = mistakes("domain = [\"a.example\", \"x.a.example\"]\nhosts.pubsub = \"x\"\n");
    assert!(clash.contains("x.a.example is a domain that is served"), "{clash}");
    assert!(mistakes("hosts.pubsub = \"a.b\"").contains("more than one part"));
}

#[test]
fn a_component_has_a_secret_and_a_domain_that_is_nobody_elses() {
    let section = "[components.\"bridge.localhost\"]\n";
    let nothing = mistakes(&format!("{section}roster = \"get\""));
    assert!(
        nothing.starts_with("a.toml:2: components.\"bridge.localhost\".roster: found a component without a secret")
    );
    // What is wrong with a secret is told without it.
    let short = mistakes(&format!("{section}secret = \"hush\""));
    assert!(short.contains("found one of 4;") && !short.contains("hush"), "{short}");
    for domain in ["localhost", "pubsub.localhost", "rooms.localhost", "upload.localhost"] {
        let clash = mistakes(&format!("[components.\"{domain}\"]\nsecret = \"correct horse\""));
        assert!(clash.contains("which this server serves itself"), "{clash}");
    }
    for grant in ["delete jabber:iq:private", "none urn:a", "nothing"] {
        let wrong = mistakes(&format!("{section}secret = \"correct horse\"\niq = \"{grant}\""));
        assert!(wrong.contains("(no namespace)"), "{wrong}");
    }
}

#[test]
fn what_a_component_answers_is_nobody_elses_and_not_delegation_itself() {
    let component = |name: &str, delegate: &str| {
        format!("[components.\"{name}.localhost\"]\nsecret = \"correct horse\"\ndelegate = \"{delegate}\"\n")
    };
    let one = component("a", "urn:a node");
    let both = mistakes(&(one.clone() + &component("b", "urn:a")));
    assert!(both.contains("\"b.localhost\".delegate: found urn:a, which a.localhost answers already"), "{both}");
    for (delegate, why) in [
        ("nothing", "no namespace"),
        ("urn:a a:b", "no names of attributes"),
        // XEP-0355 §8.
        ("urn:xmpp:delegation:2", "delegation itself"),
        ("urn:xmpp:delegation:2:bare:disco#info:* node", "no names of attributes"),
        ("http://jabber.org/protocol/disco#items", "urn:xmpp:delegation:2:bare:disco#items:* may be meant"),
    ] {
        let wrong = mistakes(&component("a", delegate));
        assert!(wrong.contains(why), "{wrong}");
    }
    let config = file(&(one + &component("b", "urn:xmpp:delegation:2:bare:disco#info:*"))).unwrap();
    assert_eq!(config.delegate("urn:a"), Some(("a.localhost", &["node".to_owned()][..])));
    assert_eq!(config.delegate("urn:b"), None);
}

#[test]
fn s38_components_are_not_heard_from_far_away() {
    let component = "[components.\"bridge.localhost\"]\nsecret = \"correct horse\"\n";
    for (address, is_near) in [
        ("127.0.0.1:5347", true),
        ("[::1]:5347", true),
        ("192.168.1.2:5347", true),
        ("172.18.0.1:5347", true),
        ("[fd00::1]:5347", true),
        ("0.0.0.0:5347", false),
        ("[::]:5347", false),
        ("203.0.113.1:5347", false),
        ("[::ffff:203.0.113.1]:5347", false),
    ] {
        let text = format!("listen.component = \"{address}\"\n{component}");
        assert_eq!(file(&text).is_ok(), is_near, "{address}");
    }
    assert!(file("listen.component = 5347").is_ok(), "nothing listens there");
}

#[test]
fn a_domain_is_listed_with_what_is_below_it() {
    let config = file("federation.allow = \"montague.lit\"\nfederation.block = [\"evil.montague.lit\"]").unwrap();
    let admits = |domain| config.federation.admits(domain).is_ok();
    assert!(admits("montague.lit") && admits("rooms.montague.lit"));
    for domain in ["evil.montague.lit", "a.evil.montague.lit", "capulet.lit", "notmontague.lit", ".montague.lit"] {
        assert!(!admits(domain), "{domain}");
    }
    assert!(file("federation.enabled = \"yes\"").is_err());
    assert!(sets(&["federation.enabled=false"]).is_ok_and(|config| !config.federation.enabled));
}
