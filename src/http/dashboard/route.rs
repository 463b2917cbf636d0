//! The paths that the dashboard's pages call, and their methods.

use hyper::Method;

/// Where events are sent; it goes on, so it is apart.
pub const EVENTS: &str = "/dashboard/events";

/// A path, whatever the method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Session,
    Overview,
}

impl Place {
    pub const PATTERNS: [&'static str; 2] = [Self::Session.pattern(), Self::Overview.pattern()];

    /// `None` for a path that is no route. The path is taken to the letter.
    pub fn of(path: &str) -> Option<Self> {
        [Self::Session, Self::Overview]
            .into_iter()
            .find(|place| place.pattern() == path)
    }

    pub const fn pattern(self) -> &'static str {
        match self {
            Self::Session => "/dashboard/session",
            Self::Overview => "/dashboard/overview",
        }
    }

    pub const fn allow(self) -> &'static str {
        match self {
            Self::Session => "GET, HEAD, POST, DELETE",
            Self::Overview => "GET, HEAD",
        }
    }

    pub fn takes(self, method: &Method) -> bool {
        self.allow().split(", ").any(|one| one == method.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_to_the_letter() {
        for path in Place::PATTERNS {
            assert_eq!(Place::of(path).map(Place::pattern), Some(path));
            assert_eq!(Place::of(&format!("{path}/")), None);
        }
        assert_eq!(Place::of("/dashboard"), None);
        assert!(Place::Session.takes(&Method::DELETE) && !Place::Session.takes(&Method::PUT));
    }
}
