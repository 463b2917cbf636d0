//! Bounds what is read of any answer. The SDK reads every answer that is no object into memory, however long it is.

use aws_sdk_s3::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeDeserializationInterceptorContextMut},
    error::BoxError,
    primitives::SdkBody,
};
use http_body_util::Limited;

/// Far more than any error of a store has to say.
const MAX_REFUSAL: usize = 1 << 20;
/// An object that is too large is called so by who reads it, so this bound lies above.
const MARGIN: usize = 8 << 20;

/// An answer that says yes may be as long as a document, any other as a page of a proxy.
#[derive(Debug)]
pub(super) struct BoundedAnswers {
    pub max_bytes: usize,
}

impl Intercept for BoundedAnswers {
    fn name(&self) -> &'static str {
        "BoundedAnswers"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let answer = context.response_mut();
        let most = if answer.status().is_success() {
            self.max_bytes.saturating_add(MARGIN)
        } else {
            MAX_REFUSAL
        };
        let endless = std::mem::replace(answer.body_mut(), SdkBody::empty());
        *answer.body_mut() = SdkBody::from_body_1_x(Limited::new(endless, most));
        Ok(())
    }
}
