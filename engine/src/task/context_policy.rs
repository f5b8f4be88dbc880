//! What to do when a conversation no longer fits the model's context.

use serde::{Deserialize, Serialize};

use super::chat::{Message, Role};

/// What happens when the prompt and the room wanted for the answer exceed the context.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContextPolicy {
    /// An error that says how many tokens there are and how many there may be.
    #[default]
    Error,
    /// The oldest turns go, as few as will do. A turn is a user's message with all that answers it; system
    /// messages and the last turn stay.
    DropOldestTurns,
}

/// Why a conversation cannot be made to fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContextError<E> {
    #[error(
        "the prompt has {tokens} tokens and the answer wants {reserve}; the context holds {capacity}"
    )]
    TooLong {
        tokens: usize,
        reserve: usize,
        capacity: usize,
    },
    /// Rendering or counting failed.
    #[error(transparent)]
    Count(#[from] E),
}

/// A conversation that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fitted {
    pub messages: Vec<Message>,
    /// Tokens of the rendered messages.
    pub tokens: usize,
    /// How many messages were left out.
    pub dropped: usize,
}

/// Checks that `tokens` of prompt and `reserve` tokens of answer fit into `capacity`.
///
/// # Errors
/// [`ContextError::TooLong`].
pub fn check<E>(tokens: usize, reserve: usize, capacity: usize) -> Result<(), ContextError<E>> {
    if tokens > capacity || capacity - tokens < reserve {
        return Err(ContextError::TooLong {
            tokens,
            reserve,
            capacity,
        });
    }
    Ok(())
}

/// The messages, or as many of the newest as fit into `capacity` with `reserve` tokens left for the
/// answer. `count` gives the tokens of rendered messages; it is called a few times, not once a turn.
///
/// # Errors
/// What is left when all that may go has gone is still too long; or `count` fails.
pub fn fit<E>(
    messages: &[Message],
    policy: ContextPolicy,
    reserve: usize,
    capacity: usize,
    mut count: impl FnMut(&[Message]) -> Result<usize, E>,
) -> Result<Fitted, ContextError<E>> {
    let tokens = count(messages)?;
    let whole = check(tokens, reserve, capacity);
    if whole.is_ok() || policy == ContextPolicy::Error {
        return whole.map(|()| Fitted {
            messages: messages.to_vec(),
            tokens,
            dropped: 0,
        });
    }
    // Where the turns begin: dropping n turns keeps everything from `starts[n]` on.
    let starts: Vec<usize> = messages
        .iter()
        .enumerate()
        .filter(|(_, message)| message.role == Role::User)
        .map(|(at, _)| at)
        .collect();
    let keep_from = |turn: usize| -> Vec<Message> {
        let from = starts.get(turn).copied().unwrap_or(0);
        let kept = |(at, message): &(usize, &Message)| {
            *at >= from || matches!(message.role, Role::System | Role::Developer)
        };
        let kept = messages.iter().enumerate().filter(kept);
        kept.map(|(_, message)| message.clone()).collect()
    };
    // Fewer turns never take more tokens: the least number of turns to drop, by bisection.
    let last = starts.len().saturating_sub(1);
    let mut shortest = keep_from(last);
    let mut tokens = count(&shortest)?;
    check(tokens, reserve, capacity)?;
    let (mut too_few, mut enough) = (0, last);
    while enough - too_few > 1 {
        let middle = too_few + (enough - too_few) / 2;
        let candidate = keep_from(middle);
        let candidate_tokens = count(&candidate)?;
        if check::<E>(candidate_tokens, reserve, capacity).is_ok() {
            (enough, shortest, tokens) = (middle, candidate, candidate_tokens);
        } else {
            too_few = middle;
        }
    }
    Ok(Fitted {
        dropped: messages.len() - shortest.len(),
        messages: shortest,
        tokens,
    })
}

/// The newest of `ids`, `room` at most (one at least), after the `bos` that they may begin with.
pub(super) fn newest_ids(ids: &[u32], bos: Option<u32>, room: usize) -> Vec<u32> {
    if ids.len() <= room {
        return ids.to_vec();
    }
    let begins = ids.first().copied().filter(|&id| Some(id) == bos);
    let keep = room.saturating_sub(usize::from(begins.is_some())).max(1);
    let newest = &ids[ids.len().saturating_sub(keep)..];
    begins.into_iter().chain(newest.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use proptest::prelude::*;

    fn conversation(turns: usize) -> Vec<Message> {
        let mut messages = vec![Message::new(Role::System, "sys")];
        for turn in 0..turns {
            messages.push(Message::new(Role::User, format!("question {turn}")));
            messages.push(Message::new(Role::Assistant, format!("answer {turn}")));
        }
        messages.push(Message::new(Role::User, "last"));
        messages
    }

    /// Ten tokens a message.
    fn ten_each(messages: &[Message]) -> Result<usize, Infallible> {
        Ok(10 * messages.len())
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let messages = conversation(2);
        for policy in [ContextPolicy::Error, ContextPolicy::DropOldestTurns] {
            let fitted = fit(&messages, policy, 40, 100, ten_each).unwrap();
            assert_eq!(
                (fitted.messages, fitted.tokens, fitted.dropped),
                (messages.clone(), 60, 0)
            );
        }
    }

    #[test]
    fn too_long_is_an_error_that_says_by_how_much() {
        let error = fit(&conversation(2), ContextPolicy::Error, 41, 100, ten_each).unwrap_err();
        let says = "the prompt has 60 tokens and the answer wants 41; the context holds 100";
        assert_eq!(error.to_string(), says);
        // The system message and the last question alone are too long.
        let policy = ContextPolicy::DropOldestTurns;
        assert!(fit(&conversation(2), policy, 0, 19, ten_each).is_err());
        assert!(fit(&[], policy, 1, 0, ten_each).is_err());
        assert!(check::<Infallible>(usize::MAX, 1, usize::MAX).is_err());
    }

    #[test]
    fn the_oldest_turns_go_and_the_system_message_stays() {
        let policy = ContextPolicy::DropOldestTurns;
        let fitted = fit(&conversation(3), policy, 10, 50, ten_each).unwrap();
        let contents: Vec<_> = fitted.messages.iter().map(|m| m.content.as_str()).collect();
        assert_eq!(contents, ["sys", "question 2", "answer 2", "last"]);
        assert_eq!((fitted.tokens, fitted.dropped), (40, 4));
    }

    #[test]
    fn a_text_keeps_its_beginning_and_its_newest_tokens() {
        assert_eq!(newest_ids(&[1, 2, 3, 4], Some(1), 3), [1, 3, 4]);
        assert_eq!(newest_ids(&[1, 2, 3, 4], Some(9), 3), [2, 3, 4]);
        assert_eq!(newest_ids(&[1, 2], None, 3), [1, 2]);
        assert_eq!(newest_ids(&[1, 2, 3], Some(1), 0), [1, 3]);
    }

    proptest! {
        #[test]
        fn no_turn_goes_that_could_stay(turns in 0usize..12, capacity in 0usize..300) {
            let messages = conversation(turns);
            match fit(&messages, ContextPolicy::DropOldestTurns, 0, capacity, ten_each) {
                Ok(fitted) => {
                    prop_assert!(fitted.tokens <= capacity);
                    prop_assert_eq!(fitted.messages.len() + fitted.dropped, messages.len());
                    prop_assert_eq!(fitted.messages.last(), messages.last());
                    prop_assert!(fitted.dropped == 0 || fitted.tokens + 20 > capacity);
                }
                Err(_) => prop_assert!(capacity < 20),
            }
        }
    }
}
