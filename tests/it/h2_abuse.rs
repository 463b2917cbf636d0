//! HTTP/2 against its purpose: floods of frames that cost the sender little. Each costs the service no memory to speak of,
//! keeps nobody else from an answer, and ends with its connection.

use crate::support::{
    asking::Asking,
    frames::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, Frames, GOAWAY, HEADERS,
        HEALTH, PING, PRIORITY, PROTOCOL_ERROR, RST_STREAM, SETTINGS, VERIFY, WINDOW_UPDATE, frame,
    },
    service::{Service, Settings},
};
use std::time::Duration;

const DOCUMENT: &str = r#"{"keys":[{"id":"key_a","secret":"sec_a","name":"A"}]}"#;

/// How many streams a connection may have at once.
const MOST_STREAMS: usize = 200;

/// Streams of a client have odd numbers.
fn stream(turn: usize) -> u32 {
    u32::try_from(2 * turn + 1).expect("few streams")
}

fn service() -> Service {
    let settings = Settings::file_store().with("WORKERS", "2");
    settings.write_document(DOCUMENT);
    settings.start_ready()
}

/// What is promised whatever a connection does: the others are answered, memory is bounded.
fn harms_nobody(service: &Service, what: &str, abuse: impl FnOnce()) {
    let before = service.resident_kib();
    let asking = Asking::start(service.address(), "sec_a", |answer| answer.status == 200);
    abuse();
    let answered = asking.stop();
    assert!(answered.p99() < Duration::from_secs(1), "{what}: {:?}", answered.p99());
    let grown = service.peak_resident_kib().saturating_sub(before);
    assert!(grown < 20 << 10, "{what}: {grown} KiB");
}

#[test]
fn floods_that_no_honest_client_sends_end_the_connection() {
    type Next = fn(usize) -> Vec<u8>;
    let floods: [(&str, &[u8], u32, Next); 6] = [
        ("streams that are reset at once", b"", ENHANCE_YOUR_CALM, |turn| {
            let reset = frame(RST_STREAM, 0, stream(turn), &8_u32.to_be_bytes());
            [frame(HEADERS, END_STREAM | END_HEADERS, stream(turn), HEALTH), reset].concat()
        }),
        ("a head that never ends", HEALTH, PROTOCOL_ERROR, |_| {
            frame(CONTINUATION, 0, 1, &b"\x00\x04aaaa\x7f\x80\x01".repeat(400))
        }),
        ("a head of empty pieces", HEALTH, ENHANCE_YOUR_CALM, |_| {
            frame(CONTINUATION, 0, 1, b"").repeat(10)
        }),
        ("a body of empty pieces", VERIFY, ENHANCE_YOUR_CALM, |_| {
            frame(DATA, 0, 1, b"").repeat(100)
        }),
        ("a window that is opened too far", VERIFY, FLOW_CONTROL_ERROR, |_| {
            frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes())
        }),
        ("more streams than are allowed", b"", ENHANCE_YOUR_CALM, |turn| {
            frame(HEADERS, END_HEADERS, stream(turn), VERIFY)
        }),
    ];
    let service = service();
    for (what, head, end, next) in floods {
        harms_nobody(&service, what, || {
            let mut frames = Frames::open(service.address());
            if !head.is_empty() {
                let flags = if head == VERIFY { END_HEADERS } else { 0 };
                frames.send(&frame(HEADERS, flags, 1, head)).unwrap();
            }
            let most = 200_000;
            let taken = frames.flood(most, next);
            assert!(taken < most, "{what} is taken without end");
            assert_eq!(frames.goodbye(), Some(end), "{what}");
        });
    }
}

