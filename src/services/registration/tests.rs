//! Registration after sign-in and before it, from the examples of XEP-0077 and XEP-0445.

use super::*;
use crate::{
    domain::invitations,
    router::{
        event::Effect,
        testing::{House, condition_of, result_of, to_session},
    },
    wire::error::StreamCondition,
};

fn jid(text: &str) -> Jid {
    Jid::parse(text).unwrap()
}

fn set(content: &str) -> String {
    format!("<iq type='set' to='capulet.lit' id='change1'><query xmlns='jabber:iq:register'>{content}</query></iq>")
}

fn signs_in(house: &mut House, account: &str, password: &str) -> bool {
    let account = accounts::find(&house.ctx().store(), &jid(account)).unwrap();
    account.credentials.verify_password(password)
}

#[test]
fn who_has_signed_in_is_registered() {
    // XEP-0077 §3.1, example 4.
    let mut house = House::new();
    let juliet = house.online("juliet@capulet.lit/balcony");
    let out = house.send(juliet, "<iq type='get' id='reg1'><query xmlns='jabber:iq:register'/></iq>");
    let out = result_of(&out);
    assert!(out.starts_with("<query xmlns='jabber:iq:register'><registered/><instructions>"), "{out}");
    assert!(out.ends_with("</instructions><username>juliet</username><password/></query>"), "{out}");
}

#[test]
fn s15_the_own_password_is_changed_and_other_sessions_end() {
    // XEP-0077 §3.3, examples 15 and 16.
    let mut house = House::new();
    let globe = house.online("bill@capulet.lit/globe");
    let stolen = house.online("bill@capulet.lit/stolen");
    assert_eq!(house.send(globe, &set("<username>Bill</username><password>newpass</password>")), Vec::new());
    assert_eq!(result_of(&house.derived()), "");
    assert!(signs_in(&mut house, "bill@capulet.lit", "newpass"));
    assert_eq!(house.ended.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [stolen]);
    assert!(house.core.sessions.session(globe).is_some());
}

#[test]
fn the_password_is_changed_by_a_data_form_as_well() {
    // XEP-0077 §4.
    let mut house = House::new();
    let globe = house.online("bill@capulet.lit/globe");
    let form = "<x xmlns='jabber:x:data' type='submit'>
        <field type='hidden' var='FORM_TYPE'><value>jabber:iq:register:changepassword</value></field>
        <field var='username'><value>bill@capulet.lit</value></field>
        <field var='password'><value>groundlings</value></field></x>";
    house.send(globe, &set(form));
    assert_eq!(result_of(&house.derived()), "");
    assert!(signs_in(&mut house, "bill@capulet.lit", "groundlings"));
}

#[test]
fn a_password_change_that_makes_no_sense_changes_nothing() {
    // XEP-0077 §3.3, table 2.
    let mut house = House::new();
    let globe = house.online("bill@capulet.lit/globe");
    house.account("will@capulet.lit");
    for (content, condition) in [
        ("", "bad-request"),
        ("<username>bill</username><password/>", "bad-request"),
        ("<username>bill</username>", "bad-request"),
        ("<password>x</password>", "bad-request"),
        ("<username>will</username><password>x</password>", "not-allowed"),
        ("<username>bill@montague.lit</username><password>x</password>", "not-allowed"),
        ("<username>bill</username><password>a\u{7}b</password>", "not-acceptable"),
        ("<remove/><username>bill</username>", "bad-request"),
    ] {
        assert_eq!(condition_of(&house.send(globe, &set(content))), condition, "{content}");
    }
    assert!(signs_in(&mut house, "bill@capulet.lit", "pw") && house.effects.is_empty());
}

#[test]
fn one_password_is_derived_at_a_time() {
    let mut house = House::new();
    let globe = house.online("bill@capulet.lit/globe");
    let change = set("<username>bill</username><password>x</password>");
    house.send(globe, &change);
    assert_eq!(condition_of(&house.send(globe, &change)), "resource-constraint");
    for n in 1..limits::DERIVING_MAX {
        let other = house.online(&format!("bill{n}@capulet.lit/globe"));
        assert_eq!(house.send(other, &change.replace("bill", &format!("bill{n}"))), Vec::new());
    }
    let late = house.online("late@capulet.lit/globe");
    assert_eq!(condition_of(&house.send(late, &change.replace("bill", "late"))), "resource-constraint");
}

