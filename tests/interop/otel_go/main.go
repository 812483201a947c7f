// SPDX-License-Identifier: Apache-2.0

// Sends one trace through an OpenTelemetry Go exporter: otel_go grpc|http HOST:PORT [gzip]
// Prints {"traceId"} once the exporter has flushed.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

func newExporter(ctx context.Context, kind, endpoint string, compress bool) (sdk.SpanExporter, error) {
	if kind == "grpc" {
		options := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(endpoint), otlptracegrpc.WithInsecure()}
		if compress {
			options = append(options, otlptracegrpc.WithCompressor("gzip"))
		}
		return otlptracegrpc.New(ctx, options...)
	}
	options := []otlptracehttp.Option{otlptracehttp.WithEndpoint(endpoint), otlptracehttp.WithInsecure()}
	if compress {
		options = append(options, otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
	}
	return otlptracehttp.New(ctx, options...)
}

func run() error {
	ctx := context.Background()
	kind, endpoint := os.Args[1], os.Args[2]
	exporter, err := newExporter(ctx, kind, endpoint, len(os.Args) > 3)
	if err != nil {
		return err
	}
	provider := sdk.NewTracerProvider(sdk.WithSyncer(exporter), sdk.WithResource(resource.NewSchemaless(
		attribute.String("service.name", "go-"+kind), attribute.Int("site.id", 7))))
	tracer := provider.Tracer("interop", trace.WithInstrumentationVersion("1.2.3"))
	ctx, root := tracer.Start(ctx, "GET /cart", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", "GET"), attribute.Float64("ratio", 0.5),
		attribute.Bool("ok", true), attribute.Int("n", -3), attribute.StringSlice("list", []string{"a", "b"})))
	_, child := tracer.Start(ctx, "query", trace.WithSpanKind(trace.SpanKindClient))
	child.AddEvent("cache.miss", trace.WithAttributes(attribute.String("key", "cart:42")))
	child.RecordError(errors.New("boom"))
	child.SetStatus(codes.Error, "boom")
	child.End()
	root.End()
	if err := provider.Shutdown(context.Background()); err != nil {
		return err
	}
	fmt.Printf("{\"traceId\":\"%s\"}\n", root.SpanContext().TraceID())
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
