//! Writes the code of the schemas, without a tool: `protox` stands in for `protoc`, and what the `capnp` tool says of
//! `race.capnp` is committed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=schema");
    let proto = protox::compile(["schema/race.proto"], ["schema"])?;
    tonic_prost_build::configure().bytes(".").compile_fds(proto)?;
    capnpc::codegen::CodeGenerationCommand::new()
        .output_directory(std::env::var("OUT_DIR")?)
        .default_parent_module(vec!["peers".into(), "capnp_rpc".into()])
        .run(std::fs::File::open("schema/race.capnp.request")?)?;
    Ok(())
}
