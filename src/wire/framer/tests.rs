//! The framer against good, hostile, oversized and cut input; S-numbers are those of the security checklist.

use proptest::prelude::*;

use super::*;
use crate::wire::{
    error::StreamCondition::{self, *},
    ns,
    stanza::{AttrName, NsRef, Outline, slice},
};

const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' to='a.example' version='1.0' xmlns:stream='http://etherx.jabber.org/streams'>";
const CHAT: &str = "<message to='juliet@example.com/balcony' id='a1' type='chat' xml:lang='en'><body>Art thou not Romeo?</body><active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/><origin-id xmlns='urn:xmpp:sid:0' id='a1'/></message>";
const BOUNDS: Bounds = Bounds { stanza_bytes_max: 20_000, depth_max: 32 };

/// What came out of a stream, in a form that can be compared.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Header(String),
    Element(String, Outline),
    End,
    Error(StreamCondition),
}

/// Feeds the pieces one after the other.
fn feed<'a>(framer: &mut Framer, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut outline = Outline::default();
    for piece in pieces {
        let mut input = piece;
        loop {
            let before = input.len();
            match framer.next(&mut input, &mut outline) {
                Ok(Some(Frame::Header(header))) => seen.push(Seen::Header(format!("{header:?}"))),
                Ok(Some(Frame::Element(bytes))) => {
                    let text = std::str::from_utf8(bytes).unwrap().to_owned();
                    seen.push(Seen::Element(text, outline.clone()));
                }
                Ok(Some(Frame::End)) => seen.push(Seen::End),
                Ok(None) => {
                    assert!(input.is_empty(), "all must be taken");
                    break;
                }
                Err(error) => {
                    seen.push(Seen::Error(error.condition));
                    return seen;
                }
            }
            assert!(input.len() <= before);
        }
        assert!(framer.held_bytes() <= 2 * BOUNDS.stanza_bytes_max + 4096, "{}", framer.held_bytes());
    }
    seen
}

fn whole(bytes: &[u8]) -> Vec<Seen> {
    feed(&mut Framer::new(BOUNDS), [bytes])
}

/// Whole, byte by byte and in sevens, which must agree.
fn agreed(bytes: &[u8]) -> Vec<Seen> {
    let seen = whole(bytes);
    assert_eq!(seen, feed(&mut Framer::new(BOUNDS), bytes.chunks(1)), "byte by byte: {}", bytes.escape_ascii());
    assert_eq!(seen, feed(&mut Framer::new(BOUNDS), bytes.chunks(7)), "in sevens: {}", bytes.escape_ascii());
    seen
}

/// What follows the usual header.
fn after_header(text: impl AsRef<[u8]>) -> Vec<Seen> {
    let mut seen = agreed(&[HEADER.as_bytes(), text.as_ref()].concat());
    assert!(matches!(seen.remove(0), Seen::Header(_)));
    seen
}

/// The one element that comes of this.
fn element(text: &str) -> (String, Outline) {
    match &after_header(text)[..] {
        [Seen::Element(bytes, outline)] => (bytes.clone(), outline.clone()),
        other => panic!("{text}: {other:?}"),
    }
}

fn is(seen: &[Seen], condition: StreamCondition) -> bool {
    seen.last() == Some(&Seen::Error(condition))
}

#[track_caller]
fn refused(text: impl AsRef<[u8]>, condition: StreamCondition) {
    let seen = after_header(text.as_ref());
    assert!(is(&seen, condition), "{}: {seen:?}", text.as_ref().escape_ascii());
}

/// Inside a message.
#[track_caller]
fn refused_inside(text: impl AsRef<[u8]>, condition: StreamCondition) {
    refused([b"<message><body>".as_ref(), text.as_ref(), b"</body></message>"].concat(), condition);
}

fn header(text: &str) -> Header {
    let mut framer = Framer::new(BOUNDS);
    match framer.next(&mut text.as_bytes(), &mut Outline::default()) {
        Ok(Some(Frame::Header(header))) => *header,
        other => panic!("{other:?}"),
    }
}

fn namespaces<'a>(bytes: &'a str, outline: &Outline) -> Vec<(&'a str, &'a str)> {
    let of = |ns: &NsRef| match ns {
        NsRef::Content => "content",
        NsRef::Stream => "stream",
        NsRef::Local(range) => slice(bytes.as_bytes(), range),
    };
    let mut out = vec![(slice(bytes.as_bytes(), &outline.name), of(&outline.ns))];
    out.extend(outline.children.iter().map(|child| (slice(bytes.as_bytes(), &child.name), of(&child.ns))));
    out
}

