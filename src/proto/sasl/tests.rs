//! Handshakes as a client sees them. The client's half of SCRAM stands here, written from RFC 5802 §3 apart from the
//! server's, so that the two check one another.

use std::num::NonZeroU32;

use super::*;
use crate::proto::scram::{SALT_BYTES, work};

const FEW: NonZeroU32 = NonZeroU32::new(4).unwrap();
const NONCE: Nonce = *b"eighteen bytes all";
const SECRET: [u8; 32] = [9; 32];

/// A stream of example.org with one account, juliet, whose password is `pencil`.
struct House {
    binding: ChannelBinding,
    offer: Offer,
    juliet: Credentials,
}

impl House {
    fn new(binding: ChannelBinding, tls: bool) -> House {
        let offer = Offer::new(&binding, tls, true);
        House { binding, offer, juliet: Credentials::derive("pencil", [7; SALT_BYTES], FEW) }
    }

    /// TLS 1.3: both bindings.
    fn tls13() -> House {
        House::new(both(), true)
    }

    /// TLS behind somebody else's proxy: nothing to bind to.
    fn unbound() -> House {
        House::new(ChannelBinding::default(), true)
    }

    fn terms(&self) -> Terms<'_> {
        Terms { domain: "example.org", offer: &self.offer, binding: &self.binding, from: None }
    }

    fn begin(&self, mechanism: &str, initial: &str) -> Step {
        begin(&self.terms(), NONCE, mechanism, Some(initial.as_bytes()))
    }

    fn credentials(&self, local: &str) -> Credentials {
        let known = (local == "juliet").then(|| self.juliet.clone());
        Credentials::known_or_fake(known, &SECRET, local, None)
    }

    /// A whole SCRAM handshake; the client shows the proof that `password` gives and binds to `bound`.
    fn scram(&self, mechanism: &str, gs2_header: &str, bound: &[u8], name: &str, password: &str) -> Ended {
        let bare = format!("n={name},r=clientnonce");
        let need = match self.begin(mechanism, &format!("{gs2_header}{bare}")) {
            Step::NeedAccount(need) => need,
            step => return ended(step),
        };
        let keys = self.credentials(need.local());
        let Step::Challenge(challenge, awaiting) = need.resume(&keys) else { panic!("no challenge") };
        let client = Client::new(mechanism, &bare, &challenge, password);
        let last = client.last(gs2_header, bound);
        let ended = ended(awaiting.respond(&self.terms(), last.as_bytes()));
        if let Ok(success) = &ended {
            assert_eq!(success.additional_data.as_deref(), Some(client.server_final(gs2_header, bound).as_bytes()));
        }
        ended
    }

    /// A whole PLAIN handshake.
    fn plain(&self, message: &str) -> Ended {
        match self.begin("PLAIN", message) {
            Step::CheckPassword(CheckPassword { password, verdict }) => {
                let is_right = self.credentials(verdict.local()).verify_password(&password);
                ended(verdict.resume(is_right))
            }
            step => ended(step),
        }
    }
}

type Ended = Result<Success, SaslFailure>;

fn ended(step: Step) -> Ended {
    match step {
        Step::Success(success) => Ok(success),
        Step::Failure(failure) => Err(failure),
        step => panic!("goes on: {step:?}"),
    }
}

fn condition(ended: Ended) -> SaslCondition {
    ended.expect_err("should have failed").condition
}

fn both() -> ChannelBinding {
    ChannelBinding { exporter: Some([1; 32]), end_point: Some(heapless::Vec::from_slice(&[2; 32]).unwrap()) }
}

/// The client's half of RFC 5802 §3.
struct Client {
    hash: Hash,
    salted: Vec<u8>,
    bare: String,
    first: String,
    nonce: String,
}

impl Client {
    fn new(mechanism: &str, bare: &str, challenge: &[u8], password: &str) -> Client {
        let first = String::from_utf8(challenge.to_vec()).unwrap();
        let value = |name: &str| first.split(',').find_map(|part| part.strip_prefix(name)).unwrap();
        let hash = if mechanism.contains("SHA-256") { Hash::Sha256 } else { Hash::Sha1 };
        let nonce = value("r=").to_owned();
        assert!(nonce.starts_with("clientnonce") && nonce.len() >= "clientnonce".len() + 24);
        let rounds: u32 = value("i=").parse().unwrap();
        // Hi() as RFC 5802 §2.2 spells it out.
        let mut last = [&BASE64.decode(value("s=")).unwrap()[..], &[0, 0, 0, 1]].concat();
        let mut salted = vec![0; hash.bytes()];
        for _ in 0..rounds {
            last = hash.hmac(password.as_bytes(), &last).as_ref().to_vec();
            salted.iter_mut().zip(&last).for_each(|(sum, byte)| *sum ^= byte);
        }
        Client { hash, salted, bare: bare.to_owned(), nonce, first }
    }

