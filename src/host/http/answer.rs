//! An answer whose head has been read, and whose body comes in pieces.

use std::ops::Deref;

use super::failure::from_reqwest;
use crate::core::http::TransportFailure;

/// Dropping it closes the connection, unless the body has been read.
pub(in crate::host) struct Answer(reqwest::Response);

impl Answer {
    pub(super) fn of(response: reqwest::Response) -> Self {
        Self(response)
    }

    /// HTTP status.
    pub(in crate::host) fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    /// Headers in order, names in lower case.
    pub(in crate::host) fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
    }

    /// The next bytes of the body as they come; `None` at its end.
    ///
    /// # Errors
    /// A body that is cut.
    pub(in crate::host) async fn chunk(
        &mut self,
    ) -> Result<Option<impl Deref<Target = [u8]> + use<>>, TransportFailure> {
        self.0.chunk().await.map_err(from_reqwest)
    }
}
