//! What a back end holds by number: weights, states, plans.

use super::BackendError;

/// Things by number. The number of what was dropped is given again.
pub(crate) struct Numbered<T> {
    /// What one of them is called in errors.
    kind: &'static str,
    places: Vec<Option<T>>,
}

impl<T> Numbered<T> {
    pub(crate) fn new(kind: &'static str) -> Numbered<T> {
        Numbered {
            kind,
            places: Vec::new(),
        }
    }

    pub(crate) fn insert(&mut self, thing: T) -> usize {
        match self.places.iter().position(Option::is_none) {
            Some(free) => {
                self.places[free] = Some(thing);
                free
            }
            None => {
                self.places.push(Some(thing));
                self.places.len() - 1
            }
        }
    }

    pub(crate) fn get(&self, id: usize) -> Result<&T, BackendError> {
        let thing = self.places.get(id).and_then(Option::as_ref);
        thing.ok_or_else(|| self.unknown(id))
    }

    pub(crate) fn get_mut(&mut self, id: usize) -> Result<&mut T, BackendError> {
        let error = self.unknown(id);
        let thing = self.places.get_mut(id).and_then(Option::as_mut);
        thing.ok_or(error)
    }

    pub(crate) fn remove(&mut self, id: usize) {
        if let Some(place) = self.places.get_mut(id) {
            *place = None;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten()
    }

    /// The places by number, for code that runs after every number was checked.
    pub(crate) fn places_mut(&mut self) -> &mut [Option<T>] {
        &mut self.places
    }

    fn unknown(&self, id: usize) -> BackendError {
        BackendError::Unknown {
            kind: self.kind,
            id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_number_is_unknown_until_it_is_given_again() {
        let mut numbered = Numbered::new("plan");
        let (a, b) = (numbered.insert('a'), numbered.insert('b'));
        assert_eq!(
            (numbered.get(a).ok(), numbered.get(b).ok()),
            (Some(&'a'), Some(&'b'))
        );
        numbered.remove(a);
        numbered.remove(7);
        let error = numbered.get_mut(a).unwrap_err();
        assert_eq!(error.to_string(), format!("there is no plan number {a}"));
        assert!(numbered.get(7).is_err());
        assert_eq!(numbered.insert('c'), a);
        assert_eq!(numbered.iter().collect::<String>(), "cb");
    }
}
