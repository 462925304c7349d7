//! The form that says which messages are asked for.
//!
//! Source: XEP-0313 §4.1, XEP-0004, XEP-0068.

use crate::wire::{
    element::Element,
    error::{Condition, StanzaError},
    form::{Field, FieldType, Form, FormType},
    jid::Jid,
    ns, time,
};

/// XEP-0122, for the list of ids, which is open.
const VALIDATE: &str = "http://jabber.org/protocol/xdata-validate";

/// What a query asks for; by default everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Exchanged with this address: a bare one stands for all its resources.
    pub with: Option<Jid>,
    /// Not before this instant, in milliseconds since 1970.
    pub start_ms: Option<u64>,
    /// Not after this millisecond.
    pub end_ms: Option<u64>,
    /// Behind this message.
    pub after_id: Option<String>,
    /// Ahead of this message.
    pub before_id: Option<String>,
    /// These messages.
    pub ids: Option<Vec<String>>,
}

impl Filter {
    /// Reads the form in a query.
    ///
    /// # Errors
    /// `feature-not-implemented` for a field that is not known (§4.1.5), `bad-request` for what makes no sense.
    pub fn of(query: &Element) -> Result<Filter, StanzaError> {
        let bad = |text| StanzaError::new(Condition::BadRequest).text(text);
        let Some(form) = Form::find_in(query)? else { return Ok(Filter::default()) };
        if form.kind != FormType::Submit || form.form_type() != Some(ns::MAM) {
            return Err(bad("This is no form for an archive."));
        }
        let mut filter = Filter::default();
        for field in &form.fields {
            let value = field.values.first().map(|value| value.trim()).filter(|value| !value.is_empty());
            let moment = || match value.map(time::parse) {
                Some(None) => Err(bad("A time is written as in XEP-0082.")),
                Some(known) => Ok(known),
                None => Ok(None),
            };
            match field.var.as_ref() {
                "FORM_TYPE" | "include-groupchat" => {}
                "with" => {
                    let jid = value.map(Jid::parse).transpose();
                    filter.with = jid.map_err(|_| StanzaError::new(Condition::JidMalformed))?;
                }
                "start" => filter.start_ms = moment()?,
                "end" => filter.end_ms = moment()?,
                "before-id" => filter.before_id = value.map(str::to_owned),
                "after-id" => filter.after_id = value.map(str::to_owned),
                "ids" => filter.ids = Some(field.values.iter().map(|id| id.clone().into_owned()).collect()),
                _ => return Err(Condition::FeatureNotImplemented.into()),
            }
        }
        Ok(filter)
    }
}

/// The answer to the question which fields there are, §4.1.5.
pub fn form() -> Element {
    let fields = [
        ("with", FieldType::JidSingle),
        ("start", FieldType::TextSingle),
        ("end", FieldType::TextSingle),
        ("before-id", FieldType::TextSingle),
        ("after-id", FieldType::TextSingle),
        ("include-groupchat", FieldType::Boolean),
    ];
    let form = Form::typed(FormType::Form, ns::MAM);
    let form = fields.into_iter().fold(form, |form, (var, kind)| form.field(Field::new(var, kind)));
    let open = Element::new("validate", VALIDATE).attr("datatype", "xs:string").child(Element::new("open", VALIDATE));
    let ids = Element::new("field", ns::DATA).attr("type", "list-multi").attr("var", "ids").child(open);
    Element::new("query", ns::MAM).child(form.element().child(ids))
}
