//! Listeners, request hygiene, forwarding, upgrades, drain.
