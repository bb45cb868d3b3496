//! Issuers of tokens, read from the Sidegate object.

use identity::{HolderClaims, IdentityClaims, IssuerConfig, IssuerKeys, Issuers};
use resources::Cluster;
use resources::sidegate::{ServiceClaims, TokenIssuer};

use crate::output::BadInput;

/// The issuers of a configuration; what `before` knows of them stays in use.
pub(crate) fn of(cluster: &Cluster, before: Option<&Issuers>) -> anyhow::Result<Issuers> {
    let Some(object) = &cluster.sidegate else {
        return Ok(Issuers::default());
    };
    let bad = |why: String| {
        let (source, reference) = (&object.source, object.reference());
        BadInput(vec![format!("{source}: {reference}: spec.tokens.{why}")])
    };
    let issuers = object.spec.tokens.issuers.iter().enumerate();
    let configs = issuers
        .map(|(at, issuer)| config(issuer).map_err(|why| bad(format!("issuers[{at}]{why}"))))
        .collect::<Result<Vec<_>, _>>()?;
    let clock = identity::system_clock();
    Issuers::new(configs, &clock, before).map_err(|error| bad(error.to_string()).into())
}

fn config(issuer: &TokenIssuer) -> Result<IssuerConfig, String> {
    let keys = match (&issuer.jwks, &issuer.jwks_uri) {
        (Some(jwks), None) => IssuerKeys::Written(jwks.clone()),
        (None, Some(address)) => IssuerKeys::At(address.clone()),
        (None, None) => IssuerKeys::Published,
        (Some(_), Some(_)) => {
            return Err(": expected `jwks` or `jwksUri`, found both".to_owned());
        }
    };
    let holder = match (&issuer.user, &issuer.service) {
        (Some(user), None) => HolderClaims::Person(IdentityClaims {
            user_id: user.claim.clone(),
            groups: user.groups.clone(),
            by_domain: false,
        }),
        (
            None,
            Some(ServiceClaims {
                name,
                claim,
                groups,
            }),
        ) => HolderClaims::Service {
            name: name.clone(),
            claim: claim.clone().unwrap_or_else(|| "sub".to_owned()),
            groups: groups.clone(),
        },
        _ => {
            return Err(": expected either `user` or `service`, who its tokens are of".to_owned());
        }
    };
    Ok(IssuerConfig {
        issuer: issuer.issuer.clone(),
        keys,
        audiences: issuer.audiences.clone(),
        algorithms: issuer.algorithms.clone(),
        holder,
    })
}
