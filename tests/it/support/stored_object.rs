//! One object in the real S3 server as an operator handles it, and the settings of processes that use it.

use super::{
    far_end::FarEnd,
    fault_proxy::FaultProxy,
    seaweed::{Seaweed, blocking},
    settings::Settings,
};
use std::net::SocketAddr;

/// An object that no other test uses; nothing is stored yet.
pub struct StoredObject {
    seaweed: &'static Seaweed,
    key: String,
}

/// One in a bucket that keeps every version.
pub struct VersionedObject {
    seaweed: &'static Seaweed,
    bucket: &'static str,
    key: String,
}

impl VersionedObject {
    /// Puts bytes there as the newest version, as any other program could.
    pub fn put(&self, bytes: impl AsRef<[u8]>) {
        let (seaweed, bucket, key) = (self.seaweed, self.bucket, self.key.clone());
        let bytes = bytes.as_ref().to_vec();
        blocking(async move { seaweed.put_object_in(bucket, &key, &bytes).await });
    }

    pub fn delete(&self) {
        let (seaweed, bucket, key) = (self.seaweed, self.bucket, self.key.clone());
        blocking(async move { seaweed.delete_object_in(bucket, &key).await });
    }
}

impl StoredObject {
    pub fn new() -> Self {
        Self::of(Seaweed::get())
    }

    /// On a server that looks at no signature, so that a proxy may change requests on their way.
    pub fn unsigned() -> Self {
        Self::of(Seaweed::unsigned())
    }

    fn of(seaweed: &'static Seaweed) -> Self {
        let key = seaweed.fresh_key();
        Self { seaweed, key }
    }

    /// Puts bytes there without looking at what was there, as any other program could.
    pub fn put(&self, bytes: impl AsRef<[u8]>) {
        let (seaweed, key, bytes) = (self.seaweed, self.key.clone(), bytes.as_ref().to_vec());
        blocking(async move { seaweed.put_object(&key, &bytes).await });
    }

    pub fn delete(&self) {
        let (seaweed, key) = (self.seaweed, self.key.clone());
        blocking(async move { seaweed.delete_object(&key).await });
    }

    pub fn bytes(&self) -> Vec<u8> {
        let (seaweed, key) = (self.seaweed, self.key.clone());
        blocking(async move { seaweed.object(&key).await }).expect("an object")
    }

    /// A service or a command on this object, on a free port and in a home of its own.
    pub fn settings(&self) -> Settings {
        self.settings_at(self.seaweed.address())
    }

    pub fn settings_through(&self, proxy: &FaultProxy) -> Settings {
        self.settings_at(proxy.address())
    }

    pub fn proxy(&self) -> FaultProxy {
        FaultProxy::start(self.seaweed.address())
    }

    /// The name of a bucket that does not exist.
    pub fn unused_bucket(&self) -> String {
        format!("unused-{}", self.key.replace('.', "-"))
    }

    pub fn make_bucket(&self, name: &str) {
        let (seaweed, name) = (self.seaweed, name.to_owned());
        blocking(async move { seaweed.create_bucket(&name).await });
    }

    /// What a process needs to find the object.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        self.seaweed.environment(self.seaweed.address(), &self.key)
    }

    /// An object of this name in a bucket that keeps every version.
    pub fn versioned(&self) -> (Settings, VersionedObject) {
        let (seaweed, key) = (self.seaweed, self.key.clone());
        let bucket = seaweed.versioned_bucket();
        let object = VersionedObject { seaweed, bucket, key };
        (self.settings().with("S3_BUCKET", bucket), object)
    }

    /// A TCP proxy before the server, and where it listens.
    pub fn far_end(&self) -> (FarEnd, SocketAddr) {
        let far_end = FarEnd::of(self.seaweed.address());
        let address = far_end.address();
        (far_end, address)
    }

    pub fn settings_at(&self, address: SocketAddr) -> Settings {
        let environment = self.seaweed.environment(address, &self.key);
        environment
            .into_iter()
            .fold(Settings::file_store(), |settings, (name, value)| {
                settings.with(name, value)
            })
    }
}
