//! Against resolvers on loopback that answer as told, wrongly too.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use domain::{
    base::{Message, MessageBuilder, Name, Rtype, Serial, Ttl, iana::Rcode, message_builder::AnswerBuilder},
    rdata::{A, Aaaa, Cname, Soa, Srv},
};
use proptest::prelude::*;
use smol::block_on;

use super::{
    message::{Question, Unread},
    *,
};

/// One record of a zone: name, TTL, what it says.
enum Says {
    A(&'static str),
    Aaaa(&'static str),
    Srv(u16, u16, u16, &'static str),
    Cname(&'static str),
}

type Zone = &'static [(&'static str, u32, Says)];

fn name(text: &str) -> Name<Vec<u8>> {
    text.parse().unwrap()
}

fn push(answer: &mut AnswerBuilder<Vec<u8>>, owner: Name<Vec<u8>>, ttl: u32, says: &Says) {
    let ttl = Ttl::from_secs(ttl);
    match says {
        Says::A(address) => answer.push((owner, ttl, address.parse::<A>().unwrap())).unwrap(),
        Says::Aaaa(address) => answer.push((owner, ttl, address.parse::<Aaaa>().unwrap())).unwrap(),
        Says::Srv(priority, weight, port, target) => {
            answer.push((owner, ttl, Srv::new(*priority, *weight, *port, name(target)))).unwrap();
        }
        Says::Cname(target) => answer.push((owner, ttl, Cname::new(name(target)))).unwrap(),
    }
}

/// What the zone answers; names that are not in it do not exist.
fn answer_from(zone: Zone, query: &[u8]) -> Vec<u8> {
    let query = Message::from_slice(query).unwrap();
    let question = query.sole_question().unwrap();
    let mut owner = question.qname().to_string().to_ascii_lowercase();
    let exists = zone.iter().any(|(at, ..)| *at == owner);
    let rcode = if exists { Rcode::NOERROR } else { Rcode::NXDOMAIN };
    let mut answer = MessageBuilder::new_vec().start_answer(query, rcode).unwrap();
    let mut found = false;
    for _ in 0..20 {
        for (_, ttl, says) in zone.iter().filter(|(at, ..)| *at == owner) {
            let rtype = match says {
                Says::A(_) => Rtype::A,
                Says::Aaaa(_) => Rtype::AAAA,
                Says::Srv(..) => Rtype::SRV,
                Says::Cname(_) => Rtype::CNAME,
            };
            if rtype == question.qtype() || rtype == Rtype::CNAME {
                push(&mut answer, name(&owner), *ttl, says);
                found |= rtype == question.qtype();
            }
        }
        match zone
            .iter()
            .find_map(|(at, _, says)| if let (true, Says::Cname(to)) = (*at == owner, says) { Some(to) } else { None })
        {
            Some(target) if !found => owner = (*target).to_owned(),
            _ => break,
        }
    }
    let mut authority = answer.authority();
    if !found {
        let ttl = Ttl::from_secs(60);
        let soa = Soa::new(name("ns.example"), name("admin.example"), Serial(1), ttl, ttl, ttl, ttl);
        authority.push((name("example"), ttl, soa)).unwrap();
    }
    authority.finish()
}

/// A resolver on loopback.
struct Fake {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Fake {
    fn new(reply: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Fake {
        Fake::answering(move |socket, query, from| {
            for datagram in reply(query) {
                let _ = socket.send_to(&datagram, from);
            }
        })
    }

    fn answering(answer: impl Fn(&UdpSocket, &[u8], SocketAddr) + Send + 'static) -> Fake {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (address, asked) = (socket.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let count = asked.clone();
        thread::spawn(move || {
            let mut buffer = [0; 2_048];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                count.fetch_add(1, Ordering::SeqCst);
                answer(&socket, &buffer[..length], from);
            }
        });
        Fake { address, asked }
    }

    fn of(zone: Zone) -> Fake {
        Fake::new(move |query| vec![answer_from(zone, query)])
    }

    fn resolver(&self) -> Resolver {
        Resolver::new(vec![self.address])
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn hop(host: &str, port: u16, direct: bool) -> Hop {
    Hop { host: host.into(), port, direct }
}

const HOUSE: Zone = &[
    ("_xmpp-server._tcp.capulet.example", 300, Says::Srv(10, 0, 5269, "xmpp.capulet.example")),
    ("_xmpps-server._tcp.capulet.example", 300, Says::Srv(5, 0, 5270, "xmpp.capulet.example")),
    ("xmpp.capulet.example", 300, Says::Cname("host.capulet.example")),
    ("host.capulet.example", 300, Says::A("192.0.2.1")),
    ("host.capulet.example", 300, Says::Aaaa("2001:db8::1")),
    ("montague.example", 0, Says::A("192.0.2.2")),
    ("_xmpp-server._tcp.none.example", 300, Says::Srv(0, 0, 0, ".")),
    ("_xmpps-server._tcp.plain.example", 300, Says::Srv(0, 0, 0, ".")),
    ("loop.example", 300, Says::Cname("pool.example")),
    ("pool.example", 300, Says::Cname("loop.example")),
];

#[test]
fn srv_records_of_both_kinds_lead_to_hosts() {
    let fake = Fake::of(HOUSE);
    let resolver = fake.resolver();
    let wanted = [hop("xmpp.capulet.example", 5270, true), hop("xmpp.capulet.example", 5269, false)];
    assert_eq!(block_on(resolver.hops("Capulet.example")).unwrap(), wanted);
    let addresses = block_on(resolver.addresses("xmpp.capulet.example")).unwrap();
    assert_eq!(addresses, [ip("2001:db8::1"), ip("192.0.2.1")]);
}

#[test]
fn a_domain_without_srv_records_is_its_own_host() {
    let fake = Fake::of(HOUSE);
    let resolver = fake.resolver();
    assert_eq!(block_on(resolver.hops("montague.example")).unwrap(), [hop("montague.example", 5269, false)]);
    assert_eq!(block_on(resolver.addresses("montague.example")).unwrap(), [ip("192.0.2.2")]);
    assert_eq!(block_on(resolver.hops("plain.example")).unwrap(), [hop("plain.example", 5269, false)]);
    assert_eq!(block_on(resolver.addresses("nowhere.example")), Err(NoAnswer::NotThere));
}

#[test]
fn a_service_that_is_decidedly_not_there_has_no_fallback() {
    assert_eq!(block_on(Fake::of(HOUSE).resolver().hops("none.example")), Err(NoAnswer::NotThere));
}

#[test]
fn addresses_need_no_dns() {
    let resolver = Resolver::new(vec!["127.0.0.1:1".parse().unwrap()]);
    assert_eq!(block_on(resolver.hops("192.0.2.7")).unwrap(), [hop("192.0.2.7", 5269, false)]);
    assert_eq!(block_on(resolver.addresses("[2001:db8::7]")).unwrap(), [ip("2001:db8::7")]);
    assert!(block_on(resolver.addresses("localhost")).unwrap().iter().all(IpAddr::is_loopback), "/etc/hosts");
}

#[test]
fn answers_and_their_absence_are_remembered_for_their_time() {
    let fake = Fake::of(HOUSE);
    let resolver = fake.resolver();
    for _ in 0..3 {
        block_on(resolver.addresses("host.capulet.example")).unwrap();
        assert!(block_on(resolver.addresses("nowhere.example")).is_err());
    }
    assert_eq!(fake.asked(), 4, "A and AAAA of two names");
    for _ in 0..3 {
        block_on(resolver.addresses("montague.example")).unwrap();
    }
    assert_eq!(fake.asked(), 8, "AAAA, which is not there, once, and A with a TTL of 0 each time");
}

#[test]
fn the_cache_is_bounded() {
    let resolver = Resolver::new(Vec::new());
    let answer = Answer { found: Found::Nothing, ttl_s: 60 };
    for n in 0..limits::DNS_CACHE_MAX * 2 {
        resolver.remember(&n.to_string(), Kind::A, &answer);
    }
    assert_eq!(resolver.cache.borrow().len(), limits::DNS_CACHE_MAX);
    assert!(resolver.remembered(&(limits::DNS_CACHE_MAX * 2 - 1).to_string(), Kind::A).is_some(), "the last is kept");
}

#[test]
fn forged_answers_are_ignored() {
    let fake = Fake::new(|query| {
        let forged = |change: fn(&mut Vec<u8>)| {
            let mut bytes = answer_from(&[("a.example", 60, Says::A("203.0.113.66"))], query);
            change(&mut bytes);
            bytes
        };
        vec![
            forged(|bytes| bytes[0] ^= 1),
            forged(|bytes| bytes[2] &= 0x7f),
            forged(|bytes| bytes[13] ^= 0x20),
            forged(|bytes| bytes[13] = b'b'),
            forged(|bytes| bytes[5] = 0),
            b"x".to_vec(),
            Vec::new(),
            answer_from(&[("a.example", 60, Says::A("192.0.2.1"))], query),
        ]
    });
    assert_eq!(block_on(fake.resolver().addresses("a.example")).unwrap(), [ip("192.0.2.1")]);
}

#[test]
fn an_answer_from_another_address_is_ignored() {
    let fake = Fake::answering(|socket, query, from| {
        let elsewhere = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let forged = answer_from(&[("a.example", 60, Says::A("203.0.113.66"))], query);
        elsewhere.send_to(&forged, from).unwrap();
        socket.send_to(&answer_from(&[("a.example", 60, Says::A("192.0.2.1"))], query), from).unwrap();
    });
    assert_eq!(block_on(fake.resolver().addresses("a.example")).unwrap(), [ip("192.0.2.1")]);
}

#[test]
fn the_next_resolver_is_asked_when_one_fails() {
    let refuse = |rcode: Rcode| {
        Fake::new(move |query| {
            let query = Message::from_slice(query).unwrap();
            vec![MessageBuilder::new_vec().start_answer(query, rcode).unwrap().finish()]
        })
    };
    let (broken, refusing, good) = (refuse(Rcode::SERVFAIL), refuse(Rcode::REFUSED), Fake::of(HOUSE));
    let resolver = Resolver::new(vec![broken.address, refusing.address, good.address]);
    assert_eq!(block_on(resolver.addresses("montague.example")).unwrap(), [ip("192.0.2.2")]);
    let resolver = Resolver::new(vec![broken.address]);
    // A failure is no absence: there is no fallback to the domain itself.
    assert!(matches!(block_on(resolver.hops("montague.example")), Err(NoAnswer::Failed(_))));
}

#[test]
fn a_chain_of_aliases_that_bites_its_tail_ends() {
    let outcome = block_on(Fake::of(HOUSE).resolver().addresses("loop.example"));
    assert!(matches!(outcome, Err(NoAnswer::Failed(_))), "{outcome:?}");
}

#[test]
fn an_alias_that_the_answer_leaves_open_is_asked_for() {
    let fake = Fake::new(|query| {
        let parsed = Message::from_slice(query).unwrap();
        let asked = parsed.sole_question().unwrap().qname().to_string().to_ascii_lowercase();
        if asked == "alias.example" {
            let mut answer = MessageBuilder::new_vec().start_answer(parsed, Rcode::NOERROR).unwrap();
            push(&mut answer, name("alias.example"), 60, &Says::Cname("montague.example"));
            return vec![answer.finish()];
        }
        vec![answer_from(HOUSE, query)]
    });
    assert_eq!(block_on(fake.resolver().addresses("alias.example")).unwrap(), [ip("192.0.2.2")]);
}

/// UDP and TCP on one port.
fn with_tcp(reply: fn(&[u8]) -> Vec<Vec<u8>>, tcp: fn(&[u8]) -> Vec<u8>) -> Fake {
    // A port that is free for one need not be for the other.
    let both = std::iter::repeat_with(|| Fake::new(reply))
        .take(50)
        .find_map(|fake| TcpListener::bind(fake.address).ok().map(|listener| (fake, listener)));
    let (fake, listener) = both.unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut query).unwrap();
            let answer = tcp(&query);
            let _ = stream.write_all(&[&u16::try_from(answer.len()).unwrap().to_be_bytes()[..], &answer].concat());
        }
    });
    fake
}

#[test]
fn what_does_not_fit_is_asked_for_over_tcp() {
    let truncated = |query: &[u8]| {
        let mut builder = MessageBuilder::new_vec();
        builder.header_mut().set_tc(true);
        let mut answer = builder.start_answer(Message::from_slice(query).unwrap(), Rcode::NOERROR).unwrap();
        answer.header_mut().set_tc(true);
        vec![answer.finish()]
    };
    let fake = with_tcp(truncated, |query| answer_from(HOUSE, query));
    assert_eq!(block_on(fake.resolver().addresses("montague.example")).unwrap(), [ip("192.0.2.2")]);
    let fake = with_tcp(truncated, |_| b"nonsense".to_vec());
    assert!(matches!(block_on(fake.resolver().addresses("montague.example")), Err(NoAnswer::Failed(_))));
}

#[test]
fn compression_that_points_at_itself_ends() {
    let fake = Fake::new(|query| {
        let mut bytes = query.to_vec();
        bytes[2] |= 0x80;
        bytes[7] = 1;
        bytes[11] = 0;
        let end = bytes.len() - 11;
        bytes.truncate(end);
        let here = u8::try_from(end).unwrap();
        bytes.extend_from_slice(&[0xc0, here, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        vec![bytes]
    });
    let outcome = block_on(fake.resolver().addresses("a.example"));
    assert!(matches!(outcome, Err(NoAnswer::Failed(_))), "{outcome:?}");
}

#[test]
fn names_that_dns_cannot_know_are_not_there() {
    let fake = Fake::of(HOUSE);
    for name in ["a..example", &"a".repeat(64), &"a.".repeat(200), ""] {
        assert_eq!(block_on(fake.resolver().addresses(name)), Err(NoAnswer::NotThere), "{name}");
    }
    assert_eq!(fake.asked(), 0);
}

proptest! {
    #[test]
    fn any_bytes_are_an_answer_or_none(
        tail in prop::collection::vec(any::<u8>(), 0..400),
        kind in prop::sample::select(vec![Kind::A, Kind::Aaaa, Kind::Srv]),
        counts in prop::array::uniform3(0u8..4),
        tcp in any::<bool>(),
    ) {
        let question = Question::new("a.example", kind, &[7; 34]).unwrap();
        let mut bytes = question.bytes().to_vec();
        bytes.truncate(bytes.len() - 11);
        bytes[2] |= 0x80;
        for (at, count) in [7, 9, 11].into_iter().zip(counts) {
            bytes[at] = count;
        }
        bytes.extend_from_slice(&tail);
        let _ = question.read(&bytes, tcp);
        let stray = question.read(&tail, tcp);
        prop_assert!(stray.is_err() && stray != Err(Unread::Truncated));
    }

    #[test]
    fn damaged_answers_say_nothing_new(at in 0usize..80, with in any::<u8>()) {
        let question = Question::new("_xmpp-server._tcp.capulet.example", Kind::Srv, &[9; 34]).unwrap();
        let mut bytes = answer_from(HOUSE, question.bytes());
        if let Some(byte) = bytes.get_mut(at) {
            *byte = with;
        }
        if let Ok(Answer { found: Found::Services(services), .. }) = question.read(&bytes, false) {
            prop_assert!(services.len() <= limits::DNS_RECORDS_MAX);
        }
    }

    #[test]
    fn answers_cut_and_changed_anywhere_are_bounded_and_foreign_ones_nothing(
        (kind, asked) in prop::sample::select(vec![
            (Kind::Srv, "_xmpp-server._tcp.capulet.example"),
            (Kind::A, "xmpp.capulet.example"),
            (Kind::Aaaa, "host.capulet.example"),
            (Kind::A, "nothing.example"),
        ]),
        changes in prop::collection::vec((0usize..220, any::<u8>()), 0..5),
        cut in 0usize..300,
        dice in prop::array::uniform32(any::<u8>()),
        tcp in any::<bool>(),
    ) {
        let mut all = [0; 34];
        all[..32].copy_from_slice(&dice);
        let question = Question::new(asked, kind, &all).unwrap();
        let honest = answer_from(HOUSE, question.bytes());
        let mut bytes = honest.clone();
        for (at, with) in changes {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = with;
            }
        }
        bytes.truncate(cut);
        let read = question.read(&bytes, tcp);
        // Behind the header stands the name and what is asked of it, four bytes.
        let end = 12 + asked.len() + 2 + 4;
        let is = |range: std::ops::Range<usize>| bytes.get(range.clone()) == honest.get(range);
        if !is(0..2) || bytes.get(2).is_none_or(|flags| flags & 0x80 == 0) || !tcp && !is(12..end) {
            prop_assert_eq!(&read, &Err(Unread::Foreign), "{:?}", bytes);
        }
        match read {
            Ok(Answer { found: Found::Services(services), .. }) => prop_assert!(services.len() <= limits::DNS_RECORDS_MAX),
            Ok(Answer { found: Found::Addresses(found), .. }) => prop_assert!(found.len() <= limits::DNS_RECORDS_MAX),
            _ => {}
        }
    }
}

/// A resolver that answers over TCP alone.
fn over_tcp(zone: Zone) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut query).unwrap();
            let answer = answer_from(zone, &query);
            let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
            stream.write_all(&[&length, answer.as_slice()].concat()).unwrap();
        }
    });
    address
}

