//! XEP-0054, XEP-0153 and XEP-0398.

use super::*;
use crate::router::testing::{House, condition_of, result_of};

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

/// Four bytes of a picture.
const BINVAL: &str = "iVBORw==";

fn hash() -> String {
    let print = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, b"\x89PNG");
    print.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn publish(house: &mut House, who: crate::domain::ids::SessionId, node: &str, item: &str, payload: &str, access: &str) {
    let options = format!(
        "<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
         <value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
         <field var='pubsub#access_model'><value>{access}</value></field></x></publish-options>"
    );
    let xml = format!(
        "<iq type='set' id='p'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='{node}'>\
         <item id='{item}'>{payload}</item></publish>{options}</pubsub></iq>"
    );
    let out = house.send(who, &xml);
    assert!(out.iter().any(|(_, xml)| xml.contains("type='result'")), "{out:?}");
}

fn publish_avatar(house: &mut House, who: crate::domain::ids::SessionId, access: &str) {
    let id = hash();
    publish(house, who, ns::AVATAR_DATA, &id, &format!("<data xmlns='{}'>{BINVAL}</data>", ns::AVATAR_DATA), access);
    let info = format!("<info id='{id}' type='image/png' bytes='4'/>");
    let metadata = format!("<metadata xmlns='{}'>{info}</metadata>", ns::AVATAR_METADATA);
    publish(house, who, ns::AVATAR_METADATA, &id, &metadata, access);
}

fn vcard_of(house: &mut House, asker: crate::domain::ids::SessionId, to: &str) -> String {
    result_of(&house.send(asker, &format!("<iq id='g' to='{to}' type='get'><vCard xmlns='vcard-temp'/></iq>")))
}

#[test]
fn an_avatar_of_pep_is_the_picture_of_the_vcard() {
    // XEP-0398 §4.1.
    let mut house = House::new();
    let (juliet, romeo) = (house.available("juliet@capulet.lit/balcony"), house.online("romeo@capulet.lit/x"));
    house.send(juliet, "<iq id='v' type='set'><vCard xmlns='vcard-temp'><FN>Juliet</FN></vCard></iq>");
    publish_avatar(&mut house, juliet, "open");
    let vcard = vcard_of(&mut house, romeo, "juliet@capulet.lit");
    assert!(vcard.contains("<FN>Juliet</FN>"), "what else stands there stays: {vcard}");
    assert!(vcard.contains(&format!("<PHOTO><TYPE>image/png</TYPE><BINVAL>{BINVAL}</BINVAL></PHOTO>")), "{vcard}");
    let none = format!("<metadata xmlns='{}'/>", ns::AVATAR_METADATA);
    publish(&mut house, juliet, ns::AVATAR_METADATA, "none", &none, "open");
    assert!(!vcard_of(&mut house, romeo, "juliet@capulet.lit").contains("PHOTO"));
}

#[test]
fn an_avatar_for_friends_does_not_come_into_the_open() {
    // XEP-0398 §8.
    let mut house = House::new();
    let juliet = house.available("juliet@capulet.lit/balcony");
    house.send(juliet, "<iq id='v' type='set'><vCard xmlns='vcard-temp'><FN>Juliet</FN></vCard></iq>");
    publish_avatar(&mut house, juliet, "presence");
    assert!(!vcard_of(&mut house, juliet, "juliet@capulet.lit").contains("PHOTO"));
}

#[test]
fn a_picture_in_the_vcard_is_published_and_goes_again() {
    // XEP-0398 §4.2.
    let mut house = House::new();
    let juliet = house.available("juliet@capulet.lit/balcony");
    let set = |photo: &str| format!("<iq id='v' type='set'><vCard xmlns='vcard-temp'><FN>J</FN>{photo}</vCard></iq>");
    let photo = "<PHOTO><TYPE>image/png</TYPE><BINVAL>\n iVBO\n Rw==</BINVAL></PHOTO>";
    house.send(juliet, &set(photo));
    let items = |house: &mut House, node: &str| {
        let ask = format!("<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='{node}'/></pubsub>");
        house.send(juliet, &format!("<iq type='get' id='i'>{ask}</iq>"))[0].1.clone()
    };
    let data = items(&mut house, ns::AVATAR_DATA);
    assert!(data.contains(&format!("<item id='{}'", hash())) && data.contains(BINVAL), "{data}");
    let metadata = items(&mut house, ns::AVATAR_METADATA);
    assert!(metadata.contains(&format!("<info id='{}' type='image/png' bytes='4'/>", hash())), "{metadata}");
    house.send(juliet, &set(""));
    let metadata = items(&mut house, ns::AVATAR_METADATA);
    assert!(metadata.contains("<metadata xmlns='urn:xmpp:avatar:metadata'/>"), "{metadata}");
    // What is no picture is none: nothing is published, and the vCard stays as it was written.
    house.send(juliet, &set("<PHOTO><BINVAL>***</BINVAL></PHOTO>"));
    assert!(items(&mut house, ns::AVATAR_METADATA).contains("<metadata xmlns='urn:xmpp:avatar:metadata'/>"));
}

#[test]
fn presence_tells_the_hash_and_tells_it_anew() {
    // XEP-0398 §4.4, XEP-0153 §4.1.
    let mut house = House::new();
    let (juliet, romeo) = (house.available("juliet@capulet.lit/balcony"), house.available("romeo@capulet.lit/x"));
    house.subscribe("juliet@capulet.lit", "romeo@capulet.lit");
    let seen = |out: &crate::router::testing::Out| -> Vec<String> {
        let to_romeo = crate::router::testing::to_session(out, romeo);
        to_romeo.into_iter().map(|(_, xml)| xml).filter(|xml| xml.starts_with("<presence")).collect()
    };
    let plain = seen(&house.send(juliet, "<presence><show>chat</show></presence>"));
    assert!(!plain[0].contains("vcard-temp:x:update"), "{plain:?}");
    let waiting = seen(&house.send(juliet, "<presence><x xmlns='vcard-temp:x:update'/></presence>"));
    assert!(waiting[0].contains("<x xmlns='vcard-temp:x:update'><photo/></x>"), "{waiting:?}");
    house.send(juliet, "<presence><show>chat</show></presence>");
    let photo = format!("<PHOTO><TYPE>image/png</TYPE><BINVAL>{BINVAL}</BINVAL></PHOTO>");
    let set = format!("<iq id='v' type='set'><vCard xmlns='vcard-temp'>{photo}</vCard></iq>");
    let told = seen(&house.send(juliet, &set));
    let expected = format!("<x xmlns='vcard-temp:x:update'><photo>{}</photo></x>", hash());
    assert!(told.len() == 1 && told[0].contains(&expected) && told[0].contains("<show>chat</show>"), "{told:?}");
    for inner in ["", "<x xmlns='vcard-temp:x:update'/>", "<x xmlns='vcard-temp:x:update'><photo>abc</photo></x>"] {
        let told = seen(&house.send(juliet, &format!("<presence>{inner}</presence>")));
        assert_eq!(told[0].matches("vcard-temp:x:update").count(), 1, "{told:?}");
        assert!(told[0].contains(&expected), "{told:?}");
    }
    let shy = seen(&house.send(juliet, "<presence><x xmlns='vcard-temp:x:update'><photo/></x></presence>"));
    assert!(shy[0].contains("<photo/>") && !shy[0].contains(&hash()), "{shy:?}");
}
