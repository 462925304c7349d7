//! RFC 6121 Appendix A through the house: what travels, what the clients see, what the roster says.

use crate::{
    domain::{
        ids::SessionId,
        roster::{self, RosterItem, State},
    },
    router::testing::{House, to_session},
};

const JULIET: &str = "juliet@capulet.lit";
const ROMEO: &str = "romeo@capulet.lit";

const NONE: State = State { to: false, from: false, pending_out: false, pending_in: false, approved: false };
const OUT: State = State { pending_out: true, ..NONE };
const IN: State = State { pending_in: true, ..NONE };
const OUT_IN: State = State { pending_in: true, ..OUT };
const TO: State = State { to: true, ..NONE };
const TO_IN: State = State { pending_in: true, ..TO };
const FROM: State = State { from: true, ..NONE };
const FROM_OUT: State = State { pending_out: true, ..FROM };
const BOTH: State = State { to: true, from: true, ..NONE };
const YES: State = State { approved: true, ..NONE };
const YES_OUT: State = State { approved: true, ..OUT };
const YES_TO: State = State { approved: true, ..TO };

/// The states in the order of the tables.
const STATES: [State; 9] = [NONE, OUT, IN, OUT_IN, TO, TO_IN, FROM, FROM_OUT, BOTH];
const T: bool = true;
const F: bool = false;

/// Juliet and Romeo, both there.
struct Scene {
    house: House,
    juliet: SessionId,
    romeo: SessionId,
}

/// What came of one stanza.
#[derive(Debug, PartialEq)]
struct Outcome {
    /// The other side's client saw it.
    seen: bool,
    /// Juliet's state for Romeo.
    after: State,
    /// Pushes of Juliet's roster.
    pushes: usize,
}

impl Scene {
    fn new() -> Scene {
        let mut house = House::new();
        let [juliet, romeo] = [JULIET, ROMEO].map(|who| {
            let id = house.available(&format!("{who}/client"));
            house.core.sessions.session_mut(id).unwrap().interested = true;
            id
        });
        Scene { house, juliet, romeo }
    }

    fn set(&mut self, owner: &str, contact: &str, state: State, has_item: bool) {
        let account = self.house.account(owner);
        let mut ctx = self.house.ctx();
        let mut store = ctx.store();
        if has_item {
            let item = RosterItem { state: State { pending_in: false, ..state }, ..RosterItem::default() };
            roster::put(&mut store, account, contact, item);
        }
        if state.pending_in {
            let request = format!("<presence type='subscribe' from='{contact}' to='{owner}'/>");
            assert!(roster::keep_request(&mut store, account, contact, request.as_bytes()));
        }
    }

    /// Juliet's side, from where the stanza went to where it was seen.
    fn send(&mut self, outbound: bool, ty: &str) -> Outcome {
        let (from, to, address) =
            if outbound { (self.juliet, self.romeo, ROMEO) } else { (self.romeo, self.juliet, JULIET) };
        let out = self.house.send(from, &format!("<presence type='{ty}' to='{address}' id='s'/>"));
        let seen = to_session(&out, to).iter().any(|(_, xml)| xml.contains(&format!("type='{ty}'")));
        let pushes = to_session(&out, self.juliet).iter().filter(|(_, xml)| xml.contains("jabber:iq:roster")).count();
        let account = self.house.account(JULIET);
        let after = roster::state(&self.house.ctx().store(), account, ROMEO);
        Outcome { seen, after, pushes }
    }
}