    fn without_proof(&self, gs2_header: &str, bound: &[u8]) -> String {
        format!("c={},r={}", BASE64.encode([gs2_header.as_bytes(), bound].concat()), self.nonce)
    }

    fn auth_message(&self, gs2_header: &str, bound: &[u8]) -> String {
        format!("{},{},{}", self.bare, self.first, self.without_proof(gs2_header, bound))
    }

    fn last(&self, gs2_header: &str, bound: &[u8]) -> String {
        let key = self.hash.hmac(&self.salted, b"Client Key");
        let stored = self.hash.digest(key.as_ref());
        let signature = self.hash.hmac(stored.as_ref(), self.auth_message(gs2_header, bound).as_bytes());
        let proof: Vec<u8> = key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        format!("{},p={}", self.without_proof(gs2_header, bound), BASE64.encode(proof))
    }

    fn server_final(&self, gs2_header: &str, bound: &[u8]) -> String {
        let key = self.hash.hmac(&self.salted, b"Server Key");
        format!("v={}", BASE64.encode(self.hash.hmac(key.as_ref(), self.auth_message(gs2_header, bound).as_bytes())))
    }
}

#[test]
fn offers_follow_what_the_connection_can_do() {
    let names = |offer: Offer| offer.mechanisms.iter().map(|mechanism| mechanism.as_str()).collect::<Vec<_>>();
    let plus = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"];
    assert_eq!(names(House::tls13().offer), plus);
    assert_eq!(names(House::unbound().offer), plus[2..]);
    assert_eq!(names(Offer::new(&ChannelBinding::default(), false, true)), plus[2..4]);

    let mut out = Vec::new();
    House::tls13().offer.write(&mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-256-PLUS</mechanism>\
         <mechanism>SCRAM-SHA-1-PLUS</mechanism><mechanism>SCRAM-SHA-256</mechanism>\
         <mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism></mechanisms>\
         <sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/>\
         <channel-binding type='tls-server-end-point'/></sasl-channel-binding>"
    );
    let mut out = Vec::new();
    House::unbound().offer.write_bindings(&mut out);
    assert!(out.is_empty(), "XEP-0440 §2: one or more types, or no element");
}

#[test]
fn every_scram_mechanism_signs_in_with_every_binding() {
    let house = House::tls13();
    for mechanism in ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"] {
        for (header, bound) in [("p=tls-exporter,,", &[1; 32][..]), ("p=tls-server-end-point,,", &[2; 32])] {
            assert_eq!(house.scram(mechanism, header, bound, "juliet", "pencil").unwrap().local, "juliet");
        }
    }
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-1"] {
        assert!(house.scram(mechanism, "n,,", b"", "juliet", "pencil").is_ok());
        assert!(House::unbound().scram(mechanism, "y,,", b"", "juliet", "pencil").is_ok());
        let wrong = house.scram(mechanism, "n,,", b"", "juliet", "Pencil");
        assert_eq!(condition(wrong), SaslCondition::NotAuthorized);
    }
    assert_eq!(house.scram("SCRAM-SHA-1", "n,,", b"", "Juliet", "pencil").unwrap().local, "juliet", "name prepared");
}

#[test]
fn a_password_signs_in() {
    let house = House::tls13();
    let success = house.plain("\0Juliet\0pencil").unwrap();
    assert_eq!(success, Success { local: "juliet".into(), additional_data: None });
    for wrong in ["\0juliet\0Pencil", "\0romeo\0pencil", "\0ju liet\0pencil", "\0juliet\0pen\tcil"] {
        assert_eq!(condition(house.plain(wrong)), SaslCondition::NotAuthorized, "{wrong:?}");
    }
    for malformed in ["", "juliet", "\0juliet", "\0\0pencil", "\0juliet\0", "\0juliet\0pencil\0", "\0\0\0"] {
        assert_eq!(condition(house.plain(malformed)), SaslCondition::MalformedRequest, "{malformed:?}");
    }
    let step = begin(&house.terms(), NONCE, "PLAIN", Some(b"\0juliet\0\xff"));
    assert_eq!(condition(ended(step)), SaslCondition::MalformedRequest);
    // RFC 4616 §2: 255 octets each.
    let long = format!("{0}\0{0}\0{0}", "x".repeat(255));
    assert_eq!(condition(house.plain(&long)), SaslCondition::InvalidAuthzid, "long, but read");
}

