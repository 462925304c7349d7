//! Shows people what has access to their account, and lets them take it away.
//!
//! Source: XEP-0494 v0.1.0. Invariant: only the account's own sessions ask; the list holds whoever could sign in without
//! the password, and whoever is signed in. A device that has shown the password is signed out when it is revoked, and
//! the answer is nevertheless the error that §3.2 demands: it can come back until there is a new password.

use crate::{
    router::{
        clients::{self, Client},
        context::Ctx,
        service::{Card, Iq, Reply, Scope, Service},
    },
    wire::{
        element::Element,
        error::{Condition, StanzaError},
        ns, time,
    },
};

/// XEP-0494.
#[derive(Debug)]
pub struct Devices;

static CARD: Card = Card {
    name: "devices",
    source: "XEP-0494 v0.1.0",
    features: &[],
    stream_features: &[],
    iq: &[(Scope::Own, ns::CAM, "list"), (Scope::Own, ns::CAM, "revoke")],
    passes: &[],
};

impl Service for Devices {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn iq(&mut self, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
        let (account, jid) = (iq.owner()?, iq.from.bare());
        match iq.payload.name.as_ref() {
            "list" => {
                iq.only_get()?;
                let clients = clients::list(ctx, account, &jid);
                Ok(Element::new("clients", ns::CAM).with(clients.iter().map(client)).into())
            }
            _ if !iq.is_set() => Err(Condition::BadRequest.into()),
            _ => {
                let id = iq.payload.get("id").ok_or(StanzaError::new(Condition::BadRequest))?;
                match clients::revoke(ctx, account, &jid, id)? {
                    true => Ok(Reply::Empty),
                    false => Err(StanzaError::new(Condition::ServiceUnavailable)
                        .app("password-reset-required", ns::CAM)
                        .text("It is signed out. Since it knows the password, only another one keeps it out.")),
                }
            }
        }
    }
}

/// XEP-0494 §3.1.
fn client(client: &Client) -> Element {
    let stamp = |seconds: u64| time::stamp(seconds.saturating_mul(1000)).as_str().to_owned();
    let said = |agent: Element, name, text: &str| if text.is_empty() { agent } else { agent.leaf(name, text) };
    let means = [(client.knows_password, "password"), (client.has_token, "fast")];
    let means = means.into_iter().filter(|(holds, _)| *holds).map(|(_, name)| Element::new(name, ns::CAM));
    let agent = Element::new("user-agent", ns::CAM);
    let agent = said(said(agent, "software", &client.software), "device", &client.device);
    Element::new("client", ns::CAM)
        .attr("connected", if client.is_connected { "true" } else { "false" })
        .attr("id", client.id.clone())
        .attr("type", "session")
        .leaf("first-seen", stamp(client.first_s))
        .leaf("last-seen", stamp(client.last_s))
        .child(Element::new("auth", ns::CAM).with(means))
        .child(Element::new("permission", ns::CAM).attr("status", "unrestricted"))
        .child(agent)
}