#[test]
fn the_machine_says_how_its_resolvers_are_asked() {
    // resolv.conf(5): use-vc, no-aaaa, attempts and timeout, rotate.
    let resolver = Resolver::asking(Resolving { servers: vec![over_tcp(HOUSE)], is_tcp: true, ..Resolving::default() });
    let found = block_on(resolver.addresses("xmpp.capulet.example")).unwrap();
    assert_eq!(found, ["2001:db8::1", "192.0.2.1"].map(ip));

    let four = Fake::of(HOUSE);
    let resolver = Resolver::asking(Resolving { servers: vec![four.address], no_aaaa: true, ..Resolving::default() });
    assert_eq!(block_on(resolver.addresses("host.capulet.example")).unwrap(), [ip("192.0.2.1")]);
    assert_eq!(four.asked(), 1);

    // Whoever does not know is asked as often as the machine says.
    let failing = Fake::new(|query| {
        let mut answer = query.to_vec();
        answer[2] |= 0x80;
        answer[3] = 2;
        vec![answer]
    });
    let how = Resolving { servers: vec![failing.address], attempts: Some(3), ..Resolving::default() };
    assert!(matches!(block_on(Resolver::asking(how).look_up("a.example", Kind::A)), Err(NoAnswer::Failed(_))));
    assert_eq!(failing.asked(), 3);

    let both = [Fake::of(HOUSE), Fake::of(HOUSE)];
    let servers = both.iter().map(|fake| fake.address).collect();
    let resolver = Resolver::asking(Resolving { servers, rotates: true, ..Resolving::default() });
    // An answer that is valid for no time is asked for anew each time.
    for _ in 0..64 {
        block_on(resolver.look_up("montague.example", Kind::A)).unwrap();
    }
    assert!(both.iter().all(|fake| fake.asked() > 0), "one of 2^63 runs may fail");
}
