//! XEP-0045, example by example.

mod abuse;
mod administration;
mod corners;
mod entering;
mod examples;
mod hats;
mod messages;
mod owners;
mod registering;
mod search;
mod tokens;
mod versions;

use crate::{
    domain::ids::SessionId,
    router::testing::{House, Out, condition_of, result_of, to_session},
};

pub(super) const ROOM: &str = "coven@rooms.capulet.lit";

/// A room, and those who play in it.
pub(super) struct Play {
    pub house: House,
}

impl Play {
    pub fn new() -> Play {
        Play { house: House::new() }
    }

    /// Somebody of this server with one device.
    pub fn person(&mut self, name: &str) -> SessionId {
        self.house.available(&format!("{name}@capulet.lit/desktop"))
    }

    pub fn enter(&mut self, who: SessionId, nick: &str) -> Out {
        self.enter_with(who, nick, "")
    }

    pub fn enter_with(&mut self, who: SessionId, nick: &str, inner: &str) -> Out {
        let xml =
            format!("<presence to='{ROOM}/{nick}'><x xmlns='http://jabber.org/protocol/muc'>{inner}</x></presence>");
        self.house.send(who, &xml)
    }

    /// The crone makes a room with these fields.
    pub fn room(&mut self, fields: &[(&str, &str)]) -> SessionId {
        let crone = self.person("crone1");
        self.enter(crone, "firstwitch");
        self.configure(crone, fields);
        crone
    }

    pub fn configure(&mut self, who: SessionId, fields: &[(&str, &str)]) -> Out {
        let fields: String = fields
            .iter()
            .map(|(name, value)| format!("<field var='muc#roomconfig_{name}'><value>{value}</value></field>"))
            .collect();
        let form = format!(
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
             <value>http://jabber.org/protocol/muc#roomconfig</value></field>{fields}</x>"
        );
        self.owner(who, &form)
    }

    pub fn owner(&mut self, who: SessionId, inner: &str) -> Out {
        self.iq(who, "set", "", &format!("<query xmlns='http://jabber.org/protocol/muc#owner'>{inner}</query>"))
    }

    pub fn owner_asks(&mut self, who: SessionId) -> Out {
        self.iq(who, "get", "", "<query xmlns='http://jabber.org/protocol/muc#owner'/>")
    }

    pub fn admin(&mut self, who: SessionId, ty: &str, items: &str) -> Out {
        self.iq(who, ty, "", &format!("<query xmlns='http://jabber.org/protocol/muc#admin'>{items}</query>"))
    }

    pub fn iq(&mut self, who: SessionId, ty: &str, behind: &str, inner: &str) -> Out {
        self.house.send(who, &format!("<iq type='{ty}' id='q1' to='{ROOM}{behind}'>{inner}</iq>"))
    }

    pub fn say(&mut self, who: SessionId, body: &str) -> Out {
        self.house.send(who, &format!("<message type='groupchat' id='m1' to='{ROOM}'><body>{body}</body></message>"))
    }
}

/// What one of them got, as text.
pub(super) fn heard(out: &Out, who: SessionId) -> Vec<String> {
    to_session(out, who).into_iter().map(|(_, xml)| xml).collect()
}

/// The condition of the error that this one got.
pub(super) fn refused(out: &Out, who: SessionId) -> String {
    condition_of(&to_session(out, who))
}

/// The result that this one got.
pub(super) fn answered(out: &Out, who: SessionId) -> String {
    let answers = to_session(out, who).into_iter().filter(|(_, xml)| xml.starts_with("<iq")).collect();
    result_of(&answers)
}
