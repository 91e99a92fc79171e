//! Calls of a bucket's scripts by who may know another bucket than is there.
//!
//! Each bucket has a number from when it is made. A Redis that was emptied, or is another one, has none or another; a call
//! that names the old one is refused before it does anything, and waits until what was lost is written back.
//! Never: takes an empty Redis for one in which nobody is registered.

use redis::FromRedisValue;

use super::Shared;
use super::connection::Failure;
use super::keys::Bucket;
use super::scripts::{Call, LOST, Standpoint};

impl Shared {
    /// What this node knows of a bucket.
    pub(super) fn standpoint(&self, bucket: Bucket) -> Standpoint {
        Standpoint { number: self.mirror.number(bucket), leases: self.limits.leases }
    }

    /// Calls a script, once more when Redis had lost the bucket and has it again within the time of a call.
    pub(super) async fn call<T: FromRedisValue>(
        &self,
        bucket: Bucket,
        call: &Call<'_>,
    ) -> Result<T, Failure> {
        let known = self.mirror.number(bucket);
        match self.connection.call(call).await {
            Err(Failure::Refused { code, message }) if *code == *LOST => {
                self.emptied.notify_one();
                if self.mirror.until_renumbered(bucket, known, self.connection.timeout()).await {
                    return self.connection.call(&call.by(self.mirror.number(bucket))).await;
                }
                Err(Failure::Refused { code, message })
            }
            answer => answer,
        }
    }
}
