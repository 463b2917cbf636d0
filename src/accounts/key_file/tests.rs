use std::os::unix::fs::PermissionsExt as _;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn later(seconds: i64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() + seconds * 1000)
}

fn counting() -> impl FnMut(&mut [u8]) {
    let mut next = 0_u8;
    move |bytes| {
        next += 1;
        bytes.fill(next);
    }
}

#[test]
fn a_rotated_file_keeps_the_keys_of_before_behind_the_new_one() {
    for (form, name) in [(Form::Pem, "keys.pem"), (Form::Lines, "jwt-secret")] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new").join(name);
        let mut fill = counting();
        assert_eq!(rotate(&path, form, None, NOW, &mut fill).unwrap().kept, 0);
        let first = read(&path, form).unwrap().remove(0);
        let rotated = rotate(&path, form, None, later(60), &mut fill).unwrap();
        let keys = read(&path, form).unwrap();
        assert_eq!((rotated.kept, rotated.dropped, keys.len()), (1, 0, 2));
        assert!(keys[1].is(&first) && !keys[0].is(&first));
        assert_eq!(rotated.id.as_deref(), keys[0].id());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_key_is_dropped_when_its_successor_is_older_than_any_token() {
    for form in [Form::Pem, Form::Lines] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let mut fill = counting();
        for seconds in [0, 100, 200] {
            rotate(&path, form, None, later(seconds), &mut fill).unwrap();
        }
        // At 300 the first key has been out of use for 200 seconds, the second for 100.
        let rotated = rotate(&path, form, Some(Duration::from_secs(150)), later(300), &mut fill).unwrap();
        assert_eq!((rotated.kept, rotated.dropped), (2, 1));
    }
}

#[test]
fn a_key_of_unknown_age_is_kept_until_a_dated_one_has_replaced_it_for_long_enough() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jwt-secret");
    fs::write(&path, "a secret of somebody's own, long enough\n").unwrap();
    let drop_after = Some(Duration::from_secs(10));
    let mut fill = counting();
    assert_eq!(rotate(&path, Form::Lines, drop_after, NOW, &mut fill).unwrap().kept, 1);
    let rotated = rotate(&path, Form::Lines, drop_after, later(11), &mut fill).unwrap();
    assert_eq!((rotated.kept, rotated.dropped), (1, 1));
}

#[test]
fn what_a_file_of_keys_must_not_hold_is_named() {
    let pem = new_pem(&mut |bytes| bytes.fill(7));
    let pem = pem.expose();
    let other = |word: &str| pem.replace("PRIVATE KEY", word);
    let torn = pem.lines().take(2).collect::<Vec<_>>().join("\n");
    for (text, form, error) in [
        (String::new(), Form::Pem, KeyFileError::Empty),
        ("# remark\n\n".to_owned(), Form::Lines, KeyFileError::Empty),
        ("too short\n".to_owned(), Form::Lines, KeyFileError::NotSecrets),
        (
            format!("{}\n", "x".repeat(32)).repeat(17),
            Form::Lines,
            KeyFileError::TooMany,
        ),
        (other("PUBLIC KEY"), Form::Pem, KeyFileError::NotPem),
        (other("EC PRIVATE KEY"), Form::Pem, KeyFileError::NotPem),
        (
            format!("{pem}\n{}", other("CERTIFICATE")),
            Form::Pem,
            KeyFileError::NotPem,
        ),
        (torn.clone(), Form::Pem, KeyFileError::NotPem),
        (format!("{torn}\n{pem}"), Form::Pem, KeyFileError::NotPem),
        (pem.replace("MC4C", "MC4D"), Form::Pem, KeyFileError::NotPem),
    ] {
        assert_eq!(parse(&text, form).err(), Some(error), "{form:?}");
    }
    let remarks = format!("made by hand\r\n{}\r\n\r\nanother\n{pem}", pem.replace('\n', "\r\n"));
    assert_eq!(parse(&remarks, Form::Pem).unwrap().len(), 2);
}

#[test]
fn without_randomness_no_key_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jwt-secret");
    assert_eq!(
        read_or_make(&path, NOW, &mut |_| {}).err(),
        Some(KeyFileError::NoRandomness)
    );
    for form in [Form::Pem, Form::Lines] {
        assert_eq!(
            rotate(&path, form, None, NOW, &mut |_| {}),
            Err(KeyFileError::NoRandomness)
        );
    }
    assert!(!path.exists());
}

#[test]
fn instances_that_start_at_once_agree_on_one_secret() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data/jwt-secret");
    let keys: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = (1..=8_u8)
            .map(|number| {
                let path = &path;
                scope.spawn(move || read_or_make(path, NOW, &mut |bytes| bytes.fill(number)).unwrap())
            })
            .collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert!(keys.iter().all(|found| found.len() == 1 && found[0].is(&keys[0][0])));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_device_a_directory_and_a_huge_file_are_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let huge = dir.path().join("huge");
    fs::write(&huge, "x".repeat(70_000)).unwrap();
    for path in [Path::new("/dev/zero"), dir.path(), &huge] {
        let error = read(path, Form::Lines).err();
        assert_eq!(
            error,
            Some(KeyFileError::Unreadable(io::ErrorKind::InvalidInput)),
            "{}",
            path.display()
        );
    }
}

#[test]
fn two_rotations_at_once_lose_no_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.pem");
    let done: usize = std::thread::scope(|scope| {
        let rotations: Vec<_> = (1..=6_u8)
            .map(|number| {
                let path = &path;
                scope.spawn(move || rotate(path, Form::Pem, None, NOW, &mut |bytes| bytes.fill(number)))
            })
            .collect();
        let ended = rotations.into_iter().map(|rotation| rotation.join().unwrap());
        ended
            .filter(|end| match end {
                Ok(_) => true,
                Err(error) => {
                    assert_eq!(*error, KeyFileError::Locked);
                    false
                }
            })
            .count()
    });
    assert_eq!(read(&path, Form::Pem).unwrap().len(), done);
}
