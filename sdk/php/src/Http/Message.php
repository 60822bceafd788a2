<?php

declare(strict_types=1);

namespace Edge\Http;

use Edge\Exception\ProtocolException;

/**
 * The two messages of http.v1, packed and unpacked by hand into plain arrays: a fraction of the time that a general protobuf
 * library takes, and the only code that runs for every request.
 *
 *     Request  {1: remote_addr, 2: protocol, 3: method, 4: uri, 5: header map, 6: cookie map, 7: raw_query, 8: parsed,
 *               9: uploads, 10: attribute map}
 *     Response {1: status, 2: header map}
 *     a map is repeated {1: key, 2: {1: repeated value}}
 *
 * Lengths are varints, of one byte up to 127. The loops below read that case in place and leave the others to varint().
 *
 * @internal
 */
final class Message
{
    /** Zeros after the message, so that a length that lies is found by the check at the end, not by reads out of bounds. */
    private const MARGIN = "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

    public const HEADERS = "\x2a";
    public const COOKIES = "\x32";
    public const ATTRIBUTES = "\x52";

    /** The tags of the fields that are texts. */
    private const TEXTS = [
        "\x0a" => 'remoteAddr', "\x12" => 'protocol', "\x1a" => 'method', "\x22" => 'uri', "\x3a" => 'query', "\x4a" => 'uploads',
    ];

    /**
     * Unpacks the fields that are not maps. Maps are only walked over: map() reads them when somebody asks.
     *
     * @return array{remoteAddr: string, protocol: string, method: string, uri: string, query: string, uploads: string, parsed: bool}
     */
    public static function request(string $message): array
    {
        $out = ['remoteAddr' => '', 'protocol' => '', 'method' => '', 'uri' => '', 'query' => '', 'uploads' => '', 'parsed' => false];
        $end = \strlen($message);
        $message .= self::MARGIN;
        $i = 0;
        while ($i < $end) {
            $tag = $message[$i];
            if ($tag === "\x40") {
                ++$i;
                $out['parsed'] = self::varint($message, $i) !== 0;
                continue;
            }
            if (!isset(self::LENGTHS[$tag])) {
                $i = self::skip($message, $i, $end);
                continue;
            }
            $size = \ord($message[++$i]);
            if ($size < 128) {
                ++$i;
            } else {
                $size = self::varint($message, $i);
            }
            if (isset(self::TEXTS[$tag])) {
                $out[self::TEXTS[$tag]] = \substr($message, $i, $size);
            }
            $i += $size;
        }
        if ($i !== $end) {
            throw new ProtocolException('the context of the request ends in the middle of a field');
        }

        return $out;
    }

    /** The tags with a length after them. */
    private const LENGTHS = self::TEXTS + [self::HEADERS => '', self::COOKIES => '', self::ATTRIBUTES => ''];

    /**
     * Unpacks one of the maps of a request.
     *
     * @return array<string, list<string>>
     */
    public static function map(string $message, string $field): array
    {
        $out = [];
        $end = \strlen($message);
        $message .= self::MARGIN;
        $i = 0;
        while ($i < $end) {
            if ($message[$i] !== $field) {
                $i = isset(self::LENGTHS[$message[$i]]) && ($size = \ord($message[$i + 1])) < 128
                    ? $i + 2 + $size
                    : self::skip($message, $i, $end);
                continue;
            }
            $size = \ord($message[++$i]);
            if ($size < 128) {
                ++$i;
            } else {
                $size = self::varint($message, $i);
            }
            $stop = $i + $size;
            if ($stop > $end) {
                $i = $stop;
                break;
            }

            // The usual entry: a short key, then a message that holds one value.
            if ($message[$i] === "\x0a" && ($length = \ord($message[$i + 1])) < 128) {
                $key = \substr($message, $i + 2, $length);
                $at = $i + 2 + $length;
                if ($at < $stop && $message[$at] === "\x12") {
                    // The message is all that is left of the entry, and the value all of the message: only the last length counts.
                    $at += \ord($message[$at + 1]) < 128 ? 2 : 3;
                    $length = \ord($message[$at + 1]);
                    $from = $at + 2;
                    if ($length > 127) {
                        $length = ($length & 0x7f) | \ord($message[$at + 2]) << 7;
                        ++$from;
                    }
                    if ($message[$at] === "\x0a" && $from + $length === $stop && $length < 16384) {
                        $out[$key][] = \substr($message, $from, $length);
                        $i = $stop;
                        continue;
                    }
                }
            }
            self::entry(\substr($message, $i, $size), $out);
            $i = $stop;
        }
        if ($i !== $end) {
            throw new ProtocolException('the context of the request ends in the middle of a field');
        }

        return $out;
    }

