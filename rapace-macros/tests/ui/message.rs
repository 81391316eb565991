use rapace_macros::message;

#[message]
struct Fields {
    #[serde(skip)]
    skipped: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    sometimes: Option<u8>,
    #[serde(default)]
    missing: u8,
    #[serde(flatten)]
    flat: Inner,
    #[serde(rename = "other")]
    renamed: u8,
    #[serde(with = "elsewhere")]
    converted: u8,
    #[serde(sparkle(a, b))]
    unknown: u8,
}

#[message]
#[serde(rename_all = "camelCase")]
struct Inner {
    a_b: u8,
}

#[message]
#[serde(tag = "kind", content = "value")]
enum Tagged {
    One(u8),
    #[serde(other)]
    Unknown,
}

#[message]
#[serde(untagged)]
enum Untagged {
    One(u8),
}

#[message]
struct Borrows<'a> {
    text: &'a str,
}

#[message]
struct Tree {
    children: Vec<Tree>,
}

#[message]
enum Never {}

#[message]
union Either {
    a: u8,
    b: i8,
}

#[message(name = "x")]
struct Options {
    a: u8,
}

fn main() {}
