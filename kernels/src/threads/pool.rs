//! A persistent pool of native threads that spin shortly for the next job, then park.
//!
//! A decode step runs hundreds of jobs of tens of microseconds each; waking parked threads for
//! every one would cost more than the work, so a worker spins for a while before it parks.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, Thread};

use super::Parallel;

/// How often a thread looks again before it gives its core away (about a hundred microseconds).
const SPINS: u32 = 2_000;

/// A fixed number of threads, the calling one counted. Dropping the pool ends them.
pub struct ThreadPool {
    state: Arc<State>,
    workers: Vec<JoinHandle<()>>,
    /// Held for a whole `run`: callers on several threads take turns.
    turn: Mutex<()>,
}

#[derive(Clone, Copy)]
struct Job {
    task: *const (dyn Fn(usize) + Sync),
    tasks: usize,
}

struct State {
    /// Written only while no worker is busy; read by workers after they saw `epoch` change.
    job: std::cell::UnsafeCell<Option<Job>>,
    /// Grows by one with each job.
    epoch: AtomicUsize,
    next: AtomicUsize,
    /// Workers that have not finished the current job.
    busy: AtomicUsize,
    closing: AtomicBool,
    panic: Mutex<Option<Box<dyn std::any::Any + Send>>>,
}

// `job` is handed over by `epoch` (release/acquire) and not written while `busy` is not zero.
unsafe impl Sync for State {}
unsafe impl Send for State {}

impl ThreadPool {
    /// A pool in which `threads` threads work on a job: the one that calls `run` and `threads - 1`
    /// of the pool's own. Fewer are used where the system refuses to start that many.
    pub fn new(threads: usize) -> ThreadPool {
        let state = Arc::new(State {
            job: std::cell::UnsafeCell::new(None),
            epoch: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            panic: Mutex::new(None),
        });
        let mut workers = Vec::new();
        for i in 1..threads.max(1) {
            let state = Arc::clone(&state);
            let started = thread::Builder::new()
                .name(format!("kernel-{i}"))
                .spawn(move || state.work());
            match started {
                Ok(worker) => workers.push(worker),
                Err(_) => break,
            }
        }
        ThreadPool {
            state,
            workers,
            turn: Mutex::new(()),
        }
    }

    /// As many threads as the machine runs at the same time.
    pub fn for_this_machine() -> ThreadPool {
        ThreadPool::new(thread::available_parallelism().map_or(1, usize::from))
    }

    fn wake(&self) {
        for thread in self.workers.iter().map(JoinHandle::thread) {
            Thread::unpark(thread);
        }
    }
}

impl State {
    fn work(&self) {
        let mut seen = 0;
        loop {
            let mut spins = 0;
            while self.epoch.load(Acquire) == seen {
                if spins < SPINS {
                    spins += 1;
                    std::hint::spin_loop();
                } else {
                    thread::park();
                }
            }
            seen += 1;
            if self.closing.load(Acquire) {
                return;
            }
            // The epoch changed after the job was written, and it stays until `busy` is zero.
            if let Some(job) = unsafe { *self.job.get() } {
                self.take_tasks(job);
            }
            self.busy.fetch_sub(1, Release);
        }
    }

    fn take_tasks(&self, job: Job) {
        let run = || {
            // The caller of `run` keeps the closure alive until `busy` is zero.
            let task = unsafe { &*job.task };
            loop {
                let i = self.next.fetch_add(1, Relaxed);
                if i >= job.tasks {
                    break;
                }
                task(i);
            }
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
            self.next.store(job.tasks, Relaxed);
            *self.panic.lock().unwrap_or_else(|e| e.into_inner()) = Some(panic);
        }
    }
}

impl Parallel for ThreadPool {
    fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        if tasks <= 1 || self.workers.is_empty() {
            (0..tasks).for_each(task);
            return;
        }
        let _turn = self.turn.lock().unwrap_or_else(|e| e.into_inner());
        let state = &*self.state;
        // The closure outlives the job: this function returns only when no worker is busy with it.
        let task: *const (dyn Fn(usize) + Sync) =
            unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), _>(task) };
        let job = Job { task, tasks };
        unsafe { *state.job.get() = Some(job) };
        state.next.store(0, Relaxed);
        state.busy.store(self.workers.len(), Relaxed);
        state.epoch.fetch_add(1, Release);
        self.wake();
        state.take_tasks(job);
        let mut spins = 0;
        while state.busy.load(Acquire) != 0 {
            if spins < SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
        let panic = state.panic.lock().unwrap_or_else(|e| e.into_inner()).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.state.closing.store(true, Release);
        self.state.epoch.fetch_add(1, Release);
        self.wake();
        for worker in self.workers.drain(..) {
            // A worker catches what its tasks panic with, so it ends without a panic of its own.
            let _ = worker.join();
        }
    }
}

impl std::fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ThreadPool({} threads)", self.threads())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once() {
        let pool = ThreadPool::new(3);
        assert_eq!(pool.threads(), 3);
        for tasks in [0, 1, 2, 3, 17, 100] {
            for _ in 0..20 {
                let ran: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                pool.run(tasks, &|i| {
                    ran[i].fetch_add(1, Relaxed);
                });
                assert!(ran.iter().all(|n| n.load(Relaxed) == 1));
            }
        }
    }

    #[test]
    fn parked_workers_wake_up() {
        let pool = ThreadPool::new(2);
        let sum = AtomicUsize::new(0);
        for _ in 0..3 {
            thread::sleep(std::time::Duration::from_millis(20));
            pool.run(10, &|i| {
                sum.fetch_add(i, Relaxed);
            });
        }
        assert_eq!(sum.load(Relaxed), 135);
    }

    #[test]
    fn a_panic_in_a_task_reaches_the_caller_and_the_pool_lives_on() {
        let pool = ThreadPool::new(2);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            pool.run(8, &|i| assert!(i != 5, "task five"));
        }));
        assert!(caught.is_err());
        let sum = AtomicUsize::new(0);
        pool.run(8, &|i| {
            sum.fetch_add(i, Relaxed);
        });
        assert_eq!(sum.load(Relaxed), 28);
    }
}
