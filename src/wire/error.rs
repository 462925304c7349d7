//! Error conditions of stanzas (RFC 6120 §8.3.3) and of streams (RFC 6120 §4.9.3).
//!
//! Invariant: a condition and its error type travel together, so that no service can pair them wrongly by hand.

use super::{element::Element, ns};

/// What the sender should do about a stanza error, RFC 6120 §8.3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Retry after providing credentials.
    Auth,
    /// Do not retry; the error cannot be remedied.
    Cancel,
    /// Proceed; the condition was only a warning.
    Continue,
    /// Retry after changing the data sent.
    Modify,
    /// Retry after waiting; the error is temporary.
    Wait,
}

impl ErrorKind {
    /// The value of the `type` attribute.
    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorKind::Auth => "auth",
            ErrorKind::Cancel => "cancel",
            ErrorKind::Continue => "continue",
            ErrorKind::Modify => "modify",
            ErrorKind::Wait => "wait",
        }
    }
}

macro_rules! conditions {
    ($(#[$meta:meta])* $name:ident { $($variant:ident => $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $(#[doc = concat!("`<", $text, "/>`")] $variant,)* }
        impl $name {
            /// The element's name.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }
    };
}

conditions! {
    /// Defined conditions of stanza errors, RFC 6120 §8.3.3.
    Condition {
        BadRequest => "bad-request",
        Conflict => "conflict",
        FeatureNotImplemented => "feature-not-implemented",
        Forbidden => "forbidden",
        Gone => "gone",
        InternalServerError => "internal-server-error",
        ItemNotFound => "item-not-found",
        JidMalformed => "jid-malformed",
        NotAcceptable => "not-acceptable",
        NotAllowed => "not-allowed",
        NotAuthorized => "not-authorized",
        PolicyViolation => "policy-violation",
        RecipientUnavailable => "recipient-unavailable",
        Redirect => "redirect",
        RegistrationRequired => "registration-required",
        RemoteServerNotFound => "remote-server-not-found",
        RemoteServerTimeout => "remote-server-timeout",
        ResourceConstraint => "resource-constraint",
        ServiceUnavailable => "service-unavailable",
        SubscriptionRequired => "subscription-required",
        UndefinedCondition => "undefined-condition",
        UnexpectedRequest => "unexpected-request",
    }
}

impl Condition {
    /// The error type that RFC 6120 §8.3.3 recommends for this condition.
    pub const fn usual_kind(self) -> ErrorKind {
        use Condition::*;
        match self {
            BadRequest | JidMalformed | NotAcceptable | PolicyViolation | Redirect => ErrorKind::Modify,
            Forbidden | NotAuthorized | RegistrationRequired | SubscriptionRequired => ErrorKind::Auth,
            RecipientUnavailable | RemoteServerTimeout | ResourceConstraint | UnexpectedRequest => ErrorKind::Wait,
            Conflict
            | FeatureNotImplemented
            | Gone
            | InternalServerError
            | ItemNotFound
            | NotAllowed
            | RemoteServerNotFound
            | ServiceUnavailable
            | UndefinedCondition => ErrorKind::Cancel,
        }
    }
}

/// A stanza error: the stream lives on, RFC 6120 §8.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StanzaError {
    /// The defined condition.
    pub condition: Condition,
    /// What the sender may do about it.
    pub kind: ErrorKind,
    /// Text for a person, in English; never holds what a stranger sent.
    pub text: Option<&'static str>,
    /// An application-specific condition: element name and namespace, RFC 6120 §8.3.4.
    pub app: Option<(&'static str, &'static str)>,
    /// What stands behind these: another application-specific condition, with content.
    pub more: Option<Box<Element>>,
    /// The `feature` attribute of that condition: what is not supported, XEP-0060 §17.
    pub feature: Option<&'static str>,
    /// The number that it had before RFC 6120, XEP-0086 §3; for clients that look at nothing else.
    pub code: Option<&'static str>,
    /// What stands beside the error in its stanza: how things are instead, XEP-0060 §8.8.2.4.
    pub beside: Option<Box<Element>>,
}

impl StanzaError {
    /// The condition with its usual type and no text.
    pub const fn new(condition: Condition) -> Self {
        StanzaError {
            condition,
            kind: condition.usual_kind(),
            text: None,
            app: None,
            more: None,
            feature: None,
            code: None,
            beside: None,
        }
    }

    /// The same error with another type.
    pub const fn kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// The same error with a text for a person.
    pub const fn text(mut self, text: &'static str) -> Self {
        self.text = Some(text);
        self
    }

    /// The same error with an application-specific condition `<name xmlns='ns'/>`.
    pub const fn app(mut self, name: &'static str, ns: &'static str) -> Self {
        self.app = Some((name, ns));
        self
    }

    /// The same error with its number of old.
    pub const fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// The same error with the name of a feature in its application-specific condition.
    pub const fn feature(mut self, feature: &'static str) -> Self {
        self.feature = Some(feature);
        self
    }

    /// The same error with an application-specific condition that has content.
    pub fn with(mut self, more: Element) -> Self {
        self.more = Some(Box::new(more));
        self
    }

    /// The same error with something beside it.
    pub fn beside(mut self, element: Element) -> Self {
        self.beside = Some(Box::new(element));
        self
    }

    /// The `<error/>` child of a stanza.
    pub fn element(&self) -> Element {
        let mut error = Element::new("error", ns::CLIENT)
            .attr("type", self.kind.as_str())
            .attr_if("code", self.code)
            .child(Element::new(self.condition.as_str(), ns::STANZA_ERRORS));
        if let Some(text) = self.text {
            error = error.child(Element::new("text", ns::STANZA_ERRORS).attr("xml:lang", "en").text(text));
        }
        if let Some((name, namespace)) = self.app {
            error = error.child(Element::new(name, namespace).attr_if("feature", self.feature));
        }
        error.with(self.more.as_deref().cloned())
    }
}

impl From<Condition> for StanzaError {
    fn from(condition: Condition) -> Self {
        StanzaError::new(condition)
    }
}

conditions! {
    /// Defined conditions of stream errors, RFC 6120 §4.9.3.
    StreamCondition {
        BadFormat => "bad-format",
        BadNamespacePrefix => "bad-namespace-prefix",
        Conflict => "conflict",
        ConnectionTimeout => "connection-timeout",
        HostGone => "host-gone",
        HostUnknown => "host-unknown",
        ImproperAddressing => "improper-addressing",
        InternalServerError => "internal-server-error",
        InvalidFrom => "invalid-from",
        InvalidNamespace => "invalid-namespace",
        InvalidXml => "invalid-xml",
        NotAuthorized => "not-authorized",
        NotWellFormed => "not-well-formed",
        PolicyViolation => "policy-violation",
        RemoteConnectionFailed => "remote-connection-failed",
        Reset => "reset",
        ResourceConstraint => "resource-constraint",
        RestrictedXml => "restricted-xml",
        SystemShutdown => "system-shutdown",
        UndefinedCondition => "undefined-condition",
        UnsupportedEncoding => "unsupported-encoding",
        UnsupportedFeature => "unsupported-feature",
        UnsupportedStanzaType => "unsupported-stanza-type",
        UnsupportedVersion => "unsupported-version",
    }
}

/// A stream error: the stream is closed after it, RFC 6120 §4.9.1.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamError {
    /// The defined condition.
    pub condition: StreamCondition,
    /// Text for a person, in English; never holds what a stranger sent.
    pub text: Option<&'static str>,
    /// An application-specific condition, already serialised; holds nothing that a stranger sent.
    pub app: Option<Box<str>>,
}

impl StreamError {
    /// The condition with no text.
    pub const fn new(condition: StreamCondition) -> Self {
        StreamError { condition, text: None, app: None }
    }

    /// The same error with a text for a person.
    pub fn text(mut self, text: &'static str) -> Self {
        self.text = Some(text);
        self
    }

    /// The same error with an application-specific condition.
    pub fn app(mut self, xml: impl Into<Box<str>>) -> Self {
        self.app = Some(xml.into());
        self
    }

    /// Appends `<stream:error>…</stream:error>` to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<stream:error><");
        out.extend_from_slice(self.condition.as_str().as_bytes());
        out.extend_from_slice(b" xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>");
        if let Some(text) = self.text {
            out.extend_from_slice(b"<text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>");
            super::build::escape(text, out);
            out.extend_from_slice(b"</text>");
        }
        if let Some(app) = &self.app {
            out.extend_from_slice(app.as_bytes());
        }
        out.extend_from_slice(b"</stream:error>");
    }
}

impl From<StreamCondition> for StreamError {
    fn from(condition: StreamCondition) -> Self {
        StreamError::new(condition)
    }
}
