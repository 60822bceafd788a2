<?php

declare(strict_types=1);

namespace Edge\Tests;

/** Packs the messages that a server sends, in the plainest way. */
final class Pack
{
    public static function varint(int $n): string
    {
        $out = '';
        do {
            $byte = $n & 0x7f;
            $n >>= 7;
            $out .= \chr($n > 0 ? $byte | 0x80 : $byte);
        } while ($n > 0);

        return $out;
    }

    public static function field(int $number, string $bytes): string
    {
        return self::varint($number << 3 | 2) . self::varint(\strlen($bytes)) . $bytes;
    }

    public static function entry(int $number, string $key, string ...$values): string
    {
        $list = '';
        foreach ($values as $value) {
            $list .= self::field(1, $value);
        }

        return self::field($number, self::field(1, $key) . self::field(2, $list));
    }

    /**
     * An http.v1.Request.
     *
     * @param array<string, string|list<string>> $headers
     * @param array<string, string>              $cookies
     * @param array<string, string>              $attributes
     */
    public static function request(
        string $method = 'GET',
        string $uri = 'http://localhost/',
        array $headers = [],
        array $cookies = [],
        string $query = '',
        bool $parsed = false,
        string $uploads = '',
        array $attributes = [],
    ): string {
        $out = self::field(1, '127.0.0.1') . self::field(2, 'HTTP/1.1') . self::field(3, $method) . self::field(4, $uri);
        foreach ($headers as $name => $values) {
            $out .= self::entry(5, (string) $name, ...(array) $values);
        }
        foreach ($cookies as $name => $value) {
            $out .= self::entry(6, $name, $value);
        }
        $out .= $query === '' ? '' : self::field(7, $query);
        $out .= $parsed ? "\x40\x01" : '';
        $out .= $uploads === '' ? '' : self::field(9, $uploads);
        foreach ($attributes as $name => $value) {
            $out .= self::entry(10, $name, $value);
        }

        return $out;
    }
}
