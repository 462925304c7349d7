//! vCards, avatars, and what presence tells of them.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use ring::digest;

use super::*;
use crate::{
    domain::{ids::SessionId, nodes},
    router::testing::{House, Out, condition_of, result_of, to_session},
};

const VCARD: &str = "<vCard xmlns='vcard-temp'><FN>Peter Saint-Andre</FN><TEL><WORK/><NUMBER/></TEL></vCard>";

#[test]
fn a_vcard_is_published_and_seen_by_others() {
    // XEP-0054 §3, examples 1, 2, 5, 6, 8 and 9.
    let mut house = House::new();
    let peter = house.online("stpeter@capulet.lit/roundabout");
    let jer = house.online("jer@capulet.lit/x");
    let empty = "<vCard xmlns='vcard-temp'/>";
    assert_eq!(result_of(&house.send(peter, &format!("<iq id='v1' type='get'>{empty}</iq>"))), empty);
    assert_eq!(result_of(&house.send(peter, &format!("<iq id='v2' type='set'>{VCARD}</iq>"))), "");
    let ask = format!("<iq id='v3' to='stpeter@capulet.lit' type='get'>{empty}</iq>");
    for asker in [peter, jer] {
        assert_eq!(result_of(&house.send(asker, &ask)), VCARD);
    }
    assert_eq!(result_of(&house.send(peter, &format!("<iq id='v4' type='set'>{empty}</iq>"))), "");
    assert_eq!(condition_of(&house.send(jer, &ask)), "service-unavailable");
}

#[test]
fn extensions_of_a_vcard_survive_storing() {
    let mut house = House::new();
    let peter = house.online("stpeter@capulet.lit/roundabout");
    let vcard =
        "<vCard xmlns='vcard-temp' xmlns:e='urn:e'><FN e:sort='Andre' xml:lang='en'>Peter</FN><e:X e:y='1'/></vCard>";
    house.send(peter, &format!("<iq id='v1' type='set'>{vcard}</iq>"));
    let out = result_of(&house.send(peter, "<iq id='v2' type='get'><vCard xmlns='vcard-temp'/></iq>"));
    let parsed = |xml: &str| Element::parse(xml.as_bytes(), ns::CLIENT).unwrap();
    assert_eq!(parsed(&out), parsed(vcard), "{out}");
}

#[test]
fn s12_no_vcard_and_no_account_look_the_same() {
    // XEP-0054 §3.3, example 10.
    let mut house = House::new();
    let peter = house.online("stpeter@capulet.lit/roundabout");
    house.account("jer@capulet.lit");
    for ty in ["get", "set"] {
        let ask = |to| format!("<iq id='v3' to='{to}@capulet.lit' type='{ty}'>{VCARD}</iq>");
        let (here, nowhere) = (house.send(peter, &ask("jer")), house.send(peter, &ask("nobody")));
        assert_eq!(here[0].1.replace("jer", "nobody"), nowhere[0].1);
    }
}

#[test]
fn a_vcard_is_bounded() {
    let mut house = House::new();
    let peter = house.online("stpeter@capulet.lit/roundabout");
    let photo = "A".repeat(limits::VCARD_BYTES_MAX);
    let set = format!("<iq id='v' type='set'><vCard xmlns='vcard-temp'><PHOTO>{photo}</PHOTO></vCard></iq>");
    assert_eq!(condition_of(&house.send(peter, &set)), "not-acceptable");
}

// A PNG of 64 to 32 pixels as far as its header goes, its SHA-1, and another picture.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAEAAAAAgCAY=";
const PNG_ID: &str = "9d3aaad52338ef7028230730429aac90156d34d6";
const OTHER: &str = "YWJjZA==";
const OTHER_ID: &str = "81fe8bfe87576c3ecb22426f8e57847382917acf";

fn publish(node: &str, id: &str, payload: &str, access: &str) -> String {
    let form = format!(
        "<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
         <value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
         <field var='pubsub#access_model'><value>{access}</value></field></x></publish-options>"
    );
    format!(
        "<iq id='p' type='set'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='{node}'>\
         <item id='{id}'>{payload}</item></publish>{form}</pubsub></iq>"
    )
}

