//! Bytes made up by a peer: each is refused by name, within bounded time, memory and stack.

use rapace_registry::{Conflict, MethodId, NameError, ParseError, Registry};

const UNARY: u8 = 0;
pub(crate) const U8: [u8; 2] = [0, 2];
const UNIT: [u8; 2] = [0, 19];

/// Header and number of services, then what follows.
fn registry(services: u8, tail: impl AsRef<[u8]>) -> Vec<u8> {
    [b"RPRG\x01\x00", [services].as_slice(), tail.as_ref()].concat()
}

/// The service `name` 1.0 of the host, then what follows.
fn service(name: &str, methods: u8, tail: impl AsRef<[u8]>) -> Vec<u8> {
    [text(name).as_slice(), &[1, 0, 0, methods], tail.as_ref()].concat()
}

/// The method `name` with an id of one byte, then what follows.
fn method(name: &str, id: u8, tail: impl AsRef<[u8]>) -> Vec<u8> {
    [text(name).as_slice(), &[id], tail.as_ref()].concat()
}

/// The whole method `name` from nothing to nothing.
fn plain(name: &str, id: u8) -> Vec<u8> {
    method(name, id, [[UNARY].as_slice(), &UNIT, &UNIT].concat())
}

/// A registry of one method with this argument.
pub(crate) fn argument(schema: impl AsRef<[u8]>) -> Vec<u8> {
    let types = [[UNARY].as_slice(), schema.as_ref(), &UNIT].concat();
    registry(1, service("a", 1, method("m", 1, types)))
}

fn text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    assert!(length < 0x80);
    [&[length], text.as_bytes()].concat()
}

/// 2^60 as a varint.
const HUGE: [u8; 9] = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10];

fn over(at: usize, what: &'static str, found: u64, limit: u64) -> ParseError {
    ParseError::OverLimit { at, what, found, limit }
}

/// The offset of the argument's schema in [`argument`]: 7 bytes of header, 6 of service, 4 of
/// method.
const ARGUMENT: usize = 17;

#[test]
fn what_the_helpers_make_is_a_registry() {
    let bytes = registry(2, [service("a", 1, plain("m", 1)), service("b", 1, plain("m", 2))].concat());
    assert_eq!(Registry::from_bytes(&bytes).unwrap().to_bytes(), bytes);
    assert_eq!(Registry::from_bytes(&argument(U8)).unwrap().to_bytes(), argument(U8));
}

