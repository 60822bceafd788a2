package telemetry

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// otlpClient sends spans by OTLP over HTTP, in protobuf (OTLP 1.x, "OTLP/HTTP"). It is here because the client that comes with
// OpenTelemetry brings gRPC along, which would make the server's memory a third larger without a single span.
type otlpClient struct {
	http     *http.Client
	endpoint string
	headers  map[string]string
	compress bool
	timeout  time.Duration
}

// Start implements otlptrace.Client; there is nothing to start.
func (*otlpClient) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client; the exporter closes the connections.
func (*otlpClient) Stop(context.Context) error { return nil }

// UploadTraces sends, again and again where the collector says that it may take it later, until timeout is over.
func (c *otlpClient) UploadTraces(ctx context.Context, spans []*otlp.ResourceSpans) error {
	// The request is an ExportTraceServiceRequest, which is on the wire what TracesData is.
	body, err := proto.Marshal(&otlp.TracesData{ResourceSpans: spans})
	if err != nil {
		return err
	}
	if c.compress {
		if body, err = gzipped(body); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	for pause := time.Second; ; pause = min(2*pause, 5*time.Second) {
		wait, err := c.post(ctx, body)
		if err == nil {
			return nil
		}
		var final *finalError
		if errors.As(err, &final) {
			return err
		}
		timer := time.NewTimer(max(pause, wait))
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
	}
}

// finalError is an answer that another attempt would not change.
type finalError struct{ status string }

func (e *finalError) Error() string { return "it answers " + e.status }

// post sends once. The collector may say how long to wait.
func (c *otlpClient) post(ctx context.Context, body []byte) (wait time.Duration, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, bytes.NewReader(body))
	if err != nil {
		return 0, &finalError{err.Error()}
	}
	for name, value := range c.headers {
		r.Header.Set(name, value)
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	if c.compress {
		r.Header.Set("Content-Encoding", "gzip")
	}
	res, err := c.http.Do(r)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection can be used again
	switch res.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		seconds, _ := strconv.Atoi(res.Header.Get("Retry-After"))
		return time.Duration(seconds) * time.Second, fmt.Errorf("it answers %s", res.Status)
	}
	if res.StatusCode >= 300 {
		return 0, &finalError{res.Status}
	}
	return 0, nil
}

func gzipped(b []byte) ([]byte, error) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	err := w.Close()
	return out.Bytes(), err
}
