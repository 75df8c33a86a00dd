//! Changes of a keyspace's users, which are kept and undone like those of keys.

use std::sync::Arc;

use super::Db;
use super::undo::Undo;
use crate::acl::users::{self, Before};
use crate::acl::{Account, RuleError, User};

impl Db {
    /// Makes `user` the one of this name.
    pub(crate) fn put_user(&mut self, name: &[u8], user: User) -> Result<(), RuleError> {
        let user = Arc::new(user);
        let before = self.users.put(name, user.clone())?;
        self.user_changed(name, before);
        self.explicit_effects = true;
        users::push_setuser(name, &user, &mut self.effects);
        Ok(())
    }

    /// Removes the user of this name, if there is one.
    pub(crate) fn remove_user(&mut self, name: &[u8]) -> Option<Arc<Account>> {
        let (account, before) = self.users.remove(name)?;
        self.user_changed(name, before);
        self.effect(&[b"ACL", b"DELUSER", name]);
        Some(account)
    }

    pub(super) fn restore_user(&mut self, name: &[u8], before: Before) {
        self.users.restore(name, before);
        self.note_user(name);
    }

    fn user_changed(&mut self, name: &[u8], before: Before) {
        self.note_user(name);
        if let Some(undo) = self.undo.open() {
            undo.push(Undo::User(name.to_vec(), before));
        }
    }

    fn note_user(&mut self, name: &[u8]) {
        if let Some(changed) = &mut self.watch.changed {
            changed.users.insert(name.to_vec());
        }
    }
}
