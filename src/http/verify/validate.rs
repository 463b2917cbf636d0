//! `POST /api/v1/keys/validate`: the caller's own key, as a credential or in the body. A bad one is 401.

use hyper::{HeaderMap, header::AUTHORIZATION};

use super::{Decided, Refusal, Reply, Sender, malformed, refused};
use crate::core::request::{Malformed, VerifyRequest};

pub async fn answer(sender: &Sender<'_>, body: &[u8]) -> Reply {
    let request = bearer(sender.headers).and_then(|bearer| VerifyRequest::parse_with(body, bearer));
    match request {
        Ok(Some(request)) => judge(sender, &request).await.unwrap_or_else(Reply::from),
        Ok(None) => malformed(sender.connection, sender.headers, "missing", Refusal::NoCredential),
        Err(reason) => sender.malformed(reason),
    }
}

async fn judge(sender: &Sender<'_>, request: &VerifyRequest<'_>) -> Result<Reply, Refusal> {
    let loaded = sender.loaded_for([&*request.api_key]).await?;
    let digest = sender.digest(&loaded, request)?;
    let Decided { verdict, charged } = sender.decide(&loaded, digest, request, sender.began).await;
    Ok(charged.tell(match verdict {
        Ok(key) => Reply::good_credential(&key),
        Err(refusal) => refused(Refusal::Credential(refusal), request),
    }))
}

/// The token of `Authorization: Bearer`. Credentials of another scheme are not ours to judge.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Malformed> {
    let mut sent = headers.get_all(AUTHORIZATION).iter();
    let (first, more) = (sent.next(), sent.next());
    if more.is_some() {
        return Err(Malformed::TwoApiKeys);
    }
    let credentials = first.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = credentials
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim_matches(' '));
    Ok(token.filter(|token| !token.is_empty()))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn a_bearer_token_is_taken_and_nothing_else() {
        let table = [
            ("Bearer sec_1", Some("sec_1")),
            ("bearer  sec_1 ", Some("sec_1")),
            ("Bearer ", None),
            ("Bearer", None),
            ("Basic c2VjXzE6", None),
            ("sec_1", None),
            ("", None),
        ];
        for (sent, token) in table {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_str(sent).unwrap());
            assert_eq!(bearer(&headers), Ok(token), "{sent}");
        }
        assert_eq!(bearer(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn two_credentials_are_one_too_many() {
        let mut headers = HeaderMap::new();
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer sec_1"));
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer sec_2"));
        assert_eq!(bearer(&headers), Err(Malformed::TwoApiKeys));
    }
}
