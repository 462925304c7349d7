//! Every bound of the house, with unit and reason. What an admin may change stands in `config.rs` with these as
//! defaults.

/// Bytes of one top-level element before sign-in: enough for any SASL response, too little to hurt (S3).
pub const PREAUTH_STANZA_BYTES_MAX: usize = 10 * 1024;
/// Bytes of one stanza after sign-in: a vCard with a picture fits (RFC 6120 §13.12 demands at least 10,000).
pub const STANZA_BYTES_MAX: usize = 256 * 1024;
/// Nesting of elements below the stream element; real stanzas stay below 15.
pub const DEPTH_MAX: usize = 48;
/// Bytes that may wait in a stream's outbox before those who fill it are paused.
pub const OUTBOX_BYTES_MAX: usize = 256 * 1024;
/// Bytes in a stream's outbox at which the stream is closed and its session left to resumption.
pub const OUTBOX_BYTES_CAP: usize = 2 * 1024 * 1024;
/// Milliseconds from accept until a session is bound or resumed (S3).
pub const PREAUTH_MS_MAX: u64 = 30_000;
/// Milliseconds that a closing stream may take to write its last bytes.
pub const CLOSING_MS_MAX: u64 = 2_000;
/// Connections in all: sockets of a small machine, 1,024 files by default with room for the store.
pub const STREAMS_MAX: usize = 8_192;
/// Percent of the memory that the system allows us, past which nobody new comes in: the rest is for those who are here.
pub const MEMORY_PERCENT: u64 = 85;
/// Connections from one IPv4 address or one IPv6 /64: a household behind one address, with every device twice.
pub const STREAMS_PER_ADDRESS_MAX: usize = 2_048;
/// Connections from one address or /64 that have no session.
pub const PREAUTH_PER_ADDRESS_MAX: usize = 64;
/// Passwords that are being compared at once: each keeps a core busy for milliseconds (S16).
pub const VERIFYING_MAX: usize = 256;
/// Lines in the log about those who have no session, a minute: enough to see what happens.
pub const STRANGER_LINES_MAX: u32 = 60;
/// Sign-in attempts on one stream before it is closed, RFC 6120 §6.4.5 (2 to 5 are recommended).
pub const SASL_ATTEMPTS_MAX: u32 = 5;
/// Devices remembered for one account, XEP-0494: everything a person owns, for years.
pub const DEVICES_PER_ACCOUNT_MAX: usize = 64;
/// Bytes of the name of a device or its software; two of them and a length of one byte each.
pub const DEVICE_TEXT_BYTES_MAX: usize = 96;
/// Seconds by which the time of a device's last sign-in may be late: it is not written down more often.
pub const DEVICE_SEEN_S: u64 = 3_600;
/// Seconds that a token stands for the password, XEP-0484 §5.2: a telephone may lie in a drawer for a month.
pub const TOKEN_S: u64 = 30 * 86_400;
/// Seconds after which a token is followed by another one at the next sign-in.
pub const TOKEN_ROTATES_S: u64 = 86_400;
/// Bytes of the tag that a client puts into its resource, XEP-0386 §3.2.
pub const TAG_BYTES_MAX: usize = 64;
/// Resources bound to one account at once.
pub const SESSIONS_PER_ACCOUNT_MAX: usize = 64;
/// Hibernated sessions kept for one account (S35).
pub const HIBERNATIONS_PER_ACCOUNT_MAX: usize = 16;
/// Stanzas kept for resumption in one session (S35).
pub const SM_QUEUE_MAX: usize = 2_000;
/// Bytes kept for resumption in one session.
pub const SM_QUEUE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Stanzas held back from a session whose client nobody looks at, XEP-0352: a roster's presence and the chatter of an hour.
pub const HELD_MAX: usize = 512;
/// Bytes of them; with many presences of their largest size this comes first.
pub const HELD_QUEUE_BYTES_MAX: usize = 256 * 1024;
/// Sessions that ended unresumed of which the count of handled stanzas is remembered: a night of a household (XEP-0198
/// §5); some 100 bytes each.
pub const GONE_MAX: usize = 512;
/// Bytes that a stream may have sent on while it waits for the disk and is not read from: what one read brings.
pub const HELD_BYTES_MAX: usize = 128 * 1024;
/// Messages kept for one absent account, XEP-0160.
pub const OFFLINE_PER_ACCOUNT_MAX: usize = 2_000;
/// Bytes of the messages kept for one account that does not fetch them: 2,000 of 8 KiB, or 64 of the largest.
pub const OFFLINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of a presence: the least that a server must take of any stanza (RFC 6120 §13.12). Whoever signs in gets those of
/// all contacts at once.
pub const PRESENCE_BYTES_MAX: usize = 10_000;
/// Items in one roster.
pub const ROSTER_ITEMS_MAX: usize = 2_000;
/// Subscription requests that wait for one account (S33).
pub const PENDING_IN_MAX: usize = 200;
/// Bytes of a request that waits: all of them come at once, and have to fit into [`SM_QUEUE_BYTES_MAX`] (S33).
pub const REQUEST_BYTES_MAX: usize = 4 * 1024;
/// Bytes of one roster: as many items as it may have, with names and groups of some words. It is sent as one stanza.
pub const ROSTER_BYTES_MAX: usize = 384 * 1024;
/// Groups of one roster item.
pub const ROSTER_GROUPS_MAX: usize = 32;
/// Bytes of a roster item's name or group, RFC 6121 §2.1.2.
pub const ROSTER_TEXT_BYTES_MAX: usize = 1023;
/// Addresses in one block list, XEP-0191.
pub const BLOCKED_MAX: usize = 2_000;
/// Reports of one account that reach the administrators in a day, XEP-0377: who finds more should speak to them.
pub const REPORTS_PER_DAY_MAX: u32 = 20;
/// Accounts whose reports of the last day are counted.
pub const REPORTERS_MAX: usize = 1_000;
/// Bytes of a report's text that are told.
pub const REPORT_TEXT_BYTES_MAX: usize = 2_000;
/// Bytes of a reason, an id or an address that are told.
pub const REPORT_REASON_BYTES_MAX: usize = 200;
/// Messages named in one report that are told.
pub const REPORT_STANZA_IDS_MAX: usize = 20;
/// Administrators who are told of a report.
pub const REPORT_READERS_MAX: usize = 20;
/// Accounts that are looked at to find those who may administer the server.
pub const ADMIN_SEARCH_MAX: usize = 10_000;
/// Bytes of one block list, which is sent as one stanza.
pub const BLOCKED_BYTES_MAX: usize = 256 * 1024;
/// Bytes of a vCard, XEP-0054, its picture in base64 included.
pub const VCARD_BYTES_MAX: usize = 192 * 1024;
/// Bytes of a picture's content type; the longest that is registered has some 40.
pub const CONTENT_TYPE_BYTES_MAX: usize = 64;
/// Segments of a JPEG that are looked at for its size: cameras write a dozen before it.
pub const JPEG_SEGMENTS_MAX: usize = 64;
/// Private elements of one account, XEP-0049.
pub const PRIVATE_ROWS_MAX: usize = 200;
/// Bytes of all private elements of one account.
pub const PRIVATE_TOTAL_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of one private element: as many as an item of a node, because a list of bookmarks stands in both.
pub const PRIVATE_BYTES_MAX: usize = ITEM_BYTES_MAX as usize;
/// Bookmarks of rooms that are in step in all forms, XEP-0402 §5.3, and that are converted in one go; what is beyond stays
/// in the form in which a client wrote it. Hundreds are many.
pub const BOOKMARKS_MAX: usize = 1_000;
/// Invitations that are open at once, XEP-0401.
pub const INVITATIONS_MAX: usize = 1_000;
/// Bytes of an invitation's token; ours have 32.
pub const TOKEN_BYTES_MAX: usize = 64;
/// Seconds that an invitation is good for: XEP-0379 §4.2 suggests a week.
pub const INVITATION_S: u64 = 7 * 86_400;
/// Open invitations of one account.
pub const INVITATIONS_PER_ACCOUNT_MAX: usize = 20;
/// Seconds for which a link to a new password is good.
pub const PASSWORD_LINK_S: u64 = 86_400;
/// Seconds for which a link to the page for administrators is good.
pub const STATUS_LINK_S: u64 = 30 * 86_400;
/// Accounts that are made in [`REGISTRATION_WINDOW_S`] where registration is open to all: from one household, and in all.
pub const REGISTRATIONS_PER_HOUSEHOLD_MAX: u32 = 3;
/// See [`REGISTRATIONS_PER_HOUSEHOLD_MAX`].
pub const REGISTRATIONS_MAX: u32 = 50;
/// Seconds in which they are counted.
pub const REGISTRATION_WINDOW_S: u64 = 86_400;
/// Passwords under derivation on behalf of one service: each keeps a core busy for milliseconds.
pub const DERIVING_MAX: usize = 16;
/// Registration requests on one stream before sign-in: a person who tries names needs a few.
pub const REGISTER_REQUESTS_MAX: u32 = 20;
/// Commands whose form waits to be filled in, XEP-0050; the oldest gives way.
pub const COMMANDS_OPEN_MAX: usize = 64;
/// Milliseconds that a command's form waits.
pub const COMMAND_MS_MAX: u64 = 15 * 60_000;
/// Addresses in one list that a command returns, XEP-0133 §4.18; readers of forms, ours included, take 2,048 values.
pub const COMMAND_LIST_MAX: usize = 2_000;
/// Addresses that one command deals with.
pub const COMMAND_TARGETS_MAX: usize = 100;
/// Rooms that one account has made.
pub const ROOMS_PER_ACCOUNT_MAX: usize = 100;
/// Rooms of a host with somebody in them.
pub const ROOMS_OPEN_MAX: usize = 2_000;
/// People in one room, whatever its owners say: each message goes to all of them.
pub const ROOM_OCCUPANTS_MAX: usize = 1_000;
/// People in one room unless its owners say otherwise.
pub const ROOM_OCCUPANTS_DEFAULT: u16 = 200;
/// Devices of one person in one room.
pub const ROOM_VISITS_MAX: usize = 16;
/// People and domains that are something to one room: 10,000 rows of some 60 bytes are in memory while it is open.
pub const ROOM_AFFILIATIONS_MAX: usize = 10_000;
/// Bytes of their addresses, nicknames and reasons: some 78 for each of the most. A list of all of them fits into the outbox
/// of who asks for it, with what stands around each.
pub const ROOM_AFFILIATIONS_BYTES_MAX: usize = 768 * 1024;
/// Bytes of a list that is asked for, past which it tells no nicknames and reasons any more.
pub const ROOM_LIST_BYTES_MAX: usize = 512 * 1024;
/// Items in one change of lists or roles.
pub const ROOM_CHANGES_MAX: usize = 500;
/// Items of one change up to which occupants hear also of those who are not there, and new members are invited: each item
/// makes as many stanzas as there are people.
pub const ROOM_TOLD_MAX: usize = 20;
/// Invitations in one message.
pub const ROOM_INVITES_MAX: usize = 20;
/// Bytes of a nickname.
pub const ROOM_NICK_BYTES_MAX: usize = 128;
/// Bytes of what a presence says beside the room's own: pictures' hashes, capabilities, a status.
pub const ROOM_PRESENCE_BYTES_MAX: usize = 8 * 1024;
/// Bytes of all subject elements of a message.
pub const ROOM_SUBJECT_BYTES_MAX: usize = 4 * 1024;
/// Bytes of why somebody is what they are.
pub const ROOM_REASON_BYTES_MAX: usize = 1_024;
/// Bytes of a room's name.
pub const ROOM_NAME_BYTES_MAX: usize = 256;
/// Bytes of a room's description.
pub const ROOM_DESCRIPTION_BYTES_MAX: usize = 2_048;
/// Bytes of a room's language.
pub const ROOM_LANGUAGE_BYTES_MAX: usize = 35;
/// Seconds that people may have to wait between two messages in a room: half a day.
pub const ROOM_SLOW_S_MAX: u16 = 43_200;
/// People whose last message a room in slow mode remembers; beyond them, nobody new speaks for a while.
pub const ROOM_SPOKE_MAX: usize = 4_000;
/// People who have left a moderated room and whose voice, or silence, it remembers; beyond them it is that of newcomers.
pub const ROOM_VOICES_MAX: usize = 4_000;
/// Bytes of a room's password.
pub const ROOM_PASSWORD_BYTES_MAX: usize = 256;
/// Messages that newcomers see unless they or the owners say otherwise.
pub const ROOM_HISTORY: u8 = 20;
/// Messages that a room remembers for newcomers.
pub const ROOM_HISTORY_MAX: usize = 50;
/// Bytes of them.
pub const ROOM_HISTORY_BYTES_MAX: usize = 256 * 1024;
/// Members of a room who hear of one message by push: more are no family or club, and each is a look at the store.
pub const ROOM_WAKES_MAX: usize = 200;
/// Pictures in a room's vCard whose hashes it tells.
pub const ROOM_PICTURES_MAX: usize = 8;
/// Hats that a room has.
pub const ROOM_HATS_MAX: usize = 64;
/// Hats that one person wears: they are in every presence.
pub const ROOM_HATS_WORN_MAX: usize = 8;
/// People who wear hats in a room, whether they are there or not.
pub const ROOM_HAT_WEARERS_MAX: usize = 1_000;
/// Bytes of a hat's URI.
pub const ROOM_HAT_URI_BYTES_MAX: usize = 256;
/// Bytes of a hat's title.
pub const ROOM_HAT_TITLE_BYTES_MAX: usize = 128;
/// Changes of a room's lists that are remembered; whoever was away for more is told the lists as a whole.
pub const ROOM_VERSIONS_MAX: usize = 512;
/// People in one message that tells of a room's lists: some 20 KiB.
pub const ROOM_VERSION_ITEMS_MAX: usize = 200;
/// Tokens of a room at once.
pub const ROOM_TOKENS_MAX: usize = 100;
/// Of which one person asked for.
pub const ROOM_TOKENS_EACH_MAX: usize = 20;
/// Seconds for which a token is good, whatever was asked for: 31 days.
pub const ROOM_TOKEN_S_MAX: u64 = 31 * 86_400;
/// People whom a token lets in, if their number is bounded.
pub const ROOM_TOKEN_USES_MAX: u32 = 1_000;
/// Words that are searched for in rooms at once.
pub const ROOM_SEARCH_WORDS_MAX: usize = 8;
/// Bytes of them.
pub const ROOM_SEARCH_BYTES_MAX: usize = 256;
/// Rooms in a page of what was found: each may have a description of 2 KiB.
pub const ROOM_SEARCH_PAGE_MAX: usize = 50;
/// Requests to become a member of a room that are remembered, so that each asks the room's admins once.
pub const ROOM_REQUESTS_MAX: usize = 256;
/// Of which people of one domain elsewhere made: a stranger has as many addresses as they like.
pub const ROOM_REQUESTS_PER_PEER_MAX: usize = 16;
/// Seconds after which such a request may be made again.
pub const ROOM_REQUEST_S: u64 = 24 * 3_600;
/// Admins of a room who are asked at once.
pub const ROOM_ADMINS_ASKED_MAX: usize = 20;
/// Rooms in one answer to who asks for a list.
pub const ROOM_LIST_MAX: usize = 200;
/// Rooms that can be found in lists at all; who looks for more knows their names.
pub const ROOMS_LISTED_MAX: usize = 2_000;
/// Times a second that one person may enter, leave, or change a nickname, on the long run; each is shown to everybody.
pub const ROOM_MOVES_PER_S: u64 = 5;
/// The same at once.
pub const ROOM_MOVES_BURST: u64 = 60;
/// Addresses to which one session sent directed presence.
pub const DIRECTED_MAX: usize = 500;
/// How far work may be from the handler that caused it and still be done however much it is: the end of a session, what
/// its contacts are told, what their services answer, and as much again.
pub const WORK_DEPTH_FREE: usize = 6;
/// Steps of one turn beyond that distance: a loop of ours.
pub const WORK_FAR_MAX: usize = 10_000;
/// Bytes of puts in one batch to the committer.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Batches handed to the committer and not yet answered; beyond it readers are paused.
pub const BATCHES_IN_FLIGHT_MAX: usize = 4;
/// Microseconds within which a sync has to be done for the main thread to wait for it itself: some times what waking
/// the store's thread costs, and nothing that a person or another client would notice.
pub const SWIFT_SYNC_US: u64 = 2_000;
/// What a sync adds to the doubt about the medium for each time that it took as long as that; each swift one takes one
/// away. So one of six may be late, as on a machine that has much to do.
pub const SLOW_SYNC_DOUBT: u64 = 4;
/// The doubt up to which the main thread waits itself.
pub const SYNC_DOUBT_MAX: u64 = 8;
/// Syncs in a row that have to be swift before the main thread waits for one, after the start.
pub const SWIFT_SYNCS_FIRST: u64 = 16;
/// The same after one that was very slow: a card that hesitates now and then is left to the thread.
pub const SWIFT_SYNCS_AGAIN: u64 = 64;
/// Bytes of writes held in memory before they move from the journal into the database: a move rewrites the last block of
/// every archive that grew, so one that many messages share costs each of them less.
pub const OVERLAY_BYTES_MAX: usize = 1536 * 1024;
/// Milliseconds after which a smaller layer moves as well, with whatever happens next: nobody is woken for it. A day: a
/// move writes some 40 KB however little it moves, which many messages should share; the journal keeps them meanwhile.
pub const OVERLAY_MS_MAX: u64 = 86_400_000;
/// Bytes in the journal half that is in use at which the overlay moves, however small it is: rows that were received
/// take room in the journal and none in the overlay.
pub const JOURNAL_BYTES_DUE: usize = 2 * 1024 * 1024;
/// Bytes of one of the two journal files.
pub const JOURNAL_BYTES: u64 = 4 * 1024 * 1024;
/// Bytes of redb's page cache; half of it takes what a move writes, and what does not fit there is written twice.
pub const DATABASE_CACHE_BYTES: usize = 4 * 1024 * 1024;
/// Microseconds of message numbers that are reserved at a time: one more row in ten seconds, and no stamp after a restart
/// is further in the future than this.
pub const MESSAGE_CEILING_US: u64 = 10_000_000;
/// Messages of a backlog that are read and sent at a time.
pub const BACKLOG_PAGE: usize = 64;
/// Bytes of a backlog after which the rest of a page waits: as many as an outbox takes before it is full.
pub const BACKLOG_PAGE_BYTES: usize = 256 * 1024;
/// Unacknowledged stanzas of a session above which its backlog waits.
pub const BACKLOG_UNACKED_MAX: usize = 128;
/// The same in bytes: with a page of the largest stanzas behind it, still below [`SM_QUEUE_BYTES_MAX`].
pub const BACKLOG_UNACKED_BYTES_MAX: usize = 512 * 1024;
/// Copies of messages that a session keeps until it has caught up; more come out of order.
pub const BACKLOG_BEHIND_MAX: usize = 256;
/// Milliseconds that a sender is held back because a recipient's outbox is full.
pub const HELD_BACK_MS_MAX: u64 = 1_000;
/// Milliseconds before writes that nobody waits for (a message was received) are committed by themselves. Until then they
/// go along with whatever else is written, so that a message now and then costs one sync and not two; what a power cut
/// in between costs is that the last messages come a second time, with the ids that they had.
pub const LAZY_COMMIT_MS: u64 = 300_000;
/// Unacknowledged stanzas at which a recipient is asked for an acknowledgement at once.
pub const ASK_UNACKED: usize = 16;
/// Milliseconds between two questions for an acknowledgement while fewer are unacknowledged.
pub const ASK_PAUSE_MS: u64 = 250;
/// Milliseconds that a client may take to acknowledge before its connection counts as dead: the session then waits for
/// resumption, and what was sent is not lost in a socket that nobody reads.
pub const ACK_MS_MAX: u64 = 60_000;
/// Days that an archived message is kept: a year of a household's talk, which is what people scroll back to.
pub const ARCHIVE_DAYS: u64 = 365;
/// Bytes of one account's archive: half a million short messages.
pub const ARCHIVE_BYTES: u64 = 256 * 1024 * 1024;
/// Messages in one page of an archive, and as many as a client gets that names no number.
pub const ARCHIVE_PAGE_MAX: usize = 100;
/// Bytes of a page after which the rest is left to the next one: as many as an outbox takes before it is full.
pub const ARCHIVE_PAGE_BYTES: usize = 256 * 1024;
/// Bytes on their way to a session above which its queries are refused: it asks faster than it reads.
pub const ARCHIVE_UNREAD_BYTES_MAX: usize = 1024 * 1024;
/// Index rows that one query looks at in search of one resource of a contact.
pub const ARCHIVE_LOOK_MAX: usize = 20_000;
/// Messages counted for a query whose answer is not known from the ends of what it asks for.
pub const ARCHIVE_COUNT_MAX: usize = 2_000;
/// Addresses in the preferences of one archive, XEP-0441.
pub const ARCHIVE_PREFS_MAX: usize = 1_000;
/// Messages that an archive takes in between two looks at its old end.
pub const ARCHIVE_TRIM_EVERY: u64 = 64;
/// Messages of a removed account that go in one step.
pub const ARCHIVE_PURGE_STEP: usize = 256;
/// Milliseconds between two steps of work that was put off.
pub const CHORES_MS: u64 = 50;
/// Messages that one look removes at most; more than come in meanwhile, so that a smaller bound is reached.
pub const ARCHIVE_TRIM_MAX: usize = 256;
/// Nodes of one account, XEP-0060: a blog opens one for the comments of each entry.
pub const NODES_MAX: usize = 1_000;
/// Nodes of one publish-subscribe host.
pub const HOST_NODES_MAX: usize = 10_000;
/// Nodes that are looked at in one go, when they are listed.
pub const NODES_PAGE: usize = 200;
/// Nodes of one publish-subscribe host that one account made.
pub const HOST_NODES_PER_CREATOR_MAX: usize = 500;
/// Items kept in one node; what `max` means in `pubsub#max_items`. Clients count on a thousand.
pub const NODE_ITEMS_MAX: u32 = 10_000;
/// Bytes of one item's payload: a picture of 128 KiB in base64, and room for what stands around it in a stanza.
pub const ITEM_BYTES_MAX: u32 = 192 * 1024;
/// Bytes of all items of one account, names included.
pub const NODES_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Bytes of all items of one publish-subscribe host.
pub const HOST_NODES_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Bytes of a node's name; names are namespaces with something behind them.
pub const NODE_NAME_BYTES_MAX: usize = 1_023;
/// Bytes of an item's id; most are addresses or hashes.
pub const ITEM_ID_BYTES_MAX: usize = 1_023;
/// Bytes of a node's title, of its description and the like.
pub const NODE_TEXT_BYTES_MAX: usize = 1_023;
/// Contacts or roster groups in a node's settings.
pub const NODE_LINES_MAX: usize = 64;
/// Entities with an affiliation to, or a subscription of, one node.
pub const NODE_MEMBERS_MAX: usize = 1_000;
/// Subscriptions that one entity has to one node: its bare address and its resources.
pub const SUBSCRIPTIONS_PER_MEMBER_MAX: usize = 16;
/// Bytes of items in one answer; the rest is asked for by pages (XEP-0059).
pub const ITEMS_ANSWER_BYTES_MAX: usize = 512 * 1024;
/// Items that are looked at in one go, when many are read or removed.
pub const ITEMS_PAGE: usize = 32;
/// Items that expire or give way in one publication; the next one goes on.
pub const ITEMS_EXPIRED_AT_ONCE_MAX: usize = 64;
/// Registrations with push services of one account, XEP-0357: every telephone of a person, and some that were lost.
pub const PUSH_PER_ACCOUNT_MAX: usize = 16;
/// Bytes of what a registration asks for: its form, and a list of muted conversations.
pub const PUSH_WISH_BYTES_MAX: usize = 8 * 1024;
/// Seconds by which the time of a registration may be late: it is not written down more often.
pub const PUSH_SEEN_S: u64 = 86_400;
/// Milliseconds before a device that was woken and has not come is woken again for another message; doubles each time.
pub const PUSH_PAUSE_MS: u64 = 5_000;
/// The most that it doubles to.
pub const PUSH_PAUSE_MS_MAX: u64 = 300_000;
/// Milliseconds between two calls for which a device is woken.
pub const PUSH_CALL_PAUSE_MS: u64 = 2_000;
/// Milliseconds that a client may take to acknowledge before its device is woken, if it can be: long enough for a radio that
/// sleeps, short enough for somebody who waits for an answer. Its connection is given [`ACK_MS_MAX`].
pub const PUSH_ACK_MS: u64 = 20_000;
/// Bytes of a message that a device is told under its own seal, a line on a locked screen; and of the id of a call.
pub const PUSH_TEXT_BYTES: usize = 255;
/// Devices that were woken and are remembered until they come.
pub const PUSH_WOKEN_MAX: usize = 1_024;
/// Unacknowledged stanzas of a session that was cut off, of which its device is told.
pub const PUSH_UNACKED_MAX: usize = 64;
/// Capability hashes that are known, XEP-0115; a household's clients have a dozen.
pub const CAPS_MAX: usize = 1_000;
/// Nodes that one client wants to hear of; real ones name a dozen.
pub const INTERESTS_MAX: usize = 100;
/// Bytes of hash, version and node in a presence, kept for each client: an address and a digest have some 100.
pub const CAPS_TEXT_BYTES_MAX: usize = 1_024;
/// Hashes that clients were asked about and have not answered for.
pub const CAPS_ASKED_MAX: usize = 256;
/// Milliseconds after which another client is asked what a hash means.
pub const CAPS_ANSWER_MS: u64 = 10_000;
/// Items of a node that a list of them names, XEP-0060 §5.5; the rest is asked for by pages (XEP-0059).
pub const DISCO_ITEMS_MAX: usize = 1_000;
/// Bytes of one uploaded file, XEP-0363: minutes of video from a telephone.
pub const UPLOAD_BYTES: u64 = 100 * 1024 * 1024;
/// Bytes that one account uploads in a day.
pub const UPLOAD_DAY_BYTES: u64 = 1024 * 1024 * 1024;
/// Bytes of all uploaded files: what the smallest card has to spare.
pub const UPLOAD_TOTAL_BYTES: u64 = 10 * 1024 * 1024 * 1024;
/// Days that an uploaded file is kept; every device has fetched it by then.
pub const UPLOAD_DAYS: u64 = 30;
/// Files that one account uploads in a day.
pub const UPLOAD_FILES_PER_DAY_MAX: usize = 2_000;
/// Files in all; their records are counted once, at the first upload.
pub const UPLOAD_FILES_MAX: usize = 200_000;
/// Seconds that a slot is good for, XEP-0363 §9.
pub const SLOT_S: u64 = 300;
/// Slots that were given and not used, in all; some 60 bytes each.
pub const SLOTS_MAX: usize = 4_096;
/// Bytes of a file's name; the longest that file systems take.
pub const FILE_NAME_BYTES_MAX: usize = 255;
/// Files that are removed in one step.
pub const UPLOAD_PURGE_STEP: usize = 64;
/// Found files that are told to the core at once.
pub const FILES_FOUND_STEP: usize = 256;
/// Bytes of the head of an HTTP request; browsers send one or two thousand.
pub const HTTP_HEAD_BYTES_MAX: usize = 16 * 1024;
/// Headers of an HTTP request.
pub const HTTP_HEADERS_MAX: usize = 64;
/// Milliseconds that a head may take to come, from accept or from the end of the answer before it (S3).
pub const HTTP_HEAD_MS_MAX: u64 = 30_000;
/// Milliseconds without a byte of a body, or without a byte of an answer taken, after which a connection is closed.
pub const HTTP_STALL_MS_MAX: u64 = 60_000;
/// Milliseconds that the house may take to answer a request; only a fault of ours takes that long.
pub const HTTP_ANSWER_MS_MAX: u64 = 60_000;
/// HTTP connections in all: browsers hold six, and a household has some dozens of devices.
pub const HTTP_CONNECTIONS_MAX: usize = 1_024;
/// HTTP connections from one address or /64, proxies that are trusted excepted.
pub const HTTP_CONNECTIONS_PER_ADDRESS_MAX: usize = 128;
/// Connections whose first bytes are being looked at, or that are handed through to another server.
pub const PREFACES_MAX: usize = 512;
/// The same from one address or /64, proxies excepted.
pub const PREFACES_PER_ADDRESS_MAX: usize = 64;
/// Milliseconds that the first bytes of a connection may take, where they are looked at, and a connection to an upstream.
pub const PREFACE_MS_MAX: u64 = 10_000;
/// Bytes of a form's content.
pub const FORM_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a request of BOSH: the largest stanza and what is around it.
pub const BOSH_BODY_BYTES_MAX: usize = STANZA_BYTES_MAX + 8 * 1024;
/// Bytes of such requests that are being read, in all.
pub const BOSH_READING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of requests that came ahead of their turn, of one session before its sign-in: they are as large as what one may
/// say then.
pub const BOSH_EARLY_BYTES_MAX: usize = 16 * 1024;
/// The same of all sessions before their sign-in.
pub const BOSH_EARLY_ALL_BYTES_MAX: usize = 256 * 1024;
/// Seconds that an answer waits for something to say; proxies give up after as many.
pub const BOSH_WAIT_S_MAX: u64 = 60;
/// Requests of a session that may be under way at once, of which one waits for something to say.
pub const BOSH_REQUESTS_MAX: u64 = 3;
/// Seconds that must lie between two empty requests of a client that polls.
pub const BOSH_POLLING_S: u64 = 2;
/// Seconds without a request after which a client is gone: a round trip under bad conditions.
pub const BOSH_INACTIVITY_S: u64 = 30;
/// The same for a client that polls.
pub const BOSH_POLLED_INACTIVITY_S: u64 = 90;
/// Seconds of a pause that a client may ask for.
pub const BOSH_PAUSE_S_MAX: u64 = 120;
/// Times that a request may be sent again before the next one.
pub const BOSH_REPEATS_MAX: u32 = 16;
/// Milliseconds that a client which wants no waiting waits nevertheless for the answer to what it says.
pub const BOSH_GRACE_MS: u64 = 200;
/// Bytes of an upload that are gathered before they are written, and that are read at once for a download: below what
/// the allocator maps anew each time.
pub const FILE_BLOCK_BYTES: usize = 64 * 1024;
/// Threads that read and write files at once.
pub const FILE_WORKERS_MAX: usize = 4;
/// Certificates between a peer's own and an authority that are looked at; three are many.
pub const CERTIFICATE_CHAIN_MAX: usize = 10;
/// Names in a peer's certificate that are looked at: providers put hundreds of customers into one.
pub const CERTIFICATE_NAMES_MAX: usize = 256;
/// Connections to other servers that are sought at once; more wait.
pub const DIALS_MAX: usize = 32;
/// Milliseconds until an unreachable server is given up.
pub const DIAL_MS_MAX: u64 = 30_000;
/// Milliseconds that one of the places of a server may take, so that the next has time too.
pub const DIAL_HOP_MS_MAX: u64 = 10_000;
/// Addresses of one place that are tried.
pub const DIAL_ADDRESSES_MAX: usize = 8;
/// Milliseconds for each step of looking at a server from outside.
pub const PROBE_MS_MAX: u64 = 5_000;
/// Bytes of what a server says then, before TLS.
pub const PROBE_BYTES_MAX: usize = 64 * 1024;
/// Milliseconds until a question to DNS is given up, all resolvers and tries together.
pub const DNS_MS_MAX: u64 = 10_000;
/// Resolvers of the machine that are asked; as many as the C library takes.
pub const DNS_SERVERS_MAX: usize = 3;
/// Seconds that one of them may take at most, whatever `timeout` says, as in the C library; `DNS_MS_MAX` holds for all.
pub const DNS_TIMEOUT_S_MAX: u64 = 30;
/// How often each is asked at most, whatever `attempts` says, as in the C library.
pub const DNS_ATTEMPTS_MAX: usize = 5;
/// Aliases (CNAME) that lead from one name to another.
pub const DNS_ALIASES_MAX: usize = 8;
/// Records of a section of an answer that are looked at.
pub const DNS_RECORDS_MAX: usize = 128;
/// Places of a domain's server that are tried.
pub const DNS_HOPS_MAX: usize = 8;
/// Answers that are remembered; some 200 bytes each.
pub const DNS_CACHE_MAX: usize = 512;
/// Seconds for which an answer is believed, at most: a day.
pub const DNS_TTL_S_MAX: u32 = 86_400;
/// The same for there being nothing, at most: who makes a mistake in a zone does not wait for hours after mending it.
pub const DNS_NEGATIVE_TTL_S_MAX: u32 = 300;
/// Bytes of `resolv.conf` and `hosts` that are read.
pub const DNS_FILE_BYTES_MAX: u64 = 256 * 1024;
/// Links to other domains, one for each pair of domains; a large room has people of hundreds of domains in it.
pub const PEER_LINKS_MAX: usize = 2_048;
/// Stanzas that wait for one link: presence of a whole house, a conversation, and a room's talk meanwhile.
pub const PEER_QUEUE_MAX: usize = 1_000;
/// Bytes of them.
pub const PEER_QUEUE_BYTES_MAX: usize = 1024 * 1024;
/// Stanzas sent over one link and not acknowledged; the rest waits.
pub const PEER_UNACKED_MAX: usize = 500;
/// Bytes of them after which the rest waits; with one more of the largest still below [`SM_QUEUE_BYTES_MAX`].
pub const PEER_UNACKED_BYTES_MAX: usize = 512 * 1024;
/// Rows of stanzas for other servers that are read at the start.
pub const PEER_ROWS_MAX: usize = 20_000;
/// Milliseconds that a stanza waits for a server that cannot be reached, before its sender is told: a restart elsewhere
/// goes by unnoticed, and nobody waits long for an answer that will not come.
pub const PEER_PATIENCE_MS: u64 = 120_000;
/// Milliseconds after a failure before a link is tried again; doubles each time.
pub const PEER_PAUSE_MS: u64 = 2_000;
/// The most that it doubles to.
pub const PEER_PAUSE_MS_MAX: u64 = 300_000;
/// Milliseconds for which a domain without a server counts as such.
pub const PEER_NOT_FOUND_MS: u64 = 60_000;
/// Milliseconds after which a link that carries nothing is closed: a conversation has longer pauses seldom.
pub const PEER_IDLE_MS: u64 = 600_000;
/// The same for a stream from elsewhere, whose other side ought to close it first.
pub const PEER_IDLE_IN_MS: u64 = 3_600_000;
/// Milliseconds that the state of a stream from elsewhere is kept for its resumption, XEP-0198 §5.
pub const PEER_HOLD_MS: u64 = 600_000;
/// Streams from elsewhere that broke and are kept so; the oldest are forgotten first. Some 300 bytes each.
pub const PEER_HELD_MAX: usize = 1_024;
/// Domain pairs on one stream, XEP-0220 §2.5.
pub const PEER_PAIRS_MAX: usize = 64;
/// Pairs among them that are being verified.
pub const PEER_CLAIMS_MAX: usize = 8;
/// Claims to be one domain that are being verified at once.
pub const PEER_QUESTIONS_MAX: usize = 16;
/// Milliseconds after which a link that broke is made again.
pub const PEER_REDIAL_MS: u64 = 500;
/// Milliseconds for which what we sent over a stream of another server waits for it to be resumed.
pub const PEER_RETURN_MS: u64 = 20_000;
/// Milliseconds that another server has to ask for stream management before we send over its stream (XEP-0288).
pub const PEER_MANAGED_MS: u64 = 1_000;
/// Clients elsewhere of which is known what they want to hear of; some 200 bytes each.
pub const AWAY_MAX: usize = 4_096;
/// Clients of one person among them: several devices, and those of which nobody said that they are gone.
pub const AWAY_CLIENTS_MAX: usize = 32;
/// Accounts here to which one of them shows itself.
pub const AWAY_ACCOUNTS_MAX: usize = 64;
/// Characters of a password that is chosen on the page of an invitation.
pub const PASSWORD_CHARS_MIN: usize = 8;
/// Milliseconds after a failure before a domain is asked again whether somebody is it: whoever claims to be it causes one
/// connection in this time at most.
pub const PEER_QUESTION_PAUSE_MS: u64 = 1_000;
/// Milliseconds in which strangers from elsewhere are counted.
pub const STRANGER_WINDOW_MS: u64 = 3_600_000;
/// Messages and requests of one stranger to one account in that time, until somebody writes back: more than a person types
/// in an hour to somebody who says nothing.
pub const STRANGER_STANZAS_MAX: u32 = 200;
/// People whom one domain introduces to people here in that time.
pub const STRANGERS_PER_DOMAIN_MAX: u32 = 60;
/// Domains that are counted.
pub const STRANGER_DOMAINS_MAX: usize = 1_024;
/// Pairs of a person here and one elsewhere that are remembered; some 150 bytes each.
pub const STRANGERS_MAX: usize = 4_096;
/// Requests of components in the name of accounts that are not answered yet, XEP-0356 §5; the oldest are given back.
pub const ERRANDS_MAX: usize = 256;
/// Requests that components answer in place of this server and have not answered yet, XEP-0355 §4.3; the oldest are refused.
pub const DELEGATED_MAX: usize = 512;
/// Namespaces that one component answers for.
pub const DELEGATED_NAMESPACES_MAX: usize = 32;
/// Features, identities and forms of one such namespace that are told in place of our own, in bytes; more are left away.
pub const DELEGATED_FEATURES_BYTES_MAX: usize = 16 * 1024;
/// Contacts that a component writes into a roster with one request, XEP-0356 §3.3.
pub const ROSTER_ITEMS_AT_ONCE_MAX: usize = 100;
/// Requests to one component that it has not answered, of which their senders hear when it goes.
pub const COMPONENT_ASKED_MAX: usize = 512;
/// Addresses of one component that are shown as available, each to one account here: a few people with all their contacts and
/// rooms on another network; some 200 bytes each.
pub const COMPONENT_SHOWN_MAX: usize = 8_192;
/// Bytes a second that one domain elsewhere may send for long: what a busy link carries in a minute.
pub const PEER_BYTES_PER_S: u64 = 4 * 1024 * 1024;
/// Stanzas a second of the same: the talk of large rooms, with all who come and go.
pub const PEER_STANZAS_PER_S: u64 = 5_000;
/// Bytes a second that one client may send for long; nobody who types or sends pictures comes near it.
pub const CLIENT_BYTES_PER_S: u64 = 8 * 1024 * 1024;
/// Stanzas a second of the same.
pub const CLIENT_STANZAS_PER_S: u64 = 5_000;
/// Seconds whose bytes and stanzas may come at once: whoever was away sends all that waited.
pub const RATE_BURST_S: u64 = 30;
/// Milliseconds for which a stream that is too fast is not heard, at least: one timer for all that comes in this time.
pub const RATE_PAUSE_MS: u64 = 50;
/// Domains elsewhere whose rates are counted; some 100 bytes each.
pub const RATED_DOMAINS_MAX: usize = 1_024;
