//! Namespace names, each with the document that defines it.

/// Content namespace of client streams, RFC 6120 §4.8.3.
pub const CLIENT: &str = "jabber:client";
/// Content namespace of server streams, RFC 6120 §4.8.3.
pub const SERVER: &str = "jabber:server";
/// Stream namespace, RFC 6120 §4.8.1.
pub const STREAM: &str = "http://etherx.jabber.org/streams";
/// Stream error conditions, RFC 6120 §4.9.
pub const STREAM_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-streams";
/// Stanza error conditions, RFC 6120 §8.3.
pub const STANZA_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
/// STARTTLS, RFC 6120 §5.
pub const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
/// SASL, RFC 6120 §6.
pub const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
/// Resource binding, RFC 6120 §7.
pub const BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";
/// XEP-0386.
pub const BIND2: &str = "urn:xmpp:bind:0";
/// XEP-0388.
pub const SASL2: &str = "urn:xmpp:sasl:2";
/// Tasks for more keys, XEP-0480.
pub const SASL_UPGRADE: &str = "urn:xmpp:sasl:upgrade:0";
/// What such a task for SCRAM exchanges, XEP-0480 §3.
pub const SCRAM_UPGRADE: &str = "urn:xmpp:scram-upgrade:0";
/// XEP-0484.
pub const FAST: &str = "urn:xmpp:fast:0";
/// XEP-0494.
pub const CAM: &str = "urn:xmpp:cam:0";
/// Session establishment, RFC 3921 §3; today a no-op that old clients ask for.
pub const SESSION: &str = "urn:ietf:params:xml:ns:xmpp-session";
/// Roster, RFC 6121 §2.
pub const ROSTER: &str = "jabber:iq:roster";
/// Roster versioning feature, RFC 6121 §2.6.1.
pub const ROSTERVER: &str = "urn:xmpp:features:rosterver";
/// Subscription pre-approval feature, RFC 6121 §3.4.
pub const PRE_APPROVAL: &str = "urn:xmpp:features:pre-approval";
/// What a request of BOSH is wrapped in, XEP-0124.
pub const HTTP_BIND: &str = "http://jabber.org/protocol/httpbind";
/// What XMPP adds to it, XEP-0206.
pub const XBOSH: &str = "urn:xmpp:xbosh";
/// Framing of streams in WebSocket messages, RFC 7395 §3.3.2.
pub const FRAMING: &str = "urn:ietf:params:xml:ns:xmpp-framing";
/// XEP-0363.
pub const UPLOAD: &str = "urn:xmpp:http:upload:0";
/// Purposes of uploads, XEP-0363 §5.
pub const UPLOAD_PURPOSE: &str = "urn:xmpp:http:upload:purpose:0";
/// The prefix `xml`.
pub const XML: &str = "http://www.w3.org/XML/1998/namespace";
/// XEP-0220.
pub const DIALBACK: &str = "jabber:server:dialback";
/// XEP-0220 §2.3, stream feature.
pub const DIALBACK_FEATURE: &str = "urn:xmpp:features:dialback";
/// XEP-0288.
pub const BIDI: &str = "urn:xmpp:bidi";
/// XEP-0288, stream feature.
pub const BIDI_FEATURE: &str = "urn:xmpp:features:bidi";
/// XEP-0305, the stream feature.
pub const PIPELINING_FEATURE: &str = "urn:xmpp:features:pipelining";
/// Content namespace of component streams, XEP-0114.
pub const COMPONENT: &str = "jabber:component:accept";
/// XEP-0355.
pub const DELEGATION: &str = "urn:xmpp:delegation:2";
/// Features of a node of an account that nobody here knows, XEP-0355 §7.2.4.
pub const DELEGATED_INFO: &str = "urn:xmpp:delegation:2:bare:disco#info:*";
/// Items of an account, and of a node of it that nobody here knows, XEP-0355 §7.2.5.
pub const DELEGATED_ITEMS: &str = "urn:xmpp:delegation:2:bare:disco#items:*";
/// XEP-0356.
pub const PRIVILEGE: &str = "urn:xmpp:privilege:2";
/// Namespace of `xmlns` declarations.
pub const XMLNS: &str = "http://www.w3.org/2000/xmlns/";

