"""Metrics for Prometheus and traces by OTLP, where a context names them.

One trace a rollout: the plug-in's ids come from the workflow's own random source, so a replay
gives the same spans and a crash gives no second trace.
"""

from temporalio.contrib.opentelemetry import OpenTelemetryPlugin, create_tracer_provider
from temporalio.runtime import (
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

SERVICE_NAME = "lockstep-worker"


def make_runtime(metrics_address: str | None) -> Runtime:
    """The SDK's runtime, with its Prometheus endpoint on ``metrics_address`` when given."""
    metrics = PrometheusConfig(bind_address=metrics_address) if metrics_address else None
    return Runtime(
        telemetry=TelemetryConfig(
            metrics=metrics,
            logging=LoggingConfig(filter=TelemetryFilter(core_level="WARN", other_level="ERROR")),
        )
    )


def make_plugins(otlp_endpoint: str | None, role: str) -> list[OpenTelemetryPlugin]:
    """Tracing plug-ins: none where no collector is named."""
    if not otlp_endpoint:
        return []
    import opentelemetry.trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import sampling
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    class WithoutQueries(sampling.Sampler):
        """A query changes nothing and belongs to no rollout's trace: it would start its own."""

        def should_sample(self, parent_context, trace_id, name, *args, **kwargs):
            wanted = sampling.ALWAYS_OFF if name.startswith("HandleQuery") else sampling.ALWAYS_ON
            return wanted.should_sample(parent_context, trace_id, name, *args, **kwargs)

        def get_description(self) -> str:
            return "everything but queries"

    provider = create_tracer_provider(
        sampler=sampling.ParentBased(WithoutQueries()),
        resource=Resource.create({"service.name": SERVICE_NAME, "lockstep.role": role}),
    )
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{otlp_endpoint.rstrip('/')}/v1/traces"))
    )
    opentelemetry.trace.set_tracer_provider(provider)
    return [OpenTelemetryPlugin(add_temporal_spans=True)]
