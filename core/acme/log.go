package acme

import (
	"context"
	"log/slog"

	"go.uber.org/zap/zapcore"
)

// bridge hands what certmagic logs to slog. What matters to an operator is an event (see Manager.event); certmagic's own steps are for
// those who debug, and what clients can cause is never more than that.
type bridge struct {
	log    *slog.Logger
	fields []zapcore.Field
}

// Enabled is part of zapcore.Core.
func (b *bridge) Enabled(level zapcore.Level) bool {
	return b.log.Enabled(context.Background(), severity(level))
}

// With is part of zapcore.Core.
func (b *bridge) With(fields []zapcore.Field) zapcore.Core {
	return &bridge{b.log, append(b.fields[:len(b.fields):len(b.fields)], fields...)}
}

// Check is part of zapcore.Core.
func (b *bridge) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if b.Enabled(entry.Level) {
		return checked.AddCore(entry, b)
	}
	return checked
}

// told are errors that an event tells of, or that clients cause.
var told = map[string]bool{
	"could not get certificate from issuer": true, "will retry": true, "job failed": true, "tls-alpn challenge": true,
	"validating authorization": true, "challenge failed": true, "obtaining certificate": true,
}

// Write is part of zapcore.Core.
func (b *bridge) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	encoder := zapcore.NewMapObjectEncoder()
	for _, f := range b.fields {
		f.AddTo(encoder)
	}
	for _, f := range fields {
		f.AddTo(encoder)
	}
	level := severity(entry.Level)
	if told[entry.Message] {
		level = slog.LevelDebug
	}
	attrs := make([]slog.Attr, 0, len(encoder.Fields))
	for name, value := range encoder.Fields {
		attrs = append(attrs, slog.Any(name, value))
	}
	b.log.LogAttrs(context.Background(), level, entry.Message, attrs...)
	return nil
}

// Sync is part of zapcore.Core.
func (b *bridge) Sync() error { return nil }

func severity(level zapcore.Level) slog.Level {
	if level >= zapcore.ErrorLevel {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}