fn data(base64: &str) -> String {
    format!("<data xmlns='urn:xmpp:avatar:data'>{base64}</data>")
}

fn metadata(infos: &str) -> String {
    format!("<metadata xmlns='urn:xmpp:avatar:metadata'>{infos}</metadata>")
}

fn info(id: &str) -> String {
    format!("<info bytes='4' id='{id}' type='image/png'/>")
}

/// An avatar as clients publish it, XEP-0084 §3; what came out of the metadata.
fn show(house: &mut House, from: SessionId, id: &str, base64: &str, access: &str) -> Out {
    result_of(&answers(&house.send(from, &publish(ns::AVATAR_DATA, id, &data(base64), access))));
    house.send(from, &publish(ns::AVATAR_METADATA, id, &metadata(&info(id)), access))
}

fn withdraw(house: &mut House, from: SessionId) -> Out {
    house.send(from, &publish(ns::AVATAR_METADATA, "none", &metadata(""), "open"))
}

fn answers(out: &Out) -> Out {
    out.iter().filter(|(_, xml)| xml.starts_with("<iq")).cloned().collect()
}

fn set(house: &mut House, from: SessionId, content: &str) -> Out {
    house.send(from, &format!("<iq id='s' type='set'><vCard xmlns='vcard-temp'>{content}</vCard></iq>"))
}

fn vcard(house: &mut House, asker: SessionId) -> String {
    let ask = "<iq id='g' type='get' to='romeo@capulet.lit'><vCard xmlns='vcard-temp'/></iq>";
    let out = house.send(asker, ask);
    let [(_, xml)] = out.as_slice() else { panic!("{out:?}") };
    let iq = Element::parse(xml.as_bytes(), ns::CLIENT).unwrap();
    iq.find("vCard", ns::VCARD).map(|vcard| String::from_utf8(vcard.to_vec()).unwrap()).unwrap_or_default()
}

/// What the last item of a node holds.
fn last(house: &mut House, node: &str) -> Option<(String, String)> {
    let account = house.account("romeo@capulet.lit");
    let mut ctx = house.ctx();
    let store = ctx.store();
    let item = nodes::last(&store, account, nodes::find(&store, account, node)?.id)?;
    Some((item.id, String::from_utf8(item.payload).unwrap()))
}

/// The word on the picture in each presence of Romeo's that a session got.
fn told(out: &Out, id: SessionId) -> Vec<String> {
    let presences = to_session(out, id).into_iter().filter(|(_, xml)| xml.starts_with("<presence"));
    let word = |(_, xml): (SessionId, String)| {
        let presence = Element::parse(xml.as_bytes(), ns::CLIENT).unwrap();
        assert!(presence.children().filter(|child| child.name == "x").count() <= 1, "{xml}");
        match presence.find("x", ns::VCARD_UPDATE).map(|x| x.find("photo", ns::VCARD_UPDATE)) {
            None => "silent".to_owned(),
            Some(None) => "unready".to_owned(),
            Some(Some(photo)) => photo.content(),
        }
    };
    presences.map(word).collect()
}

fn photo_of(base64: &str) -> String {
    format!("<PHOTO><TYPE>image/png</TYPE><BINVAL>{base64}</BINVAL></PHOTO>")
}

fn photo_element(base64: &str) -> Element {
    Element::new("PHOTO", ns::VCARD).leaf("TYPE", "image/png").leaf("BINVAL", base64)
}

fn romeo_and_juliet() -> (House, SessionId, SessionId) {
    let mut house = House::new();
    house.subscribe("romeo@capulet.lit", "juliet@capulet.lit");
    let romeo = house.online("romeo@capulet.lit/orchard");
    let juliet = house.available("juliet@capulet.lit/chamber");
    (house, romeo, juliet)
}

