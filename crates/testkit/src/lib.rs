//! What tests share: starting Sidegate, fake upstreams, raw sockets.
