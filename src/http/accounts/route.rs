//! The paths and methods of accounts: which call a request is.

use hyper::Method;

/// One call. The id is the caller's word, and need not be anybody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Register,
    Login,
    Refresh,
    Logout,
    Profile,
    ChangePassword,
    Delete,
    Sessions,
    EndSession(String),
    PublicKeys,
    Introspect,
}

/// A path, whatever the method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Register,
    Login,
    Refresh,
    Logout,
    Profile,
    Password,
    Delete,
    Sessions,
    Session(String),
    PublicKeys,
    Introspect,
}

impl Place {
    /// One of each.
    pub fn each() -> [Self; 11] {
        [
            Self::Register,
            Self::Login,
            Self::Refresh,
            Self::Logout,
            Self::Profile,
            Self::Password,
            Self::Delete,
            Self::Sessions,
            Self::Session(String::new()),
            Self::PublicKeys,
            Self::Introspect,
        ]
    }

    /// `None` for a path that is no route. The path is taken to the letter.
    pub fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/api/register" => Self::Register,
            "/api/login" => Self::Login,
            "/api/refresh" => Self::Refresh,
            "/api/logout" => Self::Logout,
            "/api/profile" => Self::Profile,
            "/api/password" => Self::Password,
            "/api/delete" => Self::Delete,
            "/api/sessions" => Self::Sessions,
            "/.well-known/jwks.json" => Self::PublicKeys,
            "/oauth/introspect" => Self::Introspect,
            other => {
                let id = other.strip_prefix("/api/sessions/")?;
                let is_one_segment = !id.is_empty() && !id.contains('/');
                return is_one_segment.then(|| Self::Session(id.to_owned()));
            }
        })
    }

    /// `None` for a method that is not answered here.
    pub fn call(&self, method: &Method) -> Option<Call> {
        let asked = match (self, method.as_str()) {
            (Self::Register, "POST") => Call::Register,
            (Self::Login, "POST") => Call::Login,
            (Self::Refresh, "POST") => Call::Refresh,
            (Self::Logout, "POST") => Call::Logout,
            (Self::Profile, "GET" | "HEAD") => Call::Profile,
            (Self::Password, "POST") => Call::ChangePassword,
            (Self::Delete, "POST") => Call::Delete,
            (Self::Sessions, "GET" | "HEAD") => Call::Sessions,
            (Self::Session(id), "DELETE") => Call::EndSession(id.clone()),
            (Self::PublicKeys, "GET" | "HEAD") => Call::PublicKeys,
            (Self::Introspect, "POST") => Call::Introspect,
            _ => return None,
        };
        Some(asked)
    }

    pub const fn allow(&self) -> &'static str {
        match self {
            Self::Register
            | Self::Login
            | Self::Refresh
            | Self::Logout
            | Self::Password
            | Self::Delete
            | Self::Introspect => "POST, OPTIONS",
            Self::Profile | Self::Sessions | Self::PublicKeys => "GET, HEAD, OPTIONS",
            Self::Session(_) => "DELETE, OPTIONS",
        }
    }

    /// The route as the documentation writes it: for the log, which shows no sent path.
    pub const fn pattern(&self) -> &'static str {
        match self {
            Self::Register => "/api/register",
            Self::Login => "/api/login",
            Self::Refresh => "/api/refresh",
            Self::Logout => "/api/logout",
            Self::Profile => "/api/profile",
            Self::Password => "/api/password",
            Self::Delete => "/api/delete",
            Self::Sessions => "/api/sessions",
            Self::Session(_) => "/api/sessions/{id}",
            Self::PublicKeys => "/.well-known/jwks.json",
            Self::Introspect => "/oauth/introspect",
        }
    }

    /// Whether a password or a person's token comes with the call. Public keys are for everybody, and introspection is for
    /// the services beside this one, as a verify is.
    pub const fn is_personal(&self) -> bool {
        !matches!(self, Self::PublicKeys | Self::Introspect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_route_to_the_letter() {
        for (path, place) in [
            ("/api/login", Some(Place::Login)),
            ("/api/login/", None),
            ("/api/Login", None),
            ("/api/sessions", Some(Place::Sessions)),
            ("/api/sessions/", None),
            ("/api/sessions/a-b_1", Some(Place::Session("a-b_1".to_owned()))),
            ("/api/sessions/a/b", None),
            ("/.well-known/jwks.json", Some(Place::PublicKeys)),
            ("/oauth/introspect", Some(Place::Introspect)),
            ("/oauth", None),
            ("/api/v1/auth/keys", None),
        ] {
            assert_eq!(Place::of(path), place, "{path}");
        }
    }

    #[test]
    fn the_pattern_of_each_place_leads_there() {
        for place in Place::each() {
            let found = Place::of(&place.pattern().replace("{id}", "a"));
            let expected = match place {
                Place::Session(_) => Place::Session("a".to_owned()),
                fixed => fixed,
            };
            assert_eq!(found, Some(expected));
        }
    }

    #[test]
    fn every_method_that_is_allowed_is_a_call_and_no_other() {
        for place in Place::each() {
            let path = place.pattern();
            for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
                let allowed = place.allow().split(", ").any(|allowed| allowed == method);
                assert_eq!(
                    place.call(&method.parse().unwrap()).is_some(),
                    allowed,
                    "{method} {path}"
                );
            }
        }
    }
}