#[test]
fn the_own_account_is_removed() {
    // XEP-0077 §3.2, examples 9 and 10.
    let mut house = House::new();
    let globe = house.available("bill@capulet.lit/globe");
    let other = house.online("bill@capulet.lit/other");
    let friend = house.available("ann@capulet.lit/home");
    house.core.sessions.session_mut(friend).unwrap().interested = true;
    house.subscribe("bill@capulet.lit", "ann@capulet.lit");
    let out = house.send(globe, "<iq type='set' id='unreg1'><query xmlns='jabber:iq:register'><remove/></query></iq>");
    assert_eq!(result_of(&to_session(&out, globe)[..1].to_vec()), "", "the answer comes before the end");
    let ended: Vec<_> = house.ended.iter().map(|(id, error)| (*id, error.condition)).collect();
    assert!(ended.contains(&(globe, StreamCondition::NotAuthorized)), "{ended:?}");
    assert!(ended.contains(&(other, StreamCondition::NotAuthorized)), "{ended:?}");
    assert!(!accounts::exists(&house.ctx().store(), &jid("bill@capulet.lit")));
    let seen: String = to_session(&out, friend).into_iter().map(|(_, xml)| xml).collect();
    assert!(seen.contains("type='unavailable'") && seen.contains("type='unsubscribed'"), "{seen}");
    // The name is free, and whoever takes it inherits nothing.
    let id = house.account("bill@capulet.lit");
    assert!(crate::domain::roster::items(&house.ctx().store(), id).is_empty());
}

#[test]
fn the_command_line_has_no_account_to_change() {
    let mut house = House::new();
    let line = house.online("capulet.lit/line");
    let change = "<username>bill</username><password>x</password>";
    for (content, condition) in [("<remove/>", "registration-required"), (change, "not-allowed")] {
        assert_eq!(condition_of(&house.send(line, &set(content))), condition);
    }
    let get = "<iq type='get' to='capulet.lit' id='r'><query xmlns='jabber:iq:register'/></iq>";
    assert_eq!(condition_of(&house.send(line, get)), "service-unavailable");
}

/// A stream before sign-in.
struct Stream {
    house: House,
    state: Registering,
}

impl Stream {
    fn new() -> Stream {
        Stream { house: House::new(), state: Registering::default() }
    }

    fn invite(&mut self, is_admin: bool) -> String {
        let wish = lifecycle::Invite { domain: "capulet.lit", is_admin, ..lifecycle::Invite::default() };
        let invited = lifecycle::invite(&mut self.house.ctx(), &wish).unwrap();
        invited.uri.split_once("preauth=").unwrap().1.to_owned()
    }

    fn send(&mut self, xml: &str) -> PreAuthReply {
        let iq = Element::parse(xml.as_bytes(), ns::CLIENT).unwrap();
        let reply = preauth_iq(&mut self.house.ctx(), &mut self.state, &iq, "capulet.lit");
        self.house.effects.append(&mut self.house.core.effects);
        reply
    }

