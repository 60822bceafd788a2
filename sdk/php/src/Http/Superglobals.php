<?php

declare(strict_types=1);

namespace Edge\Http;

/**
 * Makes of what a client sent the arrays that PHP would have in $_POST, $_COOKIE and $_FILES, by PHP's own parser wherever a name has
 * brackets, dots or spaces.
 *
 * @internal
 */
final class Superglobals
{
    /** PHP's own bound on the cookies of a request. */
    private const MAX_COOKIES = 1000;

    /**
     * PHP passes over what is beyond its own bounds, max_input_vars, with a warning that nobody sees: there, it comes before the script.
     *
     * @return array<mixed>
     */
    public static function form(string $text): array
    {
        @\parse_str($text, $form);

        return $form;
    }

    /**
     * Of several cookies with one name the first counts, as the one of the longest path comes first. Names are not decoded, and a plus is
     * a plus.
     *
     * @return array<mixed>
     */
    public static function cookies(string $line): array
    {
        if ($line === '') {
            return [];
        }
        if (\strpbrk($line, '[.') !== false) {
            return self::oddCookies($line);
        }
        $cookies = [];
        foreach (self::pairs($line) as [$name, $value]) {
            if (!isset($cookies[$name])) {
                $cookies[$name] = $value;
            }
        }

        return $cookies;
    }

    /**
     * Cookies that are arrays, or that PHP has under another name.
     *
     * @return array<mixed>
     */
    private static function oddCookies(string $line): array
    {
        $query = '';
        $seen = [];
        foreach (self::pairs($line) as [$name, $value]) {
            $one = self::form(\rawurlencode($name) . '=');
            $key = \key($one);
            if ($key === null || self::isForged((string) $key, $name)) {
                continue;
            }
            // An array takes the place of a text before it, and a text never that of anything.
            if (!\is_array($one[$key]) && isset($seen[$key])) {
                continue;
            }
            $seen[$key] = true;
            $query .= \rawurlencode($name) . '=' . \rawurlencode($value) . '&';
        }

        return self::form($query);
    }

    /** Whether a cookie claims to be one that browsers take from secure pages only, by a name that PHP makes into theirs. */
    private static function isForged(string $key, string $name): bool
    {
        return (\str_starts_with($key, '__Host-') && !\str_starts_with($name, '__Host-'))
            || (\str_starts_with($key, '__Secure-') && !\str_starts_with($name, '__Secure-'));
    }

    /** @return list<array{string, string}> names as they were sent, and decoded values */
    private static function pairs(string $line): array
    {
        $pairs = [];
        foreach (\explode(';', $line, self::MAX_COOKIES + 1) as $i => $part) {
            $part = \ltrim($part, " \t\r\n\v\f");
            if ($part === '' || $part[0] === '=' || $i === self::MAX_COOKIES) {
                continue;
            }
            $at = \strpos($part, '=');
            $name = $at === false ? $part : \substr($part, 0, $at);
            $value = $at === false ? '' : \substr($part, $at + 1);
            $pairs[] = [\strtr($name, ' ', '_'), \str_contains($value, '%') ? \rawurldecode($value) : $value];
        }

        return $pairs;
    }

    /**
     * @param list<array{string, string, string, string, string, string}> $list field, client's name and type, size, error, path
     *
     * @return array<mixed> a tree with UploadedFile as leaves
     */
    public static function files(array $list): array
    {
        $query = '';
        foreach ($list as $i => [$field]) {
            // PHP passes over files whose names have brackets that do not match.
            if (\preg_match('/^[^[\]]*+(?:\[[^[\]]*+\])*$/D', $field) === 1) {
                $query .= \rawurlencode($field) . "=$i&";
            }
        }
        $tree = self::form($query);
        \array_walk_recursive($tree, static function (&$leaf) use ($list): void {
            [, $name, $type, $size, $error, $path] = $list[(int) $leaf];
            $leaf = new UploadedFile($path, (int) $size, (int) $error, $name, $type);
        });

        return $tree;
    }
}
