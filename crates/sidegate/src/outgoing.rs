//! What the embedded provider needs from outside: whose a ServiceAccount token is, and somebody who
//! tells applications, and the gateway, of a logout.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use identity::{ClusterIssuer, Sessions};
use provider::{Outgoing, SignOuts, Subject, SubjectTokens};

/// How long an application may take to note a logout.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Posts logout tokens over the network, with a client that is made for the first: most programs end before one.
#[derive(Default)]
pub(crate) struct LogoutPosts(OnceLock<Result<reqwest::Client, String>>);

impl LogoutPosts {
    fn client(&self) -> Result<&reqwest::Client, String> {
        let made = self.0.get_or_init(|| {
            let builder = reqwest::Client::builder()
                .user_agent(concat!("sidegate/", env!("CARGO_PKG_VERSION")))
                .timeout(TIMEOUT)
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy();
            builder.build().map_err(|error| error.to_string())
        });
        made.as_ref().map_err(Clone::clone)
    }
}

impl Outgoing for LogoutPosts {
    fn post_form(
        &self,
        uri: String,
        form: String,
    ) -> Pin<Box<dyn Future<Output = Result<u16, String>> + Send>> {
        let request = self.client().map(|client| {
            client
                .post(uri)
                .header(
                    http::header::CONTENT_TYPE,
                    "application/x-www-form-urlencoded",
                )
                .body(form)
        });
        Box::pin(async move {
            match request?.send().await {
                Ok(reply) => Ok(reply.status().as_u16()),
                // Without the address, which may hold a password.
                Err(error) => Err(error.without_url().to_string()),
            }
        })
    }
}

/// Ends the sessions at the gateway of people whose logins at the provider ended.
pub(crate) struct GatewaySessions(pub(crate) Sessions);

impl SignOuts for GatewaySessions {
    fn signed_out<'a>(&'a self, email: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            if let Err(error) = self.0.end_all_of(email).await {
                tracing::error!(%error, user = email, "sessions at the gateway could not be ended");
            }
        })
    }
}

/// Knows the tokens of the cluster's ServiceAccounts.
pub(crate) struct AccountTokens(pub(crate) Arc<ClusterIssuer>);

impl SubjectTokens for AccountTokens {
    fn verify(&self, token: String) -> Pin<Box<dyn Future<Output = Option<Subject>> + Send + '_>> {
        let subject = self
            .0
            .verify_until(&token, SystemTime::now())
            .ok()
            .map(|(account, end)| Subject {
                name: format!(
                    "system:serviceaccount:{}:{}",
                    account.namespace, account.name
                ),
                expires_at: end
                    .duration_since(UNIX_EPOCH)
                    .ok()
                    .map(|elapsed| elapsed.as_secs()),
            });
        Box::pin(async move { subject })
    }
}
