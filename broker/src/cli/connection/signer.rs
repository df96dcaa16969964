//! Signatures of what a server asks to have signed.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::secure;
use crate::jwt;

/// Where the seed is that signs.
#[derive(Clone)]
pub(crate) enum Signer {
    /// In a file of its own: the server knows the key.
    Nkey(PathBuf),
    /// In a file with a token, which says whose key it is (`.creds`).
    Creds(PathBuf),
}

/// What is said to the server.
pub(super) struct Signed {
    pub(super) nkey: Option<String>,
    pub(super) jwt: Option<String>,
    pub(super) signature: String,
}

impl Signer {
    /// Signs what the server gave.
    ///
    /// # Errors
    /// There is nothing to sign, or nothing to sign it with.
    pub(super) fn sign(&self, nonce: &str) -> Result<Signed, String> {
        let (Self::Nkey(path) | Self::Creds(path)) = self;
        let pair = secure::nkey(path)?;
        if nonce.is_empty() {
            return Err("it asks nobody to sign".to_owned());
        }
        let signature = pair.sign(nonce.as_bytes()).map_err(|error| error.to_string())?;
        let signature = URL_SAFE_NO_PAD.encode(signature);
        match self {
            Self::Nkey(_) => Ok(Signed { nkey: Some(pair.public_key()), jwt: None, signature }),
            Self::Creds(path) => {
                let text = secure::read(path)?;
                let token = jwt::undecorated(&String::from_utf8_lossy(&text)).to_owned();
                // Whether it is one is for the server to say; what is none would be a secret in a wrong place.
                if token.split('.').count() != 3 {
                    return Err(format!("there is no token in {}", path.display()));
                }
                Ok(Signed { nkey: None, jwt: Some(token), signature })
            }
        }
    }
}
