//! How a room is set up.

use super::Role;

/// Who may write privately to other occupants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whisper {
    /// Every occupant.
    Anyone,
    /// Whoever has a voice.
    Participants,
    /// Moderators only.
    Moderators,
    /// Nobody.
    Nobody,
}

impl Whisper {
    /// All, as forms list them.
    pub const ALL: [Whisper; 4] = [Whisper::Anyone, Whisper::Participants, Whisper::Moderators, Whisper::Nobody];

    /// As it stands in `muc#roomconfig_allowpm`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Whisper::Anyone => "anyone",
            Whisper::Participants => "participants",
            Whisper::Moderators => "moderators",
            Whisper::Nobody => "none",
        }
    }

    /// Whether an occupant of this role may.
    pub fn allows(self, role: Role) -> bool {
        match self {
            Whisper::Anyone => role > Role::None,
            Whisper::Participants => role >= Role::Participant,
            Whisper::Moderators => role == Role::Moderator,
            Whisper::Nobody => false,
        }
    }
}

/// Everything that an owner can decide, XEP-0045 §10.2 and §15.5.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A name for people.
    pub name: String,
    /// What it is about.
    pub description: String,
    /// Its main language.
    pub language: String,
    /// What one has to know to enter.
    pub password: Option<String>,
    /// Whether only members may enter.
    pub is_members_only: bool,
    /// Whether newcomers have no voice.
    pub is_moderated: bool,
    /// Whether it stays when the last occupant leaves.
    pub is_persistent: bool,
    /// Whether lists of rooms show it.
    pub is_public: bool,
    /// Whether everybody, not only moderators, sees real addresses.
    pub shows_addresses: bool,
    /// Whether members may invite into a members-only room.
    pub members_invite: bool,
    /// Whether whoever has a voice may change the subject.
    pub participants_set_subject: bool,
    /// Whether it keeps an archive.
    pub keeps_archive: bool,
    /// Whether visitors may ask for a voice.
    pub visitors_ask: bool,
    /// Occupants at once.
    pub occupants_max: u16,
    /// Messages that newcomers see unless they ask for fewer.
    pub history: u8,
    /// Who may write privately.
    pub whisper: Whisper,
    /// Seconds between two messages of one person, XEP-0500; 0: as they like.
    pub slow_s: u16,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            name: String::new(),
            description: String::new(),
            language: String::new(),
            password: None,
            is_members_only: false,
            is_moderated: false,
            is_persistent: false,
            is_public: false,
            shows_addresses: false,
            members_invite: false,
            participants_set_subject: false,
            keeps_archive: true,
            visitors_ask: true,
            occupants_max: crate::limits::ROOM_OCCUPANTS_DEFAULT,
            history: crate::limits::ROOM_HISTORY,
            whisper: Whisper::Anyone,
            slow_s: 0,
        }
    }
}

const VERSION: u8 = 1;

impl Settings {
    fn flags(&self) -> [bool; 10] {
        [
            self.is_members_only,
            self.is_moderated,
            self.is_persistent,
            self.is_public,
            self.shows_addresses,
            self.members_invite,
            self.participants_set_subject,
            self.keeps_archive,
            self.visitors_ask,
            self.password.is_some(),
        ]
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        let flags = self.flags().iter().rev().fold(0u16, |all, flag| all << 1 | u16::from(*flag));
        out.extend_from_slice(&flags.to_be_bytes());
        out.extend_from_slice(&self.occupants_max.to_be_bytes());
        out.push(self.history);
        out.push(self.whisper as u8);
        for part in [&self.name, &self.description, &self.language] {
            text(part, out);
        }
        text(self.password.as_deref().unwrap_or_default(), out);
        // Left out where there is none, as in rows that were written before it was known.
        if self.slow_s > 0 {
            out.extend_from_slice(&self.slow_s.to_be_bytes());
        }
    }

    pub(super) fn decode(value: &[u8]) -> Option<Settings> {
        let (&[VERSION, high, low, many, few, history, whisper], mut rest) = value.split_first_chunk::<7>()? else {
            return None;
        };
        let flags = u16::from_be_bytes([high, low]);
        let flag = |at: u16| flags >> at & 1 == 1;
        let settings = Settings {
            is_members_only: flag(0),
            is_moderated: flag(1),
            is_persistent: flag(2),
            is_public: flag(3),
            shows_addresses: flag(4),
            members_invite: flag(5),
            participants_set_subject: flag(6),
            keeps_archive: flag(7),
            visitors_ask: flag(8),
            occupants_max: u16::from_be_bytes([many, few]),
            history,
            whisper: *Whisper::ALL.get(usize::from(whisper))?,
            name: read_text(&mut rest)?,
            description: read_text(&mut rest)?,
            language: read_text(&mut rest)?,
            password: None,
            slow_s: 0,
        };
        let password = read_text(&mut rest)?;
        let slow_s = rest.first_chunk::<2>().map_or(0, |slow| u16::from_be_bytes(*slow));
        Some(Settings { password: flag(9).then_some(password), slow_s, ..settings })
    }
}

/// Appends a text with its length; texts of rooms are bounded far below 64 KiB.
pub(super) fn text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Reads [`text`].
pub(super) fn read_text(rest: &mut &[u8]) -> Option<String> {
    let (len, behind) = rest.split_first_chunk::<2>()?;
    let (text, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    *rest = behind;
    String::from_utf8(text.to_vec()).ok()
}
