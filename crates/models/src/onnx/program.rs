//! A graph as a list of steps, each of which reads and writes numbered places.

use super::operator::{Inputs, Work};
use super::operators;
use super::proto;
use super::site::{Built, Site, called, place};
use super::tensor::{ElementType, Tensor, short};
use crate::LoadError;
use crate::labels::Labels;
use std::collections::HashMap;

/// A validated graph.
#[derive(Debug)]
pub(super) struct Program {
    /// The first places are those of constants, then come inputs.
    constants: Vec<Tensor>,
    inputs: usize,
    places: usize,
    steps: Vec<Step>,
    outputs: Vec<usize>,
}

#[derive(Debug)]
struct Step {
    place: String,
    operator: std::sync::Arc<dyn super::operator::Operator>,
    inputs: Vec<Option<usize>>,
    outputs: Vec<Option<usize>>,
    /// Places that no later step reads.
    last: Vec<usize>,
}

/// An input or output of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Port {
    /// Its name, which requests use.
    pub name: String,
    /// The type of its values.
    pub element: ElementType,
    /// Its sizes, `None` for those that may be any; `None` if it may have any number of dimensions.
    pub shape: Option<Vec<Option<usize>>>,
    /// The names of the columns, for a table that the file has as a list of maps.
    pub keys: Option<Labels>,
}

/// What a name means in a graph.
#[derive(Debug, Clone)]
struct Known {
    place: usize,
    /// `None` for a list of maps, which no operator takes here.
    element: Option<ElementType>,
    keys: Option<Labels>,
}

/// What all graphs of a file share.
#[derive(Debug)]
pub(super) struct Settings<'b> {
    pub(super) opsets: HashMap<&'b str, i64>,
    pub(super) functions: Vec<(&'b str, &'b str)>,
    pub(super) constant_bytes: std::cell::Cell<usize>,
}

/// The names of a graph, and those of the graphs around it that it reads.
#[derive(Debug, Default)]
struct Scope<'b> {
    known: HashMap<&'b str, Known>,
}

/// Why a graph was refused.
#[derive(Debug)]
pub(super) enum Refusal {
    Operator {
        operator: String,
        version: i64,
        node: String,
    },
    Other(String),
}

impl From<String> for Refusal {
    fn from(what: String) -> Self {
        Self::Other(what)
    }
}

impl From<Refusal> for LoadError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Operator {
                operator,
                version,
                node,
            } => Self::Operator {
                operator,
                version,
                node,
            },
            Refusal::Other(what) => Self::Onnx { what },
        }
    }
}

/// A graph with the types of its inputs and outputs.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) program: Program,
    pub(super) inputs: Vec<Port>,
    pub(super) outputs: Vec<Port>,
}

