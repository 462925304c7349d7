//! Binding: from an account that has proved itself to a session. RFC 6120 §7.

use std::collections::VecDeque;

use super::{
    Server,
    negotiate::{Next, State, namespace},
    resume::failed,
    streams::Slot,
};
use crate::{
    domain::{
        accounts,
        devices::DeviceId,
        ids::{AccountId, SessionId, StreamId},
        sessions::{Lists, Session},
        store::Store,
    },
    limits,
    router::{
        event::{Door, Env},
        service::Notice,
    },
    wire::{
        element::Element,
        error::{Condition, StanzaError, StreamCondition, StreamError},
        jid::Jid,
        ns,
        stanza::{Chunk, Outline, slice},
    },
};

impl Server {
    /// After sign-in: bind or resume, RFC 6120 §7.
    pub(super) fn verified_element(
        &mut self,
        env: &mut Env<'_>,
        id: StreamId,
        bytes: &[u8],
        outline: &Outline,
    ) -> Next {
        let Ok(element) = Element::parse(bytes, ns::CLIENT) else { return Next::Stop };
        match (namespace(bytes, outline), slice(bytes, &outline.name)) {
            (ns::CLIENT, "iq") => match element.find("bind", ns::BIND) {
                Some(bind) if element.get("type") == Some("set") => self.bind(env, id, &element, bind),
                _ => self.refuse_early(env, id, outline),
            },
            (ns::SM, "resume") => self.resume(env, id, &element),
            (ns::SM, _) => {
                self.core.write(id, failed(Condition::UnexpectedRequest, None));
                Next::Go
            }
            _ => self.refuse_early(env, id, outline),
        }
    }

    /// RFC 6120 §7.6 and §7.7.
    fn bind(&mut self, env: &mut Env<'_>, id: StreamId, iq: &Element, bind: &Element) -> Next {
        let Some(slot) = self.streams.slot(id) else { return Next::Stop };
        let State::Verified(proof) = &slot.state else { return Next::Stop };
        let (account, device) = (proof.account.clone(), proof.device);
        let wanted = bind.leaf_text("resource").filter(|resource| !resource.is_empty());
        let jid = match &wanted {
            Some(resource) => account.with_resource(resource),
            // RFC 6120 §7.6: of the server's making.
            None => account.with_resource(&resource(env)),
        };
        let is_ours = wanted.is_none();
        let Ok(jid) = jid else {
            self.refuse_bind(id, iq, &StanzaError::new(Condition::BadRequest));
            return Next::Go;
        };
        let store = Store { overlay: &mut self.core.overlay, view: env.view };
        let Some(owner) = accounts::find(&store, &account).map(|account| account.id) else {
            self.fail(env, id, StreamCondition::NotAuthorized.into());
            return Next::Stop;
        };
        let session = match self.bind_session(env, id, jid.clone(), owner, device) {
            Ok(session) => session,
            Err(error) => {
                self.refuse_bind(id, iq, &error);
                return Next::Go;
            }
        };
        if let Some(session) = self.core.sessions.session_mut(session) {
            session.is_unguessable = is_ours;
        }
        let bound = Element::new("bind", ns::BIND).leaf("jid", jid.as_str());
        let answer = Element::new("iq", ns::CLIENT).attr("type", "result").attr_if("id", iq.get("id")).child(bound);
        self.core.write(id, Chunk::new(answer.to_vec()));
        self.notice(env, &Notice::SessionBound(session));
        Next::Go
    }

    /// Makes a session on a stream. Others of the same address end, and those of the same device (XEP-0386 §3.2).
    ///
    /// # Errors
    /// `resource-constraint` if the account has too many sessions.
    pub(super) fn bind_session(
        &mut self,
        env: &mut Env<'_>,
        id: StreamId,
        jid: Jid,
        owner: AccountId,
        device: Option<DeviceId>,
    ) -> Result<SessionId, StanzaError> {
        let of_account = self.core.sessions.of(jid.bare_str());
        let older = of_account.filter(|(_, old)| old.jid == jid || device.is_some() && old.device == device);
        // RFC 6120 §7.7.2.2: the newer one wins, since the older is most often the same client's dead stream. At once,
        // whatever still waits for the disk: two sessions never share an address.
        for old in older.map(|(id, _)| id).collect::<Vec<_>>() {
            let conflict = StreamError::new(StreamCondition::Conflict).text("Replaced by a new session.");
            match self.core.sessions.session(old).and_then(|session| session.stream) {
                Some(stream) => self.fail(env, stream, conflict),
                None => self.end_session(env, old),
            }
            self.work(env);
        }
        if self.core.sessions.of(jid.bare_str()).count() >= limits::SESSIONS_PER_ACCOUNT_MAX {
            return Err(StanzaError::new(Condition::ResourceConstraint).text("Too many sessions."));
        }
        let lists = Lists::of(&Store { overlay: &mut self.core.overlay, view: env.view }, owner);
        let session = self.session(jid, owner, id, env.wall_us / 1_000_000);
        let peer = self.streams.slot(id).and_then(Slot::peer);
        let session = self.core.sessions.insert(Session { peer, device, ..session }, lists);
        if let Some(slot) = self.streams.slot_mut(id) {
            slot.state = State::Bound(session);
        }
        self.no_stranger(id);
        Ok(session)
    }

    fn refuse_bind(&mut self, id: StreamId, iq: &Element, error: &StanzaError) {
        let answer =
            Element::new("iq", ns::CLIENT).attr("type", "error").attr_if("id", iq.get("id")).child(error.element());
        self.core.write(id, Chunk::new(answer.to_vec()));
    }

    fn session(&self, jid: Jid, account: AccountId, stream: StreamId, since_s: u64) -> Session {
        Session {
            account,
            jid,
            stream: Some(stream),
            device: None,
            peer: None,
            is_unguessable: false,
            is_local: false,
            presence: None,
            interested: false,
            wants_blocks: false,
            carbons: false,
            directed: Vec::new(),
            wants_nodes: Default::default(),
            sm: None,
            gate: VecDeque::new(),
            held: None,
            ending: None,
            backlog: None,
            behind: VecDeque::new(),
            expires: None,
            can_be_woken: false,
            hold_s: 0,
            since_s,
        }
    }

    /// The command line needs no sign-in: the adapter let in only who may read the socket.
    pub(super) fn bind_local(&mut self, env: &mut Env<'_>, id: StreamId) {
        let resource = super::random_id(env);
        let Some(slot) = self.streams.slot_mut(id) else { return };
        let Door::Local { uid } = slot.door else { return };
        let domain = slot.domain.clone().unwrap_or_default();
        let Ok(jid) = Jid::from_parts(None, &domain, Some(&resource)) else { return };
        self.no_stranger(id);
        log::debug!("administration by user id {uid}");
        let session = self.session(jid, AccountId(0), id, env.wall_us / 1_000_000);
        let session = self.core.sessions.insert(Session { is_local: true, ..session }, Lists::default());
        if let Some(slot) = self.streams.slot_mut(id) {
            slot.state = State::Bound(session);
        }
    }
}

/// A resource of the server's making, RFC 6120 §7.6.
pub fn resource(env: &mut Env<'_>) -> String {
    let mut id = super::random_id(env);
    id.truncate(16);
    id
}