#[test]
fn a_stream_gives_header_elements_and_end() {
    let text = format!("{HEADER} \n{CHAT}\t<presence/><iq  id = \"1\" ></iq >\n</stream:stream >");
    let seen = agreed(text.as_bytes());
    assert_eq!(seen.len(), 5);
    assert!(matches!(&seen[1], Seen::Element(bytes, _) if bytes == CHAT));
    assert_eq!(seen[4], Seen::End);
}

#[test]
fn an_element_in_one_slice_is_not_copied() {
    let mut framer = Framer::new(BOUNDS);
    let text = format!("{HEADER}{CHAT}");
    let mut input = text.as_bytes();
    let mut outline = Outline::default();
    framer.next(&mut input, &mut outline).unwrap();
    let at = input.as_ptr();
    let Ok(Some(Frame::Element(bytes))) = framer.next(&mut input, &mut outline) else { panic!() };
    assert_eq!(bytes.as_ptr(), at);
    assert_eq!(framer.held_bytes(), 0);
}

#[test]
fn an_idle_framer_is_small_and_owns_no_heap() {
    assert!(size_of::<Framer>() <= 400, "{}", size_of::<Framer>());
    let mut framer = Framer::new(BOUNDS);
    let text = format!("{HEADER}{CHAT}");
    feed(&mut framer, text.as_bytes().chunks(1));
    let _ = framer.next(&mut &b" "[..], &mut Outline::default());
    assert_eq!(framer.held_bytes(), 0);
    assert!(matches!(framer.scope, Scope::Client));
}

#[test]
fn the_outline_points_at_names_values_and_children() {
    let (bytes, outline) = element(CHAT);
    let at = |range| slice(bytes.as_bytes(), range);
    let attrs: Vec<_> = outline.attrs.iter().map(|attr| (attr.name, at(&attr.whole), at(&attr.value))).collect();
    assert_eq!(attrs[0], (AttrName::To, " to='juliet@example.com/balcony'", "juliet@example.com/balcony"));
    assert_eq!(attrs[1], (AttrName::Id, " id='a1'", "a1"));
    assert_eq!(attrs[2], (AttrName::Type, " type='chat'", "chat"));
    assert_eq!(attrs[3], (AttrName::Lang, " xml:lang='en'", "en"));
    assert!(at(&outline.content).starts_with("<body>") && at(&outline.content).ends_with("id='a1'/>"));
    assert_eq!(at(&outline.children[0].whole), "<body>Art thou not Romeo?</body>");
    assert_eq!(
        namespaces(&bytes, &outline),
        [
            ("message", "content"),
            ("body", "content"),
            ("active", "http://jabber.org/protocol/chatstates"),
            ("request", "urn:xmpp:receipts"),
            ("origin-id", ns::SID)
        ]
    );
}

#[test]
fn namespaces_resolve_to_whatever_declared_them() {
    for (text, expected) in [
        ("<iq><a:q xmlns:a='urn:a'/></iq>", vec![("iq", "content"), ("q", "urn:a")]),
        ("<iq xmlns:a='urn:a'><a:q/><b/></iq>", vec![("iq", "content"), ("q", "urn:a"), ("b", "content")]),
        ("<iq xmlns='jabber:server'><b/></iq>", vec![("iq", "jabber:server"), ("b", "jabber:server")]),
        ("<iq xmlns='jabber:client'><b/></iq>", vec![("iq", "content"), ("b", "content")]),
        ("<iq><b xmlns=''/></iq>", vec![("iq", "content"), ("b", "")]),
        ("<auth xmlns='urn:s'><b/></auth>", vec![("auth", "urn:s"), ("b", "urn:s")]),
        ("<p:auth xmlns:p='urn:s'><b/></p:auth>", vec![("auth", "urn:s"), ("b", "content")]),
        (
            "<iq><b xmlns='urn:b'><c xmlns='jabber:client'/></b><d/></iq>",
            vec![("iq", "content"), ("b", "urn:b"), ("d", "content")],
        ),
    ] {
        let (bytes, outline) = element(text);
        assert_eq!(bytes, text);
        assert_eq!(namespaces(&bytes, &outline), expected, "{text}");
    }
}