/// Compiles a graph. `given` are the types of its inputs where the file does not say them, as for the body of a loop.
///
/// # Errors
/// A name that is unknown or defined twice, a cycle (nodes come in the order of their dependencies), types that do not
/// fit, or an operator that is not supported.
pub(super) fn compile<'b>(
    graph: &proto::Graph<'b>,
    settings: &Settings<'b>,
    given: &[ElementType],
) -> Result<Compiled, Refusal> {
    if graph.sparse {
        return Err(Refusal::Other(
            "sparse tensors are not supported".to_owned(),
        ));
    }
    let mut scope = Scope::default();
    let mut constants = Vec::new();
    for file in &graph.constants {
        let tensor = Tensor::read(file)?;
        settings.pay(&tensor)?;
        scope.define(file.name, constants.len(), Some(tensor.element()), None)?;
        constants.push(tensor);
    }
    // Constants are put before everything else: those that are nodes as well.
    for node in graph.nodes.iter().filter(|node| is_constant(node)) {
        let named = |what: String| Refusal::Other(format!("{}: {what}", place(node)));
        let tensor = constant(node).map_err(named)?;
        settings.pay(&tensor)?;
        let name = node.outputs.first().copied().unwrap_or_default();
        scope.define(name, constants.len(), Some(tensor.element()), None)?;
        constants.push(tensor);
    }
    let mut inputs = Vec::new();
    for port in &graph.inputs {
        // Before version 4 of the format every constant is an input as well.
        if graph
            .constants
            .iter()
            .any(|constant| constant.name == port.name)
        {
            continue;
        }
        let port = input(port, given.get(inputs.len()).copied())?;
        inputs.push(port);
    }
    let mut places = constants.len();
    for (port, made) in graph
        .inputs
        .iter()
        .filter(|port| {
            !graph
                .constants
                .iter()
                .any(|constant| constant.name == port.name)
        })
        .zip(&inputs)
    {
        scope.define(port.name, places, Some(made.element), None)?;
        places += 1;
    }
    let mut steps = Vec::new();
    for node in graph.nodes.iter().filter(|node| !is_constant(node)) {
        steps.push(scope.step(node, settings, &constants, &mut places)?);
    }
    let mut outputs = Vec::new();
    let mut ports = Vec::new();
    for port in &graph.outputs {
        let known = scope.find(port.name)?;
        outputs.push(known.place);
        ports.push(output(port, known)?);
    }
    if outputs.is_empty() {
        return Err(Refusal::Other("the graph has no outputs".to_owned()));
    }
    let mut program = Program {
        inputs: inputs.len(),
        constants,
        places,
        steps,
        outputs,
    };
    program.free();
    Ok(Compiled {
        program,
        inputs,
        outputs: ports,
    })
}

fn is_constant(node: &proto::Node<'_>) -> bool {
    node.operator == "Constant" && matches!(node.domain, "" | "ai.onnx")
}

/// `Constant` in its forms.
fn constant(node: &proto::Node<'_>) -> Result<Tensor, String> {
    use super::tensor::Values;
    let site = Site {
        node,
        version: 0,
        elements: Vec::new(),
        constants: Vec::new(),
    };
    if let Some(tensor) = site.tensor("value")? {
        return Ok(tensor);
    }
    let count = |length: usize| vec![length];
    let (shape, values) = if let Some(value) = site.float("value_float")? {
        (Vec::new(), Values::Float(vec![value]))
    } else if let Some(value) = site.int("value_int")? {
        (Vec::new(), Values::Int64(vec![value]))
    } else if let Some(value) = site.text("value_string")? {
        (Vec::new(), Values::Text(vec![value.to_owned()]))
    } else if site.attribute("value_floats").is_some() {
        let values = site.floats("value_floats")?;
        (count(values.len()), Values::Float(values.to_vec()))
    } else if site.attribute("value_ints").is_some() {
        let values = site.ints("value_ints")?;
        (count(values.len()), Values::Int64(values.to_vec()))
    } else if site.attribute("value_strings").is_some() {
        let values = site.texts("value_strings")?;
        (count(values.len()), Values::Text(values))
    } else {
        return Err("expected a dense value".to_owned());
    };
    super::operator::made(shape, values)
}

fn input(port: &proto::Port<'_>, given: Option<ElementType>) -> Result<Port, Refusal> {
    let named = |what: String| format!("the input `{}`: {what}", short(port.name));
    let element = match (&port.tensor, given) {
        (Some(tensor), _) if tensor.kind != 0 => {
            ElementType::of_number(tensor.kind).map_err(named)?
        }
        (_, Some(given)) => given,
        _ => {
            return Err(Refusal::Other(named(
                "expected a tensor; maps and lists are not supported".to_owned(),
            )));
        }
    };
    Ok(Port {
        name: port.name.to_owned(),
        element,
        shape: sizes(port),
        keys: None,
    })
}

