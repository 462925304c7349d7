//! Data forms, XEP-0004 v2.13.1.
//!
//! Invariant: a form that was read holds no more than [`FIELDS_MAX`] fields and [`VALUES_MAX`] values, and what it
//! carries beyond the specification is dropped.

use std::borrow::Cow;

use super::{
    element::Element,
    error::{Condition, StanzaError},
    ns,
};

/// Most fields in one form that is read, those of its items included; the largest room configurations have about 50.
pub const FIELDS_MAX: usize = 256;
/// Most values and options, counted together, in one form that is read; lists of members are the longest in practice.
pub const VALUES_MAX: usize = 2048;
/// The hidden field that names what a form is about, XEP-0068.
pub const FORM_TYPE: &str = "FORM_TYPE";

/// What is done with a form, XEP-0004 §3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormType {
    /// Somebody is asked to fill it in.
    Form,
    /// Somebody has filled it in.
    Submit,
    /// Somebody does not want to fill it in.
    Cancel,
    /// Data returned, such as search results.
    Result,
}

impl FormType {
    const ALL: [FormType; 4] = [FormType::Form, FormType::Submit, FormType::Cancel, FormType::Result];

    /// The value of the `type` attribute.
    pub const fn as_str(self) -> &'static str {
        match self {
            FormType::Form => "form",
            FormType::Submit => "submit",
            FormType::Cancel => "cancel",
            FormType::Result => "result",
        }
    }
}

/// What a field holds, XEP-0004 §3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// Either true or false.
    Boolean,
    /// A heading to read.
    Fixed,
    /// Not shown, but sent back.
    Hidden,
    /// Several addresses.
    JidMulti,
    /// One address.
    JidSingle,
    /// Several of the options.
    ListMulti,
    /// One of the options.
    ListSingle,
    /// Several lines.
    TextMulti,
    /// One line that is not shown while it is typed.
    TextPrivate,
    /// One line; the type of every field whose type is unknown.
    TextSingle,
}

impl FieldType {
    const ALL: [FieldType; 10] = {
        use FieldType::*;
        [Boolean, Fixed, Hidden, JidMulti, JidSingle, ListMulti, ListSingle, TextMulti, TextPrivate, TextSingle]
    };

    /// The value of the `type` attribute.
    pub const fn as_str(self) -> &'static str {
        match self {
            FieldType::Boolean => "boolean",
            FieldType::Fixed => "fixed",
            FieldType::Hidden => "hidden",
            FieldType::JidMulti => "jid-multi",
            FieldType::JidSingle => "jid-single",
            FieldType::ListMulti => "list-multi",
            FieldType::ListSingle => "list-single",
            FieldType::TextMulti => "text-multi",
            FieldType::TextPrivate => "text-private",
            FieldType::TextSingle => "text-single",
        }
    }
}

/// Text that is mostly ours and therefore static.
type Text = Cow<'static, str>;

/// One field of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name within the form; empty for headings only.
    pub var: Text,
    /// What it holds; a submitted form need not say (XEP-0004 §3.2).
    pub kind: Option<FieldType>,
    /// What a person reads beside it.
    pub label: Option<Text>,
    /// A longer explanation.
    pub desc: Option<Text>,
    /// Whether a form without it is incomplete.
    pub required: bool,
    /// What it holds now.
    pub values: Vec<Text>,
    /// What it may hold: label and value.
    pub options: Vec<(Option<Text>, Text)>,
}

impl Field {
    /// An empty field.
    pub fn new(var: impl Into<Text>, kind: FieldType) -> Field {
        Field {
            var: var.into(),
            kind: Some(kind),
            label: None,
            desc: None,
            required: false,
            values: Vec::new(),
            options: Vec::new(),
        }
    }

    /// A field with one value and no type, as in submitted forms and in the items of a result.
    pub fn plain(var: impl Into<Text>, value: impl Into<Text>) -> Field {
        Field { kind: None, ..Field::new(var, FieldType::TextSingle) }.value(value)
    }

