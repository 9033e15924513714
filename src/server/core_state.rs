//! What one core of the server keeps: its tree, its caches, its numbers and its open connections.
//!
//! Nothing here is shared with another core but snapshots behind `Arc`. It serves nothing by itself.
//! Source: ARCHITECTURE.md, "Floors".

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use uring::net::Socket;

use crate::auth::authenticate::Rules;
use crate::auth::credential::Credentials;
use crate::auth::signing_key::SigningKeys;
use crate::ops::call::Service;
use crate::ops::pace::Pace;
use crate::server::access_log::AccessLog;
use crate::server::config::{BODY_RATE_WINDOW_MS, Config};
use crate::server::metrics::CoreMetrics;

/// The times a connection may take.
#[derive(Clone, Copy)]
pub struct Patience {
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// Between requests.
    pub idle: Duration,
    /// How slow a body may be, either way.
    pub pace: Pace,
}

impl Patience {
    /// The times of a configuration.
    pub fn of(config: &Config) -> Patience {
        Patience {
            head: Duration::from_millis(config.limits.header_timeout_ms),
            idle: Duration::from_millis(config.limits.idle_timeout_ms),
            pace: Pace {
                bytes_per_s_min: config.limits.body_rate_min_bytes_per_s,
                window: Duration::from_millis(BODY_RATE_WINDOW_MS),
            },
        }
    }
}

/// One core's state.
pub struct CoreState {
    /// What operations are given.
    pub service: Service,
    /// Who may call.
    pub credentials: Arc<Credentials>,
    /// What signatures have to be like.
    pub rules: Rules,
    /// Domains under which a bucket may be the host name.
    pub domains: Vec<String>,
    /// Derived signing keys.
    pub signing_keys: RefCell<SigningKeys>,
    /// How long things may take.
    pub patience: Patience,
    /// This core's numbers.
    pub metrics: Arc<CoreMetrics>,
    /// Where request lines go, when they are wanted.
    pub access_log: Option<RefCell<AccessLog>>,
    /// Memory that plain calls receive into and read files into, never held across a wait.
    pub scratch: RefCell<Box<[u8]>>,
    /// The open connections.
    pub connections: Connections,
    next_request: Cell<u64>,
    // Random at start, so that ids of two runs or two cores never meet.
    request_seed: u64,
}

/// The size of the scratch memory: a whole request head, and a file body small enough to go out with its head.
pub const SCRATCH_BYTES: usize = 64 * 1024;

impl CoreState {
    /// The state of a core that starts now.
    pub fn new(
        service: Service,
        credentials: Arc<Credentials>,
        rules: Rules,
        config: &Config,
        metrics: Arc<CoreMetrics>,
        access_log: Option<AccessLog>,
    ) -> Rc<CoreState> {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).expect("the kernel's randomness never fails after boot");
        Rc::new(CoreState {
            service,
            credentials,
            rules,
            domains: config.domains.iter().map(|domain| domain.as_str().to_owned()).collect(),
            signing_keys: RefCell::new(SigningKeys::new()),
            patience: Patience::of(config),
            metrics,
            access_log: access_log.map(RefCell::new),
            scratch: RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice()),
            connections: Connections::default(),
            next_request: Cell::new(0),
            request_seed: u64::from_ne_bytes(seed),
        })
    }

    /// A new request id: 16 upper-case hex digits, as S3's are.
    pub fn next_request_id(&self) -> String {
        let number = self.next_request.get();
        self.next_request.set(number.wrapping_add(1));
        // An odd factor permutes the numbers, so ids differ for 2^64 requests.
        let mixed = self.request_seed.wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        format!("{mixed:016X}")
    }
}

/// The open connections of a core.
#[derive(Default)]
pub struct Connections {
    open: RefCell<HashMap<u64, Open>>,
    next: Cell<u64>,
    is_draining: Cell<bool>,
    // Who wants to know when one closes.
    on_close: RefCell<Option<Waker>>,
}

struct Open {
    socket: Socket,
    is_idle: bool,
}

impl Connections {
    /// Adds a connection and returns its number.
    pub fn add(&self, socket: &Socket) -> u64 {
        let number = self.next.get();
        self.next.set(number + 1);
        self.open.borrow_mut().insert(number, Open { socket: socket.clone(), is_idle: true });
        number
    }

    /// Forgets a connection.
    pub fn remove(&self, number: u64) {
        self.open.borrow_mut().remove(&number);
        if let Some(waker) = self.on_close.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Wakes `waker` when the next connection closes.
    pub fn wake_on_close(&self, waker: &Waker) {
        *self.on_close.borrow_mut() = Some(waker.clone());
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.open.borrow().len()
    }

    /// Says that a connection waits for a request; while draining that ends it.
    pub fn set_idle(&self, number: u64) {
        if let Some(open) = self.open.borrow_mut().get_mut(&number) {
            open.is_idle = true;
            if self.is_draining.get() {
                open.socket.shutdown();
            }
        }
    }

    /// Says that a connection serves a request.
    pub fn set_busy(&self, number: u64) {
        if let Some(open) = self.open.borrow_mut().get_mut(&number) {
            open.is_idle = false;
        }
    }

    /// Whether connections end with the request they serve.
    pub fn is_draining(&self) -> bool {
        self.is_draining.get()
    }

    /// Ends idle connections now and the others with their request.
    pub fn drain(&self) {
        self.is_draining.set(true);
        for open in self.open.borrow().values().filter(|open| open.is_idle) {
            open.socket.shutdown();
        }
    }
}
