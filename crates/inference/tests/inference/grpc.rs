//! Calls of gRPC that KServe's Python server was asked, and its answers, with the differences that are meant.

use crate::requests::iris;
use bytes::Bytes;
use inference::Manner;
use inference::grpc::wire::{Decode, Encoder, Malformed, Value};
use inference::grpc::{Code, Status, call};

const ROWS: [f32; 8] = [6.8, 2.8, 4.8, 1.4, 6.0, 3.4, 4.5, 1.6];

fn ask(method: &str, message: Encoder) -> Result<Vec<u8>, Status> {
    call(
        &iris(),
        &Manner::default(),
        method,
        Bytes::from(message.finish()),
    )
}

fn tensor(datatype: &str, shape: &[i64], contents: Option<Encoder>) -> Vec<u8> {
    let tensor = Encoder::default()
        .bytes(1, b"input-0")
        .bytes(2, datatype.as_bytes())
        .numbers(3, shape.iter().map(|size| size.cast_unsigned()));
    match contents {
        Some(contents) => tensor.always(5, &contents.finish()).finish(),
        None => tensor.finish(),
    }
}

fn fp32() -> Option<Encoder> {
    Some(Encoder::default().floats(6, &ROWS))
}

fn infer(inputs: &[Vec<u8>], raw: &[&[u8]]) -> Encoder {
    let request = Encoder::default().bytes(1, b"iris").bytes(3, b"42");
    let request = inputs.iter().fold(request, |r, input| r.always(5, input));
    raw.iter().fold(request, |r, bytes| r.always(7, bytes))
}

fn check(method: &str, message: Encoder, code: Code, text: &str) {
    let status = ask(method, message).unwrap_err();
    assert_eq!((status.code, status.message.as_str()), (code, text));
}

/// An answer, as far as tests look at it.
#[derive(Debug, Default, PartialEq)]
struct Reply {
    model: String,
    id: String,
    output: Output,
    raw: Vec<Vec<u8>>,
}

#[derive(Debug, Default, PartialEq)]
struct Output {
    name: String,
    datatype: String,
    shape: Vec<i64>,
    int64s: Vec<i64>,
}

impl Decode for Reply {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        match number {
            1 => self.model = value.text()?,
            3 => self.id = value.text()?,
            5 => self.output = value.message()?,
            6 => self.raw.push(value.bytes()?.to_vec()),
            _ => {}
        }
        Ok(())
    }
}

impl Decode for Output {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        match number {
            1 => self.name = value.text()?,
            2 => self.datatype = value.text()?,
            3 => value.numbers(&mut self.shape, u64::cast_signed)?,
            5 => self.int64s = value.message::<Contents>()?.0,
            _ => {}
        }
        Ok(())
    }
}

#[derive(Default)]
struct Contents(Vec<i64>);

impl Decode for Contents {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        if number == 3 {
            value.numbers(&mut self.0, u64::cast_signed)?;
        }
        Ok(())
    }
}

fn answered(message: Encoder) -> Reply {
    let reply = ask("ModelInfer", message).unwrap();
    Reply::decode(Bytes::from(reply)).unwrap()
}

