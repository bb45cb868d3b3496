//! Rules by the hosts that they name.

use policy::Condition;
use rustc_hash::FxHashMap;

use crate::terms::hosts_of;

/// Numbers of rules that look at the authority.
#[derive(Debug, Default)]
pub(crate) struct ByHost {
    named: FxHashMap<String, Vec<usize>>,
    /// Rules about hosts that could be any.
    roaming: Vec<usize>,
}

impl ByHost {
    pub(crate) fn add(&mut self, number: usize, condition: &Condition) {
        let Some(hosts) = hosts_of(condition) else {
            self.roaming.push(number);
            return;
        };
        for host in hosts {
            let list = self.named.entry(host).or_default();
            if list.last() != Some(&number) {
                list.push(number);
            }
        }
    }

    /// Those that can matter for a virtual host of this name, in their order.
    pub(crate) fn of(&self, name: &str) -> Vec<usize> {
        let mut numbers = self.naming(name);
        numbers.extend(&self.roaming);
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Those about hosts that could be any.
    pub(crate) fn roaming(&self) -> &[usize] {
        &self.roaming
    }

    /// Those that name a host of a virtual host of this name.
    pub(crate) fn naming(&self, name: &str) -> Vec<usize> {
        let mut numbers: Vec<usize> = Vec::new();
        match name.strip_prefix('*') {
            None => numbers.extend(self.named.get(name).into_iter().flatten()),
            Some(suffix) => {
                for (host, list) in &self.named {
                    if host.ends_with(suffix) {
                        numbers.extend(list);
                    }
                }
            }
        }
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }
}
