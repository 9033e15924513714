//! The two engines behind one name, and the choice between them at start-up.
//!
//! `submit`, `cancel` and `turn` are the only places where the engines are told apart. The choice is made once for
//! the process by trying, never from a kernel version. Source: io_uring_setup(2), errors EPERM and ENOSYS.

use std::fmt;
use std::time::Duration;

use crate::arena::Arena;
use crate::cores::{Core, StartError, Wait};
use crate::errno::Errno;
use crate::file;
use crate::lane::{Place, Workers};
use crate::mailbox::Mailbox;
use crate::op::Op;
use crate::ring::{self, Ring};
use crate::shortage::Shortage;
use crate::slot::Token;
use crate::stat;
use crate::threads::Threads;

/// What the operator asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Choice {
    /// The ring where the kernel allows it, else threads.
    #[default]
    Auto,
    /// The ring or nothing.
    IoUring,
    /// Threads, even where the ring works.
    Threads,
}

/// The engine that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// One io_uring a core.
    IoUring,
    /// epoll and a pool of threads.
    Threads,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Name::IoUring => "io_uring",
            Name::Threads => "threads",
        })
    }
}

/// Why an engine cannot be used, with the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no io_uring for this process, or not enough of it for each core.
    Ring(Errno),
    /// There is no `openat2`, which keeps a path below its directory. The ring has an opcode for it.
    Open(Errno),
    /// There is no `statx`, or none that tells mounts apart. Both engines call it.
    Stat(Errno),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Ring(errno) => Refusal::fmt_ring(*errno, f),
            Refusal::Open(errno) => Refusal::fmt_call("openat2", "5.6", *errno, f),
            Refusal::Stat(errno) => Refusal::fmt_call("statx", "5.8", *errno, f),
        }
    }
}

impl Refusal {
    fn fmt_call(call: &str, kernel: &str, errno: Errno, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{call} is refused here ({errno}): the kernel is older than Linux {kernel}, or a container's seccomp \
             profile forbids it; use a newer kernel, a newer container runtime, or a profile that allows {call} \
             (docker: --security-opt seccomp=PROFILE)"
        )
    }

    fn fmt_ring(errno: Errno, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "io_uring is refused here ({errno}): ")?;
        f.write_str(match errno {
            Errno::PERM | Errno::ACCES => {
                "a container's seccomp profile or the sysctl kernel.io_uring_disabled forbids it; allow the io_uring_* \
                 system calls (docker: --security-opt seccomp=PROFILE) or set kernel.io_uring_disabled=0"
            }
            Errno::NOSYS => {
                "the kernel or its seccomp profile has no io_uring with the opcodes of Linux 6.1; use a newer kernel \
                 or allow the io_uring_* system calls"
            }
            Errno::INVAL => "the kernel is older than Linux 6.1; use a newer one",
            Errno::NOMEM => "RLIMIT_MEMLOCK is too small; raise it (systemd: LimitMEMLOCK=infinity)",
            _ => "the kernel gave no further reason",
        })
    }
}

impl std::error::Error for Refusal {}

/// Chooses the engine by trying to open a ring.
///
/// Errors: `Refusal` when the ring was demanded and cannot be had, or when no engine will do. With `Auto` the refusal of
/// the ring is returned beside the choice, for the log.
pub fn choose(choice: Choice) -> Result<(Name, Option<Refusal>), Refusal> {
    stat::try_call().map_err(Refusal::Stat)?;
    let refused = match choice {
        Choice::Threads => None,
        Choice::Auto | Choice::IoUring => match ring::try_open() {
            Ok(()) => return Ok((Name::IoUring, None)),
            Err(errno) if choice == Choice::Auto => Some(Refusal::Ring(errno)),
            Err(errno) => return Err(Refusal::Ring(errno)),
        },
    };
    file::try_open().map_err(Refusal::Open)?;
    Ok((Name::Threads, refused))
}

/// The engine of one core.
pub(crate) enum Engine {
    Ring(Box<Ring>),
    Threads(Threads),
}

impl Engine {
    pub(crate) fn open(
        name: Name,
        arena: &Arena,
        mailbox: &Mailbox,
        shortages: &mut Vec<Shortage>,
    ) -> Result<Engine, StartError> {
        match name {
            Name::IoUring => {
                let ring = Ring::open(arena, shortages);
                let ring = ring.map_err(|errno| StartError::Engine(Refusal::Ring(errno)))?;
                Ok(Engine::Ring(Box::new(ring)))
            }
            Name::Threads => Ok(Engine::Threads(Threads::open(mailbox)?)),
        }
    }

    pub(crate) fn name(&self) -> Name {
        match self {
            Engine::Ring(_) => Name::IoUring,
            Engine::Threads(_) => Name::Threads,
        }
    }

    /// Does what has to be done on the core's thread before the first turn.
    pub(crate) fn start(&self, core: &Core) {
        match self {
            Engine::Ring(ring) => ring.watch_mailbox(core),
            Engine::Threads(_) => {}
        }
    }

    /// Where an operation counts that may hold a thread; what waits for a socket holds none.
    pub(crate) fn place(&self, op: &Op) -> Option<Place> {
        let lane = op.lane()?;
        match self {
            Engine::Ring(ring) => ring.workers(op).map(|workers| Place { lane, workers, act: op.act() }),
            Engine::Threads(_) => Some(Place { lane, workers: Workers::Pool, act: op.act() }),
        }
    }

    pub(crate) fn submit(&self, core: &Core, token: Token) {
        match self {
            Engine::Ring(ring) => ring.submit(core, token),
            Engine::Threads(threads) => threads.submit(core, token),
        }
    }

    pub(crate) fn cancel(&self, core: &Core, token: Token) {
        match self {
            Engine::Ring(ring) => ring.cancel(core, token),
            Engine::Threads(threads) => threads.cancel(core, token),
        }
    }

    /// Enters the kernel and takes in what has happened; says how long it waited.
    pub(crate) fn turn(&self, core: &Core, wait: Wait) -> Duration {
        match self {
            Engine::Ring(ring) => ring.turn(core, wait),
            Engine::Threads(threads) => threads.turn(core, wait),
        }
    }
}