#[test]
fn heads_whose_bodies_do_not_come_take_no_more_room_than_connections_would() {
    let settings = Settings::file_store().with("MAX_CONNECTIONS", "4");
    settings.write_document(DOCUMENT);
    let service = settings.start_ready();
    let mut frames = Frames::open(service.address());
    for turn in 0..10 {
        frames.send(&frame(HEADERS, END_HEADERS, stream(turn), VERIFY)).unwrap();
    }
    // The connection has room for one, and there are three more slots, or fewer as long as an earlier connection has its own.
    let mut answers = Vec::new();
    let mut answered = |frames: &mut Frames, count| {
        frames.said_until(|kind, payload| {
            answers.extend((kind == DATA).then(|| String::from_utf8_lossy(payload).into_owned()));
            answers.len() == count
        });
        answers
            .iter()
            .filter(|answer| answer.contains("did not arrive in time"))
            .count()
    };
    assert_eq!(answered(&mut frames, 6), 6);
    for turn in 0..10 {
        let body = frame(DATA, END_STREAM, stream(turn), br#"{"api_key":"sec_a"}"#);
        frames.send(&body).unwrap();
    }
    let refused = answered(&mut frames, 10);
    assert!((6..10).contains(&refused), "{answers:?}");
    assert_eq!(
        answers.iter().filter(|answer| answer.contains("key_a")).count(),
        10 - refused
    );
    // All of it is free again.
    let mut others: Vec<_> = (0..3).map(|_| service.connect()).collect();
    for other in &mut others {
        assert_eq!(other.get("/health").expect("an answer").status, 200);
    }
}

#[test]
fn floods_that_want_an_answer_stop_where_nobody_reads_it() {
    let service = service();
    for (what, kind, payload) in [
        ("pings", PING, &b"12345678"[..]),
        ("settings", SETTINGS, b"\x00\x03\x00\x00\x00\x64"),
    ] {
        harms_nobody(&service, what, || {
            let mut frames = Frames::open(service.address());
            let many = frame(kind, 0, 0, payload).repeat(500);
            let taken = frames.flood(20_000, |_| many.clone());
            assert!(taken < 20_000, "{what} are taken without end");
        });
    }
}

#[test]
fn a_small_head_that_unpacks_to_a_large_one_is_refused() {
    let service = service();
    // One long header, put into the table, and then named by one byte each time.
    let mut long = b"\x40\x01a\x7f\xbd\x1d".to_vec();
    long.extend([b'x'; 3900]);
    harms_nobody(&service, "packed heads", || {
        let mut frames = Frames::open(service.address());
        let first = [HEALTH, &long].concat();
        frames
            .send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &first))
            .unwrap();
        let bomb = [HEALTH, &b"\xbe".repeat(4000)].concat();
        frames.flood(300, |turn| {
            frame(HEADERS, END_STREAM | END_HEADERS, stream(turn + 1), &bomb)
        });
        let said = frames.said();
        assert!(said.contains(&RST_STREAM) || said.contains(&GOAWAY), "{said:?}");
    });
}

#[test]
fn answers_that_may_not_be_sent_are_few() {
    let service = service();
    harms_nobody(&service, "closed windows", || {
        let ask = |turn| frame(HEADERS, END_STREAM | END_HEADERS, stream(turn), HEALTH);
        // No window for any answer's body.
        let closed = || Frames::with_settings(service.address(), b"\x00\x04\x00\x00\x00\x00");
        let (mut frames, asked) = (closed(), MOST_STREAMS + 100);
        frames.send(&(0..asked).flat_map(ask).collect::<Vec<_>>()).unwrap();
        let (mut answered, mut refused) = (0, 0);
        frames.said_until(|kind, _| {
            answered += usize::from(kind == HEADERS);
            refused += usize::from(kind == RST_STREAM);
            answered + refused == asked
        });
        assert_eq!(answered, MOST_STREAMS);

        let mut frames = closed();
        frames.flood(5000, ask);
        let said = frames.said();
        assert!(!said.contains(&DATA), "{said:?}");
    });
}

#[test]
fn frames_that_mean_nothing_are_passed_over() {
    let service = service();
    harms_nobody(&service, "frames without meaning", || {
        let mut frames = Frames::open(service.address());
        frames.flood(200, |_| frame(0x4d, 0, 0, &[b'x'; 16_000]));
        frames.flood(2000, |turn| frame(PRIORITY, 0, stream(turn), b"\0\0\0\0\x10"));
        let flags = END_STREAM | END_HEADERS;
        frames.send(&frame(HEADERS, flags, stream(5000), HEALTH)).unwrap();
        let said = frames.said_until(|kind, _| kind == DATA);
        assert!(said.contains(&HEADERS) && said.contains(&DATA), "{said:?}");
    });
}
