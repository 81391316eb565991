use rapace_macros::service;

#[service(name = "my.Service", version = "1.0")]
trait Ranges {
    #[method(id = 0)]
    async fn zero(&self);
    #[method(id = 0x8000_0000)]
    async fn derived(&self);
    #[method(id = -1)]
    async fn negative(&self);
    #[method(id = "7")]
    async fn text(&self);
    #[method(number = 7)]
    async fn unknown(&self);
    #[method(id = 1, id = 2)]
    async fn twice(&self);
}

#[service(name = "my.Service", version = "1.0")]
trait Collisions {
    #[method(id = 7)]
    async fn one(&self);
    #[method(id = 7)]
    async fn other(&self);
    // Two names with one hash.
    #[method(name = "wnusdq")]
    async fn derived(&self);
    #[method(name = "jkzpvc")]
    async fn derived_too(&self);
    async fn named(&self);
    #[method(name = "named")]
    async fn named_too(&self);
    #[method(name = "")]
    async fn nameless(&self);
    async fn größe(&self);
    async fn new(&self);
}

fn main() {}