fn output(port: &proto::Port<'_>, known: &Known) -> Result<Port, Refusal> {
    let declared = port.tensor.as_ref().filter(|tensor| tensor.kind != 0);
    let declared = declared.map(|tensor| ElementType::of_number(tensor.kind));
    if let (Some(declared), Some(found)) = (declared.transpose()?, known.element)
        && declared != found
    {
        return Err(Refusal::Other(format!(
            "the output `{}` is of {}, declared as {}",
            short(port.name),
            found.name(),
            declared.name()
        )));
    }
    let mut shape = sizes(port);
    if let (Some(keys), None) = (&known.keys, &shape) {
        shape = Some(vec![None, Some(keys.len())]);
    }
    Ok(Port {
        name: port.name.to_owned(),
        element: known.element.unwrap_or(ElementType::Float),
        shape,
        keys: known.keys.clone(),
    })
}

fn sizes(port: &proto::Port<'_>) -> Option<Vec<Option<usize>>> {
    let sizes = port.tensor.as_ref()?.sizes.as_ref()?;
    Some(
        sizes
            .iter()
            .map(|size| usize::try_from(*size).ok())
            .collect(),
    )
}

impl Settings<'_> {
    fn pay(&self, tensor: &Tensor) -> Result<(), String> {
        let bytes = tensor
            .values()
            .len()
            .saturating_mul(tensor.element().size());
        let left = self.constant_bytes.get().checked_sub(bytes);
        self.constant_bytes
            .set(left.ok_or("more than the limit of compiled bytes")?);
        Ok(())
    }

    fn version(&self, domain: &str) -> Result<i64, String> {
        let domain = if domain == "ai.onnx" { "" } else { domain };
        let version = self.opsets.get(domain).copied();
        version.ok_or_else(|| {
            format!(
                "the file does not say the version of the operators of `{}`",
                short(domain)
            )
        })
    }
}

impl<'b> Scope<'b> {
    fn find(&self, name: &str) -> Result<&Known, String> {
        self.known.get(name).ok_or_else(|| {
            format!(
                "`{}` is read before anything defines it: nodes are in no order, or in a cycle",
                short(name)
            )
        })
    }

    fn define(
        &mut self,
        name: &'b str,
        place: usize,
        element: Option<ElementType>,
        keys: Option<Labels>,
    ) -> Result<(), String> {
        let known = Known {
            place,
            element,
            keys,
        };
        match self.known.insert(name, known) {
            None if !name.is_empty() => Ok(()),
            None => Err("a value has no name".to_owned()),
            Some(_) => Err(format!("`{}` is defined twice", short(name))),
        }
    }

    fn step(
        &mut self,
        node: &proto::Node<'b>,
        settings: &Settings<'b>,
        constants: &[Tensor],
        places: &mut usize,
    ) -> Result<Step, Refusal> {
        let named = |what: String| Refusal::Other(format!("node {}: {what}", place(node)));
        let mut site = Site {
            node,
            version: settings.version(node.domain).map_err(named)?,
            elements: Vec::new(),
            constants: Vec::new(),
        };
        let mut inputs = Vec::new();
        for name in &node.inputs {
            if name.is_empty() {
                inputs.push(None);
                site.elements.push(None);
                site.constants.push(None);
                continue;
            }
            let known = self.find(name).map_err(named)?;
            if known.keys.is_some() {
                return Err(named("a list of maps is not supported here".to_owned()));
            }
            inputs.push(Some(known.place));
            site.elements.push(known.element);
            site.constants.push(constants.get(known.place));
        }
        if let Some((domain, name)) = settings
            .functions
            .iter()
            .find(|(domain, name)| *name == node.operator && *domain == node.domain)
        {
            return Err(Refusal::Operator {
                operator: format!("{}.{} (a function)", short(domain), short(name)),
                version: site.version,
                node: called(node),
            });
        }
        let built = operators::build(&site, settings)
            .map_err(|refusal| refusal.within(node))?
            .ok_or_else(|| Refusal::Operator {
                operator: format!(
                    "{}.{}",
                    if node.domain.is_empty() {
                        "ai.onnx".to_owned()
                    } else {
                        short(node.domain)
                    },
                    short(node.operator)
                ),
                version: site.version,
                node: called(node),
            })?;
        let outputs = self.outputs(node, &built, places).map_err(named)?;
        Ok(Step {
            place: place(node),
            operator: built.operator,
            inputs,
            outputs,
            last: Vec::new(),
        })
    }

