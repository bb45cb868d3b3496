//! Batches: many clusters through one translator and one Envoy.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::envoy::{Envoy, send};
use super::install::Programs;
use super::istio::{Istio, address, move_on};
use super::peers::Peers;
use super::tls::Clients;
use super::world::{Observed, Sent, World};

/// Clusters per Envoy.
pub(crate) const BATCH: usize = 100;

/// A cluster and the requests to it.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) world: World,
    pub(crate) requests: Vec<Sent>,
}

/// What Istio and Envoy made of a job.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Per request, or why there are none.
    pub(crate) answers: Result<Vec<Observed>, String>,
    /// Objects that Istio's validation refuses.
    pub(crate) rejected: Vec<String>,
}

/// How often other addresses are tried.
const MOVES: usize = 5;

/// How a batch went.
enum Served {
    All(Vec<Outcome>),
    /// Another program has one of the addresses.
    Taken(String),
}

/// Istio and Envoy, ready for batches.
pub(crate) struct Oracle {
    istio: Istio,
    envoy: PathBuf,
    peers: Peers,
    folder: tempfile::TempDir,
    batches: usize,
}

impl Oracle {
    pub(crate) fn new(programs: Programs) -> Result<Self> {
        let folder = tempfile::tempdir().context("making a folder for Envoy's files")?;
        Ok(Self {
            istio: Istio::new(programs.istio, folder.path().join("istio.log")),
            envoy: programs.envoy,
            peers: Peers::start()?,
            folder,
            batches: 0,
        })
    }

    /// Runs all jobs, in batches.
    pub(crate) fn run(&mut self, jobs: &[Job]) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        for batch in jobs.chunks(BATCH) {
            outcomes.extend(self.batch(batch)?);
        }
        Ok(outcomes)
    }

    /// At other addresses, where another program has taken those.
    fn batch(&mut self, jobs: &[Job]) -> Result<Vec<Outcome>> {
        for _ in 0..MOVES {
            match self.serve(jobs)? {
                Served::All(outcomes) => return Ok(outcomes),
                Served::Taken(_) => move_on(),
            }
        }
        match self.serve(jobs)? {
            Served::All(outcomes) => Ok(outcomes),
            Served::Taken(line) => bail!("an address of the gateways is taken: {line}"),
        }
    }

    fn serve(&mut self, jobs: &[Job]) -> Result<Served> {
        self.batches += 1;
        let folder = self.folder.path().join(self.batches.to_string());
        std::fs::create_dir_all(&folder)?;
        let worlds: Vec<&World> = jobs.iter().map(|job| &job.world).collect();
        let mut identities: Vec<String> = jobs
            .iter()
            .flat_map(|job| &job.requests)
            .filter_map(|sent| sent.tls.as_ref()?.identity.clone())
            .collect();
        identities.sort();
        identities.dedup();
        let translated = self
            .istio
            .translate(&worlds, &identities, &folder, self.peers.port);
        let translated = match translated {
            Ok(translated) => translated,
            Err(error) => return self.split(jobs, &error).map(Served::All),
        };
        self.peers.name(translated.upstreams);
        self.peers.speak(super::tls::server(&folder)?);
        let mut envoy = match Envoy::start(&self.envoy, &folder) {
            Ok(envoy) => envoy,
            Err(error) => return self.split(jobs, &error).map(Served::All),
        };
        if let Some(line) = envoy.cannot_bind() {
            return Ok(Served::Taken(line));
        }
        let mut clients = Clients::new(&folder, identities);
        let mut outcomes = Vec::new();
        let clusters = translated.clusters.into_iter().zip(translated.rejected);
        for (index, (job, (ports, rejected))) in jobs.iter().zip(clusters).enumerate() {
            let answers = ports.map(|_| {
                let gateway = address(index);
                self.peers.lead_back(job.world.ways_back(gateway));
                clients.in_mesh(job.world.sidecar);
                let requests = job.requests.iter();
                requests
                    .map(|sent| send(&self.peers, &clients, gateway, sent))
                    .collect::<Vec<_>>()
            });
            let silent = |answers: &Vec<Observed>| {
                !answers.is_empty() && answers.iter().all(|answer| answer.status.is_none())
            };
            let answers = match answers {
                // Of a sidecar the ports that are read may be refused, and others not.
                Ok(answers) if silent(&answers) || job.world.sidecar => {
                    match envoy.complaint(index) {
                        Some(complaint) => Err(format!("Envoy refuses the listener: {complaint}")),
                        None => Ok(answers),
                    }
                }
                other => other,
            };
            outcomes.push(Outcome { answers, rejected });
        }
        if !envoy.alive() {
            let error = anyhow::anyhow!("Envoy ended: {}", envoy.last_words());
            return self.split(jobs, &error).map(Served::All);
        }
        drop(envoy);
        let _ = std::fs::remove_dir_all(&folder);
        Ok(Served::All(outcomes))
    }

    /// Finds the job that a batch fails by.
    fn split(&mut self, jobs: &[Job], error: &anyhow::Error) -> Result<Vec<Outcome>> {
        if jobs.len() < 2 {
            let failed = || Outcome {
                answers: Err(format!("{error:#}")),
                rejected: Vec::new(),
            };
            return Ok(jobs.iter().map(|_| failed()).collect());
        }
        let (left, right) = jobs.split_at(jobs.len() / 2);
        let mut outcomes = self.batch(left)?;
        outcomes.extend(self.batch(right)?);
        Ok(outcomes)
    }
}
