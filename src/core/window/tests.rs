use proptest::prelude::*;

use super::*;

const fn limit(max: u32, burst: u32, window_seconds: u32) -> Limit {
    Limit {
        name: Cow::Borrowed("test"),
        max,
        burst,
        window_seconds,
    }
}

fn ask(limit: &Limit, window: &mut Window, now_ms: u64, cost: u32) -> Decision {
    decide(std::slice::from_ref(limit), std::slice::from_mut(window), now_ms, cost)
}

/// Every charge with its own time, forgotten exactly one length later.
#[derive(Default)]
struct ExactLog(Vec<(u64, u64)>);

impl ExactLog {
    fn charged(&self, length_ms: u64, now_ms: u64) -> u64 {
        let counts = |at: u64| now_ms - at < length_ms;
        self.0.iter().filter(|(at, _)| counts(*at)).map(|(_, cost)| cost).sum()
    }
}

#[test]
fn a_window_takes_its_quota_and_then_refuses() {
    let (limit, mut window) = (limit(3, 2, 60), Window::default());
    for left in (0..5).rev() {
        let decision = ask(&limit, &mut window, 1000, 1);
        assert!(decision.allowed);
        assert_eq!(decision.standings()[0].remaining, left);
    }
    let refused = ask(&limit, &mut window, 1000, 1);
    assert!(!refused.allowed);
    assert_eq!(refused.wait_ms(), 60_000);
}

#[test]
fn what_was_charged_comes_back_exactly_one_length_later() {
    let (limit, mut window) = (limit(2, 0, 10), Window::default());
    assert!(ask(&limit, &mut window, 0, 1).allowed);
    assert!(ask(&limit, &mut window, 4000, 1).allowed);
    let refused = ask(&limit, &mut window, 9999, 1);
    assert_eq!((refused.allowed, refused.wait_ms()), (false, 1));
    assert!(ask(&limit, &mut window, 10_000, 1).allowed);
    assert_eq!(ask(&limit, &mut window, 10_000, 2).wait_ms(), 10_000);
    assert_eq!(ask(&limit, &mut window, 10_000, 1).wait_ms(), 4000);
}

#[test]
fn a_boundary_gives_nobody_a_double_share() {
    for max in [10, 1000] {
        let (limit, mut window) = (limit(max, 0, 3600), Window::default());
        let mut passed = 0;
        for n in 0..u64::from(2 * max) {
            // As much as it can in the last second of an hour, and again in the first of the next.
            let now = 3_599_000 + n * 2000 / u64::from(2 * max);
            passed += u32::from(ask(&limit, &mut window, now, 1).allowed);
        }
        assert_eq!(passed, max);
    }
}

#[test]
fn refusals_are_not_charged() {
    let (limit, mut window) = (limit(1, 0, 10), Window::default());
    assert!(ask(&limit, &mut window, 0, 1).allowed);
    for now in (100..10_000).step_by(100) {
        assert!(!ask(&limit, &mut window, now, 1).allowed);
    }
    assert!(ask(&limit, &mut window, 10_000, 1).allowed);
}

#[test]
fn of_several_windows_all_are_charged_or_none() {
    let limits = [limit(100, 0, 3600), limit(2, 0, 1)];
    let mut windows = [Window::default(), Window::default()];
    let mut ask = |now, cost| decide(&limits, &mut windows, now, cost);
    assert!(ask(0, 2).allowed);
    for _ in 0..50 {
        let refused = ask(500, 1);
        assert!(!refused.allowed);
        assert_eq!((refused.tightest(), refused.wait_ms()), (1, 500));
        assert_eq!(refused.standings()[0].remaining, 98);
        assert_eq!(refused.standings()[0].wait_ms, 0);
    }
    assert_eq!(
        ask(1000, 1).standings().iter().map(|s| s.remaining).collect::<Vec<_>>(),
        [97, 1]
    );
}

#[test]
fn a_cost_above_the_quota_never_fits() {
    let refused = ask(&limit(5, 0, 60), &mut Window::default(), 0, 6);
    assert_eq!((refused.allowed, refused.wait_ms()), (false, 60_000));
}

