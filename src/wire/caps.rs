//! Entity capabilities: the string that stands for an answer to disco#info.
//!
//! Source: XEP-0115 v1.6.0 §5. Invariant: an answer that could be read in two ways gives no string ([`is_sound`]), so that
//! nobody finds another answer with the same one by shifting words between fields.

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::digest;

use super::{element::Element, form::FORM_TYPE, ns};

/// A hash function by its name in the IANA registry, XEP-0115 §4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// `sha-1`, which everybody uses.
    Sha1,
    /// `sha-256`.
    Sha256,
    /// `sha-512`.
    Sha512,
}

impl Hash {
    /// The function of this name, if we know it.
    pub fn parse(name: &str) -> Option<Hash> {
        match name {
            "sha-1" => Some(Hash::Sha1),
            "sha-256" => Some(Hash::Sha256),
            "sha-512" => Some(Hash::Sha512),
            _ => None,
        }
    }

    fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Hash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => &digest::SHA256,
            Hash::Sha512 => &digest::SHA512,
        }
    }
}

/// The verification string of an answer to disco#info, XEP-0115 §5.1.
pub fn verification(children: &[Element], hash: Hash) -> String {
    let named = |name: &'static str| children.iter().filter(move |child| child.name == name);
    let mut identities: Vec<[&str; 4]> = named("identity")
        .map(|child| ["category", "type", "xml:lang", "name"].map(|name| child.get(name).unwrap_or_default()))
        .collect();
    identities.sort_unstable();
    let mut features: Vec<&str> = named("feature").filter_map(|feature| feature.get("var")).collect();
    features.sort_unstable();
    let mut forms: Vec<(String, String)> = named("x").filter_map(form_string).collect();
    forms.sort_unstable();
    let mut text = String::with_capacity(2048);
    for identity in identities {
        text += &identity.join("/");
        text.push('<');
    }
    for feature in features {
        text += feature;
        text.push('<');
    }
    for (_, form) in forms {
        text += &form;
    }
    STANDARD.encode(digest::digest(hash.algorithm(), text.as_bytes()))
}

/// Type and serialised fields of one form; `None` if it has no FORM_TYPE (XEP-0115 §5.4, step 3.6).
fn form_string(x: &Element) -> Option<(String, String)> {
    let values = |field: &Element| -> Vec<String> {
        let mut values: Vec<_> =
            field.children().filter(|value| value.is("value", ns::DATA)).map(Element::content).collect();
        values.sort_unstable();
        values
    };
    let mut fields: Vec<(&str, Vec<String>)> = x
        .children()
        .filter(|field| field.is("field", ns::DATA))
        .map(|field| (field.get("var").unwrap_or_default(), values(field)))
        .collect();
    fields.sort_unstable();
    let form_type = fields.iter().find(|(var, _)| *var == FORM_TYPE)?.1.first()?.clone();
    let mut text = format!("{form_type}<");
    for (var, values) in fields.iter().filter(|(var, _)| *var != FORM_TYPE) {
        for part in std::iter::once(*var).chain(values.iter().map(String::as_str)) {
            text += part;
            text.push('<');
        }
    }
    Some((form_type, text))
}

