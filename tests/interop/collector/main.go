// SPDX-License-Identifier: Apache-2.0

// The OpenTelemetry Collector with its OTLP receiver: what fermata exports to it is written as one
// line of JSON a span.
package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"os"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/batchprocessor"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
)

type line struct {
	Service string `json:"service"`
	Trace   string `json:"trace"`
	Span    string `json:"span"`
	Name    string `json:"name"`
}

type lines struct {
	component.StartFunc
	component.ShutdownFunc
	mutex sync.Mutex
	out   *json.Encoder
}

func (l *lines) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

func (l *lines) ConsumeTraces(_ context.Context, traces ptrace.Traces) error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for i := 0; i < traces.ResourceSpans().Len(); i++ {
		resource := traces.ResourceSpans().At(i)
		service, _ := resource.Resource().Attributes().Get("service.name")
		for j := 0; j < resource.ScopeSpans().Len(); j++ {
			spans := resource.ScopeSpans().At(j).Spans()
			for k := 0; k < spans.Len(); k++ {
				span := spans.At(k)
				trace, id := span.TraceID(), span.SpanID()
				if err := l.out.Encode(line{service.AsString(), hex.EncodeToString(trace[:]),
					hex.EncodeToString(id[:]), span.Name()}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func factories() (otelcol.Factories, error) {
	kind := component.MustNewType("lines")
	linesFactory := exporter.NewFactory(kind, func() component.Config { return &struct{}{} },
		exporter.WithTraces(func(context.Context, exporter.Settings, component.Config) (exporter.Traces, error) {
			return &lines{out: json.NewEncoder(os.Stdout)}, nil
		}, component.StabilityLevelStable))
	otlp, batch := otlpreceiver.NewFactory(), batchprocessor.NewFactory()
	return otelcol.Factories{
		Receivers:  map[component.Type]receiver.Factory{otlp.Type(): otlp},
		Processors: map[component.Type]processor.Factory{batch.Type(): batch},
		Exporters:  map[component.Type]exporter.Factory{linesFactory.Type(): linesFactory},
	}, nil
}

func main() {
	settings := otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{Command: "collector", Version: "test"},
		Factories: factories,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{ResolverSettings: confmap.ResolverSettings{
			DefaultScheme: "file",
			ProviderFactories: []confmap.ProviderFactory{fileprovider.NewFactory()},
		}},
	}
	if err := otelcol.NewCommand(settings).Execute(); err != nil {
		os.Exit(1)
	}
}
