use proptest::prelude::*;

use super::*;
use crate::wire::{error::StreamCondition as C, stanza::slice};

const BOUNDS: Bounds = Bounds { stanza_bytes_max: 10_000, depth_max: 20 };
const HEADER: &str = "<?xml version='1.0'?><stream:stream to='home.example' version='1.0' xml:lang='de' \
                      xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";

/// What a framer says, as text: independent of how the bytes were cut.
fn hear(pieces: &[&[u8]]) -> Vec<String> {
    let mut framer = Framer::new(BOUNDS);
    let mut outline = Outline::default();
    let mut heard = Vec::new();
    for piece in pieces {
        let mut input = *piece;
        loop {
            match framer.next(&mut input, &mut outline) {
                Ok(Some(Frame::Header(header))) => heard.push(format!("{header:?}")),
                Ok(Some(Frame::Element(bytes))) => {
                    let children: Vec<_> = outline
                        .children
                        .iter()
                        .map(|child| {
                            let ns = match &child.ns {
                                NsRef::Local(range) => slice(bytes, range).to_owned(),
                                other => format!("{other:?}"),
                            };
                            format!("{}|{ns}|{}", slice(bytes, &child.name), slice(bytes, &child.whole))
                        })
                        .collect();
                    let text = String::from_utf8_lossy(bytes).into_owned();
                    heard.push(format!("{text} {outline:?} {children:?}"));
                }
                Ok(Some(Frame::End)) => heard.push("end".into()),
                Ok(None) => break,
                Err(error) => {
                    heard.push(error.condition.as_str().into());
                    return heard;
                }
            }
            assert!(framer.held() <= 2 * BOUNDS.stanza_bytes_max + HEADER_BYTES_MAX, "memory is bounded");
        }
    }
    heard
}

use crate::wire::stanza::NsRef;

/// The condition that `body` behind a good header meets, if any; the same in one piece and byte by byte.
fn verdict(body: &[u8]) -> Option<String> {
    let all = [HEADER.as_bytes(), body].concat();
    let whole = hear(&[&all]);
    let bytes: Vec<&[u8]> = all.chunks(1).collect();
    let single = hear(&bytes);
    let condition = |heard: &[String]| heard.last().filter(|last| !last.contains(' ') && *last != "end").cloned();
    assert_eq!(condition(&whole), condition(&single), "one piece and single bytes: {}", String::from_utf8_lossy(body));
    condition(&whole)
}

fn refused(body: impl AsRef<[u8]>, condition: C) {
    let body = body.as_ref();
    assert_eq!(verdict(body).as_deref(), Some(condition.as_str()), "{}", String::from_utf8_lossy(body));
}

fn accepted(body: impl AsRef<[u8]>) -> String {
    let body = body.as_ref();
    assert_eq!(verdict(body), None, "{}", String::from_utf8_lossy(body));
    hear(&[HEADER.as_bytes(), body]).pop().unwrap_or_default()
}

#[test]
fn s1_what_rfc_6120_restricts_is_restricted_xml() {
    for body in [
        "<!DOCTYPE x>",
        "<!DOCTYPE lolz [<!ENTITY lol 'lol'>]><message/>",
        "<!-- hello --><message/>",
        "<?php x?><message/>",
        "<message><!-- hello --></message>",
        "<message><?x y?></message>",
        "<message><!DOCTYPE x></message>",
        "<message><body>&lol;</body></message>",
        "<message to='&nbsp;'/>",
        "<message><!ELEMENT x></message>",
        "<![CDATA[x]]>",
    ] {
        refused(body, C::RestrictedXml);
    }
}