/// Whether an answer to disco#info may be hashed at all, XEP-0115 §5.4, steps 3.3 to 3.5: nothing stands in it twice, and
/// nothing holds the character that parts words in the string.
pub fn is_sound(children: &[Element]) -> bool {
    let mut identities: Vec<[Option<&str>; 4]> = children
        .iter()
        .filter(|child| child.name == "identity")
        .map(|child| ["category", "type", "xml:lang", "name"].map(|name| child.get(name)))
        .collect();
    let mut features: Vec<Option<&str>> =
        children.iter().filter(|child| child.name == "feature").map(|child| child.get("var")).collect();
    let form_types = |x: &Element| -> Vec<String> {
        let hidden = x.children().filter(|field| field.is("field", ns::DATA) && field.get("var") == Some(FORM_TYPE));
        hidden
            .flat_map(|field| field.children().filter(|value| value.is("value", ns::DATA)).map(Element::content))
            .collect()
    };
    let forms: Vec<Vec<String>> = children.iter().filter(|child| child.is("x", ns::DATA)).map(form_types).collect();
    let mut typed: Vec<&String> = forms.iter().filter_map(|values| values.first()).collect();
    let words = identities.iter().flatten().chain(&features).flatten();
    let plain = words.copied().all(|word| !word.contains('<'));
    plain
        && forms.iter().all(|values| values.windows(2).all(|pair| pair[0] == pair[1]))
        && is_set(&mut identities)
        && is_set(&mut features)
        && is_set(&mut typed)
}

fn is_set<T: Ord>(things: &mut [T]) -> bool {
    things.sort_unstable();
    things.windows(2).all(|pair| pair[0] != pair[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(xml: &str) -> Vec<Element> {
        Element::parse(xml.as_bytes(), ns::CLIENT).unwrap().children().cloned().collect()
    }

    #[test]
    fn the_simple_hash_of_the_specification() {
        // XEP-0115 §5.2.
        let children = parsed(
            "<query xmlns='http://jabber.org/protocol/disco#info'>
               <identity category='client' type='pc' name='Exodus 0.9.1'/>
               <feature var='http://jabber.org/protocol/disco#info'/>
               <feature var='http://jabber.org/protocol/caps'/>
               <feature var='http://jabber.org/protocol/muc'/>
               <feature var='http://jabber.org/protocol/disco#items'/>
             </query>",
        );
        assert_eq!(verification(&children, Hash::Sha1), "QgayPKawpkPSDYmwT/WM94uAlu0=");
    }

    #[test]
    fn the_complex_hash_of_the_specification() {
        // XEP-0115 §5.3.
        let children = parsed(
            "<query xmlns='http://jabber.org/protocol/disco#info'>
               <identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/>
               <identity xml:lang='el' category='client' name='Ψ 0.11' type='pc'/>
               <feature var='http://jabber.org/protocol/caps'/>
               <feature var='http://jabber.org/protocol/disco#info'/>
               <feature var='http://jabber.org/protocol/disco#items'/>
               <feature var='http://jabber.org/protocol/muc'/>
               <x xmlns='jabber:x:data' type='result'>
                 <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value></field>
                 <field var='ip_version' type='text-multi'><value>ipv4</value><value>ipv6</value></field>
                 <field var='os'><value>Mac</value></field>
                 <field var='os_version'><value>10.5.1</value></field>
                 <field var='software'><value>Psi</value></field>
                 <field var='software_version'><value>0.11</value></field>
               </x>
             </query>",
        );
        assert_eq!(verification(&children, Hash::Sha1), "q07IKJEyjvHSyhy//CH0CxmKi8w=");
    }

    #[test]
    fn answers_with_two_readings_are_not_hashed() {
        // XEP-0115 §5.4 and §9.
        let form =
            |kind: &str| format!("<x xmlns='jabber:x:data'><field var='FORM_TYPE'><value>{kind}</value></field></x>");
        for (answer, expected) in [
            ("<identity category='client' type='pc'/><feature var='a'/><feature var='b'/>".to_owned(), true),
            ("<feature var='a'/><feature var='a'/>".to_owned(), false),
            ("<identity category='client' type='pc'/><identity category='client' type='pc'/>".to_owned(), false),
            ("<feature var='a&lt;b'/>".to_owned(), false),
            (form("a") + &form("b"), true),
            (form("a") + &form("a"), false),
            (form("a</value><value>b"), false),
        ] {
            let children = parsed(&format!("<query xmlns='http://jabber.org/protocol/disco#info'>{answer}</query>"));
            assert_eq!(is_sound(&children), expected, "{answer}");
        }
    }
}
