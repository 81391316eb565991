//! Which methods two peers do not call each other by, and why.
//!
//! A frame names a method by its id alone, so it is ids that are refused: those of either side, where they differ. A
//! service of another major version or provider takes all its methods with it.

use std::collections::BTreeMap;

use crate::difference::Difference;
use crate::limits::RegistryLimits;
use crate::method_id::MethodId;
use crate::pair::Pair;
use crate::registry::Registry;

/// What is told of each refused method: lines of which the first begins with the full name of the method that our
/// registry knows by this id, or else theirs.
pub(crate) fn refusals(ours: &Registry, theirs: &Registry, differences: &[Difference]) -> BTreeMap<MethodId, String> {
    let mut texts = BTreeMap::new();
    // An id that means two methods comes first: its text begins with ours, and what is told of either may follow.
    let (shared, rest): (Vec<_>, Vec<_>) = differences
        .iter()
        .filter(|difference| difference.is_incompatible())
        .partition(|difference| matches!(difference, Difference::SharedId { .. }));
    for difference in shared.into_iter().chain(rest) {
        match difference {
            Difference::Id { ids, .. } | Difference::Kind { ids, .. } | Difference::Type { ids, .. } => {
                let line = difference.to_string();
                both(ids).for_each(|id| add(&mut texts, id, &line));
            }
            Difference::SharedId { id, .. } => {
                if let Some((service, method)) = ours.method(*id) {
                    add(&mut texts, *id, &format!("{}.{} ({id}): {difference}", service.name(), method.name()));
                }
            }
            Difference::Version { service, .. } | Difference::Provider { service, .. } => {
                for (id, method) in methods(service, ours, theirs) {
                    add(&mut texts, id, &format!("{service}.{method} ({id}): {difference}"));
                }
            }
            Difference::Service { .. } | Difference::Method { .. } => {}
        }
    }
    texts.values_mut().for_each(shorten);
    texts
}

/// The methods that either side has in a service, by their ids.
fn methods<'a>(service: &str, ours: &'a Registry, theirs: &'a Registry) -> BTreeMap<MethodId, &'a str> {
    // Ours last: where an id means two methods of one service, ours gives it its name.
    let services = [theirs, ours].into_iter().filter_map(|registry| registry.service(service));
    services.flat_map(|service| service.methods()).map(|method| (method.id(), method.name())).collect()
}

fn both(ids: &Pair<MethodId>) -> impl Iterator<Item = MethodId> {
    [ids.ours].into_iter().chain((ids.ours != ids.theirs).then_some(ids.theirs))
}

fn add(texts: &mut BTreeMap<MethodId, String>, id: MethodId, lines: &str) {
    let text = texts.entry(id).or_default();
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(lines);
}

fn shorten(text: &mut String) {
    const MARK: &str = "…";
    if text.len() > RegistryLimits::REFUSAL_BYTES_MAX {
        text.truncate(text.floor_char_boundary(RegistryLimits::REFUSAL_BYTES_MAX - MARK.len()));
        text.push_str(MARK);
    }
    text.shrink_to_fit();
}
