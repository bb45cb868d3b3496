//! `ModelInfer`.

use super::messages::{Contents, InferRequest};
use super::wire::Encoder;
use super::{Code, Status};
use crate::cost::Writing;
use crate::metrics::Phase;
use crate::numbers::{Number, Numbers};
use crate::reply::Reply;
use crate::rows::short;
use crate::v2;
use crate::v2::datatype::Field;
use crate::v2::tensor::{self, Values};
use crate::{Compat, Manner, Model, mlserver};
use bytes::Bytes;
use models::{Labels, Output};

/// Answers with typed contents if they came so, else with raw ones, as KServe does.
pub(super) fn infer(
    model: &Model,
    manner: &Manner,
    request: &InferRequest,
    bytes: usize,
) -> Result<Encoder, Status> {
    let mlserver = manner.compat == Compat::Mlserver;
    let mut watch = match request.version.is_empty() {
        true => model.durations().start_call(bytes),
        false => model.durations().start_versioned(Writing::Binary, bytes),
    };
    let bad = |message: String| Status::new(Code::InvalidArgument, message);
    let raw = &request.raw;
    let by_raw = !raw.is_empty();
    if by_raw {
        if raw.len() != request.inputs.len() {
            return Err(bad(format!(
                "the number of inputs ({}) does not match the expected number of raw input contents ({}) for model '{}'.",
                request.inputs.len(),
                raw.len(),
                model.name()
            )));
        }
        let both = request.inputs.iter().find(|input| input.contents.is_some());
        // MLServer takes the raw ones.
        if let (Some(input), false) = (both, mlserver) {
            return Err(bad(format!(
                "contents field must not be specified when using raw_input_contents for input '{}' for model '{}'",
                short(&input.name),
                model.name()
            )));
        }
    }
    let inputs = request.inputs.iter().enumerate().map(|(index, input)| {
        let (name, datatype, shape) = (&input.name, &input.datatype, &input.shape);
        let tensor = match raw.get(index) {
            Some(bytes) => tensor::raw(name, datatype, shape, bytes),
            None => tensor::typed(name, datatype, shape, |kind| {
                let contents = input.contents.as_ref();
                let filled = contents.filter(|_| mlserver).map(|c| c.filled(kind));
                values(name, contents, filled.unwrap_or(kind))
            }),
        };
        let tensor = match mlserver {
            true => mlserver::decoded(tensor?, &input.content_type)?,
            false => tensor?,
        };
        Ok((name.clone(), tensor))
    });
    let pandas = request.content_type == "pd";
    let mut named: Vec<&str> = request.outputs.iter().map(|o| o.name.as_str()).collect();
    if named.is_empty() {
        named.push(
            model
                .settings()
                .predict_fn
                .as_deref()
                .unwrap_or(mlserver::PREDICT),
        );
    }
    let replies: Vec<(&str, Reply<'_>)> = if mlserver {
        named = mlserver::outputs(model, named);
        for name in &named {
            mlserver::check(model, name).map_err(bad)?;
        }
        mlserver::single(pandas, request.inputs.len()).map_err(bad)?;
        let rows = v2::gather(model, pandas, inputs).map_err(bad)?;
        watch.lap(Phase::Preprocess);
        let answer = |name| Ok((name, mlserver::answer(model, name, &rows)?));
        let replies: Result<_, String> = named.into_iter().map(answer).collect();
        watch.lap(Phase::Predict);
        replies.map_err(bad)?
    } else {
        let reply = v2::answer(model, pandas, inputs, &mut watch).map_err(bad)?;
        vec![("", reply)]
    };
    let generated;
    let id = if request.id.is_empty() && !mlserver {
        generated = uuid::Uuid::new_v4().to_string();
        &generated
    } else {
        &request.id
    };
    let mut message = Encoder::default()
        .bytes(1, model.name().as_bytes())
        .bytes(
            2,
            model
                .settings()
                .version
                .as_deref()
                .unwrap_or_default()
                .as_bytes(),
        )
        .bytes(3, id.as_bytes());
    let mut tensors = Vec::new();
    let outputs = replies.iter().flat_map(|(named, reply)| {
        let all = reply.all().into_iter();
        all.map(move |output| (*named, output))
    });
    for (named, output) in outputs {
        let (name, shape) = if mlserver {
            (named, mlserver::shape(output))
        } else {
            (output.name(), output.shape())
        };
        let mut tensor = Encoder::default()
            .bytes(1, name.as_bytes())
            .bytes(2, output.datatype().as_bytes())
            .numbers(3, shape.into_iter().map(i64::cast_unsigned));
        if mlserver {
            let kind = Encoder::default().bytes(3, b"np");
            let parameter = Encoder::default()
                .bytes(1, b"content_type")
                .always(2, &kind.finish());
            tensor = tensor.always(4, &parameter.finish());
        }
        if by_raw {
            let mut bytes = Vec::new();
            output.raw(&mut bytes);
            if mlserver {
                // It is there, and there is nothing in it.
                tensor = tensor.always(5, &[]);
            } else {
                let size =
                    Encoder::default().choice(2, u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                let parameter = Encoder::default()
                    .bytes(1, b"binary_data_size")
                    .always(2, &size.finish());
                tensor = tensor.always(4, &parameter.finish());
            }
            tensors.push(bytes);
        } else {
            tensor = tensor.always(5, &output.contents().encode());
        }
        message = message.always(5, &tensor.finish());
    }
    for bytes in tensors {
        message = message.always(6, &bytes);
    }
    watch.lap(Phase::Postprocess);
    Ok(message)
}

/// The values of the field that belongs to a type; another one that is filled does not count.
fn values(name: &str, contents: Option<&Contents>, kind: Field) -> Result<Values, String> {
    let nothing = Contents::default();
    let contents = contents.unwrap_or(&nothing);
    fn floats<T: Copy>(values: &[T], float: impl Fn(T) -> f64) -> Numbers {
        Numbers::from(values.iter().map(|v| float(*v)).collect::<Vec<_>>())
    }
    fn whole<T: Copy + Into<i128>>(values: &[T]) -> Numbers {
        values.iter().map(|v| Number::whole((*v).into())).collect()
    }
    Ok(Values::Numbers(match kind {
        Field::Bool => floats(&contents.bools, |v| f64::from(u8::from(v))),
        Field::Int => floats(&contents.ints, f64::from),
        Field::Int64 => whole(&contents.int64s),
        Field::Uint => floats(&contents.uints, f64::from),
        Field::Uint64 => whole(&contents.uint64s),
        Field::Fp32 => floats(&contents.fp32s, f64::from),
        Field::Fp64 => contents.fp64s.clone().into(),
        Field::Bytes => return Values::texts(contents.bytes.iter().map(|text| &**text), name),
    }))
}

pub(crate) fn contents(datatype: &str, output: &Output, labels: Option<&Labels>) -> Contents {
    let mut contents = Contents::default();
    let (classes, labels) = match (output, labels) {
        (Output::Classes(classes) | Output::ClassTable { classes, .. }, Some(labels)) => {
            (classes, labels)
        }
        (Output::Values(values, _) | Output::Table { values, .. }, _) => {
            if datatype == "FP32" {
                contents.fp32s = values.iter().map(|value| *value as f32).collect();
            } else {
                contents.fp64s.clone_from(values);
            }
            return contents;
        }
        (Output::Classes(_) | Output::ClassTable { .. }, None) => return contents,
    };
    let indices = classes
        .iter()
        .filter_map(|class| usize::try_from(*class).ok());
    match labels {
        Labels::Integers(values, _) => {
            let values = indices.filter_map(|index| values.get(index).copied());
            match datatype {
                "INT64" => contents.int64s = values.collect(),
                "UINT64" => {
                    contents.uint64s = values.filter_map(|v| u64::try_from(v).ok()).collect()
                }
                unsigned if unsigned.starts_with('U') => {
                    contents.uints = values.filter_map(|v| u32::try_from(v).ok()).collect();
                }
                _ => contents.ints = values.filter_map(|v| i32::try_from(v).ok()).collect(),
            }
        }
        Labels::Floats(values) => {
            contents.fp64s = indices.filter_map(|i| values.get(i).copied()).collect();
        }
        Labels::Booleans(values) => {
            contents.bools = indices.filter_map(|i| values.get(i).copied()).collect();
        }
        Labels::Strings(values) => {
            let texts = indices.filter_map(|i| values.get(i));
            contents.bytes = texts
                .map(|text| Bytes::copy_from_slice(text.as_bytes()))
                .collect();
        }
    }
    contents
}
