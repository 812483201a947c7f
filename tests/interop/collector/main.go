// SPDX-License-Identifier: Apache-2.0

// The OpenTelemetry Collector's OTLP receiver: what fermata exports to it is written as one line of
// JSON a span.
//
//	collector GRPC_ENDPOINT HTTP_ENDPOINT
package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"log"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
)

type line struct {
	Service string `json:"service"`
	Trace   string `json:"trace"`
	Span    string `json:"span"`
	Name    string `json:"name"`
}

type lines struct {
	mutex sync.Mutex
	out   *json.Encoder
}

func (l *lines) consume(_ context.Context, traces ptrace.Traces) error {
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

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	sink, err := consumer.NewTraces((&lines{out: json.NewEncoder(os.Stdout)}).consume)
	if err != nil {
		log.Fatal(err)
	}
	factory := otlpreceiver.NewFactory()
	config := factory.CreateDefaultConfig()
	settings := confmap.NewFromStringMap(map[string]any{"protocols": map[string]any{
		"grpc": map[string]any{"endpoint": os.Args[1]},
		"http": map[string]any{"endpoint": os.Args[2]},
	}})
	if err := settings.Unmarshal(config); err != nil {
		log.Fatal(err)
	}
	receiver, err := factory.CreateTraces(ctx, receivertest.NewNopSettings(factory.Type()), config, sink)
	if err != nil {
		log.Fatal(err)
	}
	if err := receiver.Start(ctx, componenttest.NewNopHost()); err != nil {
		log.Fatal(err)
	}
	<-ctx.Done()
	if err := receiver.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
}
