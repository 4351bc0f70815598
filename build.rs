//! Generates the Rust types of `src/pb.rs` from the protos, without protoc.
//!
//! Clients get the protos as they are. The server gets a copy in which bodies (messages, checkpoints, events,
//! the content of items) are `bytes`: the wire format is the same, what came in is stored and returned byte
//! for byte, and nothing is decoded that only passes through.

use std::path::{Path, PathBuf};
use std::{env, error::Error, fs};

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet, OneofDescriptorProto};

/// Messages that the server passes on without opening them, wherever a field has one of them as its type.
const BODIES: [&str; 3] = [
    ".sessiond.v1.Message",
    ".sessiond.v1.Checkpoint",
    ".sessiond.v1.Event",
];

fn main() -> Result<(), Box<dyn Error>> {
    let out = env::var("OUT_DIR")?;
    let out = Path::new(&out);

    let public = protos("proto/sessiond/v1")?;
    // The folders stand for every file in them, and for files yet to come.
    for watched in ["build.rs", "proto", "third_party"] {
        println!("cargo::rerun-if-changed={watched}");
    }

    let mut compiler = protox::Compiler::new(["proto", "third_party"])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(public)?;
    let untouched = compiler.file_descriptor_set();
    fs::write(out.join("descriptor_set.bin"), untouched.encode_to_vec())?;

    generate(
        &out.join("server"),
        with_bodies_as_bytes(untouched.clone()),
        |side| side.build_client(false).bytes("."),
    )?;
    generate(&out.join("client"), untouched, |side| side.build_server(false))?;

    // What replicas say to each other is no part of what clients see, nor of reflection.
    let mut internal = protox::Compiler::new(["proto"])?;
    internal
        .include_source_info(true)
        .open_files(protos("proto/sessiond/cluster/v1")?)?;
    let internal = internal.file_descriptor_set();
    generate(&out.join("cluster"), internal, |both| both.bytes("."))
}

/// The protos in a folder.
fn protos(folder: &str) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut protos = Vec::new();
    for file in fs::read_dir(folder)? {
        protos.push(file?.path());
    }
    protos.retain(|path| path.extension().is_some_and(|extension| extension == "proto"));
    protos.sort();
    Ok(protos)
}

fn generate(
    folder: &Path,
    files: FileDescriptorSet,
    side: impl FnOnce(tonic_prost_build::Builder) -> tonic_prost_build::Builder,
) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    side(tonic_prost_build::configure())
        .btree_map(".")
        .extern_path(".google.rpc", "::tonic_types::pb")
        .out_dir(folder)
        .compile_fds(files)?;
    Ok(())
}

fn with_bodies_as_bytes(mut files: FileDescriptorSet) -> FileDescriptorSet {
    let ours = files
        .file
        .iter_mut()
        .filter(|file| file.package() == "sessiond.v1");
    for message in ours.flat_map(|file| &mut file.message_type) {
        let DescriptorProto {
            name,
            field,
            oneof_decl,
            ..
        } = message;
        for field in field {
            let item_content = name.as_deref() == Some("Item") && field.name() == "content";
            if item_content || BODIES.contains(&field.type_name()) {
                make_bytes(field, oneof_decl);
            }
        }
    }
    files
}

fn make_bytes(field: &mut FieldDescriptorProto, oneofs: &mut Vec<OneofDescriptorProto>) {
    field.set_type(Type::Bytes);
    field.type_name = None;
    // A message knows whether it is there; bytes do so only as proto3 `optional`, which is a oneof of one.
    if field.label() != Label::Repeated && field.oneof_index.is_none() {
        field.proto3_optional = Some(true);
        field.oneof_index = i32::try_from(oneofs.len()).ok();
        oneofs.push(OneofDescriptorProto {
            name: Some(format!("_{}", field.name())),
            options: None,
        });
    }
}
