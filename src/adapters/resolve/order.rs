//! In which order the places of a service are tried: RFC 2782, and both kinds of records as one set (XEP-0368 v1.1,
//! rule 1).

use super::{Hop, message::Service};
use crate::limits;

/// By priority; within it drawn by weight, `draw(n)` being a random number up to and including `n`. At most
/// `DNS_HOPS_MAX` are kept.
pub fn order(plain: Vec<Service>, direct: Vec<Service>, mut draw: impl FnMut(u64) -> u64) -> Vec<Hop> {
    let plain = plain.into_iter().map(|service| (false, service));
    let mut left: Vec<(bool, Service)> = direct.into_iter().map(|service| (true, service)).chain(plain).collect();
    left.retain(|(_, service)| !service.host.is_empty());
    // RFC 2782: those of weight 0 stand first, so that they have a small chance. Direct TLS stays before STARTTLS.
    left.sort_by_key(|(_, service)| (service.priority, service.weight != 0));
    let mut hops = Vec::new();
    while let Some((_, first)) = left.first()
        && hops.len() < limits::DNS_HOPS_MAX
    {
        let peers = left.iter().take_while(|(_, service)| service.priority == first.priority);
        let mark = draw(peers.clone().map(|(_, service)| u64::from(service.weight)).sum());
        let mut sum = 0;
        let chosen = peers.into_iter().position(|(_, service)| {
            sum += u64::from(service.weight);
            sum >= mark
        });
        let (direct, Service { host, port, .. }) = left.remove(chosen.unwrap_or_default());
        hops.push(Hop { host, port, direct });
    }
    hops
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(priority: u16, weight: u16, host: &str) -> Service {
        Service { priority, weight, port: 5269, host: host.into() }
    }

    fn hosts(hops: Vec<Hop>) -> Vec<String> {
        hops.into_iter().map(|hop| hop.host).collect()
    }

    #[test]
    fn priorities_of_both_kinds_are_mixed() {
        let plain = vec![service(20, 0, "d"), service(5, 0, "b")];
        let direct = vec![service(10, 0, "c"), service(1, 0, "a"), service(0, 0, "")];
        let hops = order(plain, direct, |_| 0);
        assert_eq!(hops.iter().map(|hop| hop.direct).collect::<Vec<_>>(), [true, false, true, false]);
        assert_eq!(hosts(hops), ["a", "b", "c", "d"]);
        let hops = order(vec![service(1, 0, "plain")], vec![service(1, 0, "direct")], |_| 0);
        assert_eq!(hosts(hops), ["direct", "plain"]);
    }

    #[test]
    fn equals_are_drawn_by_weight() {
        let equals = || vec![service(1, 60, "a"), service(1, 40, "b"), service(1, 0, "c")];
        assert_eq!(hosts(order(equals(), Vec::new(), |_| 0)), ["c", "a", "b"]);
        assert_eq!(hosts(order(equals(), Vec::new(), |all| all)), ["b", "a", "c"]);
        let mut seed = 1u64;
        let mut first = 0;
        for _ in 0..10_000 {
            let draw = |all: u64| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (seed >> 33) % (all + 1)
            };
            first += usize::from(hosts(order(equals(), Vec::new(), draw))[0] == "a");
        }
        assert!((5_500..6_500).contains(&first), "{first}");
    }

    #[test]
    fn a_flood_of_records_is_cut() {
        let many = (0..1_000).map(|n| service(n, n, "a")).collect();
        assert_eq!(order(many, Vec::new(), |all| all / 2).len(), limits::DNS_HOPS_MAX);
    }
}
