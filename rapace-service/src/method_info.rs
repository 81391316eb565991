//! What is known of a method when the program is compiled.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};

use parking_lot::Mutex;
use rapace_registry::{Method, MethodKind, Service};

/// Methods of registries that are kept for ever: a bound for those that come from peers.
const KEPT_MAX: usize = 4096;

static KEPT: Mutex<Kept> = Mutex::new(Kept { count: 0, by_id: BTreeMap::new() });

struct Kept {
    count: usize,
    by_id: BTreeMap<u32, Vec<&'static MethodInfo>>,
}

/// A method of a service, as generated code names it to dispatch, interceptors and traces.
///
/// One constant table of these stands beside each service, so whatever is said of a call costs a pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodInfo {
    /// The service's name, such as `rapace.Plugin`.
    pub service: &'static str,
    /// The method's name in the service.
    pub name: &'static str,
    /// The id by which a frame names the method.
    pub id: u32,
    /// Which side of a call is a stream.
    pub kind: MethodKind,
}

impl MethodInfo {
    /// A method of which nothing is known.
    pub const UNKNOWN: Self = Self { service: "unknown", name: "method", id: 0, kind: MethodKind::Unary };

    /// What a registry says of a method. It is kept for ever, as others are, and after a few thousands a new one is
    /// [unknown](Self::UNKNOWN).
    #[must_use]
    pub fn of_registry(service: &Service, method: &Method) -> &'static Self {
        let (id, kind) = (method.id().get(), method.kind());
        let mut kept = KEPT.lock();
        let Kept { count, by_id } = &mut *kept;
        let known = by_id.entry(id).or_default();
        let is_this = |known: &Self| (known.service, known.name, known.kind) == (service.name(), method.name(), kind);
        if let Some(known) = known.iter().find(|known| is_this(known)) {
            return known;
        }
        if *count >= KEPT_MAX {
            return &const { Self::UNKNOWN };
        }
        *count += 1;
        let leak = |text: &str| -> &'static str { Box::leak(text.into()) };
        let made: &Self =
            Box::leak(Box::new(Self { service: leak(service.name()), name: leak(method.name()), id, kind }));
        known.push(made);
        made
    }

    /// `service.name`, to be printed.
    #[must_use]
    pub const fn full_name(&self) -> FullName {
        FullName { service: self.service, name: self.name }
    }
}

/// The id alone tells methods of one registry apart, and those of two rarely share one.
impl Hash for MethodInfo {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

/// The full name of a method, `service.name`; nothing is allocated until somebody makes a string of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FullName {
    service: &'static str,
    name: &'static str,
}

impl FullName {
    /// Whether `text` is this name.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        text.strip_prefix(self.service).and_then(|rest| rest.strip_prefix('.')) == Some(self.name)
    }
}

impl fmt::Display for FullName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.service, self.name)
    }
}

#[cfg(test)]
mod tests {
    use rapace_registry::{Provider, Registry, Version};

    use super::*;

    #[test]
    fn a_method_of_a_registry_is_kept_once() {
        let of = |name: &str| {
            let service = Service::builder("test.Kept", Version::new(1, 0), Provider::Host).unary::<u8, u8>(name, 7);
            let registry = Registry::builder().service(service).build().unwrap();
            let service = &registry.services()[0];
            MethodInfo::of_registry(service, &service.methods()[0])
        };
        let [first, again, other] = [of("first"), of("first"), of("other")];
        assert!(std::ptr::eq(first, again));
        assert_eq!(*other, MethodInfo { service: "test.Kept", name: "other", id: 7, kind: MethodKind::Unary });
        // However many come, no more than so many are kept.
        let all: Vec<_> = (0..KEPT_MAX).map(|number| of(&format!("m{number}"))).collect();
        assert!(all[0].name == "m0" && all[KEPT_MAX - 1] == &MethodInfo::UNKNOWN);
        assert!(std::ptr::eq(of("first"), first));
        assert_eq!(KEPT.lock().count, KEPT_MAX);
    }

    const INFO: MethodInfo = MethodInfo { service: "demo.Kv", name: "get", id: 7, kind: MethodKind::Unary };

    #[test]
    fn a_full_name_is_service_dot_name() {
        assert_eq!(INFO.full_name().to_string(), "demo.Kv.get");
        assert!(INFO.full_name().is("demo.Kv.get"));
        for other in ["demo.Kv.gets", "demo.Kvget", "demo.Kv", "get", "", "demo.Kv.get."] {
            assert!(!INFO.full_name().is(other), "{other}");
        }
    }
}
