//! Placeholder until registration lands.
use crate::{
    config::Config, domain::ids::QueryId, proto::scram::Credentials, router::context::Ctx, wire::element::Element,
};
/// State.
#[derive(Debug, Default)]
pub struct Registering {}
/// Answer.
pub enum PreAuthReply {
    /// Now.
    Now(Element),
    /// Later.
    Later(QueryId),
    /// No.
    NotAllowed,
}
/// Features.
pub fn write_features(_: &Config, _: &mut Vec<u8>) {}
/// IQ.
pub fn preauth_iq(_: &mut Ctx<'_>, _: &mut Registering, _: &Element, _: &str) -> PreAuthReply {
    PreAuthReply::NotAllowed
}
/// Derived.
pub fn preauth_derived(_: &mut Ctx<'_>, _: &mut Registering, _: QueryId, _: Credentials) -> Option<Element> {
    None
}
