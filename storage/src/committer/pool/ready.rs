//! Which of many tasks are to be run: the wake and park protocol of the pool, without its threads.
//!
//! ```text
//!            wake, or its time            take                give back: idle, or at a time
//!   Idle ----------------------> Queued -------> Running ---------------------------------> Idle
//!                                  ^                | wake
//!                                  |                v
//!                                  '---------- Woken (give back, whatever it says)
//! ```
//! A task is in the queue exactly when it is `Queued`, so it is there at most once, and only one worker has it.
//!
//! **No wake-up is lost.** All of this is under one lock. A wake that comes while the task is `Idle` queues it; while it
//! is `Queued` it will be run from its beginning, after the wake; while it is `Running` it becomes `Woken`, and giving it
//! back queues it again. What the task looked at before it decided to sleep is guarded by the log's own lock (`park.rs`).
//!
//! **No queued task waits while a worker sleeps.** Every worker looks at the queue under the lock before it sleeps, and
//! each step that leaves something in the queue wakes a sleeper: a wake does, and so does a worker that takes one task and
//! leaves others. A notification that nobody receives was for a worker that had not gone to sleep yet, so it
//! looks.
//!
//! **No time is missed.** One idle worker is the *keeper*: it sleeps until the first time, the others sleep until they
//! are woken. Whoever sets an earlier time wakes the keeper; a keeper that goes to work wakes a sleeper, which finds that
//! there is no keeper. If nobody is idle, a worker is started, up to the limit; at the limit the first one that comes back
//! looks at the times first.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::clock;

/// Name of a task in its [`Ready`].
pub(crate) type Key = u64;

/// Workers that were not needed for this long are let go.
const SHRINK_EVERY: Duration = Duration::from_secs(1);

/// What a worker says of a task that it gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// It has more to do; others come first.
    Again,
    /// It is to be run at this time, or when it is woken.
    At(Instant),
    /// It is to be run when it is woken.
    Idle,
}

/// A task to run.
#[derive(Debug)]
pub(crate) struct Taken<T> {
    pub(crate) key: Key,
    pub(crate) task: T,
    /// Nobody is left to look after the others: one more worker is to be started. It is counted already.
    pub(crate) start_another: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Queued,
    Running,
    Woken,
}

#[derive(Debug)]
struct Slot<T> {
    state: State,
    timer: Option<Instant>,
    /// `None` while a worker has it.
    task: Option<T>,
}

/// How many workers there are, and may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Workers {
    pub(crate) least: usize,
    pub(crate) most: usize,
}

/// The tasks of a pool.
#[derive(Debug)]
pub(crate) struct Ready<T> {
    inner: Mutex<Inner<T>>,
    /// Where workers sleep that look after nothing.
    work: Condvar,
    /// Where the keeper sleeps.
    times: Condvar,
    /// Where [`Ready::close`] waits for the workers.
    gone: Condvar,
    limits: Workers,
}

#[derive(Debug)]
struct Inner<T> {
    slots: HashMap<Key, Slot<T>>,
    next_key: Key,
    queue: VecDeque<Key>,
    timers: BTreeSet<(Instant, Key)>,
    workers: usize,
    /// Workers without a task, those that are being started counted.
    idle: usize,
    /// Idle workers that sleep at `work`.
    asleep: usize,
    has_keeper: bool,
    /// The least that were idle at the same time since `shrink_at` was set: as many were not needed.
    least_idle: usize,
    /// When unneeded workers are let go.
    shrink_at: Option<Instant>,
    /// Workers to let go.
    surplus: usize,
    closing: bool,
}

impl<T> Ready<T> {
    /// No tasks, and `limits.least` workers that the caller starts.
    pub(crate) fn new(limits: Workers) -> Self {
        let inner = Inner {
            slots: HashMap::new(),
            next_key: 0,
            queue: VecDeque::new(),
            timers: BTreeSet::new(),
            workers: limits.least,
            idle: limits.least,
            asleep: 0,
            has_keeper: false,
            least_idle: 0,
            shrink_at: None,
            surplus: 0,
            closing: false,
        };
        Self { inner: Mutex::new(inner), work: Condvar::new(), times: Condvar::new(), gone: Condvar::new(), limits }
    }

    /// A name for a task to come, so that it can be known to those who will wake it before it runs.
    pub(crate) fn new_key(&self) -> Key {
        let mut inner = self.inner.lock();
        inner.next_key += 1;
        inner.next_key
    }

