<?php

declare(strict_types=1);

namespace Edge;

use Edge\Http\Request;

/**
 * The place in a trace of OpenTelemetry that calls of the server are made from. Where the server traces (EDGE_TRACES), each request
 * sets it to its own, so spans such as kv:mget stand under the span of the request. An application with spans of its own sets it:
 *
 *     Trace::set('00-' . $traceId . '-' . $spanId . '-01');
 */
final class Trace
{
    /** @internal What a call carries: trace id, span id and flags as options of its frame, or ''. */
    public static string $options = '';

    /** @internal Whether requests set the trace. */
    public static ?bool $follows = null;

    private static string $current = '';

    /** Makes calls part of the trace of this traceparent, as W3C writes it; null or '' ends that. Anything else is ignored. */
    public static function set(?string $traceparent): void
    {
        self::$options = self::$current = '';
        if ($traceparent !== null && \preg_match('/^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-|$)/D', $traceparent, $part)) {
            self::$current = $traceparent;
            self::$options = \hex2bin($part[1] . $part[2] . $part[3]) . "\0\0\0";
        }
    }

    /** The traceparent that calls are made from, or ''. */
    public static function current(): string
    {
        return self::$current;
    }

    /** @internal */
    public static function follow(Request $request): void
    {
        if (self::$follows ??= (bool) \getenv('EDGE_TRACES')) {
            self::set($request->header('traceparent'));
        }
    }
}
