//! What the server says to a command, and how a person sees it.
//!
//! Source: XEP-0050 v1.3.0 §3 (notes, status), XEP-0004 v2.13.1 §3 (result forms), RFC 6120 §8.3 (errors).
//! Invariant: nothing that came over the stream can steer the terminal.

use std::fmt;

use crate::wire::{element::Element, form::Form, ns};

/// What a command answered.
#[derive(Debug, Default)]
pub struct Answer {
    /// Result form.
    pub form: Option<Form>,
    /// Notes for a person.
    pub notes: Vec<String>,
}

/// Why a command was not done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The stanza error's condition; empty if there is none.
    pub condition: String,
    /// What the server, or this side, says about it.
    pub text: Option<String>,
}

/// One stage of a command, XEP-0050 §3.
pub enum Stage {
    /// It is over.
    Completed(Answer),
    /// This session waits for a form to be submitted.
    Executing(String),
}

impl From<String> for Refusal {
    fn from(text: String) -> Refusal {
        Refusal { condition: String::new(), text: Some(text) }
    }
}

impl From<Refusal> for String {
    fn from(refusal: Refusal) -> String {
        refusal.to_string()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => f.write_str(&plain(text)),
            None if self.condition.is_empty() => f.write_str("the server refuses"),
            None => write!(f, "the server refuses: {}", plain(&self.condition.replace('-', " "))),
        }
    }
}

/// Reads the answer to a command.
///
/// # Errors
/// [`Refusal`] if it is an error, carries a note of type error, or makes no sense.
pub fn read(iq: &Element) -> Result<Stage, Refusal> {
    if iq.get("type") == Some("error") {
        let error = iq.find("error", ns::CLIENT);
        let defined = |child: &&Element| child.ns == ns::STANZA_ERRORS && child.name != "text";
        let condition = error.and_then(|e| e.children().find(defined)).map(|c| c.name.to_string());
        let text = error.and_then(|e| e.find("text", ns::STANZA_ERRORS)).map(Element::content);
        return Err(Refusal { condition: condition.unwrap_or_default(), text });
    }
    let no_sense = || Refusal::from("the server's answer cannot be read".to_owned());
    let command = iq.find("command", ns::COMMANDS).ok_or_else(no_sense)?;
    let notes = command.children().filter(|child| child.is("note", ns::COMMANDS));
    let (errors, notes): (Vec<_>, Vec<_>) = notes.partition(|note| note.get("type") == Some("error"));
    if let Some(error) = errors.first() {
        return Err(error.content().into());
    }
    match (command.get("status"), command.get("sessionid")) {
        (Some("executing"), Some(session)) => return Ok(Stage::Executing(session.to_owned())),
        (Some("canceled"), _) => return Err("the server canceled the command".to_owned().into()),
        (Some("completed"), _) => {}
        _ => return Err(no_sense()),
    }
    let form = Form::find_in(command).map_err(|_| no_sense())?;
    Ok(Stage::Completed(Answer { form, notes: notes.iter().map(|note| note.content()).collect() }))
}

impl Answer {
    /// Fields aligned, then notes; empty if there is nothing to see.
    pub fn text(&self) -> String {
        let rows: Vec<(String, Vec<String>)> = self.form.iter().flat_map(|form| rows(&form.element())).collect();
        let width = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
        let mut out = String::new();
        for (label, values) in rows {
            for (at, value) in values.iter().enumerate() {
                let label = if at == 0 { label.as_str() } else { "" };
                out += &format!("{label:<width$}  {value}\n");
            }
        }
        self.notes.iter().for_each(|note| out += &format!("{}\n", plain(note)));
        out
    }
}

/// Labels and values of a form, as its element shows them; a field without a value is shown as such.
fn rows(form: &Element) -> Vec<(String, Vec<String>)> {
    let fields = form.children().filter(|child| child.is("field", ns::DATA) && child.get("type") != Some("hidden"));
    fields
        .map(|field| {
            let var = field.get("var").unwrap_or_default();
            let label = field.get("label").unwrap_or_else(|| label_of(var));
            let values = field.children().filter(|child| child.is("value", ns::DATA));
            let mut values: Vec<String> = values.map(|value| plain(&value.content())).collect();
            if values.is_empty() {
                values.push("–".into());
            }
            (plain(label), values)
        })
        .collect()
}

/// The fields that XEP-0133 §4.10 registers, for servers that send them without labels.
fn label_of(var: &str) -> &str {
    match var {
        "accountjid" => "Account",
        "ipaddresses" => "IP addresses",
        "onlineresources" => "Devices online",
        "rostersize" => "Contacts",
        var => var,
    }
}

/// On one line, without anything that a terminal would obey.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::form::{Field, FieldType, FormType};

    fn refusal(inside: &str) -> Refusal {
        let iq = format!("<iq type='error' id='1'><error type='cancel'>{inside}</error></iq>");
        read(&Element::parse(iq.as_bytes(), ns::CLIENT).unwrap()).err().unwrap()
    }

    fn stage(inside: &str) -> Result<Stage, Refusal> {
        let iq = format!("<iq type='result' id='1'>{inside}</iq>");
        read(&Element::parse(iq.as_bytes(), ns::CLIENT).unwrap())
    }

    #[test]
    fn a_form_prints_aligned_and_what_is_empty_shows() {
        let form = Form::typed(FormType::Result, "x")
            .field(Field::plain("rostersize", "1"))
            .field(Field::new("b", FieldType::TextMulti).label("Accounts online").values(["2", "3"]))
            .field(Field::new("onlineresources", FieldType::TextMulti));
        let answer = Answer { form: Some(form), notes: vec!["done".into()] };
        let lines = ["Contacts         1", "Accounts online  2", "                 3", "Devices online   –", "done"];
        assert_eq!(answer.text().lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn answers_cannot_steer_the_terminal() {
        let form = Form::typed(FormType::Result, "x").field(Field::plain("a\u{9b}1m", "\u{1b}[2Jb\nc"));
        let text = Answer { form: Some(form), notes: vec!["\u{7}".into()] }.text();
        assert!(text.lines().count() == 2 && !text.replace('\n', "").contains(char::is_control), "{text:?}");
    }

    #[test]
    fn an_error_is_one_line() {
        let gone = refusal("<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>");
        assert_eq!(
            (gone.condition.as_str(), gone.to_string().as_str()),
            ("item-not-found", "the server refuses: item not found")
        );
        let told = refusal(
            "<bad-session xmlns='urn:x'/><text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>No,\nnot now.</text>",
        );
        assert_eq!((told.condition.as_str(), told.to_string().as_str()), ("", "No, not now."));
        assert_eq!(refusal("").to_string(), "the server refuses");
    }

    #[test]
    fn a_note_of_type_error_is_an_error() {
        let note = "<command xmlns='http://jabber.org/protocol/commands' node='n' sessionid='s' status='completed'>\
                    <note type='error'>The disk is full.</note></command>";
        assert_eq!(stage(note).err().unwrap().to_string(), "The disk is full.");
    }

    #[test]
    fn what_is_no_answer_is_no_success() {
        for inside in ["", "<command xmlns='http://jabber.org/protocol/commands' node='n'/>"] {
            assert_eq!(stage(inside).err().unwrap().to_string(), "the server's answer cannot be read");
        }
        let canceled = "<command xmlns='http://jabber.org/protocol/commands' node='n' status='canceled'/>";
        assert!(stage(canceled).is_err());
    }
}
