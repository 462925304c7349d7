//! Publish-subscribe from the specifications' own examples.

mod clients;
mod nodes;
mod personal;
mod subscribers;

use crate::{
    domain::ids::SessionId,
    router::testing::{House, Out, condition_of, result_of, to_session},
};

pub(super) const TUNE: &str = "<tune xmlns='http://jabber.org/protocol/tune'><artist>Gerald Finzi</artist></tune>";
pub(super) const NODE: &str = "http://jabber.org/protocol/tune";

/// A house with people in it who say what they want to hear of.
pub(super) struct Play {
    pub house: House,
}

impl Play {
    pub fn new() -> Play {
        Play { house: House::new() }
    }

    /// Somebody online who wants to hear of these nodes.
    pub fn online(&mut self, full: &str, nodes: &[&str]) -> SessionId {
        let id = self.house.available(full);
        let mut nodes: Vec<Box<str>> = nodes.iter().map(|node| Box::from(*node)).collect();
        nodes.sort();
        self.house.core.sessions.session_mut(id).unwrap().wants_nodes = nodes.into();
        id
    }

    /// A request in the namespace for everybody (`set`, `get`) or for owners (`owner set`, `owner get`).
    pub fn ask(&mut self, who: SessionId, how: &str, to: &str, inner: &str) -> Out {
        let (ns, ty) = match how.strip_prefix("owner ") {
            Some(ty) => ("http://jabber.org/protocol/pubsub#owner", ty),
            None => ("http://jabber.org/protocol/pubsub", how),
        };
        let to = if to.is_empty() { String::new() } else { format!(" to='{to}'") };
        self.house.send(who, &format!("<iq type='{ty}' id='i'{to}><pubsub xmlns='{ns}'>{inner}</pubsub></iq>"))
    }

    /// The same; the answer, which is a result.
    pub fn get(&mut self, who: SessionId, how: &str, to: &str, inner: &str) -> String {
        let out = self.ask(who, how, to, inner);
        result_of(&answers(&out, who))
    }

    /// The same; the condition of the answer, which is an error.
    pub fn refused(&mut self, who: SessionId, how: &str, to: &str, inner: &str) -> String {
        let out = self.ask(who, how, to, inner);
        let condition = condition_of(&answers(&out, who));
        match out[0].1.split_once("http://jabber.org/protocol/pubsub#errors") {
            Some((before, _)) => {
                let app = before.rsplit_once('<').unwrap().1.split(' ').next().unwrap();
                format!("{condition} {app}")
            }
            None => condition,
        }
    }

    /// Publishes; what everybody is told.
    pub fn publish(&mut self, who: SessionId, to: &str, node: &str, item: &str) -> Out {
        let out = self.ask(who, "set", to, &format!("<publish node='{node}'>{item}</publish>"));
        result_of(&answers(&out, who));
        events(&out)
    }

    pub fn publish_with(&mut self, who: SessionId, node: &str, item: &str, options: &[(&str, &str)]) -> Out {
        let inner = format!("<publish node='{node}'>{item}</publish>{}", self::options(options));
        let out = self.ask(who, "set", "", &inner);
        result_of(&answers(&out, who));
        events(&out)
    }

    /// Changes settings of a node.
    pub fn configure(&mut self, who: SessionId, to: &str, node: &str, settings: &[(&str, &str)]) -> Out {
        let inner = format!("<configure node='{node}'>{}</configure>", form("node_config", settings));
        let out = self.ask(who, "owner set", to, &inner);
        assert_eq!(result_of(&answers(&out, who)), "");
        events(&out)
    }

    /// The ids of a node's items as somebody reads them.
    pub fn ids(&mut self, who: SessionId, to: &str, items: &str) -> String {
        let found = self.get(who, "get", to, items);
        let ids = found.split("<item id='").skip(1).map(|rest| rest.split('\'').next().unwrap().to_owned());
        ids.collect::<Vec<_>>().join(" ")
    }
}

pub(super) fn form(kind: &str, settings: &[(&str, &str)]) -> String {
    let fields = settings.iter().map(|(name, value)| {
        let values: String = value.split('|').map(|value| format!("<value>{value}</value>")).collect();
        format!("<field var='pubsub#{name}'>{values}</field>")
    });
    let kind = format!("<field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#{kind}</value></field>");
    format!("<x xmlns='jabber:x:data' type='submit'>{kind}{}</x>", fields.collect::<String>())
}

pub(super) fn options(settings: &[(&str, &str)]) -> String {
    format!("<publish-options>{}</publish-options>", form("publish-options", settings))
}

pub(super) fn item(id: &str) -> String {
    format!("<item id='{id}'>{TUNE}</item>")
}

pub(super) fn answers(out: &Out, who: SessionId) -> Out {
    to_session(out, who).into_iter().filter(|(_, xml)| xml.starts_with("<iq")).collect()
}

pub(super) fn events(out: &Out) -> Out {
    out.iter().filter(|(_, xml)| xml.starts_with("<message")).cloned().collect()
}

pub(super) fn hears(out: &Out, who: SessionId) -> usize {
    events(&to_session(out, who)).len()
}
