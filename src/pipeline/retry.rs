//! Trying again as a whole what failed in spite of all that is tried again within.

use std::future::Future;
use std::time::Duration;

/// The first wait; each next one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Does `attempt`, and up to `retries` times again while it fails.
pub(super) async fn persist<T, E: std::fmt::Display, F: Future<Output = Result<T, E>>>(
    retries: u32,
    attempt: impl Fn() -> F,
) -> Result<T, E> {
    persist_after(FIRST_WAIT, retries, attempt).await
}

async fn persist_after<T, E: std::fmt::Display, F: Future<Output = Result<T, E>>>(
    mut wait: Duration,
    retries: u32,
    attempt: impl Fn() -> F,
) -> Result<T, E> {
    for _ in 0..retries {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => tracing::warn!("trying again in {} s: {error}", wait.as_secs()),
        }
        tokio::time::sleep(wait).await;
        wait = wait.saturating_mul(2).min(LONGEST_WAIT);
    }
    attempt().await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn tries_as_often_as_it_is_told() {
        for (retries, good_after, expected) in [(0, 0, Ok(0)), (0, 1, Err(1)), (2, 2, Ok(2)), (2, 3, Err(3))]
        {
            let tries = AtomicU32::new(0);
            let result = persist_after(Duration::ZERO, retries, || async {
                let failed = tries.fetch_add(1, Ordering::Relaxed);
                if failed >= good_after { Ok(failed) } else { Err(failed + 1) }
            });
            assert_eq!(result.await, expected);
        }
    }
}
