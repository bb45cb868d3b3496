//! What reflection tells of the services: files of `google/protobuf/descriptor.proto`, made from a list of messages in short
//! form.

use super::wire::Encoder;

/// A file with one package and one service.
#[derive(Debug, Clone, Copy)]
pub struct File {
    /// Its name, as others import it.
    pub name: &'static str,
    package: &'static str,
    service: &'static str,
    /// `Message field:type=number …`, a message inside another below it, with a dot in the name. A type begins with `*` if
    /// it is repeated and with `%` if it is the value of a map from strings, and ends in `|` in a oneof.
    messages: &'static str,
    /// `Method Request Response`, with a `+` if the server goes on answering.
    methods: &'static str,
}

/// The services that are described.
pub const FILES: [File; 2] = [
    File {
        name: "grpc_predict_v2.proto",
        package: "inference",
        service: "GRPCInferenceService",
        messages: "\
ServerLiveRequest
ServerLiveResponse live:bool=1
ServerReadyRequest
ServerReadyResponse ready:bool=1
ModelReadyRequest name:string=1 version:string=2
ModelReadyResponse ready:bool=1
ServerMetadataRequest
ServerMetadataResponse name:string=1 version:string=2 extensions:*string=3
ModelMetadataRequest name:string=1 version:string=2
ModelMetadataResponse name:string=1 versions:*string=2 platform:string=3 inputs:*ModelMetadataResponse.TensorMetadata=4 outputs:*ModelMetadataResponse.TensorMetadata=5
ModelMetadataResponse.TensorMetadata name:string=1 datatype:string=2 shape:*int64=3
ModelInferRequest model_name:string=1 model_version:string=2 id:string=3 parameters:%InferParameter=4 inputs:*ModelInferRequest.InferInputTensor=5 outputs:*ModelInferRequest.InferRequestedOutputTensor=6 raw_input_contents:*bytes=7
ModelInferRequest.InferInputTensor name:string=1 datatype:string=2 shape:*int64=3 parameters:%InferParameter=4 contents:InferTensorContents=5
ModelInferRequest.InferRequestedOutputTensor name:string=1 parameters:%InferParameter=2
ModelInferResponse model_name:string=1 model_version:string=2 id:string=3 parameters:%InferParameter=4 outputs:*ModelInferResponse.InferOutputTensor=5 raw_output_contents:*bytes=6
ModelInferResponse.InferOutputTensor name:string=1 datatype:string=2 shape:*int64=3 parameters:%InferParameter=4 contents:InferTensorContents=5
InferParameter bool_param:bool|=1 int64_param:int64|=2 string_param:string|=3 double_param:double|=4 uint64_param:uint64|=5
InferTensorContents bool_contents:*bool=1 int_contents:*int32=2 int64_contents:*int64=3 uint_contents:*uint32=4 uint64_contents:*uint64=5 fp32_contents:*float=6 fp64_contents:*double=7 bytes_contents:*bytes=8
RepositoryModelLoadRequest model_name:string=1
RepositoryModelLoadResponse model_name:string=1 isLoaded:bool=2
RepositoryModelUnloadRequest model_name:string=1
RepositoryModelUnloadResponse model_name:string=1 isUnloaded:bool=2
RepositoryIndexRequest repository_name:string=1 ready:bool=2
RepositoryIndexResponse models:*RepositoryIndexResponse.ModelIndex=1
RepositoryIndexResponse.ModelIndex name:string=1 version:string=2 state:string=3 reason:string=4",
        methods: "\
ServerLive ServerLiveRequest ServerLiveResponse
ServerReady ServerReadyRequest ServerReadyResponse
ModelReady ModelReadyRequest ModelReadyResponse
ServerMetadata ServerMetadataRequest ServerMetadataResponse
ModelMetadata ModelMetadataRequest ModelMetadataResponse
ModelInfer ModelInferRequest ModelInferResponse
RepositoryModelLoad RepositoryModelLoadRequest RepositoryModelLoadResponse
RepositoryModelUnload RepositoryModelUnloadRequest RepositoryModelUnloadResponse
RepositoryIndex RepositoryIndexRequest RepositoryIndexResponse",
    },
    File {
        name: "grpc/health/v1/health.proto",
        package: "grpc.health.v1",
        service: "Health",
        messages: "\
HealthCheckRequest service:string=1
HealthCheckResponse status:HealthCheckResponse.ServingStatus=1
HealthCheckResponse.ServingStatus UNKNOWN=0 SERVING=1 NOT_SERVING=2 SERVICE_UNKNOWN=3",
        methods: "\
Check HealthCheckRequest HealthCheckResponse
Watch HealthCheckRequest HealthCheckResponse+",
    },
];

impl File {
    /// The full name of its service.
    pub fn service(&self) -> String {
        format!("{}.{}", self.package, self.service)
    }

    /// Whether a full name is of something in this file.
    pub fn defines(&self, symbol: &str) -> bool {
        let Some(name) = symbol
            .strip_prefix(self.package)
            .and_then(|rest| rest.strip_prefix('.'))
        else {
            return false;
        };
        let method = name
            .strip_prefix(self.service)
            .and_then(|rest| rest.strip_prefix('.'));
        name == self.service
            || self.lines().any(|(message, _)| message == name)
            || method.is_some_and(|method| {
                let mut methods = self.methods.lines();
                methods.any(|line| line.split(' ').next() == Some(method))
            })
    }

