//! Reading an inference request without building a tree of it.

use super::lists::Flat;
use super::validation::{Details, Place};
use crate::Compat;
use crate::json::{Json, JsonError, Kind};
use std::borrow::Cow;

/// A request of the right shape.
#[derive(Debug, Default)]
pub(crate) struct InferRequest<'t> {
    /// Who asks may give none, or an empty one.
    pub(crate) id: Option<Cow<'t, str>>,
    /// Whether each input is a column of a table.
    pub(crate) pandas: bool,
    /// Whether outputs are tensors unless they say otherwise.
    pub(super) binary_output: bool,
    pub(crate) inputs: Vec<Input<'t>>,
    pub(crate) outputs: Option<Vec<Requested<'t>>>,
}

#[derive(Debug, Default)]
pub(crate) struct Input<'t> {
    pub(crate) name: Cow<'t, str>,
    pub(super) shape: Vec<i64>,
    pub(super) datatype: Cow<'t, str>,
    /// Absent when the values follow the JSON.
    pub(super) data: Option<Flat<'t>>,
    pub(super) binary_size: Option<usize>,
    /// How MLServer decodes it.
    pub(crate) content_type: Option<Cow<'t, str>>,
}

/// An output that is asked for.
#[derive(Debug, Default)]
pub(crate) struct Requested<'t> {
    pub(crate) name: Cow<'t, str>,
    pub(super) binary: bool,
}

/// Parameters that have a meaning here.
#[derive(Debug, Default)]
struct Parameters<'t> {
    content_type: Option<Cow<'t, str>>,
    binary_data: bool,
    binary_data_output: bool,
    binary_data_size: Option<usize>,
}

type Parsed<T> = Result<T, JsonError>;

/// Reads a request; `tensors` follow the JSON or not.
pub(crate) fn parse(
    text: &str,
    tensors: bool,
    compat: Compat,
) -> Parsed<Result<InferRequest<'_>, Details>> {
    let mut json = match compat {
        Compat::Mlserver => Json::new(text),
        Compat::Kserve | Compat::Strict => Json::python(text),
    };
    let mut details = Details::new(compat);
    let top = Place::Top;
    let mut request = InferRequest::default();
    if json.kind()? != Kind::Object {
        let input = json.skip()?;
        json.end()?;
        let message = "Input should be a valid dictionary or object to extract fields from";
        details.add("model_attributes_type", &top, message, input);
        return Ok(Err(details));
    }
    let mut seen = false;
    json.object(|json, key| {
        details.forget(&top.key(&key));
        match key.as_ref() {
            "id" if json.kind()? == Kind::Null => {
                json.literal("null")?;
                request.id = None;
            }
            "id" => request.id = string(json, &mut details, &top.key("id"))?,
            "parameters" => {
                let parameters = parameters(json, &mut details, &top.key("parameters"))?;
                request.pandas = parameters.content_type.as_deref() == Some("pd");
                request.binary_output = parameters.binary_data_output;
            }
            "inputs" => {
                seen = true;
                request.inputs = list(
                    json,
                    &mut details,
                    &top.key("inputs"),
                    |json, details, place| input(json, details, place, tensors),
                )?;
            }
            "outputs" if json.kind()? == Kind::Null => {
                json.literal("null")?;
                request.outputs = None;
            }
            "outputs" => {
                request.outputs = Some(list(json, &mut details, &top.key("outputs"), requested)?)
            }
            _ => {
                json.skip()?;
            }
        }
        Ok(())
    })?;
    json.end()?;
    if !seen {
        details.add("missing", &top.key("inputs"), "Field required", text.trim());
    }
    Ok(if details.is_empty() {
        Ok(request)
    } else {
        Err(details)
    })
}

fn list<'t, T>(
    json: &mut Json<'t>,
    details: &mut Details,
    place: &Place<'_>,
    mut element: impl FnMut(&mut Json<'t>, &mut Details, &Place<'_>) -> Parsed<T>,
) -> Parsed<Vec<T>> {
    let mut found = Vec::new();
    if json.kind()? != Kind::Array {
        details.add(
            "list_type",
            place,
            "Input should be a valid list",
            json.skip()?,
        );
        return Ok(found);
    }
    let Ok(()) = json.array(|json| {
        found.push(element(json, details, &place.index(found.len()))?);
        Ok(Ok::<(), std::convert::Infallible>(()))
    })?;
    Ok(found)
}

