//! Passkeys as an authenticator made of software gives them, and as somebody else would.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::webauthn::{Answer, Credential, Place, Refused, authenticate, register};

const CHALLENGE: &str = "a-challenge-of-32-bytes-in-base64url-0123456";
const ORIGIN: &str = "https://app.example.com:8443";

pub(crate) enum Key {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(RsaKeyPair),
}

/// What a browser and an authenticator say, each part of it to be changed.
pub(crate) struct Device {
    key: Key,
    id: Vec<u8>,
    origin: String,
    cross_origin: bool,
    pub(crate) challenge: String,
    ceremony: Option<&'static str>,
    host: String,
    flags: u8,
    pub(crate) count: u32,
}

/// An answer in base64url.
pub(crate) struct Sent {
    pub(crate) id: String,
    pub(crate) client_data: String,
    pub(crate) attestation: String,
    pub(crate) authenticator_data: String,
    pub(crate) signature: String,
}

impl Sent {
    fn answer(&self) -> Answer<'_> {
        Answer {
            id: &self.id,
            client_data: &self.client_data,
            attestation: &self.attestation,
            authenticator_data: &self.authenticator_data,
            signature: &self.signature,
        }
    }
}

fn bytes(kind: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    [&[kind << 5 | 25], &length[..], data].concat()
}

impl Device {
    fn new(key: Key) -> Self {
        Self {
            key,
            id: b"credential 1".to_vec(),
            origin: ORIGIN.to_owned(),
            cross_origin: false,
            challenge: CHALLENGE.to_owned(),
            ceremony: None,
            host: "app.example.com".to_owned(),
            flags: 0x05,
            count: 7,
        }
    }

    pub(crate) fn es256() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref());
        Self::new(Key::Es256(pair.unwrap()))
    }

    fn cose(&self) -> Vec<u8> {
        match &self.key {
            Key::Es256(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = point[1..].split_at(32);
                let head = [0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21];
                [&head[..], &bytes(2, x), &[0x22], &bytes(2, y)].concat()
            }
            Key::EdDsa(pair) => {
                let head = [0xa4, 0x01, 0x01, 0x03, 0x27, 0x20, 0x06, 0x21];
                [&head[..], &bytes(2, pair.public_key().as_ref())].concat()
            }
            Key::Rs256(pair) => {
                let public = pair.public_key();
                let n: aws_lc_rs::encoding::PublicKeyX509Der<'_> =
                    aws_lc_rs::encoding::AsDer::as_der(public).unwrap();
                let (n, e) = rsa_parts(n.as_ref());
                let head = [0xa4, 0x01, 0x03, 0x03, 0x39, 0x01, 0x00, 0x20];
                [&head[..], &bytes(2, &n), &[0x21], &bytes(2, &e)].concat()
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Es256(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Key::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
            Key::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let done = pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature);
                done.unwrap();
                signature
            }
        }
    }

    fn client_data(&self, ceremony: &str) -> Vec<u8> {
        let data = json!({
            "type": self.ceremony.unwrap_or(ceremony),
            "challenge": self.challenge,
            "origin": self.origin,
            "crossOrigin": self.cross_origin,
            "other_keys_can_be_added_here": "do not compare",
        });
        data.to_string().into_bytes()
    }

    fn head(&self, flags: u8) -> Vec<u8> {
        let host = Sha256::digest(self.host.as_bytes());
        [&host[..], &[self.flags | flags], &self.count.to_be_bytes()].concat()
    }

    pub(crate) fn create(&self) -> Sent {
        let length = u16::try_from(self.id.len()).unwrap().to_be_bytes();
        let data = [
            &self.head(0x40)[..],
            &[0; 16],
            &length,
            &self.id,
            &self.cose(),
        ]
        .concat();
        let object = [
            &[0xa3, 0x63][..],
            b"fmt",
            &[0x64],
            b"none",
            &[0x67],
            b"attStmt",
            &[0xa0, 0x68],
            b"authData",
            &bytes(2, &data),
        ]
        .concat();
        Sent {
            id: URL_SAFE_NO_PAD.encode(&self.id),
            client_data: URL_SAFE_NO_PAD.encode(self.client_data("webauthn.create")),
            attestation: URL_SAFE_NO_PAD.encode(object),
            authenticator_data: String::new(),
            signature: String::new(),
        }
    }

    pub(crate) fn get(&self) -> Sent {
        let (client_data, data) = (self.client_data("webauthn.get"), self.head(0));
        let signed = [&data[..], &Sha256::digest(&client_data)].concat();
        Sent {
            id: URL_SAFE_NO_PAD.encode(&self.id),
            client_data: URL_SAFE_NO_PAD.encode(client_data),
            attestation: String::new(),
            authenticator_data: URL_SAFE_NO_PAD.encode(data),
            signature: URL_SAFE_NO_PAD.encode(self.sign(&signed)),
        }
    }
}

