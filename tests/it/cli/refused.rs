//! A change of a document that the service does not load. With the change that would come into force: a key's record from
//! before its revocation, an administrator whom somebody has put into the bucket.

use std::fs;

use super::{Said, create, id_of};
use crate::support::{
    documents::{document, secret_of},
    service::{Service, Settings},
};

const STORAGE_SECRET: &str = "a storage secret";

fn run(service: &Service, arguments: &[&str]) -> Said {
    service.cli(arguments).into()
}

fn assert_refused(service: &Service, arguments: &[&str], loss: &str) {
    let stored = service.settings().document();
    let before = fs::read(&stored).ok();
    let said = run(service, arguments);
    assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""), "{arguments:?}");
    let told = format!(
        "Error: the service does not load what is stored: {loss} ({}",
        stored.display()
    );
    assert!(said.stderr.starts_with(&told), "{}", said.stderr);
    assert!(fs::read(stored).ok() == before, "nothing was written");
}

#[test]
fn a_revoked_key_does_not_come_back_by_a_change_of_an_older_copy() {
    const LOSS: &str = "the object is of an older generation";
    for settings in [
        Settings::file_store(),
        Settings::file_store().with("ADMIN_LISTEN", "127.0.0.1:0"),
    ] {
        let service = settings.start();
        let key = run(&service, &["create", "--name", "reports", "--json"]).done().json();
        let (id, secret) = (id_of(&key), key["secret"].as_str().expect("a text"));
        let older = fs::read_to_string(service.settings().document()).expect("a document");
        run(&service, &["revoke", id]).done();

        service.settings().write_document(&older);
        assert_refused(&service, &["create", "--name", "innocent"], LOSS);
        assert_refused(&service, &["update", id, "--name", "innocent"], LOSS);
        assert_refused(&service, &["rotate", id], LOSS);
        assert_refused(&service, &["delete", id, "--yes"], LOSS);
        assert_refused(&service, &["migrate"], LOSS);
        assert_eq!(service.verify(secret).0, 403);

        run(&service, &["refresh", "--allow-older"]).done();
        run(&service, &["create", "--name", "innocent"]).done();
        assert_eq!(service.verify(secret).0, 200);
    }
}

#[test]
fn no_document_is_begun_where_the_one_in_force_is_gone_unless_the_service_is_left_out() {
    let service = Settings::file_store().start();
    run(&service, &["create", "--name", "reports"]).done();
    fs::remove_file(service.settings().document()).expect("the document is there");
    assert_refused(&service, &["create", "--name", "another"], "the object is gone");
    create(service.settings(), "without the service");
}

#[test]
fn what_lies_in_plain_over_an_encrypted_document_does_not_come_into_force_by_a_change() {
    let service = Settings::file_store().with("STORAGE_SECRET", STORAGE_SECRET).start();
    run(&service, &["create", "--name", "reports"]).done();
    service.settings().write_document(&document(1000, &["key_evil"]));
    assert_refused(
        &service,
        &["create", "--name", "innocent"],
        "the object is not encrypted any more",
    );
    assert_eq!(service.verify(&secret_of("key_evil")).0, 403);
}

#[test]
fn a_plain_document_that_is_in_force_is_encrypted_by_the_first_change() {
    let settings = Settings::file_store().with("STORAGE_SECRET", STORAGE_SECRET);
    settings.write_document(&document(1, &["key_old"]));
    let service = settings.start_ready();
    run(&service, &["create", "--name", "reports"]).done();
    assert!(!super::stored(service.settings()).contains("key_old"));
    assert_eq!(service.verify(&secret_of("key_old")).0, 200);
}
