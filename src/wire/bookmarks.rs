//! Bookmarks of rooms in both of their forms: one item a room, and all in one element.
//!
//! Source: XEP-0402 v1.2.0, XEP-0048 v1.2. Invariant: what one form says and the other cannot (extensions, links, what
//! nobody knows) stays in its own form untouched when the four things that both can say are written into it.

use std::collections::BTreeSet;

use super::{
    element::{Element, Node},
    jid::Jid,
    ns,
};

/// What both forms say of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Common {
    /// A name for people.
    pub name: Option<String>,
    /// Whether clients join when they come online.
    pub autojoin: bool,
    /// What to be called there.
    pub nick: Option<String>,
    /// How to get in.
    pub password: Option<String>,
}

impl Common {
    /// What a `<conference/>` of either form says.
    pub fn of(conference: &Element) -> Common {
        let leaf = |name| conference.leaf_text(name).filter(|text| !text.is_empty());
        Common {
            name: conference.get("name").map(str::to_owned),
            autojoin: conference.get("autojoin").is_some_and(|value| matches!(value.trim(), "true" | "1")),
            nick: leaf("nick"),
            password: leaf("password"),
        }
    }

    /// Writes it into a `<conference/>` of either form, of which nothing else changes. What says the same already stays as
    /// it is.
    pub fn write_into(&self, conference: &mut Element) {
        let before = Common::of(conference);
        if before.name != self.name {
            set_attr(conference, "name", self.name.as_deref());
        }
        if before.autojoin != self.autojoin {
            set_attr(conference, "autojoin", Some(if self.autojoin { "true" } else { "false" }));
        }
        if before.nick != self.nick {
            set_leaf(conference, "nick", self.nick.as_deref(), 0);
        }
        if before.password != self.password {
            // XEP-0048 §7, the schema: behind the nick.
            let behind = conference.nodes.iter().position(|node| is_leaf(node, "nick", &conference.ns));
            set_leaf(conference, "password", self.password.as_deref(), behind.map_or(0, |at| at + 1));
        }
    }
}

fn set_attr(element: &mut Element, name: &'static str, value: Option<&str>) {
    let at = element.attrs.iter().position(|(key, _)| key == name);
    match (at, value) {
        (Some(at), Some(value)) => element.attrs[at].1 = value.to_owned(),
        (Some(at), None) => drop(element.attrs.remove(at)),
        (None, Some(value)) => element.attrs.push((name.into(), value.to_owned())),
        (None, None) => {}
    }
}

fn is_leaf(node: &Node, name: &str, ns: &str) -> bool {
    matches!(node, Node::Element(element) if element.is(name, ns))
}

/// The first child of this name gets this text; a new one stands at `place`.
fn set_leaf(element: &mut Element, name: &'static str, text: Option<&str>, place: usize) {
    let at = element.nodes.iter().position(|node| is_leaf(node, name, &element.ns));
    let leaf = text.map(|text| Node::Element(Element::new(name, element.ns.clone()).text(text)));
    match (at, leaf) {
        (Some(at), Some(leaf)) => element.nodes[at] = leaf,
        (Some(at), None) => drop(element.nodes.remove(at)),
        (None, Some(leaf)) => element.nodes.insert(place.min(element.nodes.len()), leaf),
        (None, None) => {}
    }
}

/// A room's address as both forms agree on it; `None` for what is none: it stays in the form that it is in.
pub fn room(address: &str) -> Option<Jid> {
    Jid::parse(address).ok().filter(Jid::is_bare)
}

/// The bookmark of XEP-0402 that says the same; what `before` says beside that is kept.
pub fn native(before: Option<Element>, common: &Common) -> Element {
    let before = before.filter(|element| element.is("conference", ns::BOOKMARKS));
    let mut conference = before.unwrap_or_else(|| Element::new("conference", ns::BOOKMARKS));
    common.write_into(&mut conference);
    conference
}

/// Of what is said in a chat somebody wants to be told, XEP-0492 §3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// Of everything.
    Always,
    /// Of what mentions them.
    OnMention,
    /// Of nothing.
    Never,
}