    fn outputs(
        &mut self,
        node: &proto::Node<'b>,
        built: &Built,
        places: &mut usize,
    ) -> Result<Vec<Option<usize>>, String> {
        let mut outputs = Vec::new();
        for (index, name) in node.outputs.iter().enumerate() {
            if name.is_empty() {
                outputs.push(None);
                continue;
            }
            let element = built.outputs.get(index).copied();
            let element = element
                .ok_or_else(|| format!("has no output {index}, or it is not supported here"))?;
            self.define(name, *places, Some(element), built.keys.clone())?;
            outputs.push(Some(*places));
            *places += 1;
        }
        Ok(outputs)
    }
}

impl Refusal {
    fn within(self, node: &proto::Node<'_>) -> Self {
        match self {
            Self::Other(what) => Self::Other(format!("node {}: {what}", place(node))),
            operator => operator,
        }
    }
}

impl Program {
    /// Notes after which step a place is read no more.
    fn free(&mut self) {
        let mut needed: Vec<bool> = vec![false; self.places];
        for place in &self.outputs {
            if let Some(needed) = needed.get_mut(*place) {
                *needed = true;
            }
        }
        for step in self.steps.iter_mut().rev() {
            let written = step.outputs.iter().flatten();
            for place in step.inputs.iter().flatten().chain(written) {
                if let Some(needed) = needed.get_mut(*place)
                    && !std::mem::replace(needed, true)
                {
                    step.last.push(*place);
                }
            }
        }
    }

    /// Bytes that constants take.
    pub(super) fn bytes(&self) -> usize {
        let bytes = |tensor: &Tensor| {
            tensor
                .values()
                .len()
                .saturating_mul(tensor.element().size())
        };
        self.constants
            .iter()
            .fold(0, |sum, tensor| sum.saturating_add(bytes(tensor)))
    }

    /// The outputs for these inputs, whose types are those of the ports.
    ///
    /// # Errors
    /// What a node says, with its place.
    pub(super) fn run(
        &self,
        inputs: Vec<Tensor>,
        work: &mut Work,
    ) -> Result<Vec<Tensor>, (String, String)> {
        let first = self.constants.len();
        let mut values: Vec<Option<Tensor>> = Vec::new();
        values.extend(inputs.into_iter().take(self.inputs).map(Some));
        values.resize(self.places.saturating_sub(first), None);
        for step in &self.steps {
            let failed = |what: String| (step.place.clone(), what);
            let given = {
                let read = |place: &Option<usize>| {
                    let place = (*place)?;
                    match place.checked_sub(first) {
                        None => self.constants.get(place),
                        Some(index) => values.get(index)?.as_ref(),
                    }
                };
                let inputs = Inputs(step.inputs.iter().map(read).collect());
                step.operator.run(&inputs, work).map_err(failed)?
            };
            let mut given = given.into_iter();
            for place in &step.outputs {
                let made = given.next();
                let Some(place) = place else { continue };
                let made =
                    made.ok_or_else(|| failed("made fewer outputs than it has".to_owned()))?;
                if let Some(slot) = place
                    .checked_sub(first)
                    .and_then(|index| values.get_mut(index))
                {
                    *slot = Some(made);
                }
            }
            for place in &step.last {
                if let Some(slot) = place
                    .checked_sub(first)
                    .and_then(|index| values.get_mut(index))
                {
                    *slot = None;
                }
            }
        }
        let missing = || (String::new(), "an output was not made".to_owned());
        let output = |place: &usize| match place.checked_sub(first) {
            None => self.constants.get(*place).cloned().ok_or_else(missing),
            Some(index) => values.get(index).cloned().flatten().ok_or_else(missing),
        };
        self.outputs.iter().map(output).collect()
    }
}
