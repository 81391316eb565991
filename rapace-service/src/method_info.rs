//! What is known of a method when the program is compiled.

use std::fmt;
use std::hash::{Hash, Hasher};

use rapace_registry::MethodKind;

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
    use super::*;

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
