use super::*;
use crate::{
    http::together::together,
    telemetry::{log::LogQueue, metrics::Metrics},
};

fn hash_of(secret: &str) -> String {
    bcrypt::hash(secret, 4).expect("the cost is allowed")
}

fn record(id: &str, hash: &str, more: &str) -> String {
    format!(r#"{{"id":"{id}","secret_hash":"{hash}","key_prefix":"hk_live_abc","name":"{id}"{more}}}"#)
}

fn index(records: &[String]) -> Index {
    Index::build(format!(r#"{{"keys":[{}]}}"#, records.join(",")).as_bytes()).unwrap()
}

fn imported() -> (Imported, Telemetry) {
    let telemetry = Telemetry {
        metrics: Arc::new(Metrics::default()),
        log: LogQueue::stdout().unwrap(),
    };
    (Imported::new(telemetry.clone()), telemetry)
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn computed(telemetry: &Telemetry) -> u64 {
    telemetry
        .metrics
        .take()
        .counters
        .get("verify.bcrypt")
        .copied()
        .unwrap_or_default()
}

async fn id_of(imported: &Imported, index: &Index, presented: &str) -> Result<Option<String>, Busy> {
    imported.settle(index, address("192.0.2.1"), [presented]).await;
    let digest = imported.digest_of(index, presented)?;
    Ok(index.find(&digest).map(|entry| entry.id.to_owned()))
}

#[tokio::test]
async fn many_presentations_of_one_secret_at_once_cost_one_bcrypt() {
    let (imported, telemetry) = imported();
    let index = index(&[record("a", &hash_of("hk_live_abc1"), "")]);
    for (presented, expected) in [("hk_live_abc1", Some("a".to_owned())), ("hk_live_abc2", None)] {
        let at_once = (0..50).map(|_| id_of(&imported, &index, presented));
        let answers = together(at_once).await;
        assert!(
            answers.iter().all(|answer| *answer == Ok(expected.clone())),
            "{answers:?}"
        );
        assert_eq!(computed(&telemetry), 1);
    }
}

#[test]
fn one_guesser_has_a_share_of_the_queue_and_leaves_the_rest_to_others() {
    let (imported, _) = imported();
    // Nobody computes anything before it is told to.
    let (queue, checks) = sync_channel(WAITING);
    imported.queue.set(Some(queue)).unwrap();
    let index = index(&[record("a", &hash_of("hk_live_abc1"), "")]);
    let start = |guesser: &str, guess: usize| {
        let started = imported.start(&index, holder(address(guesser)), &format!("hk_live_abc-guess-{guess}"));
        started.map(|outcome| outcome.expect("it is not known yet"))
    };
    let finish_one = || {
        let check = checks.try_recv().expect("one waits");
        imported.shared.note(&check, false);
    };
    // Nobody waits for them, and they hold their places all the same.
    assert!((0..SHARE).all(|guess| start("192.0.2.1", guess).is_ok()));
    assert_eq!(start("192.0.2.1", SHARE).unwrap_err(), Busy);
    assert!(start("192.0.2.1", 0).is_ok(), "whoever asks for the same joins it");
    assert!(
        (0..SHARE).all(|guess| start("192.0.2.2", guess).is_ok()),
        "so do others"
    );
    assert!((100..100 + SHARE).all(|guess| start(&format!("2001:db8::{guess}"), guess).is_ok()));
    assert_eq!(start("2001:db8::1", 200).unwrap_err(), Busy, "a network is one guesser");
    assert!(start("192.0.2.2", 300).is_ok(), "joining took no place");
    finish_one();
    assert!(start("192.0.2.1", SHARE).is_ok());
    assert_eq!(start("192.0.2.1", SHARE + 1).unwrap_err(), Busy);
    assert_eq!(checks.try_iter().count(), 2 * SHARE + 1);
}

#[tokio::test]
async fn one_batch_has_no_more_than_its_share_at_a_time_and_goes_on_as_places_are_free() {
    let (imported, _) = imported();
    let (queue, checks) = sync_channel(WAITING);
    imported.queue.set(Some(queue)).unwrap();
    let index = index(&[record("a", &hash_of("hk_live_abc1"), "")]);
    let guesses: Vec<_> = (0..3 * SHARE)
        .map(|guess| format!("hk_live_abc-guess-{guess}"))
        .collect();
    // One stands there twice.
    let batch = guesses[..1].iter().chain(&guesses).map(String::as_str);
    let all = imported.settle(&index, address("192.0.2.1"), batch);
    let one_by_one = async {
        for done in 0..3 * SHARE {
            let running = imported.shared.checks().running.len();
            assert_eq!(running, SHARE.min(3 * SHARE - done));
            let check = checks.try_recv().expect("one waits");
            imported.shared.note(&check, false);
            check.outcome.send(Some(false)).expect("it is waited for");
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(biased; all, one_by_one);
    let is_known = |guess: &String| imported.digest_of(&index, guess).is_ok();
    assert!(guesses.iter().all(is_known));
}

#[tokio::test]
async fn records_that_share_a_prefix_are_tried_one_for_each_presentation() {
    let (imported, telemetry) = imported();
    let hashes = ["hk_live_abc1", "hk_live_abc2", "hk_live_abc3"].map(hash_of);
    let index = index(&[("a", 0), ("b", 1), ("c", 2)].map(|(id, at)| record(id, &hashes[at], "")));
    for expected in [Err(Busy), Err(Busy), Ok(Some("c".to_owned()))] {
        assert_eq!(id_of(&imported, &index, "hk_live_abc3").await, expected);
        assert_eq!(computed(&telemetry), 1);
    }
    for expected in [Err(Busy), Err(Busy), Ok(None), Ok(None)] {
        assert_eq!(id_of(&imported, &index, "hk_live_abc4").await, expected);
    }
    assert_eq!(computed(&telemetry), 3);
}

#[tokio::test]
async fn what_is_known_outlives_the_index_and_revives_nothing() {
    let (imported, telemetry) = imported();
    let hash = hash_of("hk_live_abc1");
    let first = index(&[record("a", &hash, "")]);
    assert_eq!(id_of(&imported, &first, "hk_live_abc1").await, Ok(Some("a".to_owned())));
    let revoked = index(&[
        record("a", &hash, r#","is_active":false"#),
        record("b", &hash_of("x"), ""),
    ]);
    let digest = imported.digest_of(&revoked, "hk_live_abc1").unwrap();
    assert!(revoked.find(&digest).unwrap().revoked);
    let without = index(&[record("b", &hash_of("hk_live_abc9"), "")]);
    assert_eq!(id_of(&imported, &without, "hk_live_abc1").await, Ok(None));
    assert_eq!(computed(&telemetry), 2, "once for a, once for b");
    let again = index(&[record("a", &hash, "")]);
    assert_eq!(id_of(&imported, &again, "hk_live_abc1").await, Ok(Some("a".to_owned())));
    assert_eq!(computed(&telemetry), 0);
    let hashed_anew = index(&[record("a", &hash_of("hk_live_abc1"), "")]);
    assert_eq!(
        id_of(&imported, &hashed_anew, "hk_live_abc1").await,
        Ok(Some("a".to_owned()))
    );
}

#[tokio::test]
async fn a_secret_without_a_matching_prefix_costs_no_bcrypt() {
    let (imported, telemetry) = imported();
    let index = index(&[record("a", &hash_of("hk_live_abc1"), "")]);
    let long = format!("hk_live_abc{}", "x".repeat(72));
    for presented in ["", "hk_live_ab", "hk_live_abd1", "sec_x", &long, "hk_live_abc\0"] {
        assert_eq!(id_of(&imported, &index, presented).await, Ok(None), "{presented:?}");
    }
    assert_eq!(computed(&telemetry), 0);
    assert!(imported.queue.get().is_none(), "no thread was started");
}

#[test]
fn wrong_guesses_are_remembered_in_bounded_memory() {
    let mut wrong = Generations::default();
    let guess = |number: usize| {
        let mut pair = [0; 32];
        pair[..8].copy_from_slice(&number.to_le_bytes());
        pair
    };
    for number in 0..3 * REMEMBERED {
        wrong.insert(guess(number));
    }
    assert!(wrong.young.len() + wrong.old.len() <= 2 * REMEMBERED);
    assert!((2 * REMEMBERED..3 * REMEMBERED).all(|number| wrong.contains(&guess(number))));
}