#[test]
fn a_prefix_on_the_content_namespace_is_corrected() {
    let (bytes, outline) = element("<c:message xmlns:c='jabber:client' to='a'><c:body>x</c:body></c:message>");
    assert_eq!(bytes, "<message to='a'><body>x</body></message>");
    assert_eq!(namespaces(&bytes, &outline), [("message", "content"), ("body", "content")]);
    let (bytes, outline) = element("<message><x:body xmlns:x='jabber:client'>x</x:body></message>");
    assert_eq!(namespaces(&bytes, &outline), [("message", "content"), ("body", "content")]);
    assert!(!bytes.contains("jabber:client"));
}

#[test]
fn references_in_namespace_names_are_resolved() {
    let (bytes, outline) = element("<iq xmlns='jabber&#58;client'><q xmlns='urn:&#120;'/></iq>");
    assert_eq!(bytes, "<iq><q xmlns='urn:x'/></iq>");
    assert_eq!(namespaces(&bytes, &outline), [("iq", "content"), ("q", "urn:x")]);
    // A name that holds the character itself stays escaped, and equals no namespace that the server knows.
    let (bytes, outline) = element("<iq><q xmlns='urn:a&amp;b'/></iq>");
    assert_eq!(namespaces(&bytes, &outline)[1], ("q", "urn:a&amp;b"));
}

#[test]
fn declarations_of_the_header_are_put_on_the_element() {
    let head = "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' xmlns:stream='http://etherx.jabber.org/streams'>";
    let seen = agreed(
        format!("{head}<db:result to='a'>key</db:result><stream:error><x/></stream:error><message/>").as_bytes(),
    );
    let [_, Seen::Element(result, outline), Seen::Element(error, error_outline), Seen::Element(message, _)] = &seen[..]
    else {
        panic!("{seen:?}")
    };
    assert_eq!(result, "<db:result xmlns:db='jabber:server:dialback' to='a'>key</db:result>");
    assert_eq!(namespaces(result, outline), [("result", "jabber:server:dialback")]);
    assert_eq!(error, "<stream:error xmlns:stream='http://etherx.jabber.org/streams'><x/></stream:error>");
    assert_eq!(error_outline.ns, NsRef::Stream);
    assert_eq!(message, "<message/>");
}

#[test]
fn a_header_without_default_namespace_leaves_it_to_the_elements() {
    let head = "<stream xmlns='http://etherx.jabber.org/streams' version='1.0'>";
    let seen = agreed(format!("{head}<message xmlns='jabber:client'><body/></message><features/></stream>").as_bytes());
    let [_, Seen::Element(a, a_outline), Seen::Element(b, b_outline), Seen::End] = &seen[..] else {
        panic!("{seen:?}")
    };
    assert_eq!(namespaces(a, a_outline), [("message", "content"), ("body", "content")]);
    assert_eq!((b.as_str(), &b_outline.ns), ("<features xmlns='http://etherx.jabber.org/streams'/>", &NsRef::Stream));
    let head = "<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns:c='jabber:client'>";
    let seen = agreed(format!("{head}<c:message><c:body/></c:message><message/></s:stream>").as_bytes());
    let [_, Seen::Element(a, a_outline), Seen::Element(b, b_outline), Seen::End] = &seen[..] else {
        panic!("{seen:?}")
    };
    assert_eq!(a, "<message><body/></message>");
    assert_eq!(a_outline.ns, NsRef::Content);
    assert_eq!(namespaces(b, b_outline), [("message", "")]);
}

#[test]
fn the_header_tells_what_the_stream_needs() {
    let text = "<?xml version=\"1.0\" encoding='utf-8' ?>\n<stream:stream from='a&amp;b' to='x' id='1' version='1.0' xml:lang='de' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
    let seen = header(text);
    assert_eq!(seen.from.as_deref(), Some("a&b"));
    assert_eq!((seen.to.as_deref(), seen.id.as_deref(), seen.version.as_deref()), (Some("x"), Some("1"), Some("1.0")));
    assert_eq!((seen.lang.as_deref(), seen.content_ns.as_deref()), (Some("de"), Some(ns::CLIENT)));
    assert!(seen.is_stream && seen.prefix.as_deref() == Some("stream"));
    let other = header("<foobar:stream xmlns='jabber:client' xmlns:foobar='http://etherx.jabber.org/streams'>");
    assert!(other.is_stream && other.prefix.as_deref() == Some("foobar"));
    assert!(!header("<stream:stream xmlns='jabber:client' xmlns:stream='urn:wrong'>").is_stream);
    assert!(!header("<stream xmlns='jabber:client'>").is_stream);
}

