//! What is sealed opens, and nothing opens that was changed on its way or sealed by another secret.

use heare_auth::{core::secret::Secret, envelope::Envelope};
use std::sync::LazyLock;

static OURS: LazyLock<Envelope> = LazyLock::new(|| Envelope::new(Some(&Secret::new("ours"))));
static THEIRS: LazyLock<Envelope> = LazyLock::new(|| Envelope::new(Some(&Secret::new("theirs"))));
static NONE: LazyLock<Envelope> = LazyLock::new(|| Envelope::new(None));

pub fn check(data: &[u8]) {
    // As it is: only what bears no header opens, and then as itself.
    let opened = OURS.open(data);
    assert_eq!(opened.is_ok(), !Envelope::is_sealed(data));
    if let Ok(opened) = opened {
        assert_eq!(*opened, *data);
    }
    let (Some((&at, rest)), Some(&with)) = (data.split_first(), data.last()) else {
        return;
    };
    let sealed = OURS.seal(rest.to_vec());
    assert!(Envelope::is_sealed(&sealed));
    assert_eq!(*OURS.open(&sealed).expect("what was sealed opens"), *rest);
    assert!(THEIRS.open(&sealed).is_err() && NONE.open(&sealed).is_err());
    let mut changed = sealed.clone();
    let place = usize::from(at) * 31 % changed.len();
    changed[place] = with;
    if changed.trim_ascii_end() != sealed && Envelope::is_sealed(&changed) {
        assert!(OURS.open(&changed).is_err(), "changed at {place}");
    }
}
