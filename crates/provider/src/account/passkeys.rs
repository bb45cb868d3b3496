//! `/account/passkey`: a new passkey. The one page beside the login that has a script.

use bytes::Bytes;
use http::{Request, StatusCode};

use super::{Visitor, field};
use crate::factors::{Added, Challenge};
use crate::pages::{NewPasskey, Page, failed, page};
use crate::params::Params;
use crate::provider::Inner;
use crate::reply::Reply;
use crate::words::Text;

impl Inner {
    pub(super) fn passkey_page(
        &self,
        request: &Request<Bytes>,
        visitor: &Visitor,
        problem: Option<Text>,
    ) -> Result<Reply, Reply> {
        let challenge = self.challenge(&visitor.who).ok_or_else(failed)?;
        let options = self.passkey_creation(request, &visitor.who, &visitor.user.email, &challenge);
        let sealed = self.sealer.seal("passkey", &challenge).ok_or_else(failed)?;
        let status = match problem {
            Some(_) => StatusCode::BAD_REQUEST,
            None => StatusCode::OK,
        };
        let body = NewPasskey {
            options: options.map(|options| options.to_string()),
            sealed,
            token: self.account_token(request)?,
            back: format!("{}/account", self.config.issuer.path()),
            problem,
        };
        Ok(page(status, Page::NewPasskey(body)))
    }

    pub(super) async fn change_passkey(
        &self,
        request: &Request<Bytes>,
        visitor: &Visitor,
        form: &Params,
    ) -> Result<Reply, Reply> {
        let sealed = field(form, "challenge");
        let challenge = self.sealer.open::<Challenge>("passkey", sealed);
        let added = match challenge {
            None => Added::Wrong,
            Some(challenge) => self
                .add_passkey(request, &visitor.who, &challenge, form)
                .await
                .ok_or_else(failed)?,
        };
        match added {
            Added::Yes => {
                tracing::info!(user = visitor.user.email, "second factor added: passkey");
                self.factor_added(request, visitor, "passkey").await
            }
            Added::Wrong => {
                let text = Text::new(|w| &w.passkey_wrong);
                self.passkey_page(request, visitor, Some(text))
            }
            Added::Full => {
                let text = Text::new(|w| &w.passkey_full);
                self.passkey_page(request, visitor, Some(text))
            }
        }
    }
}
