//! An authorizer on the seed's cluster, with a provider that it reaches through a relay.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use super::relay::Relay;
use crate::authz::{Authz, dex_config, own_secrets};
use crate::clients::free_port;
use crate::http::ask_host;
use crate::person::HASH;
use crate::relying::Provider;
use crate::shell;

pub(crate) const MODEL: &str = "sklearn-iris.kserve-test.example.com";
pub(crate) const PREDICT: &str = "/v1/models/sklearn-iris:predict";

pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    /// Where the provider really is.
    pub(crate) provider: String,
    pub(crate) relay: Relay,
    port: u16,
    _provider: Provider,
}

impl World {
    /// With more in the specification of its Sidegate object.
    pub(crate) fn start(spec: &str) -> Result<Self> {
        let folder = tempfile::tempdir().context("making a folder")?;
        let files = folder.path().join("files");
        std::fs::create_dir_all(&files)?;
        let seed = shell::root().join("examples/seed");
        let cluster = std::fs::read_to_string(seed.join("cluster.yaml"))?;
        std::fs::write(files.join("cluster.yaml"), own_secrets(&cluster, HASH))?;
        let object = std::fs::read_to_string(seed.join("sidegate.yaml"))?;
        std::fs::write(files.join("sidegate.yaml"), object + spec)?;
        let provider = format!("127.0.0.1:{}", free_port()?);
        let issuer = "http://dex.auth.svc.cluster.local:5556/dex".to_owned();
        let (config, _) = dex_config(&files)?;
        let running = Provider::serve(&config, &[], &provider, issuer)?;
        Ok(Self {
            relay: Relay::start(&provider, "POST /dex/token")?,
            folder,
            provider,
            port: free_port()?,
            _provider: running,
        })
    }

    /// The authorizer, always at the same address and on the same folder.
    pub(crate) fn authz(&self, more: &[&str]) -> Result<Authz> {
        let provider = self.relay.address.to_string();
        let more = [&["--provider", &*provider][..], more].concat();
        let (files, data) = (self.folder.path().join("files"), self.data());
        Authz::on(&files, &data, self.port, &more)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

/// The status that a program with a token gets of the model.
pub(crate) fn calls(authz: &str, token: &str) -> Result<u16> {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", &*bearer)];
    let target = format!("/external{PREDICT}");
    Ok(ask_host(authz, MODEL, "POST", &target, &headers, "")?.status)
}

/// Files and sockets that a process has open.
pub(crate) fn open_files(authz: &Authz) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{}/fd", authz.id()))?.count())
}

/// Nothing is left of what was asked meanwhile.
pub(crate) fn nothing_piled_up(authz: &Authz, before: usize) -> Result<()> {
    const FEW: usize = 16;
    super::until("sockets are given back", || {
        Ok(open_files(authz)? <= before + FEW)
    })?;
    let health = authz.health.to_string();
    let ready = crate::http::ask(&health, "GET", "/readyz", &[], "")?;
    ensure!(ready.status == 200, "it is not ready: {ready:?}");
    Ok(())
}