    /// A hidden field with one value.
    pub fn hidden(var: impl Into<Text>, value: impl Into<Text>) -> Field {
        Field::new(var, FieldType::Hidden).value(value)
    }

    /// A heading.
    pub fn fixed(text: impl Into<Text>) -> Field {
        Field::new("", FieldType::Fixed).value(text)
    }

    /// An either-or field.
    pub fn boolean(var: impl Into<Text>, value: bool) -> Field {
        Field::new(var, FieldType::Boolean).value(if value { "1" } else { "0" })
    }

    /// With what a person reads beside it.
    #[must_use]
    pub fn label(mut self, label: impl Into<Text>) -> Field {
        self.label = Some(label.into());
        self
    }

    /// With a longer explanation.
    #[must_use]
    pub fn desc(mut self, desc: impl Into<Text>) -> Field {
        self.desc = Some(desc.into());
        self
    }

    /// A form without it is incomplete.
    #[must_use]
    pub fn required(mut self) -> Field {
        self.required = true;
        self
    }

    /// With one more value.
    #[must_use]
    pub fn value(mut self, value: impl Into<Text>) -> Field {
        self.values.push(value.into());
        self
    }

    /// With more values.
    #[must_use]
    pub fn values<V: Into<Text>>(mut self, values: impl IntoIterator<Item = V>) -> Field {
        self.values.extend(values.into_iter().map(Into::into));
        self
    }

    /// With one more thing to choose.
    #[must_use]
    pub fn option(mut self, label: impl Into<Text>, value: impl Into<Text>) -> Field {
        self.options.push((Some(label.into()), value.into()));
        self
    }

    fn element(&self) -> Element {
        let named = (!self.var.is_empty()).then(|| self.var.as_ref());
        let mut field = Element::new("field", ns::DATA)
            .attr_if("var", named)
            .attr_if("type", self.kind.map(FieldType::as_str))
            .attr_if("label", self.label.as_deref());
        if let Some(desc) = &self.desc {
            field = field.leaf("desc", desc.as_ref());
        }
        if self.required {
            field = field.child(Element::new("required", ns::DATA));
        }
        for value in &self.values {
            field = field.leaf("value", value.as_ref());
        }
        field.with(self.options.iter().map(|(label, value)| {
            Element::new("option", ns::DATA).attr_if("label", label.as_deref()).leaf("value", value.as_ref())
        }))
    }

    fn read(element: &Element, budget: &mut Budget) -> Result<Field, StanzaError> {
        budget.take_field()?;
        let mut field = Field::new(element.get("var").unwrap_or_default().to_owned(), FieldType::TextSingle);
        field.kind = element.get("type").map(|name| {
            // XEP-0004 §3.3: a type that is not understood is text-single.
            FieldType::ALL.into_iter().find(|kind| kind.as_str() == name).unwrap_or(FieldType::TextSingle)
        });
        field.label = element.get("label").map(|label| label.to_owned().into());
        for child in element.children().filter(|child| child.ns == ns::DATA) {
            match child.name.as_ref() {
                "value" => {
                    budget.take_value()?;
                    field.values.push(child.content().into());
                }
                "option" => {
                    budget.take_value()?;
                    let label = child.get("label").map(|label| label.to_owned().into());
                    field.options.push((label, child.leaf_text("value").unwrap_or_default().into()));
                }
                "required" => field.required = true,
                "desc" => field.desc = Some(child.content().into()),
                _ => {}
            }
        }
        Ok(field)
    }
}

/// What may still be read of one form.
struct Budget {
    fields: usize,
    values: usize,
}

impl Budget {
    fn take_field(&mut self) -> Result<(), StanzaError> {
        Budget::take(&mut self.fields)
    }

    fn take_value(&mut self) -> Result<(), StanzaError> {
        Budget::take(&mut self.values)
    }