    fn now(&mut self, xml: &str) -> String {
        match self.send(xml) {
            PreAuthReply::Now(iq) => String::from_utf8(iq.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn show(&mut self, token: &str) -> String {
        self.now(&format!(
            "<iq type='set' to='capulet.lit' id='pa1'><preauth xmlns='urn:xmpp:pars:0' token='{token}'/></iq>"
        ))
    }

    fn derived(&mut self) -> String {
        let Some(Effect::Derive(query, password)) = self.house.effects.pop() else { panic!("a question") };
        let credentials = House::credentials(&password);
        let iq = preauth_derived(&mut self.house.ctx(), &mut self.state, query, credentials).unwrap();
        String::from_utf8(iq.to_vec()).unwrap()
    }
}

const REGISTER: &str = "<iq type='set' id='reg2'><query xmlns='jabber:iq:register'>\
                        <username>Bill</username><password>Calliope</password></query></iq>";

#[test]
fn an_invited_person_registers() {
    // XEP-0445 §4 and XEP-0077 §3.1.
    for is_admin in [false, true] {
        let mut stream = Stream::new();
        let token = stream.invite(is_admin);
        assert_eq!(stream.show(&token), "<iq type='result' from='capulet.lit' id='pa1'/>");
        let form = stream.now("<iq type='get' id='reg1' to='capulet.lit'><query xmlns='jabber:iq:register'/></iq>");
        assert!(form.contains("<username/><password/>"), "{form}");
        assert!(matches!(stream.send(REGISTER), PreAuthReply::Later(_)));
        assert_eq!(stream.derived(), "<iq type='result' from='capulet.lit' id='reg2'/>");
        let account = accounts::find(&stream.house.ctx().store(), &jid("bill@capulet.lit")).unwrap();
        assert_eq!(account.is_admin, is_admin);
        assert!(account.credentials.verify_password("Calliope"));
        // XEP-0077 §3.1.1: not a second one.
        assert!(stream.now(REGISTER).contains("not-acceptable"));
        assert_eq!(invitations::find(&stream.house.ctx().store(), &token), None);
    }
}

#[test]
fn a_token_makes_one_account_also_when_two_register_at_once() {
    let mut stream = Stream::new();
    let token = stream.invite(false);
    stream.show(&token);
    assert!(matches!(stream.send(REGISTER), PreAuthReply::Later(_)));
    let mut other = Registering::default();
    std::mem::swap(&mut stream.state, &mut other);
    stream.show(&token);
    assert!(matches!(stream.send(&REGISTER.replace("Bill", "Will")), PreAuthReply::Later(_)));
    assert!(stream.derived().contains("type='result'"));
    std::mem::swap(&mut stream.state, &mut other);
    assert!(stream.derived().contains("not-allowed"));
    let mut ctx = stream.house.ctx();
    assert!(accounts::exists(&ctx.store(), &jid("will@capulet.lit")));
    assert!(!accounts::exists(&ctx.store(), &jid("bill@capulet.lit")));
}

#[test]
fn a_token_is_not_used_up_by_a_name_that_is_taken() {
    // XEP-0445 §4: not before the registration has succeeded.
    let mut stream = Stream::new();
    stream.house.account("bill@capulet.lit");
    let token = stream.invite(false);
    stream.show(&token);
    assert!(stream.now(REGISTER).contains("<conflict"));
    assert!(matches!(stream.send(&REGISTER.replace("Bill", "will")), PreAuthReply::Later(_)));
    assert!(stream.derived().contains("type='result'"));
}

#[test]
fn a_token_expires_but_not_between_two_steps() {
    // XEP-0445 §4.
    let mut stream = Stream::new();
    let (late, token) = (stream.invite(false), stream.invite(false));
    stream.show(&token);
    stream.house.wall_us += limits::INVITATION_S * 1_000_000;
    assert!(stream.show(&late).contains("item-not-found"));
    assert!(matches!(stream.send(REGISTER), PreAuthReply::Later(_)));
    assert!(stream.derived().contains("type='result'"));
}

#[test]
fn s12_without_a_token_nobody_registers_or_learns_names() {
    let mut stream = Stream::new();
    stream.house.account("bill@capulet.lit");
    let taken = stream.now(REGISTER);
    let free = stream.now(&REGISTER.replace("Bill", "will"));
    assert!(taken.contains("not-allowed"), "{taken}");
    assert_eq!(taken, free);
    for token in ["", "x", "'&gt;", &"a".repeat(limits::TOKEN_BYTES_MAX + 1)] {
        assert!(stream.show(&token.replace('\'', "&apos;")).contains("item-not-found"));
    }
    assert!(stream.now(REGISTER).contains("not-allowed"));
    let form = stream.now("<iq type='get' id='reg1'><query xmlns='jabber:iq:register'/></iq>");
    assert!(form.contains("<instructions>") && !form.contains("<username"), "{form}");
}

#[test]
fn a_token_is_good_for_its_domain_only() {
    let mut stream = Stream::new();
    let wish = lifecycle::Invite { domain: "montague.lit", ..lifecycle::Invite::default() };
    let invited = lifecycle::invite(&mut stream.house.ctx(), &wish).unwrap();
    let token = invited.uri.split_once("preauth=").unwrap().1.to_owned();
    assert!(stream.show(&token).contains("item-not-found"));
}

#[test]
fn incomplete_registrations_are_not_acceptable() {
    // XEP-0077 §3.1.
    let mut stream = Stream::new();
    let token = stream.invite(false);
    stream.show(&token);
    for (content, condition) in [
        ("<username>bill</username>", "not-acceptable"),
        ("<username>bill</username><password/>", "not-acceptable"),
        ("<username>b@d</username><password>x</password>", "not-acceptable"),
        ("<remove/>", "unexpected-request"),
    ] {
        let out =
            stream.now(&format!("<iq type='set' id='r'><query xmlns='jabber:iq:register'>{content}</query></iq>"));
        assert!(out.contains(condition), "{content}: {out}");
    }
}

#[test]
fn requests_on_one_stream_are_bounded() {
    let mut stream = Stream::new();
    for _ in 0..limits::REGISTER_REQUESTS_MAX {
        assert!(stream.show("wrong").contains("item-not-found"));
    }
    let token = stream.invite(false);
    assert!(stream.show(&token).contains("not-acceptable"));
}

#[test]
fn other_stanzas_are_no_registration() {
    let mut stream = Stream::new();
    for xml in [
        "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>",
        "<iq type='result' id='1'><query xmlns='jabber:iq:register'/></iq>",
        "<iq type='get' id='1' to='montague.lit'><query xmlns='jabber:iq:register'/></iq>",
        "<iq type='get' id='1'/>",
        "<message><query xmlns='jabber:iq:register'/></message>",
    ] {
        assert!(matches!(stream.send(xml), PreAuthReply::NotAllowed), "{xml}");
    }
}

fn features(stream: &mut Stream) -> String {
    let mut features = Vec::new();
    write_features(&mut stream.house.ctx(), &mut features);
    String::from_utf8(features).unwrap()
}

#[test]
fn registration_is_offered_while_somebody_is_invited() {
    // XEP-0445 §3.
    let mut stream = Stream::new();
    assert_eq!(features(&mut stream), "");
    stream.invite(false);
    assert!(features(&mut stream).contains("<register xmlns='urn:xmpp:ibr-token:0'/>"));
    stream.house.wall_us += limits::INVITATION_S * 1_000_000;
    assert_eq!(features(&mut stream), "");
}

#[test]
fn an_open_house_takes_some_accounts_a_day() {
    // S47: from one household, and not the name that somebody is promised.
    let mut stream = Stream::new();
    let mut config = (*stream.house.core.config).clone();
    config.registration = crate::config::Registration::Open;
    stream.house.configure(std::rc::Rc::new(config));
    assert_eq!(features(&mut stream), "<register xmlns='http://jabber.org/features/iq-register'/>");
    let wish =
        lifecycle::Invite { domain: "capulet.lit", username: Some("juliet".into()), ..lifecycle::Invite::default() };
    lifecycle::invite(&mut stream.house.ctx(), &wish).unwrap();
    let register = |name: &str| {
        format!(
            "<iq type='set' id='1'><query xmlns='jabber:iq:register'><username>{name}</username>\
             <password>correct horse</password></query></iq>"
        )
    };
    assert!(stream.now(&register("juliet")).contains("<conflict "));
    for made in 0..=limits::REGISTRATIONS_PER_HOUSEHOLD_MAX {
        stream.state = Registering::default();
        stream.state.household = Some([192, 0, 2, 1].into());
        match stream.send(&register(&format!("a{made}"))) {
            PreAuthReply::Later(_) if made < limits::REGISTRATIONS_PER_HOUSEHOLD_MAX => {}
            PreAuthReply::Now(iq) if made == limits::REGISTRATIONS_PER_HOUSEHOLD_MAX => {
                assert!(String::from_utf8(iq.to_vec()).unwrap().contains("<resource-constraint "));
            }
            other => panic!("{made}: {other:?}"),
        }
    }
}

#[test]
fn the_first_start_invites_an_admin_until_there_is_an_account() {
    let mut house = House::new();
    let first = first_invitation(&mut house.ctx()).unwrap();
    assert!(first.uri.starts_with("xmpp:capulet.lit?register;preauth="), "{first:?}");
    assert_eq!(first_invitation(&mut house.ctx()), Some(first.clone()));
    let token = first.uri.split_once("preauth=").unwrap().1;
    assert!(invitations::find(&house.ctx().store(), token).unwrap().is_admin);
    house.account("bill@capulet.lit");
    assert_eq!(first_invitation(&mut house.ctx()), None);
}

#[test]
fn the_link_of_the_first_start_is_gone_with_the_first_account() {
    // S40: whoever finds it in a log later becomes nobody.
    let mut house = House::new();
    let first = first_invitation(&mut house.ctx()).unwrap();
    let token = first.uri.split_once("preauth=").unwrap().1.to_owned();
    let (anna, ben) = (Jid::parse("anna@capulet.lit").unwrap(), Jid::parse("ben@capulet.lit").unwrap());
    let credentials = House::credentials("correct horse");
    lifecycle::create(&mut house.ctx(), &anna, credentials.clone(), true).unwrap();
    let late = lifecycle::redeem(&mut house.ctx(), &token, &ben, credentials).map(drop).unwrap_err();
    assert_eq!(late.condition, Condition::NotAllowed);
    // Later ones are an administrator's, and good.
    let wish = lifecycle::Invite { domain: "capulet.lit", is_admin: true, ..lifecycle::Invite::default() };
    lifecycle::invite(&mut house.ctx(), &wish).unwrap();
    house.account("ben@capulet.lit");
    assert_eq!(invitations::list(&house.ctx().store()).len(), 1);
}

#[test]
fn domains_outside_ascii_are_encoded_in_links() {
    // RFC 5122 §2.7.
    let invitation = invitations::Invitation { domain: "bücher.lit".into(), ..invitations::Invitation::default() };
    assert_eq!(lifecycle::invitation_uri(&invitation, "T"), "xmpp:b%C3%BCcher.lit?register;preauth=T");
}
