//! Manifests of real clusters, in Istio and Envoy and decided: requests at the
//! borders of all their rules and routes, and what `verify` finds.

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use policy::Entrance;

use super::borders;
use super::compare;
use super::decided::Decider;
use super::folder::login;
use super::install;
use super::installed;
use super::known::{self, Known};
use super::run::{Job, Oracle};
use super::world::{Observed, Sent};

/// Runs every cluster below the folder; a line per cluster, then its findings.
pub(crate) fn run(folder: &Path, requests: usize) -> Result<()> {
    let clusters = installed::all(folder)?;
    if clusters.is_empty() {
        bail!("{}: no cluster with a Gateway", folder.display());
    }
    let mut jobs = Vec::new();
    let mut asked = Vec::new();
    for cluster in &clusters {
        let decider =
            Decider::new(&cluster.world).map_err(|why| anyhow!("{}: {why}", cluster.name))?;
        let ports = decider.entrances();
        let listeners = borders::Ports {
            plain: &ports,
            mutual: None,
        };
        let findings = decider.verify().findings;
        let mut all = borders::requests(&cluster.world, &listeners, requests);
        all.extend(
            findings
                .iter()
                .map(|finding| sent(&finding.witness.head, &ports)),
        );
        all.extend(known::about(cluster).map(Known::sent));
        jobs.push(Job {
            world: cluster.world.clone(),
            requests: all,
        });
        asked.push((decider, findings));
    }
    let outcomes = Oracle::new(install::programs()?)?.run(&jobs)?;
    let mut wrong = 0;
    for (((cluster, job), outcome), (decider, findings)) in
        clusters.iter().zip(&jobs).zip(outcomes).zip(asked)
    {
        let answers = match outcome.answers {
            Ok(answers) => answers,
            Err(why) => {
                println!("{}: not served: {why}", cluster.name);
                wrong += 1;
                continue;
            }
        };
        let (mut agree, mut open, mut shown) = (0, 0, 0);
        for (sent, envoy) in job.requests.iter().zip(&answers) {
            match decider.observe(sent) {
                Err(_) => open += 1,
                Ok(ours) => match compare::difference(envoy, &ours) {
                    None => agree += 1,
                    Some(what) => {
                        wrong += 1;
                        shown += 1;
                        if shown <= 5 {
                            println!(
                                "DIFFERS {} {} {}:{} {:?} ({what})",
                                sent.method, sent.target, sent.authority, sent.port, sent.headers
                            );
                        }
                    }
                },
            }
        }
        let met = |status: fn(&Observed) -> bool| answers.iter().filter(|a| status(a)).count();
        println!(
            "{}: {} requests, {agree} agree, {shown} differ, {open} not compared; reached {}, asked {}, refused {}, no route {}; objects that validation refuses {}",
            cluster.name,
            answers.len(),
            met(|a| a.upstream.is_some()),
            met(|a| !a.checks.is_empty()),
            met(|a| matches!(a.status, Some(401 | 403)) && a.checks.is_empty()),
            met(|a| a.status == Some(404)),
            outcome.rejected.len(),
        );
        let known = known::about(cluster).count();
        let first = job.requests.len().saturating_sub(findings.len() + known);
        for (finding, envoy) in findings.iter().zip(answers.iter().skip(first)) {
            let base = match finding.witness.head.entrance {
                Entrance::Local => "http://LOCAL",
                _ => "http://OUTSIDE",
            };
            let there = envoy.upstream.as_ref().map_or_else(
                || format!("{:?}", envoy.status.unwrap_or_default()),
                |upstream| format!("reaches {}", upstream.at),
            );
            println!(
                "  {}: {} → decided: {}; Istio and Envoy: {there}; {} ({} like it)",
                finding.claim.id(),
                finding.witness.curl(base),
                finding.witness.answer,
                finding.route.2,
                finding.count,
            );
        }
        let answers = answers.iter().skip(first + findings.len());
        for (known, envoy) in known::about(cluster).zip(answers) {
            let (line, agrees) = known.judge(envoy);
            println!("{line}");
            wrong += usize::from(!agrees);
        }
    }
    if wrong > 0 {
        bail!("{wrong} requests are decided otherwise than by Istio and Envoy");
    }
    Ok(())
}

/// A witness, for the socket; authorizers send strangers to the login.
pub(super) fn sent(head: &policy::RequestHead, ports: &[u16]) -> Sent {
    let value = |v: &http::HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
    let usual = match head.entrance {
        Entrance::Local => 8081,
        _ => 8080,
    };
    Sent {
        port: if ports.contains(&usual) {
            usual
        } else {
            ports.first().copied().unwrap_or(usual)
        },
        method: head.method.to_string(),
        authority: head.authority.clone(),
        target: head.path_and_query(),
        headers: head
            .headers
            .iter()
            .map(|(name, v)| (name.to_string(), value(v)))
            .collect(),
        source: std::net::Ipv4Addr::LOCALHOST,
        checker: login(),
        tls: None,
        tokens: Vec::new(),
    }
}
