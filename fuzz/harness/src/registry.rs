//! Target `registry`: the parser of registries, and their comparison.

use rapace_registry::{Change, Difference, Pair, Registry, RegistryLimits, Side, TypeChange, compare};

/// Parses one registry from all of the bytes, and two from both parts of them.
///
/// What is accepted is within its limits and has no other bytes; two that are accepted are told the same of each other.
/// The first two bytes say, modulo what follows, how long the first part is.
pub fn registry(data: &[u8]) {
    let whole = parse(data);
    let parts = data.split_first_chunk().and_then(|(length, rest)| {
        let length = usize::from(u16::from_le_bytes(*length));
        let (ours, theirs) = rest.split_at(length % (rest.len() + 1));
        Some((parse(ours)?, parse(theirs)?))
    });
    if let Some((ours, theirs)) = &parts {
        check(ours, theirs);
    }
    if let Some(whole) = &whole {
        check(whole, &Registry::default());
        check(whole, whole);
    }
}

fn parse(bytes: &[u8]) -> Option<Registry> {
    match Registry::from_bytes(bytes) {
        Ok(registry) => {
            assert!(registry.to_bytes() == bytes, "another form was accepted");
            let services = registry.services();
            let methods = services.iter().map(|service| service.methods().len()).sum::<usize>();
            assert!(services.len() <= RegistryLimits::SERVICES_MAX && methods <= RegistryLimits::METHODS_MAX);
            for service in services {
                assert_eq!(registry.service(service.name()), Some(service));
                for method in service.methods() {
                    assert_eq!(registry.method(method.id()), Some((service, method)));
                }
            }
            assert_eq!(registry.services().is_empty(), registry.to_string().is_empty());
            Some(registry)
        }
        Err(error) => {
            assert!(error.to_string().len() <= 2048, "{error}");
            None
        }
    }
}

fn check(ours: &Registry, theirs: &Registry) {
    let (here, there) = (compare(ours, theirs), compare(theirs, ours));
    assert_eq!(here.differences().len(), there.differences().len());
    for (one, other) in here.differences().iter().zip(there.differences()) {
        assert!(mirrors(one, other), "{one:?} is not the mirror of {other:?}");
        assert_eq!(one.is_incompatible(), other.is_incompatible());
        assert!(!one.to_string().is_empty());
    }
    assert_eq!(here.is_compatible(), there.is_compatible());
    assert_eq!(here.is_compatible(), here.refusals().is_empty());
    assert!(here.refusals().keys().eq(there.refusals().keys()));
    assert!(here.refusals().values().all(|text| (1..=RegistryLimits::REFUSAL_BYTES_MAX).contains(&text.len())));
    assert_eq!(here.differences().is_empty(), ours == theirs);
}

/// Whether two differences say the same from both sides.
fn mirrors(one: &Difference, other: &Difference) -> bool {
    use Difference as D;
    match (one, other) {
        (D::Service { side: s, service: a, version: v }, D::Service { side: t, service: b, version: w }) => {
            s != t && a == b && v == w
        }
        (D::Method { side: s, service: a, method: m, id: i }, D::Method { side: t, service: b, method: n, id: j }) => {
            s != t && (a, m, i) == (b, n, j)
        }
        (D::Version { service: a, versions: v }, D::Version { service: b, versions: w }) => a == b && swapped(v, w),
        (D::Provider { service: a, providers: v }, D::Provider { service: b, providers: w }) => a == b && swapped(v, w),
        (D::Id { service: a, method: m, ids: v }, D::Id { service: b, method: n, ids: w }) => {
            (a, m) == (b, n) && swapped(v, w)
        }
        (D::Kind { service: a, method: m, ids: i, kinds: v }, D::Kind { service: b, method: n, ids: j, kinds: w }) => {
            (a, m) == (b, n) && swapped(i, j) && swapped(v, w)
        }
        (
            D::Type { service: a, method: m, ids: i, role: r, changes: v },
            D::Type { service: b, method: n, ids: j, role: s, changes: w },
        ) => {
            let listed =
                v.listed.len() == w.listed.len() && v.listed.iter().zip(&w.listed).all(|(v, w)| mirrored(v, w));
            (a, m, r) == (b, n, s) && swapped(i, j) && listed && v.more == w.more
        }
        (D::SharedId { id: i, methods: v }, D::SharedId { id: j, methods: w }) => i == j && swapped(v, w),
        _ => false,
    }
}

fn mirrored(one: &TypeChange, other: &TypeChange) -> bool {
    let changes = match (&one.change, &other.change) {
        (Change::Type(v), Change::Type(w))
        | (Change::Name(v), Change::Name(w))
        | (Change::Order(v), Change::Order(w)) => swapped(v, w),
        (Change::Only { side: Side::Ours, what: v }, Change::Only { side: Side::Theirs, what: w })
        | (Change::Only { side: Side::Theirs, what: v }, Change::Only { side: Side::Ours, what: w }) => v == w,
        _ => false,
    };
    changes && one.path == other.path
}

fn swapped<T: PartialEq>(one: &Pair<T>, other: &Pair<T>) -> bool {
    one.ours == other.theirs && one.theirs == other.ours
}