/// What the bookmark of a chat, serialised, settles for clients of this category and type, XEP-0492 §3; and the nick that
/// its owner has there. `None`: it is no bookmark.
pub fn telling(payload: &[u8], client: (&str, &str)) -> Option<(Option<Telling>, Option<String>)> {
    let conference =
        Element::parse(payload, ns::CLIENT).ok().filter(|payload| payload.is("conference", ns::BOOKMARKS))?;
    let extensions = conference.find("extensions", ns::BOOKMARKS);
    let notify = extensions.and_then(|extensions| extensions.find("notify", ns::NOTIFY));
    // §3, from high to low: both attributes, the category alone, none.
    let specific = |child: &Element| match (child.get("identity-category"), child.get("identity-type")) {
        (Some(category), Some(ty)) if (category, ty) == client => Some(3),
        (Some(category), None) if category == client.0 => Some(2),
        (None, None) => Some(1),
        _ => None,
    };
    let settings = notify.into_iter().flat_map(Element::children).filter_map(|child| {
        let telling = match (child.ns.as_ref(), child.name.as_ref()) {
            (ns::NOTIFY, "always") => Telling::Always,
            (ns::NOTIFY, "on-mention") => Telling::OnMention,
            (ns::NOTIFY, "never") => Telling::Never,
            _ => return None,
        };
        Some((specific(child)?, telling))
    });
    let best = settings.max_by_key(|(specific, _)| *specific);
    Some((best.map(|(_, telling)| telling), Common::of(&conference).nick))
}

/// A bookmark of a room among others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bookmark {
    /// The room.
    pub room: Jid,
    /// Its address as a client wrote it.
    pub address: String,
    /// What is said of it.
    pub common: Common,
}

/// All bookmarks in one element, `<storage xmlns='storage:bookmarks'/>` of XEP-0048 §2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// The element without its content.
    shell: Element,
    /// Its content in order; of a room's bookmark, with the room.
    content: Vec<(Option<Jid>, Node)>,
}

impl Default for Collection {
    fn default() -> Collection {
        Collection { shell: Element::new("storage", ns::OLD_BOOKMARKS), content: Vec::new() }
    }
}

impl Collection {
    /// Reads the element; `None`: it is something else.
    pub fn read(mut element: Element) -> Option<Collection> {
        if !element.is("storage", ns::OLD_BOOKMARKS) {
            return None;
        }
        let nodes = std::mem::take(&mut element.nodes);
        Some(Collection { shell: element, content: nodes.into_iter().map(|node| (room_of(&node), node)).collect() })
    }

    /// As it is stored and sent.
    pub fn element(&self) -> Element {
        Element { nodes: self.content.iter().map(|(_, node)| node.clone()).collect(), ..self.shell.clone() }
    }

    /// The bookmarks of rooms, in order; of two for one room the first.
    pub fn bookmarks(&self) -> Vec<Bookmark> {
        let mut seen = BTreeSet::new();
        let rooms = self.content.iter().filter_map(|(room, node)| Some((room.clone()?, element(node)?)));
        rooms
            .filter(|(room, _)| seen.insert(room.clone()))
            .map(|(room, conference)| Bookmark {
                room,
                address: conference.get("jid").unwrap_or_default().to_owned(),
                common: Common::of(conference),
            })
            .collect()
    }

    /// What it says of a room.
    pub fn find(&self, room: &Jid) -> Option<Common> {
        let found = self.content.iter().find(|(of, _)| of.as_ref() == Some(room));
        found.and_then(|(_, node)| element(node)).map(Common::of)
    }

    /// Says this of a room; of two bookmarks for it, in the first. `address` is how the other form writes it.
    pub fn set(&mut self, room: &Jid, address: &str, common: &Common) {
        match self.content.iter_mut().find(|(of, _)| of.as_ref() == Some(room)) {
            Some((_, Node::Element(conference))) => common.write_into(conference),
            _ => {
                let mut conference = Element::new("conference", ns::OLD_BOOKMARKS).attr("jid", address);
                common.write_into(&mut conference);
                self.content.push((Some(room.clone()), Node::Element(conference)));
            }
        }
    }

    /// Says nothing of a room any more.
    pub fn forget(&mut self, room: &Jid) {
        self.content.retain(|(of, _)| of.as_ref() != Some(room));
    }

    /// Forgets all rooms; the rest stays.
    pub fn forget_rooms(&mut self) {
        self.content.retain(|(room, _)| room.is_none());
    }

    /// Takes over what `other` has and this has not: rooms, and what is no bookmark of a room.
    pub fn add_missing(&mut self, other: Collection) {
        for (room, node) in other.content {
            let is_there = match &room {
                Some(room) => self.content.iter().any(|(of, _)| of.as_ref() == Some(room)),
                None => matches!(node, Node::Text(_)) || self.content.iter().any(|(_, own)| *own == node),
            };
            if !is_there {
                self.content.push((room, node));
            }
        }
        for (name, value) in other.shell.attrs {
            if self.shell.get(&name).is_none() {
                self.shell.attrs.push((name, value));
            }
        }
    }
}

