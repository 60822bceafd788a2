<?php

declare(strict_types=1);

namespace Edge;

/**
 * The frames that Edge and its workers exchange (goridge, version 1). Integers are little-endian:
 *
 *     offset  size  meaning
 *          0     1  version (1) << 4 | header length in words of four bytes, options included
 *          1     1  flags
 *          2     4  payload length
 *          6     4  CRC-32 of the bytes 0 to 5
 *         10     1  stream bits
 *         11     1  number of a request for sdk/php, repeated in what answers it; otherwise 0
 *         12   4*n  options
 *
 * An HTTP frame has one option, the length of its context; the payload is context and body. A call has two, its number and the
 * length of the method's name.
 *
 * @internal
 */
final class Frame
{
    public const CONTROL = 0x01;
    public const RAW = 0x04;
    public const JSON = 0x08;
    public const ERROR = 0x40;
    public const PROTO = 0x80;

    public const STREAM = 0x01;
    public const STOP = 0x02;
    public const PING = 0x04;
    public const PONG = 0x08;

    /** A frame with one option, the length of the context. */
    public static function payload(int $flags, int $stream, string $context, string $body, int $number = 0): string
    {
        $size = \strlen($context);
        $head = \pack('vV', 0x14 | $flags << 8, $size + \strlen($body));

        return $head . \pack('VvV', \crc32($head), $stream | $number << 8, $size) . $context . $body;
    }

    /** A frame without options. */
    public static function plain(int $flags, string $payload, int $number = 0): string
    {
        $head = "\x13" . \chr($flags) . \pack('V', \strlen($payload));

        return $head . \pack('Vv', \crc32($head), $number << 8) . $payload;
    }

    /** A call of a method over RPC, with the options of a trace or without. */
    public static function call(int $flags, int $number, string $method, string $argument, string $trace = ''): string
    {
        $size = \strlen($method);
        $head = ($trace === '' ? "\x15" : "\x1c") . \chr($flags) . \pack('V', $size + \strlen($argument));

        return $head . \pack('VvVV', \crc32($head), 0, $number, $size) . $trace . $method . $argument;
    }
}
