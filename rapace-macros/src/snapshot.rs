//! What is generated, as a person would have written it.

use std::path::Path;

/// A service with a method of each kind.
const SOURCE: &str = r#"
/// Calculates.
pub trait Calculator {
    /// Adds two numbers.
    #[method(id = 1000)]
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn get(&self, ctx: &Context, key: &str, hint: &[u8]) -> Result<Option<Vec<u8>>, KeyError>;
    async fn sum(&self, scale: f64, numbers: Incoming<f64>) -> f64;
    fn count(&self, to: u64) -> impl Stream<Item = u64>;
    async fn echo(&self, words: Incoming<String>) -> impl Stream<Item = Vec<u8>>;
}
"#;

#[test]
fn a_service_expands_to_readable_code() {
    let options = "name = \"demo.Calculator\", version = \"1.0\"".parse().unwrap();
    let tokens = crate::service::expand(options, SOURCE.parse().unwrap()).unwrap();
    let found = prettyplease::unparse(&syn::parse2(tokens).unwrap());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expanded/calculator.rs");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{} is not what is generated: run this test with BLESS=1", path.display());
}
