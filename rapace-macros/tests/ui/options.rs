use rapace_macros::service;

#[service]
trait NoOptions {
    async fn m(&self);
}

#[service(version = "1.0")]
trait NoName {
    async fn m(&self);
}

#[service(name = "my.Service")]
trait NoVersion {
    async fn m(&self);
}

#[service(name = "my.Service", version = "1")]
trait HalfAVersion {
    async fn m(&self);
}

#[service(name = "my.Service", version = "1.70000")]
trait LargeVersion {
    async fn m(&self);
}

#[service(name = "my.Service", version = 1.0)]
trait NumberAsVersion {
    async fn m(&self);
}

#[service(name = "9 lives", version = "1.0")]
trait BadName {
    async fn m(&self);
}

#[service(name = "my.Service", version = "1.0", provider = "server")]
trait BadProvider {
    async fn m(&self);
}

#[service(name = "my.Service", version = "1.0", timeout = "1s")]
trait UnknownOption {
    async fn m(&self);
}

#[service(name = "my.Service", name = "my.Service", version = "1.0")]
trait TwoNames {
    async fn m(&self);
}

fn main() {}
