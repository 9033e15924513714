//! From start to end of a server as a pure state machine: what happened goes in, what to do comes out.
//! It reads no clock, catches no signal and knows no thread; the control thread does, and carries out the actions.
//! A core drains first and keeps answering the others until all have drained: only then it is stopped.

/// Where the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not every core has said that it is ready.
    Starting,
    /// All cores serve.
    Serving,
    /// No new connection; requests in flight finish.
    Draining,
    /// Cores were told to end; what still ran is cut.
    Stopping,
    /// All is over.
    Ended,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// That core listens.
    CoreReady(usize),
    /// That core has no connection left.
    CoreDrained(usize),
    /// That core's thread is at its end.
    CoreEnded(usize, Ending),
    /// SIGTERM or SIGINT.
    StopSignal,
    /// A time that an action started is over.
    DeadlinePassed(Deadline),
}

/// How a core's thread ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was told to stop and did.
    Done,
    /// It could not start, or a broken invariant ended it.
    Failed,
}

/// Which time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// Requests in flight had until then.
    Drain,
    /// Cores that were told to end had until then.
    Stop,
}

/// What the control thread does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Wait,
    /// Say that the server is ready.
    Announce,
    /// Send Drain to every core and start the drain deadline.
    Drain,
    /// Send Stop to every core and start the stop deadline.
    Stop,
    /// End, with this outcome.
    Finish(Outcome),
}

/// How the server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every request in flight got its answer.
    Drained,
    /// The second signal or a deadline cut what still ran.
    Cut,
    /// A core failed.
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Core {
    Starting,
    Ready,
    Drained,
    Ended,
}

/// The state machine of one server.
#[derive(Debug)]
pub struct Lifecycle {
    state: State,
    cores: Vec<Core>,
    /// What Finish will say. INVARIANT: once Failed it stays Failed.
    outcome: Outcome,
}

impl Lifecycle {
    /// A server whose `cores_count` cores are starting.
    pub fn new(cores_count: usize) -> Lifecycle {
        assert!(cores_count > 0, "a server without cores would be ready at once and serve nothing");
        Lifecycle {
            state: State::Starting,
            cores: vec![Core::Starting; cores_count],
            outcome: Outcome::Drained,
        }
    }

    /// Where the server is now.
    pub fn state(&self) -> State {
        self.state
    }

    /// Takes one event and says what to do.
    pub fn step(&mut self, event: Event) -> Action {
        match event {
            Event::CoreReady(core) => self.core_ready(core),
            Event::CoreDrained(core) => self.core_drained(core),
            Event::CoreEnded(core, ending) => self.core_ended(core, ending),
            Event::StopSignal => self.stop_signal(),
            Event::DeadlinePassed(deadline) => self.deadline_passed(deadline),
        }
    }

    fn core_ready(&mut self, core: usize) -> Action {
        assert_eq!(self.cores[core], Core::Starting, "core {core} is ready once");
        self.cores[core] = Core::Ready;
        // A signal may have come first: a core that becomes ready late finds Drain in its queue.
        if self.state == State::Starting && self.all(Core::Ready) {
            self.state = State::Serving;
            return Action::Announce;
        }
        Action::Wait
    }

    fn core_drained(&mut self, core: usize) -> Action {
        assert_eq!(self.cores[core], Core::Ready, "core {core} drains once, after it was ready");
        self.cores[core] = Core::Drained;
        if self.state == State::Draining && self.all(Core::Drained) {
            return self.stop(Outcome::Drained);
        }
        Action::Wait
    }

    fn core_ended(&mut self, core: usize, ending: Ending) -> Action {
        assert_ne!(self.cores[core], Core::Ended, "core {core} ends once");
        self.cores[core] = Core::Ended;
        let unasked = matches!(self.state, State::Starting | State::Serving | State::Draining);
        if unasked || ending == Ending::Failed {
            self.outcome = Outcome::Failed;
        }
        if unasked {
            // The other cores could serve on, but the kernel would keep giving connections to the dead one's socket,
            // and whoever watches the process would see it alive.
            return self.stop(Outcome::Failed);
        }
        if self.state == State::Stopping && self.all(Core::Ended) { self.finish() } else { Action::Wait }
    }

    fn stop_signal(&mut self) -> Action {
        match self.state {
            State::Starting | State::Serving => {
                self.state = State::Draining;
                Action::Drain
            }
            State::Draining => self.stop(Outcome::Cut),
            // The third: a core hangs in the kernel, and the operator does not want to wait for the deadline.
            State::Stopping => self.abandon(),
            State::Ended => Action::Wait,
        }
    }

    fn deadline_passed(&mut self, deadline: Deadline) -> Action {
        match deadline {
            Deadline::Drain if self.state == State::Draining => self.stop(Outcome::Cut),
            Deadline::Stop if self.state == State::Stopping => self.abandon(),
            // It was overtaken by what it was set for.
            Deadline::Drain | Deadline::Stop => Action::Wait,
        }
    }