    /// Adds a task and queues it.
    pub(crate) fn add(&self, key: Key, task: T) {
        let mut inner = self.inner.lock();
        inner.slots.insert(key, Slot { state: State::Queued, timer: None, task: Some(task) });
        inner.queue.push_back(key);
        self.call_a_worker(&inner);
    }

    /// The task has something to do. Of one that is gone: nothing happens.
    pub(crate) fn wake(&self, key: Key) {
        let mut inner = self.inner.lock();
        let Some(slot) = inner.slots.get_mut(&key) else { return };
        match slot.state {
            State::Idle => {
                slot.state = State::Queued;
                inner.queue.push_back(key);
                self.call_a_worker(&inner);
            }
            State::Running => slot.state = State::Woken,
            State::Queued | State::Woken => {}
        }
    }

    /// The next task, as soon as there is one; `None` if this worker is to end.
    pub(crate) fn take(&self) -> Option<Taken<T>> {
        let mut inner = self.inner.lock();
        loop {
            inner.queue_what_is_due(clock::now());
            if let Some(taken) = self.take_queued(&mut inner) {
                return Some(taken);
            }
            if inner.closing || inner.surplus > 0 {
                inner.surplus = inner.surplus.saturating_sub(1);
                inner.workers -= 1;
                inner.idle -= 1;
                self.call_a_keeper(&inner);
                if inner.workers == 0 {
                    self.gone.notify_all();
                }
                return None;
            }
            self.sleep(&mut inner);
        }
    }

    fn take_queued(&self, inner: &mut Inner<T>) -> Option<Taken<T>> {
        loop {
            let key = inner.queue.pop_front()?;
            let Some(slot) = inner.slots.get_mut(&key) else { continue };
            let Some(task) = slot.task.take() else { continue };
            slot.state = State::Running;
            if let Some(at) = slot.timer.take() {
                inner.timers.remove(&(at, key));
            }
            inner.idle -= 1;
            inner.least_idle = inner.least_idle.min(inner.idle);
            let start_another = inner.idle == 0 && inner.workers < self.limits.most && !inner.closing;
            if start_another {
                inner.workers += 1;
                inner.idle += 1;
                inner.surplus = 0;
                if inner.shrink_at.is_none() {
                    inner.least_idle = 0;
                    inner.shrink_at = Some(clock::now() + SHRINK_EVERY);
                }
            } else if !inner.queue.is_empty() {
                self.call_a_worker(inner);
            } else {
                self.call_a_keeper(inner);
            }
            return Some(Taken { key, task, start_another });
        }
    }

    fn sleep(&self, inner: &mut MutexGuard<'_, Inner<T>>) {
        if inner.has_keeper {
            inner.asleep += 1;
            self.work.wait(inner);
            inner.asleep -= 1;
            return;
        }
        inner.has_keeper = true;
        let first = inner.timers.first().map(|&(at, _)| at);
        match first.into_iter().chain(inner.shrink_at).min() {
            Some(until) => {
                self.times.wait_until(inner, until);
            }
            None => self.times.wait(inner),
        }
        inner.has_keeper = false;
        let now = clock::now();
        if inner.shrink_at.is_some_and(|at| now >= at) {
            // One stays idle, so that a burst does not begin with starting a thread.
            let unneeded = inner.least_idle.saturating_sub(1);
            inner.surplus = unneeded.min(inner.workers.saturating_sub(self.limits.least));
            inner.least_idle = inner.idle;
            let more = inner.workers - inner.surplus > self.limits.least;
            inner.shrink_at = more.then(|| now + SHRINK_EVERY);
            for _ in 0..inner.surplus {
                self.work.notify_one();
            }
        }
    }

    /// Puts a task back that was taken.
    pub(crate) fn give_back(&self, key: Key, task: T, after: After) {
        let mut inner = self.inner.lock();
        inner.idle += 1;
        let Some(slot) = inner.slots.get_mut(&key) else { return };
        slot.task = Some(task);
        match after {
            _ if slot.state == State::Woken => {}
            After::Again => {}
            After::At(at) => {
                slot.state = State::Idle;
                slot.timer = Some(at);
                inner.timers.insert((at, key));
                if inner.has_keeper && inner.timers.first() == Some(&(at, key)) {
                    self.times.notify_one();
                }
                return;
            }
            After::Idle => {
                slot.state = State::Idle;
                return;
            }
        }
        // Whoever gives back looks at the queue next, so that nobody has to be called.
        slot.state = State::Queued;
        inner.queue.push_back(key);
    }

