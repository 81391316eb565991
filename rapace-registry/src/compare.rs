//! Two registries side by side: which methods can these peers call each other by, and which not, and why?
//!
//! Methods meet by the name of their service and their own name. What one side alone has is no
//! harm: nobody calls it. What both have must be the same, and an id that both use must mean the
//! same method.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::difference::{Difference, Role};
use crate::method::Method;
use crate::method_id::MethodId;
use crate::pair::{Pair, Side};
use crate::refusals::refusals;
use crate::registry::{Registry, full_name};
use crate::service::Service;
use crate::type_changes::TypeChanges;

/// The differences between two registries.
///
/// `Display` writes a line or more for each, and ends those that do no harm with `(compatible)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    differences: Vec<Difference>,
    refusals: BTreeMap<MethodId, String>,
}

/// Compares two registries. Seen from the other side, the differences are the same with their sides
/// swapped.
#[must_use]
pub fn compare(ours: &Registry, theirs: &Registry) -> Comparison {
    let mut differences = Vec::new();
    let names: BTreeSet<&str> = both(ours.services(), theirs.services(), Service::name);
    for name in names {
        match (ours.service(name), theirs.service(name)) {
            (Some(ours), Some(theirs)) => compare_services(ours, theirs, &mut differences),
            (Some(only), None) => differences.push(only_service(Side::Ours, only)),
            (None, Some(only)) => differences.push(only_service(Side::Theirs, only)),
            (None, None) => {}
        }
    }
    shared_ids(ours, theirs, &mut differences);
    let refusals = refusals(ours, theirs, &differences);
    Comparison { differences, refusals }
}

impl Comparison {
    /// All differences, by service and then by method; ids that mean two methods come last.
    #[must_use]
    pub fn differences(&self) -> &[Difference] {
        &self.differences
    }

    /// The differences over which methods are refused.
    pub fn incompatibilities(&self) -> impl Iterator<Item = &Difference> {
        self.differences.iter().filter(|difference| difference.is_incompatible())
    }

    /// The methods by which the peers do not call each other, and why: lines that begin with the full name of the
    /// method that our registry knows by this id, or else theirs, as in
    /// `rapace.Plugin.process (2001): result.success: bool here, u32 there`. A text has at most
    /// [`RegistryLimits::REFUSAL_BYTES_MAX`](crate::RegistryLimits::REFUSAL_BYTES_MAX) bytes.
    ///
    /// Seen from the other side, the ids are the same.
    #[must_use]
    pub fn refusals(&self) -> &BTreeMap<MethodId, String> {
        &self.refusals
    }

    /// Whether the peers can call each other by every method that both have.
    #[must_use]
    pub fn is_compatible(&self) -> bool {
        self.incompatibilities().next().is_none()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.differences.is_empty() {
            return f.write_str("no difference");
        }
        for (index, difference) in self.differences.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n" };
            let end = if difference.is_incompatible() { "" } else { " (compatible)" };
            write!(f, "{gap}{difference}{end}")?;
        }
        Ok(())
    }
}

fn compare_services(ours: &Service, theirs: &Service, out: &mut Vec<Difference>) {
    let service = || ours.name().to_owned();
    if let Some(versions) = unequal(ours.version(), theirs.version()) {
        let service = service();
        out.push(Difference::Version { service, versions });
    }
    if let Some(providers) = unequal(ours.provider(), theirs.provider()) {
        let service = service();
        out.push(Difference::Provider { service, providers });
    }
    let only = |side, method: &Method| Difference::Method {
        side,
        service: service(),
        method: method.name().to_owned(),
        id: method.id(),
    };
    for name in both(ours.methods(), theirs.methods(), Method::name) {
        match (ours.method(name), theirs.method(name)) {
            (Some(ours), Some(theirs)) => compare_methods(&service(), ours, theirs, out),
            (Some(method), None) => out.push(only(Side::Ours, method)),
            (None, Some(method)) => out.push(only(Side::Theirs, method)),
            (None, None) => {}
        }
    }
}

fn compare_methods(service: &str, ours: &Method, theirs: &Method, out: &mut Vec<Difference>) {
    let names = || (service.to_owned(), ours.name().to_owned());
    let ids = Pair { ours: ours.id(), theirs: theirs.id() };
    if ids.ours != ids.theirs {
        let (service, method) = names();
        out.push(Difference::Id { service, method, ids });
    }
    if let Some(kinds) = unequal(ours.kind(), theirs.kind()) {
        let (service, method) = names();
        out.push(Difference::Kind { service, method, ids, kinds });
    }
    let arguments = (Role::Argument, ours.argument(), theirs.argument());
    let results = (Role::Result, ours.result(), theirs.result());
    for (role, ours, theirs) in [arguments, results] {
        if ours != theirs {
            let changes = TypeChanges::between(ours, theirs);
            let (service, method) = names();
            out.push(Difference::Type { service, method, ids, role, changes });
        }
    }
}

fn shared_ids(ours: &Registry, theirs: &Registry, out: &mut Vec<Difference>) {
    let mut shared = Vec::new();
    for service in ours.services() {
        for method in service.methods() {
            let Some((their_service, their_method)) = theirs.method(method.id()) else {
                continue;
            };
            if (service.name(), method.name()) != (their_service.name(), their_method.name()) {
                let ours = full_name(service, method);
                let theirs = full_name(their_service, their_method);
                shared.push((method.id(), Pair { ours, theirs }));
            }
        }
    }
    shared.sort_by_key(|(id, _)| *id);
    out.extend(shared.into_iter().map(|(id, methods)| Difference::SharedId { id, methods }));
}

fn only_service(side: Side, service: &Service) -> Difference {
    Difference::Service { side, service: service.name().to_owned(), version: service.version() }
}

fn both<'a, T>(ours: &'a [T], theirs: &'a [T], name: fn(&T) -> &str) -> BTreeSet<&'a str> {
    ours.iter().chain(theirs).map(name).collect()
}

fn unequal<T: PartialEq>(ours: T, theirs: T) -> Option<Pair<T>> {
    (ours != theirs).then_some(Pair { ours, theirs })
}
