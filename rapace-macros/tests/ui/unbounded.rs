use rapace_macros::service;
use rapace_service::Incoming;

#[service(name = "my.Service", version = "1.0", crate = "rapace_service")]
trait Unbounded {
    async fn count(&self, ticks: Vec<()>);
}

mod same {
    use super::*;

    #[rapace_macros::message(crate = "rapace_service")]
    pub struct Sum {
        a: u8,
        b: u8,
    }

    #[service(name = "my.Service", version = "1.0", crate = "rapace_service")]
    pub trait Named {
        #[method(name = "Sum")]
        async fn sum(&self, items: Incoming<Sum>);
    }
}

fn main() {}