    fn take(left: &mut usize) -> Result<(), StanzaError> {
        *left =
            left.checked_sub(1).ok_or(StanzaError::new(Condition::PolicyViolation).text("The form is too long."))?;
        Ok(())
    }
}

/// A form, XEP-0004 §3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// What is done with it.
    pub kind: FormType,
    /// Its heading.
    pub title: Option<Text>,
    /// What to do with it, in words; each entry a paragraph.
    pub instructions: Vec<Text>,
    /// Its fields.
    pub fields: Vec<Field>,
    /// The columns of a table of results, XEP-0004 §3.4; empty if it is none.
    pub reported: Vec<Field>,
    /// The rows of that table.
    pub items: Vec<Vec<Field>>,
}

impl Form {
    /// An empty form.
    pub fn new(kind: FormType) -> Form {
        Form {
            kind,
            title: None,
            instructions: Vec::new(),
            fields: Vec::new(),
            reported: Vec::new(),
            items: Vec::new(),
        }
    }

    /// An empty form with the hidden field FORM_TYPE (XEP-0068 §3).
    pub fn typed(kind: FormType, form_type: impl Into<Text>) -> Form {
        Form::new(kind).field(Field::hidden(FORM_TYPE, form_type))
    }

    /// With a heading.
    #[must_use]
    pub fn title(mut self, title: impl Into<Text>) -> Form {
        self.title = Some(title.into());
        self
    }

    /// With one more paragraph of instructions.
    #[must_use]
    pub fn instructions(mut self, text: impl Into<Text>) -> Form {
        self.instructions.push(text.into());
        self
    }

    /// With one more field.
    #[must_use]
    pub fn field(mut self, field: Field) -> Form {
        self.fields.push(field);
        self
    }

    /// With one more column of a table of results.
    #[must_use]
    pub fn report(mut self, column: Field) -> Form {
        self.reported.push(column);
        self
    }

    /// With one more row of a table of results; it has each of the columns (XEP-0004 §3.4).
    #[must_use]
    pub fn item(mut self, row: Vec<Field>) -> Form {
        self.items.push(row);
        self
    }

    /// The `<x xmlns='jabber:x:data'/>` element.
    pub fn element(&self) -> Element {
        let mut x = Element::new("x", ns::DATA).attr("type", self.kind.as_str());
        if let Some(title) = &self.title {
            x = x.leaf("title", title.as_ref());
        }
        for text in &self.instructions {
            x = x.leaf("instructions", text.as_ref());
        }
        x = x.with(self.fields.iter().map(Field::element));
        // XEP-0004 §3.4: the columns come before the first row.
        if !self.reported.is_empty() {
            x = x.child(Element::new("reported", ns::DATA).with(self.reported.iter().map(Field::element)));
        }
        x.with(self.items.iter().map(|row| Element::new("item", ns::DATA).with(row.iter().map(Field::element))))
    }

    /// Reads a form.
    ///
    /// # Errors
    /// `bad-request` if the element is no form or does not say of which type, `policy-violation` if it is too long.
    pub fn read(element: &Element) -> Result<Form, StanzaError> {
        let kind = element.is("x", ns::DATA).then(|| element.get("type")).flatten();
        let kind = FormType::ALL
            .into_iter()
            .find(|known| Some(known.as_str()) == kind)
            .ok_or(StanzaError::new(Condition::BadRequest).text("This is no data form."))?;
        let mut form = Form::new(kind);
        let mut budget = Budget { fields: FIELDS_MAX, values: VALUES_MAX };
        for child in element.children().filter(|child| child.ns == ns::DATA) {
            match child.name.as_ref() {
                "title" => form.title = Some(child.content().into()),
                "instructions" => {
                    budget.take_value()?;
                    form.instructions.push(child.content().into());
                }
                "field" => form.fields.push(Field::read(child, &mut budget)?),
                "reported" => form.reported.extend(fields(child, &mut budget)?),
                "item" => {
                    budget.take_value()?;
                    form.items.push(fields(child, &mut budget)?);
                }
                _ => {}
            }
        }
        Ok(form)
    }