#[test]
fn without_an_initial_response_an_empty_challenge_asks_for_it() {
    let house = House::tls13();
    let Step::Challenge(challenge, awaiting) = begin(&house.terms(), NONCE, "PLAIN", None) else { panic!() };
    assert!(challenge.is_empty());
    assert!(matches!(awaiting.respond(&house.terms(), b"\0juliet\0pencil"), Step::CheckPassword(_)));
    let Step::Challenge(challenge, awaiting) = begin(&house.terms(), NONCE, "SCRAM-SHA-1", None) else { panic!() };
    assert!(challenge.is_empty());
    assert!(matches!(awaiting.respond(&house.terms(), b"n,,n=juliet,r=abc"), Step::NeedAccount(_)));
    // An initial response of no length is one, and breaks the grammar of both.
    for mechanism in ["PLAIN", "SCRAM-SHA-1"] {
        assert_eq!(condition(ended(house.begin(mechanism, ""))), SaslCondition::MalformedRequest);
    }
}

#[test]
fn s9_nobody_acts_as_somebody_else() {
    let house = House::tls13();
    for own in ["juliet@example.org", "Juliet@EXAMPLE.org", "juliet@example.org."] {
        assert!(house.plain(&format!("{own}\0juliet\0pencil")).is_ok(), "{own}");
        assert!(house.scram("SCRAM-SHA-1", &format!("n,a={own},"), b"", "juliet", "pencil").is_ok(), "{own}");
        let header = format!("p=tls-exporter,a={own},");
        assert!(house.scram("SCRAM-SHA-1-PLUS", &header, &[1; 32], "juliet", "pencil").is_ok(), "{own}");
    }
    let others = [
        "romeo@example.org",
        "juliet",
        "example.org",
        "juliet@example.net",
        "juliet@example.org/balcony",
        "juliet@example.org/",
        "@example.org",
        "ju liet@example.org",
    ];
    for other in others {
        let plain = house.plain(&format!("{other}\0juliet\0pencil"));
        assert_eq!(condition(plain), SaslCondition::InvalidAuthzid, "{other}");
        let scram = house.scram("SCRAM-SHA-256", &format!("n,a={other},"), b"", "juliet", "pencil");
        assert_eq!(condition(scram), SaslCondition::InvalidAuthzid, "{other}");
    }
}

#[test]
fn s10_a_mechanism_that_was_not_offered_is_refused() {
    let unbound = House::unbound();
    for mechanism in ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS", "EXTERNAL", "ANONYMOUS", "scram-sha-1", "", "PLAIN "] {
        let step = begin(&unbound.terms(), NONCE, mechanism, None);
        assert_eq!(condition(ended(step)), SaslCondition::InvalidMechanism, "{mechanism:?}");
    }
    let clear = House::new(both(), false);
    for mechanism in ["PLAIN", "SCRAM-SHA-1-PLUS"] {
        let step = begin(&clear.terms(), NONCE, mechanism, Some(b"\0juliet\0pencil"));
        assert_eq!(condition(ended(step)), SaslCondition::InvalidMechanism, "{mechanism} without TLS");
    }
}

#[test]
fn s11_every_wrong_proof_is_compared_to_its_end() {
    // The comparison itself is subtle's; what is shown here is that one wrong bit anywhere suffices.
    let house = House::tls13();
    let bare = "n=juliet,r=clientnonce";
    for bit in 0..160 {
        let Step::NeedAccount(need) = house.begin("SCRAM-SHA-1", &format!("n,,{bare}")) else { panic!() };
        let Step::Challenge(challenge, awaiting) = need.resume(&house.juliet) else { panic!() };
        let last = Client::new("SCRAM-SHA-1", bare, &challenge, "pencil").last("n,,", b"");
        let (head, proof) = last.rsplit_once(",p=").unwrap();
        let mut proof = BASE64.decode(proof).unwrap();
        proof[bit / 8] ^= 1 << (bit % 8);
        let forged = format!("{head},p={}", BASE64.encode(proof));
        let step = awaiting.respond(&house.terms(), forged.as_bytes());
        assert_eq!(condition(ended(step)), SaslCondition::NotAuthorized);
    }
}