#[test]
fn a_published_avatar_is_the_picture_of_the_vcard() {
    // XEP-0398 §3.1; what else the vCard holds stays as it is.
    let (mut house, romeo, juliet) = romeo_and_juliet();
    set(&mut house, romeo, "<FN>Romeo</FN><N><GIVEN>R</GIVEN></N>");
    show(&mut house, romeo, OTHER_ID, OTHER, "open");
    let rest = "<vCard xmlns='vcard-temp'><FN>Romeo</FN><N><GIVEN>R</GIVEN></N>";
    assert_eq!(vcard(&mut house, juliet), format!("{rest}{}</vCard>", photo_of(OTHER)));
    // A client edits something else and writes all back.
    set(&mut house, romeo, &format!("{}<FN>Romeo</FN>", photo_of(OTHER)));
    show(&mut house, romeo, PNG_ID, PNG, "open");
    assert_eq!(vcard(&mut house, juliet), format!("<vCard xmlns='vcard-temp'>{}<FN>Romeo</FN></vCard>", photo_of(PNG)));
    // XEP-0084 §3.5.
    withdraw(&mut house, romeo);
    assert_eq!(vcard(&mut house, juliet), "<vCard xmlns='vcard-temp'><FN>Romeo</FN></vCard>");
    assert_eq!(last(&mut house, ns::AVATAR_METADATA).unwrap().1, "<metadata xmlns='urn:xmpp:avatar:metadata'/>");
}

#[test]
fn metadata_that_come_before_their_data_are_remembered() {
    let (mut house, romeo, juliet) = romeo_and_juliet();
    house.send(romeo, &publish(ns::AVATAR_METADATA, OTHER_ID, &metadata(&info(OTHER_ID)), "open"));
    assert_eq!(vcard(&mut house, juliet), "");
    house.send(romeo, &publish(ns::AVATAR_DATA, PNG_ID, &data(PNG), "open"));
    assert_eq!(vcard(&mut house, juliet), "");
    house.send(romeo, &publish(ns::AVATAR_DATA, OTHER_ID, &data(OTHER), "open"));
    assert!(vcard(&mut house, juliet).contains(OTHER));
    // Data of the next one do not take the present one away.
    house.send(romeo, &publish(ns::AVATAR_DATA, PNG_ID, &data(PNG), "open"));
    assert!(vcard(&mut house, juliet).contains(OTHER));
}

#[test]
fn an_avatar_for_contacts_does_not_come_into_the_vcard() {
    // XEP-0398 §8.
    let (mut house, romeo, juliet) = romeo_and_juliet();
    let configure = |access: &str| {
        format!(
            "<iq id='c' type='set'><pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><configure \
             node='urn:xmpp:avatar:data'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
             <value>http://jabber.org/protocol/pubsub#node_config</value></field><field var='pubsub#access_model'>\
             <value>{access}</value></field></x></configure></pubsub></iq>"
        )
    };
    show(&mut house, romeo, OTHER_ID, OTHER, "presence");
    assert_eq!(vcard(&mut house, juliet), "");
    result_of(&answers(&house.send(romeo, &configure("open"))));
    assert!(vcard(&mut house, juliet).contains(OTHER));
    result_of(&answers(&house.send(romeo, &configure("whitelist"))));
    assert_eq!(vcard(&mut house, juliet), "");
    // A picture that the account put into its vCard itself is another matter.
    set(&mut house, romeo, &photo_of(PNG));
    result_of(&answers(&house.send(romeo, &configure("presence"))));
    assert!(vcard(&mut house, juliet).contains(PNG));
}

#[test]
fn a_picture_goes_with_the_avatar_that_it_came_from() {
    for what in ["<purge node='urn:xmpp:avatar:data'/>", "<delete node='urn:xmpp:avatar:metadata'/>"] {
        let (mut house, romeo, juliet) = romeo_and_juliet();
        show(&mut house, romeo, OTHER_ID, OTHER, "open");
        assert!(vcard(&mut house, juliet).contains(OTHER));
        let gone = format!(
            "<iq id='d' type='set'><pubsub xmlns='http://jabber.org/protocol/pubsub#owner'>{what}</pubsub></iq>"
        );
        house.send(romeo, &gone);
        assert_eq!(vcard(&mut house, juliet), "", "{what}");
    }
}

