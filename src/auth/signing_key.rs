//! Signing keys: derived from a secret, a day and a region by four HMACs, prepared for use, and cached per core.
//! Only keys that a valid signature was made with are remembered, so no stranger can fill the cache; each time the
//! decoy's key for the same scope is remembered too, so unknown access keys are as quick to refuse as known ones.
//! A key derived from a secret that was replaced is not found again: entries know their secret.
//! Source: Signature Version 4, "Calculate the signature".

use std::collections::HashMap;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::credential::{Secret, SecretMark};
use super::scope::{SERVICE, Scope, TERMINATOR};

/// A signing key with its HMAC pads already hashed.
#[derive(Clone)]
pub(super) struct SigningKey(Hmac<Sha256>);

impl SigningKey {
    /// Derives the key of one secret for one day and region.
    pub(super) fn derive(secret: &Secret, scope: &Scope<'_>) -> Self {
        let seed = Zeroizing::new([b"AWS4", secret.bytes()].concat());
        let day_key = step(&seed, scope.day);
        let region_key = step(day_key.as_slice(), scope.region);
        let service_key = step(region_key.as_slice(), SERVICE);
        Self(prepared(step(service_key.as_slice(), TERMINATOR).as_slice()))
    }

    /// A message authentication code that starts with this key.
    pub(super) fn start(&self) -> Hmac<Sha256> {
        self.0.clone()
    }

    /// The signature of what `write` writes.
    pub(super) fn sign(&self, write: impl FnOnce(&mut dyn FnMut(&[u8]))) -> Signature {
        let mut code = self.start();
        write(&mut |piece| code.update(piece));
        Signature::of(code)
    }
}

/// A computed signature. It is compared in constant time and in no other way.
pub(super) struct Signature([u8; 32]);

/// Outcome of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Different,
}

impl Signature {
    pub(super) fn of(code: Hmac<Sha256>) -> Self {
        Self(code.finalize().into_bytes().into())
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Compares all 32 bytes whatever they are; a signature that was no hex is different from every one.
    pub(super) fn compare(&self, provided: Option<&[u8; 32]>) -> Comparison {
        let equal = self.0.ct_eq(provided.unwrap_or(&[0; 32]));
        if bool::from(equal) && provided.is_some() { Comparison::Equal } else { Comparison::Different }
    }
}

fn prepared(key: &[u8]) -> Hmac<Sha256> {
    match Hmac::new_from_slice(key) {
        Ok(code) => code,
        Err(_) => unreachable!("HMAC takes keys of every length"),
    }
}

fn step(key: &[u8], message: &str) -> Zeroizing<[u8; 32]> {
    let mut code = prepared(key);
    code.update(message.as_bytes());
    Zeroizing::new(code.finalize().into_bytes().into())
}

/// The signing keys that a core has used, per access key, day and region.
#[derive(Default)]
pub struct SigningKeys {
    by_access_key_id: HashMap<Box<str>, Vec<Entry>>,
}

struct Entry {
    day: Box<str>,
    region: Box<str>,
    secret: SecretMark,
    key: SigningKey,
}

impl SigningKeys {
    /// Scopes remembered an access key: two days around midnight in two regions.
    pub const SCOPES_MAX: usize = 4;
    /// Access keys remembered; beyond it all are forgotten, and deriving again costs four HMACs each.
    pub const ACCESS_KEYS_MAX: usize = 4096;

    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// The key of an access key and scope: remembered, or derived and not remembered yet.
    pub(super) fn find_or_derive(
        &self,
        access_key_id: &str,
        secret: &Secret,
        scope: &Scope<'_>,
    ) -> SigningKey {
        match self.find(access_key_id, secret, scope) {
            Some(entry) => entry.key.clone(),
            None => SigningKey::derive(secret, scope),
        }
    }

    /// Remembers a key that a signature has just been verified with, and the decoy's of the same scope.
    pub(super) fn remember(
        &mut self,
        access_key_id: &str,
        secret: &Secret,
        scope: &Scope<'_>,
        key: &SigningKey,
        decoy: &Secret,
    ) {
        if self.find(access_key_id, secret, scope).is_some() {
            return;
        }
        self.insert(access_key_id, secret, scope, key.clone());
        if self.find(DECOY_ID, decoy, scope).is_none() {
            self.insert(DECOY_ID, decoy, scope, SigningKey::derive(decoy, scope));
        }
    }

