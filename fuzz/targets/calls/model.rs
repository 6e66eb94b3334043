//! What the store must hold, as far as that is certain.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub struct Model {
    pub keys: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Which others than the calls may change: they hang on leases, or the outcome of a
    /// call was not asked for.
    pub loose: BTreeSet<Vec<u8>>,
    all_loose: bool,
}

#[derive(Clone)]
pub enum Effect {
    Put { key: Vec<u8>, value: Vec<u8>, lease: bool },
    Remove { from: Vec<u8>, end: End },
}

#[derive(Clone)]
pub enum End {
    Single,
    Prefix,
    Before(Vec<u8>),
}

impl Effect {
    fn touches(&self, other: &[u8]) -> bool {
        match self {
            Self::Put { key, .. } => key == other,
            Self::Remove { from, end } => match end {
                End::Single => from == other,
                End::Prefix => other.starts_with(from),
                End::Before(end) => from[..] <= *other && *other < end[..],
            },
        }
    }
}

impl Model {
    pub fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::Put { key, lease: true, .. } => self.loosen(key),
            Effect::Put { key, value, .. } if !self.loose.contains(key) => {
                self.keys.insert(key.clone(), value.clone());
            }
            Effect::Put { .. } => {}
            Effect::Remove { .. } => self.keys.retain(|key, _| !effect.touches(key)),
        }
    }

    /// It may be applied, or not, or later.
    pub fn blur(&mut self, effect: &Effect) {
        match effect {
            Effect::Put { key, .. } => self.loosen(key),
            Effect::Remove { .. } => {
                let touched: Vec<_> =
                    self.keys.keys().filter(|key| effect.touches(key)).cloned().collect();
                touched.iter().for_each(|key| self.loosen(key));
                // What is put next may still be removed.
                self.all_loose = true;
            }
        }
    }

    pub fn loosen(&mut self, key: &[u8]) {
        self.keys.remove(key);
        self.loose.insert(key.to_vec());
    }

    /// What is there: Some(None) for nothing, None where that is not certain.
    pub fn holds(&self, key: &[u8]) -> Option<Option<&Vec<u8>>> {
        (!self.all_loose && !self.loose.contains(key)).then(|| self.keys.get(key))
    }

    /// What is there of the keys that begin with this, against what must be.
    pub fn check(&self, prefix: &[u8], there: &BTreeMap<Vec<u8>, Vec<u8>>) {
        if self.all_loose {
            return;
        }
        for (key, value) in self.keys.iter().filter(|(key, _)| key.starts_with(prefix)) {
            assert_eq!(there.get(key), Some(value), "{}", key.escape_ascii());
        }
        for key in there.keys().filter(|key| key.starts_with(b"m")) {
            assert_ne!(self.holds(key), Some(None), "{}", key.escape_ascii());
        }
    }
}