#[test]
fn an_empty_header_is_a_stream_that_ends() {
    let seen = agreed(b"<stream:stream xmlns:stream='http://etherx.jabber.org/streams'/><message/>");
    assert!(matches!(&seen[..], [Seen::Header(_), Seen::End]), "{seen:?}");
}

#[test]
fn what_stands_before_the_header_is_judged() {
    for (text, condition) in [
        (&b"\xEF\xBB\xBF<?xml version='1.0'?>"[..], NotWellFormed), // RFC 6120 §11.6
        (b"\xFF\xFE<\0", UnsupportedEncoding),
        (b"<\0?\0", UnsupportedEncoding),
        (b"\0<\0?", UnsupportedEncoding),
        (b"<?xml version='1.0' encoding='UTF-16'?>", UnsupportedEncoding),
        (b"<?xml version='1.0' encoding='ISO-8859-1'?>", UnsupportedEncoding),
        (b"<?xml version='1.1'?>", NotWellFormed),
        (b"<?xml encoding='utf-8'?>", NotWellFormed),
        (b"<?xml version='1.0'>", NotWellFormed),
        (b"<?xml-stylesheet href='x'?>", RestrictedXml),
        (b"<?php", RestrictedXml),
        (b"<?xml version='1.0'?><?xml version='1.0'?>", RestrictedXml),
        (b"<!DOCTYPE", RestrictedXml),
        (b"<!--", RestrictedXml),
        (b"GET / HTTP/1.1\r\n", NotWellFormed),
        (b"</stream:stream>", NotWellFormed),
        (b"<stream:stream xmlns='jabber:client'>", NotWellFormed),
        (b"\x16\x03\x01", NotWellFormed),
    ] {
        let seen = agreed(text);
        assert!(is(&seen, condition), "{}: {seen:?}", text.escape_ascii());
    }
}

#[test]
fn s1_doctype_is_restricted_xml() {
    refused("<!DOCTYPE x [<!ENTITY a 'b'>]>", RestrictedXml);
    refused_inside("<!DOCTYPE x>", RestrictedXml);
    refused("<!D", RestrictedXml);
}

#[test]
fn s1_comments_instructions_and_entities_are_restricted_xml() {
    refused_inside("<!-- x -->", RestrictedXml);
    refused("<!-", RestrictedXml);
    refused_inside("<?php x ?>", RestrictedXml);
    refused("<?x", RestrictedXml);
    refused_inside("&lol9;", RestrictedXml);
    refused_inside("&am;", RestrictedXml);
    refused_inside("&ampx;", RestrictedXml);
    refused("<message to='&nbsp;'/>", RestrictedXml);
}

