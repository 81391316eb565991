//! What is generated relies on no name that its user has, or does not have.
#![deny(warnings)]
#![allow(clippy::unwrap_used, missing_docs, dead_code)]

/// Nothing is in scope here, not even the prelude, and its names mean something else.
#[no_implicit_prelude]
pub mod bare {
    use ::rapace::Incoming;
    use ::rapace::Stream;
    use ::std::option::Option;
    use ::std::result::Result;
    use ::std::vec::Vec;

    pub struct Ok;
    pub struct Err;
    pub struct Some;
    pub struct None;
    pub struct Box;
    pub struct String;
    pub trait Send {}
    pub trait Sync {}
    pub trait Clone {}
    pub trait From {}
    pub trait Future {}

    #[::rapace::message]
    pub struct Plain<T> {
        pub value: T,
        pub bytes: Vec<u8>,
    }

    #[::rapace::message]
    pub enum Many {
        Unit,
        Bytes(Vec<u8>, Option<Vec<u8>>),
        #[serde(rename = "Renamed")]
        Named {
            bytes: Option<Vec<u8>>,
        },
    }

    #[::rapace::message]
    #[derive(::std::clone::Clone, ::std::cmp::PartialEq, ::std::cmp::Eq, ::std::hash::Hash)]
    pub struct Newtype(pub Vec<u8>);

    #[::rapace::service(name = "hygiene.Bare", version = "1.0")]
    pub trait Bare {
        async fn unary(&self, client: u8, krate: &str, answer: &[u8], result: Vec<u8>)
        -> Result<Option<Vec<u8>>, Many>;
        async fn bytes(&self, decoded: Option<Vec<u8>>) -> Vec<u8>;
        async fn one(&self, implementation: Plain<Newtype>) -> Plain<u8>;
        async fn send(&self, context: u8, item: Incoming<Vec<u8>>) -> u8;
        fn receive(&self, status: u8) -> impl Stream<Item = Option<Vec<u8>>>;
        async fn exchange(&self, bytes: Incoming<Many>) -> impl Stream<Item = Result<Vec<u8>, Vec<u8>>>;
    }
}

#[test]
fn a_service_stands_where_nothing_is_in_scope() {
    use rapace::Described;

    let registry = rapace::Services::new().calls::<bare::BareClient>().registry().unwrap();
    assert_eq!(registry.service("hygiene.Bare").unwrap().methods().len(), bare::BareClient::METHODS.len());
    let arguments = registry.method_by_name("hygiene.Bare", "unary").unwrap();
    assert_eq!(arguments.argument().name, "unary");
}

/// A function has its own scope, too.
#[test]
fn a_service_stands_in_a_function() {
    #[rapace::service(name = "hygiene.Local", version = "1.0")]
    trait Local {
        async fn get(&self) -> u8;
    }

    struct Impl;

    impl Local for Impl {
        async fn get(&self) -> u8 {
            7
        }
    }

    let services = rapace::Services::new().add(LocalServer::new(Impl));
    assert_eq!(
        services.methods().map(|method| method.full_name().to_string()).collect::<Vec<_>>(),
        ["hygiene.Local.get"]
    );
}
