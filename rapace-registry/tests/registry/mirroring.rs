//! Both sides of a comparison are told the same, and there is a difference where there is one.

use postcard_schema::Schema;
use postcard_schema::schema::owned::OwnedNamedType;
use proptest::collection::vec;
use proptest::prelude::*;
use rapace_registry::{
    Change, Comparison, Difference, Method, MethodId, MethodKind, Pair, Registry, RegistryLimits, Service, Side,
    TypeChange, TypeChanges, compare,
};

use crate::comparing::{registry, service};
use crate::strategies;

/// The differences as the other side has to see them.
pub(crate) fn mirrored(comparison: &Comparison) -> Vec<Difference> {
    let mut differences = comparison.differences().to_vec();
    differences.iter_mut().for_each(mirror);
    differences
}

fn mirror(difference: &mut Difference) {
    match difference {
        Difference::Service { side, .. } | Difference::Method { side, .. } => swap_side(side),
        Difference::Version { versions, .. } => swap(versions),
        Difference::Provider { providers, .. } => swap(providers),
        Difference::Id { ids, .. } => swap(ids),
        Difference::Kind { ids, kinds, .. } => {
            swap(ids);
            swap(kinds);
        }
        Difference::Type { ids, changes, .. } => {
            swap(ids);
            for TypeChange { change, .. } in &mut changes.listed {
                match change {
                    Change::Type(pair) | Change::Name(pair) | Change::Order(pair) => swap(pair),
                    Change::Only { side, .. } => swap_side(side),
                    change => panic!("unknown {change:?}"),
                }
            }
        }
        Difference::SharedId { methods, .. } => swap(methods),
        difference => panic!("unknown {difference:?}"),
    }
}

fn swap<T>(pair: &mut Pair<T>) {
    std::mem::swap(&mut pair.ours, &mut pair.theirs);
}

fn swap_side(side: &mut Side) {
    *side = match side {
        Side::Ours => Side::Theirs,
        Side::Theirs => Side::Ours,
    };
}

/// The changes between two schemas, as the arguments of one method.
fn changes(ours: &OwnedNamedType, theirs: &OwnedNamedType) -> Option<TypeChanges> {
    let one = |ty: &OwnedNamedType| {
        let service = service("s");
        registry([service.method_with("m", Some(1), MethodKind::Unary, ty.clone(), <()>::SCHEMA.into())])
    };
    let (ours, theirs) = (one(ours), one(theirs));
    let comparison = compare(&ours, &theirs);
    assert_eq!(mirrored(&comparison), compare(&theirs, &ours).differences());
    match comparison.differences() {
        [] => None,
        [Difference::Type { changes, .. }] => {
            assert!(!changes.listed.is_empty());
            Some(changes.clone())
        }
        differences => panic!("{differences:?}"),
    }
}

/// Both sides refuse the same ids, and those that they have to.
fn check_refusals(
    ours: &Registry,
    theirs: &Registry,
    here: &Comparison,
    there: &Comparison,
) -> Result<(), TestCaseError> {
    let (refused, from_there) = (here.refusals(), there.refusals());
    prop_assert!(refused.keys().eq(from_there.keys()), "{refused:?} here, {from_there:?} there");
    prop_assert_eq!(refused.is_empty(), here.is_compatible());
    for id in ids(ours).chain(ids(theirs)) {
        let expected = must_be_refused(id, ours, theirs);
        prop_assert_eq!(refused.contains_key(&id), expected, "{}: {}", id, here);
    }
    for (id, text) in refused {
        let (service, method) = ours.method(*id).or(theirs.method(*id)).unwrap();
        let name = format!("{}.{}", service.name(), method.name());
        let end = text.strip_prefix(&name);
        prop_assert!(end.is_some_and(|end| end.starts_with([' ', ':'])), "{}: {}", name, text);
        prop_assert!(text.contains("here") && text.contains("there") || text.contains("only"), "{}", text);
        prop_assert!(text.len() <= RegistryLimits::REFUSAL_BYTES_MAX);
    }
    Ok(())
}

fn ids(registry: &Registry) -> impl Iterator<Item = MethodId> {
    registry.services().iter().flat_map(Service::methods).map(Method::id)
}

/// Whether calls by this id could mean two things.
fn must_be_refused(id: MethodId, ours: &Registry, theirs: &Registry) -> bool {
    let disagrees = |one: &Registry, other: &Registry| {
        let Some((service, method)) = one.method(id) else { return false };
        if let Some((other_service, other_method)) = other.method(id)
            && (other_service.name(), other_method.name()) != (service.name(), method.name())
        {
            return true;
        }
        let Some(other) = other.service(service.name()) else { return false };
        let of_service = |service: &Service| (service.version().major, service.provider());
        let of_method = |method: &Method| (method.id(), method.hash());
        of_service(service) != of_service(other)
            || other.method(method.name()).is_some_and(|other| of_method(other) != of_method(method))
    };
    disagrees(ours, theirs) || disagrees(theirs, ours)
}

proptest! {
    #[test]
    fn both_sides_are_told_the_same(
        ours in strategies::registry(),
        theirs in strategies::registry(),
    ) {
        let comparison = compare(&ours, &theirs);
        let from_there = compare(&theirs, &ours);
        prop_assert_eq!(mirrored(&comparison), from_there.differences());
        prop_assert_eq!(comparison.differences().is_empty(), ours == theirs);
        let incompatible = comparison.incompatibilities().count();
        prop_assert_eq!(comparison.is_compatible(), incompatible == 0);
        prop_assert!(!comparison.to_string().is_empty());
        prop_assert!(compare(&ours, &ours).differences().is_empty());
        check_refusals(&ours, &theirs, &comparison, &from_there)?;
    }

    #[test]
    fn there_is_a_change_exactly_where_schemas_differ(
        schema in strategies::schema(),
        edits in vec(vec(any::<u8>(), 0..5), 0..4),
    ) {
        let mut edited = schema.clone();
        for steps in &edits {
            strategies::edit(&mut edited, steps);
        }
        let changes = changes(&schema, &edited);
        prop_assert_eq!(changes.is_none(), schema == edited);
        for TypeChange { change, .. } in changes.into_iter().flat_map(|changes| changes.listed) {
            if let Change::Type(pair) | Change::Name(pair) | Change::Order(pair) = change {
                prop_assert_ne!(pair.ours, pair.theirs);
            }
        }
    }

    #[test]
    fn any_two_schemas_differ_exactly_where_they_are_not_equal(
        ours in strategies::schema(),
        theirs in strategies::schema(),
    ) {
        prop_assert_eq!(changes(&ours, &theirs).is_none(), ours == theirs);
    }
}