#[test]
fn an_avatar_that_is_not_what_it_says_is_not_converted() {
    let (mut house, romeo, juliet) = romeo_and_juliet();
    // XEP-0398 §3.1: the hash is verified, and what is elsewhere is passed over.
    let elsewhere = format!("<info bytes='9' id='{PNG_ID}' type='image/gif' url='https://example.org/x.gif'/>");
    house.send(romeo, &publish(ns::AVATAR_METADATA, "x", &metadata(&elsewhere), "open"));
    show(&mut house, romeo, PNG_ID, OTHER, "open");
    show(&mut house, romeo, OTHER_ID, "YW*", "open");
    assert_eq!(vcard(&mut house, juliet), "");
    house.send(romeo, &publish(ns::AVATAR_DATA, OTHER_ID, &data(OTHER), "open"));
    let both = metadata(&(elsewhere + &info(OTHER_ID)));
    house.send(romeo, &publish(ns::AVATAR_METADATA, OTHER_ID, &both, "open"));
    assert!(vcard(&mut house, juliet).contains(OTHER));
}

#[test]
fn nobody_else_changes_the_vcard() {
    // The account lets everybody publish, and yet the vCard is its own.
    let (mut house, romeo, juliet) = romeo_and_juliet();
    show(&mut house, romeo, OTHER_ID, OTHER, "open");
    for node in [ns::AVATAR_DATA, ns::AVATAR_METADATA] {
        let account = house.account("romeo@capulet.lit");
        let mut ctx = house.ctx();
        let mut found = nodes::find(&ctx.store(), account, node).unwrap();
        found.settings.publish = nodes::settings::PublishModel::Open;
        nodes::update(&mut ctx.store(), account, &found);
    }
    let to_romeo = |xml: String| xml.replacen("<iq ", "<iq to='romeo@capulet.lit' ", 1);
    let before = vcard(&mut house, juliet);
    for (node, id, payload) in [
        (ns::AVATAR_METADATA, "none", metadata("")),
        (ns::AVATAR_DATA, PNG_ID, data(PNG)),
        (ns::AVATAR_METADATA, PNG_ID, metadata(&info(PNG_ID))),
    ] {
        result_of(&answers(&house.send(juliet, &to_romeo(publish(node, id, &payload, "open")))));
        assert_eq!(vcard(&mut house, juliet), before, "{payload}");
    }
    // Not even by metadata of the account that name a stranger's data.
    house.send(romeo, &publish(ns::AVATAR_METADATA, PNG_ID, &metadata(&info(PNG_ID)), "open"));
    assert_eq!(vcard(&mut house, juliet), before);
}

#[test]
fn an_avatar_fits_into_the_vcard_or_stays_outside() {
    let (mut house, romeo, juliet) = romeo_and_juliet();
    let frame = format!("<vCard xmlns='vcard-temp'><FN></FN>{}</vCard>", photo_of("")).len();
    let bytes = vec![7; (limits::VCARD_BYTES_MAX - frame) / 4 * 3 - 300];
    let base64 = BASE64.encode(&bytes);
    let mut id = [0; 20];
    id.copy_from_slice(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &bytes).as_ref());
    let id = picture::hex(id);
    for (beyond, fits) in [(0, true), (1, false)] {
        withdraw(&mut house, romeo);
        let name = "x".repeat(limits::VCARD_BYTES_MAX - frame - base64.len() + beyond);
        set(&mut house, romeo, &format!("<FN>{name}</FN>"));
        show(&mut house, romeo, &id, &base64, "open");
        let vcard = vcard(&mut house, juliet);
        assert_eq!(vcard.len(), if fits { limits::VCARD_BYTES_MAX } else { frame - photo_of("").len() + name.len() });
    }
}

