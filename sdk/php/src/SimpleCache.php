<?php

declare(strict_types=1);

namespace Edge;

use Edge\Exception\CacheException;
use Edge\Exception\EdgeException;
use Edge\Exception\InvalidKeyException;

/**
 * A storage of the server as a PSR-16 cache. Needs psr/simple-cache, of whatever version:
 *
 *     $cache = new SimpleCache(new KV('cache'));
 */
final class SimpleCache implements \Psr\SimpleCache\CacheInterface
{
    public function __construct(private readonly KV $kv)
    {
    }

    /**
     * @param string $key
     * @param mixed  $default
     */
    public function get($key, $default = null): mixed
    {
        $key = self::key($key);

        return $this->guard(fn () => $this->kv->get($key, $default));
    }

    /**
     * @param string                 $key
     * @param mixed                  $value
     * @param int|\DateInterval|null $ttl
     */
    public function set($key, $value, $ttl = null): bool
    {
        $key = self::key($key);
        $ttl = self::ttl($ttl);
        $this->guard(fn () => $this->kv->set($key, $value, $ttl));

        return true;
    }

    /** @param string $key */
    public function delete($key): bool
    {
        $key = self::key($key);
        $this->guard(fn () => $this->kv->delete($key));

        return true;
    }

    public function clear(): bool
    {
        $this->guard(fn () => $this->kv->clear());

        return true;
    }

    /**
     * @param iterable<string> $keys
     * @param mixed            $default
     *
     * @return array<string, mixed>
     */
    public function getMultiple($keys, $default = null): iterable
    {
        $keys = self::keys($keys);

        return $this->guard(fn () => $this->kv->getMultiple($keys, $default));
    }

    /**
     * @param iterable<string, mixed> $values
     * @param int|\DateInterval|null  $ttl
     */
    public function setMultiple($values, $ttl = null): bool
    {
        if (!\is_iterable($values)) {
            throw new InvalidKeyException('values must be an array or something else to loop over');
        }
        $ttl = self::ttl($ttl);
        $checked = [];
        foreach ($values as $key => $value) {
            // PHP turns keys such as "7" into numbers.
            $checked[self::key(\is_int($key) ? (string) $key : $key)] = $value;
        }
        $this->guard(fn () => $this->kv->setMultiple($checked, $ttl));

        return true;
    }

    /** @param iterable<string> $keys */
    public function deleteMultiple($keys): bool
    {
        $keys = self::keys($keys);
        $this->guard(fn () => $this->kv->deleteMultiple($keys));

        return true;
    }

    /** @param string $key */
    public function has($key): bool
    {
        $key = self::key($key);

        return $this->guard(fn () => $this->kv->has($key));
    }

    private static function key(mixed $key): string
    {
        if (!\is_string($key) || \trim($key) === '' || \strpbrk($key, '{}()/\@:') !== false || !\preg_match('//u', $key)) {
            $shown = \is_string($key) ? "\"$key\"" : \get_debug_type($key);
            throw new InvalidKeyException("$shown is not a key: write a UTF-8 text that is not blank and has none of {}()/\\@:");
        }

        return $key;
    }

    /** @return list<string> */
    private static function keys(mixed $keys): array
    {
        if (!\is_iterable($keys)) {
            throw new InvalidKeyException('keys must be an array or something else to loop over');
        }
        $out = [];
        foreach ($keys as $key) {
            $out[] = self::key($key);
        }

        return $out;
    }

    private static function ttl(mixed $ttl): int|\DateInterval|null
    {
        if ($ttl !== null && !\is_int($ttl) && !$ttl instanceof \DateInterval) {
            throw new InvalidKeyException('a time to live is a number of seconds, a DateInterval or null, not ' . \get_debug_type($ttl));
        }

        return $ttl;
    }

    /**
     * @template T
     *
     * @param callable(): T $operation
     *
     * @return T
     */
    private function guard(callable $operation): mixed
    {
        try {
            return $operation();
        } catch (EdgeException $e) {
            throw new CacheException($e->getMessage(), 0, $e);
        }
    }
}
