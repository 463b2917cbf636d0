//! Where somebody is logged in: what ends a session, and that it has ended on every instance at once.

use std::thread;

use serde_json::{Value, json};

use super::{Client, PASSWORD, Tokens, everywhere, said};

const GONE: &str = r#"{"detail":"Token not found or expired"}"#;

#[test]
fn two_logins_in_one_second_are_two_sessions() {
    everywhere(|site| {
        let ([one, other], client) = (site.start_two(), Client::new());
        client.register(&one, "user");
        let (first, second) = (client.login(&one, "user"), client.login(&one, "user"));
        assert!(first.access != second.access && first.refresh != second.refresh);
        assert_eq!(
            client.with(&first.access, &one, "POST", "/api/logout", None).status,
            200
        );
        said(&client.profile(&other, &first.access), 401, GONE);
        assert_eq!(client.profile(&other, &second.access).status, 200);
        assert_eq!(client.refresh(&other, &first.refresh).status, 401);
        assert_eq!(client.refresh(&other, &second.refresh).status, 200);
    });
}

#[test]
fn a_new_password_ends_all_other_sessions_everywhere() {
    everywhere(|site| {
        let ([one, other], client) = (site.start_two(), Client::new());
        client.register(&one, "user");
        let (own, stolen) = (client.login(&one, "user"), client.login(&other, "user"));
        let body = json!({ "password": PASSWORD, "new_password": "another-good-one-7" });
        let changed = client.with(&own.access, &one, "POST", "/api/password", Some(&body));
        said(&changed, 200, r#"{"message":"Password changed successfully"}"#);
        said(&client.profile(&other, &stolen.access), 401, GONE);
        assert_eq!(client.refresh(&other, &stolen.refresh).status, 401);
        assert_eq!(client.profile(&other, &own.access).status, 200);
        assert_eq!(client.refresh(&other, &own.refresh).status, 200);
        assert_eq!(client.try_login(&other, "user", PASSWORD).status, 401);
        client.login_by(&other, "user", "another-good-one-7");
    });
}

#[test]
fn of_many_who_change_the_same_password_at_once_one_does_and_theirs_is_in_force() {
    everywhere(|site| {
        let (service, client) = (site.start(), Client::new());
        client.register(&service, "user");
        let token = client.login(&service, "user").access;
        let passwords = ["first", "second", "third", "fourth"].map(|which| format!("the {which} good one of four"));
        let statuses: Vec<u16> = thread::scope(|scope| {
            let changing = passwords.each_ref().map(|new| {
                let (client, service, token) = (&client, &service, &token);
                let body = json!({ "password": PASSWORD, "new_password": new });
                scope.spawn(move || client.with(token, service, "POST", "/api/password", Some(&body)).status)
            });
            changing.map(|one| one.join().expect("no panic")).into()
        });
        let changed = statuses
            .iter()
            .position(|&status| status == 200)
            .expect("one of them does");
        assert!(
            statuses
                .iter()
                .enumerate()
                .all(|(at, &status)| at == changed || status == 401),
            "{statuses:?}"
        );
        client.login_by(&service, "user", &passwords[changed]);
        assert_eq!(client.profile(&service, &token).status, 200, "and its session goes on");
    });
}

#[test]
fn a_new_password_must_be_a_good_one() {
    let site = super::Site::local();
    let (service, client) = (site.start(), Client::new());
    client.register(&service, "user");
    let token = client.login(&service, "user").access;
    for wrong in [
        json!({}),
        json!({ "password": PASSWORD }),
        json!({ "password": PASSWORD, "new_password": "short" }),
        json!({ "password": PASSWORD, "new_password": "password1" }),
    ] {
        let answer = client.with(&token, &service, "POST", "/api/password", Some(&wrong));
        assert_eq!(answer.status, 422, "{wrong}: {}", answer.text());
    }
    client.login(&service, "user");
}

#[test]
fn a_session_goes_on_with_its_newest_refresh_token_and_a_retry_gets_the_same() {
    everywhere(|site| {
        let ([one, other], client) = (site.start_two(), Client::new());
        client.register(&one, "user");
        let first = client.login(&one, "user");
        let second = Tokens::of(&client.refresh(&one, &first.refresh));
        let again = Tokens::of(&client.refresh(&other, &first.refresh));
        assert_eq!(second.refresh, again.refresh);
        for token in [&first.access, &second.access, &again.access] {
            assert_eq!(client.profile(&other, token).status, 200);
        }
        let third = Tokens::of(&client.refresh(&other, &second.refresh));
        assert_ne!(third.refresh, second.refresh);
        said(&client.profile(&one, &first.access), 401, GONE);
        // What was spent before the last time is in wrong hands.
        said(
            &client.refresh(&one, &first.refresh),
            401,
            r#"{"detail":"Invalid refresh token"}"#,
        );
        one.wait_for_event("account_call_refused", |line| line["reason"] == "refresh_token_reused");
        assert_eq!(client.refresh(&one, &third.refresh).status, 401);
        said(&client.profile(&one, &third.access), 401, GONE);
    });
}

#[test]
fn what_is_no_refresh_token_opens_nothing() {
    everywhere(|site| {
        let (service, client) = (site.start(), Client::new());
        client.register(&service, "user");
        let tokens = client.login(&service, "user");
        for wrong in ["", "x", &tokens.access, "hr_", &tokens.refresh.replace("hr_", "hr")] {
            said(
                &client.refresh(&service, wrong),
                401,
                r#"{"detail":"Invalid refresh token"}"#,
            );
        }
        // Nor is a refresh token an access token.
        said(
            &client.profile(&service, &tokens.refresh),
            401,
            r#"{"detail":"Invalid token"}"#,
        );
        assert_eq!(client.refresh(&service, &tokens.refresh).status, 200);
    });
}

#[test]
fn people_see_where_they_are_logged_in_and_end_it_there() {
    everywhere(|site| {
        let ([one, other], client) = (site.start_two(), Client::new());
        client.register(&one, "user");
        client.register(&one, "somebody else");
        let own = client.login(&one, "user");
        let lost = client.login(&other, "user");
        let foreign = client.login(&one, "somebody else");
        let listed = client.with(&own.access, &one, "GET", "/api/sessions", None);
        assert_eq!(listed.status, 200);
        let body = listed.json();
        let sessions = body["sessions"].as_array().expect("a list");
        assert_eq!(sessions.len(), 2, "{body}");
        for session in sessions {
            for member in ["id", "created_at", "last_used_at", "expires_at", "address"] {
                assert!(session[member].is_string(), "{member}: {session}");
            }
            assert_eq!(session["address"], json!(client.address.to_string()));
        }
        let is_current = |session: &&Value| session["current"] == json!(true);
        assert_eq!(sessions.iter().filter(is_current).count(), 1);
        let lost_one = sessions
            .iter()
            .find(|session| !is_current(session))
            .expect("the other one");
        let path = format!("/api/sessions/{}", lost_one["id"].as_str().expect("a text"));

        let not_theirs = client.with(&foreign.access, &one, "DELETE", &path, None);
        said(&not_theirs, 404, r#"{"detail":"Session not found"}"#);
        assert_eq!(client.profile(&one, &lost.access).status, 200);
        let ended = client.with(&own.access, &one, "DELETE", &path, None);
        said(&ended, 200, r#"{"message":"Session ended"}"#);
        said(&client.profile(&other, &lost.access), 401, GONE);
        assert_eq!(client.refresh(&other, &lost.refresh).status, 401);
        assert_eq!(client.profile(&other, &own.access).status, 200);
        for unknown in [path.as_str(), "/api/sessions/x", "/api/sessions/ses_%00"] {
            let answer = client.with(&own.access, &one, "DELETE", unknown, None);
            said(&answer, 404, r#"{"detail":"Session not found"}"#);
        }
    });
}
