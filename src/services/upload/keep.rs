//! What goes from the store of files: what is too old, what belonged to an account that is gone, what nobody knows.
//!
//! Small steps along with what comes in; nobody is woken for it, except for the files of a removed account, which go by
//! themselves. Rows go first and the file right behind them: whatever is cut off in between is found at the next start.

use crate::{
    domain::{
        accounts,
        files::{self, FileId},
        ids::AccountId,
    },
    limits,
    router::context::Ctx,
};

/// What is left to do.
#[derive(Debug, Default)]
pub struct Keep {
    /// Accounts that are gone; not more than were removed since the start.
    gone: Vec<AccountId>,
}

/// Files of slots that were given before this second are too old.
fn oldest_s(ctx: &Ctx<'_>) -> u64 {
    match ctx.config().retention.upload_days {
        0 => 0,
        days => ctx.wall_s().saturating_sub(days.saturating_mul(86_400)),
    }
}

/// Whether a file is too old, removed or not.
pub fn is_expired(file: FileId, ctx: &Ctx<'_>) -> bool {
    file.made_s() < oldest_s(ctx)
}

impl Keep {
    /// Removes a few files that are too old.
    pub fn expire(&mut self, total: &mut Option<u64>, ctx: &mut Ctx<'_>) {
        let before_s = oldest_s(ctx);
        if before_s == 0 {
            return;
        }
        for file in files::older_than(&ctx.store(), before_s, limits::UPLOAD_PURGE_STEP) {
            remove(file, total, ctx);
        }
    }

    /// An account is gone, and its files go.
    pub fn purge(&mut self, account: AccountId, total: &mut Option<u64>, ctx: &mut Ctx<'_>) {
        if !self.gone.contains(&account) {
            self.gone.push(account);
        }
        self.step(total, ctx);
    }

    /// One step.
    pub fn step(&mut self, total: &mut Option<u64>, ctx: &mut Ctx<'_>) {
        let Some(account) = self.gone.last().copied() else { return };
        let some = files::of_account(&ctx.store(), account, limits::UPLOAD_PURGE_STEP);
        if some.len() < limits::UPLOAD_PURGE_STEP {
            self.gone.pop();
        }
        for file in some {
            remove(file, total, ctx);
        }
        ctx.core.chores |= !self.gone.is_empty();
    }

    /// These files are on the disk: those that should not be go.
    pub fn found(&mut self, found: &[FileId], total: &mut Option<u64>, ctx: &mut Ctx<'_>) {
        for file in found {
            match files::find(&ctx.store(), *file) {
                None => ctx.discard(*file),
                // A removal that was cut off.
                Some(record) if accounts::address(&ctx.store(), record.account).is_none() => remove(*file, total, ctx),
                Some(_) if is_expired(*file, ctx) => remove(*file, total, ctx),
                Some(_) => {}
            }
        }
    }
}

fn remove(file: FileId, total: &mut Option<u64>, ctx: &mut Ctx<'_>) {
    if let Some(record) = files::remove(&mut ctx.store(), file) {
        *total = total.map(|total| total.saturating_sub(record.bytes));
        ctx.discard(file);
    }
}
