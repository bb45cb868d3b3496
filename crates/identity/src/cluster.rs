//! The embedded cluster's ServiceAccount token issuer: what the API server's
//! TokenRequest gives a workload on a real cluster.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use policy::ServiceAccount;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::clock::unix;
use crate::jose::{self, Algorithm, Claims, JwtError, KeySet, Unverified};
use crate::keyfile::{self, KeyFileError};
use crate::names;
use crate::pem;
use crate::random::{NoRandomness, random};
use secret::Secret;

/// `iss` of ServiceAccount tokens unless configured otherwise.
pub const CLUSTER_ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// The audience that authservice and KServe's samples ask tokens for.
pub const INGRESS_AUDIENCE: &str = "istio-ingressgateway.istio-system.svc.cluster.local";

/// Kubernetes gives no token a longer life than it is told to; this is a year.
const MAX_LIFE: Duration = Duration::from_secs(366 * 24 * 3600);

/// Signature algorithm of a key that is made anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClusterKey {
    /// RS256, which every verifier knows.
    #[default]
    Rs256,
    /// ES256: quicker to sign, slower to verify.
    Es256,
}

/// Settings of a [`ClusterIssuer`].
#[derive(Clone, Debug)]
pub struct ClusterIssuerConfig {
    /// `iss`.
    pub issuer: String,
    /// Audiences that are accepted; the first is given to tokens that ask for none.
    pub audiences: Vec<String>,
    /// Kind of key to make if there is none yet.
    pub key: ClusterKey,
}

impl Default for ClusterIssuerConfig {
    fn default() -> Self {
        Self {
            issuer: CLUSTER_ISSUER.to_owned(),
            audiences: vec![CLUSTER_ISSUER.to_owned(), INGRESS_AUDIENCE.to_owned()],
            key: ClusterKey::default(),
        }
    }
}

/// The pod that a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundPod {
    /// Pod name.
    pub name: Arc<str>,
    /// Pod uid.
    pub uid: Arc<str>,
}

/// What a token is asked for.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// For whom.
    pub service_account: ServiceAccount,
    /// uid of the ServiceAccount, where known.
    pub uid: Option<Arc<str>>,
    /// Audiences; empty means the issuer's first.
    pub audiences: Vec<String>,
    /// Life time; at least one second, at most a year.
    pub duration: Duration,
    /// The pod that mounts it.
    pub pod: Option<BoundPod>,
}

/// A token could not be issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// Not a Kubernetes name.
    #[error("`{0}` is not a Kubernetes name")]
    Name(String),
    /// Random source or signature failed.
    #[error("signing failed: {0}")]
    Signing(#[from] NoRandomness),
}

/// Issues and verifies ServiceAccount tokens.
#[derive(Debug)]
pub struct ClusterIssuer {
    config: ClusterIssuerConfig,
    key: SigningKey,
    kid: String,
    jwks: String,
    public: KeySet,
}

#[derive(Debug)]
enum SigningKey {
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
}

impl ClusterIssuer {
    /// Opens the issuer whose key is in `folder`, making one if there is none.
    ///
    /// # Errors
    /// When the key file cannot be read, written or understood.
    pub fn open(folder: &Path, config: ClusterIssuerConfig) -> Result<Self, KeyFileError> {
        let path = folder.join("service-account-issuer.pem");
        let pem = keyfile::read_or_create(&path, || new_key(config.key))?;
        let unusable = || KeyFileError::content(&path, "expected a PKCS#8 RSA or P-256 key in PEM");
        let der = pem::one(&pem).ok_or_else(unusable)?;
        let key = SigningKey::from_pkcs8(&der).ok_or_else(unusable)?;
        let (kid, jwk) = key.public().ok_or_else(unusable)?;
        let jwks = json!({ "keys": [jwk] }).to_string();
        let public = KeySet::parse(jwks.as_bytes()).ok_or_else(unusable)?;
        Ok(Self {
            config,
            key,
            kid,
            jwks,
            public,
        })
    }

    /// `iss` of the tokens.
    pub fn issuer(&self) -> &str {
        &self.config.issuer
    }

    /// What decides whether a token is good, for keys of caches.
    pub(crate) fn fingerprint(&self) -> String {
        format!(
            "{}\n{:?}\n{}\n",
            self.config.issuer, self.config.audiences, self.kid
        )
    }

    /// The public keys as a JWKS document.
    pub fn jwks(&self) -> &str {
        &self.jwks
    }

    /// Issues a token with the claims of Kubernetes (KEP-1205).
    ///
    /// # Errors
    /// When a name is none or signing fails.
    pub fn issue(&self, request: &TokenRequest, now: SystemTime) -> Result<Secret, IssueError> {
        let ServiceAccount { namespace, name } = &request.service_account;
        if !names::is_namespace(namespace) {
            return Err(IssueError::Name(namespace.to_string()));
        }
        if !names::is_name(name) {
            return Err(IssueError::Name(name.to_string()));
        }
        let issued = unix(now);
        let life = request.duration.clamp(Duration::from_secs(1), MAX_LIFE);
        let audiences = match request.audiences.is_empty() {
            true => self.config.audiences.iter().take(1).collect::<Vec<_>>(),
            false => request.audiences.iter().collect(),
        };
        let mut account = json!({ "name": &**name });
        if let (Some(uid), Some(fields)) = (&request.uid, account.as_object_mut()) {
            fields.insert("uid".to_owned(), json!(&**uid));
        }
        let mut kubernetes = json!({ "namespace": &**namespace, "serviceaccount": account });
        if let (Some(pod), Some(fields)) = (&request.pod, kubernetes.as_object_mut()) {
            let pod = json!({ "name": &*pod.name, "uid": &*pod.uid });
            fields.insert("pod".to_owned(), pod);
        }
        let claims = json!({
            "iss": self.config.issuer,
            "sub": request.service_account.user_name(),
            "aud": audiences,
            "iat": issued,
            "nbf": issued,
            "exp": issued.saturating_add(life.as_secs()),
            "jti": URL_SAFE_NO_PAD.encode(random::<16>()?),
            "kubernetes.io": kubernetes,
        });
        let token = jose::compact(self.key.algorithm(), &self.kid, &claims, |signed| {
            self.key.sign(signed)
        })?;
        Ok(Secret::new(token))
    }