fn element(node: &Node) -> Option<&Element> {
    match node {
        Node::Element(element) => Some(element),
        Node::Text(_) => None,
    }
}

fn room_of(node: &Node) -> Option<Jid> {
    let conference = element(node).filter(|child| child.is("conference", ns::OLD_BOOKMARKS))?;
    room(conference.get("jid")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(xml: &str) -> Element {
        Element::parse(xml.as_bytes(), ns::CLIENT).unwrap()
    }

    fn text(element: &Element) -> String {
        String::from_utf8(element.to_vec()).unwrap()
    }

    #[test]
    fn extensions_of_a_bookmark_survive_what_an_old_client_writes() {
        let before = "<conference xmlns='urn:xmpp:bookmarks:1' name='Orchard' autojoin='1' minimized='x'><nick>JC</nick>\
                      <extensions><state xmlns='urn:x' at='5'/></extensions></conference>";
        let old = "<conference xmlns='storage:bookmarks' jid='orchard@rooms.lit' autojoin='true' name='The Orchard'>\
                   <nick>J</nick><password>rose</password></conference>";
        let after = native(Some(parse(before)), &Common::of(&parse(old)));
        assert_eq!(
            text(&after),
            "<conference xmlns='urn:xmpp:bookmarks:1' name='The Orchard' autojoin='1' minimized='x'><nick>J</nick>\
             <password>rose</password><extensions><state xmlns='urn:x' at='5'/></extensions></conference>"
        );
        // Said again, it is the same to the byte.
        assert_eq!(native(Some(after.clone()), &Common::of(&parse(old))), after);
    }

    #[test]
    fn links_and_what_nobody_knows_survive_what_a_new_client_writes() {
        let storage = "<storage xmlns='storage:bookmarks' x='1'><url name='Works' url='http://lit/'/>\
                       <conference jid='Council@Rooms.Lit' name='Council' minimize='1'><odd/><nick>Puck</nick></conference>\
                       <group xmlns='urn:odd'>a</group><conference jid='not an address'/></storage>";
        let mut all = Collection::read(parse(storage)).unwrap();
        let council = room("council@rooms.lit").unwrap();
        assert_eq!(all.find(&council).unwrap().nick.as_deref(), Some("Puck"));
        let common = Common { autojoin: true, password: Some("x".into()), ..Common::default() };
        all.set(&council, "council@rooms.lit", &common);
        all.set(&room("ball@rooms.lit").unwrap(), "ball@rooms.lit", &Common::default());
        assert_eq!(
            text(&all.element()),
            "<storage xmlns='storage:bookmarks' x='1'><url name='Works' url='http://lit/'/>\
             <conference jid='Council@Rooms.Lit' minimize='1' autojoin='true'><password>x</password><odd/></conference>\
             <group xmlns='urn:odd'>a</group><conference jid='not an address'/>\
             <conference jid='ball@rooms.lit'/></storage>"
        );
        all.forget_rooms();
        assert_eq!(
            text(&all.element()),
            "<storage xmlns='storage:bookmarks' x='1'><url name='Works' url='http://lit/'/>\
             <group xmlns='urn:odd'>a</group><conference jid='not an address'/></storage>"
        );
    }

    #[test]
    fn two_collections_become_one() {
        let mut one = Collection::read(parse(
            "<storage xmlns='storage:bookmarks'><conference jid='a@r' name='A'/><url url='u'/></storage>",
        ))
        .unwrap();
        let other = Collection::read(parse(
            "<storage xmlns='storage:bookmarks'><url url='u'/><conference jid='a@r' name='B'/><url url='v'/>\
             <conference jid='b@r'/></storage>",
        ));
        one.add_missing(other.unwrap());
        assert_eq!(
            text(&one.element()),
            "<storage xmlns='storage:bookmarks'><conference jid='a@r' name='A'/><url url='u'/><url url='v'/>\
             <conference jid='b@r'/></storage>"
        );
    }

    #[test]
    fn the_word_for_yes_does_not_matter() {
        for (value, is_yes) in [("true", true), ("1", true), ("false", false), ("0", false), ("", false)] {
            let conference = parse("<conference xmlns='urn:xmpp:bookmarks:1'/>").attr("autojoin", value);
            assert_eq!(Common::of(&conference).autojoin, is_yes, "{value}");
        }
    }
}