#[test]
fn s11_an_unknown_account_costs_the_work_of_a_wrong_password() {
    // Work is counted, not time; the client's half is in it, and the same for both. Rounds as new accounts have them.
    let juliet = Credentials::derive("pencil", [7; SALT_BYTES], scram::ITERATIONS);
    let house = House { juliet, ..House::tls13() };
    let attempt = |mechanism: &str, name: &str| {
        work::of(|| {
            let ended = match mechanism {
                "PLAIN" => house.plain(&format!("\0{name}\0wrong")),
                _ if mechanism.ends_with("-PLUS") => {
                    house.scram(mechanism, "p=tls-exporter,,", &[1; 32], name, "wrong")
                }
                _ => house.scram(mechanism, "n,,", b"", name, "wrong"),
            };
            assert_eq!(condition(ended), SaslCondition::NotAuthorized, "{mechanism} {name}");
        })
    };
    for mechanism in Mechanism::ALL.map(Mechanism::as_str) {
        let (known, unknown) = (attempt(mechanism, "juliet"), attempt(mechanism, "nobody"));
        assert_eq!(known, unknown, "{mechanism}");
        assert!(known.hmacs > 0 && (mechanism == "PLAIN") == (known.rounds > 0), "{mechanism}: {known:?}");
    }
}

#[test]
fn s12_an_unknown_account_answers_like_a_wrong_password() {
    let house = House::tls13();
    let unknown = house.scram("SCRAM-SHA-256", "n,,", b"", "romeo", "pencil");
    let wrong = house.scram("SCRAM-SHA-256", "n,,", b"", "juliet", "wrong");
    assert_eq!(unknown, wrong, "the log's reason included");
    assert_eq!(house.plain("\0romeo\0pencil"), house.plain("\0juliet\0wrong"));

    let challenge = |name: &str| {
        let Step::NeedAccount(need) = house.begin("SCRAM-SHA-1", &format!("n,,n={name},r=abc")) else { panic!() };
        let credentials = house.credentials(need.local());
        let Step::Challenge(challenge, _) = need.resume(&credentials) else { panic!() };
        String::from_utf8(challenge).unwrap()
    };
    assert_eq!(challenge("romeo"), challenge("Romeo"), "the same salt whenever and however it is asked for");
    assert_ne!(challenge("romeo"), challenge("mercutio"));
    let shape = |text: String| text.split(',').map(|part| part.len().min(20)).collect::<Vec<_>>();
    let real = Credentials::derive("pencil", [7; SALT_BYTES], scram::ITERATIONS);
    let Step::NeedAccount(need) = house.begin("SCRAM-SHA-1", "n,,n=juliet,r=abc") else { panic!() };
    let Step::Challenge(of_real, _) = need.resume(&real) else { panic!() };
    assert_eq!(shape(challenge("romeo")), shape(String::from_utf8(of_real).unwrap()));
}

#[test]
fn s14_channel_binding_cannot_be_cut_or_forged() {
    let house = House::tls13();
    let why = |mechanism, header, bound: &[u8]| {
        let failure = house.scram(mechanism, header, bound, "juliet", "pencil").unwrap_err();
        assert_eq!(failure.condition, SaslCondition::NotAuthorized, "{mechanism} {header}");
        failure.why
    };
    assert_eq!(why("SCRAM-SHA-1", "y,,", b""), "server-does-support-channel-binding");
    assert_eq!(why("SCRAM-SHA-1-PLUS", "y,,", b""), "server-does-support-channel-binding");
    assert_eq!(why("SCRAM-SHA-1-PLUS", "n,,", b""), "unsupported-channel-binding-type");
    assert_eq!(why("SCRAM-SHA-1", "p=tls-exporter,,", &[1; 32]), "channel-binding-not-supported");
    assert_eq!(why("SCRAM-SHA-1-PLUS", "p=tls-unique,,", &[1; 32]), "unsupported-channel-binding-type");
    let unknown = house.scram("SCRAM-SHA-1-PLUS", "p=tls-unique,,", &[1; 32], "juliet", "pencil").unwrap_err();
    assert!(!unknown.is_guess(), "nobody has said a password");
    // Another connection's data, the other type's data, none, and more than there is.
    for bound in [&[3; 32][..], &[2; 32], b"", &[1; 33]] {
        assert_eq!(why("SCRAM-SHA-256-PLUS", "p=tls-exporter,,", bound), "channel-bindings-dont-match");
    }

    let tls12 = House::new(ChannelBinding { exporter: None, ..both() }, true);
    let refused = tls12.scram("SCRAM-SHA-1-PLUS", "p=tls-exporter,,", &[1; 32], "juliet", "pencil").unwrap_err();
    assert_eq!(refused.why, "unsupported-channel-binding-type", "not offered on this connection");
    assert!(tls12.scram("SCRAM-SHA-1-PLUS", "p=tls-server-end-point,,", &[2; 32], "juliet", "pencil").is_ok());
}