#[test]
fn who_keeps_to_98_of_100_parts_is_never_refused() {
    for max in [1000, 5000] {
        let (limit, mut window) = (limit(max, 0, 100), Window::default());
        let steady = u64::from(max) * 98 / 100;
        for n in 0..steady * 3 {
            let now = 1_000_000 + n * limit.length_ms() / steady;
            assert!(ask(&limit, &mut window, now, 1).allowed, "{max} {n}");
        }
    }
}

#[test]
fn a_refund_gives_back_what_was_charged() {
    for max in [8, 400] {
        let (limit, mut window) = (limit(max, 0, 3600), Window::default());
        assert!(ask(&limit, &mut window, 0, max - 1).allowed);
        assert!(ask(&limit, &mut window, 5, 1).allowed);
        window.refund(0, 3);
        assert_eq!(ask(&limit, &mut window, 10, 1).standings()[0].remaining, 2);
        assert!(
            ask(&limit, &mut window, 3_600_010, max).allowed,
            "what is left is forgotten"
        );
    }
}

#[test]
fn a_charge_that_is_given_back_whole_is_waited_for_no_longer() {
    let (limit, mut window) = (limit(4, 0, 3600), Window::default());
    assert!(ask(&limit, &mut window, 0, 1).allowed);
    assert!(ask(&limit, &mut window, 1000, 2).allowed);
    for (at, cost, reset_ms) in [(1000, 2, 3_599_000), (0, 1, 0)] {
        window.refund(at, cost);
        assert_eq!(ask(&limit, &mut window, 1000, 5).standings()[0].reset_ms, reset_ms);
    }
}

#[test]
fn only_a_large_quota_is_counted_in_grains() {
    for (quota, window_seconds, grain_ms) in [(64, 3600, 1), (65, 3600, 56_250), (65, 1, 16)] {
        assert_eq!(limit(quota - 1, 1, window_seconds).grain_ms(), grain_ms, "{quota}");
    }
}

#[test]
fn a_caller_should_heed_the_window_that_waits_longest_or_else_the_fullest() {
    for (allowed, found, tightest) in [
        (true, vec![(3, 0), (1, 0), (2, 0)], 1),
        (true, vec![(1, 0), (2, 0)], 0),
        (false, vec![(0, 5), (9, 7), (0, 6)], 1),
        (true, vec![], 0),
    ] {
        let standings = found.iter().map(|&(remaining, wait_ms)| Standing {
            remaining,
            wait_ms,
            ..Standing::default()
        });
        assert_eq!(Decision::new(allowed, standings).tightest(), tightest, "{found:?}");
    }
}

#[test]
fn a_clock_set_back_takes_no_time_back() {
    let (limit, mut window) = (limit(2, 0, 10), Window::default());
    assert!(ask(&limit, &mut window, 1_000_000, 1).allowed);
    assert!(ask(&limit, &mut window, 1_004_000, 1).allowed);
    let refused = ask(&limit, &mut window, 500_000, 1);
    assert_eq!((refused.allowed, refused.wait_ms()), (false, 6000));
    assert!(ask(&limit, &mut window, 506_000, 1).allowed);
}

#[test]
fn a_smaller_limit_holds_at_once_for_what_was_charged_before() {
    let mut window = Window::default();
    for n in 0..1000 {
        assert!(ask(&limit(1000, 0, 3600), &mut window, n * 1000, 1).allowed);
    }
    let decision = ask(&limit(10, 0, 3600), &mut window, 1_000_000, 1);
    assert_eq!((decision.allowed, decision.standings()[0].remaining), (false, 0));
    assert!(ask(&limit(2000, 0, 3600), &mut window, 1_000_000, 1).allowed);
}

#[test]
fn room_is_made_for_twice_the_charges_until_there_is_room_for_all() {
    let (limit, mut window) = (limit(1000, 0, 64), Window::default());
    let mut rooms = vec![0];
    for n in 0..200 {
        // A limit that was made smaller, so that the charges of every millisecond count for themselves.
        window.charge(&self::limit(1, 0, 64), n, 1);
        window.advance(limit.length_ms(), n);
        rooms.push(window.charges.capacity());
    }
    rooms.dedup();
    assert_eq!(rooms, [0, 4, 8, 16, 32, 64, 66]);
    assert_eq!((window.charges.len(), window.charged()), (66, 200));
}