#[test]
fn the_picture_of_a_vcard_is_published_as_an_avatar() {
    // XEP-0398 §3.2.
    let (mut house, romeo, juliet) = romeo_and_juliet();
    let out = set(&mut house, romeo, &format!("<FN>Romeo</FN>{}", photo_of(PNG)));
    assert_eq!(answers(&out).len(), 1);
    let Shown::This(picture) = Picture::in_vcard(&Element::parse(vcard(&mut house, juliet).as_bytes(), "").unwrap())
    else {
        panic!("a picture")
    };
    let id = picture::hex(picture.hash);
    assert_eq!(last(&mut house, ns::AVATAR_DATA), Some((id.clone(), data(PNG))));
    let info = format!("<info bytes='26' height='32' id='{id}' type='image/png' width='64'/>");
    assert_eq!(last(&mut house, ns::AVATAR_METADATA), Some((id.clone(), metadata(&info))));
    // As readable as the vCard.
    let ask = "<iq id='i' type='get' to='romeo@capulet.lit'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items \
               node='urn:xmpp:avatar:data'/></pubsub></iq>";
    let stranger = house.online("mercutio@capulet.lit/street");
    assert!(result_of(&house.send(stranger, ask)).contains(PNG));
    // The same again is no event; another one is, and one that was there before is.
    let account = house.account("romeo@capulet.lit");
    for (base64, id) in [(PNG, id.as_str()), (OTHER, OTHER_ID), (PNG, &id)] {
        set(&mut house, romeo, &photo_of(base64));
        let held = last(&mut house, ns::AVATAR_METADATA).unwrap();
        assert_eq!(held.0, id);
        // A node with a history.
        let mut ctx = house.ctx();
        let mut node = nodes::find(&ctx.store(), account, ns::AVATAR_METADATA).unwrap();
        node.settings.max_items = 9;
        nodes::update(&mut ctx.store(), account, &node);
    }
    // Taken out.
    set(&mut house, romeo, "<FN>Romeo</FN>");
    assert_eq!(last(&mut house, ns::AVATAR_METADATA).unwrap().1, "<metadata xmlns='urn:xmpp:avatar:metadata'/>");
    let held = last(&mut house, ns::AVATAR_METADATA);
    set(&mut house, romeo, "<FN>Montague</FN>");
    assert_eq!(last(&mut house, ns::AVATAR_METADATA), held, "nothing is taken out twice");
}

#[test]
fn a_vcard_without_a_picture_leaves_the_avatar_alone() {
    let (mut house, romeo, _) = romeo_and_juliet();
    show(&mut house, romeo, OTHER_ID, OTHER, "presence");
    for content in ["<FN>Romeo</FN>", "<PHOTO><EXTVAL>http://example.org/x.png</EXTVAL></PHOTO>", ""] {
        set(&mut house, romeo, content);
        assert_eq!(last(&mut house, ns::AVATAR_METADATA).unwrap().0, OTHER_ID, "{content}");
    }
}

#[test]
fn a_picture_for_which_there_is_no_room_stays_in_the_vcard() {
    let Shown::This(picture) = Picture::in_vcard(&Element::new("vCard", ns::VCARD).child(photo_element(PNG))) else {
        panic!("a picture")
    };
    let weight = |payload: &Element| nodes::weight(&picture::hex(picture.hash), &payload.to_vec());
    let need = weight(&picture.data()) + weight(&picture.metadata());
    for (beyond, fits) in [(0, true), (1, false)] {
        let (mut house, romeo, juliet) = romeo_and_juliet();
        let account = house.account("romeo@capulet.lit");
        let mut ctx = house.ctx();
        let settings = nodes::Settings { max_items: 1_000, ..nodes::Settings::personal() };
        let node = nodes::create(&mut ctx.store(), account, "n", "romeo@capulet.lit", settings, 0).unwrap();
        let full = vec![b'x'; limits::ITEM_BYTES_MAX as usize];
        let mut left = limits::NODES_BYTES_MAX - need + beyond;
        while left > 0 {
            let id = format!("{left:010}");
            // Never so that less than an id is left.
            let whole = if left > 400_000 { full.len() } else { left.div_ceil(3) as usize };
            let whole = if left < 1_000 { left as usize } else { whole };
            nodes::put_item(&mut ctx.store(), account, node.id, (&id, "", &full[..whole - id.len()]), 0);
            left -= whole as u64;
        }
        set(&mut house, romeo, &photo_of(PNG));
        // Both or neither.
        assert_eq!(last(&mut house, ns::AVATAR_DATA).is_some(), fits);
        assert_eq!(last(&mut house, ns::AVATAR_METADATA).is_some(), fits);
        assert!(vcard(&mut house, juliet).contains(PNG));
    }
}