    /// Forgets a task that was taken: it has ended.
    pub(crate) fn remove(&self, key: Key) {
        let mut inner = self.inner.lock();
        inner.idle += 1;
        inner.slots.remove(&key);
    }

    /// The worker that [`Taken::start_another`] asked for could not be started.
    pub(crate) fn not_started(&self) {
        let mut inner = self.inner.lock();
        inner.workers -= 1;
        inner.idle -= 1;
        if inner.workers == 0 {
            self.gone.notify_all();
        }
    }

    /// Lets all workers end, and waits for them. Nothing is queued any more.
    pub(crate) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closing = true;
        self.work.notify_all();
        self.times.notify_all();
        while inner.workers > 0 {
            self.gone.wait(&mut inner);
        }
    }

    /// Workers there are now.
    pub(crate) fn workers(&self) -> usize {
        self.inner.lock().workers
    }

    /// Something is queued. If nobody sleeps, all who are idle are on their way to the queue.
    fn call_a_worker(&self, inner: &Inner<T>) {
        if inner.asleep > 0 {
            self.work.notify_one();
        } else if inner.has_keeper {
            self.times.notify_one();
        }
    }

    fn call_a_keeper(&self, inner: &Inner<T>) {
        if !inner.has_keeper && inner.asleep > 0 {
            self.work.notify_one();
        }
    }
}

