//! File systems that RUNs have left behind, or that are made before the first RUN asks.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::sandbox::Rootfs;
use crate::layer::Digest;

/// Unpacked file systems by the chain ids of their layers, lowest first.
#[derive(Debug, Default)]
pub(super) struct RootfsPool {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<(Vec<Digest>, Rootfs)>,
    /// Chains that somebody is unpacking right now.
    underway: Vec<Vec<Digest>>,
}

/// A file system that is being made; dropping it without [`Unpacking::done`] gives up.
#[derive(Debug)]
pub(super) struct Unpacking {
    pool: Arc<RootfsPool>,
    chain: Vec<Digest>,
}

impl RootfsPool {
    fn state(&self) -> MutexGuard<'_, State> {
        // Lists are consistent between any two statements that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the file system that has most of the layers of `chain` and no other, with the number of layers it has.
    /// Waits for one that is being made.
    pub(super) fn take(&self, chain: &[Digest]) -> Option<(usize, Rootfs)> {
        let mut state = self.state();
        while state.underway.iter().any(|underway| chain.starts_with(underway)) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let best = state
            .idle
            .iter()
            .enumerate()
            .filter(|(_, (layers, _))| chain.starts_with(layers))
            .max_by_key(|(_, (layers, _))| layers.len())
            .map(|(position, _)| position)?;
        let (layers, rootfs) = state.idle.swap_remove(best);
        Some((layers.len(), rootfs))
    }

    /// Gives a file system of these layers back.
    pub(super) fn put(&self, chain: Vec<Digest>, rootfs: Rootfs) {
        self.state().idle.push((chain, rootfs));
    }

    /// Says that a file system of exactly these layers is being made, unless there is one, or will be.
    pub(super) fn prepare(pool: &Arc<Self>, chain: &[Digest]) -> Option<Unpacking> {
        let mut state = pool.state();
        if state
            .underway
            .iter()
            .chain(state.idle.iter().map(|(layers, _)| layers))
            .any(|known| known == chain)
        {
            return None;
        }
        state.underway.push(chain.to_vec());
        Some(Unpacking { pool: Arc::clone(pool), chain: chain.to_vec() })
    }
}

impl Unpacking {
    /// It is made.
    pub(super) fn done(self, rootfs: Rootfs) {
        self.pool.put(self.chain.clone(), rootfs);
    }
}

impl Drop for Unpacking {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        if let Some(position) = state.underway.iter().position(|chain| *chain == self.chain) {
            state.underway.swap_remove(position);
        }
        drop(state);
        self.pool.changed.notify_all();
    }
}
