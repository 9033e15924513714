//! Access keys, their secrets and who stands behind them.
//! A secret is wiped when its last owner goes and has no `Debug`; it leaves this floor only as an HMAC.
//! Where credentials come from (environment, state directory, identity store) is the server's business.
//! Source: IAM user guide, "Managing access keys".

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use zeroize::Zeroizing;

/// A secret access key.
///
/// Clones share one copy in memory, wiped when the last is dropped.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Takes the secret's text over; the caller keeps no copy.
    pub fn new(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// A mark that tells this secret from any other, without keeping it.
    pub(super) fn mark(&self) -> SecretMark {
        SecretMark(Arc::downgrade(&self.0))
    }
}

/// Names one secret in memory. It holds the allocation and not the text, so no other secret can get its address.
pub(super) struct SecretMark(Weak<Zeroizing<String>>);

impl SecretMark {
    pub(super) fn is_of(&self, secret: &Secret) -> bool {
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(&secret.0))
    }
}

/// Who is calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name shown as Owner's DisplayName.
    pub name: Arc<str>,
    /// The Owner's ID. Shape: 64 hex digits.
    pub canonical_id: Arc<str>,
    /// The account. Shape: 12 digits.
    pub account_id: Arc<str>,
    /// What kind of principal it is.
    pub kind: CallerKind,
}

/// The kinds of principal that a credential can stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerKind {
    /// The account's root user: no policy applies.
    Root,
}

/// A long-term access key.
#[derive(Clone)]
pub struct Credential {
    /// The public half, which requests name.
    pub access_key_id: Arc<str>,
    /// The secret half, which requests are signed with.
    pub secret_access_key: Secret,
    /// Who the key belongs to.
    pub caller: Caller,
}

/// Every credential that may call, as one snapshot.
pub struct Credentials {
    by_access_key_id: HashMap<Arc<str>, Credential>,
    decoy: Secret,
}

impl Credentials {
    /// A snapshot of the credentials; of two with the same access key id the later one stays.
    pub fn new(credentials: impl IntoIterator<Item = Credential>) -> Self {
        let by_access_key_id = credentials
            .into_iter()
            .map(|credential| (Arc::clone(&credential.access_key_id), credential))
            .collect();
        // Its text is no secret: no outcome of a signature made with it is ever accepted.
        Self { by_access_key_id, decoy: Secret::new("decoy of an unknown access key id".to_owned()) }
    }

    pub(super) fn find(&self, access_key_id: &str) -> Option<&Credential> {
        self.by_access_key_id.get(access_key_id)
    }

    /// What an unknown access key's signature is computed with, so that it takes as long as a known one's.
    pub(super) fn decoy(&self) -> &Secret {
        &self.decoy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_of_one_secret_only() {
        let (one, other) = (Secret::new("same text".to_owned()), Secret::new("same text".to_owned()));
        let mark = one.mark();
        assert!(mark.is_of(&one) && mark.is_of(&one.clone()) && !mark.is_of(&other));
        drop(one);
        for _ in 0..100 {
            assert!(!mark.is_of(&Secret::new("same text".to_owned())));
        }
    }
}