    /// Whose token this is and when it expires (seconds since 1970).
    pub(crate) fn verify_parsed(
        &self,
        token: &Unverified<'_>,
        now: u64,
    ) -> Result<(ServiceAccount, u64), JwtError> {
        let claims = token.verify(&self.public)?;
        let expires = claims.check(&self.config.issuer, now)?;
        claims.check_audience(self.config.audiences.iter().map(String::as_str))?;
        Ok((service_account(claims)?, expires))
    }

    /// Whose token this is, if it is valid at `now`.
    ///
    /// # Errors
    /// Says what is wrong with the token, without repeating it.
    pub fn verify(
        &self,
        token: &str,
        now: SystemTime,
    ) -> Result<ServiceAccount, policy::TokenError> {
        self.verify_until(token, now).map(|(account, _)| account)
    }

    /// As [`Self::verify`], with the end of the token.
    ///
    /// # Errors
    /// Says what is wrong with the token, without repeating it.
    pub fn verify_until(
        &self,
        token: &str,
        now: SystemTime,
    ) -> Result<(ServiceAccount, SystemTime), policy::TokenError> {
        Unverified::parse(token, jose::MAX_BEARER_BYTES)
            .and_then(|token| self.verify_parsed(&token, unix(now)))
            .map(|(account, end)| (account, SystemTime::UNIX_EPOCH + Duration::from_secs(end)))
            .map_err(|error| policy::TokenError(error.to_string()))
    }
}

/// `sub` and, where present, what `kubernetes.io` says must agree.
pub(crate) fn service_account(claims: &Claims) -> Result<ServiceAccount, JwtError> {
    let account = claims
        .text("sub")
        .and_then(account_of)
        .ok_or_else(|| JwtError::Claim("sub".to_owned()))?;
    if let Some(kubernetes) = claims.get("kubernetes.io") {
        let said = |pointer| kubernetes.pointer(pointer).and_then(|value| value.as_str());
        if said("/namespace") != Some(&account.namespace)
            || said("/serviceaccount/name") != Some(&account.name)
        {
            return Err(JwtError::Claim("kubernetes.io".to_owned()));
        }
    }
    Ok(account)
}

/// The ServiceAccount with a user name of Kubernetes.
pub(crate) fn account_of(user_name: &str) -> Option<ServiceAccount> {
    let rest = user_name.strip_prefix("system:serviceaccount:")?;
    let (namespace, name) = rest.split_once(':')?;
    (names::is_namespace(namespace) && names::is_name(name)).then(|| ServiceAccount {
        namespace: namespace.into(),
        name: name.into(),
    })
}

impl SigningKey {
    fn from_pkcs8(der: &[u8]) -> Option<Self> {
        if let Ok(key) = RsaKeyPair::from_pkcs8(der) {
            return Some(Self::Rsa(Box::new(key)));
        }
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der)
            .ok()
            .map(|key| Self::Ec(Box::new(key)))
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa(_) => Algorithm::Rs256,
            Self::Ec(_) => Algorithm::Es256,
        }
    }

    /// Key id (a hash of the public key) and JWK.
    fn public(&self) -> Option<(String, serde_json::Value)> {
        let kid = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(Sha256::digest(bytes));
        match self {
            Self::Rsa(key) => {
                let public = key.public_key();
                let n = public.modulus().big_endian_without_leading_zero();
                let e = public.exponent().big_endian_without_leading_zero();
                let kid = kid(n);
                let jwk = jose::public_rsa(&kid, n, e);
                Some((kid, jwk))
            }
            Self::Ec(key) => {
                let point = key.public_key().as_ref();
                let kid = kid(point);
                let jwk = jose::public_ec(&kid, point)?;
                Some((kid, jwk))
            }
        }
    }

    fn sign(&self, signed: &[u8]) -> Result<Vec<u8>, NoRandomness> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, signed, &mut signature)
                    .map_err(|_| NoRandomness)?;
                Ok(signature)
            }
            Self::Ec(key) => key
                .sign(&random, signed)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| NoRandomness),
        }
    }
}

fn new_key(kind: ClusterKey) -> Result<Vec<u8>, NoRandomness> {
    let der = match kind {
        ClusterKey::Rs256 => RsaKeyPair::generate(KeySize::Rsa2048)
            .and_then(|key| key.as_der())
            .map_err(|_| NoRandomness)?
            .as_ref()
            .to_vec(),
        ClusterKey::Es256 => return pem::new_p256(),
    };
    Ok(pem::write(&der).into_bytes())
}

#[cfg(test)]
mod tests;