#[test]
fn the_gs2_header_is_bound_as_well() {
    // A man in the middle who turns `y` into `n`, or cuts the authzid, changes what c= has to repeat.
    let house = House::unbound();
    let bare = "n=juliet,r=clientnonce";
    for (sent, arrived) in [("y,,", "n,,"), ("n,a=juliet@example.org,", "n,,")] {
        let Step::NeedAccount(need) = house.begin("SCRAM-SHA-1", &format!("{arrived}{bare}")) else { panic!() };
        let Step::Challenge(challenge, awaiting) = need.resume(&house.juliet) else { panic!() };
        let last = Client::new("SCRAM-SHA-1", bare, &challenge, "pencil").last(sent, b"");
        let failure = ended(awaiting.respond(&house.terms(), last.as_bytes())).unwrap_err();
        assert_eq!(failure.why, "channel-bindings-dont-match");
    }
}

#[test]
fn the_challenge_carries_the_hash_of_all_that_was_offered() {
    // XEP-0474 §5.3: the example's own lists.
    let offer = Offer {
        mechanisms: heapless::Vec::from_slice(&[Mechanism::Scram(Hash::Sha1), Mechanism::ScramPlus(Hash::Sha1)])
            .unwrap(),
        bindings: heapless::Vec::from_slice(&[BindingType::EndPoint, BindingType::Exporter]).unwrap(),
    };
    assert_eq!(offer.downgrade_hash(Hash::Sha1), "G6k/rBLDqgOhRRaCuuatSDFkJ08=");

    // Ours, spelled out.
    let sorted = "PLAIN\x1eSCRAM-SHA-1\x1eSCRAM-SHA-1-PLUS\x1eSCRAM-SHA-256\x1eSCRAM-SHA-256-PLUS\
                  \x1ftls-exporter\x1etls-server-end-point";
    let house = House::tls13();
    let Step::NeedAccount(need) = house.begin("SCRAM-SHA-256", "n,,n=juliet,r=abc") else { panic!() };
    let Step::Challenge(challenge, _) = need.resume(&house.juliet) else { panic!() };
    let h = format!(",h={}", BASE64.encode(Hash::Sha256.digest(sorted.as_bytes())));
    assert!(String::from_utf8(challenge).unwrap().ends_with(&h));

    // Without XEP-0440's element there is no %x1F.
    let plain = "PLAIN\x1eSCRAM-SHA-1\x1eSCRAM-SHA-256";
    let expected = BASE64.encode(Hash::Sha1.digest(plain.as_bytes()));
    assert_eq!(House::unbound().offer.downgrade_hash(Hash::Sha1), expected);
}

#[test]
fn malformed_scram_messages_end_the_handshake() {
    let house = House::tls13();
    let malformed = ["", "n", "n,,", "n,,n=juliet", "x,,n=juliet,r=abc", "n,,n=juliet,r=abc,"];
    for message in malformed {
        assert_eq!(condition(ended(house.begin("SCRAM-SHA-1", message))), SaslCondition::MalformedRequest);
    }
    for message in ["n,,n=ju=liet,r=abc", "n,,n=ju@liet,r=abc", "n,,n=,r=abc", "n,,m=x,n=juliet,r=abc"] {
        assert_eq!(condition(ended(house.begin("SCRAM-SHA-1", message))), SaslCondition::NotAuthorized, "{message}");
    }
    let long = "x".repeat(RESPONSE_BYTES_MAX + 1);
    assert_eq!(condition(ended(house.begin("SCRAM-SHA-1", &long))), SaslCondition::MalformedRequest);
    let Step::Challenge(_, awaiting) = begin(&house.terms(), NONCE, "PLAIN", None) else { panic!() };
    let step = awaiting.respond(&house.terms(), long.as_bytes());
    assert_eq!(condition(ended(step)), SaslCondition::MalformedRequest);
}

#[test]
fn a_pending_handshake_is_small() {
    // An unauthenticated stream holds one of these.
    assert!(size_of::<Step>() <= 64, "{}", size_of::<Step>());
    assert!(size_of::<Awaiting>() <= 48, "{}", size_of::<Awaiting>());
    assert!(size_of::<Proving>() <= 320, "{}", size_of::<Proving>());
}
