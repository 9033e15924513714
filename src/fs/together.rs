//! Several futures of one task at once, so that the kernel works on many operations of one request.
//!
//! The results come in the order of the futures. It bounds nothing: whoever calls says how many it starts.
//! Nothing runs on another thread; dropping it drops every future that has not finished.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// Runs all futures until each has its result.
pub async fn together<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<Option<Pin<Box<F>>>> =
        futures.into_iter().map(|future| Some(Box::pin(future))).collect();
    let mut results: Vec<Option<F::Output>> = waiting.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, result) in waiting.iter_mut().zip(&mut results) {
            let Some(running) = future else { continue };
            if let Poll::Ready(output) = running.as_mut().poll(context) {
                *result = Some(output);
                *future = None;
            }
        }
        if results.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    results.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::task::{Context, Waker};

    /// A future that is ready after being polled a number of times.
    async fn after(polls: usize, live: &Cell<usize>) -> usize {
        live.set(live.get() + 1);
        let mut left = polls;
        poll_fn(|_| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            Poll::Pending
        })
        .await;
        live.set(live.get() - 1);
        polls
    }

    #[test]
    fn results_come_in_the_order_of_the_futures() {
        let live = Cell::new(0);
        let mut all = Box::pin(together([3, 0, 2, 1].map(|polls| after(polls, &live))));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(all.as_mut().poll(&mut context).is_pending());
            assert!(live.get() > 0);
        }
        assert_eq!(all.as_mut().poll(&mut context), Poll::Ready(vec![3, 0, 2, 1]));
        assert_eq!(live.get(), 0);
    }

    #[test]
    fn no_futures_are_done_at_once() {
        let mut none = Box::pin(together(Vec::<std::future::Ready<()>>::new()));
        assert_eq!(none.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Vec::new()));
    }
}
