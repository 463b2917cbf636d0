//! Where the next page of a list begins, as a text that only this service reads.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{catalogue::After, core::time::Timestamp};

pub fn write(after: &After) -> String {
    let mark = (after.created_at.as_millis(), after.position, &after.id);
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&mark).expect("numbers and texts are always JSON"))
}

/// `None` for a text that was not written here.
pub fn read(text: &str) -> Option<After> {
    let json = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (created_at, position, id) = serde_json::from_slice(&json).ok()?;
    Some(After {
        created_at: Timestamp::from_millis(created_at),
        position,
        id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_nothing_else_is() {
        let after = After {
            created_at: Timestamp::from_millis(1_705_746_600_000),
            position: 7,
            id: "key_\"1\"".to_owned(),
        };
        assert_eq!(read(&write(&after)), Some(after));
        for text in ["", "x", "!!", "e30", "W10", &URL_SAFE_NO_PAD.encode("[1,-1,\"a\"]")] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