fn raw_rows() -> Vec<u8> {
    ROWS.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn typed_in_is_typed_out_and_raw_in_is_raw_out() {
    let output = |int64s: &[i64]| Output {
        name: "output-0".into(),
        datatype: "INT64".into(),
        shape: vec![2],
        int64s: int64s.to_vec(),
    };
    let reply = |output, raw| Reply {
        model: "iris".into(),
        id: "42".into(),
        output,
        raw,
    };
    let typed = answered(infer(&[tensor("FP32", &[2, 4], fp32())], &[]));
    assert_eq!(typed, reply(output(&[1, 1]), vec![]));
    let raw = answered(infer(&[tensor("FP32", &[2, 4], None)], &[&raw_rows()]));
    let ones = [1_i64, 1].map(i64::to_le_bytes).concat();
    assert_eq!(raw, reply(output(&[]), vec![ones]));
    // Half precision has no contents of its own: 6.8, 2.8, 4.8, 1.4 in binary16.
    let halves = [0x46cd_u16, 0x419a, 0x44cd, 0x3d9a]
        .map(u16::to_le_bytes)
        .concat();
    let half = answered(infer(&[tensor("FP16", &[1, 4], None)], &[&halves]));
    assert_eq!(half.raw, [1_i64.to_le_bytes()]);
}

#[test]
fn an_id_is_made_where_there_is_none() {
    let request = Encoder::default()
        .bytes(1, b"iris")
        .always(5, &tensor("FP32", &[2, 4], fp32()));
    assert_eq!(answered(request).id.len(), 36);
}

#[test]
fn what_is_true_is_one_byte() {
    let name = |name: &str| Encoder::default().bytes(1, name.as_bytes());
    for (method, message) in [
        ("ServerLive", Encoder::default()),
        ("ServerReady", Encoder::default()),
        ("ModelReady", name("iris")),
    ] {
        assert_eq!(ask(method, message).unwrap(), [8, 1], "{method}");
    }
    let no_model = "Model with name nope does not exist.";
    for method in [
        "ModelReady",
        "ModelMetadata",
        "ModelInfer",
        "RepositoryModelUnload",
    ] {
        check(method, name("nope"), Code::NotFound, no_model);
    }
    // KServe's server stumbles over its own error here.
    let text = "Model with name nope is not ready.";
    check("RepositoryModelLoad", name("nope"), Code::Unavailable, text);
}

#[test]
fn mistakes_are_invalid_arguments() {
    let bad = |message, text| check("ModelInfer", message, Code::InvalidArgument, text);
    let rows = raw_rows();
    bad(
        infer(&[tensor("FP32", &[2, 4], fp32())], &[&rows]),
        "contents field must not be specified when using raw_input_contents for input 'input-0' for model 'iris'",
    );
    bad(
        infer(&[tensor("FP32", &[2, 4], None)], &[&rows, &rows]),
        "the number of inputs (1) does not match the expected number of raw input contents (2) for model 'iris'.",
    );
    bad(
        infer(&[tensor("FP32", &[3, 4], fp32())], &[]),
        "cannot reshape array of size 8 into shape (3,4)",
    );
    // Values in the field of another type do not count.
    bad(
        infer(&[tensor("FP64", &[2, 4], fp32())], &[]),
        "cannot reshape array of size 0 into shape (2,4)",
    );
    let three = Some(Encoder::default().floats(6, &[1.0, 2.0, 3.0]));
    bad(
        infer(&[tensor("FP32", &[1, 3], three)], &[]),
        "X has 3 features, but SVC is expecting 4 features as input.",
    );
    // KServe says `list index out of range` and `invalid content type`.
    bad(
        infer(&[], &[]),
        "expected at least one tensor in \"inputs\"",
    );
    bad(
        infer(&[tensor("BF16", &[2, 4], None)], &[&[0; 16]]),
        "invalid datatype 'BF16' in the input input-0: expected BOOL, INT8 to INT64, UINT8 to UINT64, FP16, FP32, FP64 or BYTES",
    );
    bad(
        infer(&[tensor("FP32", &[2, 4], None)], &[&rows[..31]]),
        "the 31 bytes of the input input-0 are no multiple of 4",
    );
    // Sizes whose product does not fit.
    bad(
        infer(&[tensor("FP32", &[i64::MAX, i64::MAX], fp32())], &[]),
        "cannot reshape array of size 8 into shape (9223372036854775807,9223372036854775807)",
    );
}

#[test]
fn a_message_cut_or_changed_anywhere_is_answered_or_refused() {
    let models = iris();
    let message = infer(&[tensor("FP32", &[2, 4], fp32())], &[]).finish();
    for at in 0..message.len() {
        drop(call(
            &models,
            &Manner::default(),
            "ModelInfer",
            Bytes::copy_from_slice(&message[..at]),
        ));
        for bit in 0..8 {
            let mut changed = message.clone();
            changed[at] ^= 1 << bit;
            drop(call(
                &models,
                &Manner::default(),
                "ModelInfer",
                Bytes::from(changed),
            ));
        }
    }
}