#[test]
fn a_decision_tells_of_as_many_windows_as_a_key_may_have() {
    let standing = |remaining| Standing {
        remaining,
        ..Standing::default()
    };
    let decision = Decision::new(true, (0..20).map(standing));
    let remaining: Vec<_> = decision.standings().iter().map(|standing| standing.remaining).collect();
    assert_eq!(remaining, (0..11).collect::<Vec<_>>(), "the hour and ten with names");
}

/// Pauses between requests and their costs: bursts, trickles and long silences.
fn requests() -> impl Strategy<Value = Vec<(u64, u32)>> {
    let pause = prop_oneof![4 => 0..3_u64, 4 => 0..400_u64, 1 => 0..20_000_u64];
    let cost = prop_oneof![5 => Just(1_u32), 1 => 1..9_u32];
    prop::collection::vec((pause, cost), 1..200)
}

proptest! {
    #[test]
    fn no_stretch_as_long_as_the_window_ever_holds_more_than_the_quota(
        max in 1..200_u32, burst in 0..50_u32, seconds in 1..20_u32, requests in requests(),
    ) {
        let (limit, mut window, mut exact, mut now) = (limit(max, burst, seconds), Window::default(), ExactLog::default(), 0);
        for (pause, cost) in requests {
            now += pause;
            if ask(&limit, &mut window, now, cost).allowed {
                exact.0.push((now, cost.into()));
            }
            prop_assert!(exact.charged(limit.length_ms(), now) <= u64::from(limit.quota()));
            prop_assert!(window.charges.len() <= MAX_CHARGES);
        }
    }

    #[test]
    fn a_small_quota_is_counted_exactly_and_a_large_one_to_the_grain(
        max in prop_oneof![1..=GRAINS, GRAINS + 1..300], seconds in 1..20_u32, requests in requests(),
    ) {
        let (limit, mut window, mut exact, mut now) = (limit(max, 0, seconds), Window::default(), ExactLog::default(), 0);
        let grain = if max <= GRAINS { 0 } else { limit.grain_ms() };
        for (pause, cost) in requests {
            now += pause;
            let fits = |length| exact.charged(length, now) + u64::from(cost) <= u64::from(max);
            let (surely, possibly) = (fits(limit.length_ms() + grain), fits(limit.length_ms()));
            let allowed = ask(&limit, &mut window, now, cost).allowed;
            prop_assert!(allowed || !surely, "refused what fits even with a grain more");
            prop_assert!(possibly || !allowed, "allowed what does not fit");
            if allowed {
                exact.0.push((now, cost.into()));
            }
        }
    }

    #[test]
    fn half_the_limit_steadily_is_never_refused(max in 2..600_u32, seconds in 1..7200_u32, start in 0..1_000_000_u64) {
        let (limit, mut window) = (limit(max, 0, seconds), Window::default());
        for n in 0..u64::from(max) * 2 {
            let now = start + n * limit.length_ms() * 2 / u64::from(max);
            prop_assert!(ask(&limit, &mut window, now, 1).allowed);
        }
    }

    #[test]
    fn after_the_wait_it_passes_and_not_a_millisecond_earlier(
        max in 1..200_u32, seconds in 1..20_u32, requests in requests(),
    ) {
        let (limit, mut window, mut now) = (limit(max, 0, seconds), Window::default(), 0);
        for (pause, cost) in requests {
            now += pause;
            let decision = ask(&limit, &mut window, now, cost);
            if !decision.allowed && cost <= max {
                prop_assert!(!ask(&limit, &mut window.clone(), now + decision.wait_ms() - 1, cost).allowed);
                prop_assert!(ask(&limit, &mut window.clone(), now + decision.wait_ms(), cost).allowed);
            }
        }
    }

    #[test]
    fn a_clock_that_jumps_both_ways_breaks_nothing(jumps in prop::collection::vec((0..100_000_u64, 1..5_u32), 1..500)) {
        let (limit, mut window) = (limit(100, 0, 10), Window::default());
        for (now, cost) in jumps {
            let decision = ask(&limit, &mut window, now, cost);
            prop_assert!(window.charges.len() <= MAX_CHARGES && window.charged() <= 100);
            prop_assert!(decision.standings()[0].reset_ms <= limit.length_ms());
        }
    }
}
