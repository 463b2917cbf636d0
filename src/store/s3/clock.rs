//! What time the store has, as the head of an answer says.

use tokio::time::timeout;

use super::{IMPOSSIBLE_ETAG, S3Store};
use crate::core::time::Timestamp;

impl S3Store {
    /// In whole seconds, rounded down. Asked by a read that must be refused, as only refusals come with their head; `None`
    /// where the store does not refuse it, or says no time.
    pub async fn clock(&self) -> Option<Timestamp> {
        let request = self.client.get_object().bucket(&self.bucket).key(&self.key);
        let asked = request.if_match(IMPOSSIBLE_ETAG).send();
        let refused = timeout(self.limits.deadline, asked).await.ok()?.err()?;
        refused.raw_response()?.headers().get("date").and_then(read)
    }
}

/// The form of HTTP, `Sun, 06 Nov 1994 08:49:37 GMT`.
fn read(date: &str) -> Option<Timestamp> {
    let date = jiff::fmt::rfc2822::parse(date).ok()?;
    Some(Timestamp::from_millis(date.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_of_http_is_a_time_and_nothing_else_is() {
        let read = |date| read(date).map(|time| time.to_string());
        let date = read("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date.as_deref(), Some("1994-11-06T08:49:37Z"));
        for wrong in ["", "now", "1994-11-06T08:49:37Z", "Mon, 06 Nov 1994 08:49:37 GMT"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