fn input<'t>(
    json: &mut Json<'t>,
    details: &mut Details,
    place: &Place<'_>,
    tensors: bool,
) -> Parsed<Input<'t>> {
    let mut input = Input::default();
    let (mut name, mut shape, mut datatype) = (false, false, false);
    let whole = json.clone();
    if !is_object(json, details, place)? {
        return Ok(input);
    }
    let mut parsed_data = false;
    json.object(|json, key| {
        details.forget(&place.key(&key));
        match key.as_ref() {
            "name" => {
                name = true;
                input.name = string(json, details, &place.key("name"))?.unwrap_or_default();
            }
            "datatype" => {
                datatype = true;
                let place = place.key("datatype");
                input.datatype = string(json, details, &place)?.unwrap_or_default();
                details.check_datatype(&place, &input.datatype);
            }
            "shape" => {
                shape = true;
                let place = place.key("shape");
                let sizes = list(json, details, &place, |json, details, place| {
                    let text = json.skip()?;
                    let size = text.parse::<i64>();
                    if size.is_err() {
                        details.add("int_type", place, "Input should be a valid integer", text);
                    }
                    Ok(size.unwrap_or(0))
                })?;
                input.shape = sizes;
            }
            "data" if tensors && json.kind()? == Kind::Null => {
                json.literal("null")?;
                input.data = None;
            }
            "data" => {
                parsed_data = true;
                if json.kind()? == Kind::Array {
                    input.data = Some(Flat::read(json)?);
                } else {
                    details.add(
                        "list_type",
                        &place.key("data"),
                        "Input should be a valid list",
                        json.skip()?,
                    );
                }
            }
            "parameters" => {
                let parameters = parameters(json, details, &place.key("parameters"))?;
                input.binary_size = parameters.binary_data_size;
                input.content_type = parameters.content_type;
            }
            _ => {
                json.skip()?;
            }
        }
        Ok(())
    })?;
    for (key, there) in [
        ("name", name),
        ("shape", shape),
        ("datatype", datatype),
        ("data", parsed_data || tensors),
    ] {
        if !there {
            details.add(
                "missing",
                &place.key(key),
                "Field required",
                json.since(&whole),
            );
        }
    }
    Ok(input)
}

fn requested<'t>(
    json: &mut Json<'t>,
    details: &mut Details,
    place: &Place<'_>,
) -> Parsed<Requested<'t>> {
    let mut output = Requested::default();
    let mut name = false;
    let whole = json.clone();
    if !is_object(json, details, place)? {
        return Ok(output);
    }
    json.object(|json, key| {
        details.forget(&place.key(&key));
        match key.as_ref() {
            "name" => {
                name = true;
                output.name = string(json, details, &place.key("name"))?.unwrap_or_default();
            }
            "parameters" => {
                output.binary = parameters(json, details, &place.key("parameters"))?.binary_data
            }
            _ => {
                json.skip()?;
            }
        }
        Ok(())
    })?;
    if !name {
        details.add(
            "missing",
            &place.key("name"),
            "Field required",
            json.since(&whole),
        );
    }
    Ok(output)
}

fn is_object(json: &mut Json<'_>, details: &mut Details, place: &Place<'_>) -> Parsed<bool> {
    if json.kind()? == Kind::Object {
        return Ok(true);
    }
    let message = "Input should be a valid dictionary or object to extract fields from";
    details.add("model_attributes_type", place, message, json.skip()?);
    Ok(false)
}

fn string<'t>(
    json: &mut Json<'t>,
    details: &mut Details,
    place: &Place<'_>,
) -> Parsed<Option<Cow<'t, str>>> {
    if json.kind()? == Kind::String {
        return json.string().map(Some);
    }
    details.add(
        "string_type",
        place,
        "Input should be a valid string",
        json.skip()?,
    );
    Ok(None)
}

/// Parameters are numbers, truth values or strings.
fn parameters<'t>(
    json: &mut Json<'t>,
    details: &mut Details,
    place: &Place<'_>,
) -> Parsed<Parameters<'t>> {
    let mut found = Parameters::default();
    match json.kind()? {
        Kind::Object => {}
        Kind::Null => {
            json.literal("null")?;
            return Ok(found);
        }
        _ => {
            details.add(
                "dict_type",
                place,
                "Input should be a valid dictionary",
                json.skip()?,
            );
            return Ok(found);
        }
    }
    json.object(|json, key| {
        let kind = json.kind()?;
        details.forget(&place.key(&key));
        match key.as_ref() {
            "content_type" => found.content_type = None,
            "binary_data" => found.binary_data = false,
            "binary_data_output" => found.binary_data_output = false,
            "binary_data_size" => found.binary_data_size = None,
            _ => {}
        }
        match (key.as_ref(), kind) {
            ("content_type", Kind::String) => found.content_type = Some(json.string()?),
            ("binary_data", Kind::Boolean) => found.binary_data = json.boolean()?,
            ("binary_data_output", Kind::Boolean) => found.binary_data_output = json.boolean()?,
            ("binary_data_size", Kind::Number) => {
                found.binary_data_size = json.skip()?.parse().ok()
            }
            (_, Kind::Array | Kind::Object | Kind::Null) if details.plain_parameters() => {
                let input = json.skip()?;
                let place = place.key(&key);
                for (kind, name, message) in [
                    ("float_type", "float", "Input should be a valid number"),
                    ("int_type", "int", "Input should be a valid integer"),
                    ("bool_type", "bool", "Input should be a valid boolean"),
                    ("string_type", "str", "Input should be a valid string"),
                ] {
                    details.add(kind, &place.key(name), message, input);
                }
            }
            _ => {
                json.skip()?;
            }
        }
        Ok(())
    })?;
    Ok(found)
}