/// Modulus and exponent of a SubjectPublicKeyInfo with a 2048 bit key.
fn rsa_parts(der: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let at = der.len() - 5 - 256;
    (der[at..at + 256].to_vec(), der[der.len() - 3..].to_vec())
}

fn place() -> Place {
    Place::new("app.example.com:8443").unwrap()
}

fn registered(device: &Device) -> Credential {
    register(&place(), CHALLENGE, &device.create().answer()).unwrap()
}

#[test]
fn keys_of_each_kind_register_and_authenticate() {
    let ed = Ed25519KeyPair::generate().unwrap();
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    for mut device in [
        Device::es256(),
        Device::new(Key::EdDsa(ed)),
        Device::new(Key::Rs256(rsa)),
    ] {
        let credential = registered(&device);
        assert_eq!(credential.count, 7);
        device.count = 8;
        let found = authenticate(&place(), CHALLENGE, &[credential], &device.get().answer());
        assert_eq!(found, Ok((URL_SAFE_NO_PAD.encode(&device.id), 8)));
    }
    // One that does not count says 0 always.
    let mut device = Device::es256();
    device.count = 0;
    let credential = registered(&device);
    let found = authenticate(&place(), CHALLENGE, &[credential], &device.get().answer());
    assert_eq!(found.unwrap().1, 0);
}

type Change = fn(&mut Device);

/// Changes that make an answer not count, and why.
const CHANGES: [(Refused, Change); 8] = [
    (Refused::Origin, |d| {
        d.origin = "https://evil.example".to_owned()
    }),
    (Refused::Origin, |d| {
        d.origin = "https://app.example.com".to_owned()
    }),
    (Refused::Origin, |d| {
        d.origin = "http://app.example.com:8443".to_owned()
    }),
    (Refused::Origin, |d| d.cross_origin = true),
    (Refused::Challenge, |d| d.challenge = "another".to_owned()),
    (Refused::Ceremony, |d| d.ceremony = Some("payment.get")),
    (Refused::Host, |d| d.host = "example.com".to_owned()),
    (Refused::Absent, |d| d.flags = 0x04),
];

#[test]
fn answers_that_were_made_for_something_else_do_not_count() {
    for (index, (why, change)) in CHANGES.into_iter().enumerate() {
        let mut device = Device::es256();
        let credential = registered(&device);
        device.count = 8;
        change(&mut device);
        let created = register(&place(), CHALLENGE, &device.create().answer());
        assert_eq!(created, Err(why), "registration {index}");
        let found = authenticate(&place(), CHALLENGE, &[credential], &device.get().answer());
        assert_eq!(found, Err(why), "authentication {index}");
    }
    let device = Device::es256();
    let none = register(&place(), "", &device.create().answer());
    assert_eq!(none, Err(Refused::Challenge));
}

