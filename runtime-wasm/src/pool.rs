//! The pool of wasm threads: workers over one shared memory that enter [`pool_work`] and stay in it.
//!
//! JavaScript starts the workers, as wasm itself cannot: `createPool` makes the state, each worker
//! instantiates the module over the same memory and calls `poolWork` with the state's address. A
//! decode step runs hundreds of jobs of tens of microseconds, so workers spin for a while before they
//! sleep. Only the standard library's locks are used, which are futexes in a build with atomics.

use std::cell::UnsafeCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::*};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use fewbit_engine::backend::cpu::threads::Parallel;
use wasm_bindgen::prelude::*;

use crate::panic::has_panicked;

/// How often a thread looks again before it sleeps: about a hundred microseconds.
const SPINS: u32 = 20_000;

/// How often the caller of a job that takes long looks whether a worker has panicked.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Clone, Copy)]
struct Job {
    task: *const (dyn Fn(usize) + Sync),
    tasks: usize,
}

struct State {
    /// Written only while no worker is busy; read by workers after they saw `epoch` change.
    job: UnsafeCell<Option<Job>>,
    /// Grows by one with each job.
    epoch: AtomicUsize,
    next: AtomicUsize,
    /// Workers inside the loop; the next job waits for no others.
    joined: AtomicUsize,
    /// Workers that have not finished the current job.
    busy: AtomicUsize,
    sleeping: AtomicUsize,
    lock: Mutex<()>,
    wake: Condvar,
    done: Condvar,
}

// `job` is handed over by `epoch` and not written while `busy` is not zero.
unsafe impl Sync for State {}

/// The address of a new pool's state, for `poolWork`. It lives as long as the module.
#[wasm_bindgen(js_name = createPool)]
pub fn create_pool() -> usize {
    let state = Box::new(State {
        job: UnsafeCell::new(None),
        epoch: AtomicUsize::new(0),
        next: AtomicUsize::new(0),
        joined: AtomicUsize::new(0),
        busy: AtomicUsize::new(0),
        sleeping: AtomicUsize::new(0),
        lock: Mutex::new(()),
        wake: Condvar::new(),
        done: Condvar::new(),
    });
    Box::leak(state) as *const State as usize
}

/// A worker's life: it works on jobs until its worker is ended.
///
/// `pool` must come from [`create_pool`] of the same memory; anything else is refused where that can be seen.
#[wasm_bindgen(js_name = poolWork)]
pub fn pool_work(pool: usize) {
    if let Some(state) = state_at(pool) {
        state.work();
    }
}

/// The module's memory, which workers instantiate it over.
#[wasm_bindgen(js_name = sharedMemory)]
pub fn shared_memory() -> JsValue {
    wasm_bindgen::memory()
}

fn state_at(pool: usize) -> Option<&'static State> {
    let state = pool as *const State;
    if state.is_null() || !state.is_aligned() {
        return None;
    }
    // The address was leaked by `create_pool`, so it holds a `State` for as long as the memory lives.
    Some(unsafe { &*state })
}

/// The pool as the engine sees it.
pub(crate) struct WasmPool {
    state: &'static State,
    workers: usize,
}

impl WasmPool {
    /// A pool in which `threads - 1` workers have been started, and the caller works too.
    pub(crate) fn new(pool: usize, threads: usize) -> Option<Rc<WasmPool>> {
        let state = state_at(pool)?;
        Some(Rc::new(WasmPool {
            state,
            workers: threads.saturating_sub(1),
        }))
    }
}

impl Parallel for WasmPool {
    fn threads(&self) -> usize {
        self.workers + 1
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let state = self.state;
        // A worker that is still on its way into the loop would count as busy for ever.
        if tasks <= 1 || state.joined.load(Acquire) < self.workers {
            (0..tasks).for_each(task);
            return;
        }
        // The closure outlives the job: this function returns only when no worker is busy with it.
        let task: *const (dyn Fn(usize) + Sync) =
            unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), _>(task) };
        let job = Job { task, tasks };
        unsafe { *state.job.get() = Some(job) };
        state.next.store(0, Relaxed);
        state.busy.store(self.workers, Relaxed);
        state.epoch.fetch_add(1, SeqCst);
        // Whoever counts as sleeping holds the lock until it really sleeps.
        if state.sleeping.load(SeqCst) > 0 {
            drop(state.hold());
            state.wake.notify_all();
        }
        state.take_tasks(job);
        state.wait_until_done();
    }
}

impl State {
    fn hold(&self) -> std::sync::MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut seen = self.epoch.load(SeqCst);
        self.joined.fetch_add(1, Release);
        loop {
            self.wait_for(seen);
            seen = seen.wrapping_add(1);
            // The epoch changed after the job was written, and it stays until `busy` is zero.
            if let Some(job) = unsafe { *self.job.get() } {
                self.take_tasks(job);
            }
            if self.busy.fetch_sub(1, AcqRel) == 1 {
                drop(self.hold());
                self.done.notify_one();
            }
        }
    }

    fn wait_for(&self, seen: usize) {
        for _ in 0..SPINS {
            if self.epoch.load(Acquire) != seen {
                return;
            }
            std::hint::spin_loop();
        }
        let mut guard = self.hold();
        self.sleeping.fetch_add(1, SeqCst);
        while self.epoch.load(SeqCst) == seen {
            guard = self
                .wake
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.sleeping.fetch_sub(1, SeqCst);
    }

    fn wait_until_done(&self) {
        for _ in 0..SPINS {
            if self.busy.load(Acquire) == 0 {
                return;
            }
            std::hint::spin_loop();
        }
        let mut guard = self.hold();
        while self.busy.load(Acquire) != 0 {
            // A worker that panicked is gone; without this its caller would wait for ever.
            assert!(!has_panicked(), "a thread of the pool panicked");
            guard = self
                .done
                .wait_timeout(guard, LOOK)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn take_tasks(&self, job: Job) {
        // `run` keeps the closure alive until `busy` is zero.
        let task = unsafe { &*job.task };
        loop {
            let i = self.next.fetch_add(1, Relaxed);
            if i >= job.tasks {
                break;
            }
            task(i);
        }
    }
}
