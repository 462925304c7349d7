//! Stanzas read from what the framer gives out.

use super::*;
use crate::wire::framer::{Bounds, Frame, Framer};

/// What the framer makes of one element on a stream with this content namespace.
fn framed(content: &str, text: &str) -> (Vec<u8>, Outline) {
    let stream = format!("<stream:stream xmlns='{content}' xmlns:stream='{}'>{text}", ns::STREAM);
    let mut framer = Framer::new(Bounds { stanza_bytes_max: 10_000, depth_max: 20 });
    let (mut input, mut outline) = (stream.as_bytes(), Outline::default());
    assert!(matches!(framer.next(&mut input, &mut outline), Ok(Some(Frame::Header(_)))));
    match framer.next(&mut input, &mut outline) {
        Ok(Some(Frame::Element(bytes))) => (bytes.to_vec(), outline),
        other => panic!("{other:?}"),
    }
}

fn stanza(text: &str) -> Stanza {
    stanza_of(ns::CLIENT, text).expect("a stanza")
}

fn stanza_of(content: &str, text: &str) -> Option<Stanza> {
    let (bytes, outline) = framed(content, text);
    Stanza::read(&bytes, outline, Jid::parse("romeo@example.net/phone").unwrap(), Jid::parse("juliet@example.com").ok())
}

fn sent(stanza: &Stanza) -> String {
    String::from_utf8(stanza.to_vec()).unwrap()
}

const CHAT: &str = "<message from='forged@x' to='y' type='chat' id='1'><body>Hi</body><stanza-id xmlns='urn:xmpp:sid:0' by='a'/><a xmlns='urn:a'/></message>";

#[test]
fn a_framed_stanza_gets_a_fresh_opening_tag_and_keeps_its_body() {
    let stanza = stanza(CHAT);
    assert_eq!((stanza.kind, stanza.ty, stanza.id_raw()), (Kind::Message, Type::Chat, Some("1")));
    assert_eq!(
        sent(&stanza),
        "<message from='romeo@example.net/phone' to='juliet@example.com' type='chat' id='1'><body>Hi</body>\
         <stanza-id xmlns='urn:xmpp:sid:0' by='a'/><a xmlns='urn:a'/></message>"
    );
    assert!(stanza.has("body", ns::CLIENT) && stanza.has("stanza-id", ns::SID) && stanza.has("a", "urn:a"));
}

#[test]
fn cut_children_are_gone_and_the_others_keep_their_names() {
    let mut stanza = stanza(CHAT);
    stanza.cut(|name, uri, _| name == "stanza-id" && uri == ns::SID);
    assert_eq!(
        stanza.children().map(|(_, name, uri)| (name, uri)).collect::<Vec<_>>(),
        [("body", ns::CLIENT), ("a", "urn:a")]
    );
    assert_eq!(stanza.child_bytes(1), Some(&b"<a xmlns='urn:a'/>"[..]));
    assert!(sent(&stanza).ends_with("<body>Hi</body><a xmlns='urn:a'/></message>"));
    stanza.cut(|_, _, _| true);
    assert_eq!(sent(&stanza), "<message from='romeo@example.net/phone' to='juliet@example.com' type='chat' id='1'/>");
    stanza.add(b"<x/>");
    assert!(sent(&stanza).ends_with("id='1'><x/></message>"));
}

#[test]
fn a_namespace_declared_on_the_stanza_survives_a_cut_before_it() {
    let mut stanza = stanza("<message xmlns:p='urn:p'><body/><p:a/></message>");
    stanza.cut(|name, _, _| name == "body");
    assert_eq!(stanza.children().next(), Some((0, "a", "urn:p")));
    assert!(stanza.declares_prefixes());
    assert!(sent(&stanza).contains(" xmlns:p='urn:p'>"));
    assert_eq!(stanza.find("a", "urn:p").unwrap().name, "a");
}

#[test]
fn an_empty_stanza_in_any_spelling_is_forwarded_whole() {
    for text in
        ["<presence/>", "<presence></presence>", "<presence ></presence >", "<c:presence xmlns:c='jabber:client'/>"]
    {
        let mut stanza = stanza(text);
        assert!(stanza.is_empty());
        assert_eq!(sent(&stanza), "<presence from='romeo@example.net/phone' to='juliet@example.com'/>");
        stanza.add(b"<x/>");
        assert_eq!(sent(&stanza), "<presence from='romeo@example.net/phone' to='juliet@example.com'><x/></presence>");
    }
}

#[test]
fn s5_a_type_written_with_references_is_the_type_that_others_read() {
    assert_eq!(stanza("<message type='gr&#111;upchat'/>").ty, Type::Groupchat);
    assert_eq!(stanza("<iq type='&#x73;et'/>").ty, Type::Set);
}

#[test]
fn a_stanza_of_another_namespace_is_none() {
    for text in ["<message xmlns='jabber:server'/>", "<message xmlns=''/>", "<p:iq xmlns:p='urn:p'/>", "<stream:iq/>"] {
        assert!(stanza_of(ns::CLIENT, text).is_none(), "{text}");
    }
    assert!(stanza_of(ns::SERVER, "<message xmlns='jabber:client'/>").is_none());
}

#[test]
fn stanzas_of_peers_become_those_of_clients() {
    for text in [
        "<message><body>x</body><f xmlns='urn:f'/></message>",
        "<message xmlns='jabber:server'><body>x</body><f xmlns='urn:f'/></message>",
        "<message><body xmlns='jabber:server'>x</body><f xmlns='urn:f'/></message>",
        "<s:message xmlns:s='jabber:server'><s:body>x</s:body><f xmlns='urn:f'/></s:message>",
    ] {
        let stanza = stanza_of(ns::SERVER, text).expect("a stanza");
        assert!(!sent(&stanza).contains("jabber:server"), "{text}: {}", sent(&stanza));
        assert_eq!(stanza.find("body", ns::CLIENT).expect(text).content(), "x");
        assert!(stanza.find("f", "urn:f").is_some());
    }
}

#[test]
fn a_child_without_namespace_is_not_taken_for_one_of_the_content() {
    let stanza = stanza("<message><body xmlns=''>x</body></message>");
    assert!(stanza.has("body", "") && !stanza.has("body", ns::CLIENT));
    assert_eq!(stanza.find("body", "").unwrap().ns, "");
}

#[test]
fn a_built_stanza_has_the_outline_that_the_framer_finds() {
    let tree = Element::new("message", ns::CLIENT)
        .attr("type", "chat")
        .attr("id", "a\n'b")
        .child(Element::new("body", ns::CLIENT).text("<&>"))
        .child(Element::new("x", "urn:x").attr("a", "1"))
        .child(Element::new("y", "urn:a'&b"))
        .child(Element::new("z", ""));
    let (bytes, outline) = outline_of(&tree);
    assert_eq!(framed(ns::CLIENT, std::str::from_utf8(&bytes).unwrap()), (bytes, outline));
}
