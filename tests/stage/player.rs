//! A client: signs in, counts stanzas, acknowledges, resumes.

use std::collections::VecDeque;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    Conn, Stage,
    world::{DOMAIN, PASSWORD},
    xml::{Item, Reader, Tree},
};

/// What a client keeps for stream management, XEP-0198.
#[derive(Clone, Debug, Default)]
pub struct Management {
    /// Counting since `<enabled/>`.
    pub enabled: bool,
    /// Token for resumption.
    pub id: Option<String>,
    /// Stanzas received.
    pub h: u32,
    /// Stanzas sent.
    pub sent: u32,
    /// The last `h` of the server.
    pub acked: u32,
    /// The last `h` that it told the server.
    pub told: u32,
    /// Answers `<r/>` by itself and hides both.
    pub automatic: bool,
}

/// One client.
pub struct Player {
    /// Its connection.
    pub conn: Conn,
    /// Localpart of its account.
    pub account: String,
    /// The domain of its account.
    pub domain: String,
    /// The resource it binds.
    pub resource: String,
    /// Stream management.
    pub sm: Management,
    /// A session is bound on its stream.
    pub bound: bool,
    /// The last stream features.
    pub features: Option<Tree>,
    reader: Reader,
    inbox: VecDeque<Item>,
}

impl Player {
    /// A client on a new connection.
    pub fn connect(stage: &mut dyn Stage, account: &str, resource: &str, direct: bool) -> Player {
        let (account, domain) = account.split_once('@').unwrap_or((account, DOMAIN));
        Player {
            conn: stage.connect_to(domain, direct),
            account: account.into(),
            domain: domain.into(),
            resource: resource.into(),
            sm: Management::default(),
            bound: false,
            features: None,
            reader: Reader::new(),
            inbox: VecDeque::new(),
        }
    }

    /// Its full address.
    pub fn jid(&self) -> String {
        format!("{}@{}/{}", self.account, self.domain, self.resource)
    }

    /// The bare address of its account.
    pub fn bare(&self) -> String {
        format!("{}@{}", self.account, self.domain)
    }

    /// Sends text as it stands.
    pub fn send(&mut self, stage: &mut dyn Stage, text: &str) {
        if self.sm.enabled {
            let opens = |name: &str| text.matches(&format!("<{name}")).count() as u32;
            // The tests write no stanza inside a stanza.
            self.sm.sent += opens("message") + opens("presence") + opens("iq");
        }
        stage.put(self.conn, text.as_bytes());
    }

    /// The next thing that came; `None`: nothing.
    pub fn next(&mut self, stage: &mut dyn Stage) -> Option<Item> {
        loop {
            if let Some(item) = self.inbox.pop_front() {
                return Some(item);
            }
            let bytes = stage.take(self.conn);
            if bytes.is_empty() {
                return None;
            }
            self.read(stage, &bytes);
        }
    }

    /// Takes what has come by now, without waiting for more.
    pub fn read(&mut self, stage: &mut dyn Stage, bytes: &[u8]) {
        self.reader.push(bytes);
        while let Some(item) = self.reader.next() {
            if let Item::Element(element) = &item {
                let hide = self.note(stage, element);
                if hide {
                    continue;
                }
            }
            self.inbox.push_back(item);
        }
    }

    /// What was read and not taken.
    pub fn inbox(&mut self) -> &mut VecDeque<Item> {
        &mut self.inbox
    }

