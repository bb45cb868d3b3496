"""What is found by reflection, as grpcurl finds it, and a call of a method that was found so."""

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from calls import GRPC, ROWS, tell

channel = grpc.insecure_channel(GRPC)
database = ProtoReflectionDescriptorDatabase(channel)
pool = descriptor_pool.DescriptorPool(database)


def method(service, name):
    found = pool.FindServiceByName(service).FindMethodByName(name)
    kinds = (message_factory.GetMessageClass(kind) for kind in (found.input_type, found.output_type))
    question, answer = kinds
    call = channel.unary_unary(f"/{service}/{name}", question.SerializeToString, answer.FromString)
    return question, call


def infer():
    question, call = method("inference.GRPCInferenceService", "ModelInfer")
    request = question(model_name="iris", id="7")
    tensor = request.inputs.add(name="input-0", datatype="FP32", shape=ROWS.shape)
    tensor.contents.fp32_contents.extend(ROWS.ravel().tolist())
    return call(request)


def health():
    question, call = method("grpc.health.v1.Health", "Check")
    return call(question(service="iris"))


tell("services", lambda: sorted(database.get_services()))
tell("methods", lambda: [m.name for m in pool.FindServiceByName("inference.GRPCInferenceService").methods])
tell("fields", lambda: [f.name for f in pool.FindMessageTypeByName("inference.ModelInferRequest").fields])
tell("infer", infer)
tell("health", health)
tell("unknown symbol", lambda: pool.FindMessageTypeByName("inference.Nope"))
