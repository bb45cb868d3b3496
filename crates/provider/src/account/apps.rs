//! `/account/app`: an authenticator app, with a picture to scan.

use bytes::Bytes;
use http::{Request, StatusCode};

use super::{Visitor, field};
use crate::factors::{Added, AppSetup};
use crate::pages::{App, Own, Page, failed, page};
use crate::params::Params;
use crate::provider::Inner;
use crate::reply::Reply;
use crate::words::Text;

impl Inner {
    pub(super) fn app_page(
        &self,
        request: &Request<Bytes>,
        visitor: &Visitor,
    ) -> Result<Reply, Reply> {
        let setup = self.new_app(&visitor.who, &visitor.user.email);
        let setup = setup.ok_or_else(failed)?;
        self.show_app(request, StatusCode::OK, &setup, None)
    }

    fn show_app(
        &self,
        request: &Request<Bytes>,
        status: StatusCode,
        setup: &AppSetup,
        problem: Option<Text>,
    ) -> Result<Reply, Reply> {
        let own = Own {
            token: self.account_token(request)?,
            back: format!("{}/account", self.config.issuer.path()),
        };
        app_page(status, setup, Some(own), problem).ok_or_else(failed)
    }

    /// The first code of the app.
    pub(super) async fn change_app(
        &self,
        request: &Request<Bytes>,
        visitor: &Visitor,
        form: &Params,
    ) -> Result<Reply, Reply> {
        let (sealed, code) = (field(form, "secret"), field(form, "code"));
        let added = self.add_app(&visitor.who, sealed, code).await;
        if added.ok_or_else(failed)? == Added::Yes {
            tracing::info!(user = visitor.user.email, "second factor added: app");
            return self.factor_added(request, visitor, "app").await;
        }
        let problem = Some(Text::new(|w| &w.code_wrong));
        let same = self.same_app(&visitor.who, &visitor.user.email, sealed);
        match same {
            Some(setup) => self.show_app(request, StatusCode::BAD_REQUEST, &setup, problem),
            None => self.app_page(request, visitor),
        }
    }

    /// With the first factor come codes on paper.
    pub(super) async fn factor_added(
        &self,
        request: &Request<Bytes>,
        visitor: &Visitor,
        done: &str,
    ) -> Result<Reply, Reply> {
        let factors = self.factors(&visitor.who).ok_or_else(failed)?;
        if factors.codes_left() == 0 {
            return self.codes_page(visitor).await;
        }
        Ok(self.account_done(request, done))
    }
}

/// The page for an app; without `own` in the middle of a login.
pub(crate) fn app_page(
    status: StatusCode,
    setup: &AppSetup,
    own: Option<Own>,
    problem: Option<Text>,
) -> Option<Reply> {
    let groups: Vec<&str> = setup
        .secret
        .as_bytes()
        .chunks(4)
        .filter_map(|group| std::str::from_utf8(group).ok())
        .collect();
    let body = App {
        picture: picture(&setup.uri)?,
        secret: groups.join(" "),
        sealed: setup.sealed.clone(),
        own,
        problem,
    };
    Some(page(status, Page::App(body)))
}

/// A QR code as SVG: dark on white whatever the page's colours, with the margin that readers need
/// (ISO/IEC 18004 section 9.1).
fn picture(text: &str) -> Option<String> {
    const MARGIN: i32 = 4;
    let code = qrcodegen::QrCode::encode_text(text, qrcodegen::QrCodeEcc::Medium).ok()?;
    let size = code.size();
    let mut path = String::new();
    for y in 0..size {
        for x in 0..size {
            if code.get_module(x, y) {
                path.push_str(&format!("M{} {}h1v1h-1z", x + MARGIN, y + MARGIN));
            }
        }
    }
    let whole = size + 2 * MARGIN;
    Some(format!(
        "<svg viewBox=\"0 0 {whole} {whole}\" shape-rendering=\"crispEdges\" aria-hidden=\"true\" \
         focusable=\"false\"><path fill=\"#fff\" d=\"M0 0h{whole}v{whole}H0z\"/><path \
         fill=\"#000\" d=\"{path}\"/></svg>"
    ))
}
