<?php

declare(strict_types=1);

namespace Edge\KV;

use Edge\Exception\ProtocolException;
use Edge\Http\Message;

/**
 * The messages Op and Result of docs/kv.md, packed and unpacked by hand. An Op is an array of its fields by name; those that are
 * null, false, zero or empty are left out, as the server understands them.
 *
 * @internal
 */
final class Wire
{
    private const TEXTS = [
        'storage' => "\x0a", 'op' => "\x12", 'key' => "\x1a", 'value' => "\x22", 'expected' => "\x52", 'token' => "\x5a",
        'prefix' => "\x72", 'cursor' => "\x7a", 'member' => "\x8a\x01",
    ];
    private const NUMBERS = [
        'ttl' => "\x28", 'keep_ttl' => "\x30", 'delta' => "\x38", 'version' => "\x40", 'absent' => "\x48", 'lease' => "\x60",
        'wait' => "\x68", 'limit' => "\x80\x01", 'start' => "\xa0\x01", 'stop' => "\xa8\x01", 'reverse' => "\xb0\x01", 'by_score' => "\xb8\x01",
    ];
    private const DOUBLES = ['by' => "\x99\x01", 'min' => "\xc1\x01", 'max' => "\xc9\x01"];
    private const MEMBERS = "\x92\x01";
    private const TAGS = "\xd2\x01";
    private const OPS = "\xda\x01";

    /** @param array<string, mixed> $fields */
    public static function op(array $fields): string
    {
        $out = '';
        foreach ($fields as $name => $value) {
            if ($value === null || $value === '' || $value === 0 || $value === false || $value === []) {
                continue;
            }
            if (isset(self::TEXTS[$name])) {
                $out .= self::TEXTS[$name] . Message::length(\strlen($value)) . $value;
            } elseif (isset(self::NUMBERS[$name])) {
                $out .= self::NUMBERS[$name] . self::number((int) $value);
            } elseif (isset(self::DOUBLES[$name])) {
                $out .= self::DOUBLES[$name] . \pack('e', $value);
            } elseif ($name === 'members') {
                foreach ($value as $member => $score) {
                    $member = (string) $member;
                    $one = "\x0a" . Message::length(\strlen($member)) . $member . "\x11" . \pack('e', $score);
                    $out .= self::MEMBERS . Message::length(\strlen($one)) . $one;
                }
            } else {
                foreach ($value as $one) {
                    $out .= ($name === 'tags' ? self::TAGS : self::OPS) . Message::length(\strlen($one)) . $one;
                }
            }
        }

        return $out;
    }

    private const RESULT = [
        1 => 'ok', 2 => 'found', 3 => 'value', 4 => 'version', 5 => 'ttl', 6 => 'number', 7 => 'score', 8 => 'keys', 9 => 'cursor',
        10 => 'members', 11 => 'token', 12 => 'fence', 13 => 'error', 14 => 'results', 15 => 'stats',
    ];
    private const STATS = [
        1 => 'driver', 2 => 'keys', 3 => 'bytes', 4 => 'max_bytes', 5 => 'hits', 6 => 'misses', 7 => 'sets', 8 => 'refused',
        9 => 'expired', 10 => 'evicted', 11 => 'can',
    ];

    /**
     * Unpacks a Result; its fields that are not there are those of the message without any.
     *
     * @return array{ok: bool, found: bool, value: string, version: int, ttl: int, number: int, score: float, keys: list<string>,
     *               cursor: string, members: array<string, float>, token: string, fence: int, error: string, results: list<array>,
     *               stats: array<string, mixed>}
     */
    public static function result(string $message): array
    {
        $out = [
            'ok' => false, 'found' => false, 'value' => '', 'version' => 0, 'ttl' => 0, 'number' => 0, 'score' => 0.0, 'keys' => [],
            'cursor' => '', 'members' => [], 'token' => '', 'fence' => 0, 'error' => '', 'results' => [], 'stats' => [],
        ];
        foreach (self::fields($message) as [$field, $value]) {
            switch ($name = self::RESULT[$field] ?? '') {
                case '':
                    break;
                case 'ok':
                case 'found':
                    $out[$name] = $value !== 0;
                    break;
                case 'keys':
                    $out['keys'][] = $value;
                    break;
                case 'members':
                    $member = self::named($value, [1 => 'member', 2 => 'score']) + ['member' => '', 'score' => 0.0];
                    $out['members'][$member['member']] = $member['score'];
                    break;
                case 'results':
                    $out['results'][] = self::result($value);
                    break;
                case 'stats':
                    $out['stats'] = self::stats($value);
                    break;
                default:
                    $out[$name] = $value;
            }
        }

        return $out;
    }

    /** @return array<string, mixed> */
    private static function stats(string $message): array
    {
        $out = \array_fill_keys(self::STATS, 0);
        $out['driver'] = '';
        $out['can'] = [];
        foreach (self::fields($message) as [$field, $value]) {
            if ($field === 11) {
                $out['can'][] = $value;
            } elseif (isset(self::STATS[$field])) {
                $out[self::STATS[$field]] = $value;
            }
        }

        return $out;
    }

    /** @return array<string, mixed> */
    private static function named(string $message, array $names): array
    {
        $out = [];
        foreach (self::fields($message) as [$field, $value]) {
            if (isset($names[$field])) {
                $out[$names[$field]] = $value;
            }
        }

        return $out;
    }

    /** @return iterable<array{int, int|float|string}> */
    private static function fields(string $message): iterable
    {
        $end = \strlen($message);
        for ($i = 0; $i < $end;) {
            $tag = self::read($message, $i);
            switch ($tag & 7) {
                case 0:
                    yield [$tag >> 3, self::read($message, $i)];
                    break;
                case 1:
                    if ($end - $i < 8) {
                        throw new ProtocolException('the message ends in the middle of a number');
                    }
                    yield [$tag >> 3, \unpack('e', $message, $i)[1]];
                    $i += 8;
                    break;
                case 2:
                    $size = self::read($message, $i);
                    if ($size < 0 || $size > $end - $i) {
                        throw new ProtocolException('the message ends in the middle of a field');
                    }
                    yield [$tag >> 3, \substr($message, $i, $size)];
                    $i += $size;
                    break;
                default:
                    throw new ProtocolException('the message has a field of a kind that kv does not know');
            }
        }
    }

    /** Reads the varint at $i, negative ones in ten bytes. */
    private static function read(string $message, int &$i): int
    {
        $n = 0;
        for ($shift = 0; $shift < 70; $shift += 7) {
            if (!isset($message[$i])) {
                break;
            }
            $byte = \ord($message[$i++]);
            $n |= ($byte & 0x7f) << $shift;
            if ($byte < 128) {
                return $n;
            }
        }
        throw new ProtocolException('the message ends in the middle of a number');
    }

    private static function number(int $n): string
    {
        $out = '';
        while ($n < 0 || $n > 127) {
            $out .= \chr($n & 0x7f | 0x80);
            $n = $n >> 7 & 0x01ffffffffffffff;
        }

        return $out . \chr($n);
    }
}
