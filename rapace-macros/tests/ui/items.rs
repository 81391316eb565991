use rapace_macros::service;

#[service(name = "my.Service", version = "1.0")]
struct Calculator {
    memory: i64,
}

#[service(name = "my.Service", version = "1.0")]
impl Calculator {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }
}

#[service(name = "my.Service", version = "1.0")]
trait Empty {}

#[service(name = "my.Service", version = "1.0")]
trait Generic<T> {
    async fn m(&self, value: T);
}

#[service(name = "my.Service", version = "1.0")]
trait Items {
    type Value;
    const LIMIT: usize;
    async fn m(&self);
}

fn main() {}
