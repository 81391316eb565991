use rapace_macros::service;

#[service(name = "my.Service", version = "1.0")]
trait Receivers {
    async fn mutable(&mut self);
    async fn by_value(self);
    async fn boxed(self: Box<Self>);
    async fn lifetime<'a>(&'a self);
    async fn none(a: u8);
}

#[service(name = "my.Service", version = "1.0")]
trait Functions {
    fn at_once(&self) -> u8;
    async fn generic<T>(&self, value: T);
    async fn with_body(&self) -> u8 {
        7
    }
    #[cfg(unix)]
    async fn sometimes(&self);
}

#[service(name = "my.Service", version = "1.0")]
trait Arguments {
    async fn borrowed(&self, list: &Vec<u8>);
    async fn changed(&self, text: &mut str);
    async fn lifetime(&self, text: &'static str);
    async fn nested(&self, list: Vec<&str>);
    async fn cow(&self, text: std::borrow::Cow<'_, str>);
    async fn pattern(&self, (a, b): (u8, u8));
    async fn mutable(&self, mut a: u8);
    async fn wildcard(&self, _: u8);
    async fn anything(&self, value: impl Sized);
    async fn object(&self, value: Box<dyn Send>);
    async fn itself(&self, other: Self);
    async fn owned_context(&self, ctx: Context);
    async fn late_context(&self, a: u8, ctx: &Context);
}

#[service(name = "my.Service", version = "1.0")]
trait Streams {
    async fn not_last(&self, items: Incoming<u8>, scale: f64);
    async fn twice(&self, items: Incoming<u8>, more: Incoming<u8>);
    async fn of_what(&self, items: Incoming);
    async fn of_borrowed(&self, items: Incoming<&str>);
    async fn hidden(&self, items: Vec<Incoming<u8>>);
    async fn as_argument(&self, items: impl Stream<Item = u8>);
    fn borrowed(&self) -> impl Stream<Item = &str>;
    fn no_item(&self) -> impl Stream;
    async fn in_result(&self) -> Result<impl Stream<Item = u8>, String>;
}

#[service(name = "my.Service", version = "1.0")]
trait Results {
    async fn borrowed(&self) -> &str;
    async fn alias(&self) -> std::io::Result<u8>;
    async fn anything(&self) -> impl Sized;
    async fn future(&self) -> Result<u8, Box<dyn std::error::Error>>;
}

fn main() {}
