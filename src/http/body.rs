//! Bodies that hold secrets.

use std::fmt;

use zeroize::Zeroizing;

/// The body of a request or an answer. Its `Debug` output hides the content, because tokens travel in it, and it is
/// wiped when dropped.
///
/// Copies that an HTTP client makes into its own buffers are not wiped.
#[derive(Clone, Default)]
pub struct Body(Zeroizing<Vec<u8>>);

impl Body {
    /// A body with these bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// An empty body with room for `bytes` more.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(bytes)))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Appends `more`. If the buffer has to grow, the old one is wiped.
    pub fn extend(&mut self, more: &[u8]) {
        let needed = self.0.len().saturating_add(more.len());
        if needed > self.0.capacity() {
            let mut larger = Vec::with_capacity(needed.max(self.0.capacity().saturating_mul(2)));
            larger.extend_from_slice(&self.0);
            self.0 = Zeroizing::new(larger);
        }
        self.0.extend_from_slice(more);
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Lets form and JSON encoders write into the body.
impl std::io::Write for Body {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_shows_nothing_and_grows() {
        let mut body = Body::with_capacity(2);
        body.extend(b"refresh_");
        body.extend(b"token=rt-1");
        assert_eq!(body.as_bytes(), b"refresh_token=rt-1");
        assert_eq!(format!("{body:?}"), "Body(…)");
    }
}
