// SPDX-License-Identifier: Apache-2.0
// Sends one trace through a client of the years before OTLP:
//   node legacy_clients.js jaeger-udp|jaeger-http|otel-jaeger|otel-zipkin|zipkin HOST PORT
// A server span "GET /cart" with an error, a child "query" with an event.  Prints {"traceId"}.
const [kind, host, port] = process.argv.slice(2);

// OpenTracing, as jaeger-client has it.
function jaegerClient(reporter) {
  const tracer = require('jaeger-client').initTracer({
    serviceName: kind,
    sampler: { type: 'const', param: 1 },
    reporter: { flushIntervalMs: 50, ...reporter },
  }, { tags: { 'site.id': 7 }, logger: { info() {}, error: (text) => console.error(text) } });
  const root = tracer.startSpan('GET /cart', { tags: {
    'span.kind': 'server', 'http.request.method': 'GET', ratio: 0.5, ok: true, n: -3 } });
  const child = tracer.startSpan('query', { childOf: root, tags: { 'span.kind': 'client', error: true } });
  child.log({ event: 'cache.miss', key: 'cart:42' });
  child.finish();
  root.finish();
  const traceId = root.context().traceIdStr.padStart(32, '0');
  return new Promise((resolve) => tracer.close(() => resolve(traceId)));
}

// OpenTelemetry's SDK with one of its exporters for older backends.
async function openTelemetry(exporter) {
  const { trace, context, SpanKind, SpanStatusCode } = require('@opentelemetry/api');
  const { resourceFromAttributes } = require('@opentelemetry/resources');
  const { SimpleSpanProcessor } = require('@opentelemetry/sdk-trace-base');
  const { NodeTracerProvider } = require('@opentelemetry/sdk-trace-node');
  const provider = new NodeTracerProvider({
    resource: resourceFromAttributes({ 'service.name': kind, 'site.id': 7 }),
    spanProcessors: [new SimpleSpanProcessor(exporter)],
  });
  const tracer = provider.getTracer('interop', '1.2.3');
  const root = tracer.startSpan('GET /cart', { kind: SpanKind.SERVER,
    attributes: { 'http.request.method': 'GET', ratio: 0.5, ok: true, n: -3 } });
  const child = tracer.startSpan('query', { kind: SpanKind.CLIENT }, trace.setSpan(context.active(), root));
  child.addEvent('cache.miss', { key: 'cart:42' });
  child.setStatus({ code: SpanStatusCode.ERROR, message: 'boom' });
  child.end();
  root.end();
  await provider.forceFlush();
  await provider.shutdown();
  return root.spanContext().traceId;
}

// Zipkin's own client.
async function zipkinClient() {
  const { Tracer, ExplicitContext, BatchRecorder, jsonEncoder, Annotation } = require('zipkin');
  const { HttpLogger } = require('zipkin-transport-http');
  const logger = new HttpLogger({ endpoint: `http://${host}:${port}/api/v2/spans`,
    jsonEncoder: jsonEncoder.JSON_V2, httpInterval: 50 });
  const tracer = new Tracer({ ctxImpl: new ExplicitContext(), localServiceName: kind,
    recorder: new BatchRecorder({ logger }), traceId128Bit: true });
  const id = tracer.createRootId();
  tracer.scoped(() => {
    tracer.setId(id);
    tracer.recordServiceName(kind);
    tracer.recordRpc('GET /cart');
    tracer.recordAnnotation(new Annotation.ServerRecv());
    tracer.recordBinary('http.request.method', 'GET');
    const child = tracer.createChildId();
    tracer.letId(child, () => {
      tracer.recordServiceName(kind);
      tracer.recordRpc('query');
      tracer.recordAnnotation(new Annotation.ClientSend());
      tracer.recordMessage('cache.miss');
      tracer.recordBinary('error', 'true');
      tracer.recordAnnotation(new Annotation.ClientRecv());
    });
    tracer.recordAnnotation(new Annotation.ServerSend());
  });
  await new Promise((resolve) => setTimeout(resolve, 500));
  return id.traceId.padStart(32, '0');
}

async function main() {
  let traceId;
  if (kind === 'jaeger-udp') {
    traceId = await jaegerClient({ agentHost: host, agentPort: Number(port) });
  } else if (kind === 'jaeger-http') {
    traceId = await jaegerClient({ collectorEndpoint: `http://${host}:${port}/api/traces` });
  } else if (kind === 'otel-jaeger') {
    const { JaegerExporter } = require('@opentelemetry/exporter-jaeger');
    traceId = await openTelemetry(new JaegerExporter({ host, port: Number(port), flushTimeout: 2000 }));
  } else if (kind === 'otel-zipkin') {
    const { ZipkinExporter } = require('@opentelemetry/exporter-zipkin');
    traceId = await openTelemetry(new ZipkinExporter({ url: `http://${host}:${port}/api/v2/spans` }));
  } else {
    traceId = await zipkinClient();
  }
  console.log(JSON.stringify({ traceId }));
  process.exit(0);
}
main().catch((error) => { console.error(error); process.exit(1); });