#[test]
fn available_presence_tells_the_hash() {
    // XEP-0398 §4.
    let (mut house, romeo, juliet) = romeo_and_juliet();
    let say =
        |house: &mut House, child: &str| told(&house.send(romeo, &format!("<presence>{child}</presence>")), juliet);
    let claim = "<x xmlns='vcard-temp:x:update'><photo>sha1-hash-of-image</photo></x>";
    let unready = "<x xmlns='vcard-temp:x:update'/>";
    let none = "<x xmlns='vcard-temp:x:update'><photo/></x>";
    // Nothing is known.
    assert_eq!(say(&mut house, ""), ["silent"]);
    assert_eq!(say(&mut house, unready), [""]);
    assert_eq!(say(&mut house, claim), ["sha1-hash-of-image"]);
    let out = show(&mut house, romeo, OTHER_ID, OTHER, "open");
    assert_eq!(told(&out, juliet), [OTHER_ID]);
    for child in ["", unready, claim, "<show>away</show>"] {
        assert_eq!(say(&mut house, child), [OTHER_ID], "{child}");
    }
    assert_eq!(say(&mut house, none), [""], "it shows none");
    // Directed presence, such as to rooms; other types are left alone.
    let mercutio = house.online("mercutio@capulet.lit/street");
    let out = house.send(romeo, "<presence to='mercutio@capulet.lit/street'/>");
    assert_eq!(told(&out, mercutio), [OTHER_ID]);
    assert_eq!(told(&house.send(romeo, "<presence type='unavailable'/>"), juliet), ["silent"]);
    // Another device, later, from the store.
    house.core.sessions.remove(romeo);
    let phone = house.online("romeo@capulet.lit/phone");
    assert_eq!(told(&house.send(phone, "<presence/>"), juliet), [OTHER_ID]);
}

#[test]
fn a_new_picture_is_told_in_the_name_of_every_available_session() {
    let (mut house, romeo, juliet) = romeo_and_juliet();
    let phone = house.online("romeo@capulet.lit/phone");
    let shy = house.online("romeo@capulet.lit/shy");
    house.send(romeo, "<presence id='1'><status>in love</status><x xmlns='vcard-temp:x:update'/></presence>");
    house.send(shy, "<presence><x xmlns='vcard-temp:x:update'><photo/></x></presence>");
    // A picture that everybody may see; the one who is not available and the one who shows none say nothing.
    let out = set(&mut house, phone, &photo_of(OTHER));
    assert_eq!(told(&out, juliet), [OTHER_ID]);
    let (_, again) = &to_session(&out, juliet)[0];
    assert!(again.contains("romeo@capulet.lit/orchard") && again.contains("<status>in love</status>"), "{again}");
    // The same again.
    assert_eq!(told(&set(&mut house, phone, &photo_of(OTHER)), juliet), [""; 0]);
    // Gone.
    assert_eq!(told(&withdraw(&mut house, phone), juliet), [""]);
    assert_eq!(told(&house.send(romeo, "<presence/>"), juliet), [""]);
}

#[test]
fn an_account_tells_that_it_converts() {
    // XEP-0398 §2.
    let (mut house, romeo, _) = romeo_and_juliet();
    let ask =
        "<iq id='d' type='get' to='romeo@capulet.lit'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>";
    assert!(result_of(&house.send(romeo, ask)).contains("<feature var='urn:xmpp:pep-vcard-conversion:0'/>"));
}