#[test]
fn s5_hostile_bytes_are_refused() {
    for text in [
        &b"\x00"[..],
        b"\x01",
        b"\x0B",
        b"\x1F",
        b"\xEF\xBF\xBE",
        b"\xEF\xBF\xBF",
        b"&#0;",
        b"&#x1F;",
        b"&#xD800;",
        b"&#xFFFE;",
        b"&#x110000;",
        b"&#99999999999;",
        b"&#;",
        b"&#x;",
        b"&#xG;",
        b"&#X41;",
        b"&;",
        b"& ",
        b"&amp ",
        b"]]>",
        b"]]]>",
        b"a]]>b",
        b"<",
        b"< a/>",
        b"<1a/>",
        b"<-a/>",
        b"<.a/>",
        b"<a<b/>",
        b"<a b=<'/>",
        b"<a b='<'/>",
        b"<a b/>",
        b"<a b=c/>",
        b"<a b='c'd='e'/>",
        b"<a b='c' b='d'/>",
        b"<a b='c\x01'/>",
        b"<a / >",
        b"<a/ b>",
        b"<:a/>",
        b"<a:/>",
        b"<a:b:c/>",
        b"<p:a/>",
        b"<a p:b='c'/>",
        b"<a xmlns:p=''/>",
        b"<a xmlns:p='x' xmlns:p='y'/>",
        b"<a xmlns:p='x' xmlns:q='x' p:b='1' q:b='2'/>",
        b"<a xmlns:p='x&amp;' xmlns:q='x&#38;' p:b='1' q:b='2'/>",
        b"<a xmlns:xml='urn:x'/>",
        b"<a xmlns:xmlns='urn:x'/>",
        b"<a xmlns='http://www.w3.org/2000/xmlns/'/>",
        b"<a xmlns:p='http://www.w3.org/XML/1998/namespace'/>",
        b"<a xmlns='http://www.w3.org/XML/1998/namespace'/>",
        b"<a xmlns:p='http://www.w3.org/XML/1998/namespac&#101;'/>",
        b"<xmlns:a/>",
        b"<a></b>",
        b"<a></a b>",
        b"</a>",
        b"<a></ a>",
        b"<a><b></a></b>",
        b"<![cdata[x]]>",
        b"<![CDATA[\x01]]>",
        b"<![INCLUDE[x]]>",
        b"<a\xC2\xA0b='c'/>",
        "<\u{D7}a/>".as_bytes(),
        "<a\u{37E}/>".as_bytes(),
        b"<a&amp;b/>",
        b"<a 1='x'/>",
        b"<a =''/>",
        b"<a b=''c=''/>",
    ] {
        refused_inside(text, NotWellFormed);
    }
    for text in [&b"\xFF"[..], b"\xC0\x80", b"\xE0\x80\x80", b"\xED\xA0\x80", b"\xF4\x90\x80\x80", b"\xE2\x82", b"\x80"]
    {
        refused_inside(text, UnsupportedEncoding);
        refused_inside([b"<a b='", text, b"'/>"].concat(), UnsupportedEncoding);
        refused_inside([b"<a", text, b"/>"].concat(), UnsupportedEncoding);
        refused_inside([b"<![CDATA[", text, b"]]>"].concat(), UnsupportedEncoding);
    }
}

#[test]
fn unusual_but_legal_xml_is_taken() {
    for text in [
        "<a/>",
        "<a></a >",
        "<a\n\t b = \"'\" c='\"'/>",
        "<![CDATA[<>&]] ]>]]]]>",
        "<![CDATA[]]>",
        "a]]b]>",
        "x > y",
        "&amp;&lt;&gt;&quot;&apos;&#65;&#x41;&#x10FFFF;&#9;",
        "\u{FFFD}\u{10FFFF}\u{85}\u{7F}\u{FEFF}",
        "\r\n\t",
        "<\u{E9}l\u{E9}ment \u{4E2D}='1'/>",
        "<a\u{B7}-._1/>",
        "<_/>",
        "<a b='>'/>",
        "<a b='&lt;&#10;\n'/>",
        "<a xmlns:p='x' xmlns:q='y' p:b='1' q:b='2' b='3'/>",
        "<a xml:lang='en' xml:space='preserve'/>",
        "<a xmlns:xml='http://www.w3.org/XML/1998/namespace'/>",
        "<p:a xmlns:p='urn:p'><p:b p:c=''/></p:a>",
        "<stream:x/>",
    ] {
        let text = format!("<message><body>{text}</body></message>");
        let seen = after_header(&text);
        assert!(matches!(&seen[..], [Seen::Element(..)]), "{text}: {seen:?}");
    }
}

#[test]
fn only_white_space_may_stand_between_elements() {
    refused("<message/>x", BadFormat);
    refused("&amp;", BadFormat);
    refused("\u{FEFF}", BadFormat);
    refused("\0", NotWellFormed);
    refused("\u{FF}".as_bytes().split_at(1).1, UnsupportedEncoding);
    refused("<![CDATA[x]]>", NotWellFormed);
    refused("<?xml version='1.0'?>", RestrictedXml);
    refused("</stream:strea>", NotWellFormed);
    refused("</streams:stream>", NotWellFormed);
    refused("</message>", NotWellFormed);
    assert_eq!(after_header("    \r\n\t    "), []);
    assert_eq!(after_header(" ".repeat(100_000)), [], "keep-alives never end");
}

#[test]
fn s2_an_element_of_the_bound_passes_and_one_byte_more_does_not() {
    let shell = "<message><body></body></message>".len();
    let message = |len: usize| format!("<message><body>{}</body></message>", "x".repeat(len - shell));
    assert!(matches!(&after_header(message(BOUNDS.stanza_bytes_max))[..], [Seen::Element(..)]));
    refused(message(BOUNDS.stanza_bytes_max + 1), PolicyViolation);
    let mut framer = Framer::new(BOUNDS);
    let text = format!("{HEADER}{}", message(BOUNDS.stanza_bytes_max + 1));
    let mut input = text.as_bytes();
    framer.next(&mut input, &mut Outline::default()).unwrap();
    let error = framer.next(&mut input, &mut Outline::default()).unwrap_err();
    assert_eq!(error.app.as_deref(), Some("<stanza-too-big xmlns='urn:xmpp:errors'/>"));
}

