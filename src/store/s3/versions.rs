//! The versions of the object that a bucket keeps, and one of them.

use aws_sdk_s3::{
    operation::list_object_versions::ListObjectVersionsOutput,
    primitives::DateTime,
    types::{DeleteMarkerEntry, ObjectVersion},
};
use tokio::time::timeout;

use super::{S3Store, failure, status};
use crate::{
    core::time::Timestamp,
    store::{Fetched, StoreError, StoredVersion, Version, Versions},
};

/// What a bucket that keeps no versions calls the only one.
const UNVERSIONED: &str = "null";
const PAGE: i32 = 1000;

impl S3Store {
    /// The newest first, at most `limit`.
    pub async fn versions(&self, limit: usize) -> Result<Versions, StoreError> {
        timeout(self.limits.deadline, self.list_versions(limit))
            .await
            .unwrap_or(Err(StoreError::Timeout))
    }

    /// `Missing` when there is no such version, or when it says that the object was deleted.
    pub async fn read_version(&self, id: &str) -> Result<Fetched, StoreError> {
        let request = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(&self.key)
            .version_id(id);
        let read = async {
            match request.send().await {
                Ok(output) => {
                    let version = Version(output.e_tag.clone().ok_or(StoreError::Failed)?);
                    let bytes = self.take_in(output, Vec::new()).await?;
                    Ok(Fetched::Object { version, bytes }.into())
                }
                // No bucket has an id of another form, and a mark of deletion cannot be read.
                Err(error) if matches!(status(&error), Some(400 | 404 | 405)) => match failure(&error) {
                    StoreError::NoBucket => Err(StoreError::NoBucket),
                    _ => Ok(Fetched::Missing),
                },
                Err(error) => Err(failure(&error)),
            }
        };
        timeout(self.limits.deadline, read)
            .await
            .unwrap_or(Err(StoreError::Timeout))
    }

    async fn list_versions(&self, limit: usize) -> Result<Versions, StoreError> {
        let mut found = Vec::new();
        let mut next = (None, None);
        loop {
            let page = self.version_page(next).await?;
            found.extend(
                page.versions()
                    .iter()
                    .filter(|one| one.key() == Some(&self.key))
                    .filter_map(stored),
            );
            found.extend(
                page.delete_markers()
                    .iter()
                    .filter(|one| one.key() == Some(&self.key))
                    .filter_map(deleted),
            );
            // Keys are listed in their order, so another one means that this one's versions are over.
            let is_over = page.next_key_marker() != Some(&self.key) || page.is_truncated() != Some(true);
            if is_over || found.len() > limit {
                break;
            }
            next = (page.next_key_marker, page.next_version_id_marker);
        }
        if found.iter().all(|version| version.id == UNVERSIONED) {
            return Ok(Versions::NotKept);
        }
        found.sort_by_key(|version| (!version.is_latest, std::cmp::Reverse(version.written_at)));
        found.truncate(limit);
        Ok(Versions::Kept(found))
    }

    async fn version_page(
        &self,
        (key_marker, version_marker): (Option<String>, Option<String>),
    ) -> Result<ListObjectVersionsOutput, StoreError> {
        let request = self
            .client
            .list_object_versions()
            .bucket(&self.bucket)
            .prefix(&self.key);
        let answer = request
            .max_keys(PAGE)
            .set_key_marker(key_marker)
            .set_version_id_marker(version_marker)
            .send()
            .await;
        answer.map_err(|error| failure(&error))
    }
}

fn stored(version: &ObjectVersion) -> Option<StoredVersion> {
    Some(StoredVersion {
        id: version.version_id()?.to_owned(),
        written_at: timestamp(version.last_modified()),
        bytes: version.size().and_then(|size| u64::try_from(size).ok()),
        is_latest: version.is_latest() == Some(true),
        is_deletion: false,
    })
}

fn deleted(marker: &DeleteMarkerEntry) -> Option<StoredVersion> {
    Some(StoredVersion {
        id: marker.version_id()?.to_owned(),
        written_at: timestamp(marker.last_modified()),
        bytes: None,
        is_latest: marker.is_latest() == Some(true),
        is_deletion: true,
    })
}

fn timestamp(time: Option<&DateTime>) -> Option<Timestamp> {
    time.and_then(|time| time.to_millis().ok()).map(Timestamp::from_millis)
}