#[test]
fn s5_what_is_not_well_formed_is_said_to_be() {
    for body in [
        "<message></iq>",
        "<message><a></message></a>",
        "<message a='1' a='2'/>",
        "<message xmlns:p='urn:x' xmlns:q='urn:x' p:a='1' q:a='2'/>",
        "<message a='<'/>",
        "<message a='1'b='2'/>",
        "<message a=1/>",
        "<message a/>",
        "<message>]]></message>",
        "<message>\u{1}</message>",
        "<message>\0</message>",
        "<message a='\u{b}'/>",
        "<message>\u{FFFE}</message>",
        "<message>\u{FFFF}</message>",
        "<message>&#0;</message>",
        "<message>&#xD800;</message>",
        "<message>&#xFFFE;</message>",
        "<message>&#x110000;</message>",
        "<message>&#;</message>",
        "<message>& </message>",
        "<message a='&#1;'/>",
        "<message><1a/></message>",
        "<message><-a/></message>",
        "<message/ >",
        "<message / >",
        "<message><a<b/></message>",
        "<message><\u{D7}/></message>",
        "</message>",
        "<message></message a='1'>",
        "<message><a></a/></message>",
        "< message/>",
    ] {
        refused(body, C::NotWellFormed);
    }
    for bytes in [&b"<message>\xff</message>"[..], b"<message>\xed\xa0\x80</message>", b"<message>\xc0\x80</message>"] {
        refused(bytes, C::NotWellFormed);
    }
}

#[test]
fn s5_prefixes_are_bound_and_reserved_ones_are_not_rebound() {
    for body in [
        "<p:message/>",
        "<message><p:x/></message>",
        "<message p:a='1'/>",
        "<message xmlns:p=''/>",
        "<message xmlns:xml='urn:x'/>",
        "<message xmlns:xmlns='urn:x'/>",
        "<message xmlns:p='http://www.w3.org/XML/1998/namespace'/>",
        "<message xmlns='http://www.w3.org/2000/xmlns/'/>",
        "<message xmlns:p='urn:x'><x/></message><p:x/>",
        "<a:b:c/>",
    ] {
        refused(body, C::BadNamespacePrefix);
    }
}

#[test]
fn text_between_elements_is_bad_format() {
    refused("hello", C::BadFormat);
    refused("<message/>hello", C::BadFormat);
    refused("\u{FEFF}<message/>", C::BadFormat);
}

#[test]
fn s2_sizes_are_bounded_before_anything_is_complete() {
    let long = "x".repeat(BOUNDS.stanza_bytes_max);
    for body in [
        format!("<message>{long}"),
        format!("<message>{long}</message>"),
        format!("<message {long}"),
        format!("<message a='{long}"),
        format!("<{long}"),
        format!("<message><![CDATA[{long}"),
        format!("<message>{}", "<a>".repeat(30)),
        format!("<message>{}{}</message>", "<a>".repeat(30), "</a>".repeat(30)),
        format!("<message {}/>", (0..40).map(|n| format!("a{n}='' ")).collect::<String>()),
        format!("<message>{}</message>", "<a/>".repeat(BOUNDS.stanza_bytes_max)),
    ] {
        refused(body, C::PolicyViolation);
    }
}

#[test]
fn s2_a_header_is_bounded_too() {
    let long = "x".repeat(HEADER_BYTES_MAX);
    for header in [format!("<stream:stream to='{long}"), format!("<?xml {long}"), format!("<{long}")] {
        assert_eq!(hear(&[header.as_bytes()]), ["policy-violation"]);
    }
}

#[test]
fn white_space_costs_nothing() {
    let mut framer = Framer::new(BOUNDS);
    let mut outline = Outline::default();
    let mut input = HEADER.as_bytes();
    assert!(framer.next(&mut input, &mut outline).unwrap().is_some());
    let spaces = vec![b' '; 1_000_000];
    assert!(framer.next(&mut &spaces[..], &mut outline).unwrap().is_none());
    assert_eq!(framer.held(), 0);
}

#[test]
fn headers_say_what_they_say() {
    let header = |text: &str| hear(&[text.as_bytes()]).pop().unwrap_or_default();
    let good = header(HEADER);
    assert!(good.contains("to: Some(\"home.example\")") && good.contains("is_stream: true"), "{good}");
    assert!(header("\n <stream:stream xmlns:stream='http://etherx.jabber.org/streams'>").contains("content_ns: None"));
    assert!(header("<s xmlns='http://etherx.jabber.org/streams'>").contains("is_stream: false"));
    assert!(header("<stream xmlns='http://etherx.jabber.org/streams'>").contains("is_stream: true"));
    assert_eq!(header("<stream:stream xmlns='jabber:client'>"), "bad-namespace-prefix");
    assert_eq!(header("<?xml version='1.0' encoding='latin1'?><a>"), "unsupported-encoding");
    assert_eq!(header("<?xml version='1.1'?><a>"), "not-well-formed");
    assert_eq!(header("<!DOCTYPE x><a>"), "restricted-xml");
    assert_eq!(header("\u{FEFF}<a>"), "bad-format");
    assert_eq!(header("GET / HTTP/1.1\r\n"), "bad-format");
    assert_eq!(header("\u{16}\u{3}\u{1}"), "bad-format");
}

