//! What goes from an archive: the oldest messages, because they are old or too many, and everything when its owner wants
//! that or is gone.
//!
//! Source: XEP-0313 §3.2: from the old end only, so that no archive has a hole. Small steps along with what comes in: a
//! message now and then has its own archive looked at, and one other in turn, so that those of quiet accounts grow old
//! as well; nobody is woken for it. Only the archive of a removed account, and what an owner wanted forgotten, goes by
//! itself, step after step.

use crate::{
    domain::{
        accounts,
        archive::{self, Entry},
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
    /// Accounts that are gone, or whose owners wanted all forgotten; not more than that was done for since the start.
    /// Each with the number of the first message that stays.
    gone: Vec<(AccountId, u64)>,
}

/// The first number that a message may have that is young enough, and not forgotten.
pub fn oldest(owner: AccountId, ctx: &mut Ctx<'_>) -> u64 {
    let young = match ctx.config().retention.archive_days {
        0 => 0,
        days => ctx.wall_us.saturating_sub(days.saturating_mul(86_400 * 1_000_000)),
    };
    young.max(archive::kept_from(&ctx.store(), owner))
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
        self.remove(account, u64::MAX, ctx);
    }

    /// What an owner wanted forgotten goes.
    pub fn empty(&mut self, account: AccountId, ctx: &mut Ctx<'_>) {
        let until = archive::kept_from(&ctx.store(), account);
        self.remove(account, until, ctx);
    }

    fn remove(&mut self, account: AccountId, until: u64, ctx: &mut Ctx<'_>) {
        match self.gone.iter_mut().find(|(gone, _)| *gone == account) {
            Some((_, gone_until)) => *gone_until = until.max(*gone_until),
            None => self.gone.push((account, until)),
        }
        self.step(ctx);
    }

    /// One step.
    pub fn step(&mut self, ctx: &mut Ctx<'_>) {
        let Some((account, until)) = self.gone.last().copied() else { return };
        let is_stale = |entry: &Entry, _: &Entry| entry.id.0 < until;
        if !archive::forget_oldest(&mut ctx.store(), account, limits::ARCHIVE_PURGE_STEP, is_stale) {
            self.gone.pop();
        }
        ctx.core.chores |= !self.gone.is_empty();
    }
}

/// Removes a few of the oldest messages if they are too old, or if there are too many; `true`: there are more.
fn trim(owner: AccountId, ctx: &mut Ctx<'_>) -> bool {
    let bytes_max = ctx.config().retention.archive_bytes;
    let since = MessageId(oldest(owner, ctx));
    archive::forget_oldest(&mut ctx.store(), owner, limits::ARCHIVE_TRIM_MAX, |entry, newest| {
        // Both count through, so their difference is what stands between them.
        let bytes = newest.bytes.saturating_sub(entry.bytes) + entry.size;
        entry.id < since || (bytes_max > 0 && bytes > bytes_max)
    })
}
