//! Work on the generator's core that stands for that of somebody who has nothing to do just now, so that the generator is
//! not faster without him.
//!
//! Never: measures anything.

use std::hint;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Lasts until it is dropped.
pub(crate) struct Burden {
    is_over: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

/// The work of so long is done at once, as a member does that is told of renewals so often.
const PERIOD: Duration = Duration::from_millis(200);

impl Burden {
    /// Uses this share of a core from now on, 0 to 1.
    pub(crate) fn of(share: f64) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = is_over.clone();
        let worker = thread::spawn(move || {
            let work = PERIOD.mul_f64(share.clamp(0.0, 1.0));
            while !seen.load(Ordering::Relaxed) {
                let begin = Instant::now();
                while begin.elapsed() < work {
                    hint::spin_loop();
                }
                thread::sleep(PERIOD.saturating_sub(begin.elapsed()));
            }
        });
        Self { is_over, worker: Some(worker) }
    }
}

impl Drop for Burden {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(worker) = self.worker.take() {
            // It cannot fail, and nobody could act upon it.
            let _ = worker.join();
        }
    }
}