    /// Keeps the counters; `true`: nobody else needs to see it.
    fn note(&mut self, stage: &mut dyn Stage, element: &Tree) -> bool {
        if element.is_stanza() && self.sm.enabled {
            self.sm.h = self.sm.h.wrapping_add(1);
        }
        if element.name == "features" {
            self.features = Some(element.clone());
        }
        if let (Some("result"), Some(bind)) = (element.get("type"), element.find("bind")) {
            let jid = bind.find("jid").map(Tree::text).unwrap_or_default();
            let resource = jid.split_once('/').map(|(_, resource)| resource.to_owned());
            (self.resource, self.bound) = (resource.unwrap_or_default(), true);
        }
        if element.name == "success" && element.ns == "urn:xmpp:sasl:2" {
            self.welcomed(stage, element);
        }
        if element.ns != "urn:xmpp:sm:3" {
            return false;
        }
        match element.name.as_str() {
            "enabled" => {
                self.sm = Management {
                    enabled: true,
                    id: element.get("id").map(str::to_owned),
                    automatic: self.sm.automatic,
                    ..Management::default()
                };
                false
            }
            "resumed" => {
                self.sm.acked = element.get("h").and_then(|h| h.parse().ok()).expect("resumed has h");
                (self.sm.enabled, self.bound) = (true, true);
                false
            }
            "a" => {
                let h = element.get("h").and_then(|h| h.parse().ok()).expect("an ack has h");
                assert!(h <= self.sm.sent, "{} sent {} stanzas and {h} are acknowledged", self.jid(), self.sm.sent);
                assert!(h >= self.sm.acked, "acknowledgements never go back");
                self.sm.acked = h;
                self.sm.automatic
            }
            "r" if self.sm.automatic => {
                let ack = format!("<a xmlns='urn:xmpp:sm:3' h='{}'/>", self.sm.h);
                stage.put(self.conn, ack.as_bytes());
                self.sm.told = self.sm.h;
                true
            }
            _ => false,
        }
    }

    /// XEP-0388: what a success did besides letting it in.
    fn welcomed(&mut self, stage: &mut dyn Stage, success: &Tree) {
        let own = success.find("authorization-identifier").map(Tree::text).unwrap_or_default();
        if let Some((_, resource)) = own.split_once('/') {
            (self.resource, self.bound) = (resource.into(), true);
        }
        let inside = success.children().chain(success.find("bound").into_iter().flat_map(Tree::children));
        for element in inside.filter(|element| element.ns == "urn:xmpp:sm:3") {
            self.note(stage, element);
        }
    }

    /// The next element.
    ///
    /// # Panics
    /// If something else came, or nothing.
    pub fn element(&mut self, stage: &mut dyn Stage) -> Tree {
        match self.next(stage) {
            Some(Item::Element(element)) => element,
            other => panic!("{} waits for an element; instead: {other:?}", self.jid()),
        }
    }

    /// All elements that came.
    pub fn elements(&mut self, stage: &mut dyn Stage) -> Vec<Tree> {
        let items = std::iter::from_fn(|| self.next(stage));
        items
            .filter_map(|item| match item {
                Item::Element(element) => Some(element),
                _ => None,
            })
            .collect()
    }

    /// Sends a stream header and reads header and features.
    pub fn open_stream(&mut self, stage: &mut dyn Stage) -> Tree {
        self.reader = Reader::new();
        let header = header(&self.domain);
        stage.put(self.conn, header.as_bytes());
        match self.next(stage) {
            Some(Item::Header(_)) => {}
            other => panic!("{} waits for a stream header; instead: {other:?}", self.jid()),
        }
        let features = self.element(stage);
        assert_eq!(features.name, "features", "{features}");
        features
    }

    /// A new reader, for a stream that the test opens by hand.
    pub fn restart(&mut self) {
        self.reader = Reader::new();
    }

