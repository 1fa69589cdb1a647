//! What a layer lists, found out once: by who asks first, or on the way by who reads the layer anyway.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::layer::LayerIndex;

/// The place for one layer's index.
#[derive(Debug, Default)]
pub(super) struct Slot {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Unknown,
    /// Somebody holds the [`Claim`].
    Underway,
    Known(Arc<LayerIndex>),
}

/// The duty to fill a slot. Dropped unfulfilled, it falls to the next who asks.
#[derive(Debug)]
pub(super) struct Claim {
    slot: Arc<Slot>,
}

/// What asking a slot leads to.
pub(super) enum Asked {
    Known(Arc<LayerIndex>),
    Claimed(Claim),
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, State> {
        // The state is only ever replaced as a whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index, or the duty to find it out. Waits while somebody else does.
    pub(super) fn ask(self: &Arc<Self>) -> Asked {
        let mut state = self.state();
        loop {
            match &*state {
                State::Known(index) => return Asked::Known(Arc::clone(index)),
                State::Underway => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                State::Unknown => {
                    *state = State::Underway;
                    return Asked::Claimed(Claim { slot: Arc::clone(self) });
                }
            }
        }
    }

    /// The duty to find the index out, if nobody has it and it is not known.
    pub(super) fn claim(self: &Arc<Self>) -> Option<Claim> {
        let mut state = self.state();
        if !matches!(*state, State::Unknown) {
            return None;
        }
        *state = State::Underway;
        Some(Claim { slot: Arc::clone(self) })
    }

    /// The index, if it is known by now.
    pub(super) fn known(&self) -> Option<Arc<LayerIndex>> {
        match &*self.state() {
            State::Known(index) => Some(Arc::clone(index)),
            State::Unknown | State::Underway => None,
        }
    }

    /// Fills the slot if it is empty.
    pub(super) fn fill(&self, index: LayerIndex) {
        let mut state = self.state();
        if matches!(*state, State::Unknown) {
            *state = State::Known(Arc::new(index));
        }
    }
}

impl Claim {
    /// Fills the slot.
    pub(super) fn fulfil(self, index: LayerIndex) -> Arc<LayerIndex> {
        let index = Arc::new(index);
        *self.slot.state() = State::Known(Arc::clone(&index));
        index
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.slot.state();
        if matches!(*state, State::Underway) {
            *state = State::Unknown;
        }
        self.slot.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_finds_out_and_the_others_wait() {
        let slot = Arc::new(Slot::default());
        let claim = slot.claim().unwrap();
        assert!(slot.claim().is_none());
        let waiting = {
            let slot = Arc::clone(&slot);
            std::thread::spawn(move || matches!(slot.ask(), Asked::Known(_)))
        };
        claim.fulfil(LayerIndex::default());
        assert!(waiting.join().unwrap());
        assert!(slot.claim().is_none());
    }

    #[test]
    fn a_dropped_claim_falls_to_the_next() {
        let slot = Arc::new(Slot::default());
        drop(slot.claim().unwrap());
        assert!(matches!(slot.ask(), Asked::Claimed(_)));
        assert!(slot.claim().is_some());
    }
}
