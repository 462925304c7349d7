//! Notes what somebody has read when they tell the other side, so that their own devices know as well.
//!
//! Source: XEP-0490 v1.0.1 §4.5, server assist. The node itself (`urn:xmpp:mds:displayed:0`) is one of publish-subscribe
//! like others. Invariants: `<displayed/>` of this namespace never leaves its sender's account, is never archived and never
//! copied (§5.2); what is published is told to nobody but the account's own devices (§7).

use crate::{
    domain::nodes,
    limits,
    router::{
        context::Ctx,
        service::{Card, ChangeNode, Flow, Leg, Phase, Scope, Service},
    },
    wire::{
        element::Element,
        framer, ns,
        stanza::{AttrName, Kind, Stanza, Type},
    },
};

/// XEP-0490.
#[derive(Debug)]
pub struct Displayed;

static CARD: Card = Card {
    name: "displayed",
    source: "XEP-0490 v1.0.1",
    features: &[(Scope::Own, ns::DISPLAYED_ASSIST)],
    stream_features: &[],
    iq: &[],
    // §5.2: before it is stored, and before it is copied.
    passes: &[(Kind::Message, Leg::Outbound, Phase::Clean)],
};

/// XEP-0490 §4.2, the example.
const SETTINGS: &[(&str, &str)] = &[
    ("persist_items", "1"),
    ("max_items", "max"),
    ("send_last_published_item", "never"),
    ("access_model", "whitelist"),
];

impl Service for Displayed {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn leans_on(&self) -> &'static [(&'static str, &'static str)] {
        &[(ns::DISPLAYED_ASSIST, ns::PUBSUB)]
    }

    fn pass(&mut self, _: (Leg, Phase), stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
        if stanza.has("displayed", ns::DISPLAYED) {
            let displayed = stanza.find("displayed", ns::DISPLAYED);
            stanza.cut(|name, namespace, _| (name, namespace) == ("displayed", ns::DISPLAYED));
            if let Some(displayed) = displayed.filter(|_| stanza.ty != Type::Error) {
                note(stanza, displayed, ctx);
            }
        }
        Flow::Continue
    }
}