    /// STARTTLS.
    pub fn start_tls(&mut self, stage: &mut dyn Stage) {
        self.open_stream(stage);
        stage.put(self.conn, b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
        let proceed = self.element(stage);
        assert_eq!(proceed.name, "proceed", "{proceed}");
        stage.secure(self.conn);
    }

    /// Opens a stream under TLS, signs in with PLAIN, opens the next stream, whose features it gives back.
    pub fn authenticate(&mut self, stage: &mut dyn Stage) -> Tree {
        self.open_stream(stage);
        let plain = STANDARD.encode(format!("\0{}\0{PASSWORD}", self.account));
        let auth = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>");
        stage.put(self.conn, auth.as_bytes());
        let answer = self.element(stage);
        assert_eq!(answer.name, "success", "{answer}");
        self.open_stream(stage)
    }

    /// Binds its resource.
    pub fn bind(&mut self, stage: &mut dyn Stage) {
        let resource = &self.resource;
        let bind = format!(
            "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
             <resource>{resource}</resource></bind></iq>"
        );
        self.send(stage, &bind);
        let bound = self.element(stage);
        let jid = bound.find("bind").and_then(|bind| bind.find("jid")).map(Tree::text);
        assert_eq!(jid, Some(self.jid()), "{bound}");
    }

    /// From nothing to a bound session.
    pub fn sign_in(stage: &mut dyn Stage, account: &str, resource: &str) -> Player {
        let mut player = Player::connect(stage, account, resource, true);
        player.authenticate(stage);
        player.bind(stage);
        player
    }

    /// Enables resumable stream management; requests for acknowledgements are answered unseen.
    pub fn manage(&mut self, stage: &mut dyn Stage) {
        self.sm.automatic = true;
        stage.put(self.conn, b"<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
        let enabled = self.element(stage);
        assert_eq!((enabled.name.as_str(), enabled.get("resume")), ("enabled", Some("true")), "{enabled}");
    }

    /// Asks for the roster, which is dropped, and sends initial presence, whose echo is dropped.
    pub fn come_online(&mut self, stage: &mut dyn Stage, presence: &str) {
        let roster = "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>";
        self.send(stage, roster);
        let answer = self.element(stage);
        assert_eq!((answer.get("id"), answer.get("type")), (Some("roster"), Some("result")), "{answer}");
        self.send(stage, presence);
        let (from, to) = (self.jid(), self.bare());
        let mut others = Vec::new();
        loop {
            let item = self.next(stage).expect("a session sees its own presence");
            match &item {
                Item::Element(p)
                    if p.name == "presence" && p.get("from") == Some(&from) && p.get("to") == Some(&to) =>
                {
                    break;
                }
                _ => others.push(item),
            }
        }
        for item in others.into_iter().rev() {
            self.inbox.push_front(item);
        }
    }

    /// A session that is online, with stream management.
    pub fn online(stage: &mut dyn Stage, account: &str, resource: &str) -> Player {
        let mut player = Player::sign_in(stage, account, resource);
        player.manage(stage);
        player.come_online(stage, "<presence/>");
        player
    }

    /// Comes back on a new connection and asks for its session; the answer.
    pub fn resume(&mut self, stage: &mut dyn Stage, h: u32) -> Tree {
        self.conn = stage.connect_to(&self.domain, true);
        self.inbox.clear();
        self.bound = false;
        let enabled = std::mem::take(&mut self.sm.enabled);
        self.authenticate(stage);
        let id = self.sm.id.clone().unwrap_or_default();
        self.sm.told = h;
        stage.put(self.conn, format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='{h}'/>").as_bytes());
        let answer = self.element(stage);
        self.sm.enabled = enabled && answer.name == "resumed";
        answer
    }

    /// Ends its stream.
    pub fn sign_out(&mut self, stage: &mut dyn Stage) {
        stage.put(self.conn, b"</stream:stream>");
    }

    /// Sends a ping and waits for its answer; whatever came before stays in the inbox. `false`: the stream ended.
    pub fn fence(&mut self, stage: &mut dyn Stage) -> bool {
        let domain = &self.domain;
        let ping = format!("<iq type='get' id='fence' to='{domain}'><ping xmlns='urn:xmpp:ping'/></iq>");
        self.send(stage, &ping);
        let mut others = Vec::new();
        let answered = loop {
            match self.next(stage) {
                Some(Item::Element(answer)) if answer.get("id") == Some("fence") => break true,
                Some(item) => others.push(item),
                None => {
                    self.bound = false;
                    break false;
                }
            }
        };
        self.inbox.extend(others);
        answered
    }
}

/// The header of a client's stream.
pub fn header(to: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
         to='{to}' version='1.0'>"
    )
}
