//! Memory that begins where a device wants it to: what reading past the page cache asks for.

/// Offsets, lengths and addresses are multiples of this, in bytes: no device in use asks for more.
pub(crate) const BLOCK_BYTES: usize = 4096;

/// A buffer whose first byte lies on a block's border.
pub(crate) struct AlignedBuf {
    memory: Vec<u8>,
    /// Where the first aligned byte of `memory` is.
    shift: usize,
}

impl AlignedBuf {
    /// `len` zeros. The system gives memory for them as they are touched.
    pub(crate) fn new(len: usize) -> Self {
        let memory = vec![0; len + BLOCK_BYTES];
        let shift = memory.as_ptr().addr().wrapping_neg() % BLOCK_BYTES;
        Self { memory, shift }
    }

    pub(crate) fn len(&self) -> usize {
        self.memory.len() - BLOCK_BYTES
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.memory.get(self.shift..self.shift + self.len()).unwrap_or_default()
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        let len = self.len();
        self.memory.get_mut(self.shift..self.shift + len).unwrap_or_default()
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}