/// One line of a table. Without an item states that need none are tried as well.
fn check(outbound: bool, ty: &str, before: State, seen: bool, after: State) {
    for has_item in [true, false] {
        if !has_item && before != NONE && before != IN {
            continue;
        }
        let mut scene = Scene::new();
        scene.set(JULIET, ROMEO, before, has_item);
        // Romeo's side is such that it sends or shows all of it.
        let his = match (outbound, ty) {
            (true, "subscribed") => OUT,
            (true, "unsubscribe") | (false, "unsubscribed") => FROM,
            (true, "unsubscribed") => TO,
            (false, "subscribed") => IN,
            _ => NONE,
        };
        scene.set(ROMEO, JULIET, his, true);
        // RFC 6121 §3.3.3: a request that is withdrawn leaves no trace if there is no item.
        let seen = seen && (outbound || ty != "unsubscribe" || has_item);
        let shown = |state: State| State { pending_in: false, ..state };
        let pushes = usize::from(shown(before) != shown(after));
        let got = scene.send(outbound, ty);
        let case = format!("{ty} from {before:?}, outbound {outbound}, item {has_item}");
        assert_eq!(got, Outcome { seen, after, pushes }, "{case}");
        let account = scene.house.account(JULIET);
        let item = roster::item(&scene.house.ctx().store(), account, ROMEO);
        assert_eq!(item.is_some(), has_item || pushes > 0, "{case}: an item comes with what it shows, not before");
    }
}

fn table(outbound: bool, ty: &str, seen: [bool; 9], after: [State; 9]) {
    for ((before, seen), after) in STATES.into_iter().zip(seen).zip(after) {
        check(outbound, ty, before, seen, after);
    }
}

#[test]
fn tables_2_to_5_outbound() {
    table(true, "subscribe", [T; 9], [OUT, OUT, OUT_IN, OUT_IN, TO, TO_IN, FROM_OUT, FROM_OUT, BOTH]);
    table(true, "unsubscribe", [T; 9], [NONE, NONE, IN, IN, NONE, IN, FROM, FROM, FROM]);
    let subscribed = [YES, YES_OUT, FROM, FROM_OUT, YES_TO, BOTH, FROM, FROM_OUT, BOTH];
    table(true, "subscribed", [F, F, T, T, F, T, F, F, F], subscribed);
    table(true, "unsubscribed", [F, F, T, T, F, T, T, T, T], [NONE, OUT, NONE, OUT, TO, TO, NONE, OUT, TO]);
}

#[test]
fn tables_6_to_9_inbound() {
    let subscribe = [IN, OUT_IN, IN, OUT_IN, TO_IN, TO_IN, FROM, FROM_OUT, BOTH];
    table(false, "subscribe", [T, T, F, F, T, F, F, F, F], subscribe);
    table(false, "unsubscribe", [F, F, T, T, F, T, T, T, T], [NONE, OUT, NONE, OUT, TO, TO, NONE, OUT, TO]);
    table(false, "subscribed", [F, T, F, T, F, F, F, T, F], [NONE, TO, IN, TO_IN, TO, TO_IN, FROM, BOTH, BOTH]);
    table(false, "unsubscribed", [F, T, F, T, T, T, F, T, T], [NONE, NONE, IN, IN, NONE, IN, FROM, FROM, FROM]);
}

#[test]
fn pre_approval_is_cancelled_by_unsubscribed_alone() {
    // RFC 6121 §3.4.2, tables 5 and 6.
    check(true, "unsubscribed", YES, F, NONE);
    check(true, "unsubscribed", YES_TO, F, TO);
    check(false, "subscribe", YES, F, State { from: true, ..YES });
    check(false, "unsubscribed", YES_OUT, T, YES);
    check(false, "unsubscribe", YES, F, YES);
}

#[test]
fn an_approval_that_finds_no_room_leaves_the_request() {
    let mut scene = Scene::new();
    scene.set(JULIET, ROMEO, IN, false);
    let account = scene.house.account(JULIET);
    for n in 0..crate::limits::ROSTER_ITEMS_MAX {
        roster::put(&mut scene.house.ctx().store(), account, &format!("{n}@capulet.lit"), RosterItem::default());
    }
    assert_eq!(scene.send(true, "subscribed"), Outcome { seen: false, after: IN, pushes: 0 });
}