/// XEP-0004.
pub const DATA: &str = "jabber:x:data";
/// XEP-0012.
pub const LAST: &str = "jabber:iq:last";
/// XEP-0030.
pub const DISCO_INFO: &str = "http://jabber.org/protocol/disco#info";
/// XEP-0030.
pub const DISCO_ITEMS: &str = "http://jabber.org/protocol/disco#items";
/// XEP-0045, entering.
pub const MUC: &str = "http://jabber.org/protocol/muc";
/// XEP-0045, moderators and admins.
pub const MUC_ADMIN: &str = "http://jabber.org/protocol/muc#admin";
/// XEP-0045, owners.
pub const MUC_OWNER: &str = "http://jabber.org/protocol/muc#owner";
/// XEP-0045, towards users.
pub const MUC_USER: &str = "http://jabber.org/protocol/muc#user";
/// XEP-0308.
pub const CORRECT: &str = "urn:xmpp:message-correct:0";
/// XEP-0317.
pub const HATS: &str = "urn:xmpp:hats:0";
/// XEP-0033.
pub const ADDRESS: &str = "http://jabber.org/protocol/address";
/// XEP-0048, the namespace and the name of the node.
pub const OLD_BOOKMARKS: &str = "storage:bookmarks";
/// XEP-0049.
pub const PRIVATE: &str = "jabber:iq:private";
/// XEP-0050.
pub const COMMANDS: &str = "http://jabber.org/protocol/commands";
/// XEP-0054.
pub const VCARD: &str = "vcard-temp";
/// XEP-0084, the name of the node as well.
pub const AVATAR_DATA: &str = "urn:xmpp:avatar:data";
/// XEP-0084, the name of the node as well.
pub const AVATAR_METADATA: &str = "urn:xmpp:avatar:metadata";
/// XEP-0153.
pub const VCARD_UPDATE: &str = "vcard-temp:x:update";
/// XEP-0398.
pub const VCARD_CONVERSION: &str = "urn:xmpp:pep-vcard-conversion:0";
/// XEP-0059.
pub const RSM: &str = "http://jabber.org/protocol/rsm";
/// XEP-0060.
pub const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
/// XEP-0060, error conditions.
pub const PUBSUB_ERRORS: &str = "http://jabber.org/protocol/pubsub#errors";
/// XEP-0060, events.
pub const PUBSUB_EVENT: &str = "http://jabber.org/protocol/pubsub#event";
/// XEP-0060, what owners do.
pub const PUBSUB_OWNER: &str = "http://jabber.org/protocol/pubsub#owner";
/// XEP-0077.
pub const REGISTER: &str = "jabber:iq:register";
/// XEP-0077 §8, stream feature.
pub const REGISTER_FEATURE: &str = "http://jabber.org/features/iq-register";
/// XEP-0085.
pub const CHAT_STATES: &str = "http://jabber.org/protocol/chatstates";
/// XEP-0092.
pub const VERSION: &str = "jabber:iq:version";
/// XEP-0115.
pub const CAPS: &str = "http://jabber.org/protocol/caps";
/// XEP-0133.
pub const ADMIN: &str = "http://jabber.org/protocol/admin";
/// XEP-0160, feature of a server that keeps messages for absent users.
pub const OFFLINE: &str = "msgoffline";
/// XEP-0166.
pub const JINGLE: &str = "urn:xmpp:jingle:1";
/// XEP-0167.
pub const JINGLE_RTP: &str = "urn:xmpp:jingle:apps:rtp:1";
/// XEP-0184.
pub const RECEIPTS: &str = "urn:xmpp:receipts";
/// XEP-0191.
pub const BLOCKING: &str = "urn:xmpp:blocking";
/// XEP-0191 §3.5, error condition towards the blocker.
pub const BLOCKING_ERRORS: &str = "urn:xmpp:blocking:errors";
/// XEP-0198.
pub const SM: &str = "urn:xmpp:sm:3";
/// XEP-0199.
pub const PING: &str = "urn:xmpp:ping";
/// XEP-0202.
pub const TIME: &str = "urn:xmpp:time";
/// XEP-0203.
pub const DELAY: &str = "urn:xmpp:delay";
/// XEP-0249.
pub const CONFERENCE: &str = "jabber:x:conference";
/// XEP-0280.
pub const CARBONS: &str = "urn:xmpp:carbons:2";
/// XEP-0280 §6.2: the rules which messages are copied.
pub const CARBONS_RULES: &str = "urn:xmpp:carbons:rules:0";
/// XEP-0297.
pub const FORWARD: &str = "urn:xmpp:forward:0";
/// XEP-0313 and XEP-0441.
pub const MAM: &str = "urn:xmpp:mam:2";
/// XEP-0313 §7.
pub const MAM_EXTENDED: &str = "urn:xmpp:mam:2#extended";
/// XEP-0313 §7: the field `include-groupchat` is understood.
pub const MAM_GROUPCHAT: &str = "urn:xmpp:mam:2#groupchat-field";
/// XEP-0333.
pub const MARKERS: &str = "urn:xmpp:chat-markers:0";
/// XEP-0334.
pub const HINTS: &str = "urn:xmpp:hints";
/// XEP-0352.
pub const CSI: &str = "urn:xmpp:csi:0";
/// XEP-0353.
pub const JINGLE_MESSAGE: &str = "urn:xmpp:jingle-message:0";
/// XEP-0357.
pub const PUSH: &str = "urn:xmpp:push:0";
/// XEP-0357 §7, form of a summary.
pub const PUSH_SUMMARY: &str = "urn:xmpp:push:summary";
/// XEP-0359.
pub const SID: &str = "urn:xmpp:sid:0";
/// XEP-0372.
pub const REFERENCE: &str = "urn:xmpp:reference:0";
/// XEP-0377.
pub const REPORTING: &str = "urn:xmpp:reporting:1";
/// XEP-0379 and XEP-0445.
pub const PRE_AUTH: &str = "urn:xmpp:pars:0";
/// XEP-0401; its older stream feature of invitations.
pub const INVITE: &str = "urn:xmpp:invite";
/// XEP-0402.
pub const BOOKMARKS: &str = "urn:xmpp:bookmarks:1";
/// XEP-0402 §6: they are in step with those in private XML.
pub const BOOKMARKS_COMPAT: &str = "urn:xmpp:bookmarks:1#compat";
/// XEP-0402 §6: they are in step with those of XEP-0048 in a node.
pub const BOOKMARKS_COMPAT_PEP: &str = "urn:xmpp:bookmarks:1#compat-pep";
/// XEP-0411.
pub const BOOKMARKS_CONVERSION: &str = "urn:xmpp:bookmarks-conversion:0";
/// XEP-0421.
pub const OCCUPANT_ID: &str = "urn:xmpp:occupant-id:0";
/// XEP-0440.
pub const SASL_CB: &str = "urn:xmpp:sasl-cb:0";
/// XEP-0461.
pub const REPLY: &str = "urn:xmpp:reply:0";
/// XEP-0478.
pub const STREAM_LIMITS: &str = "urn:xmpp:stream-limits:0";
/// XEP-0490, the namespace and the name of the node.
pub const DISPLAYED: &str = "urn:xmpp:mds:displayed:0";
/// XEP-0490 §4.5: the server publishes what a message says was read.
pub const DISPLAYED_ASSIST: &str = "urn:xmpp:mds:server-assist:0";
/// XEP-0492.
pub const NOTIFY: &str = "urn:xmpp:notification-settings:1";
/// XEP-0422.
pub const FASTEN: &str = "urn:xmpp:fasten:0";
/// XEP-0424.
pub const RETRACT: &str = "urn:xmpp:message-retract:1";
/// XEP-0488.
pub const MUC_TOKEN: &str = "urn:xmpp:muc-token-invite:0";
/// XEP-0433.
pub const CHANNEL_SEARCH: &str = "urn:xmpp:channel-search:0:search";
/// XEP-0463.
pub const MAV: &str = "urn:xmpp:muc:affiliations:1";
/// XEP-0424 until version 0.3.
pub const RETRACT_0: &str = "urn:xmpp:message-retract:0";
/// XEP-0425.
pub const MODERATE: &str = "urn:xmpp:message-moderate:1";
/// XEP-0425 until version 0.2.
pub const MODERATE_0: &str = "urn:xmpp:message-moderate:0";