    /// Names of messages and what is in them.
    fn lines(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let lines = self.messages.lines();
        lines.map(|line| line.split_once(' ').unwrap_or((line, "")))
    }

    /// A `FileDescriptorProto`.
    pub fn encode(&self) -> Vec<u8> {
        let mut file = Encoder::default()
            .bytes(1, self.name.as_bytes())
            .bytes(2, self.package.as_bytes());
        for (name, fields) in self.lines().filter(|(name, _)| !name.contains('.')) {
            file = file.always(4, &self.message(name, fields));
        }
        let mut service = Encoder::default().bytes(1, self.service.as_bytes());
        for line in self.methods.lines() {
            let mut words = line.split(' ');
            let mut next = || words.next().unwrap_or_default();
            let (method, request, response) = (next(), next(), next());
            let stream = response.strip_suffix('+');
            let method = Encoder::default()
                .bytes(1, method.as_bytes())
                .bytes(2, self.full(request).as_bytes())
                .bytes(3, self.full(stream.unwrap_or(response)).as_bytes())
                .number(6, u64::from(stream.is_some()));
            service = service.always(2, &method.finish());
        }
        file.always(6, &service.finish())
            .bytes(12, b"proto3")
            .finish()
    }

    fn full(&self, name: &str) -> String {
        format!(".{}.{name}", self.package)
    }

    /// Whether what stands under a name is an enumeration: its words have no types.
    fn is_enumeration(&self, name: &str) -> bool {
        self.lines()
            .any(|(message, fields)| message == name && !fields.is_empty() && !fields.contains(':'))
    }

    /// A `DescriptorProto`.
    fn message(&self, name: &'static str, fields: &str) -> Vec<u8> {
        let short = name.rsplit('.').next().unwrap_or(name);
        let mut message = Encoder::default().bytes(1, short.as_bytes());
        let mut oneof = false;
        for field in fields.split(' ').filter(|field| !field.is_empty()) {
            let (field, number) = field.split_once('=').unwrap_or((field, ""));
            let (field, kind) = field.split_once(':').unwrap_or((field, ""));
            let number = number.parse::<u64>().unwrap_or(0);
            let choice = kind.strip_suffix('|');
            oneof |= choice.is_some();
            let kind = choice.unwrap_or(kind);
            let mut described = match (kind.strip_prefix('*'), kind.strip_prefix('%')) {
                (Some(kind), _) => self.field(field, number, 3, kind),
                (None, Some(value)) => {
                    let entry = entry_name(field);
                    let nested = Encoder::default()
                        .bytes(1, entry.as_bytes())
                        .always(2, &self.field("key", 1, 1, "string").finish())
                        .always(2, &self.field("value", 2, 1, value).finish())
                        .always(7, &Encoder::default().number(7, 1).finish());
                    message = message.always(3, &nested.finish());
                    self.field(field, number, 3, &format!("{name}.{entry}"))
                }
                (None, None) => self.field(field, number, 1, kind),
            };
            if choice.is_some() {
                described = described.choice(9, 0);
            }
            message = message.always(2, &described.finish());
        }
        if oneof {
            let declared = Encoder::default().bytes(1, b"parameter_choice");
            message = message.always(8, &declared.finish());
        }
        let inside = self.lines().filter(|(other, _)| {
            let parent = other.rsplit_once('.').map(|(parent, _)| parent);
            parent == Some(name)
        });
        for (other, fields) in inside {
            message = if self.is_enumeration(other) {
                message.always(4, &enumeration(other, fields))
            } else {
                message.always(3, &self.message(other, fields))
            };
        }
        message.finish()
    }

    /// A `FieldDescriptorProto`.
    fn field(&self, name: &str, number: u64, label: u64, kind: &str) -> Encoder {
        let field = Encoder::default()
            .bytes(1, name.as_bytes())
            .number(3, number)
            .number(4, label);
        let scalar = match kind {
            "double" => 1,
            "float" => 2,
            "int64" => 3,
            "uint64" => 4,
            "int32" => 5,
            "bool" => 8,
            "string" => 9,
            "bytes" => 12,
            "uint32" => 13,
            other => {
                let kind = if self.is_enumeration(other) { 14 } else { 11 };
                return field.number(5, kind).bytes(6, self.full(other).as_bytes());
            }
        };
        field.number(5, scalar)
    }
}

/// An `EnumDescriptorProto`.
fn enumeration(name: &str, values: &str) -> Vec<u8> {
    let short = name.rsplit('.').next().unwrap_or(name);
    let enumeration = Encoder::default().bytes(1, short.as_bytes());
    let values = values.split(' ').filter_map(|value| value.split_once('='));
    let all = values.fold(enumeration, |all, (name, number)| {
        let value = Encoder::default()
            .bytes(1, name.as_bytes())
            .choice(2, number.parse().unwrap_or(0));
        all.always(2, &value.finish())
    });
    all.finish()
}

/// What protoc calls the message of a map's entries.
fn entry_name(field: &str) -> String {
    let words = field.split('_').map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    });
    words.collect::<String>() + "Entry"
}