#[test]
fn namespaces_of_children_are_those_of_the_document() {
    let heard = accepted(
        "<message xmlns:p='urn:p'><body>x</body><p:a/><b xmlns='urn:b'><c/></b><d xmlns='jabber:client'/><e xmlns=''/></message>",
    );
    for want in ["body|Content|", "a|urn:p|<p:a/>", "b|urn:b|<b", "d|Content|", "e||<e xmlns=''/>"] {
        assert!(heard.contains(want), "{want} in {heard}");
    }
}

#[test]
fn what_leans_on_the_header_is_made_to_stand_alone() {
    let header = "<stream:stream to='a' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
                  xmlns:h='urn:h'>";
    let heard = hear(&[header.as_bytes(), b"<message><h:x/></message>"]).pop().unwrap();
    assert!(heard.starts_with("<message xmlns:h='urn:h'><h:x/></message>"), "{heard}");
    assert!(heard.contains("x|urn:h|<h:x/>"), "{heard}");
    let heard = accepted("<c:message xmlns:c='jabber:client' xmlns='urn:x'><y/><c:body>z</c:body></c:message>");
    assert!(heard.starts_with("<message><y xmlns='urn:x'/><body>z</body></message>"), "{heard}");
    let heard = accepted("<message><stanza-id xmlns='urn:xmpp:sid&#58;0'/></message>");
    assert!(heard.contains("stanza-id|urn:xmpp:sid:0|"), "{heard}");
}

#[test]
fn an_end_is_an_end() {
    assert_eq!(hear(&[HEADER.as_bytes(), b"<presence/></stream:stream>"]).pop().as_deref(), Some("end"));
    assert_eq!(hear(&[HEADER.as_bytes(), b"</stream:stream >garbage <"]).pop().as_deref(), Some("end"));
    refused("</stream:strea>", C::NotWellFormed);
    refused("</stream:streams>", C::NotWellFormed);
}

#[test]
fn an_idle_framer_is_small() {
    assert!(size_of::<Framer>() <= 200, "{}", size_of::<Framer>());
}

/// Pieces of documents, good and bad, from which inputs are put together.
const PARTS: &[&str] = &[
    "<message to='a@b' id='1'>",
    "</message>",
    "<body>hello &amp; goodbye</body>",
    "<presence/>",
    "<iq type='get' id=\"x'y\"><query xmlns='jabber:iq:roster'/></iq>",
    "<x:y xmlns:x='urn:x' x:a='1'/>",
    "<![CDATA[<&>]]>",
    " \n",
    "&#65;",
    "]]>",
    "<!--",
    "<?x?>",
    "</stream:stream>",
    "\u{FFFD}ü",
    "<a><b><c></c></b></a>",
    "<stream:error/>",
    "'",
    ">",
    "<",
    "&lt",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]
    #[test]
    fn however_the_bytes_are_cut_the_framer_hears_the_same(
        parts in prop::collection::vec(0..PARTS.len(), 1..10),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        flip in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let mut all = HEADER.as_bytes().to_vec();
        parts.iter().for_each(|at| all.extend_from_slice(PARTS[*at].as_bytes()));
        if let Some((at, byte)) = flip {
            let at = at.index(all.len());
            all[at] = byte;
        }
        let mut cuts: Vec<_> = cuts.iter().map(|at| at.index(all.len())).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(&all[from..cut]);
            from = cut;
        }
        pieces.push(&all[from..]);
        let whole = hear(&[&all]);
        prop_assert_eq!(&whole, &hear(&pieces));
        prop_assert_eq!(&whole, &hear(&all.chunks(1).collect::<Vec<_>>()));
        // Whatever passes can be read by the tree as well.
        for line in whole.iter().filter(|line| line.starts_with('<')) {
            let end = line.find(" Outline").unwrap_or(line.len());
            prop_assert!(Element::parse(&line.as_bytes()[..end], ns::CLIENT).is_ok(), "{}", line);
        }
    }
}