#[test]
fn s2_depth_attributes_tags_children_and_declarations_are_bounded() {
    let nested = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
    assert!(matches!(&after_header(nested(32))[..], [Seen::Element(..)]));
    refused(nested(33), PolicyViolation);
    let attrs = |count: usize| (0..count).map(|at| format!(" a{at}=''")).collect::<String>();
    assert!(matches!(&after_header(format!("<a{}/>", attrs(ATTRS_MAX)))[..], [Seen::Element(..)]));
    refused(format!("<a{}/>", attrs(ATTRS_MAX + 1)), PolicyViolation);
    refused(format!("<a b='{}'/>", "x".repeat(TAG_BYTES_MAX)), PolicyViolation);
    refused(format!("<a{}", "x".repeat(TAG_BYTES_MAX)), PolicyViolation);
    refused(format!("<a{}", " ".repeat(TAG_BYTES_MAX)), PolicyViolation);
    refused(format!("<a></a{}", " ".repeat(TAG_BYTES_MAX)), PolicyViolation);
    refused(format!("<a>{}", "<b/>".repeat(CHILDREN_MAX + 1)), PolicyViolation);
    let declared: String = (0..3)
        .map(|level| format!("<a{}>", (0..25).map(|at| format!(" xmlns:p{level}x{at}='u'")).collect::<String>()))
        .collect();
    refused(declared, PolicyViolation);
    refused_inside(format!("&#{}65;", "0".repeat(40)), PolicyViolation);
}

#[test]
fn s3_the_header_is_bounded_before_anybody_is_known() {
    for text in [
        " ".repeat(HEADER_BYTES_MAX + 1),
        format!("<stream:stream to='{}", "x".repeat(HEADER_BYTES_MAX)),
        format!("<?xml {}", " ".repeat(DECLARATION_BYTES_MAX)),
        format!("<{}", "a".repeat(HEADER_BYTES_MAX)),
    ] {
        let seen = agreed(text.as_bytes());
        assert!(is(&seen, PolicyViolation), "{seen:?}");
    }
}

#[test]
fn after_an_error_everything_is_thrown_away() {
    let mut framer = Framer::new(BOUNDS);
    assert!(is(&feed(&mut framer, [&b"<!DOCTYPE"[..]]), RestrictedXml));
    assert_eq!(feed(&mut framer, [HEADER.as_bytes(), CHAT.as_bytes()]), []);
    framer.restart(BOUNDS);
    assert_eq!(feed(&mut framer, [HEADER.as_bytes(), CHAT.as_bytes()]).len(), 2);
}

/// Every file of the corpus is refused; its name begins with the condition.
#[test]
fn the_hostile_corpus_is_refused() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/framer");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let seen = agreed(&std::fs::read(&path).unwrap());
        let Some(Seen::Error(condition)) = seen.last() else { panic!("{name}: {seen:?}") };
        assert_eq!(name.split_once('.').unwrap().0, condition.as_str(), "{name}");
        count += 1;
    }
    assert!(count >= 20);
}

#[test]
fn attribute_values_are_unescaped_and_normalised() {
    assert_eq!(unescape("a&amp;b&#x43;&#10;"), "a&bC\n");
    assert_eq!(unescape("a\r\nb\tc"), "a b c");
    assert_eq!(unescape("& &x;"), "& &x;");
}