    fn stop(&mut self, outcome: Outcome) -> Action {
        self.state = State::Stopping;
        if self.outcome != Outcome::Failed {
            self.outcome = outcome;
        }
        // With one core that failed there is nobody left to stop and no event to come.
        if self.all(Core::Ended) { self.finish() } else { Action::Stop }
    }

    fn abandon(&mut self) -> Action {
        if self.outcome == Outcome::Drained {
            self.outcome = Outcome::Cut;
        }
        self.finish()
    }

    fn finish(&mut self) -> Action {
        self.state = State::Ended;
        Action::Finish(self.outcome)
    }

    fn all(&self, wanted: Core) -> bool {
        self.cores.iter().all(|core| *core == wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Event::{CoreDrained, CoreEnded, CoreReady, DeadlinePassed, StopSignal};

    /// Two cores; each event with the action it must bring.
    fn check(name: &str, steps: &[(Event, Action)], want: State) {
        let mut lifecycle = Lifecycle::new(2);
        for (index, (event, action)) in steps.iter().enumerate() {
            assert_eq!(lifecycle.step(*event), *action, "{name}, step {index}: {event:?}");
        }
        assert_eq!(lifecycle.state(), want, "{name}");
    }

    const STARTED: [(Event, Action); 2] = [(CoreReady(1), Action::Wait), (CoreReady(0), Action::Announce)];

    fn after_start(steps: &[(Event, Action)]) -> Vec<(Event, Action)> {
        [&STARTED, steps].concat()
    }

    fn done(core: usize) -> Event {
        CoreEnded(core, Ending::Done)
    }

    fn failed(core: usize) -> Event {
        CoreEnded(core, Ending::Failed)
    }

    #[test]
    fn drains_and_ends() {
        check("started", &STARTED, State::Serving);
        let steps = [
            (StopSignal, Action::Drain),
            (CoreDrained(0), Action::Wait),
            (CoreDrained(1), Action::Stop),
            (DeadlinePassed(Deadline::Drain), Action::Wait),
            (done(1), Action::Wait),
            (done(0), Action::Finish(Outcome::Drained)),
            (StopSignal, Action::Wait),
            (DeadlinePassed(Deadline::Stop), Action::Wait),
        ];
        check("drained", &after_start(&steps), State::Ended);
        check("draining", &after_start(&steps[..2]), State::Draining);
    }

    #[test]
    fn is_cut_by_the_second_signal_or_the_deadline() {
        for cut in [StopSignal, DeadlinePassed(Deadline::Drain)] {
            let steps = [
                (StopSignal, Action::Drain),
                (CoreDrained(0), Action::Wait),
                (cut, Action::Stop),
                (CoreDrained(1), Action::Wait),
                (done(0), Action::Wait),
                (done(1), Action::Finish(Outcome::Cut)),
            ];
            check("cut", &after_start(&steps), State::Ended);
        }
    }

    #[test]
    fn a_core_that_hangs_is_left_behind() {
        for end in [StopSignal, DeadlinePassed(Deadline::Stop)] {
            let steps = [
                (StopSignal, Action::Drain),
                (CoreDrained(0), Action::Wait),
                (CoreDrained(1), Action::Stop),
                (done(0), Action::Wait),
                (end, Action::Finish(Outcome::Cut)),
                (done(1), Action::Wait),
            ];
            check("left behind", &after_start(&steps), State::Ended);
        }
    }

    #[test]
    fn a_failed_core_ends_the_server() {
        let steps = [(failed(0), Action::Stop), (done(1), Action::Finish(Outcome::Failed))];
        check("while serving", &after_start(&steps), State::Ended);
        check("while starting", &steps, State::Ended);
        let unasked = [(done(0), Action::Stop), (done(1), Action::Finish(Outcome::Failed))];
        check("ended unasked", &after_start(&unasked), State::Ended);
        let draining = [
            (StopSignal, Action::Drain),
            (failed(0), Action::Stop),
            (StopSignal, Action::Finish(Outcome::Failed)),
        ];
        check("while draining", &after_start(&draining), State::Ended);
        let stopping = [
            (StopSignal, Action::Drain),
            (StopSignal, Action::Stop),
            (failed(0), Action::Wait),
            (done(1), Action::Finish(Outcome::Failed)),
        ];
        check("while stopping", &after_start(&stopping), State::Ended);
        let mut alone = Lifecycle::new(1);
        assert_eq!(alone.step(failed(0)), Action::Finish(Outcome::Failed));
    }

    #[test]
    fn a_signal_before_ready_drains() {
        let steps = [
            (CoreReady(0), Action::Wait),
            (StopSignal, Action::Drain),
            (CoreDrained(0), Action::Wait),
            (CoreReady(1), Action::Wait),
            (CoreDrained(1), Action::Stop),
        ];
        check("early signal", &steps, State::Stopping);
    }
}
