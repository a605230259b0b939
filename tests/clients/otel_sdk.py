"""Model calls, told by the OpenTelemetry Python SDK as an instrumented application tells them.

    otel_sdk.py send ENDPOINT TOKEN [gzip]    export to a service, as OTLP/HTTP in protobuf
    otel_sdk.py record FOLDER                 write the requests of the same spans, byte for byte

Ids and times are fixed, so that a recording is the same every time and a second run sends the same spans again.
"""

import pathlib
import sys

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import SpanKind, Status, StatusCode

START_NS = 1_781_092_200_000_000_000  # 2026-06-10T11:50:00Z

# The conventions of 2026: input includes what a cache served and stored, output includes reasoning.
NOW = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "claude-sonnet-4-5",
    "gen_ai.response.model": "claude-sonnet-4-5-20250929",
    "gen_ai.response.id": "msg_01",
    "gen_ai.response.finish_reasons": ["end_turn"],
    "gen_ai.request.max_tokens": 800,
    "gen_ai.usage.input_tokens": 5000,
    "gen_ai.usage.cache_read.input_tokens": 4000,
    "gen_ai.usage.cache_creation.input_tokens": 500,
    "gen_ai.usage.output_tokens": 300,
    "gen_ai.usage.reasoning.output_tokens": 120,
    "gen_ai.conversation.id": "conv-7",
    "gen_ai.agent.name": "Math Tutor",
    "counterfoil.label.team": "cx",
}
# The names of 2024, which many libraries still send.
BEFORE = {
    "gen_ai.operation.name": "chat",
    "gen_ai.system": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o",
    "gen_ai.usage.prompt_tokens": 1200,
    "gen_ai.usage.completion_tokens": 300,
}
AGENT = {
    "gen_ai.operation.name": "invoke_agent",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.agent.name": "Math Tutor",
    # The sum of the calls below it, which tell their own.
    "gen_ai.usage.input_tokens": 6200,
    "gen_ai.usage.output_tokens": 600,
}


class Counted(IdGenerator):
    """Ids that count."""

    def __init__(self):
        self.spans = 0

    def generate_span_id(self):
        self.spans += 1
        return 0x00F067AA0BA90200 + self.spans

    def generate_trace_id(self):
        return 0x4BF92F3577B34DA6A3CE929D0E0E4736


def tell(exporter):
    """One agent's task: two model calls and a request to somewhere else, in one trace."""
    resource = Resource({"service.name": "support-chat", "tenant.id": "acme"})
    provider = TracerProvider(resource=resource, id_generator=Counted(), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("counterfoil.tests", "1")
    second = 1_000_000_000
    with tracer.start_as_current_span("invoke_agent", attributes=AGENT, start_time=START_NS, end_on_exit=False) as agent:
        now = tracer.start_span("chat claude", kind=SpanKind.CLIENT, attributes=NOW, start_time=START_NS)
        now.end(START_NS + 2 * second)
        get = tracer.start_span("GET", kind=SpanKind.CLIENT, attributes={"http.request.method": "GET"}, start_time=START_NS)
        get.end(START_NS + second)
        before = tracer.start_span("chat gpt", kind=SpanKind.CLIENT, attributes=BEFORE, start_time=START_NS + 3 * second)
        before.set_status(Status(StatusCode.OK))
        before.end(START_NS + 4 * second)
    agent.end(START_NS + 5 * second)
    provider.shutdown()


class Watched(OTLPSpanExporter):
    """Remembers how its exports ended."""

    results = []

    def export(self, spans):
        result = super().export(spans)
        self.results.append(result)
        return result


def send(endpoint, token, compression):
    exporter = Watched(endpoint, headers={"authorization": f"Bearer {token}"}, compression=compression, timeout=20)
    tell(exporter)
    if not Watched.results or any(result is not SpanExportResult.SUCCESS for result in Watched.results):
        sys.exit(f"not every export succeeded: {Watched.results}")
    print(f"{len(Watched.results)} exports succeeded")


def record(folder):
    memory = InMemorySpanExporter()
    tell(memory)
    request = encode_spans(memory.get_finished_spans())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "agent.pb").write_bytes(request.SerializeToString(deterministic=True))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["send", endpoint, token]:
            send(endpoint, token, Compression.NoCompression)
        case ["send", endpoint, token, "gzip"]:
            send(endpoint, token, Compression.Gzip)
        case ["record", folder]:
            record(pathlib.Path(folder))
        case _:
            sys.exit(__doc__)