    /// Finds the form among the children of `parent` and reads it; `None` if there is no form.
    ///
    /// # Errors
    /// As [`Form::read`].
    pub fn find_in(parent: &Element) -> Result<Option<Form>, StanzaError> {
        parent.find("x", ns::DATA).map(Form::read).transpose()
    }

    /// The first field of this name.
    pub fn get(&self, var: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.var == var && field.kind != Some(FieldType::Fixed))
    }

    /// What the form is about, XEP-0068.
    pub fn form_type(&self) -> Option<&str> {
        self.value(FORM_TYPE)
    }

    /// The first value of a field. An empty value is a value: what it means is up to the protocol (XEP-0004 §3.6).
    pub fn value(&self, var: &str) -> Option<&str> {
        self.get(var)?.values.first().map(Cow::as_ref)
    }

    /// All values of a field; none if it is absent.
    pub fn values(&self, var: &str) -> impl Iterator<Item = &str> {
        self.get(var).into_iter().flat_map(|field| field.values.iter().map(Cow::as_ref))
    }

    /// The lines of a text-multi field as one text; `None` if the field is absent or has no value.
    pub fn text(&self, var: &str) -> Option<String> {
        let field = self.get(var).filter(|field| !field.values.is_empty())?;
        Some(field.values.join("\n"))
    }

    /// An either-or field: `true`, `1`, `false` or `0`; `None` if it is absent or says neither.
    pub fn bool(&self, var: &str) -> Option<bool> {
        match self.value(var)? {
            "1" | "true" => Some(true),
            "0" | "false" => Some(false),
            _ => None,
        }
    }
}