#[test]
fn bytes_that_are_not_a_registry_are_refused_by_name() {
    let truncated = |at, needed, left| ParseError::Truncated { at, needed, left };
    let order =
        |at, found: &str, previous: &str| ParseError::Order { at, found: found.into(), previous: previous.into() };
    let derived_id = [0x81, 0x80, 0x80, 0x80, 0x08];
    let cases: Vec<(&str, Vec<u8>, ParseError)> = vec![
        ("nothing", vec![], truncated(0, 4, 0)),
        ("half a magic", b"RP".into(), truncated(0, 4, 2)),
        ("another magic", b"RPRH\x01\x00\x00".into(), ParseError::Magic { found: *b"RPRH" }),
        ("another format", b"RPRG\x02\x01\x00".into(), ParseError::FormatVersion { found: 0x0102, supported: 1 }),
        ("no body", b"RPRG\x01\x00".into(), truncated(6, 1, 0)),
        ("a service that is not there", registry(1, []), truncated(7, 1, 0)),
        ("257 services", b"RPRG\x01\x00\x81\x02".into(), over(6, "services", 257, 256)),
        ("2^60 services", [b"RPRG\x01\x00", HUGE.as_slice()].concat(), over(6, "services", 1 << 60, 256)),
        ("an overlong number", b"RPRG\x01\x00\x80\x00".into(), ParseError::Number { at: 6 }),
        ("a number of 65 bits", [b"RPRG\x01\x00".as_slice(), &[0xff; 9], &[2]].concat(), ParseError::Number { at: 6 }),
        ("a number without an end", [b"RPRG\x01\x00".as_slice(), &[0xff; 20]].concat(), ParseError::Number { at: 6 }),
        ("a byte too many", registry(0, [0]), ParseError::Trailing { at: 7, left: 1 }),
        ("a name of 129 bytes", registry(1, [0x81, 0x01]), over(7, "bytes of a name", 129, 128)),
        ("a name of 2^60 bytes", registry(1, HUGE), over(7, "bytes of a name", 1 << 60, 128)),
        ("a name cut short", registry(1, [5, b'a']), truncated(8, 5, 1)),
        ("a name that is not UTF-8", registry(1, [2, b'a', 0xff]), ParseError::NotUtf8 { at: 9 }),
        (
            "an empty name",
            registry(1, service("", 0, [])),
            ParseError::Name { at: 7, reason: NameError::Length { found: 0, limit: 128 } },
        ),
        (
            "a newline in a method's name",
            registry(1, service("a", 1, plain("m\n", 1))),
            ParseError::Name { at: 13, reason: NameError::Character { found: '\n', index: 1 } },
        ),
        ("major version 65536", registry(1, [1, b'a', 0x80, 0x80, 4]), over(9, "the major version", 65_536, 65_535)),
        (
            "minor version 65536",
            registry(1, [1, b'a', 1, 0x80, 0x80, 4]),
            over(10, "the minor version", 65_536, 65_535),
        ),
        ("a fourth provider", registry(1, [1, b'a', 1, 0, 3]), over(11, "the code of a provider", 3, 2)),
        ("4097 methods", registry(1, [1, b'a', 1, 0, 0, 0x81, 0x20]), over(12, "methods", 4097, 4096)),
        (
            "services out of order",
            registry(2, [service("b", 0, []), service("a", 0, [])].concat()),
            order(15, "a", "b"),
        ),
        ("a service twice", registry(2, [service("a", 0, []), service("a", 0, [])].concat()), order(15, "a", "a")),
        (
            "methods out of order",
            registry(1, service("a", 2, [plain("m", 2), plain("n", 1)].concat())),
            order(24, "1", "2"),
        ),
        (
            "an id twice in a service",
            registry(1, service("a", 2, [plain("m", 1), plain("n", 1)].concat())),
            order(24, "1", "1"),
        ),
        (
            "an id twice in two services",
            registry(2, [service("a", 1, plain("m", 1)), service("b", 1, plain("m", 1))].concat()),
            ParseError::Conflict(Conflict::MethodId {
                id: MethodId::new(1).unwrap(),
                first: "m of a".into(),
                second: "m of b".into(),
            }),
        ),
        (
            "a method's name twice",
            registry(1, service("a", 2, [plain("m", 1), plain("m", 2)].concat())),
            ParseError::Conflict(Conflict::MethodName { service: "a".into(), method: "m".into() }),
        ),
        ("method id 0", registry(1, service("a", 1, plain("m", 0))), ParseError::MethodIdZero { at: 15 }),
        (
            "method id 2^32",
            registry(1, service("a", 1, [1, b'm', 0x80, 0x80, 0x80, 0x80, 0x10])),
            over(15, "a method id", 1 << 32, u32::MAX.into()),
        ),
        (
            "a derived id that does not follow from the names",
            registry(1, service("a", 1, [b"\x01m".as_slice(), &derived_id].concat())),
            ParseError::DerivedId {
                service: "a".into(),
                method: "m".into(),
                found: MethodId::new(0x8000_0001).unwrap(),
                expected: MethodId::derived("a", "m"),
            },
        ),
        ("a fifth kind", registry(1, service("a", 1, method("m", 1, [4]))), over(16, "the code of a kind", 4, 3)),
        ("a thirtieth type", argument([0, 29]), over(ARGUMENT + 1, "the code of a type", 29, 28)),
        ("a fifth variant", argument([0, 27, 1, 0, 4]), over(ARGUMENT + 4, "the code of a variant", 4, 3)),
        ("a type's name of 129 bytes", argument([0x81, 0x01]), over(ARGUMENT, "bytes of a name", 129, 128)),
        (
            "a struct of 2^60 fields",
            argument([[0, 26].as_slice(), &HUGE].concat()),
            over(ARGUMENT + 2, "items of a list", 1 << 60, 65_536),
        ),
        ("a struct of more fields than bytes", argument([0, 26, 0x80, 0x80, 2]), truncated(ARGUMENT + 7, 19, 0)),
        (
            "a tuple of 65,536 items",
            argument([0, 23, 0x80, 0x80, 4]),
            over(ARGUMENT + 5, "schema nodes", 65_537, 65_536),
        ),
    ];
    for (what, bytes, error) in cases {
        assert_eq!(Registry::from_bytes(&bytes), Err(error), "{what}");
    }
}

#[test]
fn a_registry_above_one_mebibyte_is_not_even_looked_at() {
    let error = |length| Registry::from_bytes(&vec![0; length]).unwrap_err();
    let (found, limit) = (1_048_577, 1_048_576);
    assert_eq!(error(found), ParseError::TooLong { found, limit });
    assert_eq!(error(limit), ParseError::Magic { found: [0; 4] });
}

#[test]
fn the_limit_on_methods_is_one_for_all_services() {
    let id = |id: usize| [u8::try_from(id % 128).unwrap() | 0x80, u8::try_from(id / 128).unwrap()];
    let entry = |index: usize| [text(&format!("m{index}")).as_slice(), &id(index), &[UNARY], &UNIT, &UNIT].concat();
    let first: Vec<u8> = (128..128 + 4000).flat_map(entry).collect();
    let head = [text("a").as_slice(), &[1, 0, 0, 0xa0, 0x1f]].concat();
    let bytes = registry(2, [head.as_slice(), &first, &service("b", 97, [])].concat());
    let at = bytes.len() - 1;
    assert_eq!(Registry::from_bytes(&bytes), Err(over(at, "methods", 97, 96)));
}

#[test]
fn the_limit_on_nodes_is_one_for_all_schemas() {
    let half = [[0, 23, 0x80, 0x80, 2].as_slice(), &U8.repeat(32_768)].concat();
    let types = [[UNARY].as_slice(), &half, &half].concat();
    let bytes = registry(1, service("a", 1, method("m", 1, types)));
    let at = ARGUMENT + half.len() + 5;
    assert_eq!(Registry::from_bytes(&bytes), Err(over(at, "schema nodes", 65_538, 65_536)));
}