#[test]
fn signatures_of_others_and_copies_do_not_count() {
    let mut device = Device::es256();
    let credential = registered(&device);
    let check = |device: &Device, change: &dyn Fn(&mut Sent), credentials: &[Credential]| {
        let mut sent = device.get();
        change(&mut sent);
        authenticate(&place(), CHALLENGE, credentials, &sent.answer()).map(|(_, count)| count)
    };
    let own = [credential.clone()];
    assert_eq!(
        check(&device, &|_| {}, &own),
        Err(Refused::Count),
        "7 again"
    );
    device.count = 6;
    assert_eq!(check(&device, &|_| {}, &own), Err(Refused::Count));
    device.count = 0;
    assert_eq!(check(&device, &|_| {}, &own), Err(Refused::Count));
    device.count = 8;
    assert_eq!(check(&device, &|_| {}, &own), Ok(8));
    assert_eq!(
        check(&device, &|_| {}, &[]),
        Err(Refused::Unknown),
        "another user's"
    );
    let cut = |sent: &mut Sent| sent.signature.truncate(40);
    assert_eq!(check(&device, &cut, &own), Err(Refused::Signature));
    let zeros =
        |sent: &mut Sent| sent.signature = URL_SAFE_NO_PAD.encode([0x30, 6, 2, 1, 0, 2, 1, 0]);
    assert_eq!(check(&device, &zeros, &own), Err(Refused::Signature));
    let other = Device {
        count: 8,
        ..Device::es256()
    };
    assert_eq!(
        check(&other, &|_| {}, &own),
        Err(Refused::Signature),
        "another key"
    );
    // What was signed is what counts: flags and counter are part of it.
    let raised = |sent: &mut Sent| {
        let mut data = URL_SAFE_NO_PAD.decode(&sent.authenticator_data).unwrap();
        data[36] = 200;
        sent.authenticator_data = URL_SAFE_NO_PAD.encode(data);
    };
    assert_eq!(check(&device, &raised, &own), Err(Refused::Signature));
    for garble in [
        (|sent: &mut Sent| sent.client_data.clear()) as fn(&mut Sent),
        |sent| sent.client_data = URL_SAFE_NO_PAD.encode("[]"),
        |sent| sent.authenticator_data.truncate(20),
        |sent| sent.signature = "*".to_owned(),
    ] {
        assert_eq!(check(&device, &garble, &own), Err(Refused::Unreadable));
    }
    // A credential of the same site under another name.
    let elsewhere = Place::new("other.example.com:8443").unwrap();
    let found = authenticate(&elsewhere, CHALLENGE, &own, &device.get().answer());
    assert_eq!(found, Err(Refused::Host));
}

#[test]
fn registrations_that_are_damaged_are_refused() {
    let device = Device::es256();
    let whole = device.create();
    let object = URL_SAFE_NO_PAD.decode(&whole.attestation).unwrap();
    for length in 0..object.len() {
        let cut = Sent {
            attestation: URL_SAFE_NO_PAD.encode(&object[..length]),
            ..device.create()
        };
        let found = register(&place(), CHALLENGE, &cut.answer());
        assert!(
            matches!(found, Err(Refused::Unreadable | Refused::Key)),
            "{length}"
        );
    }
    let behind = Sent {
        attestation: URL_SAFE_NO_PAD.encode([&object[..], &[0]].concat()),
        ..device.create()
    };
    assert_eq!(
        register(&place(), CHALLENGE, &behind.answer()),
        Err(Refused::Unreadable)
    );
    let renamed = Sent {
        id: URL_SAFE_NO_PAD.encode("credential 2"),
        ..device.create()
    };
    assert_eq!(
        register(&place(), CHALLENGE, &renamed.answer()),
        Err(Refused::Unreadable)
    );
    // ES256K, which was not offered.
    let position = object
        .windows(3)
        .rposition(|w| w == [0x26, 0x20, 0x01])
        .unwrap();
    let mut strange = object.clone();
    strange[position + 2] = 0x08;
    let strange = Sent {
        attestation: URL_SAFE_NO_PAD.encode(strange),
        ..device.create()
    };
    assert_eq!(
        register(&place(), CHALLENGE, &strange.answer()),
        Err(Refused::Key)
    );
}

#[test]
fn places_are_named_hosts() {
    for (authority, host) in [
        ("app.example.com", Some("app.example.com")),
        ("APP.example.com:443", Some("app.example.com")),
        ("localhost:8080", Some("localhost")),
        ("127.0.0.1:8080", None),
        ("[::1]:8080", None),
        ("", None),
        ("a/b", None),
        ("user@host", None),
    ] {
        let place = Place::new(authority);
        assert_eq!(
            place.map(|place| place.rp_id).as_deref(),
            host,
            "{authority}"
        );
    }
}