/// Whether an independent parser takes the document.
fn rxml_takes(document: &[u8]) -> bool {
    use rxml::Parse;
    let mut parser = rxml::Parser::new();
    let mut rest = document;
    loop {
        match parser.parse(&mut rest, true) {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

#[test]
fn the_other_parser_has_an_opinion() {
    assert!(rxml_takes(format!("{HEADER}{CHAT}</stream:stream>").as_bytes()));
    for text in ["<p:a/>", "<a></b>", "<a b='1' b='2'/>", "&x;", "\u{FFFE}"] {
        assert!(!rxml_takes(format!("{HEADER}{text}</stream:stream>").as_bytes()), "{text}");
    }
    assert!(!rxml_takes(HEADER.as_bytes()), "unfinished");
}

const SEEDS: [&str; 6] = [
    CHAT,
    "<iq type='get' id='1'><query xmlns='jabber:iq:roster'><p:x xmlns:p='urn:p' p:a='1' a='2'/></query></iq>",
    "<message xmlns:p='urn:p'><body>x &lt; &#65; <![CDATA[<y>]]> \u{E9}\u{4E2D}\u{1F600}</body><p:a/></message>",
    "<presence xml:lang=\"de\"><show>away</show><c xmlns='http://jabber.org/protocol/caps' ver='a&amp;b'/></presence>",
    "<c:message xmlns:c='jabber:client'><c:body/></c:message>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth><stream:error><a xmlns=''/></stream:error>",
];
const SPICE: [&[u8]; 24] = [
    b"<",
    b">",
    b"&",
    b"'",
    b"\"",
    b"/",
    b"]]>",
    b"<!--",
    b"<?x?>",
    b"\0",
    b"\xFF",
    b"\xEF\xBF\xBE",
    b"&#0;",
    b"&lt;",
    b"=",
    b" ",
    b":",
    b"xmlns",
    b" xmlns:p='urn:p'",
    b" xmlns=''",
    b" p:a='1'",
    b"<a/>",
    b"<![CDATA[",
    "\u{E9}".as_bytes(),
];

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), 0..3usize, 0..SPICE.len(), any::<u8>());
    (prop::collection::vec(0..SEEDS.len(), 1..3), prop::collection::vec(change, 0..4)).prop_map(|(seeds, changes)| {
        let mut bytes: Vec<u8> = seeds.iter().flat_map(|at| SEEDS[*at].bytes()).collect();
        for (at, what, spice, byte) in changes {
            let at = at.index(bytes.len());
            match what {
                0 => drop(bytes.splice(at..at, SPICE[spice].iter().copied())),
                // The other parser refuses a carriage return in the name of a namespace, which XML makes a space.
                1 if byte == b'\r' => {}
                1 => bytes[at] = byte,
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn s5_cutting_the_input_changes_nothing(body in mutated(), cuts in prop::collection::vec(1..60usize, 1..20)) {
        let text = [HEADER.as_bytes(), &body, b"</stream:stream>"].concat();
        let seen = whole(&text);
        prop_assert_eq!(&seen, &feed(&mut Framer::new(BOUNDS), text.chunks(1)));
        let mut pieces = Vec::new();
        let mut rest = &text[..];
        for cut in cuts.iter().cycle() {
            let (piece, tail) = rest.split_at(rest.len().min(*cut));
            pieces.push(piece);
            rest = tail;
            if rest.is_empty() { break; }
        }
        prop_assert_eq!(&seen, &feed(&mut Framer::new(BOUNDS), pieces));
    }

    #[test]
    fn s5_what_is_taken_another_strict_parser_takes(body in mutated()) {
        // It takes no name with a character of these, which XML 1.0 §2.3 allows.
        let is_unknown = |c| ('\u{FDF0}'..='\u{FFFD}').contains(&c);
        prop_assume!(!std::str::from_utf8(&body).is_ok_and(|body| body.chars().any(is_unknown)));
        let text = [HEADER.as_bytes(), &body, b"</stream:stream>"].concat();
        let seen = whole(&text);
        if seen.last() == Some(&Seen::End) {
            prop_assert!(rxml_takes(&text), "{}", text.escape_ascii());
        }
        for seen in seen {
            let Seen::Element(bytes, outline) = seen else { continue };
            let alone = format!("<w xmlns='jabber:client'>{bytes}</w>");
            prop_assert!(rxml_takes(alone.as_bytes()), "not self-contained: {alone}");
            let tree = crate::wire::element::Element::parse(bytes.as_bytes(), ns::CLIENT).expect("quick-xml reads it");
            let named: Vec<_> = std::iter::once(&tree).chain(tree.children()).map(|e| (e.name.to_string(), e.ns.to_string())).collect();
            let outlined: Vec<_> = namespaces(&bytes, &outline).into_iter().map(|(name, uri)| {
                let uri = match uri { "content" => ns::CLIENT, "stream" => ns::STREAM, other => other };
                (name.to_owned(), unescape(uri).into_owned())
            }).collect();
            prop_assert_eq!(named, outlined, "{}", bytes);
        }
    }
}