/// §4.5.3: the item's id is `to` as it stands; neither that nor the stanza-id is looked at (§5.2). A message without it is for
/// the account itself (RFC 6120 §10.3.1).
fn note(stanza: &Stanza, displayed: Element, ctx: &mut Ctx<'_>) {
    let written = stanza.attr_raw(AttrName::To).map(framer::unescape);
    let Some(chat) = written.or_else(|| stanza.to.as_ref().map(|to| to.as_str().into())) else { return };
    let Some(account) = ctx.account(&stanza.from).filter(|_| chat.len() <= limits::ITEM_ID_BYTES_MAX) else { return };
    nodes::close(&mut ctx.store(), account, ns::DISPLAYED, limits::NODE_ITEMS_MAX);
    let change = ChangeNode::Publish { item: chat.into(), payload: displayed, settings: SETTINGS };
    ctx.change_node(account, ns::DISPLAYED, change);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::ids::SessionId,
        router::testing::{House, Out, to_session},
    };

    const MARKER: &str = "<displayed xmlns='urn:xmpp:chat-markers:0' id='the-msg-1'/>";
    const READ: &str = "<displayed xmlns='urn:xmpp:mds:displayed:0'>\
                        <stanza-id xmlns='urn:xmpp:sid:0' by='juliet@capulet.lit' id='0423e3a9'/></displayed>";

    /// Juliet on her balcony reads what Romeo wrote; her telephone copies everything and wants to hear of it.
    struct Play {
        house: House,
        balcony: SessionId,
        phone: SessionId,
        romeo: SessionId,
    }

    impl Play {
        fn new() -> Play {
            let mut house = House::new();
            let [balcony, phone, romeo] =
                ["juliet@capulet.lit/balcony", "juliet@capulet.lit/phone", "romeo@capulet.lit/orchard"]
                    .map(|jid| house.available(jid));
            house.core.sessions.set_carbons(phone, true);
            house.core.sessions.session_mut(phone).unwrap().wants_nodes =
                std::iter::once(ns::DISPLAYED.into()).collect();
            Play { house, balcony, phone, romeo }
        }

        fn says(&mut self, to: &str, children: &str) -> Out {
            let balcony = self.balcony;
            self.house.send(balcony, &format!("<message {to} type='chat'>{children}</message>"))
        }

        fn items(&mut self) -> Vec<String> {
            let owner = self.house.account("juliet@capulet.lit");
            let mut ctx = self.house.ctx();
            let store = ctx.store();
            let Some(node) = nodes::find(&store, owner, ns::DISPLAYED) else { return Vec::new() };
            let items = nodes::page(&store, owner, node.id, nodes::Span::default(), false, 10);
            items.into_iter().map(|item| item.id).collect()
        }
    }

    fn event(out: &Out) -> Option<&str> {
        out.iter().find_map(|(_, xml)| Some(xml.split_once("pubsub#event'>")?.1.split_once("</event>")?.0))
    }

    #[test]
    fn one_message_tells_the_sender_and_the_own_devices() {
        // §4.5.3, the examples.
        let mut play = Play::new();
        let out = play.says("to='romeo@capulet.lit'", &[MARKER, READ].concat());
        let romeo = to_session(&out, play.romeo);
        assert!(romeo.len() == 1 && romeo[0].1.contains(MARKER), "{romeo:?}");
        let phone = to_session(&out, play.phone);
        let item = format!("<items node='{}'><item id='romeo@capulet.lit'>{READ}</item></items>", ns::DISPLAYED);
        assert_eq!(event(&phone), Some(item.as_str()), "{phone:?}");
        // Neither Romeo, nor the copy, nor what is kept has it.
        for (_, xml) in out.iter().filter(|(_, xml)| !xml.contains("pubsub#event")) {
            assert!(!xml.contains(ns::DISPLAYED), "{xml}");
        }
        assert!(phone.iter().any(|(_, xml)| xml.contains("<sent ") && xml.contains(MARKER)), "{phone:?}");
    }

    #[test]
    fn nobody_else_may_read_it() {
        // §7.
        let mut play = Play::new();
        play.house.subscribe("juliet@capulet.lit", "romeo@capulet.lit");
        let nodes = std::iter::once(ns::DISPLAYED.into()).collect();
        play.house.core.sessions.session_mut(play.romeo).unwrap().wants_nodes = nodes;
        let open = "<pubsub xmlns='http://jabber.org/protocol/pubsub'><create node='urn:xmpp:mds:displayed:0'/><configure>\
                    <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
                    <value>http://jabber.org/protocol/pubsub#node_config</value></field>\
                    <field var='pubsub#access_model'><value>open</value></field></x></configure></pubsub>";
        for create in [None, Some(open)] {
            if let Some(create) = create {
                play = Play::new();
                let balcony = play.balcony;
                play.house.send(balcony, &format!("<iq type='set' id='c'>{create}</iq>"));
            }
            let out = play.says("to='romeo@capulet.lit'", &[MARKER, READ].concat());
            assert!(to_session(&out, play.romeo).iter().all(|(_, xml)| !xml.contains(ns::DISPLAYED)), "{out:?}");
            let ask =
                "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:mds:displayed:0'/></pubsub>";
            let romeo = play.romeo;
            let out = play.house.send(romeo, &format!("<iq type='get' id='g' to='juliet@capulet.lit'>{ask}</iq>"));
            assert!(out[0].1.contains("type='error'"), "{out:?}");
        }
    }

    #[test]
    fn the_item_is_named_as_the_message_was_addressed() {
        let mut play = Play::new();
        for to in ["to='romeo@capulet.lit'", "to='room@rooms.capulet.lit/A &amp; B'", ""] {
            play.says(to, &[MARKER, READ].concat());
        }
        assert_eq!(play.items(), ["romeo@capulet.lit", "room@rooms.capulet.lit/A & B", "juliet@capulet.lit"]);
        // An answer with an error reads nothing, and is not sent on with it.
        let (balcony, romeo) = (play.balcony, play.romeo);
        let out =
            play.house.send(balcony, &format!("<message to='romeo@capulet.lit/orchard' type='error'>{READ}</message>"));
        assert!(to_session(&out, romeo).iter().all(|(_, xml)| !xml.contains(ns::DISPLAYED)), "{out:?}");
        assert_eq!(play.items().len(), 3);
    }

    #[test]
    fn what_others_send_is_theirs() {
        let mut play = Play::new();
        let (romeo, balcony) = (play.romeo, play.balcony);
        play.house.send(romeo, &format!("<message to='juliet@capulet.lit' type='chat'>{MARKER}{READ}</message>"));
        assert_eq!(play.items(), [""; 0]);
        assert!(play.house.core.sessions.session(balcony).is_some());
    }
}
