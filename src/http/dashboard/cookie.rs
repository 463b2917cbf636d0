//! The one cookie: how a browser is told to keep it, and how it is found among what comes back.

use hyper::{
    HeaderMap,
    header::{COOKIE, HeaderValue},
};

/// A browser lets nobody but this very host set a cookie of this name, and only over HTTPS.
const SECURE_NAME: &str = "__Host-heare-auth";
const PLAIN_NAME: &str = "heare-auth";

const fn name(is_secure: bool) -> &'static str {
    if is_secure { SECURE_NAME } else { PLAIN_NAME }
}

/// For no script to read, for no other site to send, and for so many seconds.
pub fn kept(value: &str, seconds: i64, is_secure: bool) -> HeaderValue {
    let (name, secure) = (name(is_secure), if is_secure { "; Secure" } else { "" });
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    let mut header = HeaderValue::try_from(text).expect("what is sealed has letters, digits, '-' and '_'");
    header.set_sensitive(true);
    header
}

/// Takes the cookie away.
pub fn dropped(is_secure: bool) -> HeaderValue {
    kept("", 0, is_secure)
}

/// The cookie's value. Over HTTPS the plain name is somebody else's cookie.
pub fn sent(headers: &HeaderMap, is_secure: bool) -> Option<&str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut cookies = lines.flat_map(|line| line.split(';')).map(str::trim);
    cookies.find_map(|cookie| cookie.strip_prefix(name(is_secure))?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_https_the_cookie_is_this_hosts_alone() {
        let secure = kept("abc", 60, true);
        let expected = "__Host-heare-auth=abc; Path=/; HttpOnly; SameSite=Strict; Max-Age=60; Secure";
        assert_eq!(secure, expected);
        assert!(secure.is_sensitive());
        let plain = "heare-auth=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0";
        assert_eq!(dropped(false), plain);
    }

    #[test]
    fn the_cookie_is_found_by_its_whole_name() {
        let table: [(&[&'static str], bool, Option<&str>); 8] = [
            (&["heare-auth=a"], false, Some("a")),
            (&["x=1; heare-auth=a; y=2"], false, Some("a")),
            (&["x=1", "heare-auth=a"], false, Some("a")),
            (&["heare-auth=a"], true, None),
            (&["heare-auth=a; __Host-heare-auth=b"], true, Some("b")),
            (&["__Host-heare-auth=b"], false, None),
            (&["heare-authx=a", "xheare-auth=a", "heare-auth"], false, None),
            (&[], false, None),
        ];
        for (lines, is_secure, expected) in table {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(COOKIE, HeaderValue::from_static(line));
            }
            assert_eq!(sent(&headers, is_secure), expected, "{lines:?}");
        }
    }
}
