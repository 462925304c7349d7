//! What goes from an archive: the oldest messages, because they are old or too many, and everything of an account that
//! is gone.
//!
//! Source: XEP-0313 §3.2: from the old end only, so that no archive has a hole. Small steps along with what comes in: a
//! message now and then has its own archive looked at, and one other in turn, so that those of quiet accounts grow old
//! as well; nobody is woken for it. Only the archive of a removed account goes by itself, step after step.

use crate::{
    domain::{
        accounts, archive,
        ids::{AccountId, MessageId},
    },
    limits,
    router::context::Ctx,
};

/// What is left to do.
#[derive(Debug, Default)]
pub struct Chores {
    /// The archive that was looked at last, of all.
    last: AccountId,
    /// Accounts that are gone; not more than were removed since the start.
    gone: Vec<AccountId>,
}

/// The first number that a message may have that is young enough.
pub fn oldest(ctx: &Ctx<'_>) -> u64 {
    match ctx.config().retention.archive_days {
        0 => 0,
        days => ctx.wall_us.saturating_sub(days.saturating_mul(86_400 * 1_000_000)),
    }
}

impl Chores {
    /// An archive has taken in another few messages.
    pub fn look(&mut self, owner: AccountId, ctx: &mut Ctx<'_>) {
        trim(owner, ctx);
        let next = archive::next_owner(&ctx.store(), self.last);
        self.last = next.unwrap_or_default();
        match next {
            Some(next) if accounts::address(&ctx.store(), next).is_none() => self.purge(next, ctx),
            Some(next) if trim(next, ctx) => self.last = AccountId(next.0.saturating_sub(1)),
            _ => {}
        }
    }

    /// An account is gone, and its archive goes.
    pub fn purge(&mut self, account: AccountId, ctx: &mut Ctx<'_>) {
        if !self.gone.contains(&account) {
            self.gone.push(account);
        }
        self.step(ctx);
    }

    /// One step.
    pub fn step(&mut self, ctx: &mut Ctx<'_>) {
        let Some(account) = self.gone.last().copied() else { return };
        if !archive::forget_oldest(&mut ctx.store(), account, limits::ARCHIVE_PURGE_STEP, |_, _| true) {
            self.gone.pop();
        }
        ctx.core.chores |= !self.gone.is_empty();
    }
}

/// Removes a few of the oldest messages if they are too old, or if there are too many; `true`: there are more.
fn trim(owner: AccountId, ctx: &mut Ctx<'_>) -> bool {
    let bytes_max = ctx.config().retention.archive_bytes;
    let since = MessageId(oldest(ctx));
    archive::forget_oldest(&mut ctx.store(), owner, limits::ARCHIVE_TRIM_MAX, |entry, newest| {
        // Both count through, so their difference is what stands between them.
        let bytes = newest.bytes.saturating_sub(entry.bytes) + entry.size;
        entry.id < since || (bytes_max > 0 && bytes > bytes_max)
    })
}
