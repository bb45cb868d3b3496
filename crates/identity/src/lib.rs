//! Who is calling: sessions, OpenID Connect relying party, ServiceAccount tokens, workload credentials.
