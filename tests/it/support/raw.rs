//! Calls made of bytes: for requests that no client of today would send, and answers as they come over the wire.

use bytes::{Buf, BufMut, Bytes};
use futures_util::TryStreamExt as _;
use prost::Message as _;
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field,
};
use sessiond::pb::client::ReadMessagesRequest;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Status};

use super::client::Client;
use super::wait::within;

/// Largest answer that a raw call takes: what these tests look at may be one record above the usual limit.
const ANSWER_BYTES_MAX: usize = 64 << 20;

#[derive(Clone, Copy, Debug, Default)]
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let all = from.remaining();
        Ok(Some(from.copy_to_bytes(all)))
    }
}

/// Calls `Service/Method` of sessiond.v1 with a request of bytes.
pub(crate) async fn unary(client: &Client, method: &str, request: impl Into<Bytes>) -> Result<Bytes, Status> {
    let answers = stream(client, method, request).await?;
    answers
        .into_iter()
        .next()
        .ok_or_else(|| Status::internal("no answer"))
}

/// The same for a method that answers with a stream; every answer.
pub(crate) async fn stream(
    client: &Client,
    method: &str,
    request: impl Into<Bytes>,
) -> Result<Vec<Bytes>, Status> {
    let path = format!("/sessiond.v1.{method}")
        .parse::<PathAndQuery>()
        .expect("a path");
    let mut grpc = Grpc::new(client.channel()).max_decoding_message_size(ANSWER_BYTES_MAX);
    grpc.ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let answers = grpc
        .server_streaming(Request::new(request.into()), path, BytesCodec)
        .await?;
    within("the answers end", answers.into_inner().try_collect()).await
}

/// A field of bytes, a text or an embedded message, as a peer writes it.
pub(crate) fn field(tag: u32, value: impl AsRef<[u8]>) -> Vec<u8> {
    let mut wire = Vec::new();
    encode_key(tag, WireType::LengthDelimited, &mut wire);
    encode_varint(value.as_ref().len() as u64, &mut wire);
    wire.extend_from_slice(value.as_ref());
    wire
}

/// What a peer of next year sends: `known`, and a field that these protos do not have.
pub(crate) fn with_unknown_field(known: &impl prost::Message) -> Vec<u8> {
    let mut wire = known.encode_to_vec();
    wire.extend(field(1000, "from next year"));
    wire
}

/// The values of every field `tag` of bytes in `wire`, in order.
pub(crate) fn values(mut wire: &[u8], tag: u32) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    while wire.has_remaining() {
        let (found, kind) = decode_key(&mut wire).expect("a key");
        if found == tag && kind == WireType::LengthDelimited {
            let len = usize::try_from(decode_varint(&mut wire).expect("a length")).expect("a length");
            values.push(wire[..len].to_vec());
            wire.advance(len);
        } else {
            skip_field(kind, found, &mut wire, DecodeContext::default()).expect("a field");
        }
    }
    values
}

/// The encoded sizes of a session's visible messages, however large.
pub(crate) async fn sizes(client: &Client, session_id: &str) -> Vec<usize> {
    let request = ReadMessagesRequest {
        namespace: client.namespace().into(),
        session_id: session_id.into(),
        ..Default::default()
    };
    let answers = stream(client, "SessionService/ReadMessages", request.encode_to_vec()).await;
    let answers = answers.expect("the session can be read");
    answers
        .iter()
        .flat_map(|answer| values(answer, 1))
        .map(|message| message.len())
        .collect()
}