    fn find(&self, access_key_id: &str, secret: &Secret, scope: &Scope<'_>) -> Option<&Entry> {
        self.by_access_key_id.get(access_key_id)?.iter().find(|entry| {
            *entry.day == *scope.day && *entry.region == *scope.region && entry.secret.is_of(secret)
        })
    }

    fn insert(&mut self, access_key_id: &str, secret: &Secret, scope: &Scope<'_>, key: SigningKey) {
        if self.by_access_key_id.len() >= Self::ACCESS_KEYS_MAX {
            self.by_access_key_id.clear();
        }
        let entries = self.by_access_key_id.entry(access_key_id.into()).or_default();
        if entries.len() >= Self::SCOPES_MAX {
            // The oldest goes: yesterday's, or that of a secret that was replaced.
            entries.remove(0);
        }
        entries.push(Entry {
            day: scope.day.into(),
            region: scope.region.into(),
            secret: secret.mark(),
            key,
        });
    }
}

/// What the decoy's keys stand under; no credential has an empty access key id (scope.rs refuses it).
pub(super) const DECOY_ID: &str = "";

#[cfg(test)]
mod tests {
    use super::super::canonical::hex;
    use super::*;

    const SCOPE: Scope<'static> = Scope { day: "20120215", region: "us-east-1" };

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    fn proof(key: &SigningKey) -> [u8; 64] {
        hex(key.sign(|sink| sink(b"message")).bytes())
    }

    #[test]
    fn derivation_is_four_plain_hmacs() {
        let secret_text = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let mut key = format!("AWS4{secret_text}").into_bytes();
        for message in ["20120215", "us-east-1", "s3", "aws4_request", "message"] {
            let mut code = Hmac::<Sha256>::new_from_slice(&key).unwrap();
            code.update(message.as_bytes());
            key = code.finalize().into_bytes().to_vec();
        }
        assert_eq!(proof(&SigningKey::derive(&secret(secret_text), &SCOPE)), hex(&key.try_into().unwrap()));
    }

    #[test]
    fn comparison() {
        let key = SigningKey::derive(&secret("s"), &SCOPE);
        let signature = key.sign(|sink| sink(b"m"));
        assert_eq!(signature.compare(Some(&signature.bytes().clone())), Comparison::Equal);
        assert_eq!(signature.compare(None), Comparison::Different);
        assert_eq!(Signature([0; 32]).compare(None), Comparison::Different);
        for bit in 0..256 {
            let mut wrong = *signature.bytes();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(signature.compare(Some(&wrong)), Comparison::Different, "bit {bit}");
        }
    }

    #[test]
    fn a_replaced_secret_is_not_answered_from_the_cache() {
        let (old, new, decoy) = (secret("old"), secret("new"), secret("decoy"));
        let mut keys = SigningKeys::new();
        keys.remember("AKID", &old, &SCOPE, &SigningKey::derive(&old, &SCOPE), &decoy);
        assert_eq!(
            proof(&keys.find_or_derive("AKID", &old, &SCOPE)),
            proof(&SigningKey::derive(&old, &SCOPE))
        );
        assert_eq!(
            proof(&keys.find_or_derive("AKID", &new, &SCOPE)),
            proof(&SigningKey::derive(&new, &SCOPE))
        );
    }

    #[test]
    fn the_cache_is_bounded_and_keeps_what_is_used() {
        let (one, decoy) = (secret("one"), secret("decoy"));
        let mut keys = SigningKeys::new();
        let days: Vec<String> = (10..20).map(|day| format!("201202{day}")).collect();
        for day in &days {
            let scope = Scope { day, region: "r" };
            for _ in 0..2 {
                keys.remember("AKID", &one, &scope, &SigningKey::derive(&one, &scope), &decoy);
            }
        }
        for access_key_id in ["AKID", DECOY_ID] {
            let kept: Vec<&str> =
                keys.by_access_key_id[access_key_id].iter().map(|entry| &*entry.day).collect();
            assert_eq!(kept, ["20120216", "20120217", "20120218", "20120219"], "{access_key_id}");
        }
        let key = SigningKey::derive(&one, &SCOPE);
        for index in 0..SigningKeys::ACCESS_KEYS_MAX * 2 {
            keys.remember(&format!("AKID{index}"), &one, &SCOPE, &key, &decoy);
            assert!(keys.by_access_key_id.len() <= SigningKeys::ACCESS_KEYS_MAX);
        }
    }
}