impl<T> Inner<T> {
    fn queue_what_is_due(&mut self, now: Instant) {
        while let Some(&(at, key)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            slot.timer = None;
            if slot.state == State::Idle {
                slot.state = State::Queued;
                self.queue.push_back(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::*;

    const LIMITS: Workers = Workers { least: 2, most: 6 };

    /// A task that has done what was asked of it when `done` has reached `asked`.
    #[derive(Debug, Default)]
    struct Job {
        asked: AtomicU64,
        done: AtomicU64,
        running: AtomicBool,
    }

    fn worker(ready: &Arc<Ready<Arc<Job>>>) {
        let mut turn = 0_u64;
        while let Some(taken) = ready.take() {
            if taken.start_another {
                let ready = Arc::clone(ready);
                std::thread::spawn(move || worker(&ready));
            }
            let job = Arc::clone(&taken.task);
            assert!(!job.running.swap(true, Ordering::SeqCst), "two workers have the same task");
            // What was asked until now is done; what is asked from here on needs another turn.
            let asked = job.asked.load(Ordering::SeqCst);
            turn += 1;
            if turn.is_multiple_of(3) {
                std::thread::yield_now();
            }
            job.done.fetch_max(asked, Ordering::SeqCst);
            job.running.store(false, Ordering::SeqCst);
            let after = match turn % 4 {
                0 => After::At(clock::now() + Duration::from_micros(turn % 700)),
                1 => After::At(clock::now() + Duration::from_secs(3600)),
                2 => After::Again,
                _ => After::Idle,
            };
            ready.give_back(taken.key, taken.task, after);
        }
    }

    #[track_caller]
    fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
        let deadline = clock::now() + Duration::from_secs(20);
        while !is() {
            assert!(clock::now() < deadline, "{what}");
            std::thread::yield_now();
        }
    }

    type Jobs = Arc<Ready<Arc<Job>>>;

    fn start(tasks: u64) -> (Jobs, Vec<(Key, Arc<Job>)>) {
        let ready = Arc::new(Ready::new(LIMITS));
        for _ in 0..LIMITS.least {
            let ready = Arc::clone(&ready);
            std::thread::spawn(move || worker(&ready));
        }
        let jobs = (0..tasks).map(|_| (ready.new_key(), Arc::new(Job::default()))).collect::<Vec<_>>();
        for (key, job) in &jobs {
            ready.add(*key, Arc::clone(job));
        }
        (ready, jobs)
    }

    #[test]
    fn every_wake_is_followed_by_a_turn() {
        let (ready, jobs) = start(40);
        std::thread::scope(|scope| {
            for waker in 0..4_u64 {
                let (ready, jobs) = (&ready, &jobs);
                scope.spawn(move || {
                    let mut chance = crate::disk::sim::Chance::new(waker);
                    for _ in 0..4000 {
                        let (key, job) = &jobs[chance.below(40) as usize];
                        let asked = job.asked.fetch_add(1, Ordering::SeqCst) + 1;
                        ready.wake(*key);
                        if chance.percent(20) {
                            wait_until("a wake was lost", || job.done.load(Ordering::SeqCst) >= asked);
                        }
                    }
                });
            }
        });
        for (_, job) in &jobs {
            wait_until("a wake was lost", || job.done.load(Ordering::SeqCst) == job.asked.load(Ordering::SeqCst));
        }
        ready.close();
        assert_eq!(ready.workers(), 0);
    }

    fn queued(ready: &Ready<u64>) -> Vec<Key> {
        ready.inner.lock().queue.iter().copied().collect()
    }

    /// Takes what must be queued.
    #[track_caller]
    fn take(ready: &Ready<u64>, key: Key) -> u64 {
        assert_eq!(queued(ready).first(), Some(&key));
        ready.take().unwrap().task
    }

    #[test]
    fn a_time_is_kept_by_whoever_is_idle() {
        // As many as there may be, so that none is let go and looks at the times for another reason.
        let ready: Ready<u64> = Ready::new(Workers { least: 3, most: 3 });
        let (far, near) = (ready.new_key(), ready.new_key());
        ready.add(far, 1);
        ready.add(near, 2);
        let (a, b) = (take(&ready, far), take(&ready, near));
        ready.give_back(far, a, After::At(clock::now() + Duration::from_secs(3600)));
        std::thread::scope(|scope| {
            // It sleeps until the far time, and is told of the near one.
            let keeper = scope.spawn(|| ready.take().map(|taken| taken.key));
            wait_until("nobody keeps the time", || ready.inner.lock().has_keeper);
            ready.give_back(near, b, After::At(clock::now() + Duration::from_millis(5)));
            let deadline = clock::now() + Duration::from_secs(20);
            while !keeper.is_finished() && clock::now() < deadline {
                std::thread::yield_now();
            }
            let in_time = keeper.is_finished();
            // Lets it end also if the time was missed.
            ready.inner.lock().closing = true;
            ready.times.notify_all();
            assert_eq!((in_time, keeper.join().unwrap()), (true, Some(near)));
        });
    }

    #[test]
    fn sleepers_are_called_one_after_the_other() {
        let ready: Ready<u64> = Ready::new(Workers { least: 4, most: 4 });
        let keys: Vec<Key> = (0..3).map(|_| ready.new_key()).collect();
        for (&key, task) in keys.iter().zip(0..) {
            ready.add(key, task);
        }
        for &key in &keys {
            let task = take(&ready, key);
            ready.give_back(key, task, After::Idle);
        }
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..3).map(|_| scope.spawn(|| ready.take().map(|taken| taken.key))).collect();
            wait_until("they do not sleep", || {
                let inner = ready.inner.lock();
                inner.has_keeper && inner.asleep == 2
            });
            for &key in &keys {
                ready.wake(key);
            }
            let deadline = clock::now() + Duration::from_secs(20);
            while !workers.iter().all(|worker| worker.is_finished()) && clock::now() < deadline {
                std::thread::yield_now();
            }
            let left = queued(&ready);
            ready.inner.lock().closing = true;
            ready.times.notify_all();
            ready.work.notify_all();
            assert_eq!(left, [0; 0], "queued while workers sleep");
            let mut took: Vec<_> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
            took.sort_unstable();
            assert_eq!(took, keys.iter().copied().map(Some).collect::<Vec<_>>());
        });
    }

    #[test]
    fn a_task_that_is_woken_many_times_is_queued_once_and_goes_behind_the_others() {
        let ready: Ready<u64> = Ready::new(LIMITS);
        let keys = [ready.new_key(), ready.new_key()];
        ready.add(keys[0], 0);
        ready.add(keys[1], 1);
        for _ in 0..3 {
            ready.wake(keys[0]);
        }
        assert_eq!(queued(&ready), keys);
        let first = take(&ready, keys[0]);
        for _ in 0..3 {
            ready.wake(keys[0]);
        }
        ready.give_back(keys[0], first, After::Idle);
        assert_eq!(queued(&ready), [keys[1], keys[0]], "woken while it ran");
        let second = take(&ready, keys[1]);
        ready.give_back(keys[1], second, After::Again);
        assert_eq!(queued(&ready), keys, "others come first");
        let first = take(&ready, keys[0]);
        ready.give_back(keys[0], first, After::Idle);
        assert_eq!(queued(&ready), [keys[1]]);
        // One that is gone is not run, and waking it is nothing.
        take(&ready, keys[1]);
        ready.remove(keys[1]);
        ready.wake(keys[1]);
        assert_eq!(queued(&ready), [0; 0]);
    }
}
