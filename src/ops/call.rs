//! A request on its way through an operation: who calls, what is asked, and the tree it is asked of.
//!
//! A `Call` can be built from an `Authenticated` request only, and every operation wants one. It holds no body: what
//! reads bodies is `incoming::Incoming`, which wants the same. It decides nothing.

use std::rc::Rc;

use uring::identity::Identity;

use crate::auth::authenticate::{AuthMode, Authenticated, RegionRule};
use crate::auth::credential::Caller;
use crate::fs::path::{self, KeyPath};
use crate::fs::tree::Tree;
use crate::http::head::RequestHead;
use crate::ops::memory::Memory;
use crate::s3::error::S3Error;
use crate::s3::names::{BucketName, ObjectKey};
use crate::s3::query::Query;
use crate::s3::route::Route;

/// What does not change from request to request.
pub struct Service {
    /// The served tree.
    pub tree: Rc<Tree>,
    /// The region that GetBucketLocation and HeadBucket carry.
    pub region: String,
    /// Which regions requests may speak of.
    pub region_rule: RegionRule,
    /// What the ETag of an object that was put in one piece is.
    pub etags: Etags,
    /// This core's memory for documents.
    pub memory: Rc<Memory>,
}

/// What ETags are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Etags {
    /// The MD5 of the bytes.
    Md5,
    /// Random, in the synthetic form.
    Opaque,
}

/// One authenticated request.
pub struct Call<'a> {
    /// The server's side.
    pub service: &'a Service,
    /// The request head.
    pub head: &'a RequestHead,
    /// Operation, target and parameters.
    pub route: &'a Route,
    /// The wall clock when the head was complete. Units: nanoseconds since 1970.
    pub now_unix_ns: u64,
    authenticated: &'a Authenticated,
}

impl<'a> Call<'a> {
    /// Makes the call of an authenticated request.
    pub fn new(
        service: &'a Service,
        authenticated: &'a Authenticated,
        head: &'a RequestHead,
        route: &'a Route,
        now_unix_ns: u64,
    ) -> Call<'a> {
        Call { service, head, route, now_unix_ns, authenticated }
    }

    /// Who calls.
    pub fn caller(&self) -> &Caller {
        self.authenticated.caller()
    }

    /// The parameters of a presigned URL, which stand for headers too.
    pub fn presigned(&self) -> Option<&'a Query> {
        match self.authenticated.mode() {
            AuthMode::Query => Some(&self.route.query),
            AuthMode::Header => None,
        }
    }

    /// The POSIX identity the kernel checks: the server's own, for its root user.
    pub fn identity(&self) -> Identity {
        Identity::SERVER
    }

    /// The served tree.
    pub fn tree(&self) -> &'a Tree {
        &self.service.tree
    }

    /// The wall clock in whole seconds.
    pub fn now_unix_s(&self) -> i64 {
        (self.now_unix_ns / 1_000_000_000) as i64
    }

    /// The bucket of an operation that has one.
    pub fn bucket(&self) -> Result<&BucketName, S3Error> {
        self.route.target.named_bucket()
    }

    /// The key of an operation that has one.
    pub fn key(&self) -> Result<&ObjectKey, S3Error> {
        self.route.target.named_key()
    }

    /// The path of the key an object is to be written to.
    ///
    /// Errors: InvalidArgument naming the rule that the key breaks.
    pub fn path_to_write(&self) -> Result<KeyPath, S3Error> {
        path::of(self.key()?).map_err(S3Error::from)
    }

    /// The path of the key an object is to be read from; `None` when no object can have such a key.
    pub fn path_to_read(&self) -> Result<Option<KeyPath>, S3Error> {
        Ok(path::of(self.key()?).ok())
    }
}
