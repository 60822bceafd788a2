package nats

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"
)

// Each way to the server and back has the whole timeout: a server that is slow and answers is not lost, however often it is asked.

func (k *link) within(ctx context.Context, trip func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, k.driver.opts.Timeout)
	defer cancel()
	return trip(ctx)
}

func (k *link) flush(ctx context.Context) error { return k.within(ctx, k.conn.FlushWithContext) }

func (k *link) put(ctx context.Context, subject string, message []byte, opts ...jetstream.PublishOpt) error {
	return k.within(ctx, func(ctx context.Context) error {
		_, err := k.js.Publish(ctx, subject, message, opts...)
		return err
	})
}

func (k *link) latest(ctx context.Context, in jetstream.Stream, subject string) (m *jetstream.RawStreamMsg, err error) {
	err = k.within(ctx, func(ctx context.Context) error {
		m, err = in.GetLastMsgForSubject(ctx, subject)
		return err
	})
	return m, err
}

func (k *link) message(ctx context.Context, in jetstream.Stream, seq uint64) (m *jetstream.RawStreamMsg, err error) {
	err = k.within(ctx, func(ctx context.Context) error {
		m, err = in.GetMsg(ctx, seq)
		return err
	})
	return m, err
}

func (k *link) info(ctx context.Context, of jetstream.Stream, opts ...jetstream.StreamInfoOpt) (i *jetstream.StreamInfo, err error) {
	err = k.within(ctx, func(ctx context.Context) error {
		i, err = of.Info(ctx, opts...)
		return err
	})
	return i, err
}
