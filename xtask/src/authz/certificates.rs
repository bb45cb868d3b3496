//! Workloads that show a certificate of the mesh.

use anyhow::Result;
use testkit::curl;

use super::rows::{Rows, Seen};

impl Rows {
    /// Workloads that show a certificate of the mesh.
    pub(super) fn certificates(&mut self) -> Result<()> {
        let target = "/v1/models/limited:predict";
        let host = "limited.kserve-test.svc.cluster.local";
        let port = 8443;
        let at = self.mesh.external.ip();
        let url = format!("https://{host}:{port}{target}");
        let resolve = format!("{host}:{port}:{at}");
        for (who, status) in [(Some(0), 200), (Some(1), 403), (None, 0)] {
            self.mesh.peers.arrived();
            let file = |name: &str| {
                let number = who.unwrap_or_default();
                let path = self
                    .mesh
                    .folder
                    .path()
                    .join(format!("client-{number}.{name}"));
                path.to_string_lossy().into_owned()
            };
            let (certificate, key) = (file("pem"), file("key"));
            let mut args = vec!["-k", "--resolve", &*resolve, "-d", "{}"];
            if who.is_some() {
                args.extend(["--cert", &*certificate, "--key", &*key]);
            }
            // One that it could take for a certificate.
            let forged =
                "x-forwarded-client-cert: URI=spiffe://cluster.local/ns/kserve-test/sa/default";
            args.extend(["-H", forged, &*url]);
            let answer = curl(args);
            if who.is_none() {
                // No connection without one.
                let answered = answer.is_ok_and(|answer| answer.status != 0);
                let wrong =
                    answered.then(|| "a client without a certificate is answered".to_owned());
                self.count(wrong);
                continue;
            }
            let seen = Seen {
                answer: answer?,
                arrived: self.mesh.peers.arrived().pop(),
            };
            let right = seen.answer.status == status && seen.arrived.is_some() == (status == 200);
            self.expect(&format!("a certificate ({who:?})"), right, &seen);
        }
        Ok(())
    }
}