fn fields(parent: &Element, budget: &mut Budget) -> Result<Vec<Field>, StanzaError> {
    let fields = parent.children().filter(|child| child.is("field", ns::DATA));
    fields.map(|field| Field::read(field, budget)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(form: &Form) -> String {
        String::from_utf8(form.element().to_vec()).unwrap()
    }

    fn read(xml: &str) -> Result<Form, StanzaError> {
        Form::read(&Element::parse(xml.as_bytes(), ns::CLIENT).unwrap())
    }

    #[test]
    fn a_form_to_fill_in_is_written_as_in_the_examples() {
        // XEP-0004 §4.1, shortened.
        let form = Form::typed(FormType::Form, "jabber:bot")
            .title("Bot Configuration")
            .instructions("Fill out this form to configure your new bot!")
            .field(Field::fixed("Section 1: Bot Info"))
            .field(Field::new("public", FieldType::Boolean).label("Public bot?").required())
            .field(Field::new("features", FieldType::ListMulti).values(["news"]).option("Contests", "contests"))
            .field(Field::new("invitelist", FieldType::JidMulti).desc("Tell all your friends!"));
        assert_eq!(
            written(&form),
            "<x xmlns='jabber:x:data' type='form'><title>Bot Configuration</title>\
             <instructions>Fill out this form to configure your new bot!</instructions>\
             <field var='FORM_TYPE' type='hidden'><value>jabber:bot</value></field>\
             <field type='fixed'><value>Section 1: Bot Info</value></field>\
             <field var='public' type='boolean' label='Public bot?'><required/></field>\
             <field var='features' type='list-multi'><value>news</value>\
             <option label='Contests'><value>contests</value></option></field>\
             <field var='invitelist' type='jid-multi'><desc>Tell all your friends!</desc></field></x>"
        );
        assert_eq!(read(&written(&form)).unwrap(), form);
    }

    #[test]
    fn a_submitted_form_is_read() {
        // XEP-0004 §4.1, third example, shortened.
        let form = read(
            "<x xmlns='jabber:x:data' type='submit'>
              <field type='hidden' var='FORM_TYPE'><value>jabber:bot</value></field>
              <field type='text-single' var='botname'><value>The Jabber Google Bot</value></field>
              <field type='text-multi' var='description'><value>in your client. It&apos;</value><value>B</value></field>
              <field type='boolean' var='public'><value>0</value></field>
              <field var='features'><value>news</value><value>search</value></field>
              <field type='shiny-new' var='maxsubs'><value/></field>
              <field var='unset'/>
              <shiny xmlns='urn:other'/>
            </x>",
        )
        .unwrap();
        assert_eq!(form.kind, FormType::Submit);
        assert_eq!(form.form_type(), Some("jabber:bot"));
        assert_eq!(form.value("botname"), Some("The Jabber Google Bot"));
        assert_eq!(form.text("description").as_deref(), Some("in your client. It'\nB"));
        assert_eq!(form.bool("public"), Some(false));
        assert_eq!(form.values("features").collect::<Vec<_>>(), ["news", "search"]);
        assert_eq!(form.get("features").unwrap().kind, None);
        assert_eq!(form.get("maxsubs").unwrap().kind, Some(FieldType::TextSingle));
        assert_eq!((form.value("maxsubs"), form.bool("maxsubs")), (Some(""), None));
        assert!(form.get("unset").is_some() && form.value("unset").is_none() && form.text("unset").is_none());
        assert_eq!(form.value("absent"), None);
    }

    #[test]
    fn booleans_have_four_spellings() {
        for (text, value) in [("1", Some(true)), ("true", Some(true)), ("0", Some(false)), ("false", Some(false))] {
            assert_eq!(Form::new(FormType::Submit).field(Field::plain("b", text)).bool("b"), value);
        }
        for text in ["", "TRUE", "yes", "2", " 1"] {
            assert_eq!(Form::new(FormType::Submit).field(Field::plain("b", text)).bool("b"), None, "{text:?}");
        }
    }

    #[test]
    fn tables_of_results_are_written_and_read() {
        // XEP-0004 §4.2, shortened.
        let form = Form::new(FormType::Result)
            .title("Joogle Search: verona")
            .report(Field { kind: None, ..Field::new("name", FieldType::TextSingle) })
            .report(Field::new("url", FieldType::TextSingle).label("Address"))
            .item(vec![Field::plain("name", "Comune di Verona"), Field::plain("url", "http://www.comune.verona.it/")])
            .item(vec![Field::plain("name", "Arena"), Field::plain("url", "")]);
        assert!(written(&form).contains("</title><reported><field var='name'/><field var='url' type='text-single'"));
        assert_eq!(read(&written(&form)).unwrap(), Form { items: form.items.clone(), ..form.clone() });
    }

    #[test]
    fn what_is_no_form_is_a_bad_request() {
        for xml in ["<x xmlns='jabber:x:data'/>", "<x xmlns='jabber:x:data' type='?'/>", "<x type='submit'/>"] {
            assert_eq!(read(xml).unwrap_err().condition, Condition::BadRequest, "{xml}");
        }
        let parent = Element::new("query", ns::REGISTER);
        assert_eq!(Form::find_in(&parent), Ok(None));
        assert!(Form::find_in(&parent.child(Form::new(FormType::Cancel).element())).unwrap().is_some());
    }

    #[test]
    fn forms_past_their_bounds_are_refused() {
        let fields = |count| (0..count).fold(Form::new(FormType::Submit), |form, _| form.field(Field::plain("a", "b")));
        assert!(Form::read(&fields(FIELDS_MAX).element()).is_ok());
        let refused = Form::read(&fields(FIELDS_MAX + 1).element()).unwrap_err();
        assert_eq!(refused.condition, Condition::PolicyViolation);
        let values =
            |count| Form::new(FormType::Submit).field(Field::new("a", FieldType::ListMulti).values(vec!["b"; count]));
        assert!(Form::read(&values(VALUES_MAX).element()).is_ok());
        assert!(Form::read(&values(VALUES_MAX + 1).element()).is_err());
    }
}