    /** Arguments and result of the last response() with nothing but strings: most applications send most responses with the same headers. */
    private static int $lastStatus = 0;
    private static array $lastHeaders = [];
    private static string $last = '';

    /**
     * Packs a response.
     *
     * @param array<string, string|int|float|list<string>> $headers
     */
    public static function response(int $status, array $headers): string
    {
        if ($headers === self::$lastHeaders && $status === self::$lastStatus) {
            return self::$last;
        }
        $out = "\x08" . ($status < 128 ? \chr($status) : \chr($status & 0x7f | 0x80) . \chr($status >> 7));
        $texts = true;
        foreach ($headers as $name => $value) {
            $name = (string) $name;
            $texts = $texts && \is_string($value);
            if (\is_array($value)) {
                $values = '';
                foreach ($value as $one) {
                    $one = (string) $one;
                    $values .= "\x0a" . self::length(\strlen($one)) . $one;
                }
            } else {
                $value = (string) $value;
                $size = \strlen($value);
                $values = "\x0a" . ($size < 128 ? \chr($size) : self::length($size)) . $value;
            }
            $size = \strlen($name);
            $inner = \strlen($values);
            $entry = "\x0a" . ($size < 128 ? \chr($size) : self::length($size)) . $name
                . "\x12" . ($inner < 128 ? \chr($inner) : self::length($inner)) . $values;
            $size = \strlen($entry);
            $out .= "\x12" . ($size < 128 ? \chr($size) : self::length($size)) . $entry;
        }
        if ($texts) {
            self::$lastStatus = $status;
            self::$lastHeaders = $headers;
            self::$last = $out;
        }

        return $out;
    }

    /** The varint of a length. */
    public static function length(int $n): string
    {
        $out = '';
        while ($n > 127) {
            $out .= \chr($n & 0x7f | 0x80);
            $n >>= 7;
        }

        return $out . \chr($n);
    }

    /** Reads the varint at $i and moves $i behind it. */
    public static function varint(string $message, int &$i): int
    {
        $n = 0;
        for ($shift = 0; $shift < 63; $shift += 7) {
            $byte = \ord($message[$i] ?? "\0");
            ++$i;
            $n |= ($byte & 0x7f) << $shift;
            if ($byte < 128) {
                return $n;
            }
        }
        if (\ord($message[$i] ?? "\xff") > 1) {
            throw new ProtocolException('a number in the message is longer than 64 bits');
        }
        ++$i;

        return $n;
    }

    /** Returns where the field after the one at $i begins. */
    public static function skip(string $message, int $i, int $end): int
    {
        $tag = self::varint($message, $i);
        switch ($tag & 7) {
            case 0:
                self::varint($message, $i);
                break;
            case 1:
                $i += 8;
                break;
            case 2:
                $size = self::varint($message, $i);
                $i = $size < 0 || $size > $end - $i ? $end + 1 : $i + $size;
                break;
            case 5:
                $i += 4;
                break;
            default:
                throw new ProtocolException('the message has a field of a kind that does not exist');
        }

        return $i;
    }

    /**
     * Reads an entry of a map in whatever form protobuf allows.
     *
     * @param array<string, list<string>> $out
     */
    private static function entry(string $entry, array &$out): void
    {
        $key = '';
        $values = [];
        foreach (self::fields($entry) as [$number, $bytes]) {
            if ($number === 1) {
                $key = $bytes;
            } elseif ($number === 2) {
                foreach (self::fields($bytes) as [$inner, $value]) {
                    if ($inner === 1) {
                        $values[] = $value;
                    }
                }
            }
        }
        $out[$key] = [...($out[$key] ?? []), ...$values];
    }

    /**
     * The fields of a message that are byte strings, in order.
     *
     * @return iterable<array{int, string}>
     */
    public static function fields(string $message): iterable
    {
        $end = \strlen($message);
        $i = 0;
        while ($i < $end) {
            $start = $i;
            $tag = self::varint($message, $i);
            if (($tag & 7) !== 2) {
                $i = self::skip($message, $start, $end);
                continue;
            }
            $size = self::varint($message, $i);
            if ($size < 0 || $size > $end - $i) {
                $i = $end + 1;
                break;
            }
            yield [$tag >> 3, \substr($message, $i, $size)];
            $i += $size;
        }
        if ($i !== $end) {
            throw new ProtocolException('the message ends in the middle of a field');
        }
    }
}
