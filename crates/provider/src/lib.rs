//! The embedded OpenID provider, with Dex's configuration and URLs.
