// SPDX-License-Identifier: Apache-2.0
// Sends one trace through an OpenTelemetry JS exporter: node otel_js.js grpc|proto|json URL
// Prints {"traceId", "spanIds": {name: id}} once the exporter has flushed.
const { trace, context, SpanKind, SpanStatusCode } = require('@opentelemetry/api');
const { resourceFromAttributes } = require('@opentelemetry/resources');
const { BatchSpanProcessor } = require('@opentelemetry/sdk-trace-base');
const { NodeTracerProvider } = require('@opentelemetry/sdk-trace-node');

const packages = {
  grpc: '@opentelemetry/exporter-trace-otlp-grpc',
  proto: '@opentelemetry/exporter-trace-otlp-proto',
  json: '@opentelemetry/exporter-trace-otlp-http',
};
const [kind, url] = process.argv.slice(2);
const { OTLPTraceExporter } = require(packages[kind]);

async function main() {
  const exporter = new OTLPTraceExporter({ url, compression: process.env.COMPRESSION || 'none' });
  const provider = new NodeTracerProvider({
    resource: resourceFromAttributes({ 'service.name': `js-${kind}`, 'site.id': 7 }),
    spanProcessors: [new BatchSpanProcessor(exporter)],
  });
  const tracer = provider.getTracer('interop', '1.2.3');
  const root = tracer.startSpan('GET /cart', {
    kind: SpanKind.SERVER,
    attributes: { 'http.request.method': 'GET', ratio: 0.5, ok: true, n: -3, list: ['a', 'b'] },
  });
  const child = tracer.startSpan('query', { kind: SpanKind.CLIENT },
    trace.setSpan(context.active(), root));
  child.addEvent('cache.miss', { key: 'cart:42' });
  child.recordException(new Error('boom'));
  child.setStatus({ code: SpanStatusCode.ERROR, message: 'boom' });
  child.end();
  root.end();
  await provider.forceFlush();
  await provider.shutdown();
  console.log(JSON.stringify({
    traceId: root.spanContext().traceId,
    spanIds: { 'GET /cart': root.spanContext().spanId, query: child.spanContext().spanId },
  }));
}
main().catch((error) => { console.error(error); process.exit(1); });
