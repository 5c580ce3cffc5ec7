//! Errors for people.

use std::error::Error;

/// An error with its causes, each after a colon.
#[must_use]
pub fn say(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("it cannot be read")]
    struct Outer(#[source] std::num::ParseIntError);

    #[test]
    fn causes_follow_their_effects() {
        let inner = "x".parse::<u8>().expect_err("is no number");
        assert_eq!(say(&Outer(inner)), "it cannot be read: invalid digit found in string");
    }
}
